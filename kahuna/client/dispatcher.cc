#include "kahuna/client/dispatcher.h"

#include <algorithm>

#include "kahuna/client/request.h"
#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::client {
namespace {

// Request id = (generation << kSlotBits | slot) << kAttemptBits | attempt.
constexpr uint32_t kSlotBits = 20;
constexpr uint32_t kAttemptBits = 8;
constexpr size_t kSlotsMax = size_t{1} << kSlotBits;
constexpr uint64_t kGenerationsMax = uint64_t{1} << (64 - kSlotBits - kAttemptBits);
constexpr uint32_t kHopsMax = 4;
constexpr size_t kRequestOverheadBytes = 1024;
constexpr size_t kErrorTextBytesMax = 512;
constexpr size_t kKeptStringBytes = 4096;
constexpr Duration kTimerGrain = Duration::millis(1);

uint64_t request_id(const Operation& operation) {
  return operation.number << kAttemptBits | operation.attempt;
}

void empty(std::string& text) {
  if (text.capacity() > kKeptStringBytes) {
    text = std::string();
  } else {
    text.clear();
  }
}

}  // namespace

std::unique_ptr<Client> Client::create(Host& host, Options options) {
  return std::make_unique<Dispatcher>(host, std::move(options));
}

Dispatcher::Dispatcher(const Host& host, Options options)
    : host_(host),
      options_(std::move(options)),
      random_(host.random("client", options_.entity)),
      alive_(std::make_shared<bool>(true)) {
  CHECK(!options_.endpoints.empty());
  CHECK_LE(options_.in_flight_max, kSlotsMax);
  // The instant keeps a client that is created later on a restarted host apart from the earlier
  // one.
  client_id_ = random_.split("id", static_cast<uint64_t>(host_.clock->now().nanos())).next();
  for (const Address& endpoint : options_.endpoints) find_or_add_node(endpoint);
  home_ = random_.below(sessions_.size());
}

Dispatcher::~Dispatcher() {
  *alive_ = false;
  host_.clock->cancel(timer_);
}

// --- taking operations in ---------------------------------------------------------------------

void Dispatcher::reject(Completion done, Error error) {
  host_.scheduler->post(
      [alive = alive_, done = std::move(done), error = std::move(error)]() mutable {
        if (*alive) complete_with_error(std::move(done), error);
      });
}

Operation* Dispatcher::admit(wire::RequestKind kind, std::string_view key,
                             std::optional<Duration> timeout, Completion done, size_t extra_bytes) {
  if (closed_) {
    reject(std::move(done), Error(ErrorCode::kClosed, "the client was closed"));
    return nullptr;
  }
  const size_t bytes = key.size() + extra_bytes;
  if (bytes > codec::kFrameBytesMax - kRequestOverheadBytes) {
    reject(
        std::move(done),
        Error(ErrorCode::kTooLarge,
              "a request of " + std::to_string(bytes) + " bytes; at most " +
                  std::to_string(codec::kFrameBytesMax - kRequestOverheadBytes) + " fit a frame"));
    return nullptr;
  }
  if (active_ >= options_.in_flight_max) {
    SOMETIMES(client_in_flight_max);
    reject(std::move(done), Error(ErrorCode::kOverloaded,
                                  "too many operations in flight: " + std::to_string(active_)));
    return nullptr;
  }
  if (free_slots_.empty()) {
    free_slots_.push_back(static_cast<uint32_t>(operations_.size()));
    operations_.push_back(std::make_unique<Operation>());
  }
  const uint32_t slot = free_slots_.back();
  free_slots_.pop_back();
  ++active_;
  Operation& operation = *operations_[slot];
  CHECK_EQ(operation.state, Operation::State::kFree);
  last_generation_ = last_generation_ % (kGenerationsMax - 1) + 1;
  operation.number = last_generation_ << kSlotBits | slot;
  operation.state = Operation::State::kPaused;
  operation.kind = kind;
  operation.key.assign(key);
  operation.hash = kind == wire::RequestKind::Scan ? hash_of_space(key) : hash_of_key(key);
  const Time now = host_.clock->now();
  operation.deadline = now + std::max(timeout.value_or(options_.timeout), Duration::nanos(1));
  operation.due = operation.deadline;
  operation.done = std::move(done);
  return &operation;
}

