// The C++ client: one connection per node, pipelined, over any host. Asynchronous: completions run
// on the loop of `host`; use it from that thread only.
//
// C1 every write carries an operation id (client, sequence, birth watermark), the same on every
//    attempt; so a retry after an unknown outcome never executes twice (DESIGN §8, trap 40);
// C2 an error whose did_it_happen() is kNo means: provably not executed and it never will be;
//    when some attempt may have been executed and no answer came in time, the error is kUnknown;
// C3 the watermark of every reply is remembered and sent with every later request;
// C4 leaders are learned from Response.route (hash ranges) and asked directly the next time;
// C5 at most `in_flight_max` operations; beyond it kOverloaded.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/callback.h"
#include "runtime/error.h"
#include "runtime/host.h"
#include "runtime/ids.h"

namespace kahuna::client {

struct Options {
  std::vector<Address> endpoints;            // at least one; more are learned, while connected
  Duration timeout = Duration::seconds(10);  // per operation, over all its attempts
  Duration attempt_timeout = Duration::seconds(2);  // then another attempt, perhaps elsewhere
  Duration connect_timeout = Duration::seconds(1);
  size_t in_flight_max = 65'536;
  // Requests to one node that its connection has not taken yet; beyond it they wait. The largest
  // request must fit.
  size_t unsent_bytes_max = size_t{16} << 20;
  // Tells the clients of one host apart: operation ids derive from the host's random seed and this.
  // Two clients that live on one host, together or one after the other, must not share it.
  uint64_t entity = 0;
};

struct SetOptions {
  bool if_exists = false;
  bool if_absent = false;
  std::optional<std::string> if_value;
  std::optional<Revision> if_revision;
  std::optional<Duration> timeout;
};

struct WriteReply {
  bool done = false;  // false: a condition did not hold, or delete found nothing
  Revision revision;  // new, or the current one when not done
  Watermark stamp;
  bool replayed = false;
};

struct Value {
  std::string value;
  Revision revision;
  Watermark stamp;
};

struct Item {
  std::string key;
  Value value;
};

struct Page {
  std::vector<Item> items;
  std::string cursor;  // empty: complete
};

struct ExistsReply {
  bool exists = false;
  Revision revision;
};

class Client {
 public:
  static std::unique_ptr<Client> create(Host& host, Options options);
  // The destructor drops the callbacks of operations in flight: call close() first to be told. A
  // client may be destroyed inside any of its callbacks. A callback never runs inside the call that
  // started its operation.
  virtual ~Client() = default;

  virtual void set(std::string_view key, std::string_view value, SetOptions options,
                   Callback<void(Result<WriteReply>)> done) = 0;
  virtual void remove(std::string_view key, std::optional<Duration> timeout,
                      Callback<void(Result<WriteReply>)> done) = 0;
  // Linearizable.
  virtual void get(std::string_view key, std::optional<Duration> timeout,
                   Callback<void(Result<std::optional<Value>>)> done) = 0;
  virtual void exists(std::string_view key, std::optional<Duration> timeout,
                      Callback<void(Result<ExistsReply>)> done) = 0;
  // One page of the keys directly inside `bucket` (text before the last '/').
  virtual void scan(std::string_view bucket, std::string_view cursor, uint32_t limit,
                    std::optional<Duration> timeout, Callback<void(Result<Page>)> done) = 0;
  // Who belongs to the cluster: a wish of kahuna/node/roster.h. Done once it is recorded; the
  // replicas follow. Not done: somebody else changed members at that moment.
  virtual void members(std::string_view wish, std::optional<Duration> timeout,
                       Callback<void(Result<WriteReply>)> done) = 0;
  // Status of the node at one endpoint (not forwarded), JSON. Tried once: kUnavailable, kTimeout.
  virtual void status(const Address& endpoint, Callback<void(Result<std::string>)> done) = 0;

  // Asks the node at that endpoint to read back what it has on its disk, if `node` is its name;
  // either way, what it has to say of its last scrub, or of the one under way, as JSON. As
  // status().
  virtual void scrub(const Address& endpoint, std::string_view node,
                     Callback<void(Result<std::string>)> done) = 0;

  // Hands leadership of a partition to the node of that name; done when it leads.
  virtual void move_leader(PartitionId partition, std::string_view node,
                           Callback<void(Result<>)> done) = 0;

  // Completes everything in flight before it returns: kUnknown for writes that may have happened,
  // kClosed otherwise. Every later operation completes with kClosed.
  virtual void close() = 0;
  virtual Watermark watermark() const = 0;
  // Roster as last heard; the configured endpoints before that.
  virtual std::vector<Address> known_nodes() const = 0;
};

}  // namespace kahuna::client
