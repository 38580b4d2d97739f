#include "manifests/mending.h"

#include <algorithm>
#include <array>

#include "base/sort.h"
#include "base/text.h"
#include "manifests/index.h"
#include "manifests/parity.h"
#include "manifests/repair_file.h"

namespace gapferry::manifests {
namespace {

constexpr std::uint64_t kMaxSumsBytes = 2 << 20;
constexpr std::string_view kSumsName = "SHA256SUMS";
constexpr std::uint64_t kMaxSmallFile = 1ULL << 30;

class TextFile : public MediumFile {
 public:
  explicit TextFile(std::string text) : text_(std::move(text)) {}
  std::uint64_t size() const override { return text_.size(); }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::uint8_t> out) const override {
    if (offset >= text_.size()) return 0;
    const ByteView rest = AsBytes(text_).subspan(static_cast<std::size_t>(offset));
    const std::size_t count = std::min(rest.size(), out.size());
    std::copy_n(rest.begin(), count, out.begin());
    return count;
  }

 private:
  std::string text_;
};

/// A stretch of another file.
class PartOfFile : public MediumFile {
 public:
  PartOfFile(std::unique_ptr<MediumFile> file, std::uint64_t offset, std::uint64_t size)
      : file_(std::move(file)), offset_(offset), size_(size) {}
  std::uint64_t size() const override { return size_; }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::uint8_t> out) const override {
    if (offset >= size_) return 0;
    const auto count =
        static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), size_ - offset));
    return file_->ReadAt(offset_ + offset, out.first(count));
  }

 private:
  std::unique_ptr<MediumFile> file_;
  std::uint64_t offset_;
  std::uint64_t size_;
};

class MendedFile : public MediumFile {
 public:
  MendedFile(std::shared_ptr<VolumeMender> mender, std::uint64_t size)
      : mender_(std::move(mender)), size_(size) {}
  std::uint64_t size() const override { return size_; }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::uint8_t> out) const override {
    return mender_->ReadAt(offset, out);
  }
  Result<std::size_t> ReadCarefully(std::uint64_t offset,
                                    std::span<std::uint8_t> out) const override {
    return mender_->ReadCarefully(offset, out);
  }

 private:
  std::shared_ptr<VolumeMender> mender_;
  std::uint64_t size_;
};

/// Nothing when it cannot be read, or is larger than any file but volumes can be: a list that
/// nobody has signed yet must not make us read for hours.
std::optional<Sha256Digest> DigestOf(const MediumFile& file, std::uint64_t limit = kMaxSmallFile) {
  if (file.size() > limit) return std::nullopt;
  Sha256Hasher hash;
  Bytes buffer(static_cast<std::size_t>(std::min<std::uint64_t>(file.size(), 1 << 20)));
  for (std::uint64_t at = 0; at < file.size();) {
    const auto count = file.ReadAt(at, buffer);
    if (!count || *count == 0) return std::nullopt;
    hash.Update(ByteView(buffer).first(*count));
    at += *count;
  }
  return hash.Finish();
}

std::optional<std::string> ReadText(const MediumFile& file, std::uint64_t limit) {
  std::string text(static_cast<std::size_t>(std::min(file.size(), limit)), '\0');
  const auto count = file.ReadAt(0, {reinterpret_cast<std::uint8_t*>(text.data()), text.size()});
  if (!count) return std::nullopt;
  text.resize(*count);
  return text;
}

bool IsSignedList(std::string_view text, const Manifest& manifest) {
  return text.size() == manifest.sums_size && Sha256(text) == manifest.sums_sha256;
}

}  // namespace

bool IsDamage(const Error& error) {
  static constexpr std::array<std::string_view, 13> kReasons = {
      "block-lost",      "file-digest",    "file-missing",    "file-size",    "header-damaged",
      "index-digest",    "object-damaged", "padding-damaged", "seal-damaged", "sums-digest",
      "trailer-damaged", "volume-digest",  "volume-short"};
  return error.reason == "medium-unreadable" ||
         (error.code == ErrorCode::kCorrupt &&
          std::ranges::find(kReasons, error.reason) != kReasons.end());
}

