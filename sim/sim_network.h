// The simulated network: byte streams between the nodes of a world, like TCP.
//
// Fault model. A connection delivers bytes in order, in pieces of any size, after a latency drawn
// per ordered pair of nodes, with jitter and a tail; a bounded window of unread bytes gives
// back-pressure. A blocked link (partition, clog; one direction each) holds what would arrive and
// lets it through when it opens, unless the sender gave up before: then the sender sees its stream
// closed, and the other side knows nothing until it speaks or hears of it (half-open). A reset
// discards what is in flight; a reset that meets a blocked link is lost. A connection may become a
// black hole, as behind a proxy that hangs: what one side or both send vanishes, resets and ends
// included, while the network acknowledges it; nobody is ever told. When a process dies, its
// peers are told by a reset or not at all (drawn). Bytes and attempts to connect that left a
// process before it died still arrive. Frames between nodes may be dropped, doubled, delayed and
// overtaken (sim_network_frames.h).
//
// 1. Bytes of one direction arrive in order, each at most once, and never after on_closed.
// 2. Nothing is delivered inside the call that caused it.
// 3. All draws come from streams named after the ordered pair of nodes.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/host.h"
#include "sim/sim_network_frames.h"
#include "sim/world_kernel.h"

namespace kahuna::sim {

struct NetworkProfile {
  // No piece takes longer, whatever the tail and the slowness of its link: a sender would have sent
  // it again.
  static constexpr Duration kLatencyMax = Duration::seconds(3);
  // Each ordered pair of nodes has a base latency in here; each piece waits base..base + jitter.
  Duration latency_min = Duration::micros(80), latency_max = Duration::micros(300);
  uint32_t jitter_percent = 30;
  PerMillion tail = 500;  // such pieces take tail_factor times as long
  uint32_t tail_factor = 30;
  uint32_t ns_per_kib = 1000;  // 1 GB/s
  uint64_t window_bytes = 256 * 1024;
  PerMillion short_write = 0;   // writes that take only a part
  PerMillion split_read = 0;    // arrivals that are handed over in pieces
  PerMillion random_reset = 0;  // per piece sent
  // A sender whose bytes are not acknowledged for this long (drawn) closes its stream.
  Duration give_up_min = Duration::seconds(4), give_up_max = Duration::seconds(20);
  Duration syn_retry = Duration::millis(250);
  PerMillion silent_crash = 300'000;   // a dying process's peer is not told (per connection)
  PerMillion silent_refuse = 200'000;  // nobody listens: no answer instead of a refusal
  FrameFaults frames;
};

struct NetworkCounters {
  uint64_t connections = 0, refused = 0, segments = 0, bytes = 0, held = 0, resets = 0, gave_up = 0,
           half_open = 0, vanished = 0, tails = 0, random_resets = 0, short_transfers = 0;
  FrameCounters frames;
};

class SimStream;  // private to sim_network*.cc
class SimListener;
class SimNetwork;

// The Network of one simulated process.
class SimNetworkHost final : public Network {
 public:
  SimNetworkHost(SimNetwork& network, uint32_t node, uint64_t incarnation)
      : network_(network), node_(node), incarnation_(incarnation) {}
  Result<std::unique_ptr<Listener>> listen(
      const Address& address, Callback<void(std::unique_ptr<Stream>)> on_accept) override;
  void connect(const Address& address, Duration timeout,
               Callback<void(Result<std::unique_ptr<Stream>>)> done) override;

 private:
  friend class SimNetwork;
  SimNetwork& network_;
  const uint32_t node_;
  const uint64_t incarnation_;
};

class SimNetwork {
 public:
  SimNetwork(Kernel& kernel, NetworkProfile profile);
  ~SimNetwork();
  SimNetwork(const SimNetwork&) = delete;
  SimNetwork& operator=(const SimNetwork&) = delete;

  // Nodes are numbered in the order of adding. `host` is the name addresses use.
  // Frames are tampered with only between two nodes that are not `client`.
  void add_node(std::string host, bool client);

  // An event of a network kind has come due.
  void on_event(const Event& event);
  // An input that was handed to a node's loop: runs the callbacks.
  void run_input(const Event& input);
  // An input that never will be run: its process died.
  void drop_input(const Event& input);
  // The end of a node's turn: what was written is sent.
  void flush(uint32_t node);
  // The process is dying: its streams do nothing from now on.
  void kill(uint32_t node, uint64_t incarnation);
  // After kill(): what its peers learn.
  void settle(uint32_t node, uint64_t incarnation, bool told);

  // One direction of a link stops and starts; counted, so that faults may overlap.
  void block(uint32_t from, uint32_t to);
  void unblock(uint32_t from, uint32_t to);
  bool blocked(uint32_t from, uint32_t to) const { return links_[from][to].blocks > 0; }
  // Breaks one open connection of the node, drawn; both sides learn, or (half_open) one side only.
  // False when it has none.
  bool reset_one(uint32_t node, bool half_open);
  // One open connection of the node, drawn, becomes a black hole: a third each way, a third both.
  // False when it has none. `other` is the node at its other end.
  bool swallow_one(uint32_t node, uint32_t& other);
  // All latencies from `from` to `to` are multiplied by this from now on; 1 = normal.
  void set_slowness(uint32_t from, uint32_t to, uint32_t factor) {
    links_[from][to].slowness = factor;
  }

