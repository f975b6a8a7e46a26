// Bytes: views and a shared, immutable, 8-aligned payload.
//
// Payload is reference-counted without atomics: it belongs to one event loop. Hand a copy of the
// bytes, not the Payload, to another thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace kahuna {

using ByteView = std::span<const std::byte>;
using MutableByteView = std::span<std::byte>;

inline ByteView as_bytes(std::string_view s) {
  return {reinterpret_cast<const std::byte*>(s.data()), s.size()};
}
inline std::string_view as_text(ByteView b) {
  return {reinterpret_cast<const char*>(b.data()), b.size()};
}

// Zeros to write from: page-aligned, shared by all, never changed.
inline constexpr size_t kZeroBytesMax = size_t{1} << 20;
ByteView zero_bytes();

class Payload {
 public:
  Payload() = default;
  // Copies `bytes` once; the copy starts on an 8-byte boundary (FlatBuffers reads it in place).
  explicit Payload(ByteView bytes) {
    if (bytes.empty()) return;
    block_ = static_cast<Block*>(::operator new(sizeof(Block) + bytes.size()));
    block_->references = 1;
    block_->size = bytes.size();
    std::memcpy(block_ + 1, bytes.data(), bytes.size());
  }
  explicit Payload(std::string_view text) : Payload(as_bytes(text)) {}
  Payload(const Payload& other) : block_(other.block_) {
    if (block_) ++block_->references;
  }
  Payload(Payload&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Payload& operator=(Payload other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Payload() {
    if (block_ && --block_->references == 0) ::operator delete(block_);
  }

  size_t size() const { return block_ ? block_->size : 0; }
  bool empty() const { return size() == 0; }
  const std::byte* data() const { return reinterpret_cast<const std::byte*>(block_ + 1); }
  ByteView view() const { return block_ ? ByteView(data(), size()) : ByteView(); }
  std::string_view text() const { return as_text(view()); }

  friend bool operator==(const Payload& a, const Payload& b) { return a.text() == b.text(); }

 private:
  struct alignas(8) Block {
    uint64_t references;
    uint64_t size;
  };
  Block* block_ = nullptr;
};

}  // namespace kahuna