MendingMedium::MendingMedium(Medium& medium, MendOptions options)
    : medium_(medium), options_(std::move(options)) {
  std::error_code error;
  if (options_.scratch.empty()) options_.scratch = fs::temp_directory_path(error);
}

Result<const MendingMedium::Routing*> MendingMedium::FindRouting() {
  {
    auto state = state_.Lock();
    if (state->routing) return &*state->routing;
  }
  TRY_ASSIGN(const Bytes bytes, ReadMediumFile(medium_, "manifest.json", kMaxManifestBytes));
  Routing routing;
  TRY_ASSIGN(routing.manifest, DecodeManifest(bytes));
  for (std::uint32_t i = 0; i < routing.manifest.volumes.size(); ++i) {
    routing.volumes[routing.manifest.volumes[i].name] = i + 1;
  }
  auto state = state_.Lock();
  if (!state->routing) state->routing = std::move(routing);
  return &*state->routing;
}

bool MendingMedium::IsActive(const Routing& routing) const {
  return MayMend(routing.manifest) || options_.reads_on;
}

void MendingMedium::NoteMended(std::string_view name) {
  auto state = state_.Lock();
  const auto place = std::ranges::lower_bound(state->mended, name);
  if (place == state->mended.end() || *place != name) state->mended.emplace(place, name);
}

/// A volume that is missing here is no damage: somebody will bring it.
bool MendingMedium::IsElsewhere(std::uint32_t volume) const {
  return medium_.MayLackVolumes() &&
         (options_.spares == nullptr || !options_.spares->HasBlocksOf(volume));
}

Result<std::vector<std::string>> MendingMedium::List() {
  TRY_ASSIGN(auto names, medium_.List());
  const auto routing = FindRouting();
  if (!routing || !IsActive(**routing)) return names;
  const auto sums = FindSums(**routing);
  if (!sums) return names;
  std::vector<std::string> found;
  if (!std::ranges::binary_search(names, kSumsName)) found.emplace_back(kSumsName);
  for (const auto& [name, digest] : **sums) {
    if (std::ranges::binary_search(names, name) || IsRepairName(name)) continue;
    // A medium that may lack volumes lacks them until somebody brings them.
    const auto volume = VolumeOfFile(name);
    if (volume && IsElsewhere(*volume)) continue;
    if (Open(name)) found.push_back(name);
  }
  names.insert(names.end(), found.begin(), found.end());
  std::ranges::sort(names);
  return names;
}

Result<std::unique_ptr<MediumFile>> MendingMedium::Open(std::string_view name) {
  if (name == "manifest.json" || name == "manifest.json.sig" || IsRepairName(name)) {
    return medium_.Open(name);
  }
  const auto found = FindRouting();
  if (!found || !IsActive(**found)) return medium_.Open(name);
  const Routing& routing = **found;
  const auto volume = routing.volumes.find(name);
  if (volume == routing.volumes.end()) return OpenSmall(routing, name);
  TRY_ASSIGN(auto mender, Mender(routing, volume->second));
  const std::uint64_t stated = mender->layout().volume_bytes;
  if (mender->IsBeyondRepair() && !options_.reads_on) return medium_.Open(name);
  // A file that is longer than stated is no damage that anything here mends.
  const std::uint64_t size = std::max(mender->present_bytes(), stated);
  return std::unique_ptr<MediumFile>(std::make_unique<MendedFile>(std::move(mender), size));
}

