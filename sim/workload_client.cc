#include <fmt/core.h>

#include <algorithm>

#include "runtime/check.h"
#include "sim/workload.h"

namespace kahuna::sim {

namespace {
constexpr uint64_t kValuesPerHost = 100'000'000;

using OperationDone = Callback<void(const Operation&)>;

Reply reply_of(const client::WriteReply& from) {
  Reply reply;
  reply.done = from.done;
  reply.revision = from.revision.value();
  reply.stamp = from.stamp.value() == 0 ? kNoStamp : from.stamp.value();
  reply.replayed = from.replayed;
  return reply;
}
}  // namespace

class ClientDriver::Impl {
 public:
  Impl(Host& host, WorkloadState& state, std::vector<Address> endpoints, uint64_t number,
       Patience patience)
      : host_(host),
        state_(state),
        endpoints_(std::move(endpoints)),
        patience_(patience),
        number_(number),
        name_(fmt::format("c{}", number + 1)),
        random_(host.random("workload", number)) {
    connect();
  }
  ~Impl() {
    host_.clock->cancel(arrival_);
    host_.clock->cancel(replacement_);
  }

  void run() {
    if (state_.workload.rate > 0) arm_arrival();
    if (state_.workload.replace_clients.nanos() > 0) arm_replacement();
  }

  void stop() {
    host_.clock->cancel(arrival_);
    host_.clock->cancel(replacement_);
    arrival_ = replacement_ = 0;
  }

  void know(std::vector<Address> endpoints) { endpoints_ = std::move(endpoints); }
  void renew() {
    if (open_ == 0 && wishes_ == 0) connect();
  }

  size_t open() const { return open_; }
  uint32_t client_number() const { return client_number_; }

  void set_one(std::string_view key, OperationDone done) {
    Operation op;
    op.function = Function::kWrite;
    op.key = state_.history.name(key);
    op.value = fresh_value(kValuesPerHost / 2 + values_++);
    issue(op, std::move(done));
  }
  void members(std::string_view wish, Callback<void(bool)> done) {
    ++wishes_;
    client_->members(wish, std::nullopt,
                     [this, done = std::move(done)](Result<client::WriteReply> reply) mutable {
                       --wishes_;
                       if (done) done(reply && reply->done);
                     });
  }
  void get_one(std::string_view key, OperationDone done) {
    Operation op;
    op.function = Function::kRead;
    op.key = state_.history.name(key);
    issue(op, std::move(done));
  }

 private:
  const Workload& workload() const { return state_.workload; }

  void connect() {
    client::Options options;
    options.endpoints = endpoints_;
    options.timeout = patience_.timeout;
    options.attempt_timeout = patience_.attempt_timeout;
    if (number_ < workload().clients) {  // not the judge's
      options.in_flight_max = workload().in_flight_max;
      options.unsent_bytes_max = workload().unsent_bytes_max;
    }
    client_number_ = state_.clients++;
    options.entity = client_number_;
    client_ = client::Client::create(host_, std::move(options));
    free_processes_.clear();
    open_ = wishes_ = 0;
  }

  // --- arrivals ---

  void arm_arrival() {
    RandomStream random = random_.split("group", groups_++);
    uint64_t group = workload().bursts ? random.between(1, 20) : 1;
    uint64_t mean = 1'000'000'000 * workload().clients * group / workload().rate;
    Duration gap = Duration::nanos(static_cast<int64_t>(random.between(1, 2 * mean)));
    gap = gap + lull_left(state_.now() + gap);
    arrival_ = host_.clock->call_at(host_.clock->now() + gap, [this, group] { arrive(group); });
  }

  // How long the silence goes on in which `at` falls, as all clients agree.
  Duration lull_left(Time at) const {
    if (workload().lull_every == Duration()) return {};
    const int64_t every = workload().lull_every.nanos(), into = at.nanos() % every;
    const bool silent = into >= every - workload().lull_length.nanos();
    return silent ? Duration::nanos(every - into) : Duration();
  }

  void arrive(uint64_t group) {
    arrival_ = 0;
    for (uint64_t i = 0; i < group; ++i) {
      uint64_t arrival = arrivals_++;
      if (open_ >= workload().processes) continue;
      if (workload().only && !workload().only->has(name_, arrival)) continue;
      issue_drawn(arrival);
    }
    arm_arrival();
  }

  void arm_replacement() {
    auto mean = static_cast<uint64_t>(workload().replace_clients.nanos());
    RandomStream random = random_.split("replacement", replacements_++);
    Duration gap = Duration::nanos(static_cast<int64_t>(random.between(mean / 2, mean * 2)));
    polite_ = random.chance(1, 2);
    replacement_ = host_.clock->call_at(host_.clock->now() + gap, [this] { replace(); });
  }

  // Half of the clients end politely: then they tell what they know. The others vanish.
  void replace() {
    replacement_ = 0;
    if (polite_) client_->close();
    connect();
    arm_replacement();
  }

  // --- one operation ---

