#include "cli/admin_support.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/unit/mirror/test_directory.h"

namespace gapferry::cli {
namespace {

using testing::HasSubstr;

constexpr const char* kUnknown = "2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10";

Context MakeContext(std::optional<std::string> mirror = {}) {
  return Context({}, {.mirror = std::move(mirror), .quiet = true}, {});
}

class AdminSupport : public testing::Test {
 protected:
  mirror::Mirror Make(bool replica = false) {
    mirror::Config config;
    config.name = "plant";
    config.upstream.gap = replica;
    config.replica = replica;
    EXPECT_TRUE(mirror::Mirror::Init(path_, config).has_value());
    return mirror::Mirror::Open(path_).value();
  }
  mirror::TemporaryDirectory directory_;
  std::filesystem::path path_ = directory_.path() / "m";
};

TEST(Words, AreQuotedForTheShellWhereNeeded) {
  EXPECT_EQ(ShellWord("Workstations"), "Workstations");
  EXPECT_EQ(ShellWord("/srv/gapferry-1"), "/srv/gapferry-1");
  EXPECT_EQ(ShellWord("All Computers"), "'All Computers'");
  EXPECT_EQ(ShellWord("it's"), "'it'\\''s'");
  EXPECT_EQ(ShellWord("$(reboot)"), "'$(reboot)'");
  EXPECT_EQ(ShellWord(""), "''");
}

TEST(Words, AreCutByCodePoints) {
  EXPECT_EQ(Cut("short", 5), "short");
  EXPECT_EQ(Cut("longer", 5), "long…");
  EXPECT_EQ(Cut("äöüäöü", 6), "äöüäöü");
  EXPECT_EQ(Cut("äöüäöü", 4), "äöü…");
}

TEST(Words, AreWrappedAtBlanks) {
  EXPECT_EQ(Wrap("one two  three", 7, "> "), "> one two\n> three\n");
  EXPECT_EQ(Wrap("unbreakable", 4, ""), "unbreakable\n");
  EXPECT_EQ(Wrap("", 4, ""), "");
}

TEST(Words, CountInWords) {
  EXPECT_EQ(Plural(1, "file"), "1 file");
  EXPECT_EQ(Plural(0, "file"), "0 files");
  EXPECT_EQ(Plural(2, "update is", "updates are"), "2 updates are");
}

TEST(Words, SayMinutes) {
  EXPECT_EQ(Minute(UtcTime::ParseXml("2026-11-22T09:18:59Z").value()), "2026-11-22 09:18");
  EXPECT_EQ(Minute(kNever), "never");
}

TEST(NextCommand, NamesTheMirrorAsItWasNamed) {
  EXPECT_EQ(NextCommand(MakeContext(), "sync"), "gapferry sync");
  EXPECT_EQ(NextCommand(MakeContext("/srv/my mirror"), "sync"),
            "gapferry sync --mirror '/srv/my mirror'");
}

struct BadId {
  std::string_view id;
  ErrorCode code;
  std::string_view message;
  std::string_view next;
};

TEST_F(AdminSupport, RefusesWhatIsNoUpdateWithTheSearchThatFindsOne) {
  auto mirror = Make();
  const BadId cases[] = {
      {"KB5001234", ErrorCode::kUsage,
       "'KB5001234' is no update id: an id is a GUID or GUID/REVISION",
       "gapferry update list KB5001234"},
      {"cumulative update", ErrorCode::kUsage,
       "'cumulative update' is no update id: an id is a GUID or GUID/REVISION",
       "gapferry update list 'cumulative update'"},
      {"", ErrorCode::kUsage, "'' is no update id: an id is a GUID or GUID/REVISION",
       "gapferry update list ''"},
      {"2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10/", ErrorCode::kUsage,
       "'2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10/' is no update id: an id is a GUID or "
       "GUID/REVISION",
       "gapferry update list TEXT"},
      {"2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10/-1", ErrorCode::kUsage,
       "'2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10/-1' is no update id: an id is a GUID or "
       "GUID/REVISION",
       "gapferry update list TEXT"},
      {"2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10/99999999999", ErrorCode::kUsage,
       "'2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10/99999999999' is no update id: an id is a GUID or "
       "GUID/REVISION",
       "gapferry update list TEXT"},
      {kUnknown, ErrorCode::kNotFound,
       "update 2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10 is not in the catalogue",
       "gapferry update list TEXT"},
      {"{2C5F0B0E-6D6A-4C0E-9A47-1A6E6A1B7F10}/200", ErrorCode::kNotFound,
       "update 2c5f0b0e-6d6a-4c0e-9a47-1a6e6a1b7f10/200 is not in the catalogue",
       "gapferry update list TEXT"},
  };
  for (const BadId& bad : cases) {
    const auto found = FindUpdate(MakeContext(), mirror, bad.id);
    ASSERT_FALSE(found.has_value()) << bad.id;
    EXPECT_EQ(found.error().code, bad.code) << bad.id;
    EXPECT_EQ(found.error().message, bad.message);
    EXPECT_EQ(found.error().next, bad.next);
  }
}

TEST_F(AdminSupport, FindsBuiltInGroupsByNameAndGuid) {
  auto mirror = Make();
  for (const std::string_view name :
       {"All Computers", "all computers", "a0a08746-4dbe-4a37-9adf-9e7652c0b421",
        "{A0A08746-4DBE-4A37-9ADF-9E7652C0B421}"}) {
    const auto group = FindGroup(MakeContext(), mirror, name);
    ASSERT_TRUE(group.has_value()) << name;
    EXPECT_EQ(group->id, mirror::kAllComputers);
  }
}

TEST_F(AdminSupport, NamesTheGroupsThereAreAndHowToAddTheMissingOne) {
  auto mirror = Make();
  const auto group = FindGroup(MakeContext(), mirror, "My PCs");
  ASSERT_FALSE(group.has_value());
  EXPECT_EQ(group.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(group.error().message,
            "group 'My PCs' does not exist; the groups are 'All Computers', 'Unassigned "
            "Computers'");
  EXPECT_EQ(group.error().next, "gapferry group add 'My PCs'");
}

TEST_F(AdminSupport, SendsAdministratorsOfAReplicaUpstream) {
  const auto mirror = Make(/*replica=*/true);
  const auto refused = RefuseOnReplica(mirror, "update decline X");
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kUsage);
  EXPECT_EQ(refused.error().reason, "replica");
  EXPECT_THAT(refused.error().message, HasSubstr("'plant' is a replica"));
  EXPECT_THAT(refused.error().next, HasSubstr("on the connected side: gapferry update decline X"));
  EXPECT_THAT(refused.error().next, HasSubstr("'replica: false' in " + path_.string()));
}

TEST_F(AdminSupport, DoesNotKnowComputersThatNeverCame) {
  auto mirror = Make();
  const auto computer = FindComputer(MakeContext(), mirror, "pc1");
  ASSERT_FALSE(computer.has_value());
  EXPECT_EQ(computer.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(computer.error().message, "computer 'pc1' is not known");
  EXPECT_EQ(computer.error().next, "gapferry computer list");
}

}  // namespace
}  // namespace gapferry::cli