Result<std::shared_ptr<VolumeMender>> MendingMedium::Mender(const Routing& routing,
                                                            std::uint32_t volume) {
  {
    auto state = state_.Lock();
    const auto known = state->menders.find(volume);
    if (known != state->menders.end()) return known->second;
    // Files of volumes that nobody reads any more are closed; what was found stays.
    std::erase_if(state->menders, [](const auto& one) {
      return one.second.use_count() == 1 && one.second->damage().bad.empty() &&
             one.second->damage().bad_repair_blocks == 0;
    });
  }
  const VolumeSummary& stated = routing.manifest.volumes[volume - 1];
  VolumeMender::Parts parts;
  parts.volume = volume;
  parts.name = stated.name;
  parts.layout = ParityLayout::Of(stated.size, routing.manifest.parity);
  parts.spares = options_.spares;
  parts.scratch = options_.scratch;
  auto files = medium_.OpenCopies(stated.name);
  const bool is_missing = !files && files.error().code == ErrorCode::kNotFound;
  if (is_missing && IsElsewhere(volume)) return std::unexpected(std::move(files.error()));
  if (!files && files.error().code == ErrorCode::kCorrupt) {
    return std::unexpected(std::move(files.error()));
  }
  if (files) {
    SortStably(*files, [&](const auto& a, const auto& b) {
      return a->size() == stated.size && b->size() != stated.size;
    });
    parts.file = std::move(files->front());
    files->erase(files->begin());
    parts.copies = std::move(*files);
  }
  if (routing.manifest.parity != 0) {
    auto repair = medium_.OpenCopies(RepairName(volume));
    if (repair) parts.repair = std::move(*repair);
  }
  parts.load_digests = [this, &routing, volume] { return ReadBlocksFile(routing, volume); };
  auto mender = std::make_shared<VolumeMender>(std::move(parts));
  auto state = state_.Lock();
  return state->menders.try_emplace(volume, std::move(mender)).first->second;
}

Result<Bytes> MendingMedium::ReadBlocksFile(const Routing& routing, std::uint32_t volume) {
  const std::string name = BlocksName(volume);
  TRY_ASSIGN(const Sums* sums, FindSums(routing));
  TRY_ASSIGN(const auto blocks, OpenSmall(routing, name));
  const std::uint64_t stated =
      BlocksFileBytes(routing.manifest.volumes[volume - 1].size, routing.manifest.parity);
  if (blocks->size() != stated) {
    return Fail(ErrorCode::kCorrupt, "file-size",
                "'" + name + "' has " + std::to_string(blocks->size()) + " bytes, expected " +
                    std::to_string(stated));
  }
  const auto digest = DigestOf(*blocks);
  const auto expected = sums->find(name);
  if (!digest || expected == sums->end() || *digest != expected->second) {
    return Fail(ErrorCode::kCorrupt, "file-digest", "'" + name + "' is damaged too");
  }
  Bytes bytes(static_cast<std::size_t>(blocks->size()));
  TRY_ASSIGN(const std::size_t count, blocks->ReadAt(0, bytes));
  bytes.resize(count);
  return bytes;
}

// ---- Small files -------------------------------------------------------------------------------

Result<const MendingMedium::Sums*> MendingMedium::FindSums(const Routing& routing) {
  {
    auto state = state_.Lock();
    if (state->sums) return &*state->sums;
  }
  const auto text = ReadSums(routing);
  if (!text) return Fail(ErrorCode::kCorrupt, "sums-digest", "SHA256SUMS is damaged");
  Sums sums;
  for (const std::string_view line : Split(*text, '\n')) {
    const auto digest = Sha256Digest::FromHex(line.substr(0, 64));
    if (line.size() > 66 && digest) sums.emplace(line.substr(66), *digest);
  }
  auto state = state_.Lock();
  if (!state->sums) {
    state->sums = std::move(sums);
    state->sums_text = *text;
  }
  return &*state->sums;
}

/// As it was signed, wherever it is found.
std::optional<std::string> MendingMedium::ReadSums(const Routing& routing) {
  const auto files = medium_.OpenCopies(kSumsName);
  for (std::size_t i = 0; files && i < files->size(); ++i) {
    auto text = ReadText(*(*files)[i], kMaxSumsBytes);
    if (!text || !IsSignedList(*text, routing.manifest)) continue;
    if (i > 0) NoteMended(kSumsName);
    return text;
  }
  auto text = SumsFromSpares(routing);
  if (!text) text = SumsFromCopies(routing);
  if (!text) text = SumsFromFiles(routing);
  if (text) NoteMended(kSumsName);
  return text;
}

