#include "mirror/evidence_medium.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/unit/mirror/test_directory.h"

namespace gapferry::mirror {
namespace {

using testing::HasSubstr;

/// A /proc, /sys, /dev/disk and udev database with one USB stick, as Linux lays them out.
class EvidenceMediumTest : public testing::Test {
 protected:
  EvidenceMediumTest() : root_(directory_.path()) {
    sources_ = {root_ / "mountinfo", root_ / "sys", root_ / "disk", root_ / "udev"};
    fs::create_directories(root_ / "media/my stick/deep");
    Put("mountinfo",
        "22 1 253:0 / / rw,relatime - ext4 /dev/root rw\n"
        "30 22 8:17 / " +
            root_.string() +
            "/media/my\\040stick ro,nosuid - vfat /dev/sdb1 ro\n"
            "31 22 0:50 / " +
            root_.string() +
            "/share rw - nfs server:/export rw\n"
            "broken line\n");
    const fs::path usb = "sys/devices/pci0/usb1/1-2";
    Put(usb / "serial", "4C530001230101117362\n");
    Put(usb / "manufacturer", "SanDisk\n");
    Put(usb / "product", "Ultra\n");
    const fs::path disk = usb / "1-2:1.0/host6/target6/6:0:0:0/block/sdb";
    Put(disk / "sdb1/partition", "1\n");
    Put(disk / "device/model", "Ultra USB 3.0   \n");
    fs::create_directories(root_ / "sys/dev/block");
    fs::create_symlink(root_ / disk / "sdb1", root_ / "sys/dev/block/8:17");
    fs::create_directories(root_ / "disk/by-uuid");
    fs::create_directories(root_ / "disk/by-label");
    fs::create_symlink("../../sdb1", root_ / "disk/by-uuid/A0B1-C2D3");
    fs::create_symlink("../../sdb1", root_ / "disk/by-label/COURIER\\x203");
  }

  void Put(const fs::path& name, const std::string& text) {
    fs::create_directories((root_ / name).parent_path());
    ASSERT_TRUE(WriteFileAtomically(root_ / name, AsBytes(text)));
  }
  MediumFacts Stick() { return ReadMedium(root_ / "media/my stick/deep/not yet", sources_); }

  TemporaryDirectory directory_;
  fs::path root_;
  MediumSources sources_;
};

TEST_F(EvidenceMediumTest, AStickIsKnownBySysAndTheLinksOfUdev) {
  const MediumFacts stick = Stick();
  EXPECT_EQ(stick.mount_point, root_.string() + "/media/my stick");
  EXPECT_EQ(stick.file_system, "vfat");
  EXPECT_EQ(stick.uuid, "A0B1-C2D3");
  EXPECT_EQ(stick.label, "COURIER 3");
  EXPECT_EQ(stick.device, "/dev/sdb1");
  EXPECT_EQ(stick.serial, "4C530001230101117362");
  EXPECT_EQ(stick.model, "Ultra USB 3.0");
  EXPECT_EQ(stick.vendor, "SanDisk");
  EXPECT_TRUE(stick.read_only);
  EXPECT_EQ(stick.Marks(), "serial number 4C530001230101117362, UUID A0B1-C2D3");
}

TEST_F(EvidenceMediumTest, TheDatabaseOfUdevComesFirst) {
  Put("udev/b8:17",
      "S:disk/by-id/usb\nE:ID_FS_UUID=FEED-BEEF\nE:ID_FS_LABEL_ENC=NEW\\x20ONE\n"
      "E:ID_SERIAL=SanDisk_Ultra_99\nE:ID_SERIAL_SHORT=99\nE:ID_MODEL=Ultra\n");
  const MediumFacts stick = Stick();
  EXPECT_EQ(stick.uuid, "FEED-BEEF");
  EXPECT_EQ(stick.label, "NEW ONE");
  EXPECT_EQ(stick.serial, "99");
}

TEST_F(EvidenceMediumTest, NothingFoundIsNoError) {
  fs::create_directories(root_ / "share");
  const MediumFacts share = ReadMedium(root_ / "share/bundle", sources_);
  EXPECT_EQ(share.file_system, "nfs");
  EXPECT_EQ(share.Marks(), "");
  const MediumFacts none =
      ReadMedium("/nowhere", {root_ / "a", root_ / "b", root_ / "c", root_ / "d"});
  EXPECT_EQ(none.mount_point, "");
  EXPECT_EQ(none.ToJson().size(), 2U) << "path and read_only";
}

TEST_F(EvidenceMediumTest, WhatADeviceCallsItselfIsEscapedAndCut) {
  Put("sys/devices/pci0/usb1/1-2/serial", "\x1b[2J" + std::string(10'000, 'x') + "\xff\n");
  const MediumFacts stick = Stick();
  EXPECT_LE(stick.serial.size(), 300U);
  EXPECT_THAT(stick.serial, testing::Not(HasSubstr("\x1b")));
  WriteCanonicalJson(JsonValue(stick.ToJson()));
}

TEST_F(EvidenceMediumTest, OnlyTheMediaOfTheListAreAllowed) {
  EXPECT_TRUE(CheckMediumAllowed(Stick(), {}));
  EXPECT_TRUE(CheckMediumAllowed(Stick(), {"other", "4c530001230101117362"}));
  EXPECT_TRUE(CheckMediumAllowed(Stick(), {"a0b1-c2d3"}));
  const auto refused = CheckMediumAllowed(Stick(), {"other", "one"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUntrusted);
  EXPECT_EQ(refused.error().reason, "medium-not-allowed");
  EXPECT_THAT(
      refused.error().message,
      HasSubstr("serial number 4C530001230101117362, UUID A0B1-C2D3, allowed are other, one"));
  MediumFacts unknown;
  unknown.path = "/x";
  EXPECT_THAT(CheckMediumAllowed(unknown, {""}).error().message,
              HasSubstr("no serial number or UUID that is known"))
      << "an empty word of the list does not allow what is not known";
}

}  // namespace
}  // namespace gapferry::mirror