  NetworkProfile& profile() { return profile_; }
  const NetworkCounters& counters() const { return counters_; }
  size_t open_connections() const;

 private:
  friend class SimNetworkHost;
  friend class SimStream;
  friend class SimListener;

  // What travels: bytes, or the end of the stream.
  struct Segment {
    enum class Kind : uint8_t { kData, kEnd, kReset } kind = Kind::kData;
    std::string bytes;
    size_t read = 0;  // of bytes, already handed over
  };
  // One side of a connection, and the direction from it to the other side.
  struct Side {
    uint32_t node = 0;
    uint64_t incarnation = 0;
    Address remote;  // what peer() tells
    SimStream* stream = nullptr;
    bool established = false;  // the process has, had or will get a stream for it
    bool gone = false;         // closed by its process, or its process died
    bool closed = false;       // its process was told, or will not be
    bool reading = true;
    bool wants_writable = false;
    bool writable_sent = false;
    bool dirty = false;          // listed for flush
    bool swallowed = false;      // what it sends never arrives
    std::string out;             // written in this turn
    uint64_t unread = 0;         // bytes taken from it that its peer has not read, `out` included
    TrueTime last_arrival;       // of what it sent
    std::vector<uint32_t> held;  // segments it sent that wait for the link
    std::vector<uint32_t> waiting;  // segments it received that wait for reading
    EventId give_up = 0;
    std::unique_ptr<FrameTap> tap;  // of what it sends
  };
  struct Connection {
    uint32_t generation = 0;
    bool used = false;
    uint16_t port = 0;  // on the acceptor's node
    Side sides[2];      // 0 = initiator
    Duration syn_wait;
    bool syn_in_flight = false;
    bool syn_ack_held = false;  // the answer waits for the link
    EventId timeout = 0;
    Callback<void(Result<std::unique_ptr<Stream>>)> done;  // of connect
  };
  struct Link {
    uint32_t blocks = 0;
    uint32_t slowness = 1;
    Duration base;
    RandomStream random;
  };
  struct Node {
    std::string host;
    bool client = false;
    uint64_t dead_through = 0;  // incarnations up to this are dead
    uint16_t next_port = 40'000;
    std::map<uint16_t, SimListener*> listeners;
    std::vector<uint64_t> dirty;  // ends (see end_of) with output of this turn
  };

  // An end names a side of a connection in one word: generation · slot · side.
  static uint64_t end_of(const Connection& c, uint64_t slot, int side) {
    return uint64_t{c.generation} << 32 | slot << 1 | static_cast<uint64_t>(side);
  }
  Connection* find(uint64_t end);
  static int side_of(uint64_t end) { return static_cast<int>(end & 1); }
  static uint64_t other(uint64_t end) { return end ^ 1; }
  static uint64_t slot_of(uint64_t end) { return (end & 0xffffffff) >> 1; }
  bool dead(uint32_t node, uint64_t incarnation) const {
    return incarnation <= nodes_[node].dead_through;
  }
  // An open end of the node, drawn; nothing when it has none.
  std::optional<uint64_t> draw_open_end(uint32_t node);
  std::optional<uint32_t> resolve(const std::string& host, uint32_t own) const;
  Duration latency(uint32_t from, uint32_t to, size_t bytes);

  void connect(uint32_t node, uint64_t incarnation, const Address& address, Duration timeout,
               Callback<void(Result<std::unique_ptr<Stream>>)> done);
  void finish_connect(uint64_t end, Result<std::unique_ptr<Stream>> result);
  void on_syn(const Event& event);
  void on_syn_ack(const Event& event);
  void on_segment(const Event& event);
  void on_give_up(const Event& event);
  void accept(uint64_t end);

  size_t write(uint64_t end, ByteView bytes);
  void send(uint64_t end, Segment::Kind kind, std::string& bytes);
  void transmit(uint64_t end, Segment::Kind kind, std::string& bytes);
  void send_reset(uint64_t to_end, uint32_t from);
  void arrive(uint64_t sender_end, uint32_t segment);
  void release_held(uint64_t sender_end);
  void run_segment(uint64_t end, uint32_t segment);
  void drain(uint64_t end);
  void hand_over(uint64_t end, uint32_t segment);
  void hand_over_data(uint64_t end, uint32_t segment);
  void tell_closed(uint64_t end, ErrorCode code, const char* why);
  void break_side(uint64_t end);
  void consumed(uint64_t reader_end, size_t bytes);
  void offer_writable(uint64_t end);
  void arm_give_up(uint64_t end);
  void disarm_give_up(Side& side);
  void close_stream(uint64_t end, SimStream* stream);
  void set_reading(uint64_t end, bool reading);
  void stop_listening(uint32_t node, uint64_t incarnation, uint16_t port);
  void drop_segments(std::vector<uint32_t>& segments);
  void maybe_free(uint64_t end);
  void free_connection(uint64_t slot);
  void release_frame(const Event& event);
  void retry_syn(Connection& c, const Event& event);

  uint32_t new_segment(Segment::Kind kind);
  void free_segment(uint32_t segment);

  Kernel& kernel_;
  NetworkProfile profile_;
  std::vector<Node> nodes_;
  std::map<std::string, uint32_t, std::less<>> by_host_;
  std::vector<std::vector<Link>> links_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<uint32_t> free_connections_;
  std::vector<Segment> segments_;
  std::vector<uint32_t> free_segments_;
  NetworkCounters counters_;
};

}  // namespace kahuna::sim
