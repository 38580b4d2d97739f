#include "cli/media_support.h"

#include <gtest/gtest.h>

#include "base/file.h"

namespace gapferry::cli {
namespace {

namespace fs = std::filesystem;

/// A stick whose place is known to fstab.
class MountTest : public testing::Test {
 protected:
  MountTest() {
    EXPECT_TRUE(CreateDirectories(stick_ / "deep").has_value());
    Write(fstab_, "# comment\nUUID=12 / ext4 defaults 0 1\nLABEL=STICK " + stick_.string() +
                      " vfat noauto,user 0 0\nUUID=13 none swap sw 0 0\n");
    Write(mounts_, "/dev/sda1 / ext4 rw 0 0\n");
  }
  ~MountTest() override { EXPECT_TRUE(RemoveTree(root_).has_value()); }
  static void Write(const fs::path& file, const std::string& text) {
    EXPECT_TRUE(WriteFileAtomically(file, AsBytes(text)).has_value());
  }
  std::optional<UnmountedPlace> Find(const fs::path& folder) {
    return FindUnmounted(folder, fstab_.c_str(), mounts_.c_str());
  }

  const fs::path root_ = fs::canonical(testing::TempDir()) / "gapferry-mounts";
  const fs::path stick_ = root_ / "media/stick";
  const fs::path fstab_ = root_ / "fstab", mounts_ = root_ / "mounts";
};

TEST_F(MountTest, APlaceOfFstabThatIsNotMountedIsToldWithItsDevice) {
  for (const fs::path& folder : {stick_, stick_ / "deep"}) {
    const auto found = Find(folder);
    ASSERT_TRUE(found.has_value()) << folder;
    EXPECT_EQ(found->device, "LABEL=STICK");
    EXPECT_EQ(found->place, stick_);
  }
  // A link to it is the same place.
  fs::create_directory_symlink(stick_, root_ / "link");
  EXPECT_TRUE(Find(root_ / "link").has_value());
}

TEST_F(MountTest, ASlashAtTheEndChangesNothing) {
  Write(fstab_, "LABEL=STICK " + stick_.string() + "/ vfat noauto,user 0 0\n");
  EXPECT_TRUE(Find(stick_).has_value());
  Write(stick_ / "manifest.json", "{}");
  const auto refused = CheckTargetFolder(stick_ / "");
  ASSERT_FALSE(refused.has_value());
  EXPECT_TRUE(refused.error().next.ends_with("--to " + stick_.parent_path().string()))
      << refused.error().next;
}

TEST_F(MountTest, WhatIsMountedOrOnNoListPasses) {
  EXPECT_FALSE(Find(root_ / "media").has_value());
  Write(mounts_, "/dev/sda1 / ext4 rw 0 0\n/dev/sdb1 " + stick_.string() + " vfat rw 0 0\n");
  EXPECT_FALSE(Find(stick_ / "deep").has_value());
  EXPECT_TRUE(CheckTargetFolder(stick_).has_value());
}

TEST_F(MountTest, WithoutListsNothingIsClaimed) {
  EXPECT_TRUE(RemoveFile(fstab_).has_value());
  EXPECT_FALSE(Find(stick_).has_value());
  EXPECT_TRUE(RemoveFile(mounts_).has_value());
  EXPECT_FALSE(Find(stick_).has_value());
}

TEST_F(MountTest, AFolderThatIsNotThereIsNotMade) {
  const auto refused = CheckTargetFolder(root_ / "media/other stick");
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(
      refused.error().next.ends_with("mkdir -p '" + (root_ / "media/other stick").string() + "'"))
      << refused.error().next;
  EXPECT_EQ(CheckTargetFolder(fstab_).error().code, ErrorCode::kUsage);
}

}  // namespace
}  // namespace gapferry::cli
