#include "manifests/bundle_writer.h"

#include <algorithm>

#include "base/canonical_json.h"
#include "base/file.h"
#include "base/text.h"
#include "manifests/signature.h"
#include "manifests/volume_file.h"
#include "manifests/zstd_stream.h"

namespace gapferry::manifests {
namespace {

constexpr std::size_t kCopyPiece = 256 * 1024;

std::unexpected<Error> SourceChanged(const IndexLine& line, std::string_view problem) {
  return Fail(ErrorCode::kCorrupt, "source-changed",
              "object '" + line.name.ToString() + "': " + std::string(problem));
}

/// Streams objects and parts into a volume and checks them against their planned digests.
class ObjectWriter {
 public:
  ObjectWriter(ObjectProvider& provider, const WriteOptions& options)
      : provider_(provider), options_(options) {}

  Result<void> Write(IndexLine& line, VolumeFile& volume) {
    TRY(volume.Append(TarHeader(line)));
    TRY(OpenSource(line));
    TRY_ASSIGN(const Sha256Digest digest, CopyBytes(line, volume));
    if (line.name.part == 0) {
      TRY(ExpectEnd(line));
      if (digest != line.sha256) return Mismatch(line, line.sha256, digest);
    } else {
      line.sha256 = digest;
      if (file_bytes_ == line.full_size) {
        TRY(ExpectEnd(line));
        const Sha256Digest whole = file_hash_.Finish();
        if (whole != *line.full_sha256) return Mismatch(line, *line.full_sha256, whole);
      }
    }
    return volume.AppendZeros(line.padding());
  }

 private:
  static std::unexpected<Error> Mismatch(const IndexLine& line, const Sha256Digest& expected,
                                         const Sha256Digest& got) {
    return SourceChanged(line, "digest mismatch: expected sha256:" + expected.ToHex() +
                                   ", got sha256:" + got.ToHex());
  }

  Result<void> OpenSource(const IndexLine& line) {
    const bool continues = line.name.part > 1 && source_ != nullptr && open_ == line.name.Whole();
    if (continues) return {};
    TRY_ASSIGN(source_, provider_.Open(line.name.Whole(), 0));
    open_ = line.name.Whole();
    file_bytes_ = 0;
    file_hash_ = Sha256Hasher();
    if (line.name.part <= 1) return {};
    // An earlier run wrote the parts before this one: the digest of the whole still needs them.
    const std::uint64_t before = first_offset_of_part_;
    return SkipTo(line, before);
  }

  Result<void> SkipTo(const IndexLine& line, std::uint64_t offset) {
    Bytes buffer(kCopyPiece);
    while (file_bytes_ < offset) {
      const std::size_t wanted =
          static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), offset - file_bytes_));
      TRY_ASSIGN(const std::size_t count, source_->Read(std::span(buffer).first(wanted)));
      if (count == 0) return SourceChanged(line, "the source ends early");
      file_hash_.Update(ByteView(buffer).first(count));
      file_bytes_ += count;
    }
    return {};
  }

  Result<Sha256Digest> CopyBytes(const IndexLine& line, VolumeFile& volume) {
    Bytes buffer(static_cast<std::size_t>(std::min<std::uint64_t>(line.size, kCopyPiece)));
    Sha256Hasher hash;
    for (std::uint64_t rest = line.size; rest > 0;) {
      if (options_.stop.stop_requested())
        return Fail(ErrorCode::kCancelled, "stopped while writing");
      const std::size_t wanted =
          static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), rest));
      TRY_ASSIGN(const std::size_t count, source_->Read(std::span(buffer).first(wanted)));
      if (count == 0) return SourceChanged(line, "the source ends early");
      const ByteView piece = ByteView(buffer).first(count);
      hash.Update(piece);
      if (line.name.part != 0) file_hash_.Update(piece);
      TRY(volume.Append(piece));
      rest -= count;
      file_bytes_ += count;
      if (options_.progress != nullptr) options_.progress->Advance(0, count);
    }
    if (options_.progress != nullptr) options_.progress->Advance(1, 0);
    return hash.Finish();
  }

  Result<void> ExpectEnd(const IndexLine& line) {
    std::uint8_t byte = 0;
    TRY_ASSIGN(const std::size_t count, source_->Read({&byte, 1}));
    if (count != 0) return SourceChanged(line, "the source is longer than planned");
    source_.reset();
    return {};
  }

  ObjectProvider& provider_;
  const WriteOptions& options_;
  std::unique_ptr<Source> source_;
  ObjectName open_;
  std::uint64_t file_bytes_ = 0;
  Sha256Hasher file_hash_;

 public:
  std::uint64_t first_offset_of_part_ = 0;  ///< in the file, of the first line of this volume
};

