#include "kahuna/partition/operation_table.h"

#include "runtime/check.h"
#include "runtime/random.h"

namespace kahuna::partition {

uint64_t OperationTable::hash(uint64_t client, uint64_t sequence) const {
  return detail::finalize(client ^ detail::finalize(sequence + seed_ + 0x9e3779b97f4a7c15ull));
}

const Reply* OperationTable::find(uint64_t client, uint64_t sequence) const {
  uint32_t number = index_.find(hash(client, sequence), [&](uint32_t candidate) {
    const OperationRow& row = at(candidate);
    return row.client == client && row.sequence == sequence;
  });
  return number == FlatIndex::kNone ? nullptr : &at(number).reply;
}

void OperationTable::append(OperationRow row) {
  CHECK_LT(rows_.size(), kNumbers);
  uint64_t row_hash = hash(row.client, row.sequence);
  uint32_t number = (first_ + uint32_t(rows_.size())) % kNumbers;
  rows_.push_back(std::move(row));
  index_.insert(row_hash, number);
}

void OperationTable::evict_oldest() {
  CHECK(!rows_.empty());
  index_.erase(hash(rows_.front().client, rows_.front().sequence), first_);
  rows_.pop_front();
  first_ = (first_ + 1) % kNumbers;
}

}  // namespace kahuna::partition
