#include "server/revision_list.h"

#include <gtest/gtest.h>

#include <deque>
#include <set>

#include "server/sync_anchor.h"
#include "server/sync_languages.h"

namespace gapferry::server {
namespace {

using mirror::UpdateType;
using protocol::UpdateId;

Guid Id(int n) {
  Guid guid;
  guid.bytes[0] = static_cast<std::uint8_t>(n);
  return guid;
}

constexpr std::uint32_t kNewest = 1U << 16 | 20;
constexpr int kProduct = 1;
constexpr int kOtherProduct = 2;
constexpr int kSecurity = 3;
constexpr int kDrivers = 4;

/// Updates: 10 product/security with a bundle member 11, 12 other product/security, 13
/// product/drivers.
class RevisionListTest : public testing::Test {
 protected:
  RevisionListTest() {
    for (const int category : {kProduct, kOtherProduct, kSecurity, kDrivers}) {
      Add(category, 1, UpdateType::kCategory, 1);
    }
    Add(5, 7, UpdateType::kDetectoid, 1);
    Add(11, 1, UpdateType::kSoftware, 1);
    auto& bundle = Add(10, 200, UpdateType::kSoftware, 2, {kProduct, kSecurity});
    bundle.bundled = {{{Id(11), 1}}};
    Add(12, 1, UpdateType::kSoftware, 2, {kOtherProduct, kSecurity});
    Add(13, 1, UpdateType::kSoftware, 3, {kProduct, kDrivers});
  }
  mirror::RevisionRelations& Add(int update, int number, UpdateType type,
                                 mirror::Generation generation, std::vector<int> clauses = {}) {
    mirror::RevisionRelations relations;
    relations.row.id = static_cast<mirror::RevisionId>(1 + rows_.size());
    relations.row.update = {Id(update), number};
    relations.row.type = type;
    relations.row.generation = generation;
    for (const int clause : clauses) {
      relations.prerequisites.push_back({clause == kSecurity || clause == kDrivers, {Id(clause)}});
    }
    rows_.push_back(relations);
    return rows_.back();
  }
  std::set<UpdateId> List(const protocol::SyncFilter& filter, mirror::Generation anchor = 0,
                          std::uint32_t version = kNewest) {
    CatalogIndexBuilder builder;
    for (const auto& row : rows_) builder.Add(row);
    const auto list = ListRevisions(builder.Finish(), filter, anchor, version);
    std::set<UpdateId> unique;
    for (std::size_t i = 0; i < list->size(); ++i) {
      EXPECT_TRUE(unique.insert(list->At(i)).second) << "listed twice";
    }
    return unique;
  }
  static protocol::SyncFilter Filter(std::vector<int> categories, std::vector<int> classifications,
                                     bool delta = false) {
    protocol::SyncFilter filter;
    for (const int c : categories) filter.categories.push_back({Id(c), delta});
    for (const int c : classifications) filter.classifications.push_back({Id(c), delta});
    return filter;
  }

