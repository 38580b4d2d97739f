#include "mirror/content_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mirror/catalog.h"
#include "mirror/catalog_load.h"
#include "mirror/digest_tree.h"
#include "tests/unit/mirror/test_directory.h"
#include "tests/unit/mirror/test_documents.h"

namespace gapferry::mirror {
namespace {

class ContentStoreTest : public testing::Test {
 protected:
  ContentStoreTest() : mirror_(MakeMirror("a")) {}

  Mirror MakeMirror(const std::string& name) {
    EXPECT_TRUE(Mirror::Init(dir_.path() / name, TestConfig()));
    return std::move(*Mirror::Open(dir_.path() / name));
  }
  static ContentExpectation Expect(const std::string& content, const std::string& ext = "exe") {
    return {Sha1(content), Sha256(content), content.size(), ext};
  }
  static VerifiedContent Stage(Mirror& mirror, const std::string& content,
                               const std::string& ext = "exe") {
    const auto expected = Expect(content, ext);
    const auto path = mirror.content().StagedPath(expected).value();
    EXPECT_TRUE(WriteFileAtomically(path, AsBytes(content)));
    auto verified = ContentStore::VerifyStaged(path, expected);
    EXPECT_TRUE(verified.has_value()) << verified.error().message;
    return std::move(*verified);
  }
  static void Publish(Mirror& mirror, const std::vector<std::string>& contents) {
    std::vector<VerifiedContent> batch;
    for (const auto& content : contents) batch.push_back(Stage(mirror, content));
    const auto done = mirror.content().Publish(std::move(batch));
    ASSERT_TRUE(done.has_value()) << done.error().message;
  }

