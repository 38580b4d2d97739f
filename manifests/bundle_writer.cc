#include "manifests/bundle_writer.h"

#include <algorithm>
#include <array>

#include "base/file.h"
#include "base/text.h"
#include "manifests/medium.h"
#include "manifests/seal_format.h"
#include "manifests/signature.h"
#include "manifests/trust_document.h"
#include "manifests/volume_file.h"
#include "manifests/zstd_stream.h"

namespace gapferry::manifests {
namespace {

constexpr std::size_t kCopyPiece = 256 * 1024;

std::unexpected<Error> SourceChanged(const IndexLine& line, std::string_view problem) {
  return Fail(ErrorCode::kCorrupt, "source-changed",
              "object '" + line.name.ToString() + "': " + std::string(problem));
}

/// A volume as a sink.
class VolumeSink : public Sink {
 public:
  explicit VolumeSink(VolumeFile& volume) : volume_(volume) {}
  Result<void> Write(ByteView bytes) override { return volume_.Append(bytes); }

 private:
  VolumeFile& volume_;
};

Result<void> WriteZeros(Sink& out, std::uint64_t count) {
  static constexpr std::array<std::uint8_t, kTarTrailer> kZeros{};
  return out.Write(ByteView(kZeros).first(static_cast<std::size_t>(count)));
}

/// Streams objects and parts into a volume and checks them against their planned digests.
class ObjectWriter {
 public:
  /// `sealed`: bytes are encrypted by a key and nonce that stand for the planned ones, so others
  /// must not even begin to be written.
  ObjectWriter(ObjectProvider& provider, const WriteOptions& options, bool sealed)
      : provider_(provider), options_(options), sealed_(sealed) {}

  Result<void> Write(IndexLine& line, Sink& volume) {
    TRY(volume.Write(TarHeader(line)));
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
    return WriteZeros(volume, line.padding());
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
    if (sealed_) TRY(CheckSource(line));
    TRY_ASSIGN(source_, provider_.Open(line.name.Whole(), 0));
    open_ = line.name.Whole();
    file_bytes_ = 0;
    file_hash_ = Sha256Hasher();
    if (line.name.part <= 1) return {};
    // An earlier run wrote the parts before this one: the digest of the whole still needs them.
    const std::uint64_t before = first_offset_of_part_;
    return SkipTo(line, before);
  }

