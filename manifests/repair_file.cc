#include "manifests/repair_file.h"

#include <algorithm>

#include "base/canonical_json.h"
#include "manifests/index.h"

namespace gapferry::manifests {
namespace {

constexpr std::size_t kMaxCopiedFiles = 3 * std::size_t{kMaxVolumes} + 16;

void AppendDigest(Bytes& blocks, std::uint64_t at, ByteView block) {
  const Sha256Digest digest = Sha256(block);
  std::copy_n(digest.bytes.begin(), kBlockDigestBytes,
              blocks.begin() + static_cast<std::ptrdiff_t>(at * kBlockDigestBytes));
}

/// Adds the blocks of a group of stripes, which lie next to each other in runs.
Result<void> ReadGroup(const File& volume, ParityGroup& group, std::stop_token stop) {
  const ParityLayout& layout = group.layout();
  Bytes buffer(static_cast<std::size_t>(group.count() * kBlockBytes));
  for (std::uint64_t run = group.first(); run < layout.blocks; run += layout.stripes) {
    if (stop.stop_requested()) return Fail(ErrorCode::kCancelled, "stopped while writing");
    const std::uint64_t end = std::min(layout.blocks, run + group.count());
    const std::uint64_t bytes =
        std::min(layout.volume_bytes, end * kBlockBytes) - run * kBlockBytes;
    const auto view = std::span(buffer).first(static_cast<std::size_t>(bytes));
    TRY_ASSIGN(const std::size_t count, volume.ReadAt(run * kBlockBytes, view));
    if (count != view.size()) {
      return Fail(ErrorCode::kCorrupt, "read-back",
                  "'" + volume.path().string() + "' ends early while its repair file is made");
    }
    for (std::uint64_t block = run; block < end; ++block) {
      group.Add(block, view.subspan(static_cast<std::size_t>((block - run) * kBlockBytes),
                                    static_cast<std::size_t>(layout.block_bytes(block))));
    }
  }
  return {};
}

}  // namespace

RepairWriter::RepairWriter(const ParityLayout& layout, std::uint64_t memory_bytes)
    : layout_(layout), memory_bytes_(memory_bytes) {
  if (ParityGroup::StripesIn(layout, memory_bytes) < layout.stripes) return;
  group_.emplace(layout, 0, layout.stripes);
  stream_.emplace(*group_);
}

Result<void> RepairWriter::WriteGroup(const ParityGroup& group, File& out, Bytes& blocks) const {
  for (unsigned row = 0; row < layout_.parity; ++row) {
    for (std::uint64_t stripe = group.first(); stripe < group.first() + group.count(); ++stripe) {
      const std::uint64_t number = row * layout_.stripes + stripe;
      const ByteView block = group.RepairBlock(stripe, row);
      TRY(out.WriteAllAt(number * kBlockBytes, block));
      AppendDigest(blocks, layout_.blocks + number, block);
    }
  }
  return {};
}

Result<void> RepairWriter::WriteGroups(const fs::path& volume, File& out, bool streamed,
                                       Bytes& blocks, std::stop_token stop) {
  if (streamed && stream_) {
    stream_->Finish();
    return WriteGroup(*group_, out, blocks);
  }
  group_.reset();
  TRY_ASSIGN(const File source, File::OpenRead(volume));
  const std::uint64_t at_once = ParityGroup::StripesIn(layout_, memory_bytes_);
  for (std::uint64_t first = 0; first < layout_.stripes; first += at_once) {
    ParityGroup group(layout_, first, std::min(at_once, layout_.stripes - first));
    TRY(ReadGroup(source, group, stop));
    TRY(WriteGroup(group, out, blocks));
  }
  return {};
}

Result<RepairWriter::Written> RepairWriter::Write(const fs::path& volume, const fs::path& repair,
                                                  ByteView volume_blocks, bool streamed,
                                                  ReadBack& mode, std::stop_token stop) {
  Written written;
  written.blocks.assign(volume_blocks.begin(), volume_blocks.end());
  written.blocks.resize((layout_.blocks + layout_.repair_blocks()) * kBlockDigestBytes);
  TRY_ASSIGN(File out, File::Create(repair));
  TRY(WriteGroups(volume, out, streamed, written.blocks, stop));
  TRY(out.WriteAllAt(layout_.repair_bytes(), written.blocks));
  TRY(out.Sync());
  TRY(out.Close());
  group_.reset();
  TRY_ASSIGN(const VolumeDigests read, ReadBackFile(repair, mode, stop));
  // Digests of the blocks as they were made, then of the copy behind them.
  Bytes expected(
      written.blocks.begin() + static_cast<std::ptrdiff_t>(layout_.blocks * kBlockDigestBytes),
      written.blocks.end());
  for (std::size_t at = 0; at < written.blocks.size(); at += kBlockBytes) {
    expected.resize(expected.size() + kBlockDigestBytes);
    AppendDigest(expected, expected.size() / kBlockDigestBytes - 1,
                 ByteView(written.blocks)
                     .subspan(at, std::min<std::size_t>(kBlockBytes, written.blocks.size() - at)));
  }
  if (read.blocks != expected) {
    return Fail(ErrorCode::kCorrupt, "read-back",
                repair.filename().string() + ": the medium gives other bytes than were written");
  }
  written.sha256 = read.sha256;
  return written;
}

std::string EncodeCopiesHeader(const std::vector<CopiedFile>& files) {
  JsonValue::Array list;
  for (const CopiedFile& file : files) {
    JsonValue::Object members{{"name", file.name}, {"sha256", file.sha256.ToHex()}};
    if (file.is_copied) members["size"] = file.size;
    list.emplace_back(std::move(members));
  }
  return WriteCanonicalJson(JsonValue::Object{{"files", std::move(list)}}) + "\n";
}

Result<CopiesHeader> DecodeCopiesHeader(std::string_view text) {
  const auto malformed = [](const std::string& problem) {
    return Fail(ErrorCode::kCorrupt, "copies-malformed", std::string(kCopiesName) + ": " + problem);
  };
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos) return malformed("the first line does not end");
  const auto value = ParseCanonicalJson(text.substr(0, end));
  if (!value) return malformed(value.error().message);
  JsonFields fields(*value, std::string(kCopiesName));
  CopiesHeader header;
  header.bytes = end + 1;
  for (const JsonValue& item : fields.List("files", kMaxCopiedFiles)) {
    JsonFields child(item, "file");
    CopiedFile file;
    file.name = child.Text("name", 64);
    file.sha256 = child.Sha256Value("sha256");
    file.is_copied = child.Has("size");
    if (file.is_copied) file.size = child.Count("size", kMaxIndexRawBytes);
    if (const auto finished = child.Finish(); !finished) return malformed(finished.error().message);
    if (!header.files.empty() && header.files.back().name >= file.name) {
      return malformed("not sorted by name");
    }
    header.files.push_back(std::move(file));
  }
  if (const auto finished = fields.Finish(); !finished) return malformed(finished.error().message);
  return header;
}

std::string EncodeSums(const std::map<std::string, Sha256Digest>& sums) {
  std::string text;
  for (const auto& [name, digest] : sums) text += digest.ToHex() + "  " + name + "\n";
  return text;
}

}  // namespace gapferry::manifests
