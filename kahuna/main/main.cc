// The binary: picks the verb, and the host that it runs in.
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "kahuna/cli/bench.h"
#include "kahuna/cli/completion.h"
#include "kahuna/cli/local.h"
#include "kahuna/cli/parse.h"
#include "kahuna/cli/verbs.h"
#include "kahuna/main/loop_world.h"
#include "kahuna/main/server.h"
#include "runtime/probe.h"
#if __has_include("sim/command.h")
#include "sim/command.h"
#endif

namespace kahuna {
namespace {

template <class Run>
int in_world(net::IoBackend io, Run run) {
  net::ignore_broken_pipes();
  net::raise_descriptor_limit();
  net::LoopOptions options;
  options.io = io;
  Result<std::unique_ptr<net::Loop>> loop = net::Loop::create(options);
  if (!loop) {
    fmt::print(stderr, "kahuna: {}\n", loop.error().text);
    return cli::kUnavailable;
  }
  LoopWorld world(std::move(*loop));
  return run(world);
}

int dispatch(const cli::Invocation& invocation) {
  return std::visit(
      [&](const auto& options) -> int {
        using Options = std::remove_cvref_t<decltype(options)>;
        if constexpr (std::is_same_v<Options, cli::ServerOptions>) {
          return run_server(options);
        } else if constexpr (std::is_same_v<Options, cli::VersionOptions>) {
          fmt::print("kahuna {}\n", KAHUNA_VERSION);
          return cli::kSuccess;
        } else if constexpr (std::is_same_v<Options, cli::CompletionOptions>) {
          return cli::print_bash_completion();
        } else {
          // A few sockets are served as well by epoll, which starts faster.
          constexpr bool kBusy = std::is_same_v<Options, cli::BenchOptions>;
          return in_world(
              kBusy ? net::IoBackend::kUring : net::IoBackend::kEpoll,
              [&](cli::World& world) { return cli::run_verb(world, invocation.connect, options); });
        }
      },
      invocation.verb);
}

}  // namespace
}  // namespace kahuna

int main(int argc, char** argv) {
#ifdef KAHUNA_MUTANTS
  if (const char* name = std::getenv("KAHUNA_MUTANT")) kahuna::set_active_mutant(name);
#endif
#if __has_include("sim/command.h")
  if (argc > 1 && std::string_view(argv[1]) == "sim") {
    return kahuna::sim::run_command(argc - 1, argv + 1);
  }
#endif
  const auto invocation = kahuna::cli::parse(argc, argv);
  if (!invocation) return invocation.error();
  return kahuna::dispatch(*invocation);
}
