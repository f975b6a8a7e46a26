// What the simulated devices and the world share: true time, the event queue, the trace.
// Private to sim/world*, sim/sim_*: users include sim/world.h.
#pragma once

#include <cstdint>

#include "runtime/random.h"
#include "runtime/time.h"
#include "sim/event_queue.h"
#include "sim/trace.h"

namespace kahuna::sim {

// The simulation's own clock, which no node can read; 0 = the beginning of the run.
using TrueTime = detail::Instant<struct TrueClockTag>;

enum class EventKind : uint8_t {
  kNone = 0,
  kTask = 1,            // the world's or harness's own; a = task id
  kTurn = 2,            // a postponed turn of a node; a = incarnation
  kWakeup = 3,          // a node's earliest timer; a = incarnation
  kDisk = 4,            // an operation completes; a = operation, b = incarnation
  kOffload = 5,         // offloaded work completes; a = operation, b = incarnation
  kSyn = 6,             // a connection attempt reaches its target; a = connection, b = 1 repeated
  kSynAck = 7,          // its answer reaches the initiator; a = connection, b = 1 refused
  kConnectTimeout = 8,  // a = connection
  kSegment = 9,         // bytes, an end or a reset reach a node; a = connection · end, b = segment
  kWritable = 10,  // a stream accepts bytes again, or (b = 1) reads again; a = connection · end
  kGiveUp = 11,    // the network gave up; a = connection · end
  kFrameRelease = 12,  // a frame that was held back goes on; a = connection · end, b = held frame
  kAccept = 13,        // as an input of a node only: a = connection
  kConnected = 14,     // as an input of a node only: a = connection
  kPost = 15,          // a task of another loop of the node arrives; a = task, b = process
};
const char* name_of(EventKind kind);

// Small and trivially copyable: what it refers to lives in its device's pools.
struct Event {
  EventKind kind = EventKind::kNone;
  uint32_t node = 0;
  uint64_t a = 0, b = 0;
  uint64_t digest = 0;
};

// A chance in parts per million.
using PerMillion = uint32_t;
inline bool happens(RandomStream& random, PerMillion chance) {
  return chance > 0 && random.below(1'000'000) < chance;
}
// Uniform in [low, high].
inline Duration draw(RandomStream& random, Duration low, Duration high) {
  if (high <= low) return low;
  return Duration::nanos(static_cast<int64_t>(
      random.between(static_cast<uint64_t>(low.nanos()), static_cast<uint64_t>(high.nanos()))));
}

// A process of a node has one event loop or several. An event names one loop of one incarnation in
// a word, which for the first loop is the incarnation itself.
constexpr uint64_t process_id(uint64_t incarnation, size_t loop) {
  return incarnation | uint64_t{loop} << 48;
}
constexpr size_t loop_of_process(uint64_t id) {
  return id >> 48;
}

class Kernel {
 public:
  explicit Kernel(uint64_t run_seed) : seed(run_seed) {}
  virtual ~Kernel() = default;
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;

  EventId schedule(TrueTime at, const Event& event) {
    return queue.push(at < now ? now.nanos() : at.nanos(), event);
  }
  // Hands an input to a node's event loop; dropped when that incarnation is gone.
  virtual void deliver(uint32_t node, uint64_t incarnation, const Event& input) = 0;
  // Something was done for the node's process outside of a turn that a turn's end must finish.
  virtual void want_turn(uint32_t node) = 0;
  // True when the node runs a process now (paused or not).
  virtual bool node_up(uint32_t node) const = 0;
  // The incarnation that runs now; 0 when none does.
  virtual uint64_t incarnation_of(uint32_t node) const = 0;

  const uint64_t seed;
  TrueTime now;
  EventQueue<Event> queue;
  Trace trace;
  uint64_t postponed_turns = 0;
};

}  // namespace kahuna::sim
