// Scrubs what a node has at rest on its disk, now and then and when asked: the journals of its
// loops, one after the other, then the engine. Lives on the home loop, in fibers of the node.
//
// One scrub at a time; who asks while one is under way is told of that one.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "kahuna/journal/journal.h"
#include "runtime/fiber.h"
#include "runtime/host.h"

namespace kahuna::node {

class Scrubber {
 public:
  class Hooks {
   public:
    virtual ~Hooks() = default;
    virtual size_t loops() const = 0;
    virtual journal::ScrubReport scrub_journal(Suspend suspend, size_t loop) = 0;
    virtual Result<uint64_t> scrub_engine(Suspend suspend) = 0;
    virtual void on_damage(std::string text) = 0;
    // Goes on when nobody else has what the engine holds.
    virtual void on_engine_rotten(Error reason) = 0;
  };
  // Who asked hears what was found before a node stops for it.
  static constexpr Duration kTellFirst = Duration::seconds(2);
  // When something was found in a journal that could not be left yet, the next scrub follows so
  // soon.
  static constexpr Duration kSoon = Duration::seconds(600);

  Scrubber(Host& host, Hooks& hooks) : host_(host), hooks_(hooks) {}
  ~Scrubber() { host_.clock->cancel(timer_); }

  // `interval`: after the end of one scrub until the next begins by itself; zero: never. `fibers`
  // outlive it.
  void open(Fibers& fibers, Duration interval);
  void begin();
  // Of the scrub under way, or of the last one. JSON.
  // The number of scrubs begun is 0 before open().
  std::string to_json(const std::string& node) const;

 private:
  void run(Suspend suspend);
  void scrub_journals(Suspend suspend);
  void scrub_engine(Suspend suspend);
  void arm(Duration wait);

  Host& host_;
  Hooks& hooks_;
  Fibers* fibers_ = nullptr;  // null until open()
  Duration interval_;
  TimerId timer_ = 0;
  uint64_t number_ = 0;  // of scrubs begun
  bool running_ = false;
  uint64_t bytes_ = 0;
  std::vector<std::string> damaged_;
  size_t repaired_ = 0;
  bool left_over_ = false;  // in a journal
};

}  // namespace kahuna::node
