// The exactly-once records of a partition, all in memory, oldest first. Their rows are in
// the engine.
//
// Why a bounded table is enough (trap 40). An operation executes with stamp > birth, and stamps
// only grow, so records are evicted in stamp order and the floor is the highest stamp evicted:
//   - executed and evicted: birth < stamp <= floor, so a retry is refused as too old;
//   - birth >= floor and no record: had it executed, its record, with stamp > birth >= floor,
//     would still be here;
//     so it never executed, and may.
// A first attempt born below the floor is refused too: its client hears a newer watermark and sends
// the operation under a new id.
#pragma once

#include <cstdint>
#include <deque>
#include <string_view>

#include "kahuna/partition/flat_index.h"
#include "kahuna/partition/rows.h"

namespace kahuna::partition {

class OperationTable {
 public:
  // `seed`: see FlatIndex; clients choose their operations' ids.
  explicit OperationTable(uint64_t seed = 0) : seed_(seed) {}

  // Null when there is no record.
  const Reply* find(uint64_t client, uint64_t sequence) const;
  // Newest; evicts nothing.
  void append(OperationRow row);
  size_t size() const { return rows_.size(); }
  const OperationRow& oldest() const { return rows_.front(); }
  // 0 = the oldest.
  const OperationRow& operator[](size_t place) const { return rows_[place]; }
  void evict_oldest();

 private:
  // Rows are numbered by arrival over [0, kNumbers), wrapping, so that no number
  // is FlatIndex::kNone.
  static constexpr uint32_t kNumbers = uint32_t{1} << 31;

  uint64_t hash(uint64_t client, uint64_t sequence) const;
  const OperationRow& at(uint32_t number) const { return rows_[(number - first_) % kNumbers]; }

  uint64_t seed_;
  std::deque<OperationRow> rows_;
  FlatIndex index_;
  uint32_t first_ = 0;  // number of rows_[0]
};

}  // namespace kahuna::partition