Completion Dispatcher::release(Operation& operation) {
  CHECK_GT(active_, size_t{0});
  --active_;
  free_slots_.push_back(static_cast<uint32_t>(operation.number & (kSlotsMax - 1)));
  Completion done = std::move(operation.done);
  operation.done = std::monostate();
  operation.state = Operation::State::kFree;
  operation.number = 0;
  empty(operation.key);
  empty(operation.value);
  empty(operation.cursor);
  operation.limit = 0;
  operation.options = SetOptions();
  operation.sequence = 0;
  operation.birth.reset();
  operation.attempt = 0;
  operation.node = operation.avoid = kNoNode;
  operation.hops = operation.pauses = 0;
  operation.maybe_executed = false;
  operation.last_error.reset();
  return done;
}

Operation* Dispatcher::find(uint64_t id) {
  const uint64_t number = id >> kAttemptBits;
  const size_t slot = number & (kSlotsMax - 1);
  if (slot >= operations_.size()) return nullptr;
  Operation& operation = *operations_[slot];
  if (operation.state == Operation::State::kFree || operation.number != number) return nullptr;
  return &operation;
}

void Dispatcher::set(std::string_view key, std::string_view value, SetOptions options,
                     Callback<void(Result<WriteReply>)> done) {
  const size_t extra = value.size() + (options.if_value ? options.if_value->size() : 0);
  Operation* operation =
      admit(wire::RequestKind::Set, key, options.timeout, std::move(done), extra);
  if (!operation) return;
  operation->value.assign(value);
  operation->options = std::move(options);
  dispatch(*operation);
}

void Dispatcher::remove(std::string_view key, std::optional<Duration> timeout,
                        Callback<void(Result<WriteReply>)> done) {
  Operation* operation = admit(wire::RequestKind::Delete, key, timeout, std::move(done));
  if (operation) dispatch(*operation);
}

void Dispatcher::get(std::string_view key, std::optional<Duration> timeout,
                     Callback<void(Result<std::optional<Value>>)> done) {
  Operation* operation = admit(wire::RequestKind::Get, key, timeout, std::move(done));
  if (operation) dispatch(*operation);
}

void Dispatcher::exists(std::string_view key, std::optional<Duration> timeout,
                        Callback<void(Result<ExistsReply>)> done) {
  Operation* operation = admit(wire::RequestKind::Exists, key, timeout, std::move(done));
  if (operation) dispatch(*operation);
}

void Dispatcher::scan(std::string_view bucket, std::string_view cursor, uint32_t limit,
                      std::optional<Duration> timeout, Callback<void(Result<Page>)> done) {
  Operation* operation =
      admit(wire::RequestKind::Scan, bucket, timeout, std::move(done), cursor.size());
  if (!operation) return;
  operation->cursor.assign(cursor);
  operation->limit = limit;
  dispatch(*operation);
}

void Dispatcher::members(std::string_view wish, std::optional<Duration> timeout,
                         Callback<void(Result<WriteReply>)> done) {
  Operation* operation = admit(wire::RequestKind::Members, wish, timeout, std::move(done));
  if (operation) dispatch(*operation);
}

void Dispatcher::status(const Address& endpoint, Callback<void(Result<std::string>)> done) {
  ask_node(endpoint, wire::RequestKind::Status, {}, std::move(done));
}

void Dispatcher::scrub(const Address& endpoint, std::string_view node,
                       Callback<void(Result<std::string>)> done) {
  ask_node(endpoint, wire::RequestKind::Scrub, node, std::move(done));
}

void Dispatcher::ask_node(const Address& endpoint, wire::RequestKind kind, std::string_view key,
                          Callback<void(Result<std::string>)> done) {
  const size_t node = find_or_add_node(endpoint);
  if (node == kNoNode) {
    return reject(std::move(done),
                  Error(ErrorCode::kOverloaded, "this client already knows too many nodes"));
  }
  Operation* operation = admit(kind, key, std::nullopt, std::move(done));
  if (!operation) return;
  operation->node = node;
  dispatch(*operation);
}

void Dispatcher::move_leader(PartitionId partition, std::string_view node,
                             Callback<void(Result<>)> done) {
  Operation* operation = admit(wire::RequestKind::MoveLeader, node, std::nullopt, std::move(done));
  if (!operation) return;
  operation->partition = partition;
  dispatch(*operation);
}

void Dispatcher::close() {
  closed_ = true;
  std::vector<std::pair<Completion, Error>> finished;
  for (const auto& operation : operations_) {
    if (operation->state == Operation::State::kFree) continue;
    Error error = give_up(*operation, ErrorCode::kClosed, "the client was closed");
    finished.emplace_back(release(*operation), std::move(error));
  }
  for (const auto& session : sessions_) session->drop();
  for (auto& [done, error] : finished) {
    const std::shared_ptr<bool> alive = alive_;
    complete_with_error(std::move(done), error);
    if (!*alive) return;
  }
}

