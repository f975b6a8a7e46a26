// A light load that shows every interruption: for each user partition one writer that puts one key
// again and again, with a pause in between, all through one client, as an application would.
// Remembers when each put began and was acknowledged. Lives on the loop's thread; the loop outlives
// it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kahuna/client/client.h"
#include "net/loop.h"

namespace kahuna::bench {

class SteadyLoad {
 public:
  struct Options {
    std::vector<Address> endpoints;
    size_t partitions = 16;  // of users, numbered from 1
    size_t value_bytes = 128;
    Duration pause = Duration::millis(2);
  };
  SteadyLoad(net::Loop& loop, Options options);
  ~SteadyLoad();
  SteadyLoad(const SteadyLoad&) = delete;
  SteadyLoad& operator=(const SteadyLoad&) = delete;

  void begin();
  // Starts nothing new.
  void stop() { running_ = false; }
  size_t in_flight() const { return in_flight_; }
  // What was remembered is of no use any more.
  void forget();

  // When the first put of that partition that began at or after `since` was acknowledged.
  std::optional<Time> first_after(size_t partition, Time since) const;
  // The longest time without an acknowledgement in [from, to], from `from` and until `to` included.
  Duration longest_gap(size_t partition, Time from, Time to) const;
  uint64_t done() const { return done_; }
  // Puts that did not end well: provably not done, and of unknown outcome.
  uint64_t failed() const { return failed_; }
  uint64_t unknown() const { return unknown_; }

 private:
  struct Put {
    Time began, ended;
  };
  struct Writer {
    std::string key;
    TimerId timer = 0;
    std::vector<Put> puts;  // acknowledged, in order
  };
  void next(size_t writer);
  void ended(size_t writer, Time began, const Error* error);

  net::Loop& loop_;
  const Options options_;
  const std::string value_;
  std::unique_ptr<client::Client> client_;
  std::vector<Writer> writers_;  // of partition i + 1
  size_t in_flight_ = 0;
  bool running_ = false;
  uint64_t done_ = 0, failed_ = 0, unknown_ = 0;
};

}  // namespace kahuna::bench