  ValueId fresh_value(uint64_t of_this_host) const {
    return static_cast<ValueId>((number_ + 1) * kValuesPerHost + of_this_host);
  }

  void issue_drawn(uint64_t arrival) {
    draws_ = random_.split("operation", arrival);
    Operation op;
    op.arrival = arrival;
    const OperationMix& mix = workload().mix;
    uint64_t dice = draws_.below(mix.total());
    uint64_t key = draw_key();
    auto falls_in = [&](uint32_t weight) {
      bool inside = dice < weight;
      dice -= inside ? 0 : weight;
      return inside;
    };
    if (falls_in(mix.set))
      op.function = Function::kWrite;
    else if (falls_in(mix.remove))
      op.function = Function::kDelete;
    else if (falls_in(mix.get))
      op.function = Function::kRead;
    else if (falls_in(mix.exists))
      op.function = Function::kExists;
    else
      op.function = Function::kScan;
    if (op.function == Function::kScan) {
      op.key = state_.history.name(workload().bucket(key));
    } else {
      op.key = state_.history.name(workload().key(key));
    }
    if (op.function == Function::kWrite) {
      bool blank = draws_.below(100) < workload().blank_percent;
      op.value = blank ? kBlank : fresh_value(arrival);
      op.conditions = draw_conditions(op.key);
    }
    issue(op, {});
  }

  uint64_t draw_key() {
    if (draws_.below(100) < workload().hot_percent) return 0;
    return draws_.below(workload().keys);
  }

  WriteConditions draw_conditions(NameId key) {
    WriteConditions c;
    const OperationMix& mix = workload().mix;
    uint64_t dice = draws_.below(100);
    WorkloadState::Seen seen = seen_of(key);
    auto falls_in = [&](uint32_t weight) {
      bool inside = dice < weight;
      dice -= inside ? 0 : weight;
      return inside;
    };
    if (falls_in(mix.if_absent / 2)) {
      c.if_absent = true;
    } else if (falls_in(mix.if_exists / 2)) {
      c.if_exists = true;
    } else if (falls_in(mix.compare_value / 2)) {
      c.compare_value = true;
    } else if (falls_in(mix.compare_revision / 2)) {
      c.compare_revision = true;
    } else if (falls_in(mix.both_compares / 2)) {
      c.compare_value = c.compare_revision = true;
    }
    if (c.compare_value) c.value = draws_.chance(9, 10) ? seen.value : kBlank;
    if (c.compare_revision) {
      c.revision = seen.revision + int64_t(draws_.chance(1, 10));
      c.revision -= int64_t(draws_.chance(1, 10));
      c.revision = std::max<int64_t>(c.revision, -1);
    }
    return c;
  }

  WorkloadState::Seen& seen_of(NameId key) {
    if (state_.seen.size() <= key) state_.seen.resize(key + 1);
    return state_.seen[key];
  }

  std::string bytes_of(ValueId value) const {
    return value_bytes(value, value_size(value, workload().value_bytes_max));
  }

  void issue(Operation op, OperationDone done) {
    if (free_processes_.empty()) {
      op.process = state_.history.next_process();
    } else {
      op.process = free_processes_.back();
      free_processes_.pop_back();
    }
    op.client = client_number_;
    op.host = static_cast<uint32_t>(number_);
    ++open_;
    OperationNumber number = state_.history.invoke(op, state_.now());
    // The name's storage may move while the client works: it is given a copy.
    std::string key = state_.history.text(op.key);
    switch (op.function) {
      case Function::kWrite: return send_set(number, op, key, std::move(done));
      case Function::kDelete:
        client_->remove(key, std::nullopt, on_write(number, std::move(done)));
        return;
      case Function::kRead: return send_get(number, key, std::move(done));
      case Function::kExists: return send_exists(number, key, std::move(done));
      case Function::kScan: return send_scan(number, key, std::move(done));
    }
  }

  void send_set(OperationNumber number, const Operation& op, const std::string& key,
                OperationDone done) {
    client::SetOptions options;
    options.if_absent = op.conditions.if_absent;
    options.if_exists = op.conditions.if_exists;
    if (op.conditions.compare_value) options.if_value = bytes_of(op.conditions.value);
    if (op.conditions.compare_revision) options.if_revision = Revision(op.conditions.revision);
    client_->set(key, bytes_of(op.value), std::move(options), on_write(number, std::move(done)));
  }

  Callback<void(Result<client::WriteReply>)> on_write(OperationNumber number, OperationDone done) {
    return [this, number, done = std::move(done)](Result<client::WriteReply> result) mutable {
      if (!result) return fail_operation(number, result.error(), done);
      Reply reply = reply_of(*result);
      const Operation& op = state_.history.operations()[number];
      if (reply.done)
        see(op.key, reply.revision, op.function == Function::kWrite ? op.value : kBlank);
      finish(number, reply, done);
    };
  }

