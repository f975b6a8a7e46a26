// How our databases are set up: RocksDB's options, and the filter that drops superseded records.
#pragma once

#include <rocksdb/options.h>
#include <rocksdb/slice_transform.h>

#include <atomic>
#include <memory>

#include "kahuna/engine/rocks_engine.h"
#include "runtime/error.h"

namespace kahuna::engine {

// Our own bound on full memtables. RocksDB's is higher, since beyond it a flush is not begun any
// more unless somebody waits for it.
inline constexpr int kMemtablesWaitingMax = 3;

// Has rows looked for beside the row of the same kind that was inserted before, which helps batches
// in order of rows. RocksDB keeps one place per prefix for rows and removed ranges, which lie in
// different lists: while a batch removes ranges no hint may be used. Set by the one writer.
class InsertionHints final : public rocksdb::SliceTransform {
 public:
  void use(bool on) { on_ = on; }
  const char* Name() const override { return "kahuna-insertion-hints"; }
  rocksdb::Slice Transform(const rocksdb::Slice& row) const override { return {row.data(), 1}; }
  bool InDomain(const rocksdb::Slice& row) const override { return on_ && !row.empty(); }

 private:
  bool on_ = false;
};

// `env` null: production. Everything that decides what bytes are written is the same in both modes.
// A job that begins while `views` is not zero drops nothing superseded: RocksDB asks a filter even
// about rows that a snapshot still needs. One that began earlier drops only what a view taken since
// sees superseded, too.
rocksdb::Options rocks_settings(const RocksOptions& options, rocksdb::Env* env,
                                std::shared_ptr<const InsertionHints> hints,
                                std::shared_ptr<const std::atomic<int>> views);

// To read a file beside the open database. `direct`: from the disk, not from what the system keeps
// of it.
rocksdb::Options rocks_scrub_settings(rocksdb::Env* env, bool direct);

// kOverloaded: try again later; kNoSpace; kDamaged; kInUse; kIo.
Error error_of(const rocksdb::Status& status);

}  // namespace kahuna::engine
