#include "tests/host/harness.h"

namespace kahuna::host_test {
namespace {

// A text whose every part is recognisable.
std::string pattern(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>((i * 2654435761u) >> 23);
  return text;
}

// Writes all of a text, waiting for room as the contract says.
struct Sender {
  Recorder& end;
  std::string text;
  size_t sent = 0;
  int shorts = 0;
  void start() {
    end.on_room = [this] { push(); };
    push();
  }
  void push() {
    while (sent < text.size()) {
      const ByteView rest = as_bytes(text).subspan(sent);
      const size_t taken = end.stream->write(rest);
      ASSERT_LE(taken, rest.size());
      sent += taken;
      if (taken < rest.size()) {
        ++shorts;
        return;
      }
    }
  }
};

class StreamContract : public HostTest {
 protected:
  void write(Recorder& end, std::string_view text) {
    ASSERT_EQ(end.stream->write(as_bytes(text)), text.size());
  }
};
INSTANTIATE_FOR_HOSTS(StreamContract);

TEST_P(StreamContract, CarriesBytesBothWays) {
  connect_pair();
  write(client, "ping");
  ASSERT_TRUE(run_until([&] { return server.data == "ping"; }));
  write(server, "pong");
  ASSERT_TRUE(run_until([&] { return client.data == "pong"; }));
  EXPECT_FALSE(server.closed || client.closed);
}

TEST_P(StreamContract, KeepsTheOrderOfManySmallWrites) {
  connect_pair();
  std::string expected;
  for (int i = 0; i < 1000; ++i) {
    const std::string text = std::to_string(i) + ",";
    expected += text;
    write(client, text);
  }
  ASSERT_TRUE(run_until([&] { return server.data.size() >= expected.size(); }));
  EXPECT_EQ(server.data, expected);
}

TEST_P(StreamContract, NamesThePeer) {
  connect_pair();
  EXPECT_EQ(client.stream->peer().port, listener->address().port);
  EXPECT_NE(listener->address().port, 0);
  EXPECT_FALSE(server.stream->peer().host.empty());
}

TEST_P(StreamContract, CarriesLargeTransfersThroughBackPressure) {
  connect_pair();
  Sender sender{client, pattern(16 * 1024 * 1024)};
  sender.start();
  ASSERT_TRUE(run_until([&] { return server.data.size() >= sender.text.size(); }));
  EXPECT_TRUE(server.data == sender.text);
  EXPECT_GT(sender.shorts, 0);
  EXPECT_GT(client.writables, 0);
}

TEST_P(StreamContract, CarriesLargeTransfersBothWaysAtOnce) {
  connect_pair();
  Sender there{client, pattern(3'000'000)};
  Sender back{server, pattern(3'000'001)};
  there.start();
  back.start();
  ASSERT_TRUE(run_until([&] {
    return server.data.size() >= there.text.size() && client.data.size() >= back.text.size();
  }));
  EXPECT_TRUE(server.data == there.text);
  EXPECT_TRUE(client.data == back.text);
}

TEST_P(StreamContract, AReaderThatPausesHoldsTheWriter) {
  connect_pair();
  server.pause();
  Sender sender{client, pattern(32 * 1024 * 1024)};
  sender.start();
  run_for(Duration::millis(300));
  EXPECT_EQ(server.data, "");
  EXPECT_LT(sender.sent, sender.text.size());
  server.resume();
  ASSERT_TRUE(run_until([&] { return server.data.size() >= sender.text.size(); }));
  EXPECT_TRUE(server.data == sender.text);
}

TEST_P(StreamContract, PauseAndResumeInsideEventsLoseNothing) {
  connect_pair();
  int pauses = 0;
  server.on_bytes = [&] {
    if (++pauses % 3 != 0) return;
    server.pause();
    if (pauses % 2 == 0) {
      server.resume();
    } else {
      host().clock->call_at(host().clock->now() + Duration::micros(100), [&] { server.resume(); });
    }
  };
  Sender sender{client, pattern(2'000'000)};
  sender.start();
  ASSERT_TRUE(run_until([&] { return server.data.size() >= sender.text.size(); }));
  EXPECT_TRUE(server.data == sender.text);
}

TEST_P(StreamContract, PausedBytesArriveOnceAndInOrderAfterResume) {
  connect_pair();
  write(client, "one");
  ASSERT_TRUE(run_until([&] { return server.data == "one"; }));
  server.pause();
  write(client, "two");
  run_for(Duration::millis(20));
  server.resume();
  server.pause();
  server.resume();
  write(client, "three");
  ASSERT_TRUE(run_until([&] { return server.data.size() >= 11; }));
  EXPECT_EQ(server.data, "onetwothree");
}

TEST_P(StreamContract, ClosingIsTheLastEventAfterTheBytes) {
  connect_pair();
  write(client, "last words");
  ASSERT_TRUE(run_until([&] { return !server.data.empty(); }));
  client.stream.reset();
  ASSERT_TRUE(run_until([&] { return server.closed.has_value(); }));
  EXPECT_EQ(server.data, "last words");
  EXPECT_EQ(server.closed, ErrorCode::kClosed);
  // The dead stream takes and drops everything.
  EXPECT_EQ(server.stream->write(as_bytes("anybody?")), 8u);
  server.stream->pause_reading();
  server.stream->resume_reading();
  run_for(Duration::millis(10));
}

TEST_P(StreamContract, AnEndThatComesWhilePausedFollowsTheBytes) {
  connect_pair();
  server.pause();
  write(client, "before the end");
  run_for(Duration::millis(20));
  client.stream.reset();
  run_for(Duration::millis(20));
  server.resume();
  ASSERT_TRUE(run_until([&] { return server.closed.has_value(); }));
  EXPECT_EQ(server.data, "before the end");
}

TEST_P(StreamContract, WritingToAPeerThatIsGoneEndsInAClose) {
  connect_pair();
  server.pause();  // it will not notice by reading
  client.stream.reset();
  run_for(Duration::millis(10));
  for (int i = 0; i < 50 && !server.closed; ++i) {
    server.stream->write(as_bytes("are you there?"));
    run_for(Duration::millis(10));
  }
  EXPECT_TRUE(server.closed.has_value());
}

TEST_P(StreamContract, MayBeDestroyedInsideOnData) {
  connect_pair();
  server.on_bytes = [&] { server.stream.reset(); };
  write(client, "bye");
  ASSERT_TRUE(run_until([&] { return client.closed.has_value(); }));
  EXPECT_EQ(server.data, "bye");
  EXPECT_FALSE(server.closed);
}

TEST_P(StreamContract, MayBeDestroyedInsideOnClosed) {
  connect_pair();
  server.on_end = [&] { server.stream.reset(); };
  client.stream.reset();
  ASSERT_TRUE(run_until([&] { return server.closed.has_value(); }));
  run_for(Duration::millis(10));
}

TEST_P(StreamContract, MayBeDestroyedInsideOnWritable) {
  connect_pair();
  bool destroyed = false;
  Sender sender{client, pattern(16 * 1024 * 1024)};
  sender.start();
  client.on_room = [&] {
    client.stream.reset();
    destroyed = true;
  };
  ASSERT_TRUE(run_until([&] { return destroyed; }));
  ASSERT_TRUE(run_until([&] { return server.closed.has_value(); }));
}

TEST_P(StreamContract, HearsNothingAfterItWasDestroyed) {
  connect_pair();
  write(client, "never heard");
  server.stream.reset();
  ASSERT_TRUE(run_until([&] { return client.closed.has_value(); }));
  EXPECT_EQ(server.data, "");
}

TEST_P(StreamContract, OneStreamMayDestroyAnotherOfTheSameTurn) {
  connect_pair();
  // Both ends on one host: a second connection from host() to itself.
  Recorder near_end, far_end;
  std::vector<std::unique_ptr<Stream>> accepted;
  auto other = host().network->listen(
      harness->host_address(), [&](std::unique_ptr<Stream> s) { far_end.take(std::move(s)); });
  ASSERT_TRUE(other);
  host().network->connect((*other)->address(), Duration::seconds(10),
                          [&](Result<std::unique_ptr<Stream>> s) { near_end.take(std::move(*s)); });
  ASSERT_TRUE(run_until([&] { return near_end.stream && far_end.stream; }));
  int events = 0;
  server.on_bytes = [&] {
    ++events;
    far_end.stream.reset();
  };
  far_end.on_bytes = [&] {
    ++events;
    server.stream.reset();
  };
  write(client, "x");
  write(near_end, "y");
  ASSERT_TRUE(run_until([&] { return client.closed || near_end.closed; }));
  EXPECT_EQ(events, 1);
}

class NetworkContract : public HostTest {};
INSTANTIATE_FOR_HOSTS(NetworkContract);

TEST_P(NetworkContract, RefusedConnectionsAreUnavailable) {
  const auto stream = connect(harness->refusing_address());
  ASSERT_FALSE(stream);
  EXPECT_EQ(stream.error().code, ErrorCode::kUnavailable);
}

TEST_P(NetworkContract, SilentPeersTimeOut) {
  const Time start = peer().clock->now();
  const auto stream = connect(harness->silent_address(), Duration::millis(150));
  ASSERT_FALSE(stream);
  EXPECT_EQ(stream.error().code, ErrorCode::kTimeout);
  EXPECT_GE(peer().clock->now() - start, Duration::millis(150));
}

TEST_P(NetworkContract, TwoListenersOfOneAddressAreRefused) {
  auto first = host().network->listen(harness->host_address(), [](std::unique_ptr<Stream>) {});
  ASSERT_TRUE(first);
  Address taken = harness->host_address();
  taken.port = (*first)->address().port;
  auto second = host().network->listen(taken, [](std::unique_ptr<Stream>) {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kInUse);
  first->reset();
  EXPECT_TRUE(host().network->listen(taken, [](std::unique_ptr<Stream>) {}));
}

TEST_P(NetworkContract, AListenerThatIsGoneRefuses) {
  auto listening = host().network->listen(harness->host_address(), [](std::unique_ptr<Stream>) {});
  ASSERT_TRUE(listening);
  const Address address = (*listening)->address();
  listening->reset();
  const auto stream = connect(address);
  ASSERT_FALSE(stream);
  EXPECT_EQ(stream.error().code, ErrorCode::kUnavailable);
}

TEST_P(NetworkContract, AListenerMayBeDestroyedInsideItsCallback) {
  std::unique_ptr<Listener> once;
  Recorder end;
  auto listening =
      host().network->listen(harness->host_address(), [&](std::unique_ptr<Stream> stream) {
        end.take(std::move(stream));
        once.reset();
      });
  ASSERT_TRUE(listening);
  once = std::move(*listening);
  auto stream = connect(once->address());
  ASSERT_TRUE(run_until([&] { return end.stream != nullptr; }));
  EXPECT_EQ(once, nullptr);
}

TEST_P(NetworkContract, AcceptsManyConnections) {
  constexpr size_t kConnections = 100;
  std::vector<std::unique_ptr<Recorder>> servers, clients;
  auto listening =
      host().network->listen(harness->host_address(), [&](std::unique_ptr<Stream> stream) {
        servers.push_back(std::make_unique<Recorder>());
        Recorder* end = servers.back().get();
        end->take(std::move(stream));
        end->on_bytes = [end] { end->stream->write(as_bytes(std::exchange(end->data, {}))); };
      });
  ASSERT_TRUE(listening);
  for (size_t i = 0; i < kConnections; ++i) {
    peer().network->connect((*listening)->address(), Duration::seconds(10),
                            [&, i](Result<std::unique_ptr<Stream>> stream) {
                              ASSERT_TRUE(stream);
                              clients.push_back(std::make_unique<Recorder>());
                              clients.back()->take(std::move(*stream));
                              clients.back()->stream->write(as_bytes("echo " + std::to_string(i)));
                            });
  }
  const auto echoed = [&] {
    size_t ready = 0;
    for (const auto& end : clients) ready += end->data.starts_with("echo ");
    return ready == kConnections;
  };
  ASSERT_TRUE(run_until(echoed));
  EXPECT_EQ(servers.size(), kConnections);
}

TEST_P(NetworkContract, AConnectThatSucceedsMayCloseAtOnce) {
  bool accepted = false;
  Recorder end;
  auto listening = host().network->listen(harness->host_address(), [&](std::unique_ptr<Stream> s) {
    end.take(std::move(s));
    accepted = true;
  });
  ASSERT_TRUE(listening);
  bool connected = false;
  peer().network->connect((*listening)->address(), Duration::seconds(10),
                          [&](Result<std::unique_ptr<Stream>> s) { connected = s.has_value(); });
  ASSERT_TRUE(run_until([&] { return connected && accepted && end.closed; }));
}

}  // namespace
}  // namespace kahuna::host_test
