// Recovery over arbitrary bytes. The input is a list of edits to the files of a journal that was
// whole: rot, overwritten and exchanged sectors, forged checksums, lost and shortened files.
//
// What is checked: opening never crashes; it fails only as damaged, as another version or for I/O;
// when it succeeds, a second opening finds exactly the same, and the journal goes on working. After
// a forged checksum, which no disk produces, only the first.
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kahuna/journal/format.h"
#include "kahuna/journal/journal.h"
#include "runtime/check.h"
#include "tests/journal/fake_host.h"
// The fake machine is not a library of its own.
#include "tests/journal/fake_host.cc"  // NOLINT

namespace kahuna::journal {
namespace {

using journal_test::FakeDisk;
using journal_test::Machine;
using Recovered = std::map<PartitionId, RecoveredGroup>;

Options options() {
  Options o;
  o.segment_bytes = kSegmentBytesMin;
  o.batch_bytes_max = 8 * 1024;
  return o;
}

struct Life {
  Life(FakeDisk& disk, uint64_t seed) : machine(disk, RandomStream(seed, "fuzz")) {
    bool ended = machine.run([this](Suspend s) {
      auto opened = Journal::open(s, machine.host(), machine.fibers(), options(),
                                  [](Error) { UNREACHABLE("this disk never fails"); });
      if (opened)
        journal = std::move(*opened);
      else
        error = opened.error();
    });
    CHECK(ended);
  }
  void append(uint64_t group, uint64_t first, uint64_t count, uint64_t term, size_t bytes) {
    raft::Persist persist;
    persist.hard_state = {Term(term), {NodeId(1), 1}};
    for (uint64_t i = 0; i < count; ++i) {
      raft::Entry entry{Index(first + i), Term(term), raft::EntryKind::kCommand};
      entry.payload = Payload(std::string(bytes, static_cast<char>('a' + i)));
      persist.entries.push_back(entry);
    }
    bool done = false;
    CHECK(journal->append(PartitionId(group), std::move(persist), [&] { done = true; }));
    machine.settle();
    CHECK(done);
  }
  Machine machine;
  std::unique_ptr<Journal> journal;
  std::optional<Error> error;
};

// Journals to start from: one batch; a few; several segments with releases; after restarts.
std::vector<FakeDisk> build_bases() {
  std::vector<FakeDisk> bases;
  for (uint64_t kind = 0; kind < 4; ++kind) {
    FakeDisk disk;
    {
      Life life(disk, kind);
      life.append(1, 2, 2, 1, 60);
      if (kind >= 1) {
        life.append(2, 2, 3, 1, 700);
        life.append(1, 3, 2, 2, 100);
      }
      for (uint64_t i = 0; kind >= 2 && i < 60; ++i) {
        life.append(3, 2 + i, 1, 1, 3000);
        if (i % 20 == 19) life.journal->release(PartitionId(3), Index(i - 5));
      }
      life.append(2, kind >= 1 ? 5 : 2, 1, 3, 10);
    }
    for (uint64_t i = 0; kind == 3 && i < 2; ++i) {
      Life life(disk, 10 + i);
      CHECK(life.journal != nullptr);
      if (i == 0) life.append(4, 2, 1, 1, 900);
    }
    bases.push_back(disk.clone());
  }
  return bases;
}

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  bool empty() const { return at_ >= size_; }
  uint8_t byte() { return empty() ? 0 : data_[at_++]; }
  uint32_t word() { return byte() | uint32_t{byte()} << 8; }

 private:
  const uint8_t* data_;
  size_t size_, at_ = 0;
};

struct Place {
  std::vector<std::byte>* file;
  size_t offset;
  MutableByteView sector() const { return MutableByteView(*file).subspan(offset, kSectorBytes); }
};

class Editor {
 public:
  Editor(FakeDisk& disk, Input& input) : input_(input) {
    for (const std::string& name : disk.names()) {
      auto& file = *disk.bytes(name);
      for (size_t at = 0; at + kSectorBytes <= file.size(); at += kSectorBytes)
        if (file[at + kSectorBytes - 1] != std::byte{} || file[at] != std::byte{})
          written_.push_back({&file, at});
    }
  }

  bool forged() const { return forged_; }

