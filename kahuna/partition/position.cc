#include "kahuna/partition/position.h"

#include "runtime/check.h"
#include "runtime/hash.h"

namespace kahuna::partition {

namespace {

constexpr char kTenant = '\x00';  // a varint, one byte today
constexpr char kMetaMode = '\x00';
constexpr char kHashMode = '\x01';
constexpr char kRangeMode = '\x02';
constexpr size_t kHashBytes = 8;
constexpr size_t kPrefixBytes = 1 + 1 + kHashBytes;
constexpr size_t kMetaPrefixBytes = 1 + 1;

std::string hash_prefix(uint64_t hash) {
  std::string prefix{kTenant, kHashMode};
  for (size_t i = 0; i < kHashBytes; ++i)
    prefix.push_back(char(hash >> (8 * (kHashBytes - 1 - i))));
  return prefix;
}

uint64_t hash_of_space(std::string_view space) {
  return hash64(as_bytes(space));
}

}  // namespace

std::string_view space_of(std::string_view key) {
  return key.substr(0, key.rfind('/'));
}

std::string position_of(std::string_view key) {
  std::string position = key.starts_with(kReservedPrefix)
                             ? std::string{kTenant, kMetaMode}
                             : hash_prefix(hash_of_space(space_of(key)));
  position.reserve(position.size() + key.size() + 2);
  for (char c : key) {
    position.push_back(c);
    if (c == '\x00') position.push_back('\xff');
  }
  position.push_back('\x00');
  position.push_back('\x01');
  return position;
}

std::string key_of(std::string_view position) {
  if (position.size() < kMetaPrefixBytes || position[0] != kTenant) return {};
  size_t prefix = position[1] == kMetaMode ? kMetaPrefixBytes : kPrefixBytes;
  if (position.size() < prefix + 2 || position[1] > kHashMode) return {};
  std::string_view body = position.substr(prefix, position.size() - prefix - 2);
  if (!position.ends_with(std::string_view("\x00\x01", 2))) return {};
  std::string key;
  key.reserve(body.size());
  for (size_t i = 0; i < body.size(); ++i) {
    key.push_back(body[i]);
    if (body[i] != '\x00') continue;
    if (++i == body.size() || body[i] != '\xff') return {};
  }
  return key;
}

PositionRange positions_of_space(std::string_view space) {
  uint64_t hash = hash_of_space(space);
  std::string end = hash == UINT64_MAX ? std::string{kTenant, kRangeMode} : hash_prefix(hash + 1);
  return {hash_prefix(hash), std::move(end)};
}

std::vector<Descriptor> founding_descriptors(size_t count) {
  CHECK_GE(count, 1u);
  std::vector<Descriptor> all;
  all.push_back({.id = PartitionId(0), .start = "", .end = std::string{kTenant, kHashMode}});
  for (size_t i = 0; i < count; ++i) {
    // Partition i + 1 starts at i / count of the hash space; the last one has everything above.
    uint64_t first = uint64_t((static_cast<unsigned __int128>(i) << 64) / count);
    std::string start = i == 0 ? all.back().end : hash_prefix(first);
    if (i > 0) all.back().end = start;
    all.push_back({.id = PartitionId(i + 1), .start = std::move(start), .end = ""});
  }
  return all;
}

const Descriptor& find_descriptor(const std::vector<Descriptor>& descriptors,
                                  std::string_view position) {
  size_t low = 0, high = descriptors.size();  // the last one that starts at or before position
  while (high - low > 1) {
    size_t middle = low + (high - low) / 2;
    (descriptors[middle].start <= position ? low : high) = middle;
  }
  CHECK(!descriptors.empty());
  CHECK(descriptors[low].contains(position));
  return descriptors[low];
}

}  // namespace kahuna::partition
