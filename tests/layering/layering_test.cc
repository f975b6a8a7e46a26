// Reads every include of the tree and holds it against the table of docs/layering.txt: each line is
// "FOLDER: what it may include", project folders by prefix, libraries in angle brackets by prefix.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;
const fs::path kRoot = KAHUNA_SOURCE_DIR;

std::string text_of(const fs::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Every word of tests/mutants.txt: planted bugs are named by one.
std::set<std::string> catalogue() {
  const std::string text = text_of(kRoot / "tests/mutants.txt");
  const std::regex word("[a-z_]+");
  return {std::sregex_token_iterator(text.begin(), text.end(), word), std::sregex_token_iterator()};
}

struct Rule {
  std::string folder;
  std::vector<std::string> allowed;  // "runtime/time.h", "runtime/", "<rocksdb/"
};

// Longest folder first, so that the most specific rule is found first.
std::vector<Rule> read_rules() {
  std::ifstream in(kRoot / "docs/layering.txt");
  std::vector<Rule> rules;
  std::map<std::string, std::vector<std::string>> named;
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    size_t colon = line.find(':');
    std::istringstream words(line.substr(colon + 1));
    std::vector<std::string> allowed;
    for (std::string word; words >> word;) {
      if (word[0] == '@') {
        for (const std::string& each : named.at(word)) allowed.push_back(each);
      } else {
        allowed.push_back(word);
      }
    }
    std::string name = line.substr(0, colon);
    if (name[0] == '@')
      named[name] = allowed;
    else
      rules.push_back({name, allowed});
  }
  std::sort(rules.begin(), rules.end(),
            [](const Rule& a, const Rule& b) { return a.folder.size() > b.folder.size(); });
  return rules;
}

bool is_standard(const std::string& header) {
  return header.find_first_of("./") == std::string::npos;
}

const Rule* rule_for(const std::vector<Rule>& rules, const std::string& file) {
  for (const Rule& rule : rules)
    if (file.starts_with(rule.folder)) return &rule;
  return nullptr;
}

TEST(Layering, EveryIncludeIsAllowed) {
  std::vector<Rule> rules = read_rules();
  ASSERT_GE(rules.size(), 10u) << "docs/layering.txt is missing or empty";
  size_t files = 0, includes = 0;
  std::vector<std::string> broken;
  for (const char* top : {"runtime", "net", "kahuna", "sim"}) {
    for (const auto& item : fs::recursive_directory_iterator(kRoot / top)) {
      std::string extension = item.path().extension().string();
      if (extension != ".h" && extension != ".cc") continue;
      std::string file = fs::relative(item.path(), kRoot).string();
      const Rule* rule = rule_for(rules, file);
      if (!rule) {
        broken.push_back(file + ": no rule for its folder");
        continue;
      }
      ++files;
      std::ifstream in(item.path());
      for (std::string line; std::getline(in, line);) {
        if (!line.starts_with("#include")) continue;
        size_t open = line.find_first_of("\"<");
        size_t close = line.find_first_of("\">", open + 1);
        std::string header = line.substr(open + 1, close - open - 1);
        ++includes;
        bool angle = line[open] == '<';
        if (angle && is_standard(header)) continue;
        std::string wanted = angle ? "<" + header : header;
        std::string own = fs::path(file).parent_path().string() + "/";
        bool ok =
            !angle && header.starts_with(own) && header.find('/', own.size()) == std::string::npos;
        for (const std::string& allowed : rule->allowed) ok = ok || wanted.starts_with(allowed);
        if (!ok) broken.push_back(file + " may not include " + header);
      }
    }
  }
  for (const std::string& what : broken) ADD_FAILURE() << what;
  EXPECT_GT(files, 30u);
  EXPECT_GT(includes, 100u);
}

TEST(Layering, RocksDbStaysInItsFiles) {
  for (const char* top : {"runtime", "net", "kahuna", "sim"}) {
    for (const auto& item : fs::recursive_directory_iterator(kRoot / top)) {
      if (item.path().filename().string().starts_with("rocks_") || item.is_directory()) continue;
      EXPECT_EQ(text_of(item.path()).find("#include <rocksdb/"), std::string::npos) << item.path();
    }
  }
}

// tests/mutants.txt has all planted bugs: with the seeds that catch them, or with the tests that
// do.
TEST(Layering, EveryPlantedBugIsInTheCatalogue) {
  const std::regex planted("MUTANT\\(([a-z_]+)\\)");
  const std::set<std::string> listed = catalogue();
  size_t found = 0;
  for (const char* top : {"runtime", "net", "kahuna", "sim"}) {
    for (const auto& item : fs::recursive_directory_iterator(kRoot / top)) {
      if (item.path().extension() != ".cc" && item.path().extension() != ".h") continue;
      std::ifstream in(item.path());
      for (std::string line; std::getline(in, line);) {
        if (line.find("//") < line.find("MUTANT(") || line.starts_with("#define")) continue;
        for (std::sregex_iterator it(line.begin(), line.end(), planted), end; it != end; ++it) {
          ++found;
          EXPECT_TRUE(listed.contains((*it)[1])) << (*it)[1] << " in " << item.path();
        }
      }
    }
  }
  EXPECT_GT(found, 100u);
}

// tests/scenarios.txt names a planted bug that each scenario catches, or says why there is none.
TEST(Layering, EveryScenarioCatchesAPlantedBug) {
  const std::set<std::string> listed = catalogue();
  std::ifstream file(kRoot / "tests/scenarios.txt");
  const std::regex pair("([a-z_]+) \\| --scenario ([A-Z][-A-Za-z0-9]+)( .*)? \\| .+"),
      none("# none for ([A-Z][-A-Za-z0-9]+): .+");
  std::set<std::string> told;
  for (std::string line; std::getline(file, line);) {
    std::smatch match;
    if (std::regex_match(line, match, pair)) {
      EXPECT_TRUE(listed.contains(match[1])) << match[1];
      told.insert(match[2]);
    } else if (std::regex_match(line, match, none)) {
      EXPECT_TRUE(told.insert(match[1]).second) << match[1] << " catches one";
    } else {
      EXPECT_TRUE(line.empty() || line[0] == '#') << line;
    }
  }
  std::set<std::string> scenarios;
  const std::regex row("\\{\"([A-Z]-[A-Za-z0-9-]+)\",");
  for (const auto& item : fs::directory_iterator(kRoot / "sim/scenarios")) {
    const std::string text = text_of(item.path());
    for (std::sregex_iterator it(text.begin(), text.end(), row), end; it != end; ++it)
      scenarios.insert((*it)[1]);
  }
  EXPECT_GT(scenarios.size(), 130u);
  for (const std::string& name : scenarios) EXPECT_TRUE(told.contains(name)) << name;
  for (const std::string& name : told) EXPECT_TRUE(scenarios.contains(name)) << name;
}

// What is compiled in a mutants build only breaks there unseen: at least its header is there.
TEST(Layering, WhoPlantsBugsIncludesWhatDeclaresThem) {
  size_t found = 0;
  for (const auto& item : fs::recursive_directory_iterator(kRoot / "tests")) {
    if (item.path().extension() != ".cc") continue;
    const std::string text = text_of(item.path());
    if (text.find("set_active_mutant(") == std::string::npos) continue;
    if (item.path().filename() == "layering_test.cc") continue;
    ++found;
    EXPECT_NE(text.find("#include \"runtime/probe.h\""), std::string::npos) << item.path();
  }
  EXPECT_GT(found, 10u);
}

}  // namespace
