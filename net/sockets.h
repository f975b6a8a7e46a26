// Sockets: the Network of a production host, over any Poller. The loop's thread only.
//
// 1. Names are resolved on the offload threads, except by listen(), which resolves at once and may
//    block: a node calls it once, at boot, before it serves anybody, with a literal or a name of its
//    own machine.
// 2. connect() tries the addresses of a name one after the other, within one deadline.
#pragma once

#include <sys/socket.h>

#include <memory>
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
  Sockets(Poller& poller, Turn& turn, Offload& offload)
      : poller_(poller), turn_(turn), offload_(offload) {}

  Result<std::unique_ptr<Listener>> listen(
      const Address& address, Callback<void(std::unique_ptr<Stream>)> on_accept) override;
  void connect(const Address& address, Duration timeout,
               Callback<void(Result<std::unique_ptr<Stream>>)> done) override;

 private:
  Poller& poller_;
  Turn& turn_;
  Offload& offload_;
};

}  // namespace kahuna::net