std::vector<Address> Dispatcher::known_nodes() const {
  return roster_.empty() ? options_.endpoints : roster_;
}

// --- where to --------------------------------------------------------------------------------

size_t Dispatcher::find_or_add_node(const Address& address) {
  for (const auto& session : sessions_) {
    if (session->address() == address) return session->index();
  }
  size_t index = sessions_.size();
  if (index < kNodesMax) {
    sessions_.emplace_back();
  } else {
    // Full: take the place of a node that nobody speaks of any more.
    const auto stale =
        std::find_if(sessions_.begin(), sessions_.end(), [this](const auto& session) {
          const auto names = [&](const std::vector<Address>& list) {
            return std::find(list.begin(), list.end(), session->address()) != list.end();
          };
          return session->state() == Session::State::kIdle && !names(options_.endpoints) &&
                 !names(roster_);
        });
    if (stale == sessions_.end()) return kNoNode;
    index = static_cast<size_t>(stale - sessions_.begin());
    for (const auto& operation : operations_) {
      if (operation->node == index) return kNoNode;
    }
    routes_.forget_node(index);
  }
  sessions_[index] = std::make_unique<Session>(host_, *this, index, address, options_);
  return index;
}

size_t Dispatcher::pick(const Operation& operation) {
  if (operation.asks_a_node()) return operation.node;
  const Time now = host_.clock->now();
  const auto usable = [&](size_t node) {
    return node != operation.avoid && !sessions_[node]->resting(now);
  };
  if (const auto node = routes_.find(operation.hash)) {
    if (usable(*node)) return *node;
    routes_.forget(operation.hash);
  }
  const size_t count = sessions_.size();
  const auto first = [&](auto accepts) {
    for (size_t k = 0; k < count; ++k) {
      const size_t node = (home_ + k) % count;
      if (usable(node) && accepts(sessions_[node]->state())) return node;
    }
    return kNoNode;
  };
  // One that was of no use is followed by the next, connected or not: several may be of no use, and
  // yet be the only ones that are connected.
  const bool next = operation.avoid < count && !MUTANT(client_prefers_the_connected);
  if (next) home_ = (operation.avoid + 1) % count;
  size_t node =
      first([&](Session::State state) { return next || state == Session::State::kReady; });
  if (node == kNoNode) node = first([](Session::State s) { return s != Session::State::kIdle; });
  if (node == kNoNode) node = first([](Session::State) { return true; });
  if (node != kNoNode) {
    home_ = node;
    return node;
  }
  const bool only_avoided = operation.avoid < count && !sessions_[operation.avoid]->resting(now);
  return only_avoided ? operation.avoid : kNoNode;
}

Time Dispatcher::earliest_retry() const {
  Time earliest = Time::max();
  for (const auto& session : sessions_) earliest = std::min(earliest, session->retry_at());
  return earliest;
}

bool Dispatcher::learn_route(const wire::Route* route) {
  if (!route || route->leader() == 0 || !route->address()) return false;
  const Result<Address> address = parse_address(route->address()->string_view());
  if (!address) return false;
  const size_t node = find_or_add_node(*address);
  if (node == kNoNode) return false;
  return routes_.learn(RouteCache::Route{.first = route->hash_first(),
                                         .last = route->hash_last(),
                                         .generation = route->generation(),
                                         .node = node});
}

void Dispatcher::learn_members(const wire::Hello& hello) {
  const Revision revision(hello.roster_revision());
  if (!hello.members() || hello.members()->size() == 0 || revision < roster_revision_) return;
  roster_revision_ = revision;
  roster_.clear();
  for (const wire::Member* member : *hello.members()) {
    if (!member->address() || roster_.size() >= kNodesMax) continue;
    if (auto address = parse_address(member->address()->string_view()))
      roster_.push_back(std::move(*address));
  }
  for (const Address& address : roster_) find_or_add_node(address);
}

void Dispatcher::stay_in_touch() {
  if (closed_) return;
  std::vector<Session*> members;
  for (const auto& session : sessions_)
    if (std::find(roster_.begin(), roster_.end(), session->address()) != roster_.end())
      members.push_back(session.get());
  const auto in_touch = [](const Session* session) {
    return session->state() != Session::State::kIdle;
  };
  if (members.empty() || std::any_of(members.begin(), members.end(), in_touch)) return;
  const Time now = host_.clock->now();
  const size_t first = random_.below(members.size());
  for (size_t k = 0; k < members.size(); ++k) {
    Session& session = *members[(first + k) % members.size()];
    if (session.resting(now)) continue;
    SOMETIMES(client_stays_in_touch);
    return session.open();
  }
}

