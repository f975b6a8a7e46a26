#include "kahuna/engine/image.h"

#include <array>
#include <charconv>

#include "runtime/check.h"
#include "runtime/hash.h"

namespace kahuna::engine {

namespace {
constexpr int kReadAttempts = 4;
constexpr std::string_view kMagic = "KHMI";
constexpr uint32_t kFormat = 1;
constexpr size_t kDigits = 20;
constexpr size_t kMarkBytes = 24;

struct Header {
  char magic[4];
  uint32_t format;
  uint64_t number, full, marks, body_bytes;
  uint32_t body_checksum;
  uint32_t header_checksum;
};
static_assert(sizeof(Header) == 48 && offsetof(Header, header_checksum) == 44);

uint32_t checksum_of(const Header& header) {
  return crc32c(
      ByteView(reinterpret_cast<const std::byte*>(&header), offsetof(Header, header_checksum)));
}

template <class T>
void append(std::string& out, const T& v) {
  out.append(reinterpret_cast<const char*>(&v), sizeof v);
}

bool zero_filled(std::string_view name) {
  return name.find_first_not_of("0123456789") == kDigits;
}

}  // namespace

std::string name_of(ImageName image) {
  std::string digits = std::to_string(image.number);
  return std::string(kDigits - digits.size(), '0') + digits + (image.full ? ".full" : ".delta");
}

std::optional<ImageName> parse_image_name(std::string_view name) {
  if (name.size() <= kDigits || !zero_filled(name)) return std::nullopt;
  std::string_view suffix = name.substr(kDigits);
  if (suffix != ".full" && suffix != ".delta") return std::nullopt;
  ImageName image{.full = suffix == ".full"};
  auto [end, error] = std::from_chars(name.data(), name.data() + kDigits, image.number);
  if (error != std::errc() || end != name.data() + kDigits) return std::nullopt;
  return image;
}

std::string begin_image(ImageName image, const Marks& marks) {
  Header header{
      .format = kFormat, .number = image.number, .full = image.full, .marks = marks.size()};
  kMagic.copy(header.magic, kMagic.size());
  std::string bytes;
  append(bytes, header);
  for (const auto& [group, applied] : marks) {
    std::array<uint64_t, 3> mark{group.value(), applied.index.value(), applied.term.value()};
    append(bytes, mark);
  }
  return bytes;
}

void seal_image(std::string& bytes) {
  CHECK_GE(bytes.size(), sizeof(Header));
  Header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  std::string_view body = std::string_view(bytes).substr(sizeof header);
  header.body_bytes = body.size();
  header.body_checksum = crc32c(as_bytes(body));
  header.header_checksum = checksum_of(header);
  std::memcpy(bytes.data(), &header, sizeof header);
}

Result<Image> read_image(Suspend suspend, Disk& disk, const std::string& dir, ImageName name) {
  std::string path = dir + "/" + name_of(name);
  auto damaged = [&](std::string_view what) {
    return fail(ErrorCode::kDamaged, "engine image " + path + ": " + std::string(what));
  };
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, open(suspend, disk, path, OpenOptions()));
  Image image;
  image.bytes.resize(file->size());
  MutableByteView all(reinterpret_cast<std::byte*>(image.bytes.data()), image.bytes.size());
  auto read = read_whole(suspend, *file, 0, all, kReadAttempts);
  // What the disk never gives back is lost.
  if (!read && read.error().code == ErrorCode::kIo)
    return damaged("cannot be read: " + read.error().text);
  if (!read) return fail(std::move(read.error()));
  const size_t got = *read;
  if (got != image.bytes.size() || got < sizeof(Header)) return damaged("too short");
  Header header;
  std::memcpy(&header, image.bytes.data(), sizeof header);
  if (std::string_view(header.magic, sizeof header.magic) != kMagic ||
      header.header_checksum != checksum_of(header))
    return damaged("its header fails its checksum");
  if (header.format != kFormat)
    return fail(ErrorCode::kVersion, "engine image " + path + " is of a newer format");
  std::string_view body = std::string_view(image.bytes).substr(sizeof header);
  if (header.body_bytes != body.size() || header.body_checksum != crc32c(as_bytes(body)))
    return damaged("its body fails its checksum");
  if (header.number != name.number || (header.full != 0) != name.full)
    return damaged("it belongs under another name");
  if (header.marks > body.size() / kMarkBytes) return damaged("its marks do not fit");
  for (uint64_t i = 0; i < header.marks; ++i) {
    std::array<uint64_t, 3> mark;
    std::memcpy(mark.data(), body.data() + i * kMarkBytes, kMarkBytes);
    image.marks[PartitionId(mark[0])] = {Index(mark[1]), Term(mark[2])};
  }
  image.operations = body.substr(header.marks * kMarkBytes);
  return image;
}

}  // namespace kahuna::engine
