// The client behind client.h: a table of operations, one session per node, a route cache, and the
// rules that move an operation from one attempt to the next.
//
// 1. `active_` operations are in use, at most in_flight_max; slots are reused, never shrunk.
// 2. One timer serves all operations: armed no later than the earliest `due`, and re-armed when it
//    runs, at most once a millisecond. An idle client arms nothing.
// 3. A user's callback is the last thing an entry point does, or is followed by a check of
// `alive_`:
//    it may have destroyed the client.
#pragma once

#include <memory>
#include <vector>

#include "kahuna/client/client.h"
#include "kahuna/client/operation.h"
#include "kahuna/client/routes.h"
#include "kahuna/client/session.h"

namespace kahuna::client {

class Dispatcher final : public Client, public Session::Owner {
 public:
  static constexpr size_t kNodesMax = 64;  // sessions remembered

  Dispatcher(const Host& host, Options options);
  ~Dispatcher() override;

  void set(std::string_view key, std::string_view value, SetOptions options,
           Callback<void(Result<WriteReply>)> done) override;
  void remove(std::string_view key, std::optional<Duration> timeout,
              Callback<void(Result<WriteReply>)> done) override;
  void get(std::string_view key, std::optional<Duration> timeout,
           Callback<void(Result<std::optional<Value>>)> done) override;
  void exists(std::string_view key, std::optional<Duration> timeout,
              Callback<void(Result<ExistsReply>)> done) override;
  void scan(std::string_view bucket, std::string_view cursor, uint32_t limit,
            std::optional<Duration> timeout, Callback<void(Result<Page>)> done) override;
  void members(std::string_view wish, std::optional<Duration> timeout,
               Callback<void(Result<WriteReply>)> done) override;
  void status(const Address& endpoint, Callback<void(Result<std::string>)> done) override;
  void scrub(const Address& endpoint, std::string_view node,
             Callback<void(Result<std::string>)> done) override;
  void move_leader(PartitionId partition, std::string_view node,
                   Callback<void(Result<>)> done) override;
  void close() override;
  Watermark watermark() const override { return watermark_; }
  std::vector<Address> known_nodes() const override;

 private:
  // Session::Owner
  void on_session_ready(Session& session, const wire::Hello& hello) override;
  void on_members(Session& session, const wire::Hello& hello) override;
  void on_response(Session& session, const wire::Response& response) override;
  void on_session_lost(Session& session, Session::State was, const Error& reason) override;
  ClusterId expected_cluster() const override { return cluster_; }

  // A fresh operation, or null after a refusal was posted to `done`.
  Operation* admit(wire::RequestKind kind, std::string_view key, std::optional<Duration> timeout,
                   Completion done, size_t extra_bytes = 0);
  void ask_node(const Address& endpoint, wire::RequestKind kind, std::string_view key,
                Callback<void(Result<std::string>)> done);
  void reject(Completion done, Error error);
  // The operation a request id names, when it is still in use; null otherwise.
  Operation* find(uint64_t request_id);
  // Frees the slot and hands out the callback.
  Completion release(Operation& operation);

  // Moves the operation on: to a node, into a queue, or into a pause. Never completes it.
  void dispatch(Operation& operation);
  void transmit(Operation& operation, Session& session);
  void elsewhere(Operation& operation);
  void pause(Operation& operation);
  void pause_until(Operation& operation, Time due);
  // Every operation on the session goes elsewhere; those that were sent have an unknown outcome.
  void scatter(Session& session, const Error& reason);
  void attempt_failed(Operation& operation, const wire::Response& response, bool route_learned);

  // The node to try now, or kNoNode when every one must rest.
  size_t pick(const Operation& operation);
  Time earliest_retry() const;
  size_t find_or_add_node(const Address& address);
  bool learn_route(const wire::Route* route);
  void learn_members(const wire::Hello& hello);
  // A client that is connected to no member would not hear who comes in their place: connects to
  // one, if that is so. Tried once; what is asked next tries on.
  void stay_in_touch();
  void advance(uint64_t watermark);

  void arm(Operation& operation, Time due);
  void wake_at(Time due);
  void on_timer();
  // The operation is due; returns its error when its time is up.
  std::optional<Error> on_due(Operation& operation);

  const Host host_;
  const Options options_;
  RandomStream random_;
  uint64_t client_id_ = 0;
  uint64_t last_sequence_ = 0;
  uint64_t last_generation_ = 0;
  Watermark watermark_;
  ClusterId cluster_;
  bool closed_ = false;

  std::vector<std::unique_ptr<Operation>> operations_;
  std::vector<uint32_t> free_slots_;
  size_t active_ = 0;

  std::vector<std::unique_ptr<Session>> sessions_;
  std::vector<Address> roster_;
  Revision roster_revision_;  // an earlier one says nothing new
  RouteCache routes_;
  size_t home_ = 0;  // session that gets what has no route

  TimerId timer_ = 0;
  Time timer_due_;
  flatbuffers::FlatBufferBuilder builder_;
  std::shared_ptr<bool> alive_;
};

}  // namespace kahuna::client
