#include "kahuna/cli/parse.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <iterator>

#include "kahuna/cli/config.h"
#include "kahuna/cli/text.h"

namespace kahuna::cli {
namespace {

constexpr const char* kLocalEndpoints = "127.0.0.1:2073,127.0.0.1:2083,127.0.0.1:2093";
constexpr const char* kExitStatuses =
    "Exit status: 0 done; 1 no such key, or a condition did not hold; 2 wrong usage;\n"
    "3 not done (nobody reachable, or no answer in time); 4 sent, outcome unknown.";

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    if (end > 0) parts.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

// What takes the place of an option's default: read before the command line, since CLI11 would read
// it after that, and for the verbs that are not called as well, whose options share what they bind.
std::optional<std::string> environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value && *value ? std::optional<std::string>(value) : std::nullopt;
}
void show_environment(CLI::Option* option, const std::string& name) {
  const std::string shown = option->get_default_str();
  option->option_text(option->get_type_name() + (shown.empty() ? "" : "=" + shown) +
                      " (Env:" + name + ")");
}

Result<> one_of(std::string_view flag, const std::string& value,
                const std::vector<std::string>& allowed) {
  std::string list;
  for (const std::string& word : allowed) {
    if (word == value) return {};
    list += (list.empty() ? "" : ", ") + word;
  }
  return fail(ErrorCode::kInvalid,
              std::string(flag) + " must be one of " + list + ", not '" + value + "'");
}

// The server's settings as they are typed, before they are checked.
struct RawServer {
  std::string config, name = "n1", listen = "127.0.0.1:2073", data, founders, join;
  uint64_t partitions = 16;
  uint64_t loops = 1;
  std::string engine = "rocks", io = "uring", reads = "quorum", log_level = "info";
  uint64_t clock_drift_ppm_max = 1000;
  uint64_t request_timeout_ms = 10'000, election_timeout_ms_min = 500,
           election_timeout_ms_max = 1'000, heartbeat_ms = 100, flush_mib = 64, log_keep_mib = 64,
           snapshot_mib_per_second = 16, scrub_mib_per_second = 16, scrub_interval_s = 86'400;
};

Result<> check_name(std::string_view flag, const std::string& name) {
  if (valid_name(name)) return {};
  return fail(ErrorCode::kInvalid, std::string(flag) + " has the name '" + name +
                                       "': use 1..64 of letters, digits, '-', '_', '.'");
}

Result<ServerOptions> check_server(const RawServer& raw) {
  ServerOptions options;
  RETURN_IF_ERROR(check_name("--name", raw.name));
  options.name = raw.name;
  ASSIGN_OR_RETURN(options.listen, parse_address(raw.listen));
  if (raw.data.empty()) {
    return fail(
        ErrorCode::kInvalid,
        "--data is missing: the directory that this node owns, for example --data /var/lib/kahuna");
  }
  options.data = raw.data;
  for (const std::string& part : split(raw.founders, ',')) {
    const size_t equals = part.find('=');
    if (equals == std::string::npos || equals == 0) {
      return fail(ErrorCode::kInvalid,
                  "--founders has '" + part +
                      "'; write NAME=HOST:PORT,NAME=HOST:PORT,… the same on every node");
    }
    RETURN_IF_ERROR(check_name("--founders", part.substr(0, equals)));
    ASSIGN_OR_RETURN(Address address, parse_address(part.substr(equals + 1)));
    for (const auto& [name, other] : options.founders) {
      if (name == part.substr(0, equals) || other == address) {
        return fail(ErrorCode::kInvalid, "--founders names '" + part + "' twice");
      }
    }
    options.founders.emplace_back(part.substr(0, equals), std::move(address));
  }
  options.joins = !raw.join.empty();
  if (options.joins && !raw.founders.empty())
    return fail(ErrorCode::kInvalid,
                "--join and --founders exclude each other: a node founds a cluster or joins one");
  for (const std::string& part : split(raw.join == "wait" ? "" : raw.join, ',')) {
    ASSIGN_OR_RETURN(Address address, parse_address(part));
    options.join.push_back(std::move(address));
  }
  if (!options.join.empty() && std::all_of(options.join.begin(), options.join.end(),
                                           [&](const Address& a) { return a == options.listen; }))
    return fail(ErrorCode::kInvalid,
                "--join names this node's own --listen " + raw.listen +
                    " only; name nodes of the cluster, or write --join wait and have 'kahuna "
                    "members add " +
                    raw.listen + "' asked of it");
  if (options.joins && (options.listen.host == "0.0.0.0" || options.listen.host == "::"))
    return fail(ErrorCode::kInvalid,
                "--listen " + raw.listen +
                    " tells the other nodes nothing: name an address of this machine");
  if (options.founders.empty() && !options.joins)
    options.founders.emplace_back(options.name, options.listen);
  const bool listed =
      std::any_of(options.founders.begin(), options.founders.end(),
                  [&](const auto& founder) { return founder.first == options.name; });
  if (!listed && !options.joins) {
    return fail(ErrorCode::kInvalid, "--founders does not list this node's own name '" +
                                         options.name + "'; add " + options.name + "=" +
                                         raw.listen);
  }
  if (raw.partitions < 1 || raw.partitions > 16'384) {
    return fail(ErrorCode::kInvalid, "--partitions must be 1..16384");
  }
  options.partitions = raw.partitions;
  if (raw.loops < 1 || raw.loops > kLoopsMax) {
    return fail(ErrorCode::kInvalid, "--loops must be 1..64");
  }
  options.loops = raw.loops;
  RETURN_IF_ERROR(one_of("--engine", raw.engine, {"rocks", "memory"}));
  RETURN_IF_ERROR(one_of("--io", raw.io, {"uring", "epoll"}));
  RETURN_IF_ERROR(one_of("--reads", raw.reads, {"quorum", "lease"}));
  RETURN_IF_ERROR(one_of("--log-level", raw.log_level, {"error", "warn", "info"}));
  options.engine = raw.engine;
  options.io = raw.io;
  options.log_level = raw.log_level;
  options.reads = raw.reads;
  if (raw.clock_drift_ppm_max < 1 || raw.clock_drift_ppm_max > 200'000) {
    return fail(ErrorCode::kInvalid, "--clock-drift-ppm-max must be 1..200000");
  }
  options.clock_drift_ppm_max = static_cast<uint32_t>(raw.clock_drift_ppm_max);
  if (raw.request_timeout_ms < 1 || raw.request_timeout_ms > 300'000) {
    return fail(ErrorCode::kInvalid, "--request-timeout-ms must be 1..300000");
  }
  if (raw.heartbeat_ms < 1 || raw.election_timeout_ms_min < 2 * raw.heartbeat_ms ||
      raw.election_timeout_ms_max <= raw.election_timeout_ms_min ||
      raw.election_timeout_ms_max > 600'000) {
    return fail(
        ErrorCode::kInvalid,
        "timeouts must satisfy 1 <= heartbeat, 2 x heartbeat <= election min < election max "
        "<= 600000 ms");
  }
  if (raw.flush_mib < 1 || raw.flush_mib > 65'536) {
    return fail(ErrorCode::kInvalid, "--flush-mib must be 1..65536");
  }
  if (raw.log_keep_mib > 65'536) {
    return fail(ErrorCode::kInvalid, "--log-keep-mib must be 0..65536");
  }
  if (raw.snapshot_mib_per_second < 1 || raw.snapshot_mib_per_second > 65'536) {
    return fail(ErrorCode::kInvalid, "--snapshot-mib-per-second must be 1..65536");
  }
  if (raw.scrub_mib_per_second < 1 || raw.scrub_mib_per_second > 65'536) {
    return fail(ErrorCode::kInvalid, "--scrub-mib-per-second must be 1..65536");
  }
  if (raw.scrub_interval_s > 31'536'000) {
    return fail(ErrorCode::kInvalid, "--scrub-interval-s must be 0..31536000");
  }
  const auto millis = [](uint64_t n) { return Duration::millis(static_cast<int64_t>(n)); };
  options.request_timeout = millis(raw.request_timeout_ms);
  options.election_timeout_min = millis(raw.election_timeout_ms_min);
  options.election_timeout_max = millis(raw.election_timeout_ms_max);
  options.heartbeat_interval = millis(raw.heartbeat_ms);
  options.flush_bytes = raw.flush_mib << 20;
  options.log_keep_bytes = raw.log_keep_mib << 20;
  options.snapshot_bytes_per_second = raw.snapshot_mib_per_second << 20;
  options.scrub_bytes_per_second = raw.scrub_mib_per_second << 20;
  options.scrub_interval = Duration::seconds(static_cast<int64_t>(raw.scrub_interval_s));
  return options;
}

// `where` it was said.
Result<> assign(std::string& target, const std::string& text, const std::string&) {
  target = text;
  return {};
}
Result<> assign(uint64_t& target, const std::string& text, const std::string& where) {
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, target);
  if (error != std::errc() || stopped != end)
    return fail(ErrorCode::kInvalid, where + ": '" + text + "' is not a whole number");
  return {};
}

