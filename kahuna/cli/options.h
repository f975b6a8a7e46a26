// What the command line said, checked: one struct per verb. Made by parse.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "runtime/host.h"

namespace kahuna::cli {

// Exit statuses of every verb but `sim`.
enum Status : int {
  kSuccess = 0,
  kNegative = 1,     // get, exists, delete: no such key; put: a condition did not hold. server:
                     // failed. scrub: damage was found
  kUsage = 2,        // the command line or the request is wrong
  kUnavailable = 3,  // not done: no node or no quorum reachable, or no answer in time
  kUnknown = 4,      // sent, outcome not known
};

struct ConnectOptions {
  std::vector<Address> endpoints;
  Duration timeout = Duration::seconds(5);
  bool json = false;
};

struct PutOptions {
  std::string key, value;
  bool if_absent = false, if_exists = false;
  std::optional<std::string> if_value;
  std::optional<int64_t> if_revision;
};
struct GetOptions {
  std::string key;
};
struct DeleteOptions {
  std::string key;
};
struct ExistsOptions {
  std::string key;
};
struct ScanOptions {
  std::string bucket, cursor;
  uint64_t limit = 0;  // keys in all; 0 = every key
};
struct StatusOptions {};
struct MembersOptions {
  std::string what;  // list | add | remove | promote
  std::string name;  // of the member; add: where the new node waits
  bool learner = false;
};
struct ScrubOptions {
  std::string node;  // "": all of them
};
struct MoveLeaderOptions {
  uint64_t partition = 0;
  std::string node;
};

enum class Workload : uint8_t { kPut, kGet, kMixed };
struct BenchOptions {
  Workload workload = Workload::kMixed;
  size_t connections = 64;
  size_t pipeline = 1;
  size_t clients = 0;  // client objects the connections share; 0 = one each
  size_t value_bytes = 128;
  uint64_t keys = 10'000;
  Duration duration = Duration::seconds(10);
  Duration warmup = Duration::seconds(1);
  uint64_t rate = 0;  // operations a second; 0 = closed loop
  std::string prefix = "bench-";
};

struct LocalOptions {
  std::optional<size_t> nodes;  // 3, or what the directory holds
  std::string data = "kahuna-data";
  std::optional<size_t> partitions;   // 16
  std::optional<uint16_t> base_port;  // 2073, or what the directory holds
  size_t loops = 1;                   // event loops of each node
  std::string engine = "rocks", io = "uring";
};

struct ServerOptions {
  std::string name = "n1";
  Address listen;
  std::string data;
  std::vector<std::pair<std::string, Address>> founders;
  bool joins = false;         // a cluster that exists; then there are no founders
  std::vector<Address> join;  // whom to ask; none: it waits
  size_t partitions = 16;
  size_t loops = 1;              // event loops, each with a thread
  std::string engine = "rocks";  // rocks | memory
  std::string io = "uring";      // uring | epoll
  std::string reads = "quorum";  // quorum | lease
  uint32_t clock_drift_ppm_max = 1000;
  Duration request_timeout = Duration::seconds(10);
  Duration election_timeout_min = Duration::millis(500);
  Duration election_timeout_max = Duration::millis(1000);
  Duration heartbeat_interval = Duration::millis(100);
  size_t flush_bytes = size_t{64} << 20;
  size_t log_keep_bytes = size_t{64} << 20;
  size_t snapshot_bytes_per_second = size_t{64} << 20;
  size_t scrub_bytes_per_second = size_t{16} << 20;
  Duration scrub_interval = Duration::seconds(86'400);  // zero: never by itself
  std::string log_level = "info";
};

struct VersionOptions {};
struct CompletionOptions {};

struct Invocation {
  ConnectOptions connect;
  std::variant<PutOptions, GetOptions, DeleteOptions, ExistsOptions, ScanOptions, StatusOptions,
               MembersOptions, MoveLeaderOptions, ScrubOptions, BenchOptions, LocalOptions,
               ServerOptions, VersionOptions, CompletionOptions>
      verb;
};

}  // namespace kahuna::cli
