#include "importer/scanner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <map>
#include <thread>

#include "base/file.h"
#include "tests/unit/mirror/test_directory.h"

namespace gapferry::importer {
namespace {

using testing::HasSubstr;

/// A scanner in a few lines of shell: what a file holds decides what becomes of it.
constexpr std::string_view kScript = R"(#!/bin/sh
echo "called with $#" >> "$0.calls"
code=0
for file in "$@"; do
  case $file in -*) continue ;; esac
  case $(cat "$file") in
    virus*) echo "$file: Eicar FOUND"; code=1 ;;
    odd*) exit 2 ;;
    crash*) kill -SEGV $$ ;;
    hang*) sleep 100 ;;
    cure*) echo cured > "$file" ;;
    both*) echo cured > "$file"; code=1 ;;
    steal*) rm "$file" ;;
    flood*) yes 0123456789abcdef | head -c 2000000 ;;
    fds*) ls /proc/self/fd | wc -l ;;
  esac
done
exit $code
)";

class ScannerTest : public testing::Test {
 protected:
  ScannerTest() {
    program_ = directory_.path() / "scan";
    EXPECT_TRUE(WriteFileAtomically(program_, AsBytes(kScript), 0755));
    config_.command = {program_.string()};
    config_.timeout = std::chrono::seconds(1);
  }

  void Stage(const std::string& name, const std::string& text) {
    const auto path = directory_.path() / (name + " with blanks");
    ASSERT_TRUE(WriteFileAtomically(path, AsBytes(text)));
    items_.push_back({name, path, Sha256(text)});
  }

  Result<void> Scan(std::stop_token stop = {}) {
    verdicts_.clear();
    return Scanner(config_).Scan(
        items_,
        [this](std::span<const Scanner::Told> told) -> Result<void> {
          for (const auto& [item, verdict] : told) {
            EXPECT_TRUE(verdicts_.emplace(item->name, verdict).second) << item->name << " twice";
          }
          return {};
        },
        NoProgress(), stop);
  }

  ScanOutcome OutcomeOf(const std::string& name) { return verdicts_.at(name).outcome; }
  std::string Calls() {
    return ReadTextFile(program_.string() + ".calls", 1 << 20).value_or(std::string());
  }

  mirror::TemporaryDirectory directory_;
  std::filesystem::path program_;
  mirror::Config::Scanner config_;
  std::vector<ScanItem> items_;
  std::map<std::string, ScanVerdict> verdicts_;
};

TEST_F(ScannerTest, EachFileGetsItsOwnVerdictWhateverTheBatch) {
  for (const std::uint32_t batch : {1U, 3U, 100U}) {
    items_.clear();
    config_.batch = batch;
    for (int i = 0; i < 10; ++i) Stage("clean" + std::to_string(i), "fine");
    Stage("virus", "virus!");
    Stage("odd", "odd");
    Stage("crash", "crash");
    ASSERT_TRUE(Scan());
    ASSERT_EQ(verdicts_.size(), 13U);
    EXPECT_EQ(OutcomeOf("clean3"), ScanOutcome::kClean);
    EXPECT_EQ(OutcomeOf("virus"), ScanOutcome::kRejected);
    EXPECT_THAT(verdicts_["virus"].output, HasSubstr("Eicar FOUND"));
    EXPECT_EQ(verdicts_["virus"].why, "exit code 1");
    EXPECT_EQ(OutcomeOf("odd"), ScanOutcome::kCrashed);
    EXPECT_EQ(verdicts_["odd"].why, "exit code 2");
    EXPECT_EQ(OutcomeOf("crash"), ScanOutcome::kCrashed);
    EXPECT_THAT(verdicts_["crash"].why, HasSubstr("Segmentation fault"));
  }
}

