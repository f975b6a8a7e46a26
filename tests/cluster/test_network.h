// How the nodes of a cluster test reach each other, how the test reaches them, and how to keep
// bytes from arriving: silently and in one direction, as a broken cable would.
//
//   N1 after cut(a, b) nothing that a sends reaches b, and neither hears of it; b still reaches a;
//   N2 connections survive a cut: what was sent meanwhile arrives some time after it was healed;
//   N3 a cut lasts until heal_all(); the network lasts longer than the processes on it.
//
// Used from one thread: the one that made it, which is the process's first in namespaces().
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "runtime/error.h"
#include "runtime/host.h"

namespace kahuna::testing {

class TestNetwork {
 public:
  // The test itself, beside the nodes 0, 1, 2, ...
  static constexpr size_t kTest = SIZE_MAX;

  // Plain loopback: cannot cut anything.
  static std::unique_ptr<TestNetwork> loopback(size_t nodes);
  // Loopback; nodes reach each other through a proxy for every ordered pair, in threads of this
  // process. The test's own connections are not cut, except those a node's hints lead to a proxy.
  static std::unique_ptr<TestNetwork> proxies(size_t nodes);
  // Every node in a network namespace of its own, joined by a bridge in another one, where the
  // calling thread lives until the network is destroyed. Nothing of it shows outside. Needs root
  // (CAP_SYS_ADMIN) and iproute2; the error says what is missing.
  static Result<std::unique_ptr<TestNetwork>> namespaces(size_t nodes);

  virtual ~TestNetwork() = default;
  virtual std::string_view name() const = 0;
  // Where a node listens, and where others (or kTest) dial it.
  virtual Address listen(size_t node) const = 0;
  virtual Address address(size_t from, size_t to) const = 0;
  // The network namespace of a node's process, as a descriptor; -1: that of the test.
  virtual int namespace_of(size_t node) const = 0;

  virtual bool cuts() const { return true; }
  virtual void cut(size_t from, size_t to) = 0;  // not kTest, with proxies
  virtual void heal_all() = 0;
};

}  // namespace kahuna::testing
