// Sockets: the Network of a production host, over any Poller. The loop's thread only.
//
// 1. Names are resolved on threads of their own, for a resolver may take long, and no disk must
// wait for it; except by
//    listen(), which resolves at once and may block: a node calls it once, at boot, before it
//    serves anybody, with a literal or a name of its own machine.
// 2. A name is looked up once at a time: who asks for it meanwhile waits for the same answer. One
// that came too late for
//    those who asked is kept for the next, for some seconds.
// 3. connect() tries the addresses of a name one after the other, within one deadline.
#pragma once

#include <sys/socket.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "net/connection.h"
#include "net/poller.h"
#include "net/turn.h"
#include "runtime/host.h"

namespace kahuna::net {

struct SocketAddress {
  sockaddr_storage storage = {};
  socklen_t length = 0;
};

// Literals at once; names by the system's resolver, which may block.
Result<std::vector<SocketAddress>> resolve_literal(const Address& address);
Result<std::vector<SocketAddress>> resolve_blocking(const Address& address, bool passive);
Address peer_address(int fd);
Address local_address(int fd);

class Sockets final : public Network {
 public:
  using Resolve = std::function<Result<std::vector<SocketAddress>>(
      const Address&)>;  // on the threads of `names`

  Sockets(Poller& poller, Turn& turn, Offload& names, Resolve resolve = {});
  ~Sockets() override;

  Result<std::unique_ptr<Listener>> listen(
      const Address& address, Callback<void(std::unique_ptr<Stream>)> on_accept) override;
  void connect(const Address& address, Duration timeout,
               Callback<void(Result<std::unique_ptr<Stream>>)> done) override;

 private:
  void resolved(const std::pair<std::string, uint16_t>& name,
                Result<std::vector<SocketAddress>> found);

  Poller& poller_;
  Turn& turn_;
  Offload& names_;
  const Resolve resolve_;
  struct Lookup;
  std::map<std::pair<std::string, uint16_t>, Lookup> lookups_;
};

}  // namespace kahuna::net
