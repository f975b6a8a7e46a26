#include "kahuna/cli/verbs.h"

#include <fmt/format.h>

#include <cstdio>

#include "kahuna/cli/text.h"

namespace kahuna::cli {
namespace {

constexpr uint32_t kPageLimit = 500;

// What people should try next, beside what went wrong.
Error with_advice(Error error, const ConnectOptions& connect) {
  if (status_of(error.code) != kUnavailable || error.code == ErrorCode::kNoSpace) return error;
  std::string list;
  for (const Address& endpoint : connect.endpoints) {
    list += (list.empty() ? "" : ",") + to_string(endpoint);
  }
  error.text += "\n  asked: " + list +
                "\n  is the cluster up? start one with 'kahuna local', or name its nodes with "
                "--endpoints or KAHUNA_ENDPOINTS";
  return error;
}

void print_write(const client::WriteReply& reply, bool json) {
  if (json) {
    fmt::print("{{\"done\":{},\"revision\":{},\"stamp\":{},\"replayed\":{}}}\n", reply.done,
               reply.revision.value(), reply.stamp.value(), reply.replayed);
  } else if (reply.done) {
    fmt::print("revision {}\n", reply.revision.value());
  }
}

std::string item_json(const client::Item& item) {
  return fmt::format("{{{},{},\"revision\":{},\"stamp\":{}}}", json_bytes("key", item.key),
                     json_bytes("value", item.value.value), item.value.revision.value(),
                     item.value.stamp.value());
}

}  // namespace

int status_of(ErrorCode code) {
  if (did_it_happen(code) == Happened::kUnknown) return kUnknown;
  if (code == ErrorCode::kInvalid || code == ErrorCode::kTooLarge) return kUsage;
  return kUnavailable;
}

int failed(const Error& error, const ConnectOptions& connect) {
  report_error(with_advice(error, connect), connect.json);
  return status_of(error.code);
}

int run_verb(World& world, const ConnectOptions& connect, const PutOptions& options) {
  client::SetOptions conditions;
  conditions.if_absent = options.if_absent;
  conditions.if_exists = options.if_exists;
  conditions.if_value = options.if_value;
  if (options.if_revision) conditions.if_revision = Revision(*options.if_revision);
  const auto reply = ask<client::WriteReply>(world, connect, [&](auto& client, auto done) {
    client.set(options.key, options.value, conditions, done);
  });
  if (!reply) return failed(reply.error(), connect);
  print_write(*reply, connect.json);
  if (reply->done) return kSuccess;
  if (!connect.json) {
    fmt::print(stderr, "kahuna: not written: a condition did not hold; the key is at revision {}\n",
               reply->revision.value());
  }
  return kNegative;
}

int run_verb(World& world, const ConnectOptions& connect, const GetOptions& options) {
  const auto reply = ask<std::optional<client::Value>>(
      world, connect,
      [&](auto& client, auto done) { client.get(options.key, std::nullopt, done); });
  if (!reply) return failed(reply.error(), connect);
  if (!*reply) {
    if (connect.json) fmt::print("{{\"found\":false}}\n");
    return kNegative;
  }
  const client::Value& value = **reply;
  if (connect.json) {
    fmt::print("{{\"found\":true,{},\"revision\":{},\"stamp\":{}}}\n",
               json_bytes("value", value.value), value.revision.value(), value.stamp.value());
  } else {
    std::fwrite(value.value.data(), 1, value.value.size(), stdout);
    std::fputc('\n', stdout);
  }
  return kSuccess;
}

int run_verb(World& world, const ConnectOptions& connect, const DeleteOptions& options) {
  const auto reply = ask<client::WriteReply>(world, connect, [&](auto& client, auto done) {
    client.remove(options.key, std::nullopt, done);
  });
  if (!reply) return failed(reply.error(), connect);
  print_write(*reply, connect.json);
  return reply->done ? kSuccess : kNegative;
}

int run_verb(World& world, const ConnectOptions& connect, const ExistsOptions& options) {
  const auto reply = ask<client::ExistsReply>(world, connect, [&](auto& client, auto done) {
    client.exists(options.key, std::nullopt, done);
  });
  if (!reply) return failed(reply.error(), connect);
  if (connect.json) {
    fmt::print("{{\"exists\":{},\"revision\":{}}}\n", reply->exists, reply->revision.value());
  } else {
    fmt::print("{}\n", reply->exists ? "yes" : "no");
  }
  return reply->exists ? kSuccess : kNegative;
}

int run_verb(World& world, const ConnectOptions& connect, const MoveLeaderOptions& options) {
  const auto moved = ask<void>(world, connect, [&](auto& client, auto done) {
    client.move_leader(PartitionId(options.partition), options.node, done);
  });
  if (!moved) return failed(moved.error(), connect);
  if (connect.json) {
    fmt::print("{{\"partition\":{},\"leader\":{}}}\n", options.partition,
               json_string(options.node));
  } else {
    fmt::print("partition {} is led by {}\n", options.partition, options.node);
  }
  return kSuccess;
}

int run_verb(World& world, const ConnectOptions& connect, const ScanOptions& options) {
  std::string cursor = options.cursor;
  uint64_t left = options.limit == 0 ? UINT64_MAX : options.limit;
  bool first = true;
  const auto client = make_client(world, connect);
  if (connect.json) fmt::print("{{\"items\":[");
  do {
    const auto limit = static_cast<uint32_t>(std::min<uint64_t>(left, kPageLimit));
    const auto page = ask<client::Page>(world, *client, [&](auto& client, auto done) {
      client.scan(options.bucket, cursor, limit, std::nullopt, done);
    });
    if (!page) {
      if (connect.json) fmt::print("],\"incomplete\":true}}\n");
      return failed(page.error(), connect);
    }
    for (const client::Item& item : page->items) {
      if (connect.json) {
        fmt::print("{}{}", first ? "" : ",", item_json(item));
      } else {
        fmt::print("{}\t{}\n", item.key, item.value.value);
      }
      first = false;
    }
    left -= std::min<uint64_t>(left, page->items.size());
    cursor = page->cursor;
  } while (!cursor.empty() && left > 0);
  if (connect.json) fmt::print("],{}}}\n", json_bytes("cursor", cursor));
  if (!cursor.empty() && !connect.json && is_utf8(cursor)) {
    fmt::print(stderr, "kahuna: more follows; go on with --cursor '{}'\n", cursor);
  }
  return kSuccess;
}

}  // namespace kahuna::cli