// Declares the server's settings. Values of the file become the defaults, those of the environment
// take their place, and flags are read last.
class ServerSettings {
 public:
  // `called`: the environment counts. `path`: of the file.
  ServerSettings(CLI::App& app, bool called, const std::string& path, const Config& config)
      : app_(app), called_(called), path_(path), config_(config) {}

  template <class T>
  void add(const std::string& flag, T& target, const std::string& help) {
    std::string key = flag, variable = "KAHUNA_" + flag;
    std::replace(key.begin(), key.end(), '-', '_');
    for (char& c : variable) c = c == '-' ? '_' : static_cast<char>(std::toupper(c));
    keys_.push_back(key);
    if (const auto found = config_.find(key); found != config_.end() && outcome_) {
      outcome_ = assign(target, found->second.text,
                        path_ + ": line " + std::to_string(found->second.line));
    }
    if (const auto value = environment(variable); value && called_ && outcome_) {
      outcome_ = assign(target, *value, variable);
    }
    show_environment(app_.add_option("--" + flag, target, help)->capture_default_str(), variable);
  }
  const std::vector<std::string>& keys() const { return keys_; }
  const Result<>& outcome() const { return outcome_; }

 private:
  CLI::App& app_;
  const bool called_;
  const std::string& path_;
  const Config& config_;
  std::vector<std::string> keys_;
  Result<> outcome_;
};

