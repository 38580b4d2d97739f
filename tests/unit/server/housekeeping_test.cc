#include "server/housekeeping.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace gapferry::server {
namespace {
namespace fs = std::filesystem;

class HousekeepingTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "gapferry-keep-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
  }
  void TearDown() override { fs::remove_all(root_); }
  static void Write(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }
  fs::path root_;
};

TEST_F(HousekeepingTest, FileWatchSeesContentsReplacementAndAbsence) {
  const fs::path certificate = root_ / "server.pem";
  const fs::path key = root_ / "server.key";
  Write(certificate, "one");
  Write(key, "k");
  FileWatch watch({certificate, key});
  EXPECT_FALSE(watch.HasChanged());
  Write(key, "kk");
  EXPECT_TRUE(watch.HasChanged());
  EXPECT_FALSE(watch.HasChanged());
  Write(root_ / "new.pem", "two");
  fs::last_write_time(root_ / "new.pem", fs::last_write_time(certificate));
  fs::rename(root_ / "new.pem", certificate);
  EXPECT_TRUE(watch.HasChanged()) << "another file of the same size and time";
  fs::remove(key);
  EXPECT_TRUE(watch.HasChanged());
  Write(key, "k3");
  EXPECT_TRUE(watch.HasChanged());
  EXPECT_FALSE(watch.HasChanged());
}

TEST_F(HousekeepingTest, DropsOldEventsInStepsAndNoneAfterAJumpOfTheClock) {
  const UtcTime start = UtcTime::FromUnixSeconds(1'800'000'000);
  FixedClock clock(start);
  auto writer = mirror::ActivityWriter::Start(root_ / "activity.db", clock, {});
  ASSERT_TRUE(writer.has_value()) << writer.error().message;
  const auto report = [&](int count) {
    const auto done = (*writer)->Run([&](mirror::Activity& activity) -> Result<void> {
      std::vector<protocol::ReportingEvent> events(static_cast<std::size_t>(count));
      for (auto& event : events) {
        event.target_sid = "pc";
        event.event_instance_id = Guid::Random();
        event.event_id = 167;
      }
      TRY(activity.Report("pc", events));
      return {};
    });
    ASSERT_TRUE(done.has_value()) << done.error().message;
  };
  report(2500);
  clock.Set(start + std::chrono::days(60));
  report(3);
  const std::stop_token never;
  const UtcTime now = start + std::chrono::days(100);
  const auto drop = [&](UtcTime committed, UtcTime at) {
    return DropOldEvents(**writer, committed, at, 90, never).value();
  };
  EXPECT_EQ(drop(start, start + std::chrono::days(400)), 0U) << "no commit for a year";
  EXPECT_EQ(drop(start, now), 2500U) << "more than one step";
  EXPECT_EQ(drop(start, now), 0U);
  EXPECT_EQ(drop(start + std::chrono::days(300), start + std::chrono::days(400)), 3U);
}

}  // namespace
}  // namespace gapferry::server
