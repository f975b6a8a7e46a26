// A toy product: nodes that gossip frames to each other on timers and log what they hear to disk.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "net/codec/frame.h"
#include "runtime/hash.h"
#include "sim/fault_plan.h"
#include "tests/sim_world/fixture.h"

namespace kahuna::sim {

class Toy : public codec::FrameConnection::Owner {
 public:
  Toy(Host& host, std::vector<std::string> peers, Duration period)
      : host_(host), peers_(std::move(peers)), period_(period), random_(host.random("toy")) {
    auto listener =
        host.network->listen({"0.0.0.0", 2073}, [this](auto stream) { adopt(std::move(stream)); });
    CHECK(listener.has_value());
    listener_ = std::move(*listener);
    host.disk->open("log", {.create = true, .write = true}, [this](auto file) {
      if (file) file_ = std::move(*file);
    });
    for (size_t i = 0; i < peers_.size(); ++i) dial(i);
    tick();
  }
  ~Toy() override { host_.clock->cancel(timer_); }

  uint64_t heard = 0, synced = 0;
  uint64_t digest = 0;

 private:
  void dial(size_t i) {
    host_.network->connect({peers_[i], 2073}, 1_s, [this, i](auto stream) {
      if (stream) {
        adopt(std::move(*stream));
        connections_.back()->tag = i + 1;
      } else {
        host_.clock->call_at(host_.clock->now() + 200_ms, [this, i] { dial(i); });
      }
    });
  }
  void adopt(std::unique_ptr<Stream> stream) {
    connections_.push_back(std::make_unique<codec::FrameConnection>(
        *host_.scheduler, std::move(stream), *this, codec::FrameConnection::Options()));
  }
  void tick() {
    timer_ = host_.clock->call_at(host_.clock->now() + period_, [this] { tick(); });
    std::string text(random_.between(1, 300), static_cast<char>(random_.below(256)));
    for (auto& c : connections_) (void)c->send(codec::FrameKind::kPeer, as_bytes(text));
  }
  void on_frame(codec::FrameConnection&, codec::FrameKind, ByteView payload) override {
    ++heard;
    digest = hash64(payload, digest);
    if (!file_ || writing_) return;
    writing_ = true;
    record_.assign(as_text(payload));
    file_->write_at(offset_, as_bytes(record_), [this](auto written) {
      if (!written) {
        writing_ = false;
        return;
      }
      offset_ = (offset_ + *written) % (1 << 20);
      file_->sync([this](auto result) {
        writing_ = false;
        synced += result.has_value();
      });
    });
  }
  void on_disconnect(codec::FrameConnection& connection, Error) override {
    size_t peer = connection.tag;
    for (auto& c : connections_) {
      if (c.get() != &connection) continue;
      c = std::move(connections_.back());
      connections_.pop_back();
      break;
    }
    if (peer > 0)
      host_.clock->call_at(host_.clock->now() + 50_ms, [this, peer] { dial(peer - 1); });
  }

  Host& host_;
  const std::vector<std::string> peers_;
  const Duration period_;
  RandomStream random_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<File> file_;
  std::vector<std::unique_ptr<codec::FrameConnection>> connections_;
  TimerId timer_ = 0;
  bool writing_ = false;
  uint64_t offset_ = 0;
  std::string record_;
};

class ToyCluster : public FaultTarget {
 public:
  ToyCluster(World& world, size_t size, Duration period = 10_ms) : world_(world), period_(period) {
    for (size_t i = 0; i < size; ++i) handles_.push_back(world.add_node("n" + std::to_string(i)));
    toys_.resize(size);
    for (size_t i = 0; i < size; ++i) restart(i);
  }
  size_t nodes() const override { return handles_.size(); }
  NodeHandle handle(size_t node) const override { return handles_[node]; }
  bool up(size_t node) const override { return toys_[node] != nullptr; }
  void crash(size_t node, CrashKind kind) override {
    heard_before += toys_[node]->heard;
    world_.crash(handles_[node], kind, [&] { toys_[node].reset(); });
    ++crashes;
  }
  void stop(size_t, Callback<void()> done) override { done(); }
  bool move_leader(RandomStream&, std::string&) override { return true; }
  bool replace_member(RandomStream&, std::string&) override { return true; }
  void restart(size_t node) override {
    std::vector<std::string> peers;
    for (size_t i = 0; i < node; ++i) peers.push_back("n" + std::to_string(i));
    Host& host = world_.start(handles_[node]);
    toys_[node] = std::make_unique<Toy>(host, peers, period_);
  }
  bool damage(size_t node, FaultKind kind, RandomStream& dice, std::string& text) override {
    SimDisk& disk = world_.disk(handles_[node]);
    auto names = disk.list("");
    if (!names || names->empty()) return false;
    const std::string& path = (*names)[dice.below(names->size())];
    text += ": " + path;
    if (kind == FaultKind::kRot) return disk.rot(path, 0).has_value();
    if (kind == FaultKind::kLatent) return disk.lose_sector(path, 0).has_value();
    disk.misdirect(
        dice, [](const std::string&, ByteView) { return true; },
        [](const std::string&, uint64_t, ByteView) { return true; }, [](const Misdirection&) {});
    return true;
  }
  bool may_forget(size_t, FaultKind) override { return true; }
  void forget(size_t node, FaultKind) override { world_.disk(handles_[node]).wipe(); }
  Toy& toy(size_t node) { return *toys_[node]; }
  uint64_t heard() const {
    uint64_t sum = heard_before;
    for (auto& toy : toys_) sum += toy ? toy->heard : 0;
    return sum;
  }
  uint64_t crashes = 0, heard_before = 0;

 private:
  World& world_;
  const Duration period_;
  std::vector<NodeHandle> handles_;
  std::vector<std::unique_ptr<Toy>> toys_;
};

// What one run of the toy under the faults of a seed came to.
struct ToyRun {
  Hash128 hash;
  uint64_t events = 0, heard = 0, crashes = 0;
  std::map<std::string, uint64_t> counts;
  std::string description;
  std::vector<TraceCheckpoint> checkpoints;
};
inline ToyRun run_toy(uint64_t seed, std::string_view faults, Duration time,
                      std::string_view pins = {}, size_t nodes = 5) {
  Spec spec(seed);
  CHECK(spec.pin_all(pins).has_value());
  auto set = draw_faults(spec, faults);
  CHECK(set.has_value());
  World world(seed, draw_world(spec, *set, {.clocks_unbounded = true}));
  ToyRun run;
  {
    ToyCluster cluster(world, nodes);
    FaultPlan plan(world, spec, *set, cluster);
    plan.begin();
    world.run_until(world.now() + time);
    run = {world.hash(),
           world.events(),
           cluster.heard(),
           cluster.crashes,
           plan.counts(),
           plan.describe(),
           world.trace().checkpoints()};
  }
  return run;
}

}  // namespace kahuna::sim
