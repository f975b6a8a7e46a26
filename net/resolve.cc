// Addresses: literals, names, and what the kernel says about a socket.
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

#include "net/errors.h"
#include "net/sockets.h"

namespace kahuna::net {
namespace {

Address to_address(const sockaddr_storage& storage) {
  char text[INET6_ADDRSTRLEN] = "";
  if (storage.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
      inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], text, sizeof text);
    } else {
      inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
    }
    return Address{text, ntohs(v6.sin6_port)};
  }
  const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
  inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
  return Address{text, ntohs(v4.sin_port)};
}

SocketAddress from_sockaddr(const sockaddr* address, socklen_t length) {
  SocketAddress result;
  memcpy(&result.storage, address, length);
  result.length = length;
  return result;
}

}  // namespace

Result<std::vector<SocketAddress>> resolve_literal(const Address& address) {
  sockaddr_in v4 = {};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(address.port);
  if (inet_pton(AF_INET, address.host.c_str(), &v4.sin_addr) == 1) {
    return std::vector{from_sockaddr(reinterpret_cast<sockaddr*>(&v4), sizeof v4)};
  }
  sockaddr_in6 v6 = {};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(address.port);
  if (inet_pton(AF_INET6, address.host.c_str(), &v6.sin6_addr) == 1) {
    return std::vector{from_sockaddr(reinterpret_cast<sockaddr*>(&v6), sizeof v6)};
  }
  return fail(ErrorCode::kNotFound, "'" + address.host + "' is not a literal address");
}

Result<std::vector<SocketAddress>> resolve_blocking(const Address& address, bool passive) {
  if (auto literal = resolve_literal(address)) return literal;
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : AI_ADDRCONFIG);
  addrinfo* found = nullptr;
  const std::string port = std::to_string(address.port);
  const int error = getaddrinfo(address.host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) {
    return fail(ErrorCode::kUnavailable,
                "resolve '" + address.host + "': " + std::string(gai_strerror(error)));
  }
  std::vector<SocketAddress> result;
  for (const addrinfo* item = found; item; item = item->ai_next) {
    result.push_back(from_sockaddr(item->ai_addr, item->ai_addrlen));
  }
  freeaddrinfo(found);
  return result;
}

Address peer_address(int fd) {
  sockaddr_storage storage = {};
  socklen_t length = sizeof storage;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return {};
  return to_address(storage);
}

Address local_address(int fd) {
  sockaddr_storage storage = {};
  socklen_t length = sizeof storage;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return {};
  return to_address(storage);
}

}  // namespace kahuna::net
