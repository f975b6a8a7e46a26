// A file system whose reads are tried again, and say damage when they never succeed: what a disk
// cannot read any more is lost, whereas RocksDB would report the same I/O error at every start.
#pragma once

#include <rocksdb/file_system.h>

#include <memory>

namespace kahuna::engine {

// Attempts at one read before it counts as damage.
inline constexpr int kReadAttempts = 4;

std::shared_ptr<rocksdb::FileSystem> with_persistent_reads(
    std::shared_ptr<rocksdb::FileSystem> base);

}  // namespace kahuna::engine
