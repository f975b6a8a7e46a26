// What a server must refuse, each with a clear word and without harm to anybody else.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "net/codec/frame.h"
#include "runtime/hash.h"
#include "schemas/meta_generated.h"
#include "schemas/wire_generated.h"
#include "tests/cluster/cluster.h"

namespace kahuna::testing {
namespace {

using namespace literals;

class BadInput : public ::testing::Test {
 protected:
  void start(std::vector<std::string> flags = {}) {
    cluster_ = std::make_unique<Cluster>(1, std::move(flags));
    cluster_->start_all();
    ASSERT_TRUE(cluster_->await_ready()) << cluster_->log(0);
    ASSERT_EQ(cluster_->run({"put", "before", "safe"}).status, 0);
  }
  // The node serves, and what was there before still is.
  void expect_unharmed() {
    EXPECT_TRUE(cluster_->process(0).running()) << cluster_->log(0);
    EXPECT_EQ(cluster_->run({"get", "before"}).out, "safe\n");
    EXPECT_EQ(cluster_->run({"put", "after", "fine"}).status, 0);
  }
  // Starts the stopped node again, expecting that it gives up; returns its last words.
  std::string refused_start() {
    const std::string log = cluster_->place() + "/refused.log";
    std::filesystem::remove(log);
    Process server(cluster_->server_words(0), log);
    EXPECT_EQ(server.wait(20_s), 1) << read_file(log);
    return read_file(log);
  }
  int connect() const {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(cluster_->addresses()[0].port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    const timeval patience{.tv_sec = 10, .tv_usec = 0};
    ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return socket;
  }
  // Sends the bytes and returns everything the node says until it closes; nothing when it does not.
  std::optional<std::string> converse(const std::string& bytes) const {
    const int socket = connect();
    EXPECT_EQ(::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
    std::string said;
    char buffer[4096];
    for (;;) {
      const ssize_t n = ::recv(socket, buffer, sizeof buffer, 0);
      if (n > 0) {
        said.append(buffer, static_cast<size_t>(n));
        continue;
      }
      const bool closed = n == 0 || errno == ECONNRESET;
      ::close(socket);
      if (!closed) return std::nullopt;
      return said;
    }
  }
  static std::string hello(uint64_t cluster, uint32_t protocol = 1) {
    flatbuffers::FlatBufferBuilder builder;
    builder.Finish(wire::CreateHello(builder, protocol, wire::Role::Client, cluster, 0, 0, 1, 0));
    std::string frame;
    codec::append_frame(
        frame, codec::FrameKind::kHello,
        {reinterpret_cast<const std::byte*>(builder.GetBufferPointer()), builder.GetSize()});
    return frame;
  }
  static std::string refusal_in(const std::string& said) {
    std::string refused;
    codec::FrameReader reader;
    (void)reader.feed(as_bytes(said), [&](codec::FrameKind kind, ByteView payload) {
      if (kind != codec::FrameKind::kHello) return;
      const auto* answer = flatbuffers::GetRoot<wire::Hello>(payload.data());
      if (answer->refused()) refused = answer->refused()->str();
    });
    return refused;
  }

  std::unique_ptr<Cluster> cluster_;
};

TEST_F(BadInput, AnOversizedKeyIsRefused) {
  start();
  const Ran ran = cluster_->run({"put", std::string(8 * 1024 + 1, 'k'), "v"});
  EXPECT_EQ(ran.status, 2);
  EXPECT_NE(ran.err.find("8192"), std::string::npos) << ran.err;
  EXPECT_EQ(cluster_->run({"put", std::string(8 * 1024, 'k'), "v"}).status, 0)
      << "the limit itself";
  EXPECT_EQ(cluster_->run({"put", "", "v"}).status, 2) << "an empty key";
  expect_unharmed();
}

TEST_F(BadInput, AnOversizedValueIsRefused) {
  start();
  const std::string limit(1024 * 1024, 'v');
  const Ran ran = cluster_->run({"put", "big", "-"}, limit + "v");
  EXPECT_EQ(ran.status, 2);
  EXPECT_NE(ran.err.find("1048576"), std::string::npos) << ran.err;
  EXPECT_EQ(cluster_->run({"put", "big", "-"}, std::string(9 * 1024 * 1024, 'v')).status, 2)
      << "more than a frame holds";
  EXPECT_EQ(cluster_->run({"put", "big", "-"}, limit).status, 0) << "the limit itself";
  EXPECT_EQ(cluster_->run({"get", "big"}).out, limit + "\n");
  expect_unharmed();
}

TEST_F(BadInput, GarbageClosesTheConnectionOnly) {
  start();
  EXPECT_TRUE(converse("GET / HTTP/1.1\r\nHost: kahuna\r\n\r\n").has_value());
  EXPECT_TRUE(converse(std::string(100'000, '\xff')).has_value());
  std::string damaged = hello(0);
  damaged[20] ^= 1;
  EXPECT_TRUE(converse(damaged).has_value()) << "a wrong checksum";
  std::string huge = hello(0);
  huge[3] = '\x7f';
  EXPECT_TRUE(converse(huge).has_value()) << "a length beyond the limit";
  std::string no_hello;
  codec::append_frame(no_hello, codec::FrameKind::kRequest, as_bytes("zzzzzzzzzzzzzzzz"));
  EXPECT_TRUE(converse(no_hello).has_value()) << "a request before any greeting";
  std::string not_a_table;
  codec::append_frame(not_a_table, codec::FrameKind::kHello, as_bytes("zzzzzzzzzzzzzzzz"));
  EXPECT_TRUE(converse(not_a_table).has_value()) << "a greeting that does not verify";
  std::string then_garbage = hello(0);
  codec::append_frame(then_garbage, codec::FrameKind::kRequest, as_bytes("zzzzzzzzzzzzzzzz"));
  EXPECT_TRUE(converse(then_garbage).has_value()) << "a request that does not verify";
  std::string as_peer = hello(0);
  codec::append_frame(as_peer, codec::FrameKind::kPeer, as_bytes("zzzzzzzzzzzzzzzz"));
  EXPECT_TRUE(converse(as_peer).has_value()) << "a client that speaks as a node";
  expect_unharmed();
}

TEST_F(BadInput, ManySilentConnectionsDoNoHarm) {
  start();
  std::vector<int> sockets;
  for (int i = 0; i < 200; ++i) sockets.push_back(connect());
  expect_unharmed();
  for (const int socket : sockets) ::close(socket);
  expect_unharmed();
}

TEST_F(BadInput, AnotherClustersClientIsRefusedWithAReason) {
  start();
  const std::optional<std::string> said = converse(hello(12'345));
  ASSERT_TRUE(said.has_value()) << "the node did not close";
  EXPECT_NE(refusal_in(*said).find("cluster"), std::string::npos) << refusal_in(*said);
  const std::optional<std::string> version = converse(hello(0, 99));
  ASSERT_TRUE(version.has_value());
  EXPECT_NE(refusal_in(*version), "");
  expect_unharmed();
}

TEST_F(BadInput, ASecondServerOnTheDirectoryIsRefused) {
  start();
  std::vector<std::string> words = cluster_->server_words(0);
  const std::string log = cluster_->place() + "/second.log";
  const std::string other = "127.0.0.1:" + std::to_string(free_ports(1)[0]);
  for (size_t i = 0; i + 1 < words.size(); ++i) {
    if (words[i] == "--listen") words[i + 1] = other;
  }
  Process second(words, log);
  EXPECT_EQ(second.wait(20_s), 1) << read_file(log);
  EXPECT_NE(read_file(log).find("in-use"), std::string::npos) << read_file(log);
  EXPECT_NE(read_file(log).find("another server"), std::string::npos) << read_file(log);
  expect_unharmed();
}

TEST_F(BadInput, AnAddressInUseIsRefused) {
  start();
  const std::string log = cluster_->place() + "/second.log";
  Process second({"server", "--name", "n1", "--listen", to_string(cluster_->addresses()[0]),
                  "--data", cluster_->place() + "/other"},
                 log);
  EXPECT_EQ(second.wait(20_s), 1) << read_file(log);
  EXPECT_NE(read_file(log).find(to_string(cluster_->addresses()[0])), std::string::npos)
      << read_file(log);
  expect_unharmed();
}

// The identity file: u32 length, u32 crc32c of the rest, then the FlatBuffer.
void write_identity(const std::string& path, const flatbuffers::FlatBufferBuilder& builder) {
  const ByteView body(reinterpret_cast<const std::byte*>(builder.GetBufferPointer()),
                      builder.GetSize());
  const auto length = static_cast<uint32_t>(body.size());
  const uint32_t checksum = crc32c(body);
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 4);
  std::memcpy(file.data() + 4, &checksum, 4);
  std::ofstream(path, std::ios::binary) << file << as_text(body);
}

TEST_F(BadInput, ADirectoryOfAnotherVersionIsRefusedAndLeftAlone) {
  start();
  cluster_->kill(0);
  const std::string path = cluster_->directory(0) + "/identity";
  const std::string original = read_file(path);
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(meta::CreateIdentityDirect(builder, 99, 1, 1, "n1"), meta::IdentityIdentifier());
  write_identity(path, builder);
  const std::string changed = read_file(path);
  const std::string said = refused_start();
  EXPECT_NE(said.find("version"), std::string::npos) << said;
  EXPECT_EQ(read_file(path), changed) << "it was rewritten";
  std::ofstream(path, std::ios::binary) << original;
  cluster_->start(0);
  ASSERT_TRUE(cluster_->await_ready());
  expect_unharmed();
}

TEST_F(BadInput, ADamagedIdentityIsRefusedAndLeftAlone) {
  start();
  cluster_->kill(0);
  const std::string path = cluster_->directory(0) + "/identity";
  const std::string original = read_file(path);
  std::string damaged = original;
  damaged[original.size() / 2] ^= 1;
  std::ofstream(path, std::ios::binary) << damaged;
  const std::string said = refused_start();
  EXPECT_NE(said.find("damaged"), std::string::npos) << said;
  std::ofstream(path, std::ios::binary) << original;
  cluster_->start(0);
  ASSERT_TRUE(cluster_->await_ready());
  expect_unharmed();
}

TEST_F(BadInput, ADirectoryThatLostItsIdentityIsNotFormattedAnew) {
  start();
  cluster_->kill(0);
  const std::string path = cluster_->directory(0) + "/identity";
  const std::string original = read_file(path);
  std::filesystem::remove(path);
  const std::string said = refused_start();
  EXPECT_NE(said.find("damaged"), std::string::npos) << said;
  std::ofstream(path, std::ios::binary) << original;
  cluster_->start(0);
  ASSERT_TRUE(cluster_->await_ready());
  expect_unharmed();
}

TEST_F(BadInput, ADirectoryOfAnotherNodeIsRefused) {
  start();
  cluster_->kill(0);
  const std::string log = cluster_->place() + "/renamed.log";
  Process renamed({"server", "--name", "n9", "--listen", to_string(cluster_->addresses()[0]),
                   "--data", cluster_->directory(0)},
                  log);
  EXPECT_EQ(renamed.wait(20_s), 1) << read_file(log);
  EXPECT_NE(read_file(log).find("n1"), std::string::npos) << read_file(log);
  cluster_->start(0);
  ASSERT_TRUE(cluster_->await_ready());
  expect_unharmed();
}

// Twice restored from the same copy: the second life repeats boots that the cluster has met.
// Whoever restarted meanwhile knows it from the meta partition.
TEST_F(BadInput, ARolledBackDirectoryIsRefused) {
  cluster_ = std::make_unique<Cluster>(3);
  cluster_->start_all();
  ASSERT_TRUE(cluster_->await_ready());
  ASSERT_EQ(cluster_->run({"put", "before", "safe"}).status, 0);
  cluster_->kill(2);
  const std::string directory = cluster_->directory(2), copy = directory + ".copy";
  std::filesystem::copy(directory, copy, std::filesystem::copy_options::recursive);
  cluster_->start(2);
  ASSERT_TRUE(cluster_->await_ready());
  ASSERT_EQ(cluster_->run({"put", "before", "safe"}).status, 0);
  for (size_t node : {0, 1, 2}) cluster_->kill(node);
  for (size_t node : {0, 1}) cluster_->start(node);
  ASSERT_TRUE(cluster_->await_ready());
  ASSERT_EQ(cluster_->run({"get", "before"}).out, "safe\n");

  std::filesystem::remove_all(directory);
  std::filesystem::rename(copy, directory);
  const std::string log = cluster_->place() + "/rolled-back.log";
  Process server(cluster_->server_words(2), log);
  EXPECT_EQ(server.wait(20_s), 1) << read_file(log);
  EXPECT_NE(read_file(log).find("rolled back"), std::string::npos) << read_file(log);
  EXPECT_EQ(cluster_->run({"get", "before"}).out, "safe\n");
}

// A server on a file system of its own, as small as the flags say.
class FullDisk : public ::testing::Test {
 protected:
  void start(const char* size, std::vector<std::string> flags) {
    std::filesystem::create_directory(small());
    if (::mount("tmpfs", small().c_str(), "tmpfs", 0, size) != 0) {
      GTEST_SKIP() << "cannot mount a small file system here (" << std::strerror(errno)
                   << "); run as root with CAP_SYS_ADMIN";
    }
    mounted_ = true;
    words_ = {"server", "--name",        "n1",           "--listen", to_string(address_),
              "--data", small() + "/n1", "--partitions", "2"};
    words_.insert(words_.end(), flags.begin(), flags.end());
    restart();
  }
  void restart() {
    if (server_) server_->signal(SIGKILL);
    if (server_) ASSERT_TRUE(server_->wait(20_s));
    server_ = std::make_unique<Process>(words_, log());
    ASSERT_TRUE(await([&] { return put("up", "0").status == 0; })) << read_file(log());
  }
  void TearDown() override {
    server_.reset();
    if (mounted_) ::umount2(small().c_str(), MNT_DETACH);
  }
  std::string small() const { return place_.path() + "/small"; }
  std::string log() const { return place_.path() + "/log"; }
  Ran verb(std::vector<std::string> words, const std::string& input = "") const {
    words.insert(words.end(), {"--endpoints", to_string(address_), "--timeout", "3"});
    return run_kahuna(words, input);
  }
  Ran put(const std::string& key, const std::string& value) const {
    return verb({"put", key, "-"}, value);
  }
  static std::string value_of(int i) {
    RandomStream random(static_cast<uint64_t>(i), "value");
    std::string value(1'000'000, '\0');
    for (char& c : value) c = static_cast<char>('!' + random.below(90));  // nothing to compress
    return value;
  }
  // Megabytes, until one is refused; what the client was told then.
  Ran fill() {
    for (int i = 0; i < 300; ++i) {
      const Ran ran = put("full-" + std::to_string(acknowledged_.size()),
                          value_of(static_cast<int>(acknowledged_.size())));
      if (ran.status != 0) return ran;
      acknowledged_.push_back(static_cast<int>(acknowledged_.size()));
    }
    return {};
  }
  void make_room(const char* size) {
    ASSERT_EQ(::mount("tmpfs", small().c_str(), "tmpfs", MS_REMOUNT, size), 0);
  }
  static bool await(const std::function<bool()>& condition) {
    for (int i = 0; i < 200; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return false;
  }
  size_t said(const std::string& event) const {
    const std::string text = read_file(log());
    size_t times = 0;
    for (size_t at = 0; (at = text.find("event=" + event, at)) != std::string::npos; ++at) ++times;
    return times;
  }
  void expect_them() const {
    for (const int i : acknowledged_)
      if (i % 10 == 0 || acknowledged_.size() - static_cast<size_t>(i) < 3) expect(i);
  }
  void expect(int i) const {
    const Ran ran = verb({"get", "full-" + std::to_string(i)});
    EXPECT_TRUE(ran.out == value_of(i) + "\n")
        << i << ": status " << ran.status << ", " << ran.out.size() << " bytes, " << ran.err
        << read_file(log());
  }
  // Full, read-only, and well again: without a restart, and once more with one.
  void play(const char* small_size, const char* large_size, std::vector<std::string> flags) {
    start(small_size, std::move(flags));
    if (IsSkipped() || HasFatalFailure()) return;
    // What the engine merges in the background makes a little room now and then, for a write that
    // then waits: until it stays full.
    Ran last, refused, status;
    size_t rooms = 0, fulls = 0;
    for (int attempt = 0; attempt < 20; ++attempt) {
      last = fill();
      rooms = said("disk-has-room");
      refused = put("another", "1");
      status = verb({"status"});
      fulls = said("disk-full");
      if (refused.status == 3 && said("disk-has-room") == rooms) break;
    }
    EXPECT_TRUE(last.status == 3 || last.status == 4) << last.err;
    EXPECT_EQ(refused.status, 3) << refused.err;
    EXPECT_NE(refused.err.find("no-space"), std::string::npos) << refused.err;
    EXPECT_NE(refused.err.find("is full"), std::string::npos) << refused.err;
    EXPECT_NE(status.out.find("disk full"), std::string::npos) << status.out;
    EXPECT_GT(acknowledged_.size(), 3u);
    std::printf("  full after %zu MB; the client saw: %s", acknowledged_.size(),
                refused.err.c_str());
    EXPECT_EQ(fulls, rooms + 1) << read_file(log());
    expect_them();

    make_room(large_size);
    EXPECT_TRUE(await([&] { return put("again", "1").status == 0; })) << read_file(log());
    EXPECT_GT(said("disk-has-room"), rooms) << read_file(log());
    EXPECT_EQ(verb({"status"}).out.find("disk full"), std::string::npos);
    for (int i = 0; i < 5; ++i) {
      const int number = static_cast<int>(acknowledged_.size());
      EXPECT_EQ(put("full-" + std::to_string(number), value_of(number)).status, 0);
      acknowledged_.push_back(number);
    }
    EXPECT_TRUE(server_->running());
    restart();
    expect_them();
  }

  const TemporaryDirectory place_;
  const Address address_{"127.0.0.1", free_ports(1)[0]};
  std::vector<std::string> words_;
  std::unique_ptr<Process> server_;
  std::vector<int> acknowledged_;
  bool mounted_ = false;
};

TEST_F(FullDisk, OfTheJournalIsWaitedOut) {
  play("size=72m", "size=400m", {});
}

TEST_F(FullDisk, OfTheEngineIsWaitedOut) {
  // What is applied is flushed early, so that the engine's files come first.
  play("size=80m", "size=400m", {"--flush-mib", "1"});
}

TEST_F(FullDisk, OfTheEngineInMemoryIsWaitedOut) {
  play("size=80m", "size=400m", {"--flush-mib", "1", "--engine", "memory"});
}

}  // namespace
}  // namespace kahuna::testing
