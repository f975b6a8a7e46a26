#include "tests/cluster/chaos.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>

#include "runtime/check.h"

namespace kahuna::testing {
namespace {

// Long enough for an election at the timeouts that the test gives its servers, mostly.
constexpr int64_t kHoldMsMin = 600, kHoldMsMax = 1'500;
constexpr Duration kLimboThaw = Duration::millis(300);
constexpr uint64_t kIsolationsMax = 12;
constexpr int64_t kPeaceMsMin = 100, kPeaceMsMax = 700;

size_t count_led(const cli::Json& status) {
  const auto& partitions = status["partitions"].items;
  return static_cast<size_t>(
      std::count_if(partitions.begin(), partitions.end(),
                    [](const cli::Json& one) { return one["role"].text == "leader"; }));
}

}  // namespace

std::string_view Chaos::name(Kind kind) {
  static constexpr std::array<std::string_view, kKinds> kNames = {
      "kill", "kill-all", "freeze", "isolate", "mute", "deafen", "bridge", "limbo"};
  return kNames[static_cast<size_t>(kind)];
}

Chaos::Chaos(Cluster& cluster, TestNetwork& network, ChaosLoad& load, uint64_t seed)
    : cluster_(cluster),
      network_(network),
      load_(load),
      random_(seed, "chaos"),
      began_(load.now()) {}

void Chaos::run(Duration length) {
  const Time until = load_.now() + length;
  std::vector<Kind> bag;
  bool whole = false;  // a whole bag was used
  for (;;) {
    if (whole && load_.now() >= until) {
      // An election may have taken longer than the cuts did. Then some more, at a leader.
      if (led_on_by_cuts() > 0 || happened(Kind::kIsolate) >= kIsolationsMax) return;
      round(Kind::kIsolate, busiest());
      continue;
    }
    if (bag.empty()) {
      for (size_t i = 0; i < kKinds; ++i) bag.push_back(static_cast<Kind>(i));
    }
    const size_t at = random_.below(bag.size());
    const Kind kind = bag[at];
    bag.erase(bag.begin() + static_cast<ptrdiff_t>(at));
    whole = whole || bag.empty();
    round(kind, random_.chance(1, 2) ? busiest() : random_.below(cluster_.size()));
  }
}

void Chaos::count_dead() {
  for (size_t node = 0; node < cluster_.size(); ++node) {
    if (cluster_.process(node).running()) continue;
    ++gave_up_;
    note(fmt::format("n{} ended by itself, with status {}", node + 1,
                     *cluster_.process(node).wait(Duration())));
    cluster_.start(node);
  }
}

void Chaos::round(Kind kind, size_t node) {
  const auto hold = [&] {
    return Duration::millis(static_cast<int64_t>(random_.between(kHoldMsMin, kHoldMsMax)));
  };
  load_.run_for(Duration::millis(static_cast<int64_t>(random_.between(kPeaceMsMin, kPeaceMsMax))));
  const size_t led = led_by(node), led_elsewhere = led_by_others(node);
  begin(kind, node);
  load_.run_for(hold());
  // A third of the rounds kill or freeze somebody while the first trouble lasts.
  const bool cuts_only = kind == Kind::kIsolate || kind == Kind::kMute || kind == Kind::kDeafen ||
                         kind == Kind::kBridge;
  const bool second = cuts_only && random_.chance(1, 3);
  if (second) {
    const Kind other = random_.chance(1, 2) ? Kind::kKill : Kind::kFreeze;
    const size_t victim = random_.below(cluster_.size());
    begin(other, victim);
    load_.run_for(hold());
    end(other, victim);
    load_.run_for(hold());
  } else if (led > 0 && kind != Kind::kKillAll && kind != Kind::kBridge) {
    const size_t now = led_by_others(node);
    led_on_[static_cast<size_t>(kind)] += now > led_elsewhere ? now - led_elsewhere : 0;
  }
  end(kind, node);
}

void Chaos::begin(Kind kind, size_t node) {
  count_dead();
  note(fmt::format("{} n{}", name(kind), node + 1));
  ++happened_[static_cast<size_t>(kind)];
  switch (kind) {
    case Kind::kKill: return cluster_.kill(node);
    case Kind::kKillAll:
      for (size_t i = 0; i < cluster_.size(); ++i) cluster_.kill(i);
      return;
    case Kind::kFreeze: return cluster_.signal(node, SIGSTOP);
    case Kind::kIsolate:
    case Kind::kMute:
    case Kind::kDeafen:
    case Kind::kLimbo:
      for (size_t other = 0; other < cluster_.size(); ++other) {
        if (other == node) continue;
        if (kind != Kind::kDeafen) cut(node, other);
        if (kind != Kind::kMute) cut(other, node);
      }
      if (kind == Kind::kLimbo) cluster_.signal(node, SIGSTOP);
      return;
    case Kind::kBridge: {
      const size_t other = (node + 1) % cluster_.size();
      cut(node, other);
      cut(other, node);
      return;
    }
  }
}

void Chaos::end(Kind kind, size_t node) {
  note(fmt::format("{} n{} is over", name(kind), node + 1));
  switch (kind) {
    case Kind::kKill: return cluster_.start(node);
    case Kind::kKillAll: return cluster_.start_all();
    case Kind::kFreeze: return cluster_.signal(node, SIGCONT);
    case Kind::kLimbo:
      cluster_.signal(node, SIGCONT);
      load_.run_for(kLimboThaw);
      return network_.heal_all();
    default: return network_.heal_all();
  }
}

size_t Chaos::busiest() {
  size_t best = 0, most = 0;
  for (size_t node = 0; node < cluster_.size(); ++node) {
    const size_t led = led_by(node);
    if (led > most) {
      most = led;
      best = node;
    }
  }
  return best;
}

uint64_t Chaos::led_on_by_cuts() const {
  return led_on(Kind::kIsolate) + led_on(Kind::kLimbo) + led_on(Kind::kMute) +
         led_on(Kind::kDeafen);
}

size_t Chaos::led_by(size_t node) {
  return count_led(load_.status(node));
}

size_t Chaos::led_by_others(size_t node) {
  size_t led = 0;
  for (size_t other = 0; other < cluster_.size(); ++other)
    if (other != node) led += led_by(other);
  return led;
}

void Chaos::note(const std::string& text) {
  diary_ += fmt::format("  {:6} ms {}\n", (load_.now() - began_).millis(), text);
}

}  // namespace kahuna::testing
