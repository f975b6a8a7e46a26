// The in-memory twin of the RocksDB engine: a sorted map, made durable by whole or incremental
// images on the host's disk. It serves most simulator seeds, so that flush and recovery are judged
// under the same crashes as the product's.
//
// On disk (`dir`): NUMBER.full holds every row, NUMBER.delta what changed since NUMBER - 1. A file
// is written as NUMBER.tmp, synced, renamed, and its directory synced; so a file under its final
// name is whole, or damaged. State = the highest .full and every .delta above it.
//
//   M1 superseded record rows (RowKind::kRecord) are dropped at once;
//   M2 a flush takes its cut when it is called; writes meanwhile belong to the next one;
//   M3 after a flush failed with anything but kNoSpace, every further flush fails the same way.
//
// Belongs to one loop.
#pragma once

#include <memory>
#include <string>

#include "kahuna/engine/engine.h"
#include "runtime/fiber.h"
#include "runtime/host.h"

namespace kahuna::engine {

// Opens or creates the images in `dir` and loads them. Suspends. kDamaged: a file fails its
// checksum or one is missing in the row; kVersion: written by a newer version; kIo.
Result<std::unique_ptr<Engine>> open_memory_engine(Suspend suspend, Host& host, Fibers& fibers,
                                                   std::string dir = "engine");

// Without a disk: a flush completes soon and nothing survives. For unit tests and benchmarks.
std::unique_ptr<Engine> make_volatile_engine(Scheduler& scheduler);

}  // namespace kahuna::engine
