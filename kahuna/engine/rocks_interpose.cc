#include "kahuna/engine/rocks_interpose.h"

#include <dlfcn.h>
#include <rocksdb/status.h>

#include <chrono>
#include <cstring>
#include <ctime>
#include <functional>
#include <mutex>

#include "kahuna/engine/rocks_engine.h"

namespace kahuna::engine {

namespace {

constexpr uint32_t kCoinModulus = 0x7fffffff;  // 2^31 - 1; states 0 and it are fixed points

uint32_t coin_seed(uint64_t draw) {
  return uint32_t(1 + draw % (kCoinModulus - 1));
}

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

RocksScope::RocksScope(RocksEntropy* entropy) : before_(current) {
  current = entropy;
}
RocksScope::~RocksScope() {
  current = before_;
}

void seed_unscoped(uint64_t seed) {
  std::lock_guard lock(unscoped().mutex);
  unscoped().stream = RandomStream(seed, "rocksdb unscoped");
}

namespace {
void draw_id(uint64_t* a, uint64_t* b) {
  *a = current ? current->ids.next() : unscoped().next();
  *b = current ? current->ids.next() : unscoped().next();
}
bool scoped() {
  return current != nullptr;
}
uint32_t* coin_state() {
  if (current) return &current->coin_state;
  thread_local uint32_t own = coin_seed(unscoped().next());
  return &own;
}
}  // namespace

}  // namespace kahuna::engine

// RocksDB's event log puts the wall clock on every line, before our logger drops the line.
namespace std::chrono {
inline namespace _V2 {
system_clock::time_point system_clock::now() noexcept {
  if (kahuna::engine::scoped()) return time_point();
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return time_point(seconds(now.tv_sec) + nanoseconds(now.tv_nsec));
}
}  // namespace _V2
}  // namespace std::chrono

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
void GenerateRawUniqueId(uint64_t* a, uint64_t* b, bool) {
  kahuna::engine::draw_id(a, b);
}

class SemiStructuredUniqueIdGen {
 public:
  void Reset();
  void GenerateNext(uint64_t* upper, uint64_t* lower);
};
void SemiStructuredUniqueIdGen::Reset() {}
void SemiStructuredUniqueIdGen::GenerateNext(uint64_t* upper, uint64_t* lower) {
  kahuna::engine::draw_id(upper, lower);
}

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

namespace {
template <class Method>
void* address_of(Method method) {
  void* address;
  static_assert(sizeof method >= sizeof address);
  std::memcpy(&address, &method, sizeof address);
  return address;
}
}  // namespace

bool rocks_interposed() {
  auto ours = [](const char* symbol, void* address) {
    return dlsym(RTLD_DEFAULT, symbol) == address;
  };
  return ours("_ZN7rocksdb19GenerateRawUniqueIdEPmS0_b",
              address_of(&rocksdb::GenerateRawUniqueId)) &&
         ours("_ZN7rocksdb6Random14GetTLSInstanceEv",
              address_of(&rocksdb::Random::GetTLSInstance)) &&
         ours("_ZN7rocksdb25SemiStructuredUniqueIdGen12GenerateNextEPmS1_",
              address_of(&rocksdb::SemiStructuredUniqueIdGen::GenerateNext)) &&
         ours("_ZN7rocksdb25SemiStructuredUniqueIdGen5ResetEv",
              address_of(&rocksdb::SemiStructuredUniqueIdGen::Reset)) &&
         ours(
             "_ZN7rocksdb21PeriodicTaskScheduler8RegisterENS_"
             "16PeriodicTaskTypeERKSt8functionIFvvEE",
             address_of(&rocksdb::PeriodicTaskScheduler::Register));
}

}  // namespace kahuna::engine
