// Child processes and temporary directories of the cluster tests.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "runtime/time.h"

namespace kahuna::testing {

// The kahuna binary: $KAHUNA_BINARY, or ../bin/kahuna beside this test.
std::string kahuna_binary();

// A directory that is removed with its contents at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A child of this process: killed (SIGKILL) by the destructor, and by the death of this process.
class Process {
 public:
  // Runs the binary; both its outputs are appended to `log`. Words exclude the program's name.
  // `name_space`: a descriptor of the network namespace it runs in; -1: this one.
  Process(const std::vector<std::string>& words, const std::string& log, int name_space = -1);
  ~Process();
  Process(const Process&) = delete;

  void signal(int number);
  // Its exit status, or 128 + the signal that killed it; nothing when it still runs after
  // `patience`.
  std::optional<int> wait(Duration patience);
  bool running() { return !wait(Duration()).has_value(); }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
  std::optional<int> ended_;
};

struct Ran {
  int status = 0;
  std::string out, err;
};
// Runs the binary to its end (at most a minute).
Ran run_kahuna(const std::vector<std::string>& words, const std::string& input = "");

std::string read_file(const std::string& path);
// TCP ports of 127.0.0.1 that were free a moment ago, all different.
std::vector<uint16_t> free_ports(size_t count);

}  // namespace kahuna::testing
