// Runs copies of this program, several at a time, and collects what they print. For campaigns,
// twins and mutants: every seed gets a process of its own, so that a CHECK's abort counts as that
// seed's failure and no static state leaks from one run into another.
//
// Belongs to the command, never to a simulated world: it uses real processes, pipes and time.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "runtime/error.h"

namespace kahuna::sim {

struct Job {
  // Starts the program anew, at other addresses, instead of forking this process, which has run
  // nothing of the product: what a twin must not depend on. Costs about 5 ms.
  bool fresh = false;
  std::vector<std::string> arguments;    // after the program's name
  std::vector<std::string> environment;  // NAME=VALUE, added to this process's
  std::string directory;                 // working directory; "" = this process's
};

struct JobResult {
  int status = 0;          // exit status, or 128 + signal
  bool timed_out = false;  // it was killed after `wall_limit_s`
  std::string out, err;    // the last kOutputBytesMax of each
};

class RunnerPool {
 public:
  static constexpr size_t kOutputBytesMax = size_t{64} << 20;

  RunnerPool(size_t parallel, int wall_limit_s)
      : parallel_(parallel), wall_limit_s_(wall_limit_s) {}

  // Runs every job that `next` gives until it gives none; `done` is told in order of ending and
  // returns false to stop: what still runs is killed, nothing new starts.
  // kIo when processes cannot be started.
  Result<> run(const std::function<bool(size_t index, Job& job)>& next,
               const std::function<bool(size_t index, JobResult result)>& done);

 private:
  size_t parallel_;
  int wall_limit_s_;
};

// The number of processors this process may use.
size_t processors();

}  // namespace kahuna::sim
