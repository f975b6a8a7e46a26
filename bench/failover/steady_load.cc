#include "bench/failover/steady_load.h"

#include <algorithm>

#include "kahuna/partition/position.h"

namespace kahuna::bench {
namespace {

// A key of each user partition.
std::vector<std::string> keys_of(size_t partitions) {
  const auto descriptors = partition::founding_descriptors(partitions);
  std::vector<std::string> keys(partitions);
  for (size_t i = 0, missing = partitions; missing > 0; ++i) {
    std::string key = "failover-" + std::to_string(i);
    const uint64_t id =
        partition::find_descriptor(descriptors, partition::position_of(key)).id.value();
    if (id == 0 || !keys[id - 1].empty()) continue;
    keys[id - 1] = std::move(key);
    --missing;
  }
  return keys;
}

}  // namespace

SteadyLoad::SteadyLoad(net::Loop& loop, Options options)
    : loop_(loop), options_(std::move(options)), value_(options_.value_bytes, 'v') {
  client_ = client::Client::create(loop.host(), {.endpoints = options_.endpoints, .entity = 1});
  for (std::string& key : keys_of(options_.partitions))
    writers_.push_back({.key = std::move(key), .puts = {}});
}

SteadyLoad::~SteadyLoad() {
  for (Writer& writer : writers_) loop_.host().clock->cancel(writer.timer);
}

void SteadyLoad::begin() {
  running_ = true;
  for (size_t i = 0; i < writers_.size(); ++i) next(i);
}

void SteadyLoad::forget() {
  for (Writer& writer : writers_) writer.puts.clear();
}

void SteadyLoad::next(size_t writer) {
  if (!running_) return;
  ++in_flight_;
  client_->set(writers_[writer].key, value_, {},
               [this, writer, began = loop_.host().clock->now()](auto reply) {
                 ended(writer, began, reply ? nullptr : &reply.error());
               });
}

void SteadyLoad::ended(size_t writer, Time began, const Error* error) {
  --in_flight_;
  const Time now = loop_.host().clock->now();
  if (!error) {
    ++done_;
    writers_[writer].puts.push_back({began, now});
  } else {
    ++(did_it_happen(error->code) == Happened::kUnknown ? unknown_ : failed_);
  }
  if (running_)
    writers_[writer].timer =
        loop_.host().clock->call_at(now + options_.pause, [this, writer] { next(writer); });
}

std::optional<Time> SteadyLoad::first_after(size_t partition, Time since) const {
  const auto& puts = writers_[partition - 1].puts;
  auto found = std::partition_point(puts.begin(), puts.end(),
                                    [&](const Put& put) { return put.began < since; });
  if (found == puts.end()) return std::nullopt;
  return found->ended;
}

Duration SteadyLoad::longest_gap(size_t partition, Time from, Time to) const {
  Duration longest;
  Time last = from;
  for (const Put& put : writers_[partition - 1].puts) {
    if (put.ended < from) continue;
    if (put.ended > to) break;
    longest = std::max(longest, put.ended - last);
    last = put.ended;
  }
  return std::max(longest, to - last);
}

}  // namespace kahuna::bench
