#include "kahuna/node/service.h"

#include <algorithm>

#include "kahuna/node/roster.h"
#include "kahuna/partition/position.h"
#include "net/codec/frame.h"
#include "runtime/check.h"
#include "runtime/probe.h"

namespace kahuna::node {
namespace {

constexpr uint32_t kScanLimitMax = 1000;
// Requests that have ended, of which only their deadlines are left.
constexpr size_t kEndedKept = 65'536;
constexpr PartitionId kMetaPartition{0};  // has no hash range: routes do not speak of it

// Hash positions of a descriptor, both inclusive (partition/position.h: 00 01 hash8 …).
uint64_t hash_bound(std::string_view position, uint64_t otherwise) {
  if (position.size() < 10 || position[0] != 0 || position[1] != 1) return otherwise;
  uint64_t hash = 0;
  for (size_t i = 2; i < 10; ++i) hash = hash << 8 | static_cast<uint8_t>(position[i]);
  return hash;
}

partition::Command to_command(const wire::Request& r) {
  partition::Command c;
  c.kind = r.kind() == wire::RequestKind::Set ? partition::CommandKind::kSet
                                              : partition::CommandKind::kDelete;
  c.operation = {r.client(), r.sequence(), Watermark(r.birth())};
  c.key = text_of(r.key());
  c.value = text_of(r.value());
  c.conditions.if_exists = (r.flags() & 1) != 0;
  c.conditions.if_absent = (r.flags() & 2) != 0;
  if (r.flags() & 4) c.conditions.if_value = std::string(text_of(r.compare_value()));
  if (r.flags() & 8) c.conditions.if_revision = Revision(r.compare_revision());
  return c;
}

bool is_keyed(wire::RequestKind kind) {
  return kind >= wire::RequestKind::Set && kind <= wire::RequestKind::Scan;
}

Error leaderless(PartitionId id) {
  return {ErrorCode::kUnavailable,
          "partition " + std::to_string(id.value()) +
              " has no leader at the moment; "
              "if this lasts, a majority of its nodes is down or damaged; see 'kahuna status'"};
}

}  // namespace

struct Service::Answer {
  uint64_t request = 0;
  ErrorCode error = ErrorCode::kOk;
  std::string_view text;
  wire::Outcome outcome = wire::Outcome::None;
  Revision revision;
  std::string_view value;
  Watermark stamp;
  bool replayed = false;
  const PartitionId* route = nullptr;
  const partition::ScanPage* page = nullptr;
  std::string_view status;
};

Service::Service(Host& host, Hooks& hooks, const Options& options)
    : host_(host), hooks_(hooks), options_(options) {}

Service::~Service() {
  host_.clock->cancel(timer_);
}

void Service::open(std::vector<partition::Descriptor> descriptors, NodeId self,
                   Watermark watermark) {
  descriptors_ = std::move(descriptors);
  self_ = self;
  hear(watermark);
}

// --- requests ---

void Service::on_request(uint64_t session, const wire::Request& r) {
  if (!descriptors_.empty()) {
    // What a peer has heard is true, and may be news; the birth is a client's word all the same.
    if (r.forwarded()) hear(Watermark(r.watermark()));
    if (!credible(r.watermark()) || !credible(r.birth()))
      return refuse(session, r.id(),
                    {ErrorCode::kInvalid,
                     "the request's birth or watermark is beyond anything that this "
                     "cluster can have told; start the client anew"});
    hear(Watermark(r.watermark()));
  }
  if (r.kind() == wire::RequestKind::Status) return hooks_.collect_status(session, r.id());
  if (r.kind() == wire::RequestKind::MoveLeader) return move_leader(session, r);
  if (r.kind() == wire::RequestKind::Members) return change_members(session, r);
  if (r.kind() == wire::RequestKind::Scrub) {
    if (descriptors_.empty())
      return refuse(session, r.id(),
                    {ErrorCode::kUnavailable,
                     "this node is still starting, or its cluster is being founded"});
    return answer_status(session, r.id(), hooks_.scrub(text_of(r.key())));
  }
  if (!is_keyed(r.kind()))
    return refuse(session, r.id(),
                  {ErrorCode::kInvalid, "unknown kind of request " +
                                            std::to_string(static_cast<int>(r.kind())) +
                                            "; this server is older than its client"});
  std::string_view key = text_of(r.key());
  if (r.kind() == wire::RequestKind::Scan) {
    // A bucket is a key's text before its last '/': its positions are those of the key "bucket/".
    if (key.size() > partition::kKeyBytesMax)
      return refuse(session, r.id(),
                    {ErrorCode::kTooLarge, "the bucket is longer than a key may be"});
    if (r.limit() > kScanLimitMax)
      return refuse(
          session, r.id(),
          {ErrorCode::kInvalid, "limit must be at most " + std::to_string(kScanLimitMax)});
  } else if (auto valid = partition::validate_key(key); !valid) {
    return refuse(session, r.id(), valid.error());
  }
  if (descriptors_.empty())
    return refuse(session, r.id(),
                  {ErrorCode::kUnavailable,
                   "this node is still starting, or its cluster is being founded; "
                   "try again in a moment"});
  if (in_flight_ >= options_.requests_max)
    return refuse(session, r.id(),
                  {ErrorCode::kOverloaded, "this node has " + std::to_string(in_flight_) +
                                               " requests in flight; try again later"});

  std::string position = r.kind() == wire::RequestKind::Scan
                             ? partition::positions_of_space(key).start
                             : partition::position_of(key);
  PartitionId id = partition::find_descriptor(descriptors_, position).id;
  if (closed_) return refuse(session, r.id(), stopping(), &id);
  NodeId leader = hooks_.leader_of(id);
  if (r.forwarded() || leader == self_) return serve_locally(session, r, id);
  if (!leader) return refuse(session, r.id(), leaderless(id), &id);
  forward(session, r, id, leader);
}

void Service::move_leader(uint64_t session, const wire::Request& r) {
  PartitionId id(r.partition());
  if (descriptors_.empty())
    return refuse(
        session, r.id(),
        {ErrorCode::kUnavailable, "this node is still starting, or its cluster is being founded"});
  if (std::none_of(descriptors_.begin(), descriptors_.end(),
                   [&](const auto& d) { return d.id == id; }))
    return refuse(session, r.id(),
                  {ErrorCode::kInvalid, "there is no partition " + std::to_string(id.value()) +
                                            "; 'kahuna status --json' lists them"});
  std::string name(text_of(r.key()));
  NodeId to = hooks_.node_named(name);
  if (!to)
    return refuse(session, r.id(),
                  {ErrorCode::kInvalid, "no node of this cluster is named '" + name +
                                            "'; "
                                            "'kahuna status' lists them"});
  if (closed_) return refuse(session, r.id(), stopping(), &id);
  NodeId leader = hooks_.leader_of(id);
  if (!leader) return refuse(session, r.id(), leaderless(id), &id);
  if (leader != self_ && !r.forwarded()) return forward(session, r, id, leader);
  Token token = add(session, r, id);
  if (to == self_ && leader == self_) return on_transfer(token, {});
  auto begun = hooks_.transfer(id, to, token);
  if (begun) return;
  remove(token);
  refuse(session, r.id(), begun.error(), &id);
}

void Service::change_members(uint64_t session, const wire::Request& r) {
  if (descriptors_.empty())
    return refuse(
        session, r.id(),
        {ErrorCode::kUnavailable, "this node is still starting, or its cluster is being founded"});
  const PartitionId id = kMetaPartition;
  if (closed_) return refuse(session, r.id(), stopping(), &id);
  const NodeId leader = hooks_.leader_of(id);
  if (!leader) return refuse(session, r.id(), leaderless(id), &id);
  if (leader != self_ && !r.forwarded()) return forward(session, r, id, leader);
  const Token token = add(session, r, id);
  Pending& pending = *find(token);
  pending.wish = Pending::Wish{std::string(text_of(r.key())), to_command(r).operation};
  if (MUTANT(wish_judged_by_old_members)) return fulfil_wish(token, pending);
  pending.read = {
      .partition = id, .kind = wire::RequestKind::Exists, .key = std::string(kRosterKey)};
  auto accepted = hooks_.read(pending.read, token);
  if (accepted) return;
  remove(token);
  refuse(session, r.id(), accepted.error(), &id);
}

void Service::fulfil_wish(Token token, Pending& pending) {
  const Pending::Wish wish = std::move(*std::exchange(pending.wish, std::nullopt));
  const PartitionId id = pending.partition;
  auto change = hooks_.members_command(wish.text);
  Answer answer{.outcome = wire::Outcome::Done};
  if (change && !*change) return finish(token, answer);
  Result<> accepted;
  if (change) {
    (*change)->operation = wish.operation;
    (*change)->watermark = watermark_;
    accepted = hooks_.propose(id, std::move(**change), token);
    if (accepted) return;
  } else {
    accepted = fail(std::move(change.error()));
  }
  answer = {.error = accepted.error().code, .text = accepted.error().text, .route = &id};
  finish(token, answer);
}

void Service::close(Callback<void()> idle) {
  closed_ = true;
  idle_ = std::move(idle);
  if (in_flight_ == 0) host_.scheduler->post(std::exchange(idle_, {}));
}

Error Service::stopping() const {
  return {ErrorCode::kClosed, "node '" + options_.name + "' is about to stop; ask another"};
}

void Service::serve_locally(uint64_t session, const wire::Request& r, PartitionId id) {
  bool write = r.kind() == wire::RequestKind::Set || r.kind() == wire::RequestKind::Delete;
  Result<> accepted;
  Token token = 0;
  if (write) {
    partition::Command command = to_command(r);
    if (auto valid = partition::validate(command); !valid)
      return refuse(session, r.id(), valid.error());
    if (command.value.size() > options_.value_bytes_max ||
        (command.conditions.if_value &&
         command.conditions.if_value->size() > options_.value_bytes_max))
      return refuse(
          session, r.id(),
          {ErrorCode::kTooLarge, "this node takes values of at most " +
                                     std::to_string(options_.value_bytes_max) + " bytes"});
    command.watermark = watermark_;
    token = add(session, r, id);
    accepted = hooks_.propose(id, std::move(command), token);
  } else {
    token = add(session, r, id);
    accepted = hooks_.read(find(token)->read, token);
  }
  if (accepted) return;
  remove(token);
  refuse(session, r.id(), accepted.error(), &id);
}

void Service::forward(uint64_t session, const wire::Request& r, PartitionId id, NodeId leader) {
  Token token = add(session, r, id);
  find(token)->forwarded_to = leader;
  auto& b = builder_;
  b.Clear();
  auto bytes = [&](const flatbuffers::Vector<uint8_t>* v) {
    return v && v->size() ? b.CreateVector(v->data(), v->size())
                          : flatbuffers::Offset<flatbuffers::Vector<uint8_t>>();
  };
  auto key = bytes(r.key()), value = bytes(r.value()), compare = bytes(r.compare_value()),
       cursor = bytes(r.cursor());
  b.Finish(wire::CreateRequest(b, token, r.kind(), key, value, r.client(), r.sequence(), r.birth(),
                               watermark_.value(), r.flags(), compare, r.compare_revision(),
                               r.limit(), cursor, r.timeout_us(), /*forwarded=*/true,
                               r.partition()));
  hooks_.wake(id);
  auto sent = hooks_.forward(
      leader, {reinterpret_cast<const std::byte*>(b.GetBufferPointer()), b.GetSize()});
  if (sent) return;
  remove(token);
  refuse(session, r.id(), sent.error(), &id);
}

void Service::on_response(const wire::Response& r) {
  hear(Watermark(r.watermark()));
  Pending* pending = find(r.id());
  if (!pending || !pending->forwarded_to) return;  // answered already, by its deadline
  const bool read = !pending->is_write() && pending->kind != wire::RequestKind::MoveLeader;
  if (read && !r.error() && !takes_answer(r.id(), *pending)) return;
  auto& b = builder_;
  b.Clear();
  Answer answer{.error = static_cast<ErrorCode>(r.error()),
                .outcome = r.outcome(),
                .revision = Revision(r.revision()),
                .value = text_of(r.value()),
                .stamp = Watermark(r.stamp()),
                .replayed = r.replayed()};
  if (r.text()) answer.text = r.text()->string_view();
  partition::ScanPage page;
  if (r.items()) {
    for (const auto* item : *r.items())
      page.items.push_back({std::string(text_of(item->key())),
                            {std::string(text_of(item->value())), Revision(item->revision()),
                             Watermark(item->stamp())}});
  }
  page.cursor = text_of(r.cursor());
  if (pending->kind == wire::RequestKind::Scan && answer.error == ErrorCode::kOk)
    answer.page = &page;
  PartitionId partition = pending->partition;
  answer.route = &partition;
  finish(r.id(), answer);
}

void Service::on_peer_down(NodeId node) {
  for (uint32_t slot = 0; slot < pending_.size(); ++slot) {
    Pending& p = pending_[slot];
    if (!p.used || p.forwarded_to != node) continue;
    SOMETIMES(peer_lost_with_requests_forwarded);
    Answer answer{.error = p.is_write() ? ErrorCode::kUnknown : ErrorCode::kUnavailable,
                  .text = "the connection to the partition's leader broke before it answered"};
    finish(static_cast<Token>(p.generation) << 32 | slot, answer);
  }
}

// --- completions ---

void Service::on_write(Token token, Result<partition::Reply> reply) {
  Pending* pending = find(token);
  if (!pending) return;
  Answer answer;
  PartitionId partition = pending->partition;
  if (!reply) {
    answer.error = reply.error().code;
    answer.text = reply.error().text;
    answer.route = &partition;
    return finish(token, answer);
  }
  hear(reply->stamp);
  answer.revision = reply->revision;
  answer.stamp = reply->stamp;
  answer.replayed = reply->replayed;
  switch (reply->outcome) {
    case partition::Outcome::kDone: answer.outcome = wire::Outcome::Done; break;
    case partition::Outcome::kNotSet: answer.outcome = wire::Outcome::NotSet; break;
    case partition::Outcome::kNotFound: answer.outcome = wire::Outcome::NotFound; break;
    case partition::Outcome::kTooOld:
      answer.error = ErrorCode::kTooOld;
      answer.text =
          "the operation's id is older than what this partition remembers; whether an earlier "
          "attempt was executed is not known";
      break;
    case partition::Outcome::kRefused:
      answer.error = ErrorCode::kInvalid;
      answer.text = "the replicas refused the command as malformed; it was not executed";
      break;
    case partition::Outcome::kOutOfRange:
      answer.error = ErrorCode::kWrongPartition;
      answer.text = "the partition no longer owns this key";
      answer.route = &partition;
      break;
  }
  finish(token, answer);
}

const ReadRequest* Service::reading(Token token) {
  Pending* pending = find(token);
  if (!pending || (pending->is_write() && !pending->wish)) return nullptr;
  if (pending->wish || takes_answer(token, *pending)) return &pending->read;
  return nullptr;
}

bool Service::takes_answer(Token token, const Pending& pending) {
  if (hooks_.takes_answers(pending.session)) return true;
  SOMETIMES(read_refused_for_unsent_answers);
  Answer answer{.error = ErrorCode::kOverloaded,
                .text = "more was read over this connection than it takes; ask for less at a time"};
  finish(token, answer);
  return false;
}

void Service::on_read(Token token, Result<ReadAnswer> found) {
  Pending* pending = find(token);
  if (!pending) return;
  PartitionId partition = pending->partition;
  if (!found) {
    Answer answer{.error = found.error().code, .text = found.error().text, .route = &partition};
    return finish(token, answer);
  }
  if (pending->wish) return fulfil_wish(token, *pending);
  if (!takes_answer(token, *pending)) return;
  Answer answer;
  if (pending->kind == wire::RequestKind::Scan) {
    answer.page = &found->page;
    answer.outcome = wire::Outcome::Found;
    return finish(token, answer);
  }
  answer.outcome = found->record ? wire::Outcome::Found : wire::Outcome::NotFound;
  if (found->record) {
    answer.revision = found->record->revision;
    answer.stamp = found->record->stamp;
    hear(answer.stamp);
    if (pending->kind == wire::RequestKind::Get) answer.value = found->record->value;
  }
  finish(token, answer);
}

void Service::on_transfer(Token token, Result<> moved) {
  Pending* pending = find(token);
  if (!pending) return;
  PartitionId partition = pending->partition;
  Answer answer{.outcome = wire::Outcome::Done, .route = &partition};
  if (!moved) answer.error = moved.error().code, answer.text = moved.error().text;
  finish(token, answer);
}

void Service::answer_status(uint64_t session, uint64_t request, const std::string& status) {
  Answer answer{.request = request};
  answer.status = status;
  send(session, answer);
}

void Service::finish(Token token, Answer& answer) {
  Pending* pending = find(token);
  answer.request = pending->request;
  uint64_t session = pending->session;
  send(session, answer);
  remove(token);
}

void Service::refuse(uint64_t session, uint64_t request, Error error,
                     const PartitionId* partition) {
  Answer answer{.request = request, .error = error.code, .text = error.text, .route = partition};
  send(session, answer);
}

void Service::send(uint64_t session, const Answer& a) {
  auto& b = builder_;
  b.Clear();
  using Bytes = flatbuffers::Offset<flatbuffers::Vector<uint8_t>>;
  auto bytes = [&](std::string_view v) {
    return v.empty() ? Bytes()
                     : b.CreateVector(reinterpret_cast<const uint8_t*>(v.data()), v.size());
  };
  flatbuffers::Offset<flatbuffers::String> text, status;
  if (!a.text.empty()) text = b.CreateString(a.text.data(), a.text.size());
  if (!a.status.empty()) status = b.CreateString(a.status.data(), a.status.size());
  Bytes value = bytes(a.value), cursor;
  flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<wire::Item>>> items;
  if (a.page) {
    std::vector<flatbuffers::Offset<wire::Item>> list;
    list.reserve(a.page->items.size());
    for (const partition::ScanItem& item : a.page->items) {
      Bytes key = bytes(item.key), content = bytes(item.record.value);
      list.push_back(wire::CreateItem(b, key, content, item.record.revision.value(),
                                      item.record.stamp.value()));
    }
    items = b.CreateVector(list);
    cursor = bytes(a.page->cursor);
  }
  flatbuffers::Offset<wire::Route> route;
  if (a.route && *a.route != kMetaPartition && !descriptors_.empty()) {
    NodeId leader = hooks_.leader_of(*a.route);
    auto d = std::find_if(descriptors_.begin(), descriptors_.end(),
                          [&](const auto& x) { return x.id == *a.route; });
    auto address = b.CreateString(leader ? hooks_.address_of(leader) : std::string());
    uint64_t end = hash_bound(d->end, 0);
    route = wire::CreateRoute(b, a.route->value(), d->generation, hash_bound(d->start, 0), end - 1,
                              leader.value(), address);
  }
  b.Finish(wire::CreateResponse(b, a.request, static_cast<uint8_t>(a.error), text, a.outcome,
                                a.revision.value(), value, a.stamp.value(), watermark_.value(),
                                a.replayed, route, items, cursor, status));
  if (b.GetSize() > codec::kFrameBytesMax && a.error == ErrorCode::kOk)
    return refuse(
        session, a.request,
        {ErrorCode::kTooLarge, "the answer is longer than an answer may be; ask for less"});
  hooks_.respond(session, {reinterpret_cast<const std::byte*>(b.GetBufferPointer()), b.GetSize()});
}

// --- the table of requests in flight ---

Token Service::add(uint64_t session, const wire::Request& r, PartitionId partition) {
  if (free_.empty()) {
    pending_.emplace_back();
    free_.push_back(static_cast<uint32_t>(pending_.size() - 1));
  }
  uint32_t slot = free_.back();
  free_.pop_back();
  Pending& p = pending_[slot];
  p.used = true;
  p.session = session;
  p.request = r.id();
  p.kind = r.kind();
  p.partition = partition;
  p.forwarded_to = NodeId();
  p.wish.reset();
  if (!p.is_write()) {
    p.read.partition = partition;
    p.read.kind = r.kind();
    p.read.key = text_of(r.key());
    p.read.cursor = text_of(r.cursor());
    p.read.limit = r.limit();
  }
  ++in_flight_;
  Token token = static_cast<Token>(p.generation) << 32 | slot;

  Duration timeout = options_.request_timeout;
  if (r.timeout_us() != 0)
    timeout = Duration::micros(static_cast<int64_t>(
        std::min<uint64_t>(r.timeout_us(), static_cast<uint64_t>(kTimeoutMax.micros()))));
  int64_t grain = kDeadlineGrain.nanos();
  Time deadline = Time::from_nanos(((host_.clock->now() + timeout).nanos() / grain + 1) * grain);
  // Long deadlines of short requests would pile up.
  if (++dated_ > 2 * in_flight_ + kEndedKept) forget_ended();
  deadlines_[deadline].push_back(token);
  if (deadline < timer_at_) {
    host_.clock->cancel(timer_);
    timer_at_ = deadline;
    timer_ = host_.clock->call_at(deadline, [this] { expire(); });
  }
  return token;
}

Service::Pending* Service::find(Token token) {
  uint32_t slot = static_cast<uint32_t>(token);
  if (slot >= pending_.size()) return nullptr;
  Pending& p = pending_[slot];
  return p.used && p.generation == token >> 32 ? &p : nullptr;
}

void Service::remove(Token token) {
  Pending* p = find(token);
  CHECK(p != nullptr);
  p->used = false;
  ++p->generation;
  p->read.key.clear();
  p->read.cursor.clear();
  --in_flight_;
  if (in_flight_ == 0 && closed_ && idle_) host_.scheduler->post(std::exchange(idle_, {}));
  free_.push_back(static_cast<uint32_t>(token));
}

void Service::forget_ended() {
  dated_ = 1;  // the one under way
  for (auto it = deadlines_.begin(); it != deadlines_.end();) {
    std::erase_if(it->second, [this](Token token) { return !find(token); });
    dated_ += it->second.size();
    it = it->second.empty() ? deadlines_.erase(it) : std::next(it);
  }
}

void Service::expire() {
  timer_ = 0;
  timer_at_ = Time::max();
  while (!deadlines_.empty() && deadlines_.begin()->first <= host_.clock->now()) {
    std::vector<Token> tokens = std::move(deadlines_.begin()->second);
    deadlines_.erase(deadlines_.begin());
    dated_ -= tokens.size();
    for (Token token : tokens) {
      Pending* p = find(token);
      if (!p) continue;
      SOMETIMES(request_expired);
      PartitionId partition = p->partition;
      Answer answer{.error = p->is_write() ? ErrorCode::kUnknown : ErrorCode::kTimeout,
                    .text = p->is_write()
                                ? "the write was proposed but its outcome was not known in time"
                                : "leadership could not be confirmed in time; is a majority up?",
                    .route = &partition};
      finish(token, answer);
    }
  }
  if (!deadlines_.empty()) {
    timer_at_ = deadlines_.begin()->first;
    timer_ = host_.clock->call_at(timer_at_, [this] { expire(); });
  }
}

}  // namespace kahuna::node
