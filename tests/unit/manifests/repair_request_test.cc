#include "manifests/repair_request.h"

#include <gmock/gmock.h>

#include "base/file.h"
#include "manifests/block_hasher.h"
#include "manifests/repair_file.h"
#include "manifests/repair_folder.h"

namespace gapferry::manifests {
namespace {

using ::testing::HasSubstr;

RepairRequest Sample() {
  RepairRequest request;
  request.stream = "plant";
  request.sequence = 7;
  request.manifest = Sha256("manifest");
  request.files = {{"README.txt", Sha256("readme")}, {"index.jsonl.zst", Sha256("index")}};
  request.runs = {{1, 10, 2, Bytes(16, 0xAB)}, {1, 12, 1, {}}, {3, 0, 1, Bytes(8, 1)}};
  return request;
}

TEST(RepairRequest, IsReadAsItWasWritten) {
  const auto read = DecodeRepairRequest(EncodeRepairRequest(Sample()));
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(*read, Sample());
  EXPECT_EQ(read->blocks(), 4u);
}

TEST(RepairRequest, RefusesWhatItWouldNotHaveWritten) {
  const std::string good = EncodeRepairRequest(Sample());
  const struct {
    const char* from;
    const char* to;
    const char* says;
  } cases[] = {
      {"\"lines\":5", "\"lines\":6", "another number of lines"},
      {"\"sequence\":7", "\"sequence\":0", "line 1"},
      {"\"stream\":\"plant\"", "\"stream\":\"../x\"", "line 1"},
      {"gapferry-repair/1", "gapferry-return/1", "line 1"},
      {"\"README.txt\"", "\"../etc/passwd\"", "no name of a small file"},
      {"\"README.txt\"", "\"zzz\"", "not sorted"},
      {"\"count\":2", "\"count\":0", "line 4"},
      {"\"count\":2", "\"count\":1025", "line 4"},
      {"\"count\":2", "\"count\":3", "does not fit its blocks"},
      {"\"block\":12", "\"block\":11", "overlapping"},
      {"\"volume\":3", "\"volume\":0", "line 6"},
      {"\"volume\":3", "\"volume\":4097", "line 6"},
      {"\"record\":\"file\"", "\"record\":\"link\"", "line 2"},
      {"abab", "ABAB", "line 4"},
      {"{\"block\":10", "{ \"block\":10", "line 4"},
  };
  for (const auto& one : cases) {
    std::string bad = good;
    const std::size_t at = bad.find(one.from);
    ASSERT_NE(at, std::string::npos) << one.from;
    bad.replace(at, std::string_view(one.from).size(), one.to);
    const auto read = DecodeRepairRequest(bad);
    ASSERT_FALSE(read.has_value()) << one.to;
    EXPECT_EQ(read.error().reason, "repair-malformed") << one.to;
    EXPECT_THAT(read.error().message, HasSubstr(one.says)) << one.to;
  }
  EXPECT_FALSE(DecodeRepairRequest("").has_value());
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(DecodeRepairRequest(std::string_view(good).substr(0, size)).has_value()) << size;
  }
  std::string newer = good;
  newer.replace(newer.find("repair/1"), 8, "repair/2");
  EXPECT_EQ(DecodeRepairRequest(newer).error().code, ErrorCode::kUnsupported);
}

TEST(RepairRequest, BlocksBecomeRunsWithTheirDigests) {
  Bytes digests;
  for (std::uint8_t block = 0; block < 20; ++block) digests.insert(digests.end(), 8, block);
  std::vector<BlockRun> runs;
  AppendRuns(runs, 2, {3, 4, 9}, digests);
  ASSERT_EQ(runs.size(), 2u);
  Bytes first(8, 3);
  first.insert(first.end(), 8, 4);
  EXPECT_EQ(runs[0], (BlockRun{2, 3, 2, first}));
  EXPECT_EQ(runs[1], (BlockRun{2, 9, 1, Bytes(8, 9)}));
  runs.clear();
  std::vector<std::uint64_t> many(kMaxRepairRun + 1);
  for (std::size_t i = 0; i < many.size(); ++i) many[i] = i;
  AppendRuns(runs, 1, many, {});
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(runs[1], (BlockRun{1, kMaxRepairRun, 1, {}}));
}

class RepairFolderTest : public ::testing::Test {
 protected:
  RepairFolderTest() : folder_(fs::path(::testing::TempDir()) / "repair-folder-test") {
    EXPECT_TRUE(RemoveTree(folder_).has_value());
    EXPECT_TRUE(CreateDirectories(folder_ / kRepairFilesName).has_value());
    RepairRequest list = Sample();
    Write(kRepairListName, EncodeRepairRequest(list));
    std::string blocks;
    for (const char c : {'a', 'b', 'c', 'd'}) blocks += std::string(kBlockBytes, c);
    Write(kRepairBlocksName, blocks);
    Write("files/README.txt", "readme");
    Write("files/manifest.json", "not listed");
  }
  ~RepairFolderTest() override { (void)RemoveTree(folder_); }
  void Write(const std::string& name, std::string_view text) {
    ASSERT_TRUE(WriteFileAtomically(folder_ / name, AsBytes(text)).has_value());
  }
  char First(const SpareParts& parts, std::uint32_t volume, std::uint64_t block) {
    Bytes out(kBlockBytes);
    const auto found = parts.ReadBlock(volume, block, out);
    return found && *found ? static_cast<char>(out[0]) : '-';
  }
  fs::path folder_;
};

TEST_F(RepairFolderTest, GivesTheBlocksAndFilesThatItLists) {
  const auto folder = RepairFolder::Load(folder_);
  ASSERT_TRUE(folder.has_value()) << folder.error().message;
  const struct {
    std::uint32_t volume;
    std::uint64_t block;
    char expected;
  } cases[] = {{1, 9, '-'}, {1, 10, 'a'}, {1, 11, 'b'}, {1, 12, 'c'}, {1, 13, '-'},
               {2, 0, '-'}, {3, 0, 'd'},  {3, 1, '-'},  {0, 0, '-'}};
  for (const auto& one : cases) {
    EXPECT_EQ(First(**folder, one.volume, one.block), one.expected) << one.volume << one.block;
  }
  EXPECT_TRUE((*folder)->HasBlocksOf(3));
  EXPECT_FALSE((*folder)->HasBlocksOf(2));
  EXPECT_TRUE((*folder)->Open("README.txt").has_value());
  EXPECT_FALSE((*folder)->Open("manifest.json").has_value());
  EXPECT_FALSE((*folder)->Open("../repair.jsonl").has_value());
}

TEST_F(RepairFolderTest, RefusesAnotherBundleAndAShortFile) {
  const auto foreign = OpenRepairFolders({folder_}, Sha256("another"));
  ASSERT_FALSE(foreign.has_value());
  EXPECT_EQ(foreign.error().reason, "repair-foreign");
  EXPECT_TRUE(OpenRepairFolders({folder_}, Sha256("manifest")).has_value());
  EXPECT_EQ(*OpenRepairFolders({}, Sha256("manifest")), nullptr);
  Write(kRepairBlocksName, "short");
  EXPECT_EQ(RepairFolder::Load(folder_).error().reason, "repair-short");
}

TEST(Copies, HeaderIsReadAsItWasWrittenAndNothingElse) {
  const std::vector<CopiedFile> files = {{"README.txt", Sha256("r"), 3, true},
                                         {"volume-0001.tar", Sha256("v"), 0, false}};
  const std::string good = EncodeCopiesHeader(files);
  const auto read = DecodeCopiesHeader(good + "abc");
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(read->bytes, good.size());
  ASSERT_EQ(read->files.size(), 2u);
  EXPECT_EQ(read->files[0].size, 3u);
  EXPECT_FALSE(read->files[1].is_copied);
  for (const std::string& bad :
       {std::string(), good.substr(0, good.size() - 1), std::string("{}\n"),
        "{\"files\":[{\"name\":\"b\",\"sha256\":\"" + std::string(64, '0') +
            "\"},{\"name\":\"a\",\"sha256\":\"" + std::string(64, '0') + "\"}]}\n"}) {
    EXPECT_EQ(DecodeCopiesHeader(bad).error().reason, "copies-malformed") << bad;
  }
}

}  // namespace
}  // namespace gapferry::manifests