/// What a finished volume is remembered by on the sender's own disk.
struct VolumeRecord {
  Sha256Digest layout;
  Sha256Digest sha256;
  std::uint64_t size = 0;
  std::vector<Sha256Digest> parts;  ///< of the part lines of the volume, in order
};

/// Part digests are unknown when the layout is made, so they are left out of its digest.
Sha256Digest LayoutDigest(std::span<const IndexLine> lines) {
  Sha256Hasher hasher;
  for (IndexLine line : lines) {
    if (line.name.part != 0) line.sha256 = {};
    hasher.Update(EncodeIndexLine(line)).Update("\n");
  }
  return hasher.Finish();
}

std::string EncodeRecord(const VolumeRecord& record) {
  JsonValue::Array parts;
  for (const Sha256Digest& part : record.parts) parts.emplace_back(part.ToHex());
  return WriteCanonicalJson(JsonValue::Object{{"layout", record.layout.ToHex()},
                                              {"parts", std::move(parts)},
                                              {"sha256", record.sha256.ToHex()},
                                              {"size", record.size}}) +
         "\n";
}

Result<VolumeRecord> DecodeRecord(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  TRY_ASSIGN(const JsonValue value, ParseCanonicalJson(text));
  JsonFields fields(value, "volume record");
  VolumeRecord record;
  record.layout = fields.Sha256Value("layout");
  for (const JsonValue& part : fields.List("parts", 100'000)) {
    const std::string* hex = part.AsString();
    TRY_ASSIGN(const auto digest, Sha256Digest::FromHex(hex == nullptr ? "" : *hex));
    record.parts.push_back(digest);
  }
  record.sha256 = fields.Sha256Value("sha256");
  record.size = fields.Count("size");
  TRY(fields.Finish());
  return record;
}

}  // namespace

BundleWriter::BundleWriter(fs::path directory, fs::path journal, std::vector<IndexLine> layout)
    : directory_(std::move(directory)), journal_(std::move(journal)), layout_(std::move(layout)) {}

Result<BundleWriter> BundleWriter::Create(fs::path directory, fs::path journal,
                                          std::vector<IndexLine> layout) {
  IndexChecker checker;
  for (const IndexLine& line : layout) TRY(checker.Add(line), "layout");
  TRY_ASSIGN(const auto sizes, checker.Finish(), "layout");
  TRY(CreateDirectories(directory));
  TRY(CreateDirectories(journal));
  BundleWriter writer(std::move(directory), std::move(journal), std::move(layout));
  for (std::uint32_t i = 0; i < sizes.size(); ++i) {
    writer.volumes_.push_back({VolumeName(i + 1), sizes[i], {}});
  }
  TRY(writer.RefuseForeignFiles());
  return writer;
}

