// FiberStackPool: guarded stacks for the fibers of one loop. Private to fiber.cc.
//
// 1. A stack is `stack_bytes` of address space; its lowest kGuardBytes fault when touched.
// 2. Memory is committed by touching it. A stack that is given back keeps its pages while few are
//    free (kWarmStacks), so that spawning in a steady state costs no page fault.
// 3. The last stack given back is the first one taken.
//
// This is the one place of runtime/ that calls the operating system: it asks for address space.
#pragma once

#include <cstddef>
#include <vector>

namespace kahuna {

struct FiberStack {
  std::byte* low = nullptr;  // first usable byte, above the guard
  std::byte* top = nullptr;  // one past the last; stacks grow down from here
  explicit operator bool() const { return top != nullptr; }
  size_t size() const { return static_cast<size_t>(top - low); }
};

class FiberStackPool {
 public:
  static constexpr size_t kGuardBytes = 16 * 1024;
  static constexpr size_t kWarmStacks = 256;

  // `stack_bytes` includes the guard; rounded up to whole pages; at least four guards.
  explicit FiberStackPool(size_t stack_bytes);
  // All stacks must have been given back (CHECKed).
  ~FiberStackPool();
  FiberStackPool(const FiberStackPool&) = delete;
  FiberStackPool& operator=(const FiberStackPool&) = delete;

  // Aborts when the machine has no address space left.
  FiberStack take();
  void give_back(FiberStack stack);

  size_t in_use() const { return in_use_; }
  // Stacks that could not be guarded: old kernels allow only some 32,000 guards per process.
  size_t unguarded() const { return unguarded_; }

 private:
  struct Slab {
    std::byte* base;
    size_t stacks;
  };
  void grow();
  void guard(std::byte* base);

  size_t stack_bytes_;
  size_t in_use_ = 0;
  size_t unguarded_ = 0;
  size_t fresh_ = 0;  // stacks of the last slab that were never handed out
  std::vector<Slab> slabs_;
  std::vector<std::byte*> free_;  // bases of stacks given back, last in first out
};

}  // namespace kahuna
