#include "tests/support/catalogue/fill.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "base/file.h"
#include "mirror/catalog.h"
#include "mirror/config.h"
#include "mirror/content_store.h"
#include "mirror/mirror.h"
#include "tests/support/catalogue/export_files.h"

namespace gapferry::catalogue {
namespace {

class Fill : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "gapferry-fill-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { ASSERT_TRUE(RemoveTree(folder_).has_value()); }

  fs::path NewMirror(const std::string& name) {
    mirror::Config config;
    config.name = name;
    const auto made = mirror::Mirror::Init(folder_ / name, config);
    EXPECT_TRUE(made.has_value()) << made.error().message;
    return folder_ / name;
  }

  /// Made once: the digests of its files cost generating all of them.
  static const Catalogue& Make(std::uint32_t step) {
    static std::map<std::uint32_t, Catalogue> made;
    const auto found = made.find(step);
    if (found != made.end()) return found->second;
    Options options;
    options.step = step;
    return made.emplace(step, Catalogue::Make(options, 2).value()).first->second;
  }

  static FillReport FillInto(const Catalogue& catalogue, const fs::path& mirror, bool content) {
    const auto report = FillMirror(catalogue, mirror, {.with_content = content, .threads = 2});
    EXPECT_TRUE(report.has_value()) << report.error().message;
    return report.value_or(FillReport{});
  }

  static mirror::PublishedState StateOf(const fs::path& directory) {
    auto opened = mirror::Mirror::Open(directory);
    return opened.value().catalog().Published().value();
  }

  fs::path folder_;
};

TEST_F(Fill, LoadsEverythingAsOneGeneration) {
  const Catalogue& catalogue = Make(0);
  const fs::path directory = NewMirror("a");
  const mirror::Generation before = StateOf(directory).name.generation;
  const FillReport report = FillInto(catalogue, directory, true);
  EXPECT_EQ(report.new_revisions, catalogue.revisions().size());
  EXPECT_EQ(report.generation, before + 1);

  auto mirror = mirror::Mirror::Open(directory).value();
  for (const Revision& revision : catalogue.revisions()) {
    const auto row = mirror.catalog().Find(revision.id);
    ASSERT_TRUE(row.has_value() && row->has_value()) << revision.path;
  }
  EXPECT_TRUE(mirror.catalog().FindDangling(10).value().empty());
  for (const FileSpec& file : catalogue.files()) {
    EXPECT_TRUE(mirror.content().Holds(file.digests.sha1)) << file.key;
    EXPECT_TRUE(fs::exists(directory / "content" / StoreName(file))) << file.key;
  }
}

TEST_F(Fill, GivesTheSameStateEachTime) {
  const Catalogue& catalogue = Make(0);
  const fs::path a = NewMirror("a");
  const fs::path b = NewMirror("b");
  FillInto(catalogue, a, false);
  FillInto(catalogue, b, false);
  EXPECT_EQ(StateOf(a).documents_digest, StateOf(b).documents_digest);
}

TEST_F(Fill, AgainChangesNothing) {
  const Catalogue& catalogue = Make(0);
  const fs::path directory = NewMirror("a");
  FillInto(catalogue, directory, false);
  const mirror::PublishedState before = StateOf(directory);
  const FillReport report = FillInto(catalogue, directory, false);
  EXPECT_EQ(report.new_revisions, 0U);
  EXPECT_EQ(StateOf(directory).name, before.name);
}

TEST_F(Fill, AdvancesInPlaceToWhatAFreshMirrorHas) {
  const fs::path advanced = NewMirror("advanced");
  FillInto(Make(0), advanced, false);
  EXPECT_EQ(FillInto(Make(1), advanced, false).new_revisions, 4U);
  EXPECT_EQ(FillInto(Make(3), advanced, false).new_revisions, 8U);
  const fs::path fresh = NewMirror("fresh");
  FillInto(Make(3), fresh, false);
  EXPECT_EQ(StateOf(advanced).documents_digest, StateOf(fresh).documents_digest);
}

TEST_F(Fill, RefusesADirectoryThatIsNoMirror) {
  const auto report = FillMirror(Make(0), folder_, {.with_content = false, .threads = 1});
  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(report.error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace gapferry::catalogue
