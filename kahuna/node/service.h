// Client requests: validated, routed, proposed or read or forwarded, answered exactly once.
//
//   S1 an answer says "not done" only when that is provable; otherwise kUnknown (DESIGN §8);
//   S2 a request that was forwarded to this node is never forwarded again;
//   S3 every accepted request ends by its deadline;
//   S4 a node that is about to stop takes no new requests, and ends those it has first;
//   S5 no request moves stamps to where nothing honest can follow: one whose birth or watermark is
//   further
//      ahead of what this node has heard than all writes of many years is refused, and not heard.
//      However many clients push, they come to half of what stamps may reach, and there all go on;
//   S6 what is read waits for nobody who does not take it: above a mark of unsent answers, a
//   session's reads end
//      with kOverloaded, before anything is read.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "kahuna/node/groups.h"
#include "kahuna/node/node.h"
#include "kahuna/node/reading.h"
#include "kahuna/node/wire.h"

namespace kahuna::node {

class Service {
 public:
  class Hooks {
   public:
    virtual ~Hooks() = default;
    // Sends an encoded Response to a session, if it still exists.
    virtual void respond(uint64_t session, ByteView response) = 0;
    // What is read may be sent there: not too much of what was waits still.
    virtual bool takes_answers(uint64_t session) const = 0;
    // Sends an encoded Request to a node; kUnavailable when there is no connection, kOverloaded
    // when it would wait there.
    virtual Result<> forward(NodeId to, ByteView request) = 0;
    virtual std::string address_of(NodeId node) const = 0;
    virtual NodeId node_named(std::string_view name) const = 0;  // none: there is no such member
    // Ends in answer_status(), perhaps at once.
    virtual void collect_status(uint64_t session, uint64_t request) = 0;
    // Begins to scrub this node if that is its name; what is to be said of its last scrub, as JSON.
    virtual std::string scrub(std::string_view node) = 0;

    // Of the partitions that this node hosts. Who leads, as far as is known; none when nobody does.
    virtual NodeId leader_of(PartitionId partition) const = 0;
    // The leader is about to be asked for something.
    virtual void wake(PartitionId partition) = 0;
    // Ends in on_write(token), unless an error is returned at once (then it never does).
    virtual Result<> propose(PartitionId partition, partition::Command command, Token token) = 0;
    // What a wish about members writes to meta; on the leader of meta (membership.h).
    virtual Result<std::optional<partition::Command>> members_command(std::string_view wish) = 0;
    // Ends in on_read(token), unless an error is returned at once.
    virtual Result<> read(const ReadRequest& request, Token token) = 0;
    // Ends in on_transfer(token), unless an error is returned at once.
    virtual Result<> transfer(PartitionId partition, NodeId to, Token token) = 0;
  };

  static constexpr Duration kDeadlineGrain = Duration::millis(64);
  static constexpr Duration kTimeoutMax = Duration::seconds(300);

  Service(Host& host, Hooks& hooks, const Options& options);
  ~Service();

  // The cluster is founded and recovered: from now on requests are served.
  // `watermark`: the last stamp that any partition here remembers.
  void open(std::vector<partition::Descriptor> descriptors, NodeId self, Watermark watermark);

  void on_request(uint64_t session, const wire::Request& request);
  // New requests are sent elsewhere from now on; `idle` runs when none is left.
  void close(Callback<void()> idle);
  // A peer's answer to a forwarded request.
  void on_response(const wire::Response& response);
  // Everything forwarded to that node on the connection that broke.
  void on_peer_down(NodeId node);

  void on_write(Token token, Result<partition::Reply> reply);
  void on_read(Token token, Result<ReadAnswer> answer);
  void on_transfer(Token token, Result<> moved);
  // What that read asked for, while it waits; otherwise null. Null as well when it has just been
  // refused (S6).
  const ReadRequest* reading(Token token);
  void answer_status(uint64_t session, uint64_t request, const std::string& status);

  // How far a client's knowledge may be ahead of this node's (S5). Every write is one step.
  static constexpr uint64_t kLeadMax = uint64_t{1} << 40;
  // Above this height only so little that nobody comes to the end, and still more than honest ones
  // differ by.
  static constexpr uint64_t kNamedMax = uint64_t{1} << 60;
  static constexpr uint64_t kLeadMaxThere = uint64_t{1} << 20;
  bool credible(uint64_t watermark) const {
    if (watermark <= watermark_.value()) return true;
    return watermark - watermark_.value() <= (watermark <= kNamedMax ? kLeadMax : kLeadMaxThere);
  }
  // Nothing honest comes near the bound: a value beyond it is damage, and would stop all stamping.
  static constexpr Watermark kWatermarkMax{uint64_t{1} << 61};
  void hear(Watermark watermark) {
    if (watermark < kWatermarkMax) watermark_ = std::max(watermark_, watermark);
  }
  Watermark watermark() const { return watermark_; }
  size_t in_flight() const { return in_flight_; }
  size_t deadlines() const { return dated_; }

 private:
  struct Pending {
    uint32_t generation = 1;
    bool used = false;
    uint64_t session = 0, request = 0;
    wire::RequestKind kind = wire::RequestKind::None;
    PartitionId partition;
    NodeId forwarded_to;  // none: local
    ReadRequest read;     // unless it writes
    // About members, and until meta may be read: what is asked of it may have been recorded by
    // another leader.
    struct Wish {
      std::string text;
      OperationId operation;
    };
    std::optional<Wish> wish;
    bool is_write() const {
      return kind == wire::RequestKind::Set || kind == wire::RequestKind::Delete ||
             kind == wire::RequestKind::Members;
    }
  };
  struct Answer;  // the fields of a Response

  Token add(uint64_t session, const wire::Request& request, PartitionId partition);
  Pending* find(Token token);
  void remove(Token token);
  void move_leader(uint64_t session, const wire::Request& request);
  void change_members(uint64_t session, const wire::Request& request);
  void fulfil_wish(Token token, Pending& pending);
  void serve_locally(uint64_t session, const wire::Request& request, PartitionId partition);
  void forward(uint64_t session, const wire::Request& request, PartitionId partition,
               NodeId leader);
  void finish(Token token, Answer& answer);
  // False: the request was refused.
  bool takes_answer(Token token, const Pending& pending);
  void refuse(uint64_t session, uint64_t request, Error error,
              const PartitionId* partition = nullptr);
  void send(uint64_t session, const Answer& answer);
  void expire();
  void forget_ended();
  Error stopping() const;

  Host& host_;
  Hooks& hooks_;
  const Options& options_;
  NodeId self_;
  std::vector<partition::Descriptor> descriptors_;  // none until open()
  Watermark watermark_;

  std::vector<Pending> pending_;
  std::vector<uint32_t> free_;
  size_t in_flight_ = 0;
  bool closed_ = false;
  Callback<void()> idle_;  // to be told when closed
  std::map<Time, std::vector<Token>>
      deadlines_;     // rounded up to the grain; of some that have ended, too
  size_t dated_ = 0;  // tokens there
  TimerId timer_ = 0;
  Time timer_at_ = Time::max();
  flatbuffers::FlatBufferBuilder builder_{1024};
};

}  // namespace kahuna::node
