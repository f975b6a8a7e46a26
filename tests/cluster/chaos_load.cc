#include "tests/cluster/chaos_load.h"

#include <algorithm>

#include "runtime/check.h"

namespace kahuna::testing {
namespace {

using namespace literals;

constexpr Duration kTurnMax = Duration::millis(10);
constexpr size_t kClients = 4;

std::unique_ptr<net::Loop> make_loop() {
  net::LoopOptions options;
  options.io = net::IoBackend::kEpoll;
  auto loop = net::Loop::create(options);
  CHECK(loop.has_value());
  return std::move(*loop);
}

Host seeded(Host host, uint64_t seed) {
  host.random_seed = seed;
  return host;
}

sim::Workload draw_workload(RandomStream random) {
  sim::Workload workload;
  workload.mix = {.set = 40, .remove = 8, .get = 40, .exists = 6, .scan = 6};
  workload.mix.if_absent = workload.mix.if_exists = 10;
  workload.mix.compare_value = workload.mix.compare_revision = 30;
  workload.rate = 300 + random.below(300);
  workload.clients = kClients;
  // So many that a client goes on asking while a frozen leader sits on what it was asked.
  workload.processes = 400;
  workload.keys = 6 + random.below(10);
  workload.buckets = 1 + random.below(4);
  workload.hot_percent = random.chance(1, 2) ? 20 : 0;
  workload.value_bytes_max = random.chance(1, 2) ? 128 : 4096;
  workload.blank_percent = 5;
  workload.scan_limit_max = 20;
  workload.replace_clients = 15_s;
  return workload;
}

}  // namespace

ChaosLoad::ChaosLoad(std::vector<Address> nodes, uint64_t seed)
    : nodes_(std::move(nodes)), loop_(make_loop()), host_(seeded(loop_->host(), seed)) {
  RandomStream random = host_.random("chaos-load");
  state_.workload = draw_workload(random.split("workload"));
  state_.true_time = [](void* clock) { return static_cast<Clock*>(clock)->now(); };
  state_.true_time_context = host_.clock;
  for (size_t i = 0; i < kClients; ++i) {
    std::vector<Address> endpoints = nodes_;
    std::rotate(endpoints.begin(), endpoints.begin() + static_cast<ptrdiff_t>(i % nodes_.size()),
                endpoints.end());
    // Some wait long for a frozen leader, others soon ask elsewhere.
    const auto attempt_ms = i % 2 == 0 ? random.between(2'000, 3'000) : random.between(200, 1'000);
    const sim::ClientDriver::Patience patience{
        .timeout = 4_s, .attempt_timeout = Duration::millis(static_cast<int64_t>(attempt_ms))};
    clients_.push_back(
        std::make_unique<sim::ClientDriver>(host_, state_, std::move(endpoints), i, patience));
  }
  client::Options options;
  options.endpoints = nodes_;
  options.timeout = 500_ms;
  options.entity = UINT64_MAX;
  asker_ = client::Client::create(host_, options);
  for (auto& client : clients_) client->run();
}

ChaosLoad::~ChaosLoad() {
  asker_.reset();
  clients_.clear();
}

void ChaosLoad::turn() {
  loop_->turn(kTurnMax);
}

void ChaosLoad::run_for(Duration duration) {
  turn();
  const Time end = now() + duration;
  while (now() < end) turn();
}

void ChaosLoad::drain() {
  for (auto& client : clients_) client->stop();
  const auto open = [](const auto& client) { return client->open_operations() > 0; };
  while (std::any_of(clients_.begin(), clients_.end(), open)) turn();
}

bool ChaosLoad::read_all(Duration patience) {
  const Time end = now() + patience;
  for (;;) {
    bool good = true;
    size_t left = 0;
    for (auto& client : clients_) {
      for (uint64_t key = 0; key < state_.workload.keys; ++key) {
        ++left;
        client->get(state_.workload.key(key), [&](const sim::Operation& operation) {
          good = good && operation.is_ok();
          --left;
        });
      }
    }
    while (left > 0) turn();
    if (good) return true;
    if (now() >= end) return false;
  }
}

cli::Json ChaosLoad::status(size_t node) {
  std::optional<Result<std::string>> answer;
  asker_->status(nodes_[node], [&](Result<std::string> result) { answer = std::move(result); });
  while (!answer) turn();
  if (!*answer) return {};
  return cli::parse_json(**answer).value_or(cli::Json());
}

uint64_t ChaosLoad::succeeded(sim::Function function) const {
  const auto& operations = history().operations();
  return static_cast<uint64_t>(
      std::count_if(operations.begin(), operations.end(), [&](const sim::Operation& operation) {
        return operation.function == function && operation.is_ok();
      }));
}

}  // namespace kahuna::testing
