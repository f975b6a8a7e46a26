#include <cstring>

#include "tests/host/harness.h"

namespace kahuna::host_test {
namespace {

class DiskContract : public HostTest {
 protected:
  using Names = std::vector<std::string>;
  Result<> rename(std::string from, std::string to) {
    return complete<Result<>>([&](auto d) { host().disk->rename(from, to, std::move(d)); });
  }
  Result<> remove(std::string path) {
    return complete<Result<>>([&](auto d) { host().disk->remove(path, std::move(d)); });
  }
  Result<Names> list(std::string dir) {
    return complete<Result<Names>>([&](auto d) { host().disk->list(dir, std::move(d)); });
  }
  Result<> make_dir(std::string path) {
    return complete<Result<>>([&](auto d) { host().disk->make_dir(path, std::move(d)); });
  }
  Result<> sync_dir(std::string path) {
    return complete<Result<>>([&](auto d) { host().disk->sync_dir(path, std::move(d)); });
  }
  template <class T>
  static ErrorCode code(const Result<T>& result) {
    return result ? ErrorCode::kOk : result.error().code;
  }
};
INSTANTIATE_FOR_HOSTS(DiskContract);

TEST_P(DiskContract, ReadsBackWhatWasWritten) {
  auto file = create("data");
  write_all(*file, 0, "hello world");
  ASSERT_TRUE(sync(*file));
  EXPECT_EQ(file->size(), 11u);
  EXPECT_EQ(read_all(*file, 0, 11), "hello world");
  EXPECT_EQ(read_all(*file, 6, 100), "world");
}

TEST_P(DiskContract, DurableWritesAreWrites) {
  for (bool direct : {false, true}) {
    auto file =
        open(direct ? "direct" : "buffered", {.create = true, .write = true, .direct = direct});
    ASSERT_TRUE(file);
    alignas(4096) static std::byte page[8192];
    std::fill(std::begin(page), std::end(page), std::byte{'k'});
    auto written = complete<Result<size_t>>(
        [&](auto d) { (*file)->write_durably_at(4096, page, std::move(d)); });
    ASSERT_TRUE(written);
    EXPECT_EQ(*written % 512, 0u);
    EXPECT_EQ((*file)->size(), 4096 + *written);
    alignas(4096) static std::byte back[8192];
    auto read =
        complete<Result<size_t>>([&](auto d) { (*file)->read_at(4096, back, std::move(d)); });
    ASSERT_TRUE(read);
    EXPECT_TRUE(std::equal(back, back + *read, page));
  }
}

TEST_P(DiskContract, ReadsAtAndPastTheEndAreEmpty) {
  auto file = create("data");
  write_all(*file, 0, "abc");
  std::byte bytes[16];
  EXPECT_EQ(*read_some(*file, 3, bytes), 0u);
  EXPECT_EQ(*read_some(*file, 3'000'000, bytes), 0u);
}

TEST_P(DiskContract, WritesPastTheEndExtendWithZeros) {
  auto file = create("data");
  write_all(*file, 10, "x");
  EXPECT_EQ(file->size(), 11u);
  EXPECT_EQ(read_all(*file, 0, 11), std::string(10, '\0') + "x");
  write_all(*file, 4, "y");
  EXPECT_EQ(file->size(), 11u);
  EXPECT_EQ(read_all(*file, 0, 11), std::string("\0\0\0\0y\0\0\0\0\0x", 11));
}

TEST_P(DiskContract, KeepsContentsWhenReopened) {
  {
    auto file = create("data");
    write_all(*file, 0, "kept");
    ASSERT_TRUE(sync(*file));
  }
  auto file = open("data", {});
  ASSERT_TRUE(file);
  EXPECT_EQ((*file)->size(), 4u);
  EXPECT_EQ(read_all(**file, 0, 10), "kept");
}

TEST_P(DiskContract, CarriesLargeWritesAndReads) {
  auto file = create("large");
  std::string text(3'000'000, '\0');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 2654435761u >> 24);
  write_all(*file, 123, text);
  EXPECT_EQ(read_all(*file, 123, text.size() + 1), text);
}

TEST_P(DiskContract, ManyOperationsInFlightCompleteOnceEach) {
  auto file = create("data");
  constexpr size_t kBlocks = 64;
  constexpr size_t kBlockBytes = 4096;
  std::vector<std::string> blocks;
  for (size_t i = 0; i < kBlocks; ++i)
    blocks.emplace_back(kBlockBytes, static_cast<char>('A' + i % 26));
  size_t done = 0;
  for (size_t i = 0; i < kBlocks; ++i) {
    file->write_at(i * kBlockBytes, as_bytes(blocks[i]), [&](Result<size_t> written) {
      ASSERT_TRUE(written);
      EXPECT_EQ(*written, kBlockBytes);
      ++done;
    });
  }
  EXPECT_EQ(done, 0u);
  ASSERT_TRUE(run_until([&] { return done == kBlocks; }));
  for (size_t i = 0; i < kBlocks; ++i) {
    EXPECT_EQ(read_all(*file, i * kBlockBytes, kBlockBytes), blocks[i]);
  }
}

TEST_P(DiskContract, OpeningWhatIsMissingIsNotFound) {
  EXPECT_EQ(code(open("nothing", {})), ErrorCode::kNotFound);
  EXPECT_EQ(code(open("no/dir/here", {.create = true, .write = true})), ErrorCode::kNotFound);
  EXPECT_EQ(code(list("no-dir")), ErrorCode::kNotFound);
  EXPECT_EQ(code(remove("nothing")), ErrorCode::kNotFound);
  EXPECT_EQ(code(rename("nothing", "other")), ErrorCode::kNotFound);
}

TEST_P(DiskContract, ExclusiveCreationFailsWhenTheFileExists) {
  const OpenOptions exclusive{.create = true, .exclusive = true, .write = true};
  ASSERT_TRUE(open("data", exclusive));
  EXPECT_EQ(code(open("data", exclusive)), ErrorCode::kInUse);
}

TEST_P(DiskContract, RenameReplacesItsTarget) {
  {
    auto from = create("from");
    write_all(*from, 0, "new");
    auto to = create("to");
    write_all(*to, 0, "old text");
  }
  ASSERT_TRUE(rename("from", "to"));
  ASSERT_TRUE(sync_dir(""));
  EXPECT_EQ(code(open("from", {})), ErrorCode::kNotFound);
  auto file = open("to", {});
  ASSERT_TRUE(file);
  EXPECT_EQ(read_all(**file, 0, 100), "new");
}

TEST_P(DiskContract, ARemovedFileStaysReadableWhileOpen) {
  auto file = create("data");
  write_all(*file, 0, "still here");
  ASSERT_TRUE(remove("data"));
  EXPECT_EQ(code(open("data", {})), ErrorCode::kNotFound);
  EXPECT_EQ(read_all(*file, 0, 100), "still here");
}

TEST_P(DiskContract, ListsNamesSortedBytewise) {
  ASSERT_TRUE(make_dir("dir"));
  ASSERT_TRUE(make_dir("dir"));  // fine if it exists
  for (const char* name : {"b", "a10", "B", "a9", "\xc3\xa9"}) create(std::string("dir/") + name);
  ASSERT_TRUE(make_dir("dir/sub"));
  ASSERT_TRUE(sync_dir("dir"));
  auto names = list("dir");
  ASSERT_TRUE(names);
  EXPECT_EQ(*names, (Names{"B", "a10", "a9", "b", "sub", "\xc3\xa9"}));
  EXPECT_EQ(*list(""), (Names{"dir"}));
}

TEST_P(DiskContract, RemovesADirectoryOnlyWhenItIsEmpty) {
  ASSERT_TRUE(make_dir("dir"));
  create("dir/file");
  EXPECT_FALSE(remove("dir"));
  EXPECT_EQ(list("dir")->size(), 1u);
  ASSERT_TRUE(remove("dir/file"));
  ASSERT_TRUE(remove("dir"));
  EXPECT_EQ(code(list("dir")), ErrorCode::kNotFound);
}

TEST_P(DiskContract, OneHolderOfALock) {
  Host* rival = harness->rival();
  if (!rival) GTEST_SKIP() << "this host has one process per directory";
  const OpenOptions locked{.create = true, .write = true, .lock = true};
  auto held = open("LOCK", locked);
  ASSERT_TRUE(held);
  auto refused = open("LOCK", locked, rival->disk);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInUse);
  held->reset();
  EXPECT_TRUE(open("LOCK", locked, rival->disk));
}

