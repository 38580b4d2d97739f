#include "manifests/volume_journal.h"

#include <algorithm>

#include "base/canonical_json.h"
#include "base/file.h"

namespace gapferry::manifests {
namespace {

constexpr std::uint64_t kMaxRecordBytes = 16 << 20;
constexpr std::size_t kMaxParts = 100'000;

std::string EncodeRecord(const VolumeRecord& record) {
  JsonValue::Array parts, sums;
  for (const Sha256Digest& part : record.parts) parts.emplace_back(part.ToHex());
  for (const auto& [name, digest] : record.sums) {
    sums.emplace_back(JsonValue::Object{{"name", name}, {"sha256", digest.ToHex()}});
  }
  return WriteCanonicalJson(JsonValue::Object{{"parts", std::move(parts)},
                                              {"plan", record.plan.ToHex()},
                                              {"size", record.size},
                                              {"sums", std::move(sums)}}) +
         "\n";
}

Result<VolumeRecord> DecodeRecord(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  TRY_ASSIGN(const JsonValue value, ParseCanonicalJson(text));
  JsonFields fields(value, "volume record");
  VolumeRecord record;
  record.plan = fields.Sha256Value("plan");
  for (const JsonValue& part : fields.List("parts", kMaxParts)) {
    const std::string* hex = part.AsString();
    TRY_ASSIGN(const auto digest, Sha256Digest::FromHex(hex == nullptr ? "" : *hex));
    record.parts.push_back(digest);
  }
  record.size = fields.Count("size");
  for (const JsonValue& sum : fields.List("sums", 16)) {
    JsonFields one(sum, "sum");
    const std::string name = one.Text("name", 64);
    record.sums[name] = one.Sha256Value("sha256");
    TRY(one.Finish());
  }
  TRY(fields.Finish());
  return record;
}

}  // namespace

Sha256Digest LayoutDigest(std::span<const IndexLine> lines) {
  Sha256Hasher hasher;
  for (IndexLine line : lines) {
    if (line.name.part != 0) line.sha256 = {};
    hasher.Update(EncodeIndexLine(line)).Update("\n");
  }
  return hasher.Finish();
}

std::optional<VolumeRecord> VolumeJournal::Find(std::uint32_t volume, const Sha256Digest& plan,
                                                std::span<const IndexLine> lines) const {
  const auto text = ReadTextFile(folder_ / VolumeName(volume), kMaxRecordBytes);
  if (!text) return std::nullopt;
  auto record = DecodeRecord(*text);
  if (!record || record->plan != plan) return std::nullopt;
  const auto parts = std::ranges::count_if(lines, [](const auto& line) { return line.name.part; });
  if (record->parts.size() != static_cast<std::size_t>(parts)) return std::nullopt;
  return std::move(*record);
}

Result<void> VolumeJournal::Put(std::uint32_t volume, const VolumeRecord& record) const {
  return WriteFileAtomically(folder_ / VolumeName(volume), AsBytes(EncodeRecord(record)));
}

}  // namespace gapferry::manifests
