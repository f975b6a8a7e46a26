// THE SEAM. Everything the product asks of a machine, as small interfaces that are built in main
// (net/: epoll, io_uring) or in sim/, and handed down. No globals, no singletons (DESIGN §3).
//
// One Host serves one event loop of one node and is used from that loop's thread only; loops of one
// node reach each other through Loops.
//
// 1. Turns. A host collects inputs (completions, timers, other loops' messages), then samples
// now(),
//    then runs the callbacks, then the deferred ones, then submits. now() is constant in a turn and
//    never older than any input of that turn (trap 18).
// 2. A completion never runs inside the call that started the operation; it runs in a later
// callback
//    of this or a later turn.
// 3. Every operation completes exactly once, unless the host is torn down first: then never.
// 4. Buffers handed to an operation stay valid and untouched until it completes.
// 5. Nothing here blocks; blocking work goes through Offload.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/bytes.h"
#include "runtime/callback.h"
#include "runtime/error.h"
#include "runtime/random.h"
#include "runtime/time.h"

namespace kahuna {

// Names an armed timer; 0 = none. Never reused within a host.
using TimerId = uint64_t;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Time now() const = 0;
  virtual WallTime wall() const = 0;
  // Runs `task` in the first turn whose now() >= deadline. A deadline in the past means next turn.
  virtual TimerId call_at(Time deadline, Callback<void()> task) = 0;
  // After cancel(id) the task never runs. Cancelling 0 or a timer that already ran does nothing.
  virtual void cancel(TimerId id) = 0;
};

class Scheduler {
 public:
  virtual ~Scheduler() = default;
  // Runs `task` soon, in this or the next turn. Real: FIFO. Simulated: the order among posted tasks
  // of one node is drawn.
  virtual void post(Callback<void()> task) = 0;
  // Runs `task` at the end of this turn, FIFO, after every callback and posted task of the turn;
  // tasks deferred meanwhile run in the same turn. For flushing batches.
  virtual void defer(Callback<void()> task) = 0;
};

using IoDone = Callback<void(Result<size_t>)>;
using Done = Callback<void(Result<>)>;

// A random-access file. Destroying it closes it; operations in flight then complete unobserved
// (their callbacks do not run), but their buffers must outlive the host's next turn regardless:
// keep the File alive until its operations have completed.
class File {
 public:
  virtual ~File() = default;
  // Reads up to bytes.size(); short at end of file (0 = at or past it) or at the device's whim.
  virtual void read_at(uint64_t offset, MutableByteView bytes, IoDone done) = 0;
  // Writes up to bytes.size(); may be short. Extends the file when needed. Errors: kNoSpace, kIo.
  // Two writes in flight that overlap have no order.
  virtual void write_at(uint64_t offset, ByteView bytes, IoDone done) = 0;
  // write_at() of bytes that are durable when it completes, as if a sync had followed; says nothing
  // of other writes. An error may be the sync's: final.
  virtual void write_durably_at(uint64_t offset, ByteView bytes, IoDone done);
  // All writes that completed before this call are durable when it succeeds. A failure is final:
  // the caller must crash, never retry (the kernel may have dropped the dirty pages).
  virtual void sync(Done done) = 0;
  // Bytes in the file as of the last completed operation.
  virtual uint64_t size() const = 0;
};

struct OpenOptions {
  bool create = false;     // create when missing (durable only after sync_dir of its directory)
  bool exclusive = false;  // with create: fail with kInUse when it exists
  bool write = false;      // writable
  bool lock = false;    // take the whole-file exclusive lock or fail with kInUse; held until close
  bool direct = false;  // a hint: unbuffered; offsets, sizes and buffers are then 4096-aligned
};

// Paths are relative to the node's data directory, '/'-separated; "" is the directory itself.
class Disk {
 public:
  virtual ~Disk() = default;
  virtual void open(std::string path, OpenOptions options,
                    Callback<void(Result<std::unique_ptr<File>>)> done) = 0;
  // Atomically replaces `to`. Durable after sync_dir of the directory.
  virtual void rename(std::string from, std::string to, Done done) = 0;
  virtual void remove(std::string path, Done done) = 0;  // a file, or an empty directory
  // Names (not paths) in a directory, sorted bytewise. kNotFound when there is no such directory.
  virtual void list(std::string dir, Callback<void(Result<std::vector<std::string>>)> done) = 0;
  virtual void make_dir(std::string path, Done done) = 0;  // fine if it exists
  virtual void sync_dir(std::string path, Done done) = 0;
  // The directory in the machine's own terms, for libraries that open files themselves (RocksDB).
  virtual std::string native_path(std::string_view path) const = 0;
};