TEST_P(DiskContract, UnbufferedFilesHoldTheSameBytes) {
  constexpr size_t kBytes = 8192;
  std::unique_ptr<std::byte[], void (*)(void*)> memory(
      static_cast<std::byte*>(std::aligned_alloc(4096, kBytes)), std::free);
  std::memset(memory.get(), 'd', kBytes);
  auto file = open("direct", {.create = true, .write = true, .direct = true});
  ASSERT_TRUE(file);
  const auto written = complete<Result<size_t>>(
      [&](auto done) { (*file)->write_at(4096, ByteView(memory.get(), kBytes), std::move(done)); });
  ASSERT_TRUE(written) << written.error().text;
  EXPECT_EQ(*written, kBytes);
  ASSERT_TRUE(sync(**file));
  EXPECT_EQ((*file)->size(), 4096 + kBytes);
  std::memset(memory.get(), 0, kBytes);
  const auto got = read_some(**file, 4096, MutableByteView(memory.get(), kBytes));
  ASSERT_TRUE(got) << got.error().text;
  EXPECT_EQ(*got, kBytes);
  EXPECT_EQ(memory[kBytes - 1], std::byte{'d'});
}

TEST_P(DiskContract, ADestroyedFileCompletesUnobserved) {
  auto file = create("data");
  const std::string text(100'000, 'x');
  bool observed = false;
  file->write_at(0, as_bytes(text), [&](Result<size_t>) { observed = true; });
  file->sync([&](Result<>) { observed = true; });
  file.reset();
  run_for(Duration::millis(50));
  EXPECT_FALSE(observed);
  EXPECT_TRUE(open("data", {}));
}

TEST_P(DiskContract, AFileMayBeDestroyedInsideItsCompletion) {
  auto file = create("data");
  bool done = false;
  file->sync([&](Result<> result) {
    EXPECT_TRUE(result);
    file.reset();
    done = true;
  });
  ASSERT_TRUE(run_until([&] { return done; }));
}

}  // namespace
}  // namespace kahuna::host_test
