#include <gtest/gtest.h>
#include <sys/resource.h>

#include "base/file.h"
#include "exporter/medium_label.h"
#include "exporter/medium_space.h"
#include "mirror/bundle_media.h"
#include "mirror/ledger.h"
#include "tests/unit/mirror/test_directory.h"
#include "tests/unit/mirror/test_documents.h"

namespace gapferry::exporter {
namespace {

TEST(MediumLabel, NumbersAreSaidAsRanges) {
  EXPECT_EQ(NumberRanges({}), "none");
  EXPECT_EQ(NumberRanges({7}), "7");
  EXPECT_EQ(NumberRanges({1, 2, 3, 5, 8, 9}), "1-3, 5, 8-9");
}

TEST(MediumLabel, SaysWhichMediumOfWhatForWhom) {
  manifests::Manifest bundle;
  bundle.stream = "plant";
  bundle.sequence = 7;
  bundle.sender.name = "Headquarters\x1b[31m";
  bundle.recipients.resize(1);
  bundle.recipients[0].name = "Plant 4";
  const std::string middle = MediumLabel(bundle, {2, {}, {4, 5, 6}, 9, false, 3 << 20});
  EXPECT_TRUE(middle.starts_with("MEDIUM 2\n")) << middle;
  EXPECT_NE(middle.find("Bundle    7 of stream plant\n"), std::string::npos);
  EXPECT_NE(middle.find("Carries   volumes 4-6 of 9, 3.0 MiB\n"), std::string::npos);
  EXPECT_NE(middle.find("Give to   Plant 4"), std::string::npos);
  EXPECT_EQ(middle.find('\x1b'), std::string::npos);
  const std::string last = MediumLabel(bundle, {3, {1, 2, 3}, {7, 8, 9}, 9, true, 3 << 20});
  EXPECT_TRUE(last.starts_with("MEDIUM 3 OF 3\n")) << last;
  EXPECT_NE(last.find("and the manifest"), std::string::npos);
  EXPECT_NE(last.find("read this medium first"), std::string::npos);
  const std::string again = MediumLabel(bundle, {4, {2, 3, 4}, {1}, 9, true, 1});
  EXPECT_TRUE(again.starts_with("MEDIUM 4 (of media 2-4)\n")) << again;
  EXPECT_EQ(MediumLabel(bundle, {1, {1}, {1}, 1, true, 1}).find("Order"), std::string::npos);
}

TEST(MediumSpace, FilesThatAreTooLargeAreFoundBeforeTheyAreWritten) {
  const mirror::TemporaryDirectory dir;
  EXPECT_TRUE(CheckLargestFile(dir.path(), "volume", 1ULL << 32).has_value());
  EXPECT_EQ(CheckLargestFile(dir.path(), "volume", 1ULL << 62).error().reason,
            "file-too-large-for-medium");
  EXPECT_TRUE(ListDirectory(dir.path())->empty());
}

class BundleMediaTest : public testing::Test {
 protected:
  BundleMediaTest() {
    EXPECT_TRUE(mirror::Mirror::Init(dir_.path() / "m", mirror::TestConfig()).has_value());
    mirror_.emplace(std::move(*mirror::Mirror::Open(dir_.path() / "m")));
    EXPECT_TRUE(
        mirror_->db()
            .Run("INSERT INTO bundle_out (site, sequence, state, scope, base_epoch, "
                 "base_generation, base_chain, base_state_digest, target_epoch, target_generation, "
                 "target_chain, target_state_digest, plan_digest, plan, path, bytes, reserved_at) "
                 "VALUES (?, 1, 1, 1, x'', 0, x'', x'', x'', 1, x'', x'', x'', '', '', 0, 0)",
                 owner_)
            .has_value());
  }
  mirror::TemporaryDirectory dir_;
  std::optional<mirror::Mirror> mirror_;
  const Guid owner_ = mirror::TestGuid(1, 1);
};

TEST_F(BundleMediaTest, VolumesOfALostMediumAreListedUntilTheyLieElsewhere) {
  mirror::BundleMedia media(mirror_->db(), owner_, 1);
  ASSERT_EQ(*media.Begin("/media/a", UtcTime()), 1u);
  ASSERT_EQ(*media.Begin("/media/b", UtcTime()), 2u);
  ASSERT_TRUE(media.Place(1, {1, 100, Sha256("1")}, "read").has_value());
  ASSERT_TRUE(media.Place(1, {2, 100, Sha256("2")}, "read").has_value());
  ASSERT_TRUE(media.Place(2, {3, 50, Sha256("3")}, "read").has_value());
  ASSERT_TRUE(media.MarkManifest(2).has_value());
  ASSERT_TRUE(media.GiveUp(1, UtcTime(), "user:test").has_value());
  EXPECT_EQ(media.GiveUp(1, UtcTime(), "user:test").error().reason, "medium-unknown");
  EXPECT_EQ(media.GiveUp(3, UtcTime(), "user:test").error().reason, "medium-unknown");
  auto all = *media.All();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_TRUE(all[0].lost);
  EXPECT_EQ(all[0].volumes.size(), 2u);
  EXPECT_TRUE(all[1].has_manifest);
  ASSERT_EQ(*media.Begin("/media/a", UtcTime()), 3u);
  ASSERT_TRUE(media.Place(3, {1, 100, Sha256("1")}, "read").has_value());
  ASSERT_TRUE(media.Place(3, {2, 100, Sha256("2")}, "read").has_value());
  all = *media.All();
  EXPECT_TRUE(all[0].volumes.empty());
  EXPECT_EQ(all[2].volumes.size(), 2u);
  EXPECT_TRUE(mirror::BundleMedia(mirror_->db(), owner_, 2).All()->empty());
}

}  // namespace
}  // namespace gapferry::exporter
