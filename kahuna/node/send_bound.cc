#include "kahuna/node/send_bound.h"

namespace kahuna::node {

bool SendBound::admits(Time now, uint64_t sent, size_t unsent) {
  if (unsent == 0) {
    mark_.reset();
    pace_.reset();
    return true;
  }
  if (mark_ && sent >= mark_->end && now > mark_->set) {
    pace_ =
        static_cast<double>(sent - mark_->sent) / static_cast<double>((now - mark_->set).nanos());
    mark_.reset();
  }
  if (!mark_) mark_ = Mark{sent, sent + unsent, now};
  if (unsent <= kLeast) return true;
  if (now - mark_->set > patience_) return false;
  return !pace_ || static_cast<double>(unsent) <= *pace_ * static_cast<double>(patience_.nanos());
}

}  // namespace kahuna::node
