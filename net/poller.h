// Poller: what a back end (epoll, io_uring) does for sockets. The only virtual seam inside net/.
//
// A turn calls flush(), then collect(), then (with now() sampled) dispatch(), on the loop's thread.
//
// 1. collect() takes everything that is new, bytes included, out of the kernel and runs no
//    callback; so now(), sampled after it, is not older than any input of the turn.
// 2. dispatch() runs callbacks in the order of collection.
// 3. flush() sends what was written since the last turn: at most one send per connection. A back
//    end may leave the system calls to the collect() that follows at once.
#pragma once

#include <memory>

#include "net/connection.h"
#include "runtime/time.h"

namespace kahuna::net {

struct FileOp;  // files.h

class Poller {
 public:
  virtual ~Poller() = default;

  // Accepted descriptors go to acceptor.on_accept, in dispatch(). The descriptor stays the
  // acceptor's owner's until unwatch(), which closes it.
  virtual void watch(Acceptor& acceptor) = 0;
  virtual void unwatch(Acceptor& acceptor) = 0;
  // A connection that connects: calls on_connected once, in dispatch(); or one that is open.
  virtual void watch(Connection& connection) = 0;
  // `connection` has become open, or its `paused` changed.
  virtual void update(Connection& connection) = 0;
  // Something was appended to connection.out.
  virtual void request_flush(Connection& connection) = 0;
  // Sends what it can of connection.out without waiting, then closes the descriptor.
  virtual void close(Connection& connection) = 0;

  // Starts a file operation and takes it over: its finish() runs in dispatch(). False = not
  // supported here, it stays the caller's.
  virtual bool start(FileOp& operation) = 0;

  virtual void flush() = 0;
  // Waits for input up to `wait` (zero: not at all) and collects it.
  virtual void collect(Duration wait) = 0;
  virtual void dispatch() = 0;
  // Known work for the next turn: it must not wait.
  virtual bool has_ready() const = 0;
};

}  // namespace kahuna::net
