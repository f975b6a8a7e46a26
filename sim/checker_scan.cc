#include "sim/checker_scan.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <optional>

#include "runtime/check.h"

namespace kahuna::sim {
namespace {

// What a page saw of one key: the slot, and whether another choice was open (a nothing that fits
// several absent states).
struct Sight {
  size_t key = 0;
  size_t slot = 0;
  bool certain = true;
};

class BucketSolver {
 public:
  BucketSolver(const History& history, const std::vector<OperationNumber>& pages,
               const std::vector<BucketKey>& keys)
      : history_(history), pages_(pages), keys_(keys) {}

  Judgement solve() {
    Judgement judgement;
    judgement.checked = pages_.size();
    number_nodes();
    bool certain = true;
    for (OperationNumber page : pages_) {
      sights_.push_back(look(page));
      for (const Sight& sight : sights_.back()) certain = certain && sight.certain;
    }
    for (const BucketKey& key : keys_) certain = certain && key.verdict->unique;
    std::string why;
    if (timed(true, why)) return judgement;
    if (certain || !timed(false, why)) {
      judgement.finding = Finding::kViolation;
      judgement.kind = "snapshot";
      judgement.text = std::move(why);
      return judgement;
    }
    judgement.undecided = 1;
    return judgement;
  }

 private:
  const Operation& op(OperationNumber n) const { return history_.operations()[n]; }
  const std::vector<Slot>& slots(size_t key) const { return keys_[key].verdict->slots; }
  size_t node(size_t key, size_t slot) const { return first_node_[key] + slot; }

  void number_nodes() {
    size_t next = 0;
    for (const BucketKey& key : keys_) {
      first_node_.push_back(next);
      next += key.verdict->slots.size();
    }
    first_page_ = next;
  }

  std::vector<Sight> look(OperationNumber number) const {
    const SeenPage& page = history_.pages()[op(number).page];
    std::map<NameId, const SeenItem*> items;
    for (const SeenItem& item : page.items) items[item.key] = &item;
    std::vector<Sight> sights;
    for (size_t k = 0; k < keys_.size(); ++k) {
      if (!page_covers(history_, page, history_.text(keys_[k].key))) continue;
      auto found = items.find(keys_[k].key);
      if (found != items.end()) {
        sights.push_back({k, size_t(found->second->revision + 1), true});
      } else if (auto sight = look_at_nothing(k, op(number))) {
        sights.push_back(*sight);
      }
    }
    return sights;
  }

  // The latest absent state the page can have seen; certain when it is the only one.
  std::optional<Sight> look_at_nothing(size_t k, const Operation& page) const {
    const std::vector<Slot>& states = slots(k);
    std::optional<Sight> sight;
    for (size_t s = states.size(); s-- > 0;) {
      if (states[s].present || states[s].after >= page.completed) continue;
      if (s + 1 < states.size() && states[s + 1].before <= page.invoked) break;
      if (sight) {
        sight->certain = false;
        break;
      }
      sight = Sight{k, s, true};
    }
    return sight;
  }

  struct Edges {
    std::vector<std::vector<size_t>> out;
    std::vector<size_t> in_count;
    void add(size_t from, size_t to) {
      out[from].push_back(to);
      ++in_count[to];
    }
  };

  Edges edges(bool all_sights) const {
    Edges edges;
    edges.out.resize(first_page_ + pages_.size());
    edges.in_count.resize(edges.out.size());
    for (size_t k = 0; k < keys_.size(); ++k)
      for (size_t s = 0; s + 1 < slots(k).size(); ++s) edges.add(node(k, s), node(k, s + 1));
    for (size_t p = 0; p < pages_.size(); ++p) {
      for (const Sight& sight : sights_[p]) {
        bool sure = sight.certain && keys_[sight.key].verdict->unique;
        if (!sure && !all_sights) continue;
        edges.add(node(sight.key, sight.slot), first_page_ + p);
        if (sight.slot + 1 < slots(sight.key).size())
          edges.add(first_page_ + p, node(sight.key, sight.slot + 1));
      }
    }
    return edges;
  }

  // Whether times exist. With all_sights false the doubtful ones are left out.
  bool timed(bool all_sights, std::string& why) const {
    Edges graph = edges(all_sights);
    std::vector<EventNumber> after(graph.out.size()), before(graph.out.size(), kNever);
    std::vector<size_t> because(graph.out.size());
    for (size_t k = 0; k < keys_.size(); ++k) {
      for (size_t s = 0; s < slots(k).size(); ++s) {
        after[node(k, s)] = slots(k)[s].after;
        before[node(k, s)] = slots(k)[s].before;
        because[node(k, s)] = node(k, s);
      }
    }
    for (size_t p = 0; p < pages_.size(); ++p) {
      after[first_page_ + p] = op(pages_[p]).invoked;
      before[first_page_ + p] = op(pages_[p]).completed;
      because[first_page_ + p] = first_page_ + p;
    }
    std::vector<size_t> ready;
    for (size_t n = 0; n < graph.out.size(); ++n)
      if (graph.in_count[n] == 0) ready.push_back(n);
    size_t visited = 0;
    while (!ready.empty()) {
      size_t n = ready.back();
      ready.pop_back();
      ++visited;
      if (after[n] >= before[n]) {
        why = "a scan saw its bucket as it never was:" + text(because[n]) + text(n);
        return false;
      }
      for (size_t to : graph.out[n]) {
        if (after[n] > after[to]) {
          after[to] = after[n];
          because[to] = because[n];
        }
        if (--graph.in_count[to] == 0) ready.push_back(to);
      }
    }
    if (visited == graph.out.size()) return true;
    why = "scans of one bucket contradict each other:";
    int shown = 0;
    for (size_t p = 0; p < pages_.size() && shown < 4; ++p) {
      if (graph.in_count[first_page_ + p] == 0) continue;
      why += text(first_page_ + p);
      ++shown;
    }
    return false;
  }

  std::string text(size_t n) const {
    if (n >= first_page_) return "\n  " + history_.describe(pages_[n - first_page_]);
    size_t k =
        size_t(std::upper_bound(first_node_.begin(), first_node_.end(), n) - first_node_.begin()) -
        1;
    const Slot& slot = slots(k)[n - first_node_[k]];
    return slot.mutation ? "\n  " + history_.describe(*slot.mutation) : "";
  }

  const History& history_;
  const std::vector<OperationNumber>& pages_;
  const std::vector<BucketKey>& keys_;
  std::vector<size_t> first_node_;  // of each key's slot 0
  size_t first_page_ = 0;
  std::vector<std::vector<Sight>> sights_;  // by page
};

}  // namespace

Judgement check_bucket(const History& history, const std::vector<OperationNumber>& pages,
                       const std::vector<BucketKey>& keys) {
  return BucketSolver(history, pages, keys).solve();
}

}  // namespace kahuna::sim
