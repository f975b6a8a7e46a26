// The verbs that ask a running cluster. Each runs the world's loop until it has its answer, prints
// the result to stdout and errors to stderr, and returns the exit status.
#pragma once

#include <memory>
#include <optional>

#include "kahuna/cli/options.h"
#include "kahuna/cli/world.h"
#include "kahuna/client/client.h"

namespace kahuna::cli {

int run_verb(World& world, const ConnectOptions& connect, const PutOptions& options);
int run_verb(World& world, const ConnectOptions& connect, const GetOptions& options);
int run_verb(World& world, const ConnectOptions& connect, const DeleteOptions& options);
int run_verb(World& world, const ConnectOptions& connect, const ExistsOptions& options);
int run_verb(World& world, const ConnectOptions& connect, const ScanOptions& options);
int run_verb(World& world, const ConnectOptions& connect, const StatusOptions& options);
int run_verb(World& world, const ConnectOptions& connect, const MembersOptions& options);
int run_verb(World& world, const ConnectOptions& connect, const MoveLeaderOptions& options);
int run_verb(World& world, const ConnectOptions& connect, const ScrubOptions& options);

// The exit status an error means.
int status_of(ErrorCode code);

// Reports the error of a request to the cluster, with what to try next; its exit status.
int failed(const Error& error, const ConnectOptions& connect);

// Runs `start(client, done)`, which must call done(result) once, to its end.
template <class T, class Start>
Result<T> ask(World& world, client::Client& client, Start start) {
  std::optional<Result<T>> answer;
  start(client, [&](Result<T> result) {
    answer.emplace(std::move(result));
    world.stop();
  });
  while (!answer) world.run();
  return *std::move(answer);
}

// One for a whole verb: it keeps its connections, and what it learned of leaders.
inline std::unique_ptr<client::Client> make_client(World& world, const ConnectOptions& connect) {
  client::Options options;
  options.endpoints = connect.endpoints;
  options.timeout = connect.timeout;
  return client::Client::create(world.host(), options);
}

template <class T, class Start>
Result<T> ask(World& world, const ConnectOptions& connect, Start start) {
  return ask<T>(world, *make_client(world, connect), std::move(start));
}

}  // namespace kahuna::cli
