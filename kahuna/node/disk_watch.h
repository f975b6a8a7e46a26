// Whether the disk is full, as the journal and the engine of one event loop found it. While it is,
// no new writes are taken, and whoever found it full is made to try again at intervals.
//
// Used by Groups, on its loop.
#pragma once

#include <string>
#include <string_view>

#include "runtime/callback.h"
#include "runtime/host.h"

namespace kahuna::node {

class DiskWatch {
 public:
  enum class Part : uint8_t { kJournal, kEngine };
  static constexpr Duration kRetry = Duration::millis(500);

  // `try_again(part)` runs every kRetry for a part that is full, and ends in found(). `tell(why)`
  // runs when the first part is full, and with "" when none is any more.
  DiskWatch(Clock& clock, Callback<void(Part)> try_again, Callback<void(std::string_view)> tell)
      : clock_(clock), try_again_(std::move(try_again)), tell_(std::move(tell)) {}
  ~DiskWatch() { clock_.cancel(timer_); }
  DiskWatch(const DiskWatch&) = delete;

  void found_full(Part part, std::string_view why);
  void found_room(Part part);
  bool is_full() const { return full_[0] || full_[1]; }
  bool is_full(Part part) const { return full_[static_cast<size_t>(part)]; }

 private:
  void arm();

  Clock& clock_;
  Callback<void(Part)> try_again_;
  Callback<void(std::string_view)> tell_;
  bool full_[2] = {false, false};
  TimerId timer_ = 0;
};

}  // namespace kahuna::node