Result<void> BundleWriter::RefuseForeignFiles() const {
  std::vector<std::string> ours = {"README.txt", "index.jsonl.zst", "SHA256SUMS", "manifest.json",
                                   "manifest.json.sig"};
  for (std::uint32_t i = 0; i < volumes_.size(); ++i) {
    ours.push_back(VolumeName(i + 1));
    ours.push_back(BlocksName(i + 1));
  }
  TRY_ASSIGN(const auto present, ListDirectory(directory_));
  for (const std::string& name : present) {
    const std::string_view stem =
        name.ends_with(".tmp") ? std::string_view(name).substr(0, name.size() - 4) : name;
    if (std::ranges::find(ours, stem) == ours.end()) {
      return Fail(ErrorCode::kUsage, "directory-in-use",
                  "'" + (directory_ / name).string() + "' is not part of this bundle");
    }
  }
  return {};
}

std::span<IndexLine> BundleWriter::LinesOf(std::uint32_t volume) {
  const auto range = std::ranges::equal_range(layout_, volume, {}, &IndexLine::volume);
  return {range.begin(), range.end()};
}

Result<void> BundleWriter::WriteVolumes(std::string_view readme, ObjectProvider& provider,
                                        const WriteOptions& options) {
  std::uint64_t bytes = 0;
  for (const IndexLine& line : layout_) bytes += line.size;
  if (options.progress != nullptr) options.progress->Begin("writing", layout_.size(), bytes);
  TRY(WriteSmall("README.txt", AsBytes(readme)));
  for (std::uint32_t volume = 1; volume <= volumes_.size(); ++volume) {
    TRY_ASSIGN(const bool done, IsVolumeDone(volume, options.stop));
    if (!done) TRY(WriteVolume(volume, provider, options));
  }
  if (options.progress != nullptr) options.progress->End();
  return {};
}

Result<bool> BundleWriter::IsVolumeDone(std::uint32_t volume, std::stop_token stop) {
  const auto text = ReadTextFile(journal_ / VolumeName(volume), 16 << 20);
  if (!text) return false;
  const auto record = DecodeRecord(*text);
  const auto lines = LinesOf(volume);
  if (!record || record->layout != LayoutDigest(lines)) return false;
  const auto read = ReadBackFile(directory_ / VolumeName(volume), read_back_, stop);
  if (!read && read.error().code == ErrorCode::kCancelled) return std::unexpected(read.error());
  if (!read || read->sha256 != record->sha256 || read->size != record->size) return false;
  std::size_t part = 0;
  for (IndexLine& line : lines) {
    if (line.name.part == 0) continue;
    if (part == record->parts.size()) return false;
    line.sha256 = record->parts[part++];
  }
  volumes_[volume - 1].sha256 = read->sha256;
  sums_[VolumeName(volume)] = read->sha256;
  TRY(WriteSmall(BlocksName(volume), read->blocks));
  return true;
}

Result<void> BundleWriter::WriteVolume(std::uint32_t volume, ObjectProvider& provider,
                                       const WriteOptions& options) {
  const auto lines = LinesOf(volume);
  // A bundle is finished when it has a signature: none may stand beside a volume that is written.
  TRY(RemoveFile(directory_ / "manifest.json.sig"));
  TRY(SyncDirectory(directory_));
  TRY_ASSIGN(File file, File::Create(directory_ / VolumeName(volume)));
  VolumeFile out(file);
  ObjectWriter objects(provider, options);
  for (const IndexLine& line : layout_) {
    if (line.volume >= volume) break;
    if (line.name.Whole() == lines.front().name.Whole()) objects.first_offset_of_part_ += line.size;
  }
  for (IndexLine& line : lines) TRY(objects.Write(line, out));
  TRY(out.AppendZeros(kTarTrailer));
  TRY_ASSIGN(const VolumeDigests written, out.Finish());
  TRY(file.Close());
  bytes_written_ += written.size;
  TRY(ReadBackVolume(volume, written, options.stop));

  VolumeRecord record{LayoutDigest(lines), written.sha256, written.size, {}};
  for (const IndexLine& line : lines) {
    if (line.name.part != 0) record.parts.push_back(line.sha256);
  }
  volumes_[volume - 1].sha256 = written.sha256;
  sums_[VolumeName(volume)] = written.sha256;
  TRY(WriteSmall(BlocksName(volume), written.blocks));
  TRY(SyncDirectory(directory_));
  return WriteFileAtomically(journal_ / VolumeName(volume), AsBytes(EncodeRecord(record)));
}

