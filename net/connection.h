// Connection: one TCP socket of a loop, whatever back end waits for it, and the Stream over it.
//
// Shared (counted) by its Stream, by the back end while system calls are in flight, and by events
// of the current turn. The loop's thread only.
//
// 1. The Stream's owner hears nothing once the Stream is destroyed.
// 2. While reading is paused, bytes that had been collected already are held and delivered, in
//    order, after resume_reading(), before anything newer.
// 3. `out` holds what the kernel has not taken; the back end sends from it, in flush().
// 4. A reset closes a paused connection at once; an orderly end of the peer's data does not, it is
//    noticed after resume_reading().
#pragma once

#include <optional>
#include <string>

#include "runtime/counted.h"
#include "runtime/host.h"

namespace kahuna::net {

class Poller;
class Turn;

// Something a back end waits for.
class PollTarget : public Counted {
 public:
  enum class Kind : uint8_t { kListener, kConnection };
  explicit PollTarget(Kind target_kind) : kind(target_kind) {}
  const Kind kind;
  int fd = -1;
  // uring: operations in flight, which refer to this object, and its place in the registry.
  uint32_t operations = 0;
  size_t registry_place = 0;
};

// A listening socket. `on_accept` is null once its Listener is destroyed.
class Acceptor final : public PollTarget {
 public:
  Acceptor() : PollTarget(Kind::kListener) {}
  Callback<void(int fd)> on_accept;
};

class Connection final : public PollTarget {
 public:
  enum class State : uint8_t { kConnecting, kOpen, kClosed };
  // A Stream takes this much before it says "full"; on_writable follows at half of it.
  static constexpr size_t kUnsentBytesMax = 1024 * 1024;

  Connection(Poller& poller, Turn& turn, int socket, State initial)
      : PollTarget(Kind::kConnection), state(initial), poller_(poller), turn_(turn) {
    fd = socket;
  }
  ~Connection() override;

  // A Stream over this connection, once it is open; called once.
  std::unique_ptr<Stream> make_stream();

  // For the back end, while it dispatches. The owner's code runs, and may destroy the Stream.
  void deliver(ByteView bytes);
  // `number` is an errno value; 0 = the peer finished its data.
  void deliver_close(int number);
  // The kernel took `bytes` of `out`. Runs none of the owner's code: on_writable follows as a task.
  void sent(size_t bytes);

  State state;
  bool paused = false;
  bool blocked = false;  // the kernel is full: wait for the socket to be writable
  bool dirty = false;    // in the back end's list of connections to flush
  std::string out;
  // While kConnecting: called with 0 or an errno value.
  Callback<void(int number)> on_connected;

  // Of the back end; meaning there.
  struct BackEnd {
    uint32_t events = 0;      // epoll: ends and errors that were announced and not yet met
    bool readable = false;    // epoll: the last read did not empty the socket
    bool listed = false;      // epoll: in the list of readable connections
    bool arming = false;      // uring: in the list of those that need an operation started
    bool receiving = false;   // uring: a multishot receive is in flight
    bool cancelling = false;  // uring: and so is its cancellation
    bool polling = false;     // uring: a poll for writability is in flight
    bool watching = false;    // uring: a poll for errors is in flight
    bool sending = false;     // uring: a send is submitted and has not failed so far
  } back_end;

 private:
  friend class ConnectionStream;
  void resume();
  void deliver_held();
  void offer_room();
  size_t write(ByteView bytes);
  void release();  // the Stream was destroyed

  Poller& poller_;
  Turn& turn_;
  StreamHandler* handler_ = nullptr;
  Address peer_;
  bool starved_ = false;      // write() took less than asked: on_writable is owed
  bool room_posted_ = false;  // a task that offers room waits
  bool held_posted_ = false;  // a task that delivers `held_` waits
  std::string held_;          // collected while paused
  std::optional<int> held_close_;
};

}  // namespace kahuna::net
