// How many bytes may be on the way to one receiver: sent, and not acknowledged.
//
// Heartbeats and votes queue behind what else is sent. Where more is on the way than the network
// carries in a part of an election timeout, followers campaign, and nobody hears of it in time. So
// what is sent behind a full flight is timed until its answer comes, counted from the shortest wait
// that was seen. Too long: half as much, and half again for as long as no answer comes; shorter
// than half of that: twice as much. It begins low, as nothing is known of the network. What takes
// too long though next to nothing is on the way is what the network takes by now. (The idea is that
// of RFC 6817, LEDBAT.)
//
// Several groups between two nodes share one connection: each sees what all of them together keep
// waiting, but none goes below kLeast, so that many of them still fill a slow link.
#pragma once

#include <cstddef>
#include <optional>

#include "runtime/time.h"

namespace kahuna::raft {

class FlightLimit {
 public:
  static constexpr size_t kFirst = 16 * 1024;
  static constexpr size_t kLeast = 4 * 1024;

  FlightLimit() = default;
  // Never more than `most` bytes. Something may wait for `patience` longer than the network takes
  // anyway.
  FlightLimit(size_t most, Duration patience);

  size_t bytes() const { return bytes_; }
  // Something was sent whose answer is to be timed; `full`: behind as much as the limit allows.
  void asked(Time now, bool full);
  // It was not answered so far: said now and then.
  void waits(Time now);
  void answered(Time now);

 private:
  void halve();

  size_t most_ = 0;
  Duration patience_;
  size_t bytes_ = 0;
  bool full_ = false;
  Time asked_, late_from_;
  std::optional<Duration> shortest_;
};

}  // namespace kahuna::raft
