// The contract suite of runtime/host.h, against every kind of host.
//
// A kind of host takes part by deriving from HostHarness in a *_harness.cc of this folder and
// registering a factory:
//
//   const HarnessRegistration registration("epoll", [] { return std::make_unique<...>(); });
//
// Tests call the host from outside its turns, between calls of run_until(); completions and events
// arrive inside run_until() only. Hosts must inject no faults; short reads and writes are legal.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/host.h"

namespace kahuna::host_test {

class HostHarness {
 public:
  virtual ~HostHarness() = default;

  // The host under test, with an empty data directory, and another one that reaches it by network
  // and has a directory of its own. Both live as long as the harness.
  virtual Host& host() = 0;
  virtual Host& peer() = 0;
  // A second host over the data directory of host(), as another process would have; null when this
  // kind of host has no such thing.
  virtual Host* rival() = 0;

  // What host() listens on; the port is picked at listen().
  virtual Address host_address() = 0;
  // An address where nobody listens on a machine that answers, and one that never answers.
  virtual Address refusing_address() = 0;
  virtual Address silent_address() = 0;

  // Runs the hosts until `done` returns true, or for `limit`; returns what `done` said last.
  virtual bool run_until(const std::function<bool()>& done,
                         Duration limit = Duration::seconds(20)) = 0;
};

using HarnessFactory = std::function<std::unique_ptr<HostHarness>()>;

struct HarnessKind {
  std::string name;
  HarnessFactory make;
};

// By name; filled before main().
std::vector<HarnessKind>& harness_kinds();

struct HarnessRegistration {
  HarnessRegistration(std::string name, HarnessFactory make);
};

// Records what a stream reports. Holds the stream so that it may destroy it inside an event.
class Recorder : public StreamHandler {
 public:
  void take(std::unique_ptr<Stream> received) {
    stream = std::move(received);
    stream->set_handler(this);
  }
  void on_data(ByteView bytes) override {
    EXPECT_FALSE(closed.has_value()) << "bytes after the close";
    EXPECT_FALSE(paused) << "bytes while paused";
    data += as_text(bytes);
    ++pieces;
    if (on_bytes) on_bytes();
  }
  void on_writable() override {
    ++writables;
    if (on_room) on_room();
  }
  void on_closed(Error reason) override {
    EXPECT_FALSE(closed.has_value()) << "closed twice";
    closed = reason.code;
    if (on_end) on_end();
  }
  void pause() {
    paused = true;
    stream->pause_reading();
  }
  void resume() {
    paused = false;
    stream->resume_reading();
  }

  std::unique_ptr<Stream> stream;
  std::string data;
  int pieces = 0;
  int writables = 0;
  bool paused = false;
  std::optional<ErrorCode> closed;
  std::function<void()> on_bytes, on_room, on_end;
};

class HostTest : public testing::TestWithParam<HarnessKind> {
 protected:
  HostTest() : harness(GetParam().make()) {}

  Host& host() { return harness->host(); }
  Host& peer() { return harness->peer(); }
  bool run_until(const std::function<bool()>& done, Duration limit = Duration::seconds(20)) {
    return harness->run_until(done, limit);
  }
  // Lets `span` pass on the host's clock.
  void run_for(Duration span) {
    bool passed = false;
    host().clock->call_at(host().clock->now() + span, [&] { passed = true; });
    ASSERT_TRUE(run_until([&] { return passed; }, span * 2 + Duration::seconds(20)));
  }
  // Runs `start(done)` and returns what `done` got; checks that it was not called at once.
  template <class R, class Start>
  R complete(Start start) {
    auto result = std::make_shared<std::optional<R>>();
    start([result](R value) {
      EXPECT_FALSE(result->has_value()) << "completed twice";
      result->emplace(std::move(value));
    });
    EXPECT_FALSE(result->has_value()) << "completed inside the call";
    if (!run_until([&] { return result->has_value(); })) {
      ADD_FAILURE() << "never completed";
      abort();
    }
    return std::move(**result);
  }

  // Files, of host() unless a disk is given.
  Result<std::unique_ptr<File>> open(std::string path, OpenOptions options, Disk* disk = nullptr) {
    return complete<Result<std::unique_ptr<File>>>(
        [&](auto done) { (disk ? disk : host().disk)->open(path, options, std::move(done)); });
  }
  std::unique_ptr<File> create(std::string path) {
    auto file = open(std::move(path), {.create = true, .write = true});
    if (!file) {
      ADD_FAILURE() << file.error().text;
      abort();
    }
    return std::move(*file);
  }
  Result<size_t> read_some(File& file, uint64_t offset, MutableByteView bytes) {
    return complete<Result<size_t>>(
        [&](auto done) { file.read_at(offset, bytes, std::move(done)); });
  }
  Result<> sync(File& file) {
    return complete<Result<>>([&](auto done) { file.sync(std::move(done)); });
  }
  // Until all is written; repeats short writes.
  void write_all(File& file, uint64_t offset, std::string_view text) {
    while (!text.empty()) {
      auto written = complete<Result<size_t>>(
          [&](auto done) { file.write_at(offset, as_bytes(text), std::move(done)); });
      ASSERT_TRUE(written) << written.error().text;
      ASSERT_GT(*written, 0u);
      offset += *written;
      text.remove_prefix(*written);
    }
  }
  // Until `size` bytes or the end of the file; repeats short reads.
  std::string read_all(File& file, uint64_t offset, size_t size) {
    std::string text(size, '\0');
    size_t filled = 0;
    while (filled < size) {
      auto got = read_some(file, offset + filled,
                           {reinterpret_cast<std::byte*>(text.data()) + filled, size - filled});
      if (!got) ADD_FAILURE() << got.error().text;
      if (!got || *got == 0) break;
      filled += *got;
    }
    text.resize(filled);
    return text;
  }

  // Streams: `server` on host(), `client` on peer().
  Result<std::unique_ptr<Stream>> connect(const Address& address,
                                          Duration timeout = Duration::seconds(10)) {
    return complete<Result<std::unique_ptr<Stream>>>(
        [&](auto done) { peer().network->connect(address, timeout, std::move(done)); });
  }
  // A connected pair; fails the test when it does not come about.
  void connect_pair() {
    auto listening = host().network->listen(
        harness->host_address(),
        [this](std::unique_ptr<Stream> stream) { server.take(std::move(stream)); });
    ASSERT_TRUE(listening) << listening.error().text;
    listener = std::move(*listening);
    std::optional<ErrorCode> refused;
    peer().network->connect(listener->address(), Duration::seconds(10),
                            [&](Result<std::unique_ptr<Stream>> stream) {
                              if (stream) {
                                client.take(std::move(*stream));
                              } else {
                                refused = stream.error().code;
                              }
                            });
    ASSERT_TRUE(run_until([&] { return refused || (server.stream && client.stream); }));
    ASSERT_FALSE(refused);
  }

  std::unique_ptr<HostHarness> harness;
  std::unique_ptr<Listener> listener;
  Recorder server, client;
};

#define INSTANTIATE_FOR_HOSTS(suite)                                                              \
  GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(suite);                                           \
  INSTANTIATE_TEST_SUITE_P(Hosts, suite, testing::ValuesIn(::kahuna::host_test::harness_kinds()), \
                           [](const auto& info) { return info.param.name; })

}  // namespace kahuna::host_test
