#include "kahuna/engine/rocks_interpose.h"

#include <dlfcn.h>
#include <rocksdb/status.h>

#include <cstring>
#include <functional>
#include <mutex>

#include "kahuna/engine/rocks_engine.h"

namespace kahuna::engine {

namespace {

constexpr uint32_t kCoinModulus = 0x7fffffff;  // 2^31 - 1; states 0 and it are fixed points

uint32_t coin_seed(uint64_t draw) { return uint32_t(1 + draw % (kCoinModulus - 1)); }

struct Unscoped {
  std::mutex mutex;
  RandomStream stream{0, "rocksdb unscoped"};
  uint64_t next() {
    std::lock_guard lock(mutex);
    return stream.next();
  }
};
// RocksDB's threads may outlive main's locals.
Unscoped& unscoped() {
  static auto* source = new Unscoped;
  return *source;
}

thread_local RocksEntropy* current = nullptr;

}  // namespace

RocksEntropy::RocksEntropy(RandomStream stream)
    : ids(stream.split("ids")), coin_state(coin_seed(stream.split("coins").next())) {}

RocksScope::RocksScope(RocksEntropy* entropy) : before_(current) { current = entropy; }
RocksScope::~RocksScope() { current = before_; }

void seed_unscoped(uint64_t seed) {
  std::lock_guard lock(unscoped().mutex);
  unscoped().stream = RandomStream(seed, "rocksdb unscoped");
}

namespace {
void draw_id(uint64_t* a, uint64_t* b) {
  *a = current ? current->ids.next() : unscoped().next();
  *b = current ? current->ids.next() : unscoped().next();
}
uint32_t* coin_state() {
  if (current) return &current->coin_state;
  thread_local uint32_t own = coin_seed(unscoped().next());
  return &own;
}
}  // namespace

}  // namespace kahuna::engine

namespace rocksdb {

enum class PeriodicTaskType : uint8_t;
class PeriodicTaskScheduler {
 public:
  Status Register(PeriodicTaskType type, const std::function<void()>& task);
};
Status PeriodicTaskScheduler::Register(PeriodicTaskType, const std::function<void()>&) {
  return Status::OK();
}

void GenerateRawUniqueId(uint64_t* a, uint64_t* b, bool exclude_env_unique_id);
void GenerateRawUniqueId(uint64_t* a, uint64_t* b, bool) { kahuna::engine::draw_id(a, b); }

// RocksDB's class is exactly its 32-bit state.
class Random {
 public:
  static Random* GetTLSInstance();
};
Random* Random::GetTLSInstance() {
  return reinterpret_cast<Random*>(kahuna::engine::coin_state());
}

}  // namespace rocksdb

namespace kahuna::engine {

bool rocks_interposed() {
  auto ours = [](const char* symbol, void* address) {
    return dlsym(RTLD_DEFAULT, symbol) == address;
  };
  auto registers = &rocksdb::PeriodicTaskScheduler::Register;
  void* register_address;
  static_assert(sizeof registers >= sizeof register_address);
  std::memcpy(&register_address, &registers, sizeof register_address);
  return ours("_ZN7rocksdb19GenerateRawUniqueIdEPmS0_b",
              reinterpret_cast<void*>(&rocksdb::GenerateRawUniqueId)) &&
         ours("_ZN7rocksdb6Random14GetTLSInstanceEv",
              reinterpret_cast<void*>(&rocksdb::Random::GetTLSInstance)) &&
         ours("_ZN7rocksdb21PeriodicTaskScheduler8RegisterENS_16PeriodicTaskTypeERKSt8functionIFvvEE",
              register_address);
}

}  // namespace kahuna::engine
