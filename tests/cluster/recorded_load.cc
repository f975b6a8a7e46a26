#include "tests/cluster/recorded_load.h"

#include <charconv>

#include "runtime/check.h"

namespace kahuna::testing {
namespace {

constexpr Duration kTurnMax = Duration::millis(20);

sim::ValueId number_of(const std::string& text) {
  if (text.empty()) return sim::kBlank;
  sim::ValueId value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value > 0 ? value
                                                                               : sim::kGarbage;
}

sim::Reply reply_of(const client::WriteReply& from) {
  sim::Reply reply;
  reply.done = from.done;
  reply.revision = from.revision.value();
  reply.stamp = from.stamp.value() == 0 ? sim::kNoStamp : from.stamp.value();
  reply.replayed = from.replayed;
  return reply;
}

}  // namespace

RecordedLoad::RecordedLoad(Options options)
    : options_(std::move(options)),
      loop_(*net::Loop::create({.io = net::IoBackend::kEpoll})),
      random_(loop_->host().random("recorded-load")) {
  client::Options client_options;
  client_options.endpoints = options_.endpoints;
  client_options.timeout = options_.timeout;
  client_ = client::Client::create(loop_->host(), client_options);
  writes_.resize(options_.keys);
  for (size_t key = 0; key < options_.keys; ++key) history_.name("load-" + std::to_string(key));
  for (size_t i = 0; i < options_.workers; ++i) {
    workers_.push_back({history_.next_process(), static_cast<sim::NameId>(i % options_.keys)});
  }
}

RecordedLoad::~RecordedLoad() {
  client_.reset();
}

Time RecordedLoad::now() const {
  return loop_->host().clock->now();
}

void RecordedLoad::run_for(Duration duration) {
  if (!running_) {
    running_ = true;
    loop_->turn(Duration());
    for (size_t i = 0; i < workers_.size(); ++i) next(i);
  }
  loop_->turn(Duration());
  const Time end = now() + duration;
  while (now() < end) loop_->turn(kTurnMax);
}

void RecordedLoad::drain() {
  running_ = false;
  while (in_flight_ > 0) loop_->turn(kTurnMax);
}

bool RecordedLoad::read_all() {
  CHECK(!running_);
  loop_->turn(Duration());  // its time may be long ago, and the deadlines would count from there
  const uint64_t before = failures_;
  for (size_t i = 0; i < options_.keys; ++i) {
    sim::Operation operation;
    operation.function = sim::Function::kRead;
    operation.process = workers_[i % workers_.size()].process;
    operation.key = static_cast<sim::NameId>(i);
    read(i % workers_.size(), operation);
    while (in_flight_ > 0) loop_->turn(kTurnMax);
  }
  return failures_ == before;
}

void RecordedLoad::next(size_t worker) {
  if (!running_) return;
  sim::Operation operation;
  operation.process = workers_[worker].process;
  operation.key = workers_[worker].key;
  const uint64_t draw = random_.below(100);
  if (draw < 45) {
    operation.key = static_cast<sim::NameId>(random_.below(options_.keys));
    operation.function = sim::Function::kRead;
    return read(worker, operation);
  }
  if (draw < 50) {
    operation.function = sim::Function::kDelete;
    return remove(worker, operation);
  }
  operation.function = sim::Function::kWrite;
  operation.value = ++last_value_;
  operation.conditions.if_absent = draw >= 95;
  write(worker, operation);
}

sim::OperationNumber RecordedLoad::begin(const sim::Operation& operation) {
  ++in_flight_;
  return history_.invoke(operation, now());
}

void RecordedLoad::write(size_t worker, sim::Operation operation) {
  const sim::OperationNumber number = begin(operation);
  client::SetOptions set;
  set.if_absent = operation.conditions.if_absent;
  const Time began = now();
  client_->set(history_.text(operation.key), std::to_string(operation.value), set,
               [this, worker, number, key = operation.key, began](auto result) {
                 if (result) {
                   history_.complete_ok(number, reply_of(*result), now());
                   writes_[key].push_back({began, now()});
                 }
                 ended(worker, number, result ? nullptr : &result.error());
               });
}

void RecordedLoad::remove(size_t worker, sim::Operation operation) {
  const sim::OperationNumber number = begin(operation);
  client_->remove(history_.text(operation.key), std::nullopt, [this, worker, number](auto result) {
    if (result) history_.complete_ok(number, reply_of(*result), now());
    ended(worker, number, result ? nullptr : &result.error());
  });
}

void RecordedLoad::read(size_t worker, sim::Operation operation) {
  const sim::OperationNumber number = begin(operation);
  client_->get(history_.text(operation.key), std::nullopt, [this, worker, number](auto result) {
    if (result) {
      sim::Reply reply;
      if (*result) {
        reply.done = true;
        reply.value = number_of((*result)->value);
        reply.revision = (*result)->revision.value();
        reply.stamp = (*result)->stamp.value() == 0 ? sim::kNoStamp : (*result)->stamp.value();
      }
      history_.complete_ok(number, reply, now());
    }
    ended(worker, number, result ? nullptr : &result.error());
  });
}

void RecordedLoad::ended(size_t worker, sim::OperationNumber number, const Error* error) {
  --in_flight_;
  if (!error) {
    ++successes_;
  } else {
    history_.complete_error(number, error->code, now());
    if (did_it_happen(error->code) == Happened::kUnknown) {
      ++unknown_;
      workers_[worker].process = history_.next_process();
    } else {
      ++failures_;
    }
  }
  next(worker);
}

std::optional<Duration> RecordedLoad::recovery_since(Time instant) const {
  Duration longest;
  for (const auto& writes : writes_) {
    std::optional<Time> first;
    for (const Success& success : writes) {
      if (success.began > instant && (!first || success.ended < *first)) first = success.ended;
    }
    if (!first) return std::nullopt;
    longest = std::max(longest, *first - instant);
  }
  return longest;
}

}  // namespace kahuna::testing
