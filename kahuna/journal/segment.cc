#include "kahuna/journal/segment.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::journal {
namespace {
constexpr size_t kChunkBytes = size_t{1} << 20;
constexpr std::byte kUnreadable{0xdb};
constexpr std::string_view kTemporarySuffix = ".new";
}  // namespace

PageBuffer::~PageBuffer() {
  ::operator delete(data_, std::align_val_t(kPageBytes));
}

void PageBuffer::ensure(size_t bytes) {
  if (bytes <= capacity_) return;
  bytes = round_up(bytes, kPageBytes);
  auto* grown = static_cast<std::byte*>(::operator new(bytes, std::align_val_t(kPageBytes)));
  ::operator delete(data_, std::align_val_t(kPageBytes));
  data_ = grown;
  capacity_ = bytes;
}

namespace {
// `holder` keeps the bytes; none: they are there for good.
Result<> write_bytes(Suspend suspend, SegmentPtr segment, uint64_t offset, ByteView bytes,
                     std::shared_ptr<PageBuffer> holder) {
  for (size_t done = 0; done < bytes.size();) {
    auto n = await<Result<size_t>>(suspend, [&](IoDone report) {
      segment->file->write_at(offset + done, bytes.subspan(done),
                              [segment, holder, report = std::move(report)](
                                  Result<size_t> result) mutable { report(std::move(result)); });
    });
    if (!n) return fail(std::move(n.error()));
    const size_t progress = round_down(*n, segment->header.unit);
    if (progress == 0) return fail(ErrorCode::kIo, "write made no progress");
    done += progress;
  }
  return {};
}
}  // namespace

Result<> write_part(Suspend suspend, SegmentPtr segment, uint64_t offset,
                    std::shared_ptr<PageBuffer> buffer, size_t bytes) {
  CHECK_LE(bytes, buffer->capacity());
  return write_bytes(suspend, std::move(segment), offset, buffer->view(bytes), buffer);
}

Result<> sync_segment(Suspend suspend, SegmentPtr segment) {
  return await<Result<>>(suspend, [&](Done report) {
    segment->file->sync([segment, report = std::move(report)](Result<> result) mutable {
      report(std::move(result));
    });
  });
}

Result<size_t> read_part(Suspend suspend, SegmentPtr segment, uint64_t offset,
                         std::shared_ptr<PageBuffer> buffer, size_t bytes, int attempts) {
  size_t done = 0;
  int failed = 0;  // in a row
  while (done < bytes) {
    auto n = await<Result<size_t>>(suspend, [&](IoDone report) {
      segment->file->read_at(offset + done, MutableByteView(buffer->data() + done, bytes - done),
                             [segment, buffer, report = std::move(report)](
                                 Result<size_t> result) mutable { report(std::move(result)); });
    });
    if (!n && ++failed < attempts && !MUTANT(read_not_repeated)) {
      SOMETIMES(journal_reads_again);
      continue;
    }
    if (!n) return fail(std::move(n.error()));
    if (*n == 0) break;
    done += *n;
    failed = 0;
  }
  return done;
}

Result<SegmentBytes> read_image(Suspend suspend, SegmentPtr segment, uint64_t bytes) {
  SegmentBytes image(bytes);
  auto buffer = std::make_shared<PageBuffer>(std::min<uint64_t>(kChunkBytes, bytes));
  bool any = false;
  auto keep = [&](uint64_t at, size_t got, size_t size) {
    std::memset(buffer->data() + got, static_cast<int>(kUnreadable), size - got);
    image.put(at, buffer->view(size));
  };
  for (uint64_t at = 0; at < bytes; at += kChunkBytes) {
    size_t size = std::min<uint64_t>(kChunkBytes, bytes - at);
    auto n = read_part(suspend, segment, at, buffer, size, 1);
    if (n) {
      any = true;
      keep(at, *n, size);
      continue;
    }
    for (size_t page = 0; page < size; page += kPageBytes) {
      auto one = read_part(suspend, segment, at + page, buffer, kPageBytes, kReadAttempts);
      any |= one.has_value();
      if (!one) SOMETIMES(journal_unreadable_page);
      keep(at + page, one ? *one : 0, kPageBytes);
    }
  }
  if (!any) return fail(ErrorCode::kIo, "cannot read " + segment_name(segment->header.id.file));
  return image;
}

