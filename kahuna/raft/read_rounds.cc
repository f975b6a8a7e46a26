#include "kahuna/raft/read_rounds.h"

#include "runtime/check.h"

namespace kahuna::raft {

void ReadRounds::start(uint64_t round, Index index) {
  CHECK(rounds_.empty() || rounds_.back().number < round);
  if (!unstarted()) return;
  rounds_.push_back({round, index, tokens_.size() - started_});
  started_ = tokens_.size();
}

void ReadRounds::confirm(uint64_t round, std::vector<ReadGrant>& granted) {
  size_t rounds = 0, reads = 0;
  for (; rounds < rounds_.size() && rounds_[rounds].number <= round; ++rounds) {
    for (size_t i = 0; i < rounds_[rounds].reads; ++i)
      granted.push_back({tokens_[reads++], rounds_[rounds].index});
  }
  if (rounds == 0) return;
  rounds_.erase(rounds_.begin(), rounds_.begin() + static_cast<ptrdiff_t>(rounds));
  tokens_.erase(tokens_.begin(), tokens_.begin() + static_cast<ptrdiff_t>(reads));
  started_ -= reads;
}

void ReadRounds::refuse_all(std::vector<ReadToken>& refused) {
  refused.insert(refused.end(), tokens_.begin(), tokens_.end());
  tokens_.clear();
  rounds_.clear();
  started_ = 0;
}

}  // namespace kahuna::raft
