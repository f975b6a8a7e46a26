// `kahuna scrub`: asks nodes to search their disks for damage, and waits for what they find.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "kahuna/cli/json.h"
#include "kahuna/cli/text.h"
#include "kahuna/cli/verbs.h"

namespace kahuna::cli {
namespace {

constexpr Duration kPollInterval = Duration::millis(500);
// A node that has not answered so often in a row is gone.
constexpr int kPollsMax = 4;

struct Scrubbed {
  Address address;
  std::string name;
  std::string number;  // of the scrub that was begun, or was under way
  Result<Json> last = fail(ErrorCode::kTimeout, "no answer in time");
  std::string text;  // of last
  int silent = 0;
  bool ended() const { return !last || !(*last)["running"].is_true(); }
};

// `begin`: the name of the node there, to begin.
Result<Json> tell(World& world, client::Client& client, const Address& address,
                  const std::string& begin, std::string& text) {
  auto answer =
      ask<std::string>(world, client, [&](auto& c, auto done) { c.scrub(address, begin, done); });
  if (!answer) return fail(answer.error());
  text = *answer;
  return parse_json(text);
}

void poll(World& world, client::Client& client, Scrubbed& node) {
  auto now = tell(world, client, node.address, "", node.text);
  if (!now && ++node.silent < kPollsMax) return;
  node.silent = now ? 0 : node.silent;
  if (now && (*now)["scrub"].text != node.number)
    now = fail(ErrorCode::kUnavailable, "the node was started again meanwhile; its log says why");
  node.last = std::move(now);
}

void wait(World& world) {
  Clock& clock = *world.host().clock;
  clock.call_at(clock.now() + kPollInterval, [&world] { world.stop(); });
  world.run();
}

// Asks the endpoints, and whoever they know, to begin. Of the members of the cluster, those that do
// not answer are among what is returned; endpoints that name no member, once one is known, are not.
Result<std::vector<Scrubbed>> begin_all(World& world, client::Client& client,
                                        const ConnectOptions& connect, const std::string& name) {
  std::vector<Scrubbed> found;
  std::vector<Scrubbed> silent;
  std::vector<Address> nodes = connect.endpoints;
  for (size_t i = 0; i < nodes.size(); ++i) {
    Scrubbed node{.address = nodes[i]};
    auto told = tell(world, client, node.address, "", node.text);
    for (const Address& other : client.known_nodes())
      if (std::find(nodes.begin(), nodes.end(), other) == nodes.end()) nodes.push_back(other);
    if (!told) {
      node.last = fail(told.error());
      silent.push_back(std::move(node));
      continue;
    }
    node.name = (*told)["name"].text;
    const bool twice = std::any_of(found.begin(), found.end(),
                                   [&](const Scrubbed& s) { return s.name == node.name; });
    if (twice || (!name.empty() && node.name != name)) continue;
    node.last = tell(world, client, node.address, node.name, node.text);
    if (node.last) node.number = (*node.last)["scrub"].text;
    if (node.number == "0")
      node.last = fail(ErrorCode::kUnavailable, "the node is still starting; try again");
    found.push_back(std::move(node));
  }
  const std::vector<Address> members = client.known_nodes();
  std::erase_if(silent, [&](const Scrubbed& node) {
    return std::find(members.begin(), members.end(), node.address) == members.end();
  });
  if (found.empty() && !silent.empty() && silent.size() == members.size())
    return fail(silent.front().last.error());
  if (found.empty() && silent.empty())
    return fail(ErrorCode::kInvalid,
                "no node that answers is named '" + name + "'; 'kahuna status' lists them");
  if (found.empty() || name.empty())
    for (Scrubbed& node : silent) found.push_back(std::move(node));
  return found;
}

std::string json_of(const Scrubbed& node) {
  if (node.last) return node.text;
  const std::string name =
      node.name.empty() ? "" : fmt::format("\"name\":{},", json_string(node.name));
  return fmt::format("{{{}\"address\":{},\"error\":\"{}\",\"text\":{}}}", name,
                     json_string(to_string(node.address)), name_of(node.last.error().code),
                     json_string(node.last.error().text));
}

void print(const Scrubbed& node) {
  if (!node.last) {
    fmt::print("{}: {}\n", node.name.empty() ? to_string(node.address) : node.name,
               node.last.error().text);
    return;
  }
  const Json& last = *node.last;
  const double mib = std::strtod(last["bytes"].text.c_str(), nullptr) / (1 << 20);
  const size_t damaged = last["damaged"].items.size();
  if (damaged == 0)
    fmt::print("{}: {:.1f} MiB read, no damage\n", node.name, mib);
  else
    fmt::print("{}: {:.1f} MiB read, {} damaged, {} of them repaired\n", node.name, mib, damaged,
               last["repaired"].text);
  for (const Json& text : last["damaged"].items) fmt::print("  {}\n", text.text);
}

}  // namespace

int run_verb(World& world, const ConnectOptions& connect, const ScrubOptions& options) {
  const auto client = make_client(world, connect);
  auto nodes = begin_all(world, *client, connect, options.node);
  if (!nodes) return failed(nodes.error(), connect);
  while (std::any_of(nodes->begin(), nodes->end(),
                     [](const Scrubbed& node) { return !node.ended(); })) {
    wait(world);
    for (Scrubbed& node : *nodes)
      if (!node.ended()) poll(world, *client, node);
  }
  int status = kSuccess;
  std::string json;
  for (const Scrubbed& node : *nodes) {
    json += (json.empty() ? "" : ",") + json_of(node);
    if (!connect.json) print(node);
    if (!node.last)
      status = kUnavailable;
    else if (status == kSuccess && !(*node.last)["damaged"].items.empty())
      status = kNegative;
  }
  if (connect.json) fmt::print("[{}]\n", json);
  return status;
}

}  // namespace kahuna::cli
