// ActorCell: what every actor has, whatever its messages: life cycle, supervision, timers,
// children. Private to actor.h; belongs to one loop.
//
// Life: created -> (started -> messages …) -> stopped. A failure takes it back to created, after a
// back-off. At any moment at most one fiber runs the actor, and none while it has nothing to do.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runtime/counted.h"
#include "runtime/fiber.h"
#include "runtime/sync.h"

namespace kahuna {

class ActorSystem;

struct ActorOptions {
  // Messages that may wait; one more is kOverloaded.
  size_t mailbox_capacity = 1024;
  // The same for control messages, which are served first.
  size_t control_capacity = 64;
  // Messages handled in a row before other work of the loop gets its turn.
  uint32_t quantum = 64;
  // Supervision. The wait before the first restart; it doubles with each further failure.
  Duration backoff_min = Duration::millis(10);
  Duration backoff_max = Duration::seconds(10);
  // Restarts allowed before the failure escalates to the parent; 0 = the first failure escalates.
  uint32_t max_restarts = 10;
  // After this long without a failure, earlier ones are forgiven.
  Duration restart_window = Duration::seconds(60);
};

class ActorCell : public Counted {
 public:
  static constexpr size_t kMaxTimers = 64;

  const std::string& path() const { return path_; }
  ActorSystem* system() const { return system_; }  // null once stopped, or when it is gone
  bool closed() const { return stopping_ || stopped_.is_set(); }
  uint64_t restarts() const { return restarts_; }

  // Takes no more messages, drops those that wait, lets the current one end. Children stop too.
  void stop();
  bool wait_stopped(Suspend s, Time deadline) { return stopped_.wait(s, deadline); }
  std::string describe() const;

 protected:
  friend class ActorSystem;
  ActorCell(ActorSystem& system, ActorCell* parent, std::string path, ActorOptions options,
            uint64_t number);
  ~ActorCell() override;

  // Of the typed half.
  virtual bool has_behaviour() const = 0;
  virtual void create_behaviour() = 0;
  virtual void destroy_behaviour() = 0;
  virtual Result<> start_behaviour(Suspend s) = 0;
  virtual void behaviour_stopped() = 0;
  virtual size_t waiting() const = 0;
  virtual Result<> handle_next(Suspend s) = 0;
  virtual void drop_messages() = 0;

  const ActorOptions& options() const { return options_; }
  // Makes a fiber run the actor, unless one does or it is waiting to restart.
  void activate();
  // Delivers by `deliver` at `deadline`, unless the actor restarted or stopped meanwhile.
  TimerId arm(Time deadline, Callback<void()> deliver);
  void disarm(TimerId id);
  Clock& clock() const;

 private:
  class Activation;
  void run(Suspend s);
  bool restart_later();  // false = it escalated and is stopping instead
  void escalate(const Error& error);
  void child_failed(const Error& error);
  void stop_children();
  void disarm_all();
  void finish();   // stopping ends here
  void abandon();  // its fiber was cancelled: dies without ceremony
  void leave_system();
  void become_stopped();

  ActorSystem* system_;
  ActorCell* parent_;
  std::string path_;
  ActorOptions options_;
  uint64_t number_;      // order of spawning in its system
  bool active_ = false;  // a fiber runs it, or is about to
  bool stopping_ = false;
  std::optional<Error> failure_;  // to be dealt with before the next message
  uint32_t failures_ = 0;         // in a row, see restart_window
  Time last_failure_;
  uint64_t restarts_ = 0;
  TimerId backoff_ = 0;  // armed while waiting to restart
  std::vector<TimerId> timers_;
  std::map<uint64_t, CountedPtr<ActorCell>> children_;  // by number
  Event stopped_;
};

}  // namespace kahuna
