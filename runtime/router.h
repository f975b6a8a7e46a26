// Routers spread messages over actors of one kind. Values; they belong to the loop of their
// members.
//
// 1. What is chosen depends on the calls made and on the members' names, never on addresses.
// 2. Members that stopped are skipped by RoundRobin, and are ConsistentHash's caller's to remove.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/actor.h"
#include "runtime/check.h"
#include "runtime/hash.h"

namespace kahuna {

// Each message to the next member in turn.
template <class M>
class RoundRobin {
 public:
  explicit RoundRobin(std::vector<ActorRef<M>> members) : members_(std::move(members)) {
    CHECK(!members_.empty());
  }
  const ActorRef<M>& next() {
    const ActorRef<M>& member = members_[next_];
    next_ = (next_ + 1) % members_.size();
    return member;
  }
  // To the first member, from the next on, that takes it. Not moved from when none does; the error
  // is kOverloaded when at least one was full, else kClosed.
  Result<> tell(M&& message) {
    Result<> last = fail(ErrorCode::kClosed, "stopped");
    for (size_t i = 0; i < members_.size(); ++i) {
      Result<> told = next().tell(std::move(message));
      if (told) return told;
      if (told.error().code == ErrorCode::kOverloaded) last = std::move(told);
    }
    return last;
  }
  Result<> tell(const M& message) { return tell(M(message)); }
  size_t size() const { return members_.size(); }

 private:
  std::vector<ActorRef<M>> members_;
  size_t next_ = 0;
};

// Each key always to the same member; adding or removing one moves only its share of the keys.
template <class M>
class ConsistentHash {
 public:
  static constexpr uint64_t kPointsPerMember = 128;

  // Names are unique (CHECKed).
  void add(std::string name, ActorRef<M> member) {
    CHECK(std::none_of(members_.begin(), members_.end(),
                       [&](const Member& m) { return m.name == name; }));
    members_.push_back({std::move(name), std::move(member)});
    place();
  }
  void remove(std::string_view name) {
    std::erase_if(members_, [&](const Member& m) { return m.name == name; });
    place();
  }
  // There is a member (CHECKed). Valid until the next add or remove.
  const ActorRef<M>& at(ByteView key) const {
    CHECK(!points_.empty());
    auto point = std::lower_bound(points_.begin(), points_.end(), Point{hash64(key), 0});
    return members_[(point == points_.end() ? points_.front() : *point).second].ref;
  }
  const ActorRef<M>& at(std::string_view key) const { return at(as_bytes(key)); }
  size_t size() const { return members_.size(); }

 private:
  struct Member {
    std::string name;
    ActorRef<M> ref;
  };
  using Point = std::pair<uint64_t, size_t>;  // on the circle of hashes; place in members_

  void place() {
    // By name, so that who owns a point that two members hash to does not depend on history.
    std::sort(members_.begin(), members_.end(),
              [](const Member& a, const Member& b) { return a.name < b.name; });
    points_.clear();
    for (size_t i = 0; i < members_.size(); ++i)
      for (uint64_t k = 0; k < kPointsPerMember; ++k)
        points_.push_back({hash64(as_bytes(members_[i].name), k + 1), i});
    std::sort(points_.begin(), points_.end());
  }

  std::vector<Member> members_;  // sorted by name
  std::vector<Point> points_;    // sorted
};

}  // namespace kahuna
