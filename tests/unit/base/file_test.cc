#include "base/file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

namespace gapferry {
namespace {

class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "gapferry-file-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
  }
  void TearDown() override { fs::remove_all(dir_); }
  fs::path dir_;
};

TEST_F(FileTest, AtomicFileLeavesTheTargetWithoutCommit) {
  ASSERT_TRUE(WriteFileAtomically(dir_ / "a", AsBytes("old")));
  {
    auto file = AtomicFile::Create(dir_ / "a");
    ASSERT_TRUE(file.has_value());
    ASSERT_TRUE(file->file().WriteAll(AsBytes("new")));
  }
  EXPECT_EQ(*ReadTextFile(dir_ / "a", 100), "old");
  EXPECT_EQ(*ListDirectory(dir_), std::vector<std::string>{"a"});
}

TEST_F(FileTest, ReadFileRefusesMoreThanTheLimit) {
  ASSERT_TRUE(WriteFileAtomically(dir_ / "a", AsBytes("12345")));
  EXPECT_TRUE(ReadFile(dir_ / "a", 5).has_value());
  const auto result = ReadFile(dir_ / "a", 4);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, ErrorCode::kCorrupt);
}

TEST_F(FileTest, OpenReadRefusesLinksFoldersAndPipes) {
  ASSERT_TRUE(WriteFileAtomically(dir_ / "a", AsBytes("x")));
  fs::create_symlink(dir_ / "a", dir_ / "link");
  EXPECT_FALSE(File::OpenRead(dir_ / "link").has_value());
  EXPECT_FALSE(File::OpenRead(dir_).has_value());
  EXPECT_EQ(File::OpenRead(dir_ / "none").error().code, ErrorCode::kNotFound);
}

TEST_F(FileTest, LockNamesItsHolder) {
  const auto lock = FileLock::Acquire(dir_ / "lock", "sync");
  ASSERT_TRUE(lock.has_value());
  const auto second = FileLock::Acquire(dir_ / "lock", "export");
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, ErrorCode::kBusy);
  EXPECT_EQ(second.error().message, "held by sync (pid " + std::to_string(::getpid()) + ")");
}

TEST_F(FileTest, ALockTellsWhatItsHolderDoesWithoutBeingTouched) {
  const auto nobody = FileLock::Look(dir_ / "lock");
  ASSERT_TRUE(nobody.has_value());
  EXPECT_EQ(nobody->holder, "");
  EXPECT_FALSE(nobody->held);
  {
    auto lock = FileLock::Acquire(dir_ / "lock", "sync");
    ASSERT_TRUE(lock.has_value());
    ASSERT_TRUE(lock->Annotate("a long note about the work").has_value());
    ASSERT_TRUE(lock->Annotate("short").has_value());
    const auto seen = FileLock::Look(dir_ / "lock");
    ASSERT_TRUE(seen.has_value());
    EXPECT_EQ(seen->holder, "sync (pid " + std::to_string(::getpid()) + ")");
    EXPECT_EQ(seen->note, "short");
    EXPECT_TRUE(seen->held);
    const auto refused = FileLock::Acquire(dir_ / "lock", "export");
    EXPECT_EQ(refused.error().message, "held by " + seen->holder);
  }
  const auto left = FileLock::Look(dir_ / "lock");
  ASSERT_TRUE(left.has_value());
  EXPECT_EQ(left->note, "short");  // what it did last can still be told
  EXPECT_FALSE(left->held);
}

}  // namespace
}  // namespace gapferry
