// The in-memory engine's files: how one image is laid out, written and read back.
//
//   magic "KHMI" · format u32 (1) · number u64 · full u64 (1 or 0) · marks u64 · body bytes u64
//   · crc32c of body u32 · crc32c of the 44 bytes before u32 · body
//   body = marks x (group u64 · index u64 · term u64), then operations as in WriteBatch
//
// All little endian. A file under its final name was synced before it got that name.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "kahuna/engine/engine.h"
#include "runtime/fiber.h"
#include "runtime/host.h"

namespace kahuna::engine {

using Marks = std::map<PartitionId, raft::LogPosition>;

struct ImageName {
  uint64_t number = 0;
  bool full = false;
};
std::string name_of(ImageName image);  // "00000000000000000007.delta"
std::optional<ImageName> parse_image_name(std::string_view name);

// A header and marks, to be followed by operations; seal_image() fills in what depends on them.
std::string begin_image(ImageName image, const Marks& marks);
void seal_image(std::string& bytes);

struct Image {
  Marks marks;
  std::string bytes;            // the whole file
  std::string_view operations;  // inside bytes
};
// Reads and verifies a whole image. kDamaged, kVersion, kIo.
Result<Image> read_image(Suspend suspend, Disk& disk, const std::string& dir, ImageName image);

}  // namespace kahuna::engine
