#include "manifests/repair_request.h"

#include <algorithm>

#include "base/canonical_json.h"
#include "base/text.h"
#include "manifests/block_hasher.h"
#include "manifests/index.h"
#include "manifests/manifest.h"

namespace gapferry::manifests {
namespace {

constexpr std::string_view kType = "gapferry-repair/1";
constexpr std::string_view kTypePrefix = "gapferry-repair/";
constexpr std::uint64_t kMaxBlock = (1ULL << 53) / kBlockBytes;

std::string Line(JsonValue::Object members) {
  return WriteCanonicalJson(JsonValue(std::move(members))) + "\n";
}

bool IsSmallFileName(std::string_view name) {
  return !name.empty() && name.size() <= 64 && name.front() != '.' &&
         std::ranges::all_of(name, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '.';
         });
}

/// Lines behind the header, one kind after the other.
class Reader {
 public:
  explicit Reader(RepairRequest& out) : out_(out) {}

  void ReadHeader(JsonFields& fields) {
    const std::string type = fields.Text("_type", 64);
    if (type != kType) fields.Refuse("is no " + std::string(kType));
    lines_ = fields.Count("lines", kMaxRepairLines);
    out_.manifest = fields.Sha256Value("manifest");
    out_.sequence = fields.Count("sequence", kMaxSequence);
    if (out_.sequence == 0) fields.Refuse("field 'sequence' is 0");
    out_.stream = fields.Text("stream", 40);
    if (!IsStreamName(out_.stream)) fields.Refuse("field 'stream' is no stream name");
  }

  void ReadLine(JsonFields& fields) {
    const std::string record = fields.Text("record", 16);
    if (record == "file") return ReadFile(fields);
    if (record == "blocks") return ReadBlocks(fields);
    fields.Refuse("field 'record' is neither file nor blocks");
  }

  std::uint64_t lines() const { return lines_; }

 private:
  void ReadFile(JsonFields& fields) {
    const std::string name = fields.Text("name", 64);
    const Sha256Digest digest = fields.Sha256Value("sha256");
    if (!IsSmallFileName(name)) fields.Refuse("field 'name' is no name of a small file");
    if (!out_.runs.empty()) fields.Refuse("files come before blocks");
    if (!out_.files.empty() && out_.files.rbegin()->first >= name) {
      fields.Refuse("not sorted by name");
    }
    out_.files.emplace(name, digest);
  }

  void ReadBlocks(JsonFields& fields) {
    BlockRun run;
    run.volume = static_cast<std::uint32_t>(fields.Count("volume", kMaxVolumes));
    run.block = fields.Count("block", kMaxBlock);
    run.count = fields.Count("count", kMaxRepairRun);
    if (fields.Has("digests")) {
      const auto digests = HexDecode(fields.Text("digests", 16 * kMaxRepairRun));
      if (digests) run.digests = *digests;
      if (run.digests.size() != run.count * kBlockDigestBytes || !digests ||
          HexEncode(run.digests) != fields.Text("digests", 16 * kMaxRepairRun)) {
        fields.Refuse("field 'digests' does not fit its blocks");
      }
    }
    if (run.volume == 0 || run.count == 0) fields.Refuse("an empty run");
    if (!out_.runs.empty()) {
      const BlockRun& last = out_.runs.back();
      if (run.volume < last.volume ||
          (run.volume == last.volume && run.block < last.block + last.count)) {
        fields.Refuse("not sorted by volume and block, or overlapping");
      }
    }
    out_.runs.push_back(std::move(run));
  }

  RepairRequest& out_;
  std::uint64_t lines_ = 0;
};

}  // namespace

std::uint64_t RepairRequest::blocks() const {
  std::uint64_t count = 0;
  for (const BlockRun& run : runs) count += run.count;
  return count;
}

void AppendRuns(std::vector<BlockRun>& runs, std::uint32_t volume,
                const std::vector<std::uint64_t>& blocks, ByteView digests) {
  const std::size_t before = runs.size();
  for (const std::uint64_t block : blocks) {
    const bool continues = runs.size() > before && runs.back().count < kMaxRepairRun &&
                           runs.back().block + runs.back().count == block;
    if (!continues) runs.push_back({volume, block, 0, {}});
    BlockRun& run = runs.back();
    ++run.count;
    const std::uint64_t at = block * kBlockDigestBytes;
    if (at + kBlockDigestBytes > digests.size()) continue;
    const ByteView digest = digests.subspan(static_cast<std::size_t>(at), kBlockDigestBytes);
    run.digests.insert(run.digests.end(), digest.begin(), digest.end());
  }
}

std::string EncodeRepairRequest(const RepairRequest& request) {
  std::string text = Line({{"_type", kType},
                           {"lines", request.files.size() + request.runs.size()},
                           {"manifest", request.manifest.ToHex()},
                           {"sequence", request.sequence},
                           {"stream", request.stream}});
  for (const auto& [name, digest] : request.files) {
    text += Line({{"name", name}, {"record", "file"}, {"sha256", digest.ToHex()}});
  }
  for (const BlockRun& run : request.runs) {
    JsonValue::Object members{{"block", run.block},
                              {"count", run.count},
                              {"record", "blocks"},
                              {"volume", std::uint64_t{run.volume}}};
    if (!run.digests.empty()) members["digests"] = HexEncode(run.digests);
    text += Line(std::move(members));
  }
  return text;
}

Result<RepairRequest> DecodeRepairRequest(std::string_view text) {
  RepairRequest request;
  Reader reader(request);
  std::uint64_t number = 0;
  const auto malformed = [&](const std::string& problem) {
    return Fail(ErrorCode::kCorrupt, "repair-malformed",
                "line " + std::to_string(number) + ": " + problem);
  };
  if (text.size() > kMaxRepairRequestBytes) return malformed("larger than allowed");
  const std::string_view head = text.substr(0, 64);
  const std::size_t type = head.find(kTypePrefix);
  if (type != std::string_view::npos && !head.substr(type).starts_with(kType)) {
    return Fail(ErrorCode::kUnsupported, "document-version",
                "is of a version that this program does not read");
  }
  while (!text.empty()) {
    ++number;
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return malformed("does not end");
    if (number > kMaxRepairLines + 1) return malformed("more lines than allowed");
    const auto value = ParseCanonicalJson(text.substr(0, end));
    if (!value) return malformed(value.error().message);
    JsonFields fields(*value, "repair");
    if (number == 1) {
      reader.ReadHeader(fields);
    } else {
      reader.ReadLine(fields);
    }
    const auto finished = fields.Finish();
    if (!finished) return malformed(finished.error().message);
    text.remove_prefix(end + 1);
  }
  if (number == 0) return malformed("is empty");
  if (number - 1 != reader.lines()) return malformed("another number of lines than stated");
  return request;
}

}  // namespace gapferry::manifests