std::string config_path(int argc, char** argv) {
  std::string path = environment("KAHUNA_CONFIG").value_or("");
  for (int i = 2; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--config" && i + 1 < argc) path = argv[i + 1];
    if (word.starts_with("--config=")) path = word.substr(9);
  }
  return path;
}

// `called`: it is the server that is to be run. `path`: of its file, or "".
Result<> declare_server(CLI::App& app, RawServer& raw, bool called, const std::string& path) {
  Config config;
  if (!path.empty()) {
    ASSIGN_OR_RETURN(config, load_config(path));
  }
  show_environment(
      app.add_option(
          "--config", raw.config,
          "TOML file with these settings ('-' becomes '_'); flags and environment override it"),
      "KAHUNA_CONFIG");
  ServerSettings settings(app, called, path, config);
  settings.add("name", raw.name, "this node's name, unique in the cluster");
  settings.add("listen", raw.listen, "HOST:PORT for clients and other nodes");
  settings.add("data", raw.data, "directory that this node owns; created when missing");
  settings.add("founders", raw.founders,
               "NAME=HOST:PORT,… of the nodes that found the cluster, the same on each; used once "
               "(none: this node alone)");
  settings.add("join", raw.join,
               "HOST:PORT,… of nodes of a cluster that this node, on an empty directory, is to "
               "join; or 'wait', until "
               "'kahuna members add' names it");
  settings.add("partitions", raw.partitions, "user partitions of a cluster founded now, 1..16384");
  settings.add("loops", raw.loops,
               "event loops that share the partitions, 1..64; may change at a restart");
  settings.add("engine", raw.engine, "rocks | memory (images on disk, all state in memory)");
  settings.add("io", raw.io, "uring | epoll");
  settings.add(
      "reads", raw.reads,
      "quorum | lease: how a leader makes sure that it still leads, for a read. By asking a "
      "majority each time; or by its followers' promise to elect nobody for an election "
      "timeout, which needs no message, but makes the failover of a killed node wait for it");
  settings.add(
      "clock-drift-ppm-max", raw.clock_drift_ppm_max,
      "parts per million by which a node's monotonic clock may be too fast or too slow, at "
      "most; the same on all nodes; leases rest on it");
  settings.add("request-timeout-ms", raw.request_timeout_ms,
               "milliseconds for a request that names no timeout");
  settings.add("election-timeout-ms-min", raw.election_timeout_ms_min,
               "milliseconds of silence before a follower campaigns, at least");
  settings.add("election-timeout-ms-max", raw.election_timeout_ms_max, "… and below");
  settings.add("heartbeat-ms", raw.heartbeat_ms, "milliseconds between a leader's heartbeats");
  settings.add("flush-mib", raw.flush_mib, "MiB applied before the engine is flushed to disk");
  settings.add("log-keep-mib", raw.log_keep_mib,
               "MiB of each partition's log kept for nodes that are behind; who lacks more is sent "
               "the whole "
               "partition");
  settings.add("snapshot-mib-per-second", raw.snapshot_mib_per_second,
               "MiB a second of partitions that each event loop sends to nodes that are behind; up "
               "to 16 times as "
               "many when the log that is kept for them gets full");
  settings.add("scrub-mib-per-second", raw.scrub_mib_per_second,
               "MiB a second that are read back from the disk while it is searched for damage");
  settings.add(
      "scrub-interval-s", raw.scrub_interval_s,
      "seconds from the end of one such search to the next; 0: only 'kahuna scrub' begins one");
  settings.add("log-level", raw.log_level, "error | warn | info, to stderr");
  RETURN_IF_ERROR(refuse_unknown_keys(path, config, settings.keys()));
  return settings.outcome();
}

