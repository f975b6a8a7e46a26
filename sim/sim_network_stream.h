// The objects a simulated process holds: a stream and a listener. Private to sim_network*.cc.
#pragma once

#include "sim/sim_network.h"

namespace kahuna::sim {

class SimStream final : public Stream {
 public:
  SimStream(SimNetwork& network, uint64_t end, Address peer)
      : network_(network), end_(end), peer_(std::move(peer)) {}
  ~SimStream() override { network_.close_stream(end_, this); }
  void set_handler(StreamHandler* handler) override { handler_ = handler; }
  size_t write(ByteView bytes) override { return network_.write(end_, bytes); }
  void pause_reading() override { network_.set_reading(end_, false); }
  void resume_reading() override { network_.set_reading(end_, true); }
  Address peer() const override { return peer_; }
  StreamHandler& handler() const {
    CHECK(handler_ != nullptr);
    return *handler_;
  }

 private:
  SimNetwork& network_;
  const uint64_t end_;
  const Address peer_;
  StreamHandler* handler_ = nullptr;
};

class SimListener final : public Listener {
 public:
  SimListener(SimNetwork& network, uint32_t node, uint64_t incarnation, Address address,
              Callback<void(std::unique_ptr<Stream>)> on_accept)
      : network_(network),
        node_(node),
        incarnation_(incarnation),
        address_(std::move(address)),
        on_accept_(std::move(on_accept)) {}
  ~SimListener() override { network_.stop_listening(node_, incarnation_, address_.port); }
  Address address() const override { return address_; }
  void accept(std::unique_ptr<Stream> stream) { on_accept_(std::move(stream)); }

 private:
  SimNetwork& network_;
  const uint32_t node_;
  const uint64_t incarnation_;
  const Address address_;
  Callback<void(std::unique_ptr<Stream>)> on_accept_;
};

}  // namespace kahuna::sim