// "host:port"; host is a literal address or a name (resolved by the host). Port 0 = pick one.
struct Address {
  std::string host;
  uint16_t port = 0;
  friend auto operator<=>(const Address&, const Address&) = default;
};
// Parses "127.0.0.1:2073", "[::1]:2073", "name:2073". kInvalid says what is wrong.
Result<Address> parse_address(std::string_view text);
// Whether a node may be called so: 1..64 of letters, digits, '-', '_', '.'.
bool valid_name(std::string_view name);
std::string to_string(const Address& address);

// Receives a stream's events. Never called after the Stream is destroyed.
class StreamHandler {
 public:
  virtual ~StreamHandler() = default;
  // Some bytes, in order, in pieces of any size; the view is valid during the call only.
  virtual void on_data(ByteView bytes) = 0;
  // write() will accept bytes again after it had accepted fewer than asked.
  virtual void on_writable() = 0;
  // The last event: the peer closed or reset, or the network gave up. Bytes written may or may not
  // have arrived.
  virtual void on_closed(Error reason) = 0;
};

// A connected byte stream. Destroying it closes it at once; unsent bytes may be lost. May be
// destroyed inside any of its handler's calls.
class Stream {
 public:
  virtual ~Stream() = default;
  // Must be called once before the first event is delivered, in the turn the stream was received.
  virtual void set_handler(StreamHandler* handler) = 0;
  // Takes a prefix of `bytes` and returns its length (0..size). Short when too much is unsent;
  // on_writable follows. After the stream closed it takes everything and drops it.
  // Bytes taken in one turn are sent together at its end.
  virtual size_t write(ByteView bytes) = 0;
  // Stops and resumes on_data (back-pressure). Starts resumed.
  virtual void pause_reading() = 0;
  virtual void resume_reading() = 0;
  virtual Address peer() const = 0;
};

// Destroying it stops listening.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual Address address() const = 0;  // with the port that was picked
};

class Network {
 public:
  virtual ~Network() = default;
  // kInUse when the address is taken. May block while the system resolves a name: for start-up
  // only.
  virtual Result<std::unique_ptr<Listener>> listen(
      const Address& address, Callback<void(std::unique_ptr<Stream>)> on_accept) = 0;
  // kUnavailable: refused or unreachable; kTimeout: no answer within `timeout`.
  virtual void connect(const Address& address, Duration timeout,
                       Callback<void(Result<std::unique_ptr<Stream>>)> done) = 0;
};

// Runs blocking work away from the loop. Real: a small thread pool; `work` must not touch anything
// of the loop. Simulated: a drawn delay, then inline. `done` runs on the loop, after `work`.
class Offload {
 public:
  virtual ~Offload() = default;
  virtual void run(Callback<void()> work, Callback<void()> done) = 0;
};

struct Host;

// The event loops of one node (one process), as one of them sees the others. They share the disk,
// the address, the clocks and the fate of the process; nothing else.
class Loops {
 public:
  virtual ~Loops() = default;
  virtual size_t count() const = 0;  // 1..kLoopsMax
  virtual size_t self() const = 0;   // 0 = the home loop, which every node has
  // Of another loop: for tasks that run there, never for this one.
  virtual Host& host(size_t loop) = 0;
  // Runs `task` on another loop, in a later turn of it. Tasks from one loop to another run in
  // order. A task owns what it refers to: nothing it holds is touched here afterwards (a Payload is
  // shared without atomics, so its bytes are handed over as a copy). False: too many tasks wait
  // there, `task` is left as it was; try later.
  virtual bool post(size_t loop, Callback<void()>&& task) = 0;
};
inline constexpr size_t kLoopsMax = 64;

// What one event loop of a node is given. Members outlive everything built from them, and only
// `loops` may be null: then there are no others.
struct Host {
  Clock* clock;
  Scheduler* scheduler;
  Disk* disk;
  Network* network;
  Offload* offload;
  // The root of this loop's randomness. Real: from the kernel; simulated: from the seed.
  uint64_t random_seed;
  Loops* loops = nullptr;

  RandomStream random(std::string_view domain, uint64_t entity = 0) const {
    return RandomStream(random_seed, domain, entity);
  }
};

}  // namespace kahuna
