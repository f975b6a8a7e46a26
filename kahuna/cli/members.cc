// `kahuna members`: who holds the cluster's data, and who is to.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "kahuna/cli/json.h"
#include "kahuna/cli/text.h"
#include "kahuna/cli/verbs.h"

namespace kahuna::cli {
namespace {

// What the nodes say, put together.
struct Roster {
  struct Member {
    std::string name, node, address, state;  // state: voter, learner, removed
    size_t votes = 0, learns = 0;            // in how many partitions, by the word of their leaders
  };
  std::vector<Member> members;
  size_t partitions = 0;  // whose leader was heard
};

void count(const Json& status, Roster& roster) {
  auto each = [&](const Json& names, size_t Roster::Member::*counter) {
    for (const Json& name : names.items)
      for (Roster::Member& member : roster.members)
        if (member.name == name.text) ++(member.*counter);
  };
  for (const Json& partition : status["partitions"].items) {
    if (partition["role"].text != "leader") continue;
    ++roster.partitions;
    each(partition["voters"], &Roster::Member::votes);
    each(partition["learners"], &Roster::Member::learns);
  }
}

// What is to be said of a node that is of no cluster yet.
std::string outsider(const Address& address, const Json& status) {
  const std::string at = to_string(address);
  if (!status["waiting"].is_true())
    return "the cluster of the node at " + at + " is not founded yet";
  return "the node at " + at + " waits to be let into a cluster: 'kahuna members add " + at +
         "', asked of a node of that, lets it in";
}

// Asks the endpoints, and then whoever they know: all of them, or until one knows the members.
enum class Ask : uint8_t { kAll, kUntilOneKnows };
Result<Roster> survey(World& world, client::Client& client, const ConnectOptions& connect,
                      Ask whom) {
  Roster roster;
  Error why(ErrorCode::kUnavailable, "no node answers");
  bool outside = false;  // `why` is told of one that answers
  std::vector<Address> nodes = connect.endpoints;
  for (size_t i = 0; i < nodes.size(); ++i) {
    auto text =
        ask<std::string>(world, client, [&](auto& c, auto done) { c.status(nodes[i], done); });
    for (const Address& other : client.known_nodes())
      if (std::find(nodes.begin(), nodes.end(), other) == nodes.end()) nodes.push_back(other);
    if (!text) {
      if (!outside) why = text.error();
      continue;
    }
    ASSIGN_OR_RETURN(Json status, parse_json(*text));
    if (status["cluster"].text == "0") {
      outside = true;
      why = {ErrorCode::kUnavailable, outsider(nodes[i], status)};
    }
    if (roster.members.empty())
      for (const Json& m : status["members"].items)
        roster.members.push_back(
            {m["name"].text, m["node"].text, m["address"].text, m["state"].text});
    count(status, roster);
    if (whom == Ask::kUntilOneKnows && !roster.members.empty()) break;
  }
  if (roster.members.empty()) return std::unexpected(why);
  return roster;
}

// Where it is on its way to what it is to be.
std::string state_of(const Roster::Member& member, size_t partitions) {
  if (member.state == "removed") return member.votes + member.learns > 0 ? "leaving" : "removed";
  if (member.state == "voter" && member.votes < partitions) return "joining";
  return member.state == "voter" ? "member" : "learner";
}

int list(World& world, client::Client& client, const ConnectOptions& connect) {
  const auto roster = survey(world, client, connect, Ask::kAll);
  if (!roster) return failed(roster.error(), connect);
  std::vector<std::vector<std::string>> rows = {{"NAME", "ADDRESS", "STATE", "VOTES IN", "NODE"}};
  std::string json;
  for (const Roster::Member& m : roster->members) {
    rows.push_back({m.name, m.address, state_of(m, roster->partitions),
                    fmt::format("{} of {}", m.votes, roster->partitions), m.node});
    json += fmt::format(
        "{}{{\"name\":{},\"address\":{},\"state\":\"{}\",\"votes\":{},\"learns\":{},\"partitions\":"
        "{},"
        "\"node\":\"{}\"}}",
        json.empty() ? "" : ",", json_string(m.name), json_string(m.address),
        state_of(m, roster->partitions), m.votes, m.learns, roster->partitions, m.node);
  }
  if (connect.json)
    fmt::print("[{}]\n", json);
  else
    fmt::print("{}", table(rows));
  return kSuccess;
}

// The wish for a node that waits at that address to be asked for.
Result<std::string> wish_to_add(World& world, client::Client& client,
                                const MembersOptions& options) {
  ASSIGN_OR_RETURN(Address address, parse_address(options.name));
  auto text = ask<std::string>(world, client, [&](auto& c, auto done) { c.status(address, done); });
  if (!text)
    return fail(ErrorCode::kUnavailable,
                "no node answers at " + options.name + ": start it there with --join wait");
  ASSIGN_OR_RETURN(Json status, parse_json(*text));
  if (status["cluster"].text != "0")
    return fail(ErrorCode::kInvalid,
                "the node at " + options.name + " belongs to a cluster already");
  return "join " + status["node"].text + " " + status["name"].text + " " + options.name +
         (options.learner ? " learner" : " voter");
}

// The wish about a member. Its node goes along: sent again because an answer was lost, the wish is
// not about who has come in its place meanwhile. Without it (0) the leader goes by the name.
Result<std::string> wish_about_member(World& world, client::Client& client,
                                      const ConnectOptions& connect,
                                      const MembersOptions& options) {
  ASSIGN_OR_RETURN(Roster roster, survey(world, client, connect, Ask::kUntilOneKnows));
  std::string node = "0";
  for (const Roster::Member& m : roster.members)
    if (m.name == options.name && m.state != "removed") node = m.node;
  return options.what + " " + options.name + " " + node;
}

}  // namespace

int run_verb(World& world, const ConnectOptions& connect, const MembersOptions& options) {
  const auto client = make_client(world, connect);
  if (options.what == "list") return list(world, *client, connect);
  Result<std::string> wish = options.what == "add"
                                 ? wish_to_add(world, *client, options)
                                 : wish_about_member(world, *client, connect, options);
  if (!wish && options.what != "add") return failed(wish.error(), connect);
  if (!wish) {
    report_error(wish.error(), connect.json);
    return status_of(wish.error().code);
  }
  const auto reply = ask<client::WriteReply>(
      world, *client, [&](auto& c, auto done) { c.members(*wish, std::nullopt, done); });
  if (!reply) return failed(reply.error(), connect);
  // What is recorded has a stamp.
  const bool already = reply->done && !reply->stamp;
  if (connect.json)
    fmt::print("{{\"done\":{},\"already\":{}}}\n", reply->done, already);
  else if (already)
    fmt::print("nothing to do: it is so already; 'kahuna members list' shows it\n");
  else if (reply->done)
    fmt::print("recorded; 'kahuna members list' shows how far the partitions are\n");
  else
    fmt::print(stderr, "kahuna: somebody else changed members at this moment; try again\n");
  return reply->done ? kSuccess : kNegative;
}

}  // namespace kahuna::cli