  void edit() {
    uint8_t kind = input_.byte();
    Place to = place();
    auto header = decode_segment_header(ByteView(*to.file).first(kSectorBytes));
    switch (kind % 8) {
      case 0:
        to.sector()[input_.word() % kSectorBytes] ^= std::byte(1u << input_.byte() % 8);
        break;
      case 1:
      case 2: {
        size_t at = input_.word() % kSectorBytes, n = input_.byte() % 24;
        for (size_t i = 0; i < n && at + i < kSectorBytes; ++i)
          to.sector()[at + i] = std::byte(input_.byte());
        if (kind % 8 == 2) forge(header, to);
        break;
      }
      case 3: std::memset(to.sector().data(), 0, kSectorBytes); break;
      case 4:
      case 5: {
        Place from = place();
        std::memmove(to.sector().data(), from.sector().data(), kSectorBytes);
        if (kind % 8 == 5) forge(header, to);
        break;
      }
      case 6:
        if (header) {
          header->id.life += input_.byte() % 5;
          header->unit = input_.byte() % 2 ? kPageBytes : kSectorBytes;
          if (input_.byte() % 4 == 0) header->bytes -= kPageBytes * (input_.byte() % 4);
          forged_ = true;
          encode_segment_header(*header, MutableByteView(*to.file).first(kSectorBytes));
        }
        break;
      case 7:
        if (input_.byte() % 8 == 0) to.file->resize(kBodyZone);
        break;
    }
  }

 private:
  Place place() {
    size_t pick = input_.word();
    return written_[pick % written_.size()];
  }
  // Makes the sector's trailer true, and sometimes of the batch before or after.
  void forge(const Result<SegmentHeader>& header, Place to) {
    if (!header || to.offset < kBodyZone) return;
    forged_ = true;
    uint64_t batch = 0;
    std::memcpy(&batch, to.sector().data() + kSectorPayload, sizeof(batch));
    uint8_t how = input_.byte();
    batch += how % 3;
    if (batch > 0 && how % 3 == 2) batch -= 3 < batch ? 3 : 0;
    SectorStamp stamp{batch, how & 64 ? Zone::kHeader : Zone::kBody, (how & 128) != 0,
                      (how & 32) != 0};
    stamp_sector(header->id, to.offset, stamp, to.sector());
  }

  Input& input_;
  std::vector<Place> written_;
  bool forged_ = false;
};

void check_same(const raft::Entry& a, const raft::Entry& b) {
  CHECK(a.index == b.index && a.term == b.term);
  CHECK(a.payload == b.payload);
}

void check_same(const Recovered& a, const Recovered& b) {
  for (const auto& [id, x] : a) {
    auto it = b.find(id);
    CHECK(it != b.end());
    const RecoveredGroup& y = it->second;
    CHECK(x.hard_state == y.hard_state);
    CHECK(x.released == y.released && x.commit == y.commit);
    CHECK_EQ(x.entries.size(), y.entries.size());
    for (size_t i = 0; i < x.entries.size(); ++i) check_same(x.entries[i], y.entries[i]);
    CHECK_EQ(x.faulty.size(), y.faulty.size());
    for (size_t i = 0; i < x.faulty.size(); ++i) {
      CHECK_EQ(x.faulty[i].lost, y.faulty[i].lost);
      check_same(x.faulty[i].entry, y.faulty[i].entry);
    }
  }
}

void run(Input input) {
  static const std::vector<FakeDisk> bases = build_bases();
  FakeDisk disk = bases[input.byte() % bases.size()].clone();
  Editor editor(disk, input);
  for (int n = 0; n < 64 && !input.empty(); ++n) editor.edit();
  disk = disk.clone();  // all of it synced
  Recovered first;
  {
    Life life(disk, 1);
    if (!life.journal) {
      ErrorCode code = life.error->code;
      CHECK(code == ErrorCode::kDamaged || code == ErrorCode::kVersion || code == ErrorCode::kIo ||
            code == ErrorCode::kInvalid);
      return;
    }
    first = life.journal->take_recovered();
  }
  if (editor.forged()) {
    Life life(disk, 4);
    return;
  }
  constexpr uint64_t kFresh = 999'999'999;
  {
    Life life(disk, 2);
    CHECK_EQ(life.error ? life.error->text : "", std::string());
    check_same(first, life.journal->take_recovered());
    if (!first.contains(PartitionId(kFresh))) life.append(kFresh, 2, 1, 1, 10);
  }
  Life life(disk, 3);
  CHECK_EQ(life.error ? life.error->text : "", std::string());
  auto again = life.journal->take_recovered();
  check_same(first, again);
  CHECK_EQ(again[PartitionId(kFresh)].entries.size(), 1u);
}

}  // namespace
}  // namespace kahuna::journal

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  kahuna::journal::run(kahuna::journal::Input(data, size));
  return 0;
}