struct RawConnect {
  std::string endpoints = environment("KAHUNA_ENDPOINTS").value_or(kLocalEndpoints);
  double timeout_s = 5;
  bool json = false;
};

void declare_connect(CLI::App& app, RawConnect& raw) {
  show_environment(app.add_option("--endpoints", raw.endpoints, "HOST:PORT,… of some nodes")
                       ->capture_default_str(),
                   "KAHUNA_ENDPOINTS");
  app.add_option("--timeout", raw.timeout_s, "seconds for the whole operation, retries included")
      ->capture_default_str();
  app.add_flag("--json", raw.json, "print JSON");
  app.footer(kExitStatuses);
}

Result<ConnectOptions> check_connect(const RawConnect& raw) {
  ConnectOptions options;
  for (const std::string& part : split(raw.endpoints, ',')) {
    ASSIGN_OR_RETURN(Address address, parse_address(part));
    options.endpoints.push_back(std::move(address));
  }
  if (options.endpoints.empty()) {
    return fail(ErrorCode::kInvalid, "--endpoints names nobody; write HOST:PORT,HOST:PORT,…");
  }
  if (!(raw.timeout_s > 0 && raw.timeout_s <= 3600)) {
    return fail(ErrorCode::kInvalid, "--timeout must be above 0 and at most 3600 seconds");
  }
  options.timeout = Duration::nanos(static_cast<int64_t>(raw.timeout_s * 1e9));
  options.json = raw.json;
  return options;
}

