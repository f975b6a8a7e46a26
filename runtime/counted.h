// CountedPtr<T>: shared ownership of a T that derives from Counted, without atomics.
//
// 1. Belongs to one event loop: copies are made and dropped on that loop's thread only.
// 2. Cycles are the owner's to break.
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

namespace kahuna {

class Counted {
 public:
  Counted() = default;
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 protected:
  virtual ~Counted() = default;

 private:
  template <class T>
  friend class CountedPtr;
  uint64_t references_ = 0;
};

template <class T>
class CountedPtr {
 public:
  CountedPtr() = default;
  CountedPtr(std::nullptr_t) {}
  explicit CountedPtr(T* object) : object_(object) {
    if (object_) ++count(object_);
  }
  CountedPtr(const CountedPtr& other) : CountedPtr(other.object_) {}
  CountedPtr(CountedPtr&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  template <class U>
  requires std::is_convertible_v<U*, T*> CountedPtr(const CountedPtr<U>& other)
      : CountedPtr(other.get()) {}
  CountedPtr& operator=(CountedPtr other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~CountedPtr() {
    if (object_ && --count(object_) == 0) delete static_cast<Counted*>(object_);
  }

  T* get() const { return object_; }
  T& operator*() const { return *object_; }
  T* operator->() const { return object_; }
  explicit operator bool() const { return object_ != nullptr; }
  friend bool operator==(const CountedPtr&, const CountedPtr&) = default;

 private:
  static uint64_t& count(Counted* object) { return object->references_; }

  T* object_ = nullptr;
};

template <class T, class... Args>
CountedPtr<T> make_counted(Args&&... args) {
  return CountedPtr<T>(new T(std::forward<Args>(args)...));
}

}  // namespace kahuna
