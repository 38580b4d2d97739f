#include "mirror/content_adopt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/text.h"
#include "mirror/catalog.h"
#include "mirror/catalog_load.h"
#include "mirror/content_store.h"
#include "mirror/job_lock.h"
#include "tests/unit/mirror/test_directory.h"
#include "tests/unit/mirror/test_documents.h"

namespace gapferry::mirror {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

// A mirror whose catalogue declares "one", "two" and "three", and an old WsusContent folder.
class ContentAdoptTest : public testing::Test {
 protected:
  ContentAdoptTest() {
    EXPECT_TRUE(Mirror::Init(dir_.path() / "m", TestConfig()));
    mirror_.emplace(std::move(*Mirror::Open(dir_.path() / "m")));
    Declare(1, {{"one", "a.exe"}, {"two", "b.cab"}, {"three", "c.msu"}});
    EXPECT_TRUE(CreateDirectories(old_));
  }

  void Declare(std::uint8_t number, std::vector<TestFile> files) {
    TestDocument document;
    document.id = {TestGuid(7, number), 1};
    document.files = std::move(files);
    const auto lock = JobLock::Acquire(mirror_->path(), "sync");
    auto load = CatalogLoad::Open(*mirror_, *lock, "sync");
    ASSERT_TRUE(load->Add(document.Incoming()));
    ASSERT_TRUE(load->Prepare());
    ASSERT_TRUE(load->BeginCommit("sync")->Finish());
  }
  fs::path Put(const std::string& path, const std::string& content) {
    const fs::path file = old_ / path;
    EXPECT_TRUE(CreateDirectories(file.parent_path()));
    EXPECT_TRUE(WriteFileAtomically(file, AsBytes(content)));
    return file;
  }
  fs::path PutContent(const std::string& content, const std::string& extension = "exe") {
    return Put(ContentPath(Sha1(content), extension), content);
  }
  AdoptReport Adopt(const AdoptOptions& options = {}) { return Adopt(old_, options); }
  AdoptReport Adopt(const fs::path& from, const AdoptOptions& options = {}) {
    auto report = AdoptContent(*mirror_, from, options, NoProgress(), {});
    EXPECT_TRUE(report.has_value()) << report.error().message;
    return report ? std::move(*report) : AdoptReport();
  }
  static std::vector<std::string> Left(const AdoptReport& report) {
    std::vector<std::string> lines;
    for (const auto& one : report.left) {
      lines.push_back(std::string(AdoptLeftName(one.why)) + " " + one.path);
    }
    return lines;
  }
  std::string Held(const std::string& content) {
    auto file = mirror_->content().Open(Sha1(content));
    if (!file) return "not held";
    Bytes bytes(100);
    const auto size = file->Read(bytes);
    return std::string(AsText(ByteView(bytes).first(size.value())));
  }