struct RawBench {
  std::string workload = "mixed";
  double duration_s = 10, warmup_s = 1;
};

Result<> check_bench(const RawBench& raw, BenchOptions& options) {
  RETURN_IF_ERROR(one_of("--workload", raw.workload, {"put", "get", "mixed"}));
  options.workload = raw.workload == "put"   ? Workload::kPut
                     : raw.workload == "get" ? Workload::kGet
                                             : Workload::kMixed;
  if (!(raw.duration_s > 0 && raw.duration_s <= 86'400) || !(raw.warmup_s >= 0)) {
    return fail(ErrorCode::kInvalid, "--duration must be above 0 and at most 86400 seconds");
  }
  if (options.connections < 1 || options.connections > 10'000 || options.pipeline < 1 ||
      options.pipeline > 10'000 || options.clients > options.connections || options.keys < 1) {
    return fail(ErrorCode::kInvalid,
                "--connections and --pipeline must be 1..10000, --clients at most --connections, "
                "--keys at least 1");
  }
  if (options.value_bytes > 1024 * 1024) {
    return fail(ErrorCode::kInvalid, "--value-size must be at most 1048576 bytes");
  }
  options.duration = Duration::nanos(static_cast<int64_t>(raw.duration_s * 1e9));
  options.warmup = Duration::nanos(static_cast<int64_t>(raw.warmup_s * 1e9));
  return {};
}

int usage_error(const Error& error) {
  std::fprintf(stderr, "kahuna: %s\n", error.text.c_str());
  return kUsage;
}

// `kahuna put KEY -`: the value is what stdin holds.
std::string read_stdin() {
  return std::string(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>());
}

class Parser {
 public:
  Parser() : app_("A distributed key/value store. Start with: kahuna local", "kahuna") {
    app_.require_subcommand(1);
    app_.set_help_all_flag("--help-all", "Help of every verb");
    app_.set_version_flag("--version", "kahuna " KAHUNA_VERSION, "print the version");
  }

  std::expected<Invocation, int> run(int argc, char** argv) {
    declare_keys();
    declare_bench();
    declare_local();
    CLI::App* server = app_.add_subcommand("server", "run one node of a cluster");
    const bool serves = argc > 1 && std::string_view(argv[1]) == "server";
    const Result<> declared =
        declare_server(*server, server_, serves, serves ? config_path(argc, argv) : "");
    if (!declared) return std::unexpected(usage_error(declared.error()));
    app_.add_subcommand("sim", "run the simulator; see kahuna sim --help");
    app_.add_subcommand("version", "print the version");
    app_.add_subcommand("completion", "print shell completion")
        ->add_option("shell", shell_, "bash")
        ->required();
    try {
      app_.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      const int status = app_.exit(error);
      if (status != 0) suggest(argc, argv);
      return std::unexpected(status == 0 ? kSuccess : kUsage);
    }
    Result<Invocation> invocation = collect();
    if (!invocation) return std::unexpected(usage_error(invocation.error()));
    return *std::move(invocation);
  }

 private:
  CLI::App* keyed(const char* verb, const char* help, std::string& key) {
    CLI::App* app = app_.add_subcommand(verb, help);
    app->add_option("key", key, "the key")->required();
    declare_connect(*app, connect_);
    return app;
  }

  void declare_keys() {
    CLI::App* put = keyed("put", "write a key", put_.key);
    put->add_option("value", put_.value, "the value; '-' reads it from stdin")->required();
    put->add_flag("--nx", put_.if_absent, "only when the key has no value");
    put->add_flag("--xx", put_.if_exists, "only when the key has a value");
    put->add_option("--if-value", put_.if_value, "only when the value is this");
    put->add_option("--if-revision", put_.if_revision,
                    "only when the key's revision is this (-1: never written)");
    keyed("get", "print the value of a key", get_.key);
    keyed("delete", "delete a key", delete_.key);
    keyed("exists", "tell whether a key has a value", exists_.key);
    CLI::App* scan = app_.add_subcommand("scan", "list the keys of one bucket, in order");
    scan->add_option("bucket", scan_.bucket, "what the keys have before their last '/'")
        ->required();
    scan->add_option("--limit", scan_.limit, "keys at most; 0 = all")->capture_default_str();
    scan->add_option("--cursor", scan_.cursor, "go on where an earlier scan stopped");
    declare_connect(*scan, connect_);
    declare_connect(*app_.add_subcommand("status", "show the nodes and their partitions"),
                    connect_);
    CLI::App* members = app_.add_subcommand("members", "show or change who holds the data");
    members->add_option("what", members_.what, "list | add | remove | promote");
    members->add_option(
        "name", members_.name,
        "the member to remove, or the learner that is to vote; add: HOST:PORT of a server that was "
        "started with --join wait");
    members->add_flag("--learner", members_.learner,
                      "add: it holds everything and votes on nothing, until promoted");
    declare_connect(*members, connect_);
    CLI::App* scrub = app_.add_subcommand(
        "scrub",
        "have nodes read back and verify what is on their disks, and repair it; waits for the end");
    scrub->add_option("--node", scrub_.node, "the name of one node; without it, all that answer");
    declare_connect(*scrub, connect_);
    CLI::App* move =
        app_.add_subcommand("move-leader", "make another node lead a partition; no request fails");
    move->add_option("partition", partition_, "its number, as 'status --json' has it")->required();
    move->add_option("node", move_leader_.node, "the name of the node that is to lead")->required();
    declare_connect(*move, connect_);
  }

  void declare_bench() {
    CLI::App* app = app_.add_subcommand("bench", "measure throughput and latency");
    app->add_option("--workload", raw_bench_.workload, "put | get | mixed")->capture_default_str();
    app->add_option("--connections", bench_.connections, "concurrent connections")
        ->capture_default_str();
    app->add_option("--pipeline", bench_.pipeline, "operations in flight per connection")
        ->capture_default_str();
    app->add_option("--clients", bench_.clients,
                    "client objects they share; 0 = one per connection")
        ->capture_default_str();
    app->add_option("--value-size", bench_.value_bytes, "bytes per value")->capture_default_str();
    app->add_option("--keys", bench_.keys, "distinct keys")->capture_default_str();
    app->add_option("--prefix", bench_.prefix, "what the keys start with")->capture_default_str();
    app->add_option("--duration", raw_bench_.duration_s, "seconds measured")->capture_default_str();
    app->add_option("--warmup", raw_bench_.warmup_s, "seconds before that")->capture_default_str();
    app->add_option(
           "--rate", bench_.rate,
           "operations per second, started on schedule however slow the answers, and timed "
           "from the schedule; 0 = each waits for the one before")
        ->capture_default_str();
    declare_connect(*app, connect_);
  }

  void declare_local() {
    CLI::App* app =
        app_.add_subcommand("local", "run a cluster on this machine, in the foreground");
    app->add_option("--nodes", local_.nodes, "nodes (default: 3, or what DIR holds)");
    app->add_option("--data", local_.data, "directory; reused when it is there")
        ->capture_default_str();
    app->add_option("--partitions", local_.partitions,
                    "user partitions of a new cluster (default: 16)");
    app->add_option("--loops", local_.loops, "event loops of each node")->capture_default_str();
    app->add_option("--base-port", local_.base_port,
                    "port of the first node; 10 more for each further one (default: 2073)");
    app->add_option("--engine", local_.engine, "rocks | memory")->capture_default_str();
    app->add_option("--io", local_.io, "uring | epoll")->capture_default_str();
  }

  void suggest(int argc, char** argv) const {
    if (argc < 2 || argv[1][0] == '-') return;
    std::vector<std::string> verbs;
    for (const CLI::App* verb : app_.get_subcommands(nullptr)) {
      if (verb->get_name() == argv[1]) return;
      verbs.push_back(verb->get_name());
    }
    const std::string guess = nearest(argv[1], verbs);
    if (!guess.empty()) std::fprintf(stderr, "Did you mean 'kahuna %s'?\n", guess.c_str());
  }

  Result<Invocation> collect() {
    Invocation invocation;
    const CLI::App* called = app_.get_subcommands().front();
    if (called->get_option_no_throw("--endpoints")) {
      ASSIGN_OR_RETURN(invocation.connect, check_connect(connect_));
    }
    const std::string verb = called->get_name();
    if (verb == "put") {
      if (put_.value == "-") put_.value = read_stdin();
      invocation.verb = put_;
    } else if (verb == "get") {
      invocation.verb = get_;
    } else if (verb == "delete") {
      invocation.verb = delete_;
    } else if (verb == "exists") {
      invocation.verb = exists_;
    } else if (verb == "scan") {
      invocation.verb = scan_;
    } else if (verb == "status") {
      invocation.verb = StatusOptions();
    } else if (verb == "members") {
      const std::vector<std::string> words = {"list", "add", "remove", "promote"};
      if (members_.what.empty())
        return fail(ErrorCode::kInvalid,
                    "say what: kahuna members list | add HOST:PORT | remove NAME | promote NAME");
      RETURN_IF_ERROR(one_of("the word after 'members'", members_.what, words));
      if (members_.name.empty() != (members_.what == "list"))
        return fail(ErrorCode::kInvalid,
                    members_.what == "list"
                        ? "'members list' takes no name"
                        : "name the member: kahuna members " + members_.what +
                              (members_.what == "add" ? " HOST:PORT" : " NAME"));
      if (members_.learner && members_.what != "add")
        return fail(ErrorCode::kInvalid, "--learner goes with 'members add' only");
      invocation.verb = members_;
    } else if (verb == "move-leader") {
      if (!assign(move_leader_.partition, partition_, ""))
        return fail(ErrorCode::kInvalid,
                    "'" + partition_ +
                        "' is not a partition: write its number, as 'kahuna status --json' has it "
                        "(kahuna move-leader 3 n1)");
      invocation.verb = move_leader_;
    } else if (verb == "scrub") {
      invocation.verb = scrub_;
    } else if (verb == "bench") {
      RETURN_IF_ERROR(check_bench(raw_bench_, bench_));
      invocation.verb = bench_;
    } else if (verb == "local") {
      RETURN_IF_ERROR(one_of("--engine", local_.engine, {"rocks", "memory"}));
      RETURN_IF_ERROR(one_of("--io", local_.io, {"uring", "epoll"}));
      if (local_.nodes && (*local_.nodes < 1 || *local_.nodes > 9)) {
        return fail(ErrorCode::kInvalid, "--nodes must be 1..9");
      }
      invocation.verb = local_;
    } else if (verb == "server") {
      ASSIGN_OR_RETURN(invocation.verb, check_server(server_));
    } else if (verb == "version") {
      invocation.verb = VersionOptions();
    } else if (verb == "completion") {
      RETURN_IF_ERROR(one_of("the shell", shell_, {"bash"}));
      invocation.verb = CompletionOptions();
    } else {
      return fail(ErrorCode::kInvalid, "'" + verb + "' is not part of this build");
    }
    return invocation;
  }

  CLI::App app_;
  RawConnect connect_;
  PutOptions put_;
  GetOptions get_;
  DeleteOptions delete_;
  ExistsOptions exists_;
  ScanOptions scan_;
  MembersOptions members_;
  MoveLeaderOptions move_leader_;
  std::string partition_;  // to be one's number
  ScrubOptions scrub_;
  RawBench raw_bench_;
  BenchOptions bench_;
  LocalOptions local_;
  RawServer server_;
  std::string shell_;
};

}  // namespace

std::expected<Invocation, int> parse(int argc, char** argv) {
  return Parser().run(argc, argv);
}

}  // namespace kahuna::cli
