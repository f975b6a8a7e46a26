// Faults of single node-to-node frames inside a reliable stream: what a protocol that tolerates
// loss, duplication and reordering must survive even while its connection lives.
//
// The tap cuts what one side of a connection sends into the frames of net/codec/frame.h. Only
// frames of kind kPeer are ever touched; on the first bytes that are no frame the tap lets
// everything pass for good. Bytes of an incomplete frame wait until it is complete.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/random.h"
#include "runtime/time.h"
#include "sim/world_kernel.h"

namespace kahuna::sim {

struct FrameFaults {
  PerMillion drop = 0, duplicate = 0, delay = 0;
  // A delayed frame is overtaken by those behind it.
  Duration delay_max = Duration::millis(50);
  bool any() const { return drop > 0 || duplicate > 0 || delay > 0; }
};

struct FrameCounters {
  uint64_t seen = 0, dropped = 0, duplicated = 0, delayed = 0;
};

class FrameTap {
 public:
  // Frames held at a time; beyond that they pass.
  static constexpr size_t kHeldMax = 64;

  // Moves what may be sent now from `bytes` to its result. `hold(id, delay)` is called for each
  // frame that was held back; release(id) must follow after `delay`.
  template <class Hold>
  std::string pass(const std::string& bytes, const FrameFaults& faults, RandomStream& random,
                   FrameCounters& counters, Hold&& hold) {
    std::string out;
    if (transparent_) return bytes;
    pending_ += bytes;
    size_t at = 0;
    while (size_t length = next_frame(at)) {
      std::string_view frame = std::string_view(pending_).substr(at, length);
      at += length;
      if (!is_peer(frame)) {
        out += frame;
        continue;
      }
      ++counters.seen;
      if (happens(random, faults.drop)) {
        ++counters.dropped;
      } else if (held_.size() < kHeldMax && happens(random, faults.delay)) {
        ++counters.delayed;
        held_.push_back({++next_id_, std::string(frame)});
        hold(next_id_, draw(random, Duration::micros(10), faults.delay_max));
      } else {
        out += frame;
        if (happens(random, faults.duplicate)) {
          ++counters.duplicated;
          out += frame;
        }
      }
    }
    pending_.erase(0, at);
    if (transparent_) out += std::exchange(pending_, std::string());
    return out;
  }

  // The held frame of that id; empty when there is none.
  std::string release(uint64_t id);
  // Everything still inside, in order: the sender closes in good order.
  std::string rest();

 private:
  struct Held {
    uint64_t id;
    std::string frame;
  };
  // Length of the complete frame at pending_[at]; 0 when there is none yet, or no frame at all.
  size_t next_frame(size_t at);
  static bool is_peer(std::string_view frame);

  std::string pending_;
  std::vector<Held> held_;
  uint64_t next_id_ = 0;
  bool transparent_ = false;
};

}  // namespace kahuna::sim
