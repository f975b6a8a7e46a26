#include "bench/compare/etcd_connection.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>

namespace kahuna::bench {
namespace {

constexpr size_t kFramePrefixBytes = 5;  // gRPC: a flag, then the length, big endian

[[noreturn]] void die(const char* what, const char* why) {
  std::fprintf(stderr, "etcd_load: %s: %s\n", what, why);
  std::exit(1);
}

nghttp2_nv header(std::string_view name, std::string_view value) {
  const auto bytes = [](std::string_view text) {
    return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));
  };
  return {bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

}  // namespace

std::string put_request(std::string_view key, std::string_view value) {
  std::string message;
  protozero::pbf_writer writer(message);
  writer.add_bytes(1, key.data(), key.size());
  writer.add_bytes(2, value.data(), value.size());
  return message;
}

std::string range_request(std::string_view key) {
  std::string message;
  protozero::pbf_writer writer(message);
  writer.add_bytes(1, key.data(), key.size());
  return message;
}

uint64_t range_count(std::string_view response) {
  protozero::pbf_reader reader(response.data(), response.size());
  uint64_t count = 0;
  while (reader.next()) {
    if (reader.tag() == 4) {
      count = static_cast<uint64_t>(reader.get_int64());
    } else {
      reader.skip();
    }
  }
  return count;
}

struct EtcdConnection::Callbacks {
  static EtcdConnection& of(void* self) { return *static_cast<EtcdConnection*>(self); }

  static int on_header(nghttp2_session*, const nghttp2_frame*, const uint8_t* name,
                       size_t name_size, const uint8_t* value, size_t value_size, uint8_t,
                       void* self) {
    const std::string_view key(reinterpret_cast<const char*>(name), name_size);
    if (key == "grpc-status") {
      of(self).grpc_status_ =
          std::atoi(std::string(reinterpret_cast<const char*>(value), value_size).c_str());
    }
    return 0;
  }
  static int on_data(nghttp2_session*, uint8_t, int32_t, const uint8_t* data, size_t size,
                     void* self) {
    of(self).received_.append(reinterpret_cast<const char*>(data), size);
    return 0;
  }
  static int on_close(nghttp2_session*, int32_t, uint32_t, void* self) {
    of(self).ended_ = true;
    return 0;
  }
  static ssize_t read_request(nghttp2_session*, int32_t, uint8_t* buffer, size_t length,
                              uint32_t* flags, nghttp2_data_source*, void* self) {
    EtcdConnection& connection = of(self);
    const size_t size = std::min(length, connection.request_.size() - connection.sent_);
    std::memcpy(buffer, connection.request_.data() + connection.sent_, size);
    connection.sent_ += size;
    if (connection.sent_ == connection.request_.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(size);
  }
};

EtcdConnection::EtcdConnection(uint16_t port) : authority_("127.0.0.1:" + std::to_string(port)) {
  socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    die(("connecting to " + authority_).c_str(), std::strerror(errno));
  }
  const int on = 1;
  ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, Callbacks::on_header);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, Callbacks::on_data);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, Callbacks::on_close);
  nghttp2_session_client_new(&session_, callbacks, this);
  nghttp2_session_callbacks_del(callbacks);
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, nullptr, 0);
  flush();
}

EtcdConnection::~EtcdConnection() {
  nghttp2_session_del(session_);
  ::close(socket_);
}

void EtcdConnection::call(const char* path, std::string_view message) {
  const auto size = static_cast<uint32_t>(message.size());
  request_.assign(kFramePrefixBytes, '\0');
  for (int i = 0; i < 4; ++i)
    request_[1 + static_cast<size_t>(i)] = static_cast<char>(size >> (24 - 8 * i));
  request_ += message;
  sent_ = 0;
  received_.clear();
  response_ = {};
  grpc_status_ = -1;
  ended_ = false;
  const nghttp2_nv headers[] = {header(":method", "POST"),
                                header(":scheme", "http"),
                                header(":path", path),
                                header(":authority", authority_),
                                header("content-type", "application/grpc"),
                                header("te", "trailers")};
  nghttp2_data_provider provider{};
  provider.read_callback = Callbacks::read_request;
  if (nghttp2_submit_request(session_, nullptr, headers, std::size(headers), &provider, nullptr) <
      0) {
    die("call", "cannot submit");
  }
  flush();
}

void EtcdConnection::flush() {
  // All frames in one write: otherwise Nagle and delayed acknowledgements meet.
  std::string out;
  const uint8_t* data = nullptr;
  for (ssize_t n; (n = nghttp2_session_mem_send(session_, &data)) > 0;) {
    out.append(reinterpret_cast<const char*>(data), static_cast<size_t>(n));
  }
  for (size_t done = 0; done < out.size();) {
    const ssize_t n = ::send(socket_, out.data() + done, out.size() - done, MSG_NOSIGNAL);
    if (n > 0) {
      done += static_cast<size_t>(n);
    } else if (errno == EAGAIN) {
      pollfd wait{.fd = socket_, .events = POLLOUT, .revents = 0};
      ::poll(&wait, 1, -1);
    } else {
      die("send", std::strerror(errno));
    }
  }
}

bool EtcdConnection::on_readable() {
  uint8_t buffer[16 * 1024];
  const ssize_t n = ::recv(socket_, buffer, sizeof buffer, MSG_DONTWAIT);
  if (n == 0) die("receive", "the member closed the connection");
  if (n < 0) {
    if (errno == EAGAIN) return false;
    die("receive", std::strerror(errno));
  }
  if (nghttp2_session_mem_recv(session_, buffer, static_cast<size_t>(n)) < 0) {
    die("receive", "not HTTP/2");
  }
  if (!ended_) {
    if (nghttp2_session_want_write(session_)) flush();
    return false;
  }
  // Acknowledgements and window updates leave with the next call.
  ended_ = false;
  if (received_.size() >= kFramePrefixBytes) {
    response_ = std::string_view(received_).substr(kFramePrefixBytes);
  }
  return true;
}

}  // namespace kahuna::bench
