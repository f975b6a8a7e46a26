#include <algorithm>
#include <cstring>
#include <new>
#include <variant>

#include "runtime/counted.h"
#include "runtime/fiber.h"

namespace kahuna {
namespace {

// The bytes of one transfer. Owned by the operation's completion as well as by the fiber, so that
// the host may touch them after the fiber was cancelled. Aligned for unbuffered files.
class Transfer final : public Counted {
 public:
  static constexpr std::align_val_t kAlignment{4096};

  explicit Transfer(size_t size)
      : size_(size), bytes_(static_cast<std::byte*>(::operator new(size, kAlignment))) {}
  ~Transfer() override { ::operator delete(bytes_, kAlignment); }

  MutableByteView first(size_t n) { return {bytes_, std::min(n, size_)}; }

 private:
  size_t size_;
  std::byte* bytes_;
};

CountedPtr<Transfer> transfer_for(size_t bytes) {
  return make_counted<Transfer>(std::min(bytes, kTransferBytes));
}

}  // namespace

Result<std::unique_ptr<File>> open(Suspend s, Disk& disk, std::string path, OpenOptions options) {
  using Opened = Result<std::unique_ptr<File>>;
  return await<Opened>(s, [&](Callback<void(Opened)> done) {
    disk.open(std::move(path), options, std::move(done));
  });
}

Result<size_t> read_whole(Suspend s, File& file, uint64_t offset, MutableByteView bytes,
                          int attempts) {
  if (bytes.empty()) return 0;
  CountedPtr<Transfer> transfer = transfer_for(bytes.size());
  size_t total = 0;
  int failures = 0;  // in a row
  while (total < bytes.size()) {
    MutableByteView piece = transfer->first(bytes.size() - total);
    auto n = await<Result<size_t>>(s, [&](IoDone done) {
      file.read_at(
          offset + total, piece,
          [transfer, done = std::move(done)](Result<size_t> r) mutable { done(std::move(r)); });
    });
    if (!n && n.error().code == ErrorCode::kIo && ++failures < attempts) continue;
    if (!n) return fail(std::move(n.error()));
    failures = 0;
    CHECK_LE(*n, piece.size());
    if (*n == 0) break;
    std::memcpy(bytes.data() + total, piece.data(), *n);
    total += *n;
  }
  return total;
}

Result<> write_whole(Suspend s, File& file, uint64_t offset, ByteView bytes) {
  if (bytes.empty()) return {};
  CountedPtr<Transfer> transfer = transfer_for(bytes.size());
  size_t total = 0;
  while (total < bytes.size()) {
    MutableByteView piece = transfer->first(bytes.size() - total);
    std::memcpy(piece.data(), bytes.data() + total, piece.size());
    ASSIGN_OR_RETURN(size_t n, await<Result<size_t>>(s, [&](IoDone done) {
                       file.write_at(offset + total, piece,
                                     [transfer, done = std::move(done)](Result<size_t> r) mutable {
                                       done(std::move(r));
                                     });
                     }));
    CHECK_LE(n, piece.size());
    if (n == 0) return fail(ErrorCode::kIo, "the file took none of the bytes written to it");
    total += n;
  }
  return {};
}

Result<> sync(Suspend s, File& file) {
  return await<Result<>>(s, [&](Done done) { file.sync(std::move(done)); });
}

Result<> rename(Suspend s, Disk& disk, std::string from, std::string to) {
  return await<Result<>>(
      s, [&](Done done) { disk.rename(std::move(from), std::move(to), std::move(done)); });
}

Result<> remove(Suspend s, Disk& disk, std::string path) {
  return await<Result<>>(s, [&](Done done) { disk.remove(std::move(path), std::move(done)); });
}

Result<std::vector<std::string>> list(Suspend s, Disk& disk, std::string dir) {
  using Names = Result<std::vector<std::string>>;
  return await<Names>(
      s, [&](Callback<void(Names)> done) { disk.list(std::move(dir), std::move(done)); });
}

Result<> make_dir(Suspend s, Disk& disk, std::string path) {
  return await<Result<>>(s, [&](Done done) { disk.make_dir(std::move(path), std::move(done)); });
}

Result<> sync_dir(Suspend s, Disk& disk, std::string path) {
  return await<Result<>>(s, [&](Done done) { disk.sync_dir(std::move(path), std::move(done)); });
}

void offload(Suspend s, Offload& offload, Callback<void()> work) {
  await<std::monostate>(s, [&](Callback<void(std::monostate)> done) {
    offload.run(std::move(work), [done = std::move(done)]() mutable { done({}); });
  });
}

}  // namespace kahuna
