#include <gtest/gtest.h>

#include "cli/progress.h"

namespace gapferry::cli {
namespace {

TEST(Progress, SaysWhatIsKnown) {
  EXPECT_EQ(FormatProgress({.step = "reading"}), "reading: 0");
  EXPECT_EQ(FormatProgress({.step = "reading", .items = 1200, .total_items = 24509}),
            "reading: 1,200 of 24,509");
  EXPECT_EQ(FormatProgress({.step = "copying",
                            .items = 1,
                            .total_items = 2,
                            .bytes = 1024 * 1024,
                            .total_bytes = 3 * 1024 * 1024,
                            .seconds = 2}),
            "copying: 1 of 2, 1.0 MiB of 3.0 MiB, 512.0 KiB/s, 4 s left");
  EXPECT_EQ(FormatProgress({.step = "x", .items = 10, .total_items = 7210, .seconds = 10}),
            "x: 10 of 7,210, 2.0 h left");
}

TEST(Progress, WritesOneLinePerStepToAPipe) {
  ::testing::internal::CaptureStderr();
  {
    const auto progress = MakeProgress(ProgressStyle::kLines);
    progress->Begin("one", 2, 0);
    progress->Advance(2, 0);
    progress->Note("a note");
    progress->Begin("two", 0, 0);
    progress->End();
    progress->End();
  }
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "a note\none: 2 of 2\ntwo: 0\n");
}

TEST(Progress, SaysNothingWhenQuiet) {
  ::testing::internal::CaptureStderr();
  const auto progress = MakeProgress(ProgressStyle::kNone);
  progress->Begin("one", 0, 0);
  progress->Note("a note");
  progress->End();
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace gapferry::cli
