// What the batches of a journal add up to, group by group. Pure.
//
// Batches are applied in order; a later record wins. A batch whose body is lost is applied from its
// header: its hard states count, and its entries become placeholders of known (index, term).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kahuna/journal/format.h"
#include "kahuna/journal/journal.h"
#include "kahuna/journal/live_index.h"

namespace kahuna::journal {

class Replay {
 public:
  // Records of a good body in segment `life`; stops at one that is not well formed.
  void apply_body(ByteView records, uint32_t life);
  // A body known lost though later batches exist: its entries are faulty unless something later
  // replaces or releases them. `where` names the place, for people.
  void apply_damaged(const HeaderItems& items, uint32_t life, const std::string& where);
  // A lost last body: states count, entries are faulty. Returns the records that say so, for the
  // seal. What it copied forward is skipped: the originals are still there.
  std::vector<std::byte> faulty_records(const HeaderItems& items) const;

  // kDamaged when a group's log has a hole.
  Result<> check() const;
  std::map<PartitionId, RecoveredGroup> groups() const;
  // Fills an empty index with both views as recovered.
  void fill(LiveIndex& index) const;
  // What was applied as lying in life `from` lies in `to`.
  void move_life(uint32_t from, uint32_t to);
  uint64_t records() const { return records_; }

 private:
  struct Slot {
    raft::Entry entry;  // payload is empty when lost
    bool lost = false;
    uint32_t life = 0;
    uint64_t bytes = 0;
    uint32_t where = 0;  // into places_, when lost
  };
  struct Group {
    StateItem state;
    uint32_t state_life = 0;  // 0 = no state record seen
    std::map<uint64_t, Slot> log;
  };
  Group& group(uint64_t id);
  void apply(const Record& record, uint32_t life);
  void apply_state(const StateItem& state, uint32_t life);
  void placeholders(Group& group, const RangeItem& range, uint32_t life, uint32_t where);

  std::map<uint64_t, Group> groups_;
  std::vector<std::string> places_{""};
  uint64_t records_ = 0;
};

}  // namespace kahuna::journal
