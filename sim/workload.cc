#include "sim/workload.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "runtime/check.h"

namespace kahuna::sim {

// "v<value>.<bytes>." and filler that depends on both.
std::string value_bytes(ValueId value, size_t bytes) {
  if (value == kBlank) return {};
  CHECK_GT(value, 0);
  bytes = std::max(bytes, kValueBytesMin);
  std::string text = fmt::format("v{}.{}.", value, bytes);
  size_t head = text.size();
  text.resize(bytes);
  uint64_t word = detail::finalize(static_cast<uint64_t>(value) * 0x9e3779b97f4a7c15ull + bytes);
  for (size_t i = head; i < bytes; i += 8, word += 0x9e3779b97f4a7c15ull) {
    uint64_t mixed = word ^ word >> 29;
    std::memcpy(text.data() + i, &mixed, std::min<size_t>(8, bytes - i));
  }
  return text;
}

size_t value_size(ValueId value, size_t max) {
  if (value == kBlank) return 0;
  RandomStream random(static_cast<uint64_t>(value), "value-size");
  size_t size = kValueBytesMin;
  while (size < max && random.chance(1, 2)) size = std::min(max, size * 3);
  return size;
}

ValueId value_of(std::string_view bytes) {
  if (bytes.empty()) return kBlank;
  if (bytes.size() < kValueBytesMin || bytes[0] != 'v') return kGarbage;
  size_t dot = bytes.substr(0, 24).find('.');
  if (dot == std::string_view::npos) return kGarbage;
  auto value = parse_number(bytes.substr(1, dot - 1));
  if (!value || *value == 0) return kGarbage;
  ValueId id = static_cast<ValueId>(*value);
  return value_bytes(id, bytes.size()) == bytes ? id : kGarbage;
}

std::string Workload::bucket(uint64_t i) const {
  return fmt::format("b{}", i % buckets);
}
std::string Workload::key(uint64_t i) const {
  return fmt::format("{}/k{}", bucket(i), i);
}

Result<> restrict_mix(OperationMix& mix, std::string_view list) {
  OperationMix only;
  for (const std::string& name : split_list(list)) {
    if (name == "register")
      only.set = only.get = 1;
    else if (name == "set")
      only.set = 1;
    else if (name == "get")
      only.get = 1;
    else if (name == "delete")
      only.remove = 1;
    else if (name == "exists")
      only.exists = 1;
    else if (name == "scan")
      only.scan = 1;
    else if (name == "cas")
      only.set = only.get = only.if_absent = 1;
    else
      return fail(ErrorCode::kInvalid,
                  fmt::format("--workload: '{}' is none of register, set, get, delete, exists, "
                              "scan, cas",
                              name));
  }
  auto keep = [](uint32_t& weight, uint32_t wanted, uint32_t otherwise) {
    if (!wanted)
      weight = 0;
    else if (!weight)
      weight = otherwise;
  };
  keep(mix.set, only.set, 40);
  keep(mix.get, only.get, 40);
  keep(mix.remove, only.remove, 10);
  keep(mix.exists, only.exists, 10);
  keep(mix.scan, only.scan, 5);
  if (!only.if_absent) {
    mix.if_absent = mix.if_exists = mix.compare_value = mix.compare_revision = 0;
    mix.both_compares = 0;
  } else {
    keep(mix.if_absent, 1, 10);
    keep(mix.if_exists, 1, 10);
    keep(mix.compare_value, 1, 20);
    keep(mix.compare_revision, 1, 20);
  }
  if (mix.total() == 0) return fail(ErrorCode::kInvalid, "--workload: names no operation");
  return {};
}

Workload draw_workload(Spec& spec) {
  Workload w;
  auto weight = [&](std::string_view name, uint32_t missing, uint32_t low, uint32_t high) {
    RandomStream random = spec.stream(name);
    bool omitted = random.chance(missing, 100);
    uint64_t drawn = random.between(low, high);
    return static_cast<uint32_t>(spec.pick(name, {{omitted ? 0 : drawn, 1}}));
  };
  w.mix.set = weight("mix.set", 3, 10, 60);
  w.mix.get = weight("mix.get", 15, 5, 60);
  w.mix.remove = weight("mix.delete", 40, 2, 25);
  w.mix.exists = weight("mix.exists", 50, 2, 15);
  w.mix.scan = weight("mix.scan", 50, 1, 10);
  w.mix.if_absent = weight("mix.if-absent", 50, 3, 30);
  w.mix.if_exists = weight("mix.if-exists", 50, 3, 30);
  w.mix.compare_value = weight("mix.if-value", 40, 5, 50);
  w.mix.compare_revision = weight("mix.if-revision", 40, 5, 50);
  w.mix.both_compares = weight("mix.if-both", 70, 2, 10);
  if (w.mix.set == 0) w.mix.set = 10;  // something must be written, or the run says nothing
  w.rate = spec.pick("rate", {{2, 6}, {10, 14}, {30, 20}, {100, 30}, {300, 20}, {1000, 8}, {0, 2}});
  w.clients = spec.pick("clients", {{1, 15}, {2, 25}, {3, 25}, {5, 25}, {8, 10}});
  w.processes = spec.pick("processes", {{1, 15}, {2, 20}, {4, 30}, {10, 25}, {40, 10}});
  w.keys = spec.pick("keys", {{1, 10}, {2, 15}, {5, 30}, {12, 25}, {40, 15}, {300, 5}});
  w.buckets = spec.number("buckets", 1, 6);
  w.hot_percent = spec.pick("hot-percent", {{0, 50}, {30, 20}, {70, 20}, {95, 10}});
  w.bursts = spec.flag("bursts", 30, 100);
  bool lulls = spec.flag("lulls", 35, 100);
  w.lull_every = spec.duration_log("lull-every", Duration::seconds(2), Duration::seconds(25));
  w.lull_length = w.lull_every * static_cast<int64_t>(spec.number("lull-percent", 30, 90)) / 100;
  if (!lulls) w.lull_every = w.lull_length = Duration();
  w.value_bytes_max = spec.pick(
      "value-bytes-max", {{kValueBytesMin, 30}, {200, 40}, {4'000, 20}, {70'000, 8}, {900'000, 2}});
  w.blank_percent = static_cast<uint32_t>(spec.pick("blank-percent", {{0, 60}, {3, 30}, {30, 10}}));
  w.timeout = spec.duration_log("timeout", Duration::millis(200), Duration::seconds(12));
  w.attempt_timeout =
      spec.duration_log("attempt-timeout", Duration::millis(100), Duration::seconds(3));
  w.scan_limit_max = spec.pick("scan-limit-max", {{1, 20}, {3, 20}, {100, 40}, {1000, 20}});
  w.in_flight_max = spec.pick("in-flight-max", {{65'536, 92}, {1, 2}, {3, 4}, {9, 2}});
  w.unsent_bytes_max = spec.pick("unsent-bytes-max", {{16 << 20, 90}, {0, 5}, {10'000, 5}});
  bool replace = spec.flag("replace-clients", 30, 100);
  w.replace_clients =
      spec.duration_log("replace-every", Duration::millis(500), Duration::seconds(10));
  if (!replace) w.replace_clients = Duration();
  w.only = spec.selection("operations.only");
  return w;
}

}  // namespace kahuna::sim