  TemporaryDirectory dir_;
  Mirror mirror_;
};

TEST_F(ContentStoreTest, LaysFilesOutAsWsusDoes) {
  const auto sha1 = Sha1Digest::FromHex("00112233445566778899aabbccddeeff0011220f").value();
  EXPECT_EQ(ContentPath(sha1, "cab"), "0F/00112233445566778899AABBCCDDEEFF0011220F.cab");
}

TEST_F(ContentStoreTest, PublishesVerifiedFiles) {
  Publish(mirror_, {"one", "two"});
  auto& store = mirror_.content();
  EXPECT_TRUE(store.Holds(Sha1("one")));
  auto file = store.Open(Sha1("two"));
  ASSERT_TRUE(file.has_value());
  EXPECT_EQ(file->Size().value(), 3U);
  EXPECT_EQ(store.Count()->files, 2U);
  EXPECT_EQ(store.Count()->bytes, 6U);
  EXPECT_EQ(store.Sequence().value(), 1);
  EXPECT_THAT(ListDirectory(mirror_.path() / "staging" / "content").value(), testing::IsEmpty());
  EXPECT_EQ(store.Open(Sha1("three")).error().code, ErrorCode::kNotFound);
}

TEST_F(ContentStoreTest, WrongBytesAreRefusedAndRemoved) {
  const auto expected = Expect("good");
  const auto path = mirror_.content().StagedPath(expected).value();
  ASSERT_TRUE(WriteFileAtomically(path, AsBytes("evil")));
  const auto refused = ContentStore::VerifyStaged(path, expected);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(refused.error().message,
            "content " + Sha1("good").ToHex() + ": digest mismatch: expected sha1:" +
                Sha1("good").ToHex() + ", got sha1:" + Sha1("evil").ToHex());
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(ContentStoreTest, SizeAndSha256AreCheckedToo) {
  auto expected = Expect("good");
  expected.size_bytes = 5;
  const auto path = mirror_.content().StagedPath(expected).value();
  ASSERT_TRUE(WriteFileAtomically(path, AsBytes("good")));
  EXPECT_FALSE(ContentStore::VerifyStaged(path, expected));
  expected = Expect("good");
  expected.sha256 = Sha256("other");
  ASSERT_TRUE(WriteFileAtomically(path, AsBytes("good")));
  EXPECT_FALSE(ContentStore::VerifyStaged(path, expected));
}

TEST_F(ContentStoreTest, ExtensionsThatCouldLeaveTheFolderAreRefused) {
  for (const char* ext : {"", "a/b", "..", "exe ", "abcdefghijklmnopq", "é"}) {
    EXPECT_FALSE(mirror_.content().StagedPath(Expect("x", ext))) << ext;
  }
}

TEST_F(ContentStoreTest, DigestIsThatOfWhatIsHeldWhateverTheOrder) {
  Mirror other = MakeMirror("b");
  const auto empty = mirror_.content().Digest().value();
  EXPECT_EQ(empty, EmptyTreeRoot());
  Publish(mirror_, {"one", "two", "three"});
  Publish(other, {"three"});
  EXPECT_NE(mirror_.content().Digest().value(), other.content().Digest().value());
  Publish(other, {"two", "one"});
  EXPECT_EQ(mirror_.content().Digest().value(), other.content().Digest().value());
  for (const char* text : {"one", "two", "three"}) ASSERT_TRUE(other.content().Drop(Sha1(text)));
  EXPECT_EQ(other.content().Digest().value(), empty);
}

TEST_F(ContentStoreTest, TheSameFileTwiceIsKeptOnce) {
  Publish(mirror_, {"one"});
  std::vector<VerifiedContent> batch;
  batch.push_back(Stage(mirror_, "one", "cab"));
  ASSERT_TRUE(mirror_.content().Publish(std::move(batch)));
  EXPECT_EQ(mirror_.content().Count()->files, 1U);
  EXPECT_EQ(mirror_.content().Find(Sha1("one")).value()->extension, "exe");
}

TEST_F(ContentStoreTest, RecoverTakesOverRenamedFilesAndDropsMissingOnes) {
  Publish(mirror_, {"one", "gone"});
  auto& store = mirror_.content();
  // A crash after the rename, before the row.
  const auto stranded = mirror_.path() / "content" / ContentPath(Sha1("stranded"), "msu");
  ASSERT_TRUE(CreateDirectories(stranded.parent_path()));
  ASSERT_TRUE(WriteFileAtomically(stranded, AsBytes("stranded")));
  const auto liar = mirror_.path() / "content" / ContentPath(Sha1("what it says"), "exe");
  ASSERT_TRUE(CreateDirectories(liar.parent_path()));
  ASSERT_TRUE(WriteFileAtomically(liar, AsBytes("something else")));
  ASSERT_TRUE(RemoveFile(store.PathOf(*store.Find(Sha1("gone")).value())));
  const auto dropped = store.Recover();
  ASSERT_TRUE(dropped.has_value()) << dropped.error().message;
  ASSERT_EQ(dropped->size(), 1U);
  EXPECT_EQ((*dropped)[0].sha1, Sha1("gone"));
  EXPECT_TRUE(store.Holds(Sha1("stranded")));
  EXPECT_FALSE(store.Holds(Sha1("what it says")));
  EXPECT_FALSE(std::filesystem::exists(liar));
  EXPECT_THAT(store.Wanted().value(), testing::ElementsAre(Sha1("gone")));
}

TEST_F(ContentStoreTest, CheckFindsDamage) {
  Publish(mirror_, {"one", "two", "three"});
  auto& store = mirror_.content();
  ASSERT_TRUE(WriteFileAtomically(store.PathOf(*store.Find(Sha1("two")).value()), AsBytes("TWO")));
  ASSERT_TRUE(RemoveFile(store.PathOf(*store.Find(Sha1("one")).value())));
  const auto shallow = store.Check(/*deep=*/false, NoProgress(), {}).value();
  ASSERT_EQ(shallow.size(), 1U);
  EXPECT_EQ(shallow[0].what, "missing");
  EXPECT_EQ(store.Check(/*deep=*/true, NoProgress(), {})->size(), 2U);
}

TEST_F(ContentStoreTest, AHeldFileMarksWhatDeclaresAnother) {
  TestDocument liar;
  liar.id = {TestGuid(7, 7), 1};
  liar.files = {{"one", "x.exe", 9999}};
  const auto lock = JobLock::Acquire(mirror_.path(), "sync");
  auto load = CatalogLoad::Open(mirror_, *lock, "sync");
  ASSERT_TRUE(load->Add(liar.Incoming()));
  ASSERT_TRUE(load->Prepare());
  ASSERT_TRUE(load->BeginCommit("sync")->Finish());
  EXPECT_FALSE(mirror_.catalog().Find(liar.id).value()->has_digest_conflict);
  Publish(mirror_, {"one"});
  EXPECT_TRUE(mirror_.catalog().Find(liar.id).value()->has_digest_conflict);
}

TEST_F(ContentStoreTest, TheFileDecidesBetweenContradictingDeclarations) {
  TestDocument liar, honest, twice;
  liar.id = {TestGuid(7, 1), 1};
  liar.files = {{"one", "x.exe", 9999}};
  honest.id = {TestGuid(7, 2), 1};
  honest.files = {{"one", "x.exe"}, {"two", "y.exe"}};
  twice.id = {TestGuid(7, 3), 1};  // right about one, wrong about another
  twice.files = {{"one", "x.exe"}, {"three", "z.exe", 7}};
  Publish(mirror_, {"three"});
  const auto lock = JobLock::Acquire(mirror_.path(), "sync");
  auto load = CatalogLoad::Open(mirror_, *lock, "sync");
  for (const auto* document : {&liar, &honest, &twice}) {
    ASSERT_TRUE(load->Add(document->Incoming()));
  }
  ASSERT_TRUE(load->Prepare());
  ASSERT_TRUE(load->BeginCommit("sync")->Finish());
  const auto conflicts = [&](const TestDocument& document) {
    return mirror_.catalog().Find(document.id).value()->has_digest_conflict;
  };
  EXPECT_FALSE(conflicts(liar));  // it came first
  EXPECT_TRUE(conflicts(honest));
  EXPECT_TRUE(conflicts(twice));
  const auto declared = mirror_.content().Declared(Sha1("one")).value();
  ASSERT_EQ(declared.size(), 2U);
  EXPECT_EQ(declared[0].size_bytes, 9999U);
  Publish(mirror_, {"one"});
  EXPECT_TRUE(conflicts(liar));
  EXPECT_FALSE(conflicts(honest));
  EXPECT_TRUE(conflicts(twice));
}

TEST_F(ContentStoreTest, WantedFilesAreForgottenWhenTheyCome) {
  ASSERT_TRUE(mirror_.content().AddWanted({Sha1("one"), Sha1("two")}));
  Publish(mirror_, {"one"});
  EXPECT_THAT(mirror_.content().Wanted().value(), testing::ElementsAre(Sha1("two")));
  ASSERT_TRUE(mirror_.content().AddWanted({Sha1("one")}));  // held: nothing to want
  EXPECT_EQ(mirror_.content().Wanted()->size(), 1U);
  ASSERT_TRUE(mirror_.content().ForgetWanted({Sha1("two")}));
  EXPECT_THAT(mirror_.content().Wanted().value(), testing::IsEmpty());
}

}  // namespace
}  // namespace gapferry::mirror
