// Every seed of tests/seeds.txt passes.
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "sim/command_options.h"
#include "sim/runner.h"

namespace kahuna::sim {
namespace {

std::string trimmed(const std::string& text) {
  size_t first = text.find_first_not_of(' ');
  return first == std::string::npos ? ""
                                    : text.substr(first, text.find_last_not_of(' ') - first + 1);
}

TEST(Seeds, ThatOnceFailedPass) {
  std::ifstream file(KAHUNA_SOURCE_DIR "/tests/seeds.txt");
  ASSERT_TRUE(file);
  size_t run = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    size_t first = line.find('|'), second = line.find('|', first + 1);
    ASSERT_NE(second, std::string::npos) << line;
    std::vector<std::string> words = {"sim", "--seed", trimmed(line.substr(0, first))};
    for (std::string& word : split_list(trimmed(line.substr(first + 1, second - first - 1)), ' '))
      words.push_back(word);
    bool rocks = line.find("--engine memory") == std::string::npos;
    if (rocks) words.insert(words.end(), {"--engine", "memory"});  // this program has no interposer
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    auto options = parse_options(static_cast<int>(argv.size()), argv.data());
    ASSERT_TRUE(options) << options.error().text;
    auto report = run_seed(options->run);
    ASSERT_TRUE(report) << report.error().text;
    EXPECT_NE(report->verdict, Verdict::kFail) << line << "\n" << report->reason;
    ++run;
  }
  EXPECT_GT(run, 0u);
}

}  // namespace
}  // namespace kahuna::sim
