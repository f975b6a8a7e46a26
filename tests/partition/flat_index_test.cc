#include "kahuna/partition/flat_index.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <map>
#include <string>

#include "runtime/bytes.h"
#include "runtime/hash.h"

namespace kahuna::partition {
namespace {

TEST(FlatIndex, BehavesLikeAMap) {
  ASSERT_TRUE(rc::check([] {
    FlatIndex index;
    std::map<uint32_t, uint64_t> model;  // slot to hash
    for (int step = 0; step < 200; ++step) {
      const auto slot = *rc::gen::inRange<uint32_t>(0, 60);
      const auto known = model.find(slot);
      if (known == model.end()) {
        const auto hash = *rc::gen::inRange<uint64_t>(0, 8) << *rc::gen::element(0, 1, 60);
        index.insert(hash, slot);
        model[slot] = hash;
      } else if (*rc::gen::arbitrary<bool>()) {
        index.erase(known->second, slot);
        model.erase(known);
      }
      for (const auto& [wanted, hash] : model)
        RC_ASSERT(index.find(hash, [&](uint32_t other) { return other == wanted; }) == wanted);
      RC_ASSERT(index.find(9, [](uint32_t) { return true; }) == FlatIndex::kNone);
    }
  }));
}

// Keys whose hashes meet in the low bits, found by trying, are harmless under another seed.
TEST(FlatIndex, AFloodThatWasMeantForOneSeedDoesNothingUnderAnother) {
  constexpr size_t kKeys = 1'000;
  constexpr uint64_t kMask = (1 << 10) - 1;
  std::vector<std::string> keys;
  for (uint64_t i = 0; keys.size() < kKeys; ++i) {
    std::string key = "key-" + std::to_string(i);
    if ((hash64(as_bytes(key)) & kMask) == 0) keys.push_back(std::move(key));
  }
  const auto longest_run = [&](uint64_t seed) {
    FlatIndex index;
    for (uint32_t i = 0; i < keys.size(); ++i) index.insert(hash64(as_bytes(keys[i]), seed), i);
    return index.longest_run();
  };
  EXPECT_GT(longest_run(0), 400u);
  for (const uint64_t seed : {uint64_t{1}, uint64_t{2}, uint64_t{0x9e3779b97f4a7c15}})
    EXPECT_LT(longest_run(seed), 60u);
}

}  // namespace
}  // namespace kahuna::partition
