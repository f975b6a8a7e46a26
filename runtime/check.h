// CHECK: guards against our own mistakes. Stays on in release; prints operands and context; aborts.
// Never reachable from a client's bytes or from a damaged disk: those are errors (runtime/error.h).
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

namespace kahuna {

// Called before aborting, to add "node=… time=… seed=…" to the message. One per thread; the host
// sets it. Must not allocate more than it needs and must not CHECK.
using CheckContext = std::string (*)();
void set_check_context(CheckContext context);

[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               const std::string& operands);

namespace detail {
template <class T>
std::string operand_text(const T& v) {
  if constexpr (std::is_same_v<T, bool>) {
    return v ? "true" : "false";
  } else if constexpr (std::is_enum_v<T>) {
    return std::to_string(static_cast<int64_t>(v));
  } else if constexpr (std::is_arithmetic_v<T>) {
    return std::to_string(v);
  } else if constexpr (std::is_convertible_v<T, std::string_view>) {
    return std::string(std::string_view(v));
  } else if constexpr (requires {
                         { v.value() } -> std::integral;
                       }) {
    return std::to_string(v.value());
  } else if constexpr (requires {
                         { v.nanos() } -> std::integral;
                       }) {
    return std::to_string(v.nanos()) + "ns";
  } else if constexpr (std::is_pointer_v<T>) {
    return v ? "non-null" : "null";
  } else {
    return "?";
  }
}
template <class A, class B>
[[noreturn]] __attribute__((noinline, cold)) void check_op_failed(const char* file, int line,
                                                                  const char* condition, const A& a,
                                                                  const B& b) {
  check_failed(file, line, condition, operand_text(a) + " vs " + operand_text(b));
}
}  // namespace detail

#define CHECK(condition)                                                     \
  do {                                                                       \
    if (!(condition)) [[unlikely]]                                           \
      ::kahuna::check_failed(__FILE__, __LINE__, #condition, std::string()); \
  } while (0)

#define KAHUNA_CHECK_OP(a, op, b)                                                        \
  do {                                                                                   \
    const auto& check_a_ = (a);                                                          \
    const auto& check_b_ = (b);                                                          \
    if (!(check_a_ op check_b_)) [[unlikely]]                                            \
      ::kahuna::detail::check_op_failed(__FILE__, __LINE__, #a " " #op " " #b, check_a_, \
                                        check_b_);                                       \
  } while (0)

#define CHECK_EQ(a, b) KAHUNA_CHECK_OP(a, ==, b)
#define CHECK_NE(a, b) KAHUNA_CHECK_OP(a, !=, b)
#define CHECK_LT(a, b) KAHUNA_CHECK_OP(a, <, b)
#define CHECK_LE(a, b) KAHUNA_CHECK_OP(a, <=, b)
#define CHECK_GT(a, b) KAHUNA_CHECK_OP(a, >, b)
#define CHECK_GE(a, b) KAHUNA_CHECK_OP(a, >=, b)
#define UNREACHABLE(why) \
  ::kahuna::check_failed(__FILE__, __LINE__, "unreachable: " why, std::string())

}  // namespace kahuna