  TemporaryDirectory dir_;
  const fs::path old_ = dir_.path() / "old" / "WsusContent";
  std::optional<Mirror> mirror_;
};

TEST_F(ContentAdoptTest, TakesDeclaredFilesAndLeavesThemThere) {
  const auto one = PutContent("one");
  PutContent("two", "CAB");  // the extension that is declared counts
  const AdoptReport report = Adopt();
  EXPECT_EQ(report.taken_files, 2U);
  EXPECT_EQ(report.taken_bytes, 6U);
  EXPECT_TRUE(report.complete());
  EXPECT_THAT(report.left, IsEmpty());
  EXPECT_EQ(Held("one"), "one");
  EXPECT_EQ(mirror_->content().Find(Sha1("two")).value()->extension, "cab");
  EXPECT_TRUE(fs::exists(one));
  EXPECT_FALSE(fs::exists(mirror_->staging() / "adopt"));
  EXPECT_THAT(mirror_->content().Check(/*deep=*/true, NoProgress(), {}).value(), IsEmpty());
  const AdoptReport again = Adopt();
  EXPECT_EQ(again.taken_files, 0U);
  EXPECT_EQ(again.held_files, 2U);
}

TEST_F(ContentAdoptTest, FindsTheFolderFromTheOneItLiesInAndInAnyCase) {
  const std::string path = ContentPath(Sha1("one"), "exe");
  Put(ToLowerAscii(path), "one");
  EXPECT_EQ(Adopt(old_.parent_path()).taken_files, 1U);
  fs::rename(old_, old_.parent_path() / "wsuscontent");
  EXPECT_EQ(Adopt(old_.parent_path()).held_files, 1U);
  const auto none = AdoptContent(*mirror_, dir_.path(), {}, NoProgress(), {});
  ASSERT_FALSE(none.has_value());
  EXPECT_EQ(none.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(none.error().message,
            "'" + dir_.path().string() + "' holds neither folders 00 to FF nor WsusContent");
  EXPECT_EQ(AdoptContent(*mirror_, "/does/not/exist", {}, NoProgress(), {}).error().reason,
            "no-folder");
}

TEST_F(ContentAdoptTest, LeavesDamagedFilesAndSaysWhatIsWrong) {
  Put(ContentPath(Sha1("one"), "exe"), "onE");
  Put(ContentPath(Sha1("two"), "cab"), "two!");
  PutContent("three", "msu");
  const AdoptReport report = Adopt();
  EXPECT_EQ(report.taken_files, 1U);
  EXPECT_EQ(report.damaged_files, 2U);
  EXPECT_FALSE(report.complete());
  ASSERT_EQ(report.left.size(), 2U);
  std::vector<std::string> what{report.left[0].what, report.left[1].what};
  EXPECT_THAT(what, UnorderedElementsAre("digest mismatch: expected sha1:" + Sha1("one").ToHex() +
                                             ", got sha1:" + Sha1("onE").ToHex(),
                                         "size mismatch: expected 3, got 4"));
  EXPECT_FALSE(mirror_->content().Holds(Sha1("one")));
  EXPECT_EQ(mirror_->content().Count()->files, 1U);
}

TEST_F(ContentAdoptTest, LeavesWhatNobodyDeclaresUnlessAsked) {
  PutContent("unknown", "psf");
  Put(ContentPath(Sha1("also unknown"), "cab"), "damaged");
  const AdoptReport report = Adopt();
  EXPECT_EQ(report.undeclared_files, 2U);
  EXPECT_EQ(report.taken_files, 0U);
  EXPECT_TRUE(report.complete());
  AdoptOptions all;
  all.all = true;
  const AdoptReport taken = Adopt(all);
  EXPECT_EQ(taken.taken_files, 1U);
  EXPECT_EQ(taken.damaged_files, 1U);
  EXPECT_EQ(Held("unknown"), "unknown");
}

TEST_F(ContentAdoptTest, FollowsNoLinkAndOpensNoDevice) {
  const std::string outside = (dir_.path() / "outside").string();
  ASSERT_TRUE(WriteFileAtomically(outside, AsBytes("one")));
  const std::string one = ContentPath(Sha1("one"), "exe");
  ASSERT_TRUE(CreateDirectories((old_ / one).parent_path()));
  fs::create_symlink(outside, old_ / one);
  const std::string two = ContentPath(Sha1("two"), "cab");
  ASSERT_TRUE(CreateDirectories((old_ / two).parent_path()));
  ASSERT_EQ(::mkfifo((old_ / two).c_str(), 0644), 0);
  const std::string three = ContentPath(Sha1("three"), "msu");
  ASSERT_TRUE(CreateDirectories(dir_.path() / "elsewhere"));
  ASSERT_TRUE(WriteFileAtomically(dir_.path() / "elsewhere" / three.substr(3), AsBytes("three")));
  fs::create_directory_symlink(dir_.path() / "elsewhere", old_ / three.substr(0, 2));
  const AdoptReport report = Adopt();
  EXPECT_EQ(report.taken_files, 0U);
  EXPECT_THAT(Left(report),
              UnorderedElementsAre("link " + one, "no-file " + two, "link " + three.substr(0, 2)));
}

TEST_F(ContentAdoptTest, LeavesNamesThatAreNone) {
  const std::string one = ContentPath(Sha1("one"), "exe");
  Put("anonymousCheckFile.txt", "");
  Put("AB/readme.txt", "x");
  Put("AB/" + one.substr(3), "one");                   // another folder's
  Put(one + ".exe", "one");                            // two extensions
  Put(one.substr(0, one.size() - 4), "one");           // none
  Put("deeper/" + one, "one");                         // one level too deep
  Put(one.substr(0, 2) + "/" + one.substr(4), "one");  // 39 digits
  const AdoptReport report = Adopt();
  EXPECT_EQ(report.taken_files, 0U);
  EXPECT_EQ(report.foreign_files, 7U);
  EXPECT_TRUE(report.complete());
}

TEST_F(ContentAdoptTest, ADryRunReadsAndCountsOnly) {
  PutContent("one");
  Put(ContentPath(Sha1("two"), "cab"), "tw0");
  AdoptOptions options;
  options.dry_run = true;
  options.mode = AdoptMode::kMove;
  const AdoptReport report = Adopt(options);
  EXPECT_EQ(report.taken_files, 1U);
  EXPECT_EQ(report.damaged_files, 1U);
  EXPECT_FALSE(mirror_->content().Holds(Sha1("one")));
  EXPECT_TRUE(fs::exists(old_ / ContentPath(Sha1("one"), "exe")));
  EXPECT_FALSE(fs::exists(mirror_->staging() / "adopt"));
}

TEST_F(ContentAdoptTest, MovingTakesAwayOnlyWhatIsInTheStore) {
  const auto one = PutContent("one");
  const auto bad = Put(ContentPath(Sha1("two"), "cab"), "tw0");
  const auto unknown = PutContent("unknown");
  AdoptOptions options;
  options.mode = AdoptMode::kMove;
  EXPECT_EQ(Adopt(options).taken_files, 1U);
  EXPECT_FALSE(fs::exists(one));
  EXPECT_TRUE(fs::exists(bad));
  EXPECT_TRUE(fs::exists(unknown));
  EXPECT_EQ(Held("one"), "one");
  const auto kept = PutContent("one");  // held already: not ours to delete
  EXPECT_EQ(Adopt(options).held_files, 1U);
  EXPECT_TRUE(fs::exists(kept));
}

TEST_F(ContentAdoptTest, LinkingUsesNoSpace) {
  const auto one = PutContent("one");
  AdoptOptions options;
  options.mode = AdoptMode::kLink;
  EXPECT_EQ(Adopt(options).taken_files, 1U);
  EXPECT_TRUE(fs::exists(one));
  EXPECT_EQ(Held("one"), "one");
  // A damaged file that was linked for hashing is unlinked, not removed or emptied.
  const auto bad = Put(ContentPath(Sha1("two"), "cab"), "tw0");
  EXPECT_EQ(Adopt(options).damaged_files, 1U);
  EXPECT_EQ(ReadTextFile(bad, 10).value(), "tw0");
}

TEST_F(ContentAdoptTest, TheSameFileTwiceIsTakenOnce) {
  const std::string path = ContentPath(Sha1("one"), "exe");
  Put(path, "one");
  Put(path.substr(0, 3) + ToLowerAscii(path.substr(3)), "one");
  const AdoptReport report = Adopt();
  EXPECT_EQ(report.taken_files, 1U);
  EXPECT_EQ(report.held_files, 1U);
}

TEST_F(ContentAdoptTest, OfContradictingDeclarationsTheOneThatFitsIsTaken) {
  Declare(2, {{"one", "liar.exe", 9999}});
  PutContent("one");
  EXPECT_EQ(Adopt().taken_files, 1U);
  EXPECT_EQ(mirror_->content().Find(Sha1("one")).value()->size_bytes, 3U);
  EXPECT_TRUE(mirror_->catalog().Find({TestGuid(7, 2), 1}).value()->has_digest_conflict);
  EXPECT_FALSE(mirror_->catalog().Find({TestGuid(7, 1), 1}).value()->has_digest_conflict);
}

TEST_F(ContentAdoptTest, RefusesTheMirrorsOwnFolders) {
  PutContent("one");
  ASSERT_EQ(Adopt().taken_files, 1U);
  AdoptOptions options;
  options.mode = AdoptMode::kMove;
  for (const char* own : {"m/content", "m/../m/content"}) {
    const auto refused = AdoptContent(*mirror_, dir_.path() / own, options, NoProgress(), {});
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, ErrorCode::kUsage);
    EXPECT_EQ(refused.error().reason, "own-folder");
  }
  fs::create_directory_symlink(mirror_->path() / "content", dir_.path() / "alias");
  EXPECT_FALSE(AdoptContent(*mirror_, dir_.path() / "alias", options, NoProgress(), {}));
  EXPECT_EQ(Held("one"), "one");
}

TEST_F(ContentAdoptTest, StopsAndGoesOn) {
  PutContent("one");
  std::stop_source stop;
  stop.request_stop();
  const auto stopped = AdoptContent(*mirror_, old_, {}, NoProgress(), stop.get_token());
  ASSERT_FALSE(stopped.has_value());
  EXPECT_EQ(stopped.error().code, ErrorCode::kCancelled);
  // What a killed run left in staging is not mistaken for content.
  ASSERT_TRUE(CreateDirectories(mirror_->staging() / "adopt"));
  ASSERT_TRUE(WriteFileAtomically(
      mirror_->staging() / "adopt" / ContentPath(Sha1("one"), "exe").substr(3), AsBytes("on")));
  EXPECT_EQ(Adopt().taken_files, 1U);
  EXPECT_EQ(Held("one"), "one");
}

}  // namespace
}  // namespace gapferry::mirror
