// What a data directory says about itself: file "identity", guarded by the file "lock".
//
// 1. The lock is held for the life of the object: a second server on the directory gets kInUse.
// 2. The file is replaced atomically (temporary file, sync, rename, sync of the directory).
// 3. The boot counter is raised and durable before load() returns: no two boots share a number.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/fiber.h"
#include "runtime/host.h"
#include "runtime/ids.h"

namespace kahuna::node {

// One life of a node's process. Numbers count up in the directory; the nonce tells apart two boots of
// which one began from a copy of the directory.
struct Boot {
  uint64_t number = 0, nonce = 0;
};

struct FoundingMember {
  NodeId node;
  std::string name;
  Address address;
  uint64_t incarnation = 1;
};

// The one-time act that made the cluster; the same on every founder.
struct Founding {
  ClusterId cluster;
  std::vector<FoundingMember> members;  // in the founders' listed order
  size_t partitions = 0;
  SemanticLevel level = kCurrentSemanticLevel;
};

// schemas/meta.fbs; decode refuses what the verifier or the limits do not accept.
std::string encode_founding(const Founding& founding);
Result<Founding> decode_founding(ByteView bytes);

class Identity {
 public:
  // Locks the directory, reads the identity or formats an empty directory. Suspends.
  // kInUse: another server; kVersion: other layout; kDamaged: bad checksum, or data without identity;
  // kInvalid: the directory belongs to a node of another name.
  static Result<std::unique_ptr<Identity>> load(Suspend suspend, Host& host,
                                                const std::string& name);

  NodeId node() const { return node_; }
  Boot boot() const { return boot_; }
  const std::optional<Founding>& founding() const { return founding_; }
  // Makes the founding durable. CHECKs that there was none. Suspends.
  Result<> found(Suspend suspend, Host& host, Founding founding);

 private:
  Result<> store(Suspend suspend, Host& host);

  std::unique_ptr<File> lock_;
  NodeId node_;
  Boot boot_;
  std::string name_;
  std::optional<Founding> founding_;
};

}  // namespace kahuna::node
