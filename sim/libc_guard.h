// Aborts, with a stack, when code under simulation asks the machine for time, entropy, threads,
// sockets or files: whatever it learned there would not be a function of the seed.
//
// The calls are caught by defining them in the executable (the dynamic linker then prefers ours,
// for shared libraries too). Outside of a guard they go straight through to libc, one branch later:
// a server in the same binary is not affected. Calls made by librocksdb are let through: its own
// bookkeeping clocks cannot reach our events, since a simulated engine runs on its own Env. What no
// symbol reaches is not caught: rdtsc, rdrand, system calls made by hand, calls inside libc.
//
// Not in sanitizer builds, which have interceptors of their own.
#pragma once

namespace kahuna::sim {

// While one lives on this thread, forbidden calls abort. Nests.
class LibcGuard {
 public:
  LibcGuard() { ++depth_; }
  ~LibcGuard() { --depth_; }
  LibcGuard(const LibcGuard&) = delete;
  LibcGuard& operator=(const LibcGuard&) = delete;

  // Lifts the guard for a scope: for the simulator's own files and watches.
  class Allow {
   public:
    Allow() : depth_before_(depth_) { depth_ = 0; }
    ~Allow() { depth_ = depth_before_; }
    Allow(const Allow&) = delete;
    Allow& operator=(const Allow&) = delete;

   private:
    int depth_before_;
  };

  static bool active() { return depth_ > 0; }
  // False in builds that catch nothing.
  static bool compiled_in();

 private:
  static inline thread_local constinit int depth_ = 0;
};

}  // namespace kahuna::sim