namespace {
// In each sector of the page: one that goes to a wrong place leaves no sector there that looks
// unwritten.
Result<> write_header_copy(Suspend suspend, SegmentPtr segment, uint64_t offset,
                           const SegmentHeader& header) {
  auto page = std::make_shared<PageBuffer>(kPageBytes);
  for (size_t at = 0; at < kPageBytes; at += kSectorBytes)
    encode_segment_header(header, page->view(kPageBytes).subspan(at, kSectorBytes));
  return write_part(suspend, segment, offset, page, kPageBytes);
}

Result<> fill_segment(Suspend suspend, SegmentPtr segment) {
  static_assert(kZeroBytesMax % kPageBytes == 0);
  for (uint64_t at = 0; at < segment->header.bytes; at += kZeroBytesMax) {
    size_t size = std::min<uint64_t>(kZeroBytesMax, segment->header.bytes - at);
    RETURN_IF_ERROR(write_bytes(suspend, segment, at, zero_bytes().first(size), nullptr));
  }
  RETURN_IF_ERROR(write_header_copy(suspend, segment, 0, segment->header));
  RETURN_IF_ERROR(write_header_copy(suspend, segment, kHeaderCopyOffset, segment->header));
  return sync_segment(suspend, segment);
}
}  // namespace

Result<SegmentPtr> create_segment(Suspend suspend, const SegmentPlace& place,
                                  const SegmentHeader& header) {
  std::string name = segment_name(header.id.file);
  std::string temporary = place.path(name) + std::string(kTemporarySuffix);
  auto segment = std::make_shared<Segment>();
  segment->header = header;
  segment->reset_positions();
  OpenOptions how;
  how.create = true;
  how.write = true;
  how.direct = place.direct;
  ASSIGN_OR_RETURN(segment->file, kahuna::open(suspend, *place.disk, temporary, how));
  auto filled = fill_segment(suspend, segment);
  if (!filled) {
    if (filled.error().code == ErrorCode::kNoSpace) {
      segment->file.reset();
      auto removed = kahuna::remove(suspend, *place.disk, temporary);
      (void)removed;  // Reopening clears leftovers too.
    }
    return fail(std::move(filled.error()));
  }
  RETURN_IF_ERROR(kahuna::rename(suspend, *place.disk, temporary, place.path(name)));
  RETURN_IF_ERROR(kahuna::sync_dir(suspend, *place.disk, place.dir));
  return segment;
}

Result<> begin_life(Suspend suspend, SegmentPtr segment, const SegmentHeader& header) {
  CHECK_GT(header.id.life, segment->header.id.life);
  CHECK_EQ(header.id.file, segment->header.id.file);
  CHECK_EQ(header.bytes, segment->header.bytes);
  RETURN_IF_ERROR(write_header_copy(suspend, segment, 0, header));
  RETURN_IF_ERROR(sync_segment(suspend, segment));
  RETURN_IF_ERROR(write_header_copy(suspend, segment, kHeaderCopyOffset, header));
  RETURN_IF_ERROR(sync_segment(suspend, segment));
  segment->header = header;
  segment->reset_positions();
  return {};
}

Result<SegmentPtr> open_segment(Suspend suspend, const SegmentPlace& place,
                                const std::string& name) {
  auto segment = std::make_shared<Segment>();
  segment->inherited = true;
  OpenOptions how;
  how.write = true;
  how.direct = place.direct;
  ASSIGN_OR_RETURN(segment->file, kahuna::open(suspend, *place.disk, place.path(name), how));
  auto headers = read_image(suspend, segment, kBodyZone);
  // Where anything else of the file can be read, it is not the disk that fails.
  if (!headers && headers.error().code == ErrorCode::kIo && segment->file->size() > kBodyZone)
    headers = read_image(suspend, segment, round_down(segment->file->size(), kPageBytes));
  if (!headers) return fail(std::move(headers.error()));
  auto a = decode_segment_header(headers->sector(0));
  auto b = decode_segment_header(headers->sector(kHeaderCopyOffset));
  for (auto* copy : {&a, &b})
    if (!*copy && copy->error().code == ErrorCode::kVersion) return fail(copy->error());
  if (!a && !b)
    return fail(ErrorCode::kDamaged, "journal segment " + name + ": both headers are damaged (" +
                                         a.error().text + "); nothing was changed");
  segment->header = !b || (a && a->id.life > b->id.life) ? *a : *b;
  if (segment->file->size() < segment->header.bytes)
    return fail(ErrorCode::kDamaged,
                "journal segment " + name + " was cut to " + std::to_string(segment->file->size()) +
                    " of " + std::to_string(segment->header.bytes) + " bytes; nothing was changed");
  segment->reset_positions();
  return segment;
}

}  // namespace kahuna::journal
