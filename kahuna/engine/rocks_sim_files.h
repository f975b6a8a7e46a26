// RocksDB's FileSystem and SystemClock over a SyncFileSystem.
#pragma once

#include <rocksdb/file_system.h>
#include <rocksdb/system_clock.h>

#include <memory>

#include "kahuna/engine/rocks_env.h"

namespace kahuna::engine {

std::shared_ptr<rocksdb::FileSystem> make_rocks_files(SyncFileSystem& files);
std::shared_ptr<rocksdb::SystemClock> make_rocks_clock(SyncFileSystem& files);

}  // namespace kahuna::engine