  /// Reads the whole object once before: what changed on our disk is found now.
  Result<void> CheckSource(const IndexLine& line) {
    const std::uint64_t size = line.name.part == 0 ? line.size : line.full_size;
    TRY_ASSIGN(const auto source, provider_.Open(line.name.Whole(), 0));
    HashingSink<Sha256Digest> hash;
    const auto copied = Copy(*source, hash, size, options_.stop);
    if (!copied && copied.error().code != ErrorCode::kCorrupt) {
      return std::unexpected(copied.error());
    }
    const Sha256Digest got = hash.Finish();
    if (!copied) return SourceChanged(line, "the source is longer than planned");
    if (got != line.file_sha256()) return Mismatch(line, line.file_sha256(), got);
    return {};
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

  Result<Sha256Digest> CopyBytes(const IndexLine& line, Sink& volume) {
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
      TRY(volume.Write(piece));
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
  const bool sealed_;
  std::unique_ptr<Source> source_;
  ObjectName open_;
  std::uint64_t file_bytes_ = 0;
  Sha256Hasher file_hash_;

 public:
  std::uint64_t first_offset_of_part_ = 0;  ///< in the file, of the first line of this volume
};

}  // namespace

BundleWriter::BundleWriter(fs::path journal, std::vector<IndexLine> layout)
    : journal_(std::move(journal)), layout_(std::move(layout)) {}

Result<BundleWriter> BundleWriter::Create(fs::path directory, fs::path journal,
                                          std::vector<IndexLine> layout, unsigned parity,
                                          std::optional<Sealing> sealing) {
  IndexChecker checker;
  for (const IndexLine& line : layout) TRY(checker.Add(line), "layout");
  TRY_ASSIGN(const auto sizes, checker.Finish(), "layout");
  TRY(CreateDirectories(journal));
  BundleWriter writer(std::move(journal), std::move(layout));
  writer.parity_ = parity;
  writer.sealing_ = std::move(sealing);
  for (std::uint32_t i = 0; i < sizes.size(); ++i) {
    if (writer.sealing_) {
      writer.volumes_.push_back({VolumeName(i + 1) + kSealedSuffix, SealedSize(sizes[i]), {}});
    } else {
      writer.volumes_.push_back({VolumeName(i + 1), sizes[i], {}});
    }
  }
  if (!directory.empty()) TRY(writer.MoveTo(std::move(directory)));
  return writer;
}

Result<void> BundleWriter::MoveTo(fs::path directory) {
  TRY(CreateDirectories(directory));
  directory_ = std::move(directory);
  return RefuseForeignFiles();
}

Result<void> BundleWriter::RefuseForeignFiles() const {
  std::vector<std::string> ours = {"README.txt", "SHA256SUMS", "manifest.json", "manifest.json.sig",
                                   std::string(kTrustFileName)};
  for (const char* name : {"index.jsonl.zst", "details.json"}) {
    ours.push_back(name + std::string(sealing_ ? kSealedSuffix : ""));
  }
  for (std::uint32_t i = 0; i < volumes_.size(); ++i) {
    ours.push_back(volumes_[i].name);
    ours.push_back(BlocksName(i + 1));
    if (parity_ != 0) ours.push_back(RepairName(i + 1));
  }
  if (parity_ != 0) ours.emplace_back(kCopiesName);
  TRY_ASSIGN(const auto present, ListDirectory(directory_));
  for (const std::string& name : present) {
    const std::string_view stem =
        name.ends_with(".tmp") ? std::string_view(name).substr(0, name.size() - 4) : name;
    if (std::ranges::find(ours, stem) == ours.end() && !IsLitter(name)) {
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
  TRY(WriteReadme(readme));
  for (std::uint32_t volume = 1; volume <= volumes_.size(); ++volume) {
    TRY_ASSIGN(const bool done, IsVolumeDone(volume, options.stop));
    if (!done) TRY(WriteVolume(volume, provider, options));
  }
  if (options.progress != nullptr) options.progress->End();
  return {};
}

Result<void> BundleWriter::WriteReadme(std::string_view readme) {
  return WriteSmall("README.txt", AsBytes(readme));
}

Sha256Digest BundleWriter::PlanOf(std::uint32_t volume) {
  const Sha256Digest layout = LayoutDigest(LinesOf(volume));
  if (!sealing_) return layout;
  std::string text =
      "sealed\n" + layout.ToHex() + "\n" + sealing_->secret.Fingerprint().ToHex() + "\n";
  // Which bytes of a file the first part holds follows from the volumes before.
  const std::uint64_t before = BytesBefore(LinesOf(volume).front());
  if (before != 0) text += std::to_string(before) + "\n";
  return Sha256(text);
}

/// Makes what a record says part of index, sums and manifest.
void BundleWriter::Take(std::uint32_t volume, const VolumeRecord& record) {
  const std::string& name = volumes_[volume - 1].name;
  auto part = record.parts.begin();
  for (IndexLine& line : LinesOf(volume)) {
    if (line.name.part != 0) line.sha256 = *part++;
  }
  for (const auto& [file, digest] : record.sums) sums_[file] = digest;
  volumes_[volume - 1].sha256 = sums_[name];
}

bool BundleWriter::AdoptVolume(std::uint32_t volume) {
  const auto record = journal_.Find(volume, PlanOf(volume), LinesOf(volume));
  if (!record || !record->sums.contains(volumes_[volume - 1].name)) return false;
  Take(volume, *record);
  return true;
}

Result<bool> BundleWriter::IsVolumeDone(std::uint32_t volume, std::stop_token stop) {
  const std::string name = volumes_[volume - 1].name;
  const auto record = journal_.Find(volume, PlanOf(volume), LinesOf(volume));
  if (!record) return false;
  const auto read = ReadBackFile(directory_ / name, read_back_, stop);
  if (!read && read.error().code == ErrorCode::kCancelled) return std::unexpected(read.error());
  const auto sum = record->sums.find(name);
  if (!read || sum == record->sums.end() || read->sha256 != sum->second ||
      read->size != record->size) {
    return false;
  }
  Take(volume, *record);
  RepairWriter repair(LayoutOf(volume));
  TRY(WriteBlocks(volume, read->blocks, repair, /*streamed=*/false, stop));
  return true;
}

ParityLayout BundleWriter::LayoutOf(std::uint32_t volume) const {
  return ParityLayout::Of(volumes_[volume - 1].size, parity_);
}

/// The files beside a volume: where damage is, and what mends it.
Result<void> BundleWriter::WriteBlocks(std::uint32_t volume, ByteView blocks, RepairWriter& repair,
                                       bool streamed, std::stop_token stop) {
  if (parity_ == 0) return WriteSmall(BlocksName(volume), blocks);
  const fs::path path = directory_ / RepairName(volume);
  TRY_ASSIGN(const auto written, repair.Write(directory_ / volumes_[volume - 1].name, path, blocks,
                                              streamed, read_back_, stop));
  sums_[RepairName(volume)] = written.sha256;
  bytes_written_ += RepairFileBytes(volumes_[volume - 1].size, parity_);
  return WriteSmall(BlocksName(volume), written.blocks);
}

/// How many bytes of the file of `part` lie in the parts before it.
std::uint64_t BundleWriter::BytesBefore(const IndexLine& part) const {
  std::uint64_t bytes = 0;
  for (const IndexLine* line = &part; line != layout_.data();) {
    --line;
    if (line->name.Whole() != part.name.Whole()) break;
    bytes += line->size;
  }
  return bytes;
}

Result<void> BundleWriter::WriteVolume(std::uint32_t volume, ObjectProvider& provider,
                                       const WriteOptions& options) {
  const auto lines = LinesOf(volume);
  const std::string name = volumes_[volume - 1].name;
  // A bundle is finished when it has a signature: none may stand beside a volume that is written.
  // A volume without its blocks file is unfinished.
  TRY(RemoveFile(directory_ / "manifest.json.sig"));
  TRY(RemoveFile(directory_ / BlocksName(volume)));
  TRY(SyncDirectory(directory_));
  TRY_ASSIGN(File file, File::Create(directory_ / name));
  RepairWriter repair(LayoutOf(volume));
  VolumeFile out(file, parity_ == 0 ? nullptr : repair.stream());
  VolumeSink stored(out);
  TRY(StreamVolume(volume, provider, options, stored));
  TRY_ASSIGN(const VolumeDigests written, out.Finish());
  TRY(file.Close());
  bytes_written_ += written.size;
  TRY(ReadBackVolume(volume, written, options.stop));

  volumes_[volume - 1].sha256 = written.sha256;
  sums_[name] = written.sha256;
  TRY(WriteBlocks(volume, written.blocks, repair, /*streamed=*/true, options.stop));
  TRY(SyncDirectory(directory_));
  VolumeRecord record{PlanOf(volume), written.size, {}, {}};
  for (const auto& [file_name, digest] : sums_) {
    if (VolumeOfFile(file_name) == volume) record.sums[file_name] = digest;
  }
  for (const IndexLine& line : lines) {
    if (line.name.part != 0) record.parts.push_back(line.sha256);
  }
  return journal_.Put(volume, record);
}

Result<void> BundleWriter::StreamVolume(std::uint32_t volume, ObjectProvider& provider,
                                        const WriteOptions& options, Sink& out) {
  const auto lines = LinesOf(volume);
  ObjectWriter objects(provider, options, sealing_.has_value());
  objects.first_offset_of_part_ = BytesBefore(lines.front());
  std::optional<SealSink> sealed;
  if (sealing_) {
    const std::string name = VolumeName(volume);
    sealed.emplace(out, sealing_->secret.Key(), sealing_->secret.Salt(name, PlanOf(volume)), name);
  }
  Sink& sink = sealed ? static_cast<Sink&>(*sealed) : out;
  for (IndexLine& line : lines) TRY(objects.Write(line, sink));
  TRY(WriteZeros(sink, kTarTrailer));
  if (sealed) TRY(sealed->Finish());
  return {};
}

Result<void> BundleWriter::ReadBackVolume(std::uint32_t volume, const VolumeDigests& written,
                                          std::stop_token stop) {
  const std::string& name = volumes_[volume - 1].name;
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
  const std::string name = "index.jsonl.zst";
  if (!sealing_) {
    summary.size = stored.bytes().size();
    summary.sha256 = Sha256(stored.bytes());
    return WriteSmall(name, stored.bytes());
  }
  const Bytes sealed = SealText(sealing_->secret, name, stored.bytes());
  summary.size = sealed.size();
  summary.sha256 = Sha256(sealed);
  return WriteSmall(name + kSealedSuffix, sealed);
}

Result<void> BundleWriter::WriteDetails(Manifest& manifest) {
  if (manifest.recipients.size() != sealing_->recipients.size()) {
    return Fail(ErrorCode::kInternal, "keys of " + std::to_string(sealing_->recipients.size()) +
                                          " recipients for a bundle to " +
                                          std::to_string(manifest.recipients.size()));
  }
  for (std::size_t i = 0; i < manifest.recipients.size(); ++i) {
    const EncryptionPublicKey& key = sealing_->recipients[i];
    manifest.recipients[i].key_id = key.Id();
    TRY_ASSIGN(manifest.recipients[i].sealed_key, sealing_->secret.WrapFor(key),
               "recipient '" + manifest.recipients[i].name + "'");
  }
  const std::string name = "details.json";
  const std::string text = EncodeDetails(manifest);
  const Bytes sealed = SealText(sealing_->secret, name, AsBytes(text));
  manifest.sealed = DetailsSummary{sealed.size(), Sha256(sealed)};
  return WriteSmall(name + kSealedSuffix, sealed);
}

/// What is small and without parity of its own lies twice on the last medium.
Result<void> BundleWriter::WriteCopies() {
  std::vector<CopiedFile> files;
  sums_.erase(std::string(kCopiesName));
  for (const auto& [name, digest] : sums_) {
    CopiedFile file{name, digest, 0, !VolumeOfFile(name)};
    if (file.is_copied) {
      TRY_ASSIGN(const File source, File::OpenRead(directory_ / name));
      TRY_ASSIGN(file.size, source.Size());
    }
    files.push_back(std::move(file));
  }
  const std::string name(kCopiesName);
  TRY_ASSIGN(AtomicFile copies, AtomicFile::Create(directory_ / name));
  FileSink out(copies.file());
  HashingSink<Sha256Digest> hash;
  TeeSink both(hash, out);
  TRY(both.Write(AsBytes(EncodeCopiesHeader(files))));
  for (const CopiedFile& file : files) {
    if (!file.is_copied) continue;
    TRY_ASSIGN(File from, File::OpenRead(directory_ / file.name));
    FileSource source(from);
    TRY(Copy(source, both, file.size));
  }
  TRY(copies.Commit());
  const Sha256Digest digest = hash.Finish();
  TRY_ASSIGN(const VolumeDigests read, ReadBackFile(directory_ / name, read_back_));
  if (read.sha256 != digest) {
    return Fail(ErrorCode::kCorrupt, "read-back",
                name + ": the medium gives other bytes than were written");
  }
  sums_[name] = digest;
  bytes_written_ += read.size;
  return {};
}

Result<Manifest> BundleWriter::Finish(Manifest manifest, const SigningKey& key) {
  manifest.volumes = volumes_;
  manifest.index = {};
  TRY(WriteIndex(manifest.index));
  if (!trust_.empty()) TRY(WriteSmall(std::string(kTrustFileName), AsBytes(trust_)));
  manifest.parity = parity_;
  if (sealing_) TRY(WriteDetails(manifest));
  if (parity_ != 0) TRY(WriteCopies());
  const std::string sums = EncodeSums(sums_);
  manifest.sums_size = sums.size();
  manifest.sums_sha256 = Sha256(sums);
  TRY(WriteSmall("SHA256SUMS", AsBytes(sums)));
  const std::string text = EncodeManifest(manifest);
  // Our own reader must accept what leaves: a manifest it refuses would cost a courier's journey.
  TRY_ASSIGN(Manifest read, DecodeManifest(AsBytes(text)), "manifest to be written");
  if (sealing_) TRY(DecodeDetails(AsBytes(EncodeDetails(manifest)), read), "details to be written");
  TRY(WriteSmall("manifest.json", AsBytes(text)));
  TRY(WriteSignature(AsBytes(text), key));
  return manifest;
}

Result<void> BundleWriter::WriteSignature(ByteView manifest, const SigningKey& key) {
  TRY_ASSIGN(const SignatureLine line, SignDocument(manifest, key, SignerRole::kOrigin));
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
