// Reads that wait until leadership is confirmed by a quorum round begun after they arrived
// (read-index; thesis §6.4). Belongs to one leader term: refuse_all() empties it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/ids.h"

namespace kahuna::raft {

// The driver's name for one waiting read; echoed back.
using ReadToken = uint64_t;

struct ReadGrant {
  ReadToken token;
  Index index;  // answer from state applied at least up to here
};

class ReadRounds {
 public:
  bool empty() const { return tokens_.empty(); }
  // Some reads have no round yet.
  bool unstarted() const { return tokens_.size() > started_; }

  void ask(ReadToken token) { tokens_.push_back(token); }
  // All reads without a round join this one; they may be answered from `index` on. Rounds count up.
  void start(uint64_t round, Index index);
  // A quorum has answered `round`: grants every read of it and of earlier rounds.
  void confirm(uint64_t round, std::vector<ReadGrant>& granted);
  void refuse_all(std::vector<ReadToken>& refused);

 private:
  struct Round {
    uint64_t number;
    Index index;
    size_t reads;
  };
  std::vector<Round> rounds_;
  std::vector<ReadToken> tokens_;  // in order of arrival: those of rounds_, then the unstarted
  size_t started_ = 0;
};

}  // namespace kahuna::raft
