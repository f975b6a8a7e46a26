// What the clients of a run do: the mix of operations, keys, values, rates and deadlines, drawn by
// omission (first which kinds exist at all, then how often), issued through the real client
// library, recorded in a History.
//
// One ClientDriver lives on one client host and is destroyed with it; what it had open then stays
// open in the history. Arrivals are open-loop: a slow answer delays nobody else, up to a bounded
// number of processes per client. Between two operations a driver has exactly one timer.
//
//   O1 arrival k of a client host depends on (seed, host, k) and on what the clients saw of its key
//      only: leaving some out ("operations.only", a selection of arrivals by host, "c1#17") does
//      not shift the others;
//   O2 the number of the value that an operation writes names its host and arrival.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kahuna/client/client.h"
#include "runtime/host.h"
#include "sim/history.h"
#include "sim/spec.h"

namespace kahuna::sim {

// The bytes of a value. At least kValueBytesMin long unless it is blank; the same (value, bytes)
// always gives the same bytes, and any damage to them shows.
inline constexpr size_t kValueBytesMin = 40;
std::string value_bytes(ValueId value, size_t bytes);
// How long the value with this number is, in a run whose longest is `max`; each size class as
// likely.
size_t value_size(ValueId value, size_t max);
// kBlank, a value's number, or kGarbage.
ValueId value_of(std::string_view bytes);

struct OperationMix {
  // Weights; 0 = this kind does not exist in the run.
  uint32_t set = 0, remove = 0, get = 0, exists = 0, scan = 0;
  // Conditional sets, out of the sets, in percent: of what kind the condition is drawn.
  uint32_t if_absent = 0, if_exists = 0, compare_value = 0, compare_revision = 0;
  uint32_t both_compares = 0;
  uint32_t total() const { return set + remove + get + exists + scan; }
};

struct Workload {
  OperationMix mix;
  uint64_t rate = 0;       // operations per virtual second, over all clients; 0 = idle
  uint64_t clients = 1;    // client hosts
  uint64_t processes = 4;  // concurrent operations per client, at most
  uint64_t keys = 8, buckets = 2;
  uint64_t hot_percent = 0;  // of operations that go to the first key
  bool bursts = false;       // arrivals come in groups
  // The last `lull_length` of every `lull_every` nothing arrives from anybody; zero: no such
  // spells.
  Duration lull_every, lull_length;
  uint64_t value_bytes_max = 128;
  uint32_t blank_percent = 0;
  Duration timeout, attempt_timeout;
  uint64_t scan_limit_max = 100;
  // A client refuses more than so many at once, and has no more than so much in a connection's
  // queue.
  size_t in_flight_max = 65'536, unsent_bytes_max = size_t{16} << 20;
  // Arrivals that become operations, by host ("c1", …); none: all.
  std::optional<Selection> only;
  // A client is thrown away and replaced by a new one this often; zero = never.
  Duration replace_clients;

  std::string key(uint64_t i) const;
  std::string bucket(uint64_t i) const;
};

// "register,cas,scan,delete,…": names of kinds that may exist; see docs/simulation.md.
Result<> restrict_mix(OperationMix& mix, std::string_view list);
Workload draw_workload(Spec& spec);

// What all clients of a run share.
struct WorkloadState {
  Workload workload;
  History history;
  uint32_t clients = 0;  // client library instances so far
  // Revisions and values last seen, by key number: conditions aim at them, so that they often hold.
  struct Seen {
    int64_t revision = -1;
    ValueId value = kBlank;
  };
  std::vector<Seen> seen;
  Time (*true_time)(void*) = nullptr;
  void* true_time_context = nullptr;
  bool stopped = false;

  Time now() const { return true_time(true_time_context); }
};

class ClientDriver {
 public:
  struct Patience {
    Duration timeout, attempt_timeout;
  };
  // `number` is the host's, from 0. `state` outlives the driver. Starts issuing when run() is
  // called.
  ClientDriver(Host& host, WorkloadState& state, std::vector<Address> endpoints, uint64_t number,
               Patience patience);
  ~ClientDriver();
  ClientDriver(const ClientDriver&) = delete;
  ClientDriver& operator=(const ClientDriver&) = delete;

  void run();
  // The addresses for clients that are created from now on.
  void know(std::vector<Address> endpoints);
  // A client that knows them takes the place of the one there is, when nothing is in flight.
  void renew();
  // No new operations from now on.
  void stop();
  size_t open_operations() const;
  // Operation::client of what it issues now.
  uint32_t client_number() const;

  // One operation outside the mix, recorded like the others. `done` gets the completed operation.
  void set(std::string_view key, Callback<void(const Operation&)> done);
  void get(std::string_view key, Callback<void(const Operation&)> done);
  // Not recorded. True: done.
  void members(std::string_view wish, Callback<void(bool)> done);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kahuna::sim