TEST_F(ScannerTest, SeveralPathsGoIntoOneCall) {
  config_.batch = 5;
  for (int i = 0; i < 10; ++i) Stage("clean" + std::to_string(i), "fine");
  ASSERT_TRUE(Scan());
  EXPECT_EQ(Calls(), "called with 5\ncalled with 5\n");
}

TEST_F(ScannerTest, APlaceInsideAWordTakesOnePath) {
  config_.command = {program_.string(), "--file={}"};
  Stage("a", "fine");
  Stage("b", "fine");
  ASSERT_TRUE(Scan());
  EXPECT_EQ(Calls(), "called with 1\ncalled with 1\n");
  config_.command = {program_.string(), "{}", "--end"};
  ASSERT_TRUE(Scan());
  EXPECT_THAT(Calls(), HasSubstr("called with 3\n"));
}

TEST_F(ScannerTest, LateIsNo) {
  Stage("hang", "hang");
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_TRUE(Scan());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
  EXPECT_EQ(OutcomeOf("hang"), ScanOutcome::kTimedOut);
  EXPECT_EQ(verdicts_["hang"].why, "did not end within 1s");
}

TEST_F(ScannerTest, AFileThatTheScannerChangedIsNotTaken) {
  config_.batch = 1;
  Stage("cure", "cure me");
  Stage("steal", "steal me");
  Stage("clean", "fine");
  ASSERT_TRUE(Scan());
  EXPECT_EQ(OutcomeOf("cure"), ScanOutcome::kRejected);
  EXPECT_THAT(verdicts_["cure"].why, HasSubstr("changed or removed"));
  EXPECT_EQ(OutcomeOf("steal"), ScanOutcome::kRejected);
  EXPECT_EQ(OutcomeOf("clean"), ScanOutcome::kClean);
}

TEST_F(ScannerTest, AFileThatWasChangedInACallWithOthersIsNotTakenEither) {
  config_.batch = 10;
  Stage("both", "both");
  Stage("clean", "fine");
  ASSERT_TRUE(Scan());
  EXPECT_EQ(OutcomeOf("both"), ScanOutcome::kRejected) << "asked about alone it looked clean";
  EXPECT_EQ(OutcomeOf("clean"), ScanOutcome::kClean);
}

TEST_F(ScannerTest, WhatItPrintsIsBounded) {
  config_.timeout = std::chrono::seconds(60);
  Stage("flood", "flood");
  ASSERT_TRUE(Scan());
  EXPECT_EQ(OutcomeOf("flood"), ScanOutcome::kClean);
  EXPECT_LE(verdicts_["flood"].output.size(), kMaxScanOutput);
}

TEST_F(ScannerTest, ItInheritsNothing) {
  const auto open = File::OpenRead(program_);
  Stage("fds", "fds");
  ASSERT_TRUE(Scan());
  EXPECT_EQ(std::stoi(verdicts_["fds"].output), 4) << "three and the one that ls opens";
}

TEST_F(ScannerTest, ACommandThatCannotBeStartedIsNoVerdict) {
  config_.command = {"/nowhere/scan"};
  Stage("clean", "fine");
  const auto done = Scan();
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::kUsage);
  EXPECT_EQ(done.error().reason, "scanner-unusable");
  EXPECT_TRUE(verdicts_.empty());
}

TEST_F(ScannerTest, StoppingEndsIt) {
  config_.timeout = std::chrono::seconds(100);
  Stage("hang", "hang");
  std::stop_source source;
  const std::jthread stopper([&source] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    source.request_stop();
  });
  const auto done = Scan(source.get_token());
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::kCancelled);
}

TEST_F(ScannerTest, AnotherCommandIsAnotherScanner) {
  const auto id = Scanner(config_).Id();
  config_.timeout = std::chrono::seconds(7);
  EXPECT_EQ(Scanner(config_).Id(), id);
  config_.command.push_back("--more");
  EXPECT_NE(Scanner(config_).Id(), id);
}

}  // namespace
}  // namespace gapferry::importer
