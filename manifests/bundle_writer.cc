#include "manifests/bundle_writer.h"

#include <algorithm>

#include "base/file.h"
#include "base/text.h"
#include "manifests/medium.h"
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

}  // namespace

BundleWriter::BundleWriter(fs::path journal, std::vector<IndexLine> layout)
    : journal_(std::move(journal)), layout_(std::move(layout)) {}

Result<BundleWriter> BundleWriter::Create(fs::path directory, fs::path journal,
                                          std::vector<IndexLine> layout, unsigned parity) {
  IndexChecker checker;
  for (const IndexLine& line : layout) TRY(checker.Add(line), "layout");
  TRY_ASSIGN(const auto sizes, checker.Finish(), "layout");
  TRY(CreateDirectories(journal));
  BundleWriter writer(std::move(journal), std::move(layout));
  writer.parity_ = parity;
  for (std::uint32_t i = 0; i < sizes.size(); ++i) {
    writer.volumes_.push_back({VolumeName(i + 1), sizes[i], {}});
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
  std::vector<std::string> ours = {"README.txt", "index.jsonl.zst", "SHA256SUMS", "manifest.json",
                                   "manifest.json.sig"};
  for (std::uint32_t i = 0; i < volumes_.size(); ++i) {
    ours.push_back(VolumeName(i + 1));
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
  const auto record = journal_.Find(volume, LinesOf(volume));
  if (!record || !record->sums.contains(volumes_[volume - 1].name)) return false;
  Take(volume, *record);
  return true;
}

Result<bool> BundleWriter::IsVolumeDone(std::uint32_t volume, std::stop_token stop) {
  const std::string name = volumes_[volume - 1].name;
  const auto record = journal_.Find(volume, LinesOf(volume));
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
  ObjectWriter objects(provider, options);
  objects.first_offset_of_part_ = BytesBefore(lines.front());
  for (IndexLine& line : lines) TRY(objects.Write(line, out));
  TRY(out.AppendZeros(kTarTrailer));
  TRY_ASSIGN(const VolumeDigests written, out.Finish());
  TRY(file.Close());
  bytes_written_ += written.size;
  TRY(ReadBackVolume(volume, written, options.stop));

  volumes_[volume - 1].sha256 = written.sha256;
  sums_[name] = written.sha256;
  TRY(WriteBlocks(volume, written.blocks, repair, /*streamed=*/true, options.stop));
  TRY(SyncDirectory(directory_));
  VolumeRecord record{LayoutDigest(lines), written.size, {}, {}};
  for (const auto& [file_name, digest] : sums_) {
    if (VolumeOfFile(file_name) == volume) record.sums[file_name] = digest;
  }
  for (const IndexLine& line : lines) {
    if (line.name.part != 0) record.parts.push_back(line.sha256);
  }
  return journal_.Put(volume, record);
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

/// What is small and without parity of its own lies twice on the last medium.
Result<void> BundleWriter::WriteCopies() {
  std::vector<CopiedFile> files;
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
  manifest.parity = parity_;
  if (parity_ != 0) TRY(WriteCopies());
  const std::string sums = EncodeSums(sums_);
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
