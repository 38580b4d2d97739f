#include "tests/support/catalogue/catalogue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_set>

#include "base/hash.h"
#include "protocol/update_document.h"
#include "tests/support/catalogue/expect.h"
#include "tests/support/catalogue/machine.h"
#include "tests/support/catalogue/summary.h"

namespace gapferry::catalogue {
namespace {

Catalogue Make(std::string size, std::uint32_t step = 0, std::uint64_t seed = 1) {
  Options options;
  options.size = std::move(size);
  options.step = step;
  options.seed = seed;
  auto catalogue = Catalogue::Make(options, 2);
  EXPECT_TRUE(catalogue.has_value()) << catalogue.error().message;
  return std::move(*catalogue);
}

const Catalogue& Small() {
  static const Catalogue catalogue = Make("S");
  return catalogue;
}

std::set<std::string> Paths(const Catalogue& catalogue, const std::vector<std::size_t>& indices) {
  std::set<std::string> paths;
  for (const std::size_t index : indices) paths.insert(catalogue.revisions()[index].path);
  return paths;
}

Expectation ExpectFor(const Catalogue& catalogue, std::string_view profile) {
  return Expect(catalogue, MachineOf(catalogue, profile).value());
}

TEST(Catalogue, SmallOneIsTheSameEverywhere) {
  const Summary summary = Summarize(Small(), 2);
  EXPECT_EQ(summary.digest.ToHex(),
            "1381dcd7ac2ac1260ca6585c8448df0fab3fe929193ccd4f4c120846a84d57fd");
}

TEST(Catalogue, SeedChangesEverythingButWellKnownIds) {
  const Catalogue other = Make("S", 0, 2);
  EXPECT_TRUE(other.Newest(WellKnown::Windows11()).has_value());
  EXPECT_EQ(other.Newest(WellKnown::Windows11()).value(),
            Small().Newest(WellKnown::Windows11()).value());
  std::unordered_set<Guid> mine;
  for (const Revision& revision : Small().revisions()) mine.insert(revision.id.guid);
  const auto shared = std::ranges::count_if(
      other.revisions(), [&mine](const Revision& r) { return mine.contains(r.id.guid); });
  EXPECT_LT(shared, 30);  // the well-known categories and classifications
}

TEST(Catalogue, RefusesSizesThatMakeNoSense) {
  for (const char* size : {"", "XL", "0", "599", "99999999", "-1", "1e6"}) {
    Options options;
    options.size = size;
    const auto catalogue = Catalogue::Make(options, 1);
    ASSERT_FALSE(catalogue.has_value()) << size;
    EXPECT_EQ(catalogue.error().code, ErrorCode::kUsage);
  }
}

TEST(Catalogue, ExplicitSizeIsExact) {
  EXPECT_EQ(Make("600").revisions().size(), 600U);
  EXPECT_EQ(Make("3000").revisions().size(), 3000U);
}

TEST(Catalogue, EveryReferenceExistsEarlier) {
  for (const Catalogue& catalogue : {Make("S", 3), Make("3000")}) {
    std::unordered_set<Guid> guids;
    std::unordered_set<UpdateId> ids;
    for (const Revision& revision : catalogue.revisions()) {
      for (const Clause& clause : revision.prerequisites) {
        ASSERT_FALSE(clause.alternatives.empty());
        for (const Guid& guid : clause.alternatives) {
          ASSERT_TRUE(guids.contains(guid)) << revision.path;
        }
      }
      for (const auto& group : revision.bundled) {
        ASSERT_FALSE(group.empty());
        for (const UpdateId& member : group) ASSERT_TRUE(ids.contains(member)) << revision.path;
      }
      for (const Guid& guid : revision.superseded) ASSERT_TRUE(guids.contains(guid));
      guids.insert(revision.id.guid);
      ASSERT_TRUE(ids.insert(revision.id).second) << "twice: " << revision.path;
    }
  }
}

TEST(Catalogue, SmallOneHasOneOfEachKind) {
  const Summary summary = Summarize(Small(), 2);
  for (const std::string_view kind :
       {"company", "product-family", "product", "classification", "category", "detectoid", "bundle",
        "hidden-bundle", "child", "leaf", "driver"}) {
    EXPECT_GT(summary.revisions_by_kind.count(kind), 0U) << kind;
  }
  EXPECT_EQ(summary.revisions_by_kind.at("detectoid"), 243U);
  EXPECT_EQ(summary.revisions_by_kind.at("driver"), 20U);
  EXPECT_GT(summary.expired, 0U);
  EXPECT_GT(summary.older_revisions, 5U);
  EXPECT_GT(summary.largest_document, 6U << 20);
  EXPECT_LT(summary.largest_document, 7U << 20);
  EXPECT_LT(summary.file_bytes, 80U << 20);
}

TEST(Catalogue, LargeOneHasObservedDistributions) {
  const Catalogue catalogue = Make("12000");
  std::size_t without = 0;
  std::size_t clauses = 0;
  std::size_t software = 0;
  std::size_t widest = 0;
  std::size_t largest_group = 0;
  for (const Revision& revision : catalogue.revisions()) {
    if (revision.prerequisites.empty()) ++without;
    for (const auto& group : revision.bundled) {
      largest_group = std::max(largest_group, group.size());
    }
    if (revision.kind != Kind::kChild && revision.kind != Kind::kLeaf) continue;
    ++software;
    clauses += revision.prerequisites.size();
    for (const Clause& clause : revision.prerequisites) {
      widest = std::max(widest, clause.alternatives.size());
    }
  }
  EXPECT_LT(without * 100, catalogue.revisions().size() * 3);  // 98 % have prerequisites
  EXPECT_GE(clauses, software * 2);
  EXPECT_LE(clauses, software * 5);
  EXPECT_GT(widest, 50U);
  EXPECT_EQ(largest_group, 103U);
}

TEST(Catalogue, GroupsOfDefinitionsAreSevenSevenSevenHundredThree) {
  const Catalogue catalogue = Make("3000");
  std::size_t found = 0;
  for (const Revision& revision : catalogue.revisions()) {
    if (revision.bundled.size() != 4) continue;
    if (revision.path.find("defender/definition") != 0) continue;
    ++found;
    std::vector<std::size_t> sizes;
    for (const auto& group : revision.bundled) sizes.push_back(group.size());
    EXPECT_THAT(sizes, testing::ElementsAre(7, 7, 7, 103));
  }
  EXPECT_GT(found, 0U);
}

TEST(Catalogue, LaterStepsOnlyAdd) {
  const Catalogue before = Make("S", 1);
  const Catalogue after = Make("S", 2);
  ASSERT_EQ(before.base_count(), Small().revisions().size());
  ASSERT_EQ(before.revisions().size() + 4, after.revisions().size() + 0);
  for (std::size_t i = 0; i < before.revisions().size(); ++i) {
    ASSERT_EQ(Document(before, before.revisions()[i]), Document(after, after.revisions()[i]));
  }
}

TEST(Catalogue, StepPublishesNewUpdateNewRevisionAndExpiry) {
  const Catalogue catalogue = Make("S", 1);
  std::map<std::string, const Revision*> added;
  for (std::size_t i = catalogue.base_count(); i < catalogue.revisions().size(); ++i) {
    added[catalogue.revisions()[i].path] = &catalogue.revisions()[i];
  }
  ASSERT_TRUE(added.contains("windows/26100-x64-1/cumulative/5"));
  ASSERT_TRUE(added.contains("tool/0"));
  EXPECT_EQ(added["tool/0"]->id.revision, 201);
  EXPECT_FALSE(added["tool/0"]->expired);
  ASSERT_TRUE(added.contains("tool/1"));
  EXPECT_TRUE(added["tool/1"]->expired);
}

TEST(Catalogue, FilesHaveTheDigestsOfTheirBytes) {
  for (const FileSpec& file : Small().files()) {
    if (file.size_bytes > 10000) continue;
    ContentSource source(1, file.key, file.size_bytes);
    MemorySink sink(file.size_bytes);
    ASSERT_EQ(Copy(source, sink, file.size_bytes).value(), file.size_bytes);
    ASSERT_EQ(Sha1(sink.bytes()), file.digests.sha1);
    ASSERT_EQ(Sha256(sink.bytes()), file.digests.sha256);
  }
}

TEST(Catalogue, ContentDoesNotDependOnHowItIsRead) {
  ContentSource whole(7, "key", 1000);
  Bytes expected(1000);
  ASSERT_EQ(whole.Read(expected).value(), 1000U);
  ContentSource pieces(7, "key", 1000);
  Bytes actual;
  for (std::size_t size = 1; actual.size() < 1000; size = size % 13 + 1) {
    Bytes piece(size);
    const std::size_t count = pieces.Read(piece).value();
    actual.insert(actual.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(count));
  }
  EXPECT_EQ(actual, expected);
}

TEST(Expectation, WorkstationIsOfferedWhatItLacks) {
  const Expectation found = ExpectFor(Small(), "workstation-x64");
  const std::set<std::string> offered = Paths(Small(), found.offered);
  EXPECT_THAT(offered, testing::Contains("windows/26100-x64-1/cumulative/4"));
  EXPECT_THAT(offered, testing::Not(testing::Contains("windows/26100-x64-1/cumulative/3")));
  EXPECT_THAT(Paths(Small(), found.applicable),
              testing::Contains("windows/26100-x64-1/cumulative/3"));
  EXPECT_THAT(offered, testing::Contains("defender/definition-2"));
  EXPECT_THAT(offered, testing::Contains("tool/0"));
  EXPECT_THAT(offered, testing::Not(testing::Contains("tool/4")));  // for servers
  EXPECT_THAT(Paths(Small(), found.installed), testing::Contains("tool/3"));
  EXPECT_TRUE(
      std::ranges::any_of(offered, [](const auto& path) { return path.starts_with("office/"); }));
  EXPECT_FALSE(found.drivers.empty());
}

TEST(Expectation, ProfilesDiffer) {
  const auto arm = Paths(Small(), ExpectFor(Small(), "workstation-arm64").offered);
  EXPECT_THAT(arm, testing::Contains("windows/22631-arm64-1/cumulative/4"));
  EXPECT_FALSE(
      std::ranges::any_of(arm, [](const auto& path) { return path.starts_with("defender/"); }));
  const auto server = Paths(Small(), ExpectFor(Small(), "server-x64").offered);
  EXPECT_THAT(server, testing::Contains("windows/26100-x64-3/cumulative/4"));
  EXPECT_THAT(server, testing::Contains("tool/4"));
  EXPECT_THAT(server, testing::Not(testing::Contains("tool/0")));
}

TEST(Expectation, CurrentWorkstationOnlyNeedsWhatIsNew) {
  EXPECT_TRUE(ExpectFor(Small(), "workstation-current").offered.empty());
  const Catalogue later = Make("S", 1);
  EXPECT_THAT(Paths(later, ExpectFor(later, "workstation-current").offered),
              testing::ElementsAre("windows/26100-x64-1/cumulative/5"));
}

TEST(Expectation, StepsOfferExactlyTheNewOnes) {
  const Catalogue later = Make("S", 1);
  const Expectation before = ExpectFor(Small(), "workstation-x64");
  const Expectation after = ExpectFor(later, "workstation-x64");
  std::set<std::string> old_paths = Paths(Small(), before.offered);
  std::set<std::string> new_paths = Paths(later, after.offered);
  EXPECT_TRUE(old_paths.erase("windows/26100-x64-1/cumulative/4"));
  EXPECT_TRUE(old_paths.erase("tool/1"));  // expired
  EXPECT_TRUE(new_paths.erase("windows/26100-x64-1/cumulative/5"));
  EXPECT_EQ(old_paths, new_paths);
}

TEST(Facts, UnknownProfileNamesTheKnownOnes) {
  const auto machine = MachineOf(Small(), "mainframe");
  ASSERT_FALSE(machine.has_value());
  EXPECT_EQ(machine.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(machine.error().message, testing::HasSubstr("workstation-x64"));
}

}  // namespace
}  // namespace gapferry::catalogue
