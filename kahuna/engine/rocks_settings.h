// How our databases are set up: RocksDB's options, and the filter that drops superseded records.
#pragma once

#include <rocksdb/options.h>

#include "kahuna/engine/rocks_engine.h"
#include "runtime/error.h"

namespace kahuna::engine {

// Our own bound on full memtables. RocksDB's is higher, since beyond it a flush is not begun any more
// unless somebody waits for it.
inline constexpr int kMemtablesWaitingMax = 3;

// `env` null: production. Everything that decides what bytes are written is the same in both modes.
rocksdb::Options rocks_settings(const RocksOptions& options, rocksdb::Env* env);

// kOverloaded: try again later; kNoSpace; kDamaged; kInUse; kIo.
Error error_of(const rocksdb::Status& status);

}  // namespace kahuna::engine
