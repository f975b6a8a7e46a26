#include "sim/libc_guard.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "sim/world.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define KAHUNA_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer) || __has_feature(undefined_behavior_sanitizer)
#define KAHUNA_SANITIZED 1
#endif
#endif

namespace kahuna::sim {

#ifdef KAHUNA_SANITIZED
bool LibcGuard::compiled_in() {
  return false;
}
#else
bool LibcGuard::compiled_in() {
  return true;
}
#endif

}  // namespace kahuna::sim

#ifndef KAHUNA_SANITIZED
namespace {

using kahuna::sim::LibcGuard;

bool lies_in(void* address, const char* library) {
  Dl_info info;
  return dladdr(address, &info) != 0 && info.dli_fname && std::strstr(info.dli_fname, library);
}

// RocksDB stamps its own log lines and statistics with the time, also by way of libstdc++; neither
// is read back. What could matter (file contents, flush timing) goes through its simulated Env.
// Whether librocksdb made the call, itself or through the C++ library.
bool is_exempt(void* const* frames, int count) {
  for (int i = 0; i < count; ++i) {
    Dl_info info;
    if (dladdr(frames[i], &info) == 0 || !info.dli_fname) return false;
    if (std::strstr(info.dli_fname, "librocksdb")) return true;
    if (!std::strstr(info.dli_fname, "libstdc++")) return false;
  }
  return false;
}

// Whether that code of librocksdb itself made the call; asked often, from few places.
bool is_known_exempt(void* caller) {
  constexpr size_t kSlots = 64;
  static thread_local void* known[kSlots] = {};
  void*& slot = known[reinterpret_cast<uintptr_t>(caller) / 4 % kSlots];
  if (slot == caller) return true;
  if (!lies_in(caller, "librocksdb")) return false;
  slot = caller;
  return true;
}

// Two frames belong to us: this one and the function that was called, by `caller`.
__attribute__((noinline)) void refuse(const char* function, void* caller) {
  LibcGuard::Allow allow;
  if (is_known_exempt(caller)) return;
  void* frames[64];
  int count = backtrace(frames, 64);
  if (count > 2 && is_exempt(frames + 2, count - 2)) return;
  std::fprintf(stderr, "forbidden under simulation: %s() %s\n", function,
               kahuna::sim::World::where().c_str());
  std::fflush(stderr);
  backtrace_symbols_fd(frames, count, STDERR_FILENO);
  std::abort();
}

template <class Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

#define FORBID(function)                                        \
  static const auto next = real<decltype(function)>(#function); \
  if (LibcGuard::active()) [[unlikely]]                         \
  refuse(#function, __builtin_return_address(0))

extern "C" {

int clock_gettime(clockid_t clock, struct timespec* at) noexcept {
  FORBID(clock_gettime);
  return next(clock, at);
}
int gettimeofday(struct timeval* at, void* zone) noexcept {
  FORBID(gettimeofday);
  return next(at, zone);
}
time_t time(time_t* at) noexcept {
  FORBID(time);
  return next(at);
}
int nanosleep(const struct timespec* span, struct timespec* left) {
  FORBID(nanosleep);
  return next(span, left);
}
int clock_nanosleep(clockid_t clock, int flags, const struct timespec* span,
                    struct timespec* left) {
  FORBID(clock_nanosleep);
  return next(clock, flags, span, left);
}
int usleep(useconds_t span) {
  FORBID(usleep);
  return next(span);
}
unsigned sleep(unsigned span) {
  FORBID(sleep);
  return next(span);
}
ssize_t getrandom(void* bytes, size_t length, unsigned flags) {
  FORBID(getrandom);
  return next(bytes, length, flags);
}
int getentropy(void* bytes, size_t length) {
  FORBID(getentropy);
  return next(bytes, length);
}
int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                   void* argument) noexcept {
  FORBID(pthread_create);
  return next(thread, attributes, start, argument);
}
int socket(int domain, int type, int protocol) noexcept {
  FORBID(socket);
  return next(domain, type, protocol);
}
int open(const char* path, int flags, ...) {
  mode_t mode = 0;
  if (flags & (O_CREAT | __O_TMPFILE)) {
    va_list arguments;
    va_start(arguments, flags);
    mode = va_arg(arguments, mode_t);
    va_end(arguments);
  }
  FORBID(open);
  return next(path, flags, mode);
}

}  // extern "C"
#endif