void Dispatcher::advance(uint64_t watermark) {
  watermark_ = std::max(watermark_, Watermark(watermark));
}

// --- attempts --------------------------------------------------------------------------------

void Dispatcher::dispatch(Operation& operation) {
  const size_t node = pick(operation);
  if (node == kNoNode) return pause_until(operation, earliest_retry());
  Session& session = *sessions_[node];
  operation.node = node;
  if (session.ready()) return transmit(operation, session);
  if (session.state() == Session::State::kIdle) session.open();
  operation.state = Operation::State::kQueued;
  // Connecting and greeting are each bounded by connect_timeout; this is the belt to those braces.
  arm(operation, host_.clock->now() + options_.connect_timeout * 2 + options_.attempt_timeout);
}

void Dispatcher::transmit(Operation& operation, Session& session) {
  const Time now = host_.clock->now();
  if (operation.writes() && !operation.birth) {
    operation.birth = watermark_;
    operation.sequence = ++last_sequence_;
  }
  ++operation.attempt;
  // An eighth is kept for the answer's way back.
  const Duration left = std::min(operation.deadline - now, options_.attempt_timeout) * 7 / 8;
  const ByteView request =
      encode_request(builder_, operation, request_id(operation), client_id_, watermark_, left);
  if (Result<> sent = session.send(request); !sent) {
    SOMETIMES(client_send_refused);
    operation.last_error = sent.error();
    return pause(operation);
  }
  operation.state = Operation::State::kSent;
  operation.sent_at = now;
  arm(operation, now + options_.attempt_timeout);
}

void Dispatcher::elsewhere(Operation& operation) {
  if (operation.asks_a_node()) {
    // Asked once: its time is up.
    operation.state = Operation::State::kPaused;
    operation.deadline = host_.clock->now();
    return arm(operation, operation.deadline);
  }
  operation.avoid = operation.node;
  if (++operation.hops > kHopsMax) return pause(operation);
  dispatch(operation);
}

void Dispatcher::pause(Operation& operation) {
  pause_until(operation, host_.clock->now() + pause_length(operation.pauses++, random_));
}

void Dispatcher::pause_until(Operation& operation, Time due) {
  operation.state = Operation::State::kPaused;
  if (!operation.asks_a_node()) operation.node = kNoNode;
  operation.hops = 0;
  arm(operation, std::max(due, host_.clock->now() + kTimerGrain));
}

void Dispatcher::scatter(Session& session, const Error& reason) {
  routes_.forget_node(session.index());
  for (const auto& slot : operations_) {
    Operation& operation = *slot;
    if (operation.node != session.index()) continue;
    if (operation.state == Operation::State::kSent) {
      if (operation.writes() && !MUTANT(client_denies_what_it_sent))
        operation.maybe_executed = true;
      if (MUTANT(client_retries_as_new)) operation.birth.reset();
    } else if (operation.state != Operation::State::kQueued) {
      continue;
    }
    operation.last_error =
        Error(ErrorCode::kUnavailable,
              to_string(session.address()) + ": " + reason.text.substr(0, kErrorTextBytesMax));
    elsewhere(operation);
  }
}

void Dispatcher::on_session_ready(Session& session, const wire::Hello& hello) {
  if (closed_) return session.drop();
  advance(hello.watermark());
  if (!cluster_) cluster_ = ClusterId(hello.cluster());
  learn_members(hello);
  // Sending cannot complete an operation, nor lose the session, before this returns.
  for (const auto& operation : operations_) {
    if (operation->state == Operation::State::kQueued && operation->node == session.index()) {
      transmit(*operation, session);
    }
  }
}

void Dispatcher::on_members(Session&, const wire::Hello& hello) {
  SOMETIMES(client_hears_of_members);
  advance(hello.watermark());
  if (!cluster_) cluster_ = ClusterId(hello.cluster());
  learn_members(hello);
  stay_in_touch();
}

void Dispatcher::on_session_lost(Session& session, Session::State was, const Error& reason) {
  if (was == Session::State::kReady) SOMETIMES(client_connection_lost);
  scatter(session, reason);
  if (was == Session::State::kReady) stay_in_touch();
}

