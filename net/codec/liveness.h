// Finds out that a connection is dead while nothing says so: its other side is gone, or one of its
// directions leads nowhere, and no reset ever comes (half-open; a proxy that hangs). For the side
// that dialed and may have nothing to expect; the side that accepted answers kPing with kPong.
//
// 1. A connection that is not used costs nothing: no frame, no timer. A ping goes out with what its
//    owner sends, when nothing has come back for kQuiet; one at a time.
// 2. `dead` is called kLooksMax looks, kLook apart, after the ping left; anything heard before that
//    ends the wait. A process that was stopped meanwhile counts that time as one look.
// 3. Slow is not dead: while the stream still takes bytes queued before the ping, the count starts
//    anew. So the wait is bounded by what may be unsent (FrameConnection::Options).
//
// Not here: the peer's process being slow (it answers, or is as good as dead), and accepted
// connections whose dialer is gone (their owner closes them when it is greeted anew).
#pragma once

#include "net/codec/frame.h"
#include "runtime/callback.h"
#include "runtime/host.h"
#include "runtime/time.h"

namespace kahuna::codec {

class Liveness {
 public:
  static constexpr Duration kQuiet = Duration::seconds(1);
  static constexpr Duration kLook = Duration::millis(500);
  static constexpr int kLooksMax = 5;

  // `clock` outlives this. `dead` runs in a turn of its own; it may destroy this.
  Liveness(Clock& clock, Callback<void()> dead) : clock_(clock), dead_(std::move(dead)) {}
  ~Liveness() { end(); }
  Liveness(const Liveness&) = delete;
  Liveness& operator=(const Liveness&) = delete;

  // The other side has just answered the greeting. The connection lives until end().
  void begin(FrameConnection& connection);
  void end();
  // The owner has sent a frame, or wanted to.
  void on_use();
  // A frame has come, of any kind.
  void on_heard();

 private:
  void ping();
  void look();

  Clock& clock_;
  Callback<void()> dead_;
  FrameConnection* connection_ = nullptr;  // null: not watching
  Time heard_;                             // the last sign of life
  TimerId timer_ = 0;                      // of the next look; 0 = nothing is awaited
  bool pinged_ = false;                    // the ping is queued (else there was no room for it)
  uint64_t ping_end_ = 0;                  // the ping has left when so many bytes were taken
  uint64_t taken_ = 0;                     // as of the last look
  int looks_ = 0;                          // without a sign of life or of progress
};

}  // namespace kahuna::codec
