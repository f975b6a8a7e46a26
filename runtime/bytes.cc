#include "runtime/bytes.h"

namespace kahuna {
namespace {
// Not const, so that it takes no room in the file and no memory until something writes to it.
alignas(4096) std::byte zeros_[kZeroBytesMax];
}  // namespace

ByteView zero_bytes() {
  return zeros_;
}

}  // namespace kahuna
