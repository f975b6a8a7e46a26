#include "kahuna/node/disk_watch.h"

#include <gtest/gtest.h>

#include "tests/node/manual_host.h"

namespace kahuna::node {
namespace {

using Part = DiskWatch::Part;

struct Watch : public testing::Test {
  node_test::ManualHost host;
  std::vector<std::string> told;
  std::vector<Part> retried;
  DiskWatch disk{*host.host().clock, [this](Part part) { retried.push_back(part); },
                 [this](std::string_view why) { told.emplace_back(why); }};
  void retry_after(int intervals) { host.advance(DiskWatch::kRetry * intervals); }
};

TEST_F(Watch, TellsWhenItBeginsAndWhenItEnds) {
  disk.found_full(Part::kJournal, "a");
  disk.found_full(Part::kJournal, "b");
  disk.found_full(Part::kEngine, "c");
  EXPECT_EQ(told, (std::vector<std::string>{"a"}));
  disk.found_room(Part::kJournal);
  EXPECT_TRUE(disk.is_full());
  disk.found_room(Part::kEngine);
  disk.found_room(Part::kEngine);
  EXPECT_FALSE(disk.is_full());
  EXPECT_EQ(told, (std::vector<std::string>{"a", ""}));
}

TEST_F(Watch, TriesAgainWhileFullAndTheEngineFirst) {
  disk.found_full(Part::kJournal, "full");
  retry_after(1);
  disk.found_full(Part::kEngine, "full");
  retry_after(2);
  disk.found_room(Part::kEngine);
  retry_after(1);
  EXPECT_EQ(retried,
            (std::vector<Part>{Part::kJournal, Part::kEngine, Part::kEngine, Part::kJournal}));
  disk.found_room(Part::kJournal);
  retry_after(5);
  EXPECT_EQ(retried.size(), 4u);
}

}  // namespace
}  // namespace kahuna::node