  void send_get(OperationNumber number, const std::string& key, OperationDone done) {
    client_->get(key, std::nullopt,
                 [this, number,
                  done = std::move(done)](Result<std::optional<client::Value>> result) mutable {
                   if (!result) return fail_operation(number, result.error(), done);
                   Reply reply;
                   if (*result) {
                     const client::Value& value = **result;
                     reply.value = value_of(value.value);
                     reply.revision = value.revision.value();
                     reply.stamp = value.stamp.value();
                     see(state_.history.operations()[number].key, reply.revision, reply.value);
                   }
                   finish(number, reply, done);
                 });
  }

  void send_exists(OperationNumber number, const std::string& key, OperationDone done) {
    client_->exists(
        key, std::nullopt,
        [this, number, done = std::move(done)](Result<client::ExistsReply> result) mutable {
          if (!result) return fail_operation(number, result.error(), done);
          Reply reply;
          reply.done = result->exists;
          if (reply.done) reply.revision = result->revision.value();
          finish(number, reply, done);
        });
  }

  // One page, from the start of the bucket or from a cursor that an earlier page left.
  void send_scan(OperationNumber number, const std::string& bucket, OperationDone done) {
    uint32_t limit = static_cast<uint32_t>(draws_.between(1, workload().scan_limit_max));
    std::string after;
    std::string cursor;
    auto left = cursors_.find(bucket);
    if (left != cursors_.end() && draws_.chance(2, 3)) {
      after = left->second.after;
      cursor = left->second.cursor;
    }
    client_->scan(
        bucket, cursor, limit, std::nullopt,
        [this, number, after, bucket, done = std::move(done)](Result<client::Page> result) mutable {
          if (!result) return fail_operation(number, result.error(), done);
          finish_scan(number, bucket, std::move(after), *result, done);
        });
  }

  void finish_scan(OperationNumber number, const std::string& bucket, std::string after,
                   const client::Page& from, OperationDone& done) {
    SeenPage page;
    page.after = std::move(after);
    page.complete = from.cursor.empty();
    for (const client::Item& item : from.items) {
      page.items.push_back({state_.history.name(item.key), value_of(item.value.value),
                            item.value.revision.value(), item.value.stamp.value()});
    }
    if (page.complete || page.items.empty())
      cursors_.erase(bucket);
    else
      cursors_[bucket] = {from.items.back().key, from.cursor};
    state_.history.complete_scan(number, std::move(page), state_.now());
    close(number, done);
  }

  void see(NameId key, int64_t revision, ValueId value) {
    WorkloadState::Seen& seen = seen_of(key);
    if (revision >= seen.revision) seen = {revision, value == kGarbage ? kBlank : value};
  }

  void fail_operation(OperationNumber number, const Error& error, OperationDone& done) {
    state_.history.complete_error(number, error.code, state_.now());
    close(number, done);
  }
  void finish(OperationNumber number, const Reply& reply, OperationDone& done) {
    state_.history.complete_ok(number, reply, state_.now());
    close(number, done);
  }
  void close(OperationNumber number, OperationDone& done) {
    const Operation op = state_.history.operations()[number];  // `done` may add to the history
    if (op.client == client_number_) {
      --open_;
      if (op.completion != Completion::kInfo) free_processes_.push_back(op.process);
    }
    if (done) done(op);
  }

  struct Cursor {
    std::string after, cursor;
  };

  Host& host_;
  WorkloadState& state_;
  std::vector<Address> endpoints_;
  const Patience patience_;
  const uint64_t number_;
  const std::string name_;
  const RandomStream random_;
  RandomStream draws_;  // of the operation being issued
  uint64_t groups_ = 0, arrivals_ = 0, replacements_ = 0, values_ = 0;
  bool polite_ = false;  // the next client that is replaced says good-bye
  std::unique_ptr<client::Client> client_;
  uint32_t client_number_ = 0;
  std::vector<uint32_t> free_processes_;
  std::map<std::string, Cursor> cursors_;  // by bucket: where the last page ended
  size_t open_ = 0, wishes_ = 0;
  TimerId arrival_ = 0, replacement_ = 0;
};

ClientDriver::ClientDriver(Host& host, WorkloadState& state, std::vector<Address> endpoints,
                           uint64_t number, Patience patience)
    : impl_(std::make_unique<Impl>(host, state, std::move(endpoints), number, patience)) {}
ClientDriver::~ClientDriver() = default;
void ClientDriver::run() {
  impl_->run();
}
void ClientDriver::know(std::vector<Address> endpoints) {
  impl_->know(std::move(endpoints));
}
void ClientDriver::renew() {
  impl_->renew();
}
void ClientDriver::stop() {
  impl_->stop();
}
size_t ClientDriver::open_operations() const {
  return impl_->open();
}
uint32_t ClientDriver::client_number() const {
  return impl_->client_number();
}
void ClientDriver::set(std::string_view key, Callback<void(const Operation&)> done) {
  impl_->set_one(key, std::move(done));
}
void ClientDriver::members(std::string_view wish, Callback<void(bool)> done) {
  impl_->members(wish, std::move(done));
}
void ClientDriver::get(std::string_view key, Callback<void(const Operation&)> done) {
  impl_->get_one(key, std::move(done));
}

}  // namespace kahuna::sim
