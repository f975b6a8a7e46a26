#include "kahuna/client/routes.h"

#include "runtime/hash.h"

namespace kahuna::client {

uint64_t hash_of_space(std::string_view space) {
  return hash64(as_bytes(space));
}

uint64_t hash_of_key(std::string_view key) {
  const size_t slash = key.rfind('/');
  return hash_of_space(slash == std::string_view::npos ? key : key.substr(0, slash));
}

bool RouteCache::learn(const Route& route) {
  if (route.first > route.last) return false;
  auto overlapping = routes_.upper_bound(route.first);
  if (overlapping != routes_.begin() && std::prev(overlapping)->second.last >= route.first) {
    --overlapping;
  }
  for (auto it = overlapping; it != routes_.end() && it->first <= route.last; ++it) {
    if (it->second.generation > route.generation) return false;
  }
  while (overlapping != routes_.end() && overlapping->first <= route.last) {
    const Route old = overlapping->second;
    overlapping = routes_.erase(overlapping);
    if (old.first < route.first) {
      Route left = old;
      left.last = route.first - 1;
      routes_[left.first] = left;
    }
    if (old.last > route.last) {
      Route right = old;
      right.first = route.last + 1;
      routes_[right.first] = right;
      break;
    }
  }
  if (routes_.size() >= kRoutesMax) routes_.clear();
  routes_[route.first] = route;
  return true;
}

std::optional<size_t> RouteCache::find(uint64_t hash) const {
  auto it = routes_.upper_bound(hash);
  if (it == routes_.begin()) return std::nullopt;
  --it;
  if (it->second.last < hash) return std::nullopt;
  return it->second.node;
}

void RouteCache::forget(uint64_t hash) {
  auto it = routes_.upper_bound(hash);
  if (it == routes_.begin()) return;
  --it;
  if (it->second.last >= hash) routes_.erase(it);
}

void RouteCache::forget_node(size_t node) {
  std::erase_if(routes_, [node](const auto& entry) { return entry.second.node == node; });
}

}  // namespace kahuna::client
