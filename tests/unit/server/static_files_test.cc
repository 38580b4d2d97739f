#include "server/static_files.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace gapferry::server {
namespace {
namespace fs = std::filesystem;

class StaticFilesTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "gapferry-static-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
    fs::create_directories(root_ / "tree" / "WSUS3" / "x64");
    Write(root_ / "secret.txt", "secret");
    Write(root_ / "tree" / "wuident.cab", "ident");
    Write(root_ / "tree" / "WSUS3" / "x64" / "Setup.exe", "0123456789");
    fs::create_symlink(root_ / "secret.txt", root_ / "tree" / "link.txt");
    fs::create_directory_symlink(root_, root_ / "tree" / "up");
  }
  void TearDown() override { fs::remove_all(root_); }
  static void Write(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }

  static Reply Ask(const StaticFiles& files, const std::string& path, const std::string& range = "",
                   const std::string& method = "GET") {
    Request request;
    request.method = method;
    if (!range.empty()) request.headers.emplace_back("Range", range);
    return files.Serve(request, path);
  }
  fs::path root_;
};

TEST_F(StaticFilesTest, FindsFilesWithoutCaseAndGivesRanges) {
  const auto files = StaticFiles::Index(root_ / "tree");
  ASSERT_TRUE(files.has_value()) << files.error().message;
  EXPECT_EQ(files->size(), 2U);
  EXPECT_EQ(Ask(*files, "WUIDENT.cab").status, 200);
  const Reply part = Ask(*files, "wsus3/X64/setup.EXE", "bytes=2-4");
  EXPECT_EQ(part.status, 206);
  EXPECT_EQ(part.BodySize(), 3U);
  EXPECT_EQ(*FindHeader(part.headers, "Content-Range"), "bytes 2-4/10");
  EXPECT_EQ(Ask(*files, "wsus3/x64/setup.exe", "", "HEAD").status, 200);
  EXPECT_EQ(Ask(*files, "wsus3/x64/setup.exe", "", "POST").status, 405);
}

TEST_F(StaticFilesTest, NothingOutsideOfTheFolderCanBeNamed) {
  const auto files = StaticFiles::Index(root_ / "tree");
  ASSERT_TRUE(files.has_value()) << files.error().message;
  for (const char* path :
       {"../secret.txt", "WSUS3/../../secret.txt", "link.txt", "up/secret.txt", "/etc/passwd",
        "WSUS3", "WSUS3/", ".", "", "wuident.cab/", "./wuident.cab", "WSUS3//x64/Setup.exe"}) {
    EXPECT_EQ(Ask(*files, path).status, 404) << path;
  }
}

TEST_F(StaticFilesTest, AFileThatWentAwayIsNotFoundAndAReplacedOneHasAnotherTag) {
  const auto files = StaticFiles::Index(root_ / "tree");
  ASSERT_TRUE(files.has_value()) << files.error().message;
  const Reply before = Ask(*files, "wuident.cab");
  Write(root_ / "tree" / "wuident.cab", "another");
  const Reply after = Ask(*files, "wuident.cab");
  EXPECT_EQ(after.BodySize(), 7U);
  EXPECT_NE(*FindHeader(before.headers, "ETag"), *FindHeader(after.headers, "ETag"));
  fs::remove(root_ / "tree" / "wuident.cab");
  EXPECT_EQ(Ask(*files, "wuident.cab").status, 404);
}

TEST_F(StaticFilesTest, NamesAFolderThatIsNotThere) {
  const auto files = StaticFiles::Index(root_ / "nowhere");
  ASSERT_FALSE(files.has_value());
  EXPECT_EQ(files.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(files.error().message,
            "folder '" + (root_ / "nowhere").string() + "': No such file or directory");
}

TEST_F(StaticFilesTest, WithoutAFolderThereIsNothing) {
  EXPECT_EQ(Ask(StaticFiles(), "wuident.cab").status, 404);
}

}  // namespace
}  // namespace gapferry::server
