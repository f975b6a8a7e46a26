// Shapes of broken networks.
#include <algorithm>
#include <numeric>

#include "sim/fault_plan.h"

namespace kahuna::sim {
namespace {

std::vector<size_t> shuffled(size_t n, RandomStream& random) {
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  for (size_t i = n; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  return order;
}

}  // namespace

FaultPlan::Links FaultPlan::across(const std::vector<int>& side, bool one_way) const {
  Links links;
  for (uint32_t a = 0; a < side.size(); ++a)
    for (uint32_t b = 0; b < side.size(); ++b)
      if ((side[a] == 0 && side[b] == 1) || (!one_way && side[a] == 1 && side[b] == 0))
        links.push_back({a, b});
  return links;
}

FaultPlan::Links FaultPlan::shape(FaultKind kind, RandomStream& random, std::string& text) const {
  size_t n = target_.nodes();
  std::vector<size_t> order = shuffled(n, random);
  auto machine = [&](size_t place) { return target_.handle(order[place]).index; };
  // 2: machines the shape leaves alone.
  std::vector<int> side(world_.nodes(), 2);
  bool with_clients = clients_too_ && random.chance(1, 2);
  std::vector<int> client_side(world_.nodes(), 2);
  for (uint32_t i = 0; i < world_.nodes(); ++i) {
    int drawn = static_cast<int>(random.below(2));
    const NodeOptions& options = world_.options({i});
    if (with_clients && options.client && !options.spared) client_side[i] = drawn;
  }
  Links links;
  switch (kind) {
    case FaultKind::kPartition:
    case FaultKind::kOneWay:
    case FaultKind::kFlap: {
      size_t left = random.between(1, n - 1);
      side = client_side;
      for (size_t i = 0; i < n; ++i) {
        side[machine(i)] = i < left ? 0 : 1;
        if (i < left) text += node_name(order[i]) + " ";
      }
      return across(side, kind == FaultKind::kOneWay);
    }
    case FaultKind::kIsolate: {
      uint32_t alone = machine(0);
      uint64_t way = random.below(3);  // both, in, out
      for (uint32_t i = 0; i < world_.nodes(); ++i) {
        bool server = false;
        for (size_t k = 0; k < n; ++k) server |= machine(k) == i;
        if (i == alone || (!server && client_side[i] == 2)) continue;
        if (way != 1) links.push_back({alone, i});
        if (way != 2) links.push_back({i, alone});
      }
      text = node_name(order[0]) + (way == 0 ? "" : way == 1 ? ", inwards" : ", outwards");
      return links;
    }
    case FaultKind::kRing:
    case FaultKind::kMajorityRing: {
      size_t reach = kind == FaultKind::kRing ? 1 : (n / 2 + 1) / 2;
      for (size_t i = 0; i < n; ++i) {
        for (size_t k = 0; k < n; ++k) {
          size_t apart = i > k ? i - k : k - i;
          if (std::min(apart, n - apart) > reach) links.push_back({machine(i), machine(k)});
        }
        text += node_name(order[i]) + " ";
      }
      return links;
    }
    case FaultKind::kBridge:
      for (size_t i = 1; i < n; ++i) side[machine(i)] = i <= n / 2 ? 0 : 1;
      text = "over " + node_name(order[0]);
      return across(side, false);
    default: UNREACHABLE("not a shape");
  }
}

void FaultPlan::block_for(Links links, Duration length) {
  uint64_t id = next_id_++;
  for (const auto& link : links) world_.block({link.first}, {link.second});
  blocks_[id] = std::move(links);
  later(world_.now() + length, [this, id] {
    auto found = blocks_.find(id);
    Links healed = std::move(found->second);
    blocks_.erase(found);
    for (const auto& link : healed) world_.unblock({link.first}, {link.second});
  });
}

void FaultPlan::flap(Links links, uint32_t times, Duration on, Duration off) {
  block_for(links, on);
  if (times > 1)
    later(world_.now() + on + off, [=, this, links = std::move(links)]() mutable {
      flap(std::move(links), times - 1, on, off);
    });
}

bool FaultPlan::apply_to_network(FaultKind kind, RandomStream& random, std::string& text) {
  size_t n = target_.nodes();
  if (kind == FaultKind::kReset || kind == FaultKind::kHalfOpen) {
    size_t node = pick_up(random);
    if (node == n) return false;
    text = node_name(node);
    return world_.network().reset_one(target_.handle(node).index, kind == FaultKind::kHalfOpen);
  }
  if (kind == FaultKind::kBlackHole) {
    size_t node = pick_up(random);
    uint32_t other = 0;
    if (node == n || !world_.network().swallow_one(target_.handle(node).index, other)) return false;
    text = node_name(node) + " and " + world_.name({other});
    return true;
  }
  if (n < 2) return false;
  Duration length = span(random);
  switch (kind) {
    case FaultKind::kClog:
    case FaultKind::kSlowLink: {
      uint32_t a = target_.handle(random.below(n)).index;
      uint32_t b = static_cast<uint32_t>(random.below(world_.nodes()));
      if (random.chance(1, 2)) std::swap(a, b);
      bool both = random.chance(1, 2);
      length = draw(random, Duration::millis(5), Duration::seconds(3));
      uint32_t factor = static_cast<uint32_t>(random.between(3, 300));
      if (a == b || world_.options({a}).spared || world_.options({b}).spared) return false;
      text = world_.name({a}) + (both ? " <-> " : " -> ") + world_.name({b}) + " for " +
             to_string(length);
      if (kind == FaultKind::kClog) {
        block_for(both ? Links{{a, b}, {b, a}} : Links{{a, b}}, length);
        return true;
      }
      for (auto [from, to] : both ? Links{{a, b}, {b, a}} : Links{{a, b}}) {
        world_.network().set_slowness(from, to, factor);
        later(world_.now() + length,
              [this, from = from, to = to] { world_.network().set_slowness(from, to, 1); });
      }
      return true;
    }
    case FaultKind::kSwizzle: {
      std::vector<size_t> order = shuffled(n, random);
      order.resize(random.between(1, n));
      for (size_t node : order) {
        Duration start = draw(random, Duration(), length),
                 stay = draw(random, Duration(), length * 2);
        uint32_t alone = target_.handle(node).index;
        Links links;
        for (size_t k = 0; k < n; ++k)
          if (uint32_t other = target_.handle(k).index; other != alone)
            links.push_back({alone, other}), links.push_back({other, alone});
        later(world_.now() + start, [this, links = std::move(links), stay]() mutable {
          block_for(std::move(links), stay);
        });
        text += node_name(node) + " ";
      }
      return true;
    }
    case FaultKind::kFlap: {
      Links links = shape(kind, random, text);
      uint32_t times = static_cast<uint32_t>(random.between(2, 12));
      Duration on = draw(random, Duration::millis(5), Duration::millis(1500));
      Duration off = draw(random, Duration::millis(5), Duration::millis(1500));
      text += std::to_string(times) + " times";
      flap(std::move(links), times, on, off);
      return true;
    }
    default: {
      if (n < 4 && (kind == FaultKind::kRing || kind == FaultKind::kMajorityRing)) return false;
      if (n < 3 && kind == FaultKind::kBridge) return false;
      Links links = shape(kind, random, text);
      if (links.empty()) return false;
      text += " for " + to_string(length);
      block_for(std::move(links), length);
      return true;
    }
  }
}

}  // namespace kahuna::sim