std::optional<std::string> MendingMedium::SumsFromSpares(const Routing& routing) const {
  if (options_.spares == nullptr) return std::nullopt;
  const auto spare = options_.spares->Open(kSumsName);
  auto text = spare ? ReadText(**spare, kMaxSumsBytes) : std::nullopt;
  return text && IsSignedList(*text, routing.manifest) ? text : std::nullopt;
}

/// repair-0000 lists all sums but its own.
std::optional<std::string> MendingMedium::SumsFromCopies(const Routing& routing) {
  if (routing.manifest.parity == 0) return std::nullopt;
  const auto copies = medium_.Open(kCopiesName);
  if (!copies) return std::nullopt;
  const auto head = ReadText(**copies, kMaxCopiesHeader);
  const auto header = head ? DecodeCopiesHeader(*head) : Fail(ErrorCode::kCorrupt, "");
  const auto own = DigestOf(**copies);
  if (!header || !own) return std::nullopt;
  std::map<std::string, Sha256Digest> sums;
  for (const CopiedFile& one : header->files) sums[one.name] = one.sha256;
  sums[std::string(kCopiesName)] = *own;
  std::string text = EncodeSums(sums);
  if (!IsSignedList(text, routing.manifest)) return std::nullopt;
  return text;
}

/// The list follows from the files when these are sound.
std::optional<std::string> MendingMedium::SumsFromFiles(const Routing& routing) {
  const auto names = medium_.List();
  if (!names) return std::nullopt;
  std::map<std::string, Sha256Digest> sums;
  for (const VolumeSummary& volume : routing.manifest.volumes) sums[volume.name] = volume.sha256;
  for (const std::string& name : *names) {
    if (name == kSumsName || name.starts_with("manifest.json") || sums.contains(name)) continue;
    const auto file = medium_.Open(name);
    const auto number = IsRepairName(name) ? VolumeOfFile(name) : std::nullopt;
    std::uint64_t limit = kMaxSmallFile;
    if (number && *number <= routing.manifest.volumes.size()) {
      limit = RepairFileBytes(routing.manifest.volumes[*number - 1].size, routing.manifest.parity);
    }
    const auto digest = file ? DigestOf(**file, limit) : std::nullopt;
    if (!digest) return std::nullopt;
    sums[name] = *digest;
  }
  std::string text = EncodeSums(sums);
  if (!IsSignedList(text, routing.manifest)) return std::nullopt;
  return text;
}

/// The copy of a blocks file is the end of its repair file; others lie in repair-0000.
std::unique_ptr<MediumFile> MendingMedium::OpenCopy(const Routing& routing, std::string_view name) {
  const unsigned parity = routing.manifest.parity;
  if (parity == 0) return nullptr;
  const auto volume = VolumeOfFile(name);
  if (volume && *volume <= routing.manifest.volumes.size()) {
    const std::uint64_t bytes = routing.manifest.volumes[*volume - 1].size;
    auto repair = medium_.Open(RepairName(*volume));
    if (!repair) return nullptr;
    return std::make_unique<PartOfFile>(std::move(*repair),
                                        ParityLayout::Of(bytes, parity).repair_bytes(),
                                        BlocksFileBytes(bytes, parity));
  }
  auto copies = medium_.Open(kCopiesName);
  const auto head = copies ? ReadText(**copies, kMaxCopiesHeader) : std::nullopt;
  const auto header = head ? DecodeCopiesHeader(*head) : Fail(ErrorCode::kCorrupt, "");
  if (!header) return nullptr;
  std::uint64_t at = header->bytes;
  for (const CopiedFile& one : header->files) {
    if (one.is_copied && one.name == name) {
      return std::make_unique<PartOfFile>(std::move(*copies), at, one.size);
    }
    at += one.size;
  }
  return nullptr;
}

