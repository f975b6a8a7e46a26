// Where a key lives: one ordered space for all keys of all tenants (DESIGN §6).
//
//   hash-routed (default): tenant · 01 · hash64(space), 8 bytes big endian · key
//   range-routed:          tenant · 02 · key            (not used yet)
//   meta:                  tenant · 00 · key          (keys that begin with __kahuna:)
//
// tenant is a varint, 0 today (one zero byte). A key's space is its text before the last '/', or
// the whole key when there is none; so a bucket is contiguous.
//
// The key part is escaped so that positions order as keys do and no position is a prefix of
// another: byte 00 becomes 00 FF, and the position ends with 00 01.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kahuna/partition/state_machine.h"

namespace kahuna::partition {

// Keys that begin so are the product's own and live in the meta partition.
inline constexpr std::string_view kReservedPrefix = "__kahuna:";

std::string_view space_of(std::string_view key);
std::string position_of(std::string_view key);
// The key inside a position made by position_of; empty when malformed.
std::string key_of(std::string_view position);
// Positions of every key whose space is `space`: [start, end).
struct PositionRange {
  std::string start, end;
};
PositionRange positions_of_space(std::string_view space);

// Descriptors 0..count: the meta partition (id 0) and `count` >= 1 user partitions (ids 1..count)
// that tile everything else without gap or overlap, in order.
std::vector<Descriptor> founding_descriptors(size_t count);
// The descriptor that contains the position; the list tiles the space (CHECKed).
const Descriptor& find_descriptor(const std::vector<Descriptor>& descriptors,
                                  std::string_view position);

}  // namespace kahuna::partition
