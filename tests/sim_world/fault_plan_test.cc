#include <gtest/gtest.h>

#include "tests/sim_world/toy.h"

namespace kahuna::sim {
namespace {

TEST(FaultPlan, DrawsByOmission) {
  int none = 0, points = 0, runs = 2000;
  std::map<std::string, int> exist;
  for (int seed = 0; seed < runs; ++seed) {
    Spec spec(static_cast<uint64_t>(seed));
    FaultSet set = *draw_faults(spec, "");
    none += set.empty();
    points += set.has(FaultKind::kPoints);
    for (size_t i = 0; i < kFaultKinds; ++i)
      if (set.has(static_cast<FaultKind>(i)))
        ++exist[std::string(name_of(static_cast<FaultKind>(i)))];
  }
  EXPECT_NEAR(none, runs / 20, runs / 50);
  EXPECT_NEAR(points, runs * 76 / 100, runs / 20);
  EXPECT_EQ(exist.size(), kFaultKinds);
  for (const auto& [name, count] : exist) {
    EXPECT_GT(count, runs / 20) << name;
    EXPECT_LT(count, runs * 8 / 10) << name;
  }
}

TEST(FaultPlan, ObeysTheUser) {
  Spec off(1), list(1), bad(1), pinned(1);
  EXPECT_TRUE(draw_faults(off, "off")->empty());
  FaultSet set = *draw_faults(list, "crash,frame-loss");
  EXPECT_TRUE(set.has(FaultKind::kCrash) && set.has(FaultKind::kFrameLoss));
  set.set(FaultKind::kCrash, false);
  set.set(FaultKind::kFrameLoss, false);
  EXPECT_TRUE(set.empty());
  EXPECT_EQ(draw_faults(bad, "crahs").error().code, ErrorCode::kInvalid);
  pinned.pin("fault.clog", "on");
  EXPECT_TRUE(draw_faults(pinned, "off")->has(FaultKind::kClog));
}

TEST(FaultPlan, EveryKindFires) {
  std::map<std::string, uint64_t> fired;
  for (size_t i = 0; i < kFaultKinds; ++i) {
    auto kind = static_cast<FaultKind>(i);
    // The toy has no in-code points and reads nothing.
    if (kind == FaultKind::kPoints || kind == FaultKind::kReadError) continue;
    std::string list(name_of(kind));
    std::string_view pins =
        kind == FaultKind::kWriteError ? "fault.write-error.per_million=10000" : "";
    if (kind == FaultKind::kClockRate) list += ",drift";
    for (uint64_t seed = 1; seed <= 6 && fired[std::string(name_of(kind))] == 0; ++seed)
      fired[std::string(name_of(kind))] +=
          run_toy(seed, list, 30_s, pins).counts.at(std::string(name_of(kind)));
  }
  for (const auto& [name, count] : fired) EXPECT_GT(count, 0u) << name;
}

// Taking one fault out leaves the others where they were.
TEST(FaultPlan, SkippingOneFaultShiftsNoOther) {
  auto log = [](std::string skip) {
    Spec spec(5);
    if (!skip.empty()) spec.pin("fault.skip", skip);
    FaultSet set = *draw_faults(spec, "clock-step,slow-disk,clog");
    World world(5, draw_world(spec, set, {}));
    std::vector<std::string> lines;
    {
      ToyCluster cluster(world, 3);
      FaultPlan plan(world, spec, set, cluster);
      plan.begin();
      world.run_until(world.now() + 60_s);
      for (const FaultRecord& r : plan.log())
        lines.push_back(std::to_string(r.at.nanos()) + " " + std::string(name_of(r.kind)) + ":" +
                        std::to_string(r.number) + " " + r.text);
    }
    EXPECT_TRUE(spec.verify());
    return lines;
  };
  auto all = log(""), fewer = log("clock-step:1+clog:0");
  ASSERT_GT(all.size(), 4u);
  std::erase_if(all, [](const std::string& line) {
    return line.find(" clock-step:1 ") != std::string::npos ||
           line.find(" clog:0 ") != std::string::npos;
  });
  EXPECT_EQ(all, fewer);
}

TEST(FaultPlan, CrashesAimAtWrites) {
  int in_flight = 0, crashes = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Spec spec(seed);
    spec.pin("fault.crash.every", "500ms");
    spec.pin("disk.kind", "fast");
    FaultSet set = *draw_faults(spec, "crash");
    World world(seed, draw_world(spec, set, {}));
    struct Watching : ToyCluster {
      using ToyCluster::ToyCluster;
      void crash(size_t node, CrashKind kind) override {
        in_flight += world->writes_in_flight(handle(node)) > 0;
        ToyCluster::crash(node, kind);
      }
      World* world = nullptr;
      int in_flight = 0;
    } cluster(world, 3, 100_ms);
    cluster.world = &world;
    FaultPlan plan(world, spec, set, cluster);
    plan.begin();
    world.run_until(world.now() + 10_s);
    in_flight += cluster.in_flight;
    crashes += static_cast<int>(cluster.crashes);
  }
  EXPECT_GT(crashes, 50);
  // The toy writes during about two hundredths of the time.
  EXPECT_GT(in_flight, crashes * 2 / 5) << crashes;
}

TEST(FaultPlan, SecondPhaseHealsTheChosenAndFreezesTheRest) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    Spec spec(seed);
    spec.pin("fault.black-hole", "off");  // the toy asks nobody for a sign of life
    FaultSet set = *draw_faults(spec, "on");
    World world(seed, draw_world(spec, set, {}));
    ToyCluster cluster(world, 5);
    FaultPlan plan(world, spec, set, cluster);
    plan.begin();
    world.run_until(world.now() + 20_s);
    plan.begin_liveness({0, 2, 4});
    auto counts = plan.counts();
    // Streams over healed links come back within a retransmission or a connection attempt.
    world.run_until(world.now() + 70_s);
    uint64_t before[5], after = 0;
    for (size_t i : {0, 2, 4}) {
      ASSERT_TRUE(cluster.up(i));
      EXPECT_FALSE(world.paused(cluster.handle(i)));
      before[i] = cluster.toy(i).heard;
    }
    world.run_until(world.now() + 2_s);
    for (size_t i : {0, 2, 4}) {
      EXPECT_GT(cluster.toy(i).heard, before[i] + 100) << "seed " << seed << " node " << i;
      after += cluster.toy(i).heard;
    }
    auto later = plan.counts();
    for (const char* kind :
         {"crash", "power", "pause", "partition", "clog", "frame-loss", "random-reset"})
      if (counts.contains(kind)) EXPECT_EQ(counts[kind], later[kind]) << kind;
  }
}

TEST(FaultPoints, FireOnlyWhereActive) {
  static const FaultSite site("some_point");
  int active = 0, fired = 0, hits = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    FaultPoints points(seed, 250'000, 250'000);
    int here = 0;
    for (int i = 0; i < 100; ++i) here += points.fires(site);
    active += here > 0;
    if (here > 0) fired += here, hits += 100;
  }
  EXPECT_NEAR(active, 100, 35);
  EXPECT_NEAR(fired, hits / 4, hits / 20);
}

TEST(FaultPoints, FireInBurstsAsOftenAsAlone) {
  static const FaultSite site("some_point");
  int fired = 0, bursts = 0, hits = 400'000;
  FaultPoints points(1, 1'000'000, 100'000, 100);
  bool before = false;
  for (int i = 0; i < hits; ++i) {
    bool fires = points.fires(site);
    fired += fires;
    bursts += fires && !before;
    before = fires;
  }
  EXPECT_NEAR(fired, hits / 10, hits / 100);
  EXPECT_NEAR(bursts, fired / 50, fired / 200);
}

}  // namespace
}  // namespace kahuna::sim