Result<void> BundleWriter::ReadBackVolume(std::uint32_t volume, const VolumeDigests& written,
                                          std::stop_token stop) {
  const std::string name = VolumeName(volume);
  TRY_ASSIGN(const VolumeDigests read, ReadBackFile(directory_ / name, read_back_, stop));
  if (read.size == written.size && read.sha256 == written.sha256) return {};
  std::size_t at = 0;
  const std::size_t common = std::min(read.blocks.size(), written.blocks.size());
  while (at < common && read.blocks[at] == written.blocks[at]) ++at;
  return Fail(
      ErrorCode::kCorrupt, "read-back",
      name + ": the medium gives other bytes than were written, first in the block at offset " +
          std::to_string(at / kBlockDigestBytes * kBlockBytes));
}

Result<void> BundleWriter::WriteSmall(const std::string& name, ByteView bytes) {
  TRY(WriteFileAtomically(directory_ / name, bytes));
  TRY_ASSIGN(const VolumeDigests read, ReadBackFile(directory_ / name, read_back_));
  const Sha256Digest digest = Sha256(bytes);
  if (read.sha256 != digest) {
    return Fail(ErrorCode::kCorrupt, "read-back",
                name + ": the medium gives other bytes than were written");
  }
  sums_[name] = digest;
  bytes_written_ += bytes.size();
  return {};
}

Result<void> BundleWriter::WriteIndex(IndexSummary& summary) {
  MemorySink stored(kMaxIndexRawBytes);
  ZstdSink zstd(stored);
  HashingSink<Sha256Digest> raw;
  TeeSink both(raw, zstd);
  for (const IndexLine& line : layout_) {
    const std::string text = EncodeIndexLine(line) + "\n";
    summary.raw_size += text.size();
    TRY(both.Write(AsBytes(text)));
  }
  TRY(zstd.Finish());
  summary.lines = layout_.size();
  summary.raw_sha256 = raw.Finish();
  summary.size = stored.bytes().size();
  summary.sha256 = Sha256(stored.bytes());
  return WriteSmall("index.jsonl.zst", stored.bytes());
}

Result<Manifest> BundleWriter::Finish(Manifest manifest, const SigningKey& key) {
  manifest.volumes = volumes_;
  manifest.index = {};
  TRY(WriteIndex(manifest.index));
  std::string sums;
  for (const auto& [name, digest] : sums_) sums += digest.ToHex() + "  " + name + "\n";
  manifest.sums_size = sums.size();
  manifest.sums_sha256 = Sha256(sums);
  TRY(WriteSmall("SHA256SUMS", AsBytes(sums)));
  const std::string text = EncodeManifest(manifest);
  // Our own reader must accept what leaves: a manifest it refuses would cost a courier's journey.
  TRY(DecodeManifest(AsBytes(text)), "manifest to be written");
  TRY(WriteSmall("manifest.json", AsBytes(text)));
  TRY(WriteSignature(AsBytes(text), key));
  return manifest;
}

Result<void> BundleWriter::WriteSignature(ByteView manifest, const SigningKey& key) {
  const SignatureLine line = SignDocument(manifest, key, SignerRole::kOrigin);
  // Countersignatures that were added meanwhile stay: an earlier run had come this far.
  const auto text = ReadTextFile(directory_ / "manifest.json.sig", kMaxSignatureFileBytes);
  if (text) {
    const auto lines = DecodeSignatures(*text);
    if (lines && std::ranges::find(*lines, line) != lines->end()) return {};
  }
  TRY(SyncDirectory(directory_));
  TRY(WriteSmall("manifest.json.sig", AsBytes(EncodeSignatures({line}))));
  return SyncDirectory(directory_.has_parent_path() ? directory_.parent_path() : ".");
}

}  // namespace gapferry::manifests