void Dispatcher::on_response(Session& session, const wire::Response& response) {
  advance(response.watermark());
  // A version heard of counts as much as the node's watermark: what we write next must lie above
  // it.
  advance(response.stamp());
  if (response.items()) {
    for (const wire::Item* item : *response.items()) advance(item->stamp());
  }
  const bool learned = learn_route(response.route());
  Operation* operation = find(response.id());
  if (!operation) return;
  const bool current = operation->state == Operation::State::kSent &&
                       operation->node == session.index() &&
                       request_id(*operation) == response.id();
  if (response.error() != 0) {
    // An earlier attempt's "no" proves nothing about the present one.
    if (current) attempt_failed(*operation, response, learned);
    return;
  }
  if (!well_formed(operation->kind, response)) {
    const Error reason(ErrorCode::kDamaged, "a response of the wrong shape");
    session.drop();
    return scatter(session, reason);
  }
  if (!current) SOMETIMES(client_late_answer_used);
  operation->avoid = kNoNode;
  complete_with_response(release(*operation), response);
}

void Dispatcher::attempt_failed(Operation& operation, const wire::Response& response,
                                bool route_learned) {
  const auto code = static_cast<ErrorCode>(response.error());
  std::string text = response.text() ? response.text()->str() : std::string(name_of(code));
  if (text.size() > kErrorTextBytesMax) text.resize(kErrorTextBytesMax);
  const Next next = judge(operation, code);
  if (next == Next::kFinish || operation.asks_a_node()) {
    const bool known = response.error() <= static_cast<uint8_t>(ErrorCode::kRemoved);
    Error error =
        operation.maybe_executed
            ? Error(ErrorCode::kUnknown, text + "; it may have happened: read before writing again")
            : Error(known ? code : ErrorCode::kInvalid, std::move(text));
    return complete_with_error(release(operation), error);
  }
  operation.last_error = Error(code, std::move(text));
  if (next == Next::kRefresh) {
    const bool advanced = watermark_ > *operation.birth;
    operation.birth.reset();
    operation.avoid = kNoNode;
    if (!advanced || ++operation.hops > kHopsMax) return pause(operation);
    return dispatch(operation);
  }
  if (next == Next::kPause) {
    operation.avoid = kNoNode;
    return pause(operation);
  }
  if (!route_learned) routes_.forget(operation.hash);
  if (next == Next::kElsewhere) return elsewhere(operation);
  operation.avoid = operation.node;
  pause(operation);
}

// --- time ------------------------------------------------------------------------------------

void Dispatcher::arm(Operation& operation, Time due) {
  operation.due = std::min(due, operation.deadline);
  wake_at(operation.due);
}

void Dispatcher::wake_at(Time due) {
  if (timer_ != 0 && timer_due_ <= due) return;
  host_.clock->cancel(timer_);
  timer_due_ = due;
  timer_ = host_.clock->call_at(due, [this] { on_timer(); });
}

std::optional<Error> Dispatcher::on_due(Operation& operation) {
  const Time now = host_.clock->now();
  if (now >= operation.deadline) {
    ErrorCode code = ErrorCode::kTimeout;
    if (operation.last_error && may_retry(operation.last_error->code) == Retry::kLater) {
      code = operation.last_error->code;
    }
    return give_up(operation, code, "no answer in time");
  }
  switch (operation.state) {
    case Operation::State::kFree: UNREACHABLE("a free operation is never due");
    case Operation::State::kPaused: dispatch(operation); return std::nullopt;
    case Operation::State::kQueued: elsewhere(operation); return std::nullopt;
    case Operation::State::kSent: break;
  }
  Session& session = *sessions_[operation.node];
  const Error reason(ErrorCode::kTimeout, "no answer within the attempt's time");
  if (session.ready() && session.heard() <= operation.sent_at) {
    SOMETIMES(client_silent_session_dropped);
    session.drop();
    scatter(session, reason);
    return std::nullopt;
  }
  SOMETIMES(client_attempt_timed_out);
  if (operation.writes()) operation.maybe_executed = true;
  operation.last_error =
      Error(ErrorCode::kUnavailable, to_string(session.address()) + ": " + reason.text);
  routes_.forget(operation.hash);
  elsewhere(operation);
  return std::nullopt;
}

void Dispatcher::on_timer() {
  timer_ = 0;
  const Time now = host_.clock->now();
  const std::shared_ptr<bool> alive = alive_;
  for (size_t slot = 0; slot < operations_.size(); ++slot) {
    Operation& operation = *operations_[slot];
    if (operation.state == Operation::State::kFree || operation.due > now) continue;
    std::optional<Error> error = on_due(operation);
    if (!error) continue;
    complete_with_error(release(operation), *error);
    if (!*alive) return;
  }
  Time next = Time::max();
  for (const auto& operation : operations_) {
    if (operation->state != Operation::State::kFree) next = std::min(next, operation->due);
  }
  if (next != Time::max()) wake_at(std::max(next, now + kTimerGrain));
}

}  // namespace kahuna::client
