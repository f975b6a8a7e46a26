// What the tests of the simulated world share.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/world.h"

namespace kahuna::sim {

using namespace kahuna::literals;

// A world whose network, disk and clocks are perfect but for time passing.
inline WorldOptions calm() {
  WorldOptions options;
  options.network.tail = 0;
  options.network.silent_refuse = 0;
  options.network.silent_crash = 0;
  options.disk.tail = 0;
  options.clock.drift_ppb_max = 0;
  options.clock.wall_skew_max = Duration();
  return options;
}

// Collects what a stream receives; can echo it.
class Endpoint : public StreamHandler {
 public:
  explicit Endpoint(std::unique_ptr<Stream> s, bool echoes = false)
      : stream(std::move(s)), echo(echoes) {
    stream->set_handler(this);
  }
  void on_data(ByteView bytes) override {
    ++pieces;
    received += as_text(bytes);
    if (echo) stream->write(bytes);
  }
  void on_writable() override { ++writable; }
  void on_closed(Error reason) override { closed = reason; }

  std::unique_ptr<Stream> stream;
  bool echo;
  std::string received;
  int pieces = 0, writable = 0;
  std::optional<Error> closed;
};

// A node that listens on port 2073 and keeps what it accepts.
struct Server {
  Server(World& world, NodeHandle node, bool echoes = false) : echo(echoes) {
    auto result = world.host(node).network->listen({"0.0.0.0", 2073}, [this](auto stream) {
      accepted.push_back(std::make_unique<Endpoint>(std::move(stream), echo));
    });
    CHECK(result.has_value());
    listener = std::move(*result);
  }
  bool echo;
  std::unique_ptr<Listener> listener;
  std::vector<std::unique_ptr<Endpoint>> accepted;
};

// One attempt to connect.
struct Dial {
  Dial(World& world, NodeHandle from, const std::string& to, Duration timeout = 1_s) {
    world.host(from).network->connect({to, 2073}, timeout, [this](auto result) {
      if (result)
        endpoint = std::make_unique<Endpoint>(std::move(*result));
      else
        error = result.error();
    });
  }
  std::unique_ptr<Endpoint> endpoint;
  std::optional<Error> error;
};

// The disk's calls, waited for.
template <class T, class Start>
T wait_for(World& world, Start start) {
  std::optional<T> value;
  start([&](T result) { value.emplace(std::move(result)); });
  CHECK(world.run_until([&] { return value.has_value(); }, world.now() + 60_s));
  return std::move(*value);
}
inline std::unique_ptr<File> open_file(World& world, NodeHandle node, const std::string& path,
                                       OpenOptions options) {
  auto result = wait_for<Result<std::unique_ptr<File>>>(
      world, [&](auto done) { world.host(node).disk->open(path, options, std::move(done)); });
  CHECK(result.has_value());
  return std::move(*result);
}
inline Result<size_t> write(World& world, File& file, uint64_t at, std::string_view text) {
  return wait_for<Result<size_t>>(
      world, [&](auto done) { file.write_at(at, as_bytes(text), std::move(done)); });
}
inline Result<size_t> write_durably(World& world, File& file, uint64_t at, std::string_view text) {
  return wait_for<Result<size_t>>(
      world, [&](auto done) { file.write_durably_at(at, as_bytes(text), std::move(done)); });
}
inline Result<> sync(World& world, File& file) {
  return wait_for<Result<>>(world, [&](auto done) { file.sync(std::move(done)); });
}
inline Result<> sync_dir(World& world, NodeHandle node, const std::string& dir) {
  return wait_for<Result<>>(
      world, [&](auto done) { world.host(node).disk->sync_dir(dir, std::move(done)); });
}
inline Result<std::string> read(World& world, File& file, uint64_t at, size_t length) {
  std::string text(length, '?');
  auto result = wait_for<Result<size_t>>(world, [&](auto done) {
    file.read_at(at, {reinterpret_cast<std::byte*>(text.data()), length}, std::move(done));
  });
  if (!result) return fail(result.error());
  text.resize(*result);
  return text;
}
inline constexpr OpenOptions kCreate{.create = true, .write = true};

}  // namespace kahuna::sim