/// From any of several media.
std::unique_ptr<MediumFile> MendingMedium::OpenRight(std::string_view name,
                                                     const Sha256Digest& digest) {
  if (!medium_.MayHaveCopies()) return nullptr;
  auto copies = medium_.OpenCopies(name);
  if (!copies) return nullptr;
  for (auto& copy : *copies) {
    if (DigestOf(*copy) == digest) return std::move(copy);
  }
  return nullptr;
}

Result<std::unique_ptr<MediumFile>> MendingMedium::OpenSmall(const Routing& routing,
                                                             std::string_view name) {
  const auto sums = FindSums(routing);
  if (!sums) return medium_.Open(name);
  if (name == kSumsName) {
    return std::unique_ptr<MediumFile>(std::make_unique<TextFile>(state_.Lock()->sums_text));
  }
  const auto expected = (*sums)->find(name);
  if (expected == (*sums)->end()) return medium_.Open(name);
  auto file = medium_.Open(name);
  if (file && DigestOf(**file) == expected->second) return file;
  if (auto right = OpenRight(name, expected->second)) {
    NoteMended(name);
    return right;
  }
  if (options_.spares != nullptr) {
    auto spare = options_.spares->Open(name);
    if (spare && DigestOf(**spare) == expected->second) {
      NoteMended(name);
      return spare;
    }
  }
  auto copy = OpenCopy(routing, name);
  if (copy != nullptr && DigestOf(*copy) == expected->second) {
    NoteMended(name);
    return copy;
  }
  return file;  // as it is: the verifier says what is wrong
}

// ---- Reports -----------------------------------------------------------------------------------

Result<void> MendingMedium::Survey(Depth depth, const std::function<Result<void>()>& between) {
  TRY_ASSIGN(const Routing* routing, FindRouting());
  for (const auto& [name, number] : routing->volumes) {
    auto mender = Mender(*routing, number);
    if (!mender && mender.error().code == ErrorCode::kNotFound) continue;
    if (!mender) return std::unexpected(std::move(mender.error()));
    TRY((*mender)->CheckRepairBlocks(between));
    Bytes bytes(kBlockBytes);
    const bool all = depth == Depth::kEverything ||
                     (depth == Depth::kDamagedVolumes && !(*mender)->damage().lost.empty());
    for (std::uint64_t block = 0; all && block < (*mender)->layout().blocks; ++block) {
      TRY(between());
      const auto read = (*mender)->ReadCarefully(block * kBlockBytes, bytes);
      if (!read && read.error().reason != "block-lost") return std::unexpected(read.error());
    }
  }
  return {};
}

std::vector<VolumeDamage> MendingMedium::Damage() const {
  std::vector<VolumeDamage> out;
  auto state = state_.Lock();
  for (const auto& [number, mender] : state->menders) {
    VolumeDamage damage = mender->damage();
    if (!damage.bad.empty() || damage.bad_repair_blocks > 0) out.push_back(std::move(damage));
  }
  return out;
}

Bytes MendingMedium::BlockDigests(std::uint32_t volume) {
  const auto routing = FindRouting();
  if (!routing || volume == 0 || volume > (*routing)->manifest.volumes.size()) return {};
  auto bytes = ReadBlocksFile(**routing, volume);
  return bytes ? std::move(*bytes) : Bytes();
}

std::optional<Sha256Digest> MendingMedium::StatedDigest(std::string_view name) {
  const auto routing = FindRouting();
  if (!routing) return std::nullopt;
  if (name == kSumsName) return (*routing)->manifest.sums_sha256;
  const auto sums = FindSums(**routing);
  if (!sums) return std::nullopt;
  const auto found = (*sums)->find(name);
  return found == (*sums)->end() ? std::nullopt : std::optional(found->second);
}

std::vector<std::string> MendingMedium::MendedFiles() const { return state_.Lock()->mended; }

}  // namespace gapferry::manifests
