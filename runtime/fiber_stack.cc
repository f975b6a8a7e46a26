#include "runtime/fiber_stack.h"

#include <sys/mman.h>

#include <algorithm>

#include "runtime/check.h"
#include "runtime/fiber_switch.h"

namespace kahuna {
namespace {
constexpr size_t kPageBytes = 4096;
constexpr size_t kFirstSlabStacks = 8;
constexpr size_t kMaxSlabStacks = 512;
// Linux 6.13: faults like an unmapped page but costs no mapping of its own. Older C libraries do
// not name it.
constexpr int kGuardInstall = 102;
}  // namespace

FiberStackPool::FiberStackPool(size_t stack_bytes)
    : stack_bytes_((std::max(stack_bytes, 4 * kGuardBytes) + kPageBytes - 1) / kPageBytes *
                   kPageBytes) {}

FiberStackPool::~FiberStackPool() {
  CHECK_EQ(in_use_, 0u);
  for (const Slab& slab : slabs_) ::munmap(slab.base, slab.stacks * stack_bytes_);
}

void FiberStackPool::grow() {
  size_t stacks =
      slabs_.empty() ? kFirstSlabStacks : std::min(slabs_.back().stacks * 2, kMaxSlabStacks);
  size_t bytes = stacks * stack_bytes_;
  void* base = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  CHECK(base != MAP_FAILED);
  ::madvise(base, bytes, MADV_NOHUGEPAGE);  // one touched stack must not commit 2 MiB
  slabs_.push_back({static_cast<std::byte*>(base), stacks});
  fresh_ = stacks;
}

void FiberStackPool::guard(std::byte* base) {
  if (::madvise(base, kGuardBytes, kGuardInstall) == 0) return;
  if (::mprotect(base, kGuardBytes, PROT_NONE) == 0) return;
  ++unguarded_;
}

FiberStack FiberStackPool::take() {
  std::byte* base;
  if (!free_.empty()) {
    base = free_.back();
    free_.pop_back();
  } else {
    if (fresh_ == 0) grow();
    const Slab& slab = slabs_.back();
    base = slab.base + (slab.stacks - fresh_--) * stack_bytes_;
    guard(base);
  }
  ++in_use_;
  return {base + kGuardBytes, base + stack_bytes_};
}

void FiberStackPool::give_back(FiberStack stack) {
  CHECK_GT(in_use_, 0u);
  --in_use_;
  forget_stack_poison(stack);
  if (free_.size() >= kWarmStacks) ::madvise(stack.low, stack.size(), MADV_DONTNEED);
  free_.push_back(stack.low - kGuardBytes);
}

}  // namespace kahuna
