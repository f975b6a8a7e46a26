// One connection to an etcd member: gRPC over HTTP/2, one call at a time, on a non-blocking socket.
//
// Used by etcd_load from one thread. Any protocol error ends the program: it is a load generator.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace kahuna::bench {

// Messages of etcdserverpb, by hand (rpc.proto: PutRequest, RangeRequest, RangeResponse).
std::string put_request(std::string_view key, std::string_view value);
std::string range_request(std::string_view key);  // linearizable, as etcd's default is
// Keys in a RangeResponse.
uint64_t range_count(std::string_view response);

class EtcdConnection {
 public:
  // Connects (blocking) to 127.0.0.1:port.
  explicit EtcdConnection(uint16_t port);
  ~EtcdConnection();
  EtcdConnection(const EtcdConnection&) = delete;

  int socket() const { return socket_; }
  // Starts a call; `path` is "/etcdserverpb.KV/Put" and the like, a literal.
  void call(const char* path, std::string_view message);
  // Reads what there is. True when the call has ended; its outcome is then in the two below.
  bool on_readable();
  int grpc_status() const { return grpc_status_; }  // -1: none was sent
  std::string_view response() const { return response_; }

 private:
  struct Callbacks;  // nghttp2's, which come back here
  void flush();

  int socket_ = -1;
  nghttp2_session* session_ = nullptr;
  std::string request_;  // frame of the present call, from sent_ on not yet taken by nghttp2
  size_t sent_ = 0;
  std::string received_;  // gRPC frame
  std::string_view response_;
  int grpc_status_ = -1;
  bool ended_ = false;
  std::string authority_;
};

}  // namespace kahuna::bench