  std::deque<mirror::RevisionRelations> rows_;
};

TEST_F(RevisionListTest, ConfigurationMeansCategoriesAndDetectoids) {
  protocol::SyncFilter filter;
  filter.get_config = true;
  EXPECT_EQ(List(filter),
            (std::set<UpdateId>{{Id(1), 1}, {Id(2), 1}, {Id(3), 1}, {Id(4), 1}, {Id(5), 7}}));
  EXPECT_TRUE(List(filter, 1).empty());
  Add(5, 8, UpdateType::kDetectoid, 4);
  EXPECT_EQ(List(filter, 1), (std::set<UpdateId>{{Id(5), 8}}));
}

TEST_F(RevisionListTest, AMatchNamesProductAndClassificationAndBringsItsMembers) {
  EXPECT_EQ(List(Filter({kProduct}, {kSecurity})),
            (std::set<UpdateId>{{Id(10), 200}, {Id(11), 1}}));
  EXPECT_EQ(List(Filter({kProduct, kOtherProduct}, {kSecurity, kDrivers})),
            (std::set<UpdateId>{{Id(10), 200}, {Id(11), 1}, {Id(12), 1}, {Id(13), 1}}));
  EXPECT_TRUE(List(Filter({kOtherProduct}, {kDrivers})).empty());
}

TEST_F(RevisionListTest, OneListAloneGivesNothing) {
  EXPECT_TRUE(List(Filter({kProduct}, {})).empty());
  EXPECT_TRUE(List(Filter({}, {kSecurity})).empty());
  EXPECT_TRUE(List(Filter({99}, {kSecurity})).empty());
}

TEST_F(RevisionListTest, DeltaMeansNewerThanTheAnchor) {
  EXPECT_TRUE(List(Filter({kProduct}, {kSecurity}, /*delta=*/true), 2).empty());
  EXPECT_EQ(List(Filter({kProduct}, {kSecurity}, /*delta=*/false), 2).size(), 2U)
      << "without Delta everything again";
  auto mixed = Filter({kProduct}, {kSecurity}, /*delta=*/true);
  mixed.categories[0].delta = false;
  EXPECT_EQ(List(mixed, 2).size(), 2U);
  EXPECT_EQ(List({}, 2), (std::set<UpdateId>{{Id(13), 1}})) << "an anchor alone is a delta";
}

TEST_F(RevisionListTest, DeltaIsPerId) {
  // A product that is new to the caller is given whole, another one from the anchor on.
  auto filter = Filter({kProduct, kOtherProduct}, {kSecurity}, /*delta=*/true);
  filter.categories[1].delta = false;
  EXPECT_EQ(List(filter, 2), (std::set<UpdateId>{{Id(12), 1}}));
  filter.categories.push_back({Id(kOtherProduct), true});
  EXPECT_EQ(List(filter, 2), (std::set<UpdateId>{{Id(12), 1}})) << "asked twice: the fuller one";
  // A classification that is new to the caller.
  filter = Filter({kProduct}, {kSecurity, kDrivers}, /*delta=*/true);
  EXPECT_EQ(List(filter, 2), (std::set<UpdateId>{{Id(13), 1}}));
  filter.classifications[0].delta = false;
  EXPECT_EQ(List(filter, 2), (std::set<UpdateId>{{Id(10), 200}, {Id(11), 1}, {Id(13), 1}}));
}

TEST_F(RevisionListTest, AnyClauseMayNameTheProduct) {
  // Leaves have plain clauses with several alternatives, bundles category clauses.
  auto& leaf = Add(14, 1, UpdateType::kSoftware, 3);
  leaf.prerequisites.push_back({false, {Id(5), Id(kProduct)}});
  leaf.prerequisites.push_back({false, {Id(kSecurity)}});
  EXPECT_TRUE(List(Filter({kProduct}, {kSecurity})).contains({Id(14), 1}));
  EXPECT_FALSE(List(Filter({kOtherProduct}, {kSecurity})).contains({Id(14), 1}));
}

TEST_F(RevisionListTest, MembersOfMembersComeAlongInTheRevisionThatIsNamed) {
  Add(20, 1, UpdateType::kSoftware, 1);
  Add(20, 2, UpdateType::kSoftware, 3);  // newer than what the bundle names
  auto& middle = Add(21, 1, UpdateType::kSoftware, 2);
  middle.bundled = {{{Id(20), 1}, {Id(10), 200}}};
  auto& top = Add(22, 1, UpdateType::kSoftware, 4, {kProduct, kSecurity});
  top.bundled = {{{Id(21), 1}}, {{Id(22), 1}}};  // itself: no endless walk
  EXPECT_EQ(
      List(Filter({kProduct}, {kSecurity}, /*delta=*/true), 3),
      (std::set<UpdateId>{{Id(22), 1}, {Id(21), 1}, {Id(20), 1}, {Id(10), 200}, {Id(11), 1}}));
  EXPECT_TRUE(List({}).contains({Id(20), 2})) << "without a filter everything";
}

TEST_F(RevisionListTest, AFamilyStandsForItsProducts) {
  Add(30, 1, UpdateType::kCategory, 1);
  Add(31, 1, UpdateType::kCategory, 1, {30});
  Add(32, 1, UpdateType::kCategory, 1, {31});
  Add(33, 1, UpdateType::kSoftware, 2, {32, kSecurity});
  EXPECT_EQ(List(Filter({30}, {kSecurity})), (std::set<UpdateId>{{Id(33), 1}}));
  EXPECT_TRUE(List(Filter({30}, {kSecurity}, /*delta=*/true), 2).empty());
  auto mixed = Filter({30, 32}, {kSecurity}, /*delta=*/true);
  mixed.categories[0].delta = false;
  EXPECT_EQ(List(mixed, 2), (std::set<UpdateId>{{Id(33), 1}})) << "the fuller of both";
  EXPECT_TRUE(List(Filter({32}, {kDrivers})).empty());
}

TEST_F(RevisionListTest, TheConfigurationIgnoresTheFilter) {
  auto filter = Filter({kProduct}, {});
  filter.get_config = true;
  EXPECT_EQ(List(filter).size(), 5U);
}

TEST_F(RevisionListTest, ListsTheHighestRevisionExpiredOrNot) {
  auto& next = Add(10, 201, UpdateType::kSoftware, 4, {kProduct, kSecurity});
  next.row.is_expired = true;
  EXPECT_EQ(List(Filter({kProduct}, {kSecurity})), (std::set<UpdateId>{{Id(10), 201}}));
}

TEST_F(RevisionListTest, LeavesOutWhatTheCallerCannotRead) {
  auto& modern = Add(14, 1, UpdateType::kSoftware, 2, {kProduct, kSecurity});
  modern.row.compatible_protocol_version = "1.20";
  EXPECT_TRUE(List(Filter({kProduct}, {kSecurity}), 0, 1U << 16 | 20).contains({Id(14), 1}));
  EXPECT_FALSE(List(Filter({kProduct}, {kSecurity}), 0, 1U << 16 | 8).contains({Id(14), 1}));
  // A member may need more than its bundle.
  auto& member = Add(15, 1, UpdateType::kSoftware, 2);
  member.row.compatible_protocol_version = "1.9";
  auto& bundle = Add(16, 1, UpdateType::kSoftware, 2, {kProduct, kSecurity});
  bundle.bundled = {{{Id(15), 1}}};
  const auto old = List(Filter({kProduct}, {kSecurity}), 0, 1U << 16 | 8);
  EXPECT_TRUE(old.contains({Id(16), 1}));
  EXPECT_FALSE(old.contains({Id(15), 1}));
  const auto modern_caller = List(Filter({kProduct}, {kSecurity}), 0, 1U << 16 | 10);
  EXPECT_TRUE(modern_caller.contains({Id(15), 1})) << "1.10 is newer than 1.9";
}

TEST_F(RevisionListTest, ADeltaLooksAtWhatIsNewOnly) {
  CatalogIndexBuilder builder;
  Add(40, 1, UpdateType::kSoftware, 9);  // visible later than its id says
  Add(41, 1, UpdateType::kSoftware, 4);
  for (const auto& row : rows_) builder.Add(row);
  const auto index = builder.Finish();
  std::vector<mirror::Generation> newer;
  for (const RevisionOrdinal r : index->NewerThan(2)) {
    newer.push_back(index->revisions()[r].generation);
  }
  EXPECT_EQ(newer, (std::vector<mirror::Generation>{3, 4, 9}));
  EXPECT_EQ(index->NewerThan(0).size(), rows_.size());
  EXPECT_TRUE(index->NewerThan(9).empty());
}

TEST(SyncAnchor, ReadsWhatItWrites) {
  const SyncAnchor anchor{9438, *UtcTime::ParseXml("2026-10-04T16:33:26.668Z")};
  EXPECT_EQ(anchor.ToString(), "9438,2026-10-04 16:33:26.668");
  const auto parsed = SyncAnchor::Parse(anchor.ToString());
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->generation, 9438);
  EXPECT_EQ(parsed->committed_at, anchor.committed_at);
}

TEST(SyncAnchor, RefusesOtherShapes) {
  for (const char* text :
       {"", "garbage", "1", "1,", ",2026-10-04 16:33:26.668", "-1,2026-10-04 16:33:26.668",
        "1,2026-10-04T16:33:26.668", "1,2026-13-04 16:33:26.668", "2026-10-05 17:27:44.393",
        "1,2026-10-04 16:33:26.668 "}) {
    EXPECT_FALSE(SyncAnchor::Parse(text).has_value()) << text;
  }
}

TEST(SyncAnchor, KnowsTheVendorsShape) {
  EXPECT_TRUE(IsVendorAnchor("2026-10-05 17:27:44.393"));
  for (const char* text : {"", "garbage", "2026-13-05 17:27:44.393", "2026-10-05T17:27:44.393",
                           "1,2026-10-05 17:27:44.393"}) {
    EXPECT_FALSE(IsVendorAnchor(text)) << text;
  }
}

TEST(SyncLanguages, AllIsOnWhenNoneIsChosen) {
  for (const auto& language : SyncLanguages({})) EXPECT_TRUE(language.enabled);
}

TEST(SyncLanguages, BeginsWithAllAndMarksTheSubscription) {
  const auto list = SyncLanguages({"en", "PT-br"});
  ASSERT_EQ(list.size(), 39U);
  EXPECT_EQ(list[0].short_language, "all");
  int enabled = 0;
  for (const auto& language : list) {
    if (!language.enabled) continue;
    ++enabled;
    EXPECT_TRUE(language.language_id == 1033 || language.language_id == 1046);
  }
  EXPECT_EQ(enabled, 2);
}

}  // namespace
}  // namespace gapferry::server
