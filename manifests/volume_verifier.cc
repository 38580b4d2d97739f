#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <mutex>
#include <thread>

#include "base/guarded.h"
#include "manifests/block_hasher.h"
#include "manifests/bundle_verifier.h"
#include "manifests/opened_medium.h"

namespace gapferry::manifests {
namespace {

constexpr std::size_t kReadPiece = 1 << 20;

std::string Place(const IndexLine& line, std::uint64_t offset) {
  return "object '" + line.name.ToString() + "' in " + VolumeName(line.volume) + " at offset " +
         std::to_string(offset);
}

/// How a volume is read: as fast as it goes, or block by block with repairs.
struct Volume {
  const MediumFile& file;
  bool careful = false;
};

/// A volume that ends early is shorter than it was when it was listed: the medium changed.
Result<void> ReadExactly(const Volume& volume, const IndexLine& line, std::uint64_t offset,
                         std::span<std::uint8_t> out) {
  auto count =
      volume.careful ? volume.file.ReadCarefully(offset, out) : volume.file.ReadAt(offset, out);
  // The place is told by the attempt before this one.
  if (!count && count.error().reason == "block-lost") {
    return std::unexpected(std::move(count.error()));
  }
  if (!count) return WithContext(std::move(count.error()), Place(line, offset));
  if (*count == out.size()) return {};
  return Fail(ErrorCode::kCorrupt, "volume-short",
              Place(line, offset) + ": the volume ends after " + std::to_string(*count) + " of " +
                  std::to_string(out.size()) + " bytes");
}

Result<void> ExpectZeros(const Volume& file, const IndexLine& line, std::uint64_t offset,
                         std::uint64_t count, const char* reason) {
  std::array<std::uint8_t, kTarTrailer> bytes{};
  const auto view = std::span(bytes).first(static_cast<std::size_t>(count));
  TRY(ReadExactly(file, line, offset, view));
  for (std::size_t i = 0; i < view.size(); ++i) {
    if (view[i] == 0) continue;
    return Fail(ErrorCode::kCorrupt, reason,
                Place(line, offset + i) + ": expected a zero byte behind the object");
  }
  return {};
}

Result<void> CheckHeader(const Volume& file, const IndexLine& line) {
  std::array<std::uint8_t, kTarBlock> got{};
  TRY(ReadExactly(file, line, line.offset, got));
  const auto expected = TarHeader(line);
  const auto differ = std::ranges::mismatch(got, expected);
  if (differ.in1 == got.end()) return {};
  const auto at = static_cast<std::uint64_t>(differ.in1 - got.begin());
  return Fail(ErrorCode::kCorrupt, "header-damaged",
              Place(line, line.offset + at) + ": the tar header is not the one of the index");
}

/// The first 64 KiB block of the object that the blocks file calls damaged.
std::string FindDamage(Medium& medium, const MediumFile& file, const IndexLine& line) {
  const auto blocks = medium.Open(BlocksName(line.volume));
  if (!blocks) return {};
  Bytes bytes(kBlockBytes);
  for (std::uint64_t block = line.data_offset() / kBlockBytes;
       block * kBlockBytes < line.data_offset() + line.size; ++block) {
    std::array<std::uint8_t, kBlockDigestBytes> expected{};
    const auto known = (*blocks)->ReadAt(block * kBlockDigestBytes, expected);
    const auto count = file.ReadAt(block * kBlockBytes, bytes);
    if (!known || *known != expected.size() || !count) return {};
    const Sha256Digest digest = Sha256(ByteView(bytes).first(*count));
    if (std::equal(expected.begin(), expected.end(), digest.bytes.begin())) continue;
    return "; damage begins in the block at offset " + std::to_string(block * kBlockBytes);
  }
  return {};
}

/// Header, bytes and padding of one line; bytes go to `slot` when there is one.
Result<void> CheckObject(Medium& medium, const Volume& file, const IndexLine& line, Sink* slot,
                         const std::stop_token& stop, Progress* progress) {
  TRY(CheckHeader(file, line));
  Sha256Hasher hash;
  Bytes buffer(static_cast<std::size_t>(std::min<std::uint64_t>(line.size, kReadPiece)));
  for (std::uint64_t done = 0; done < line.size;) {
    if (stop.stop_requested()) return Fail(ErrorCode::kCancelled, "stopped while verifying");
    const auto piece = std::span(buffer).first(
        static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), line.size - done)));
    TRY(ReadExactly(file, line, line.data_offset() + done, piece));
    hash.Update(piece);
    if (slot != nullptr) TRY(slot->Write(piece));
    done += piece.size();
    if (progress != nullptr) progress->Advance(0, piece.size());
  }
  const Sha256Digest digest = hash.Finish();
  if (digest != line.sha256) {
    return Fail(ErrorCode::kCorrupt, "object-damaged",
                Place(line, line.data_offset()) +
                    ": digest mismatch: expected sha256:" + line.sha256.ToHex() +
                    ", got sha256:" + digest.ToHex() + FindDamage(medium, file.file, line));
  }
  return ExpectZeros(file, line, line.data_offset() + line.size, line.padding(), "padding-damaged");
}

bool IsDamage(const Error& error) {
  return error.code == ErrorCode::kCorrupt || error.reason == "medium-unreadable";
}

/// The fast attempt says what is wrong, the careful one why it cannot be mended.
std::unexpected<Error> Unmended(Error fast, const Error& careful) {
  if (!IsDamage(careful)) return std::unexpected(careful);
  if (careful.reason == "block-lost") fast.message += "; " + careful.message;
  fast.code = ErrorCode::kCorrupt;
  return std::unexpected(std::move(fast));
}

}  // namespace

/// Hands lines out to workers in index order. Constant after construction: index, options.
class VolumeVerifier {
 public:
  VolumeVerifier(Medium& medium, const VerifiedIndex& index, const VerifyOptions& options)
      : medium_(medium, index.manifest().seal_key()), index_(index), options_(options) {}

  /// `index` is the one given at construction; it moves on once the workers are done.
  Result<VerifiedBundle> Run(VerifiedIndex&& index) {
    {
      std::vector<std::jthread> workers;
      for (unsigned i = 0; i < std::max(1u, options_.threads); ++i) {
        workers.emplace_back([this] { Work(); });
      }
    }
    auto shared = shared_.Lock();
    if (options_.damaged != nullptr) {
      std::ranges::sort(options_.damaged->items, {}, &DamagedObjects::Item::line);
    }
    if (shared->failure) return std::unexpected(std::move(*shared->failure));
    if (!index_.damaged_files().empty())
      return std::unexpected(index_.damaged_files().begin()->second);
    if (!shared->missing.empty()) return Missing(shared->missing);
    return VerifiedBundle(std::move(index), bytes_read_);
  }

 private:
  struct Shared {
    std::size_t next = 0;
    std::size_t failed_line = SIZE_MAX;
    std::optional<Error> failure;
    bool ended = false;
    std::map<std::uint32_t, std::shared_ptr<MediumFile>> volumes;  ///< those in use
    std::set<std::uint32_t> missing;
  };

  std::unexpected<Error> Missing(const std::set<std::uint32_t>& volumes) const {
    if (options_.missing != nullptr) *options_.missing = volumes;
    return Fail(ErrorCode::kNotFound, "volumes-missing",
                VolumeName(*volumes.begin()) +
                    (volumes.size() == 1
                         ? " is"
                         : " and " + std::to_string(volumes.size() - 1) + " other volumes are") +
                    " on none of the media given");
  }

  void Work() {
    for (;;) {
      std::size_t at = 0;
      {
        auto shared = shared_.Lock();
        // After a failure nothing new begins; earlier lines that are under way still count.
        if (shared->ended || shared->next == index_.lines().size()) return;
        at = shared->next++;
      }
      auto result = CheckLine(at);
      if (!result) Note(at, std::move(result.error()));
    }
  }

  void Note(std::size_t at, Error error) {
    auto shared = shared_.Lock();
    const bool goes_on = options_.damaged != nullptr && IsDamage(error);
    if (!goes_on) shared->ended = true;
    if (goes_on) {
      DamagedObjects& damaged = *options_.damaged;
      ++damaged.count;
      damaged.bytes += index_.lines()[at].size;
      if (damaged.items.size() < DamagedObjects::kMaxItems) damaged.items.push_back({at, error});
    }
    if (at < shared->failed_line) {
      shared->failed_line = at;
      shared->failure = std::move(error);
    }
  }

  Result<std::shared_ptr<MediumFile>> Volume(std::uint32_t number) {
    auto shared = shared_.Lock();
    auto& file = shared->volumes[number];
    if (file == nullptr) {
      shared->volumes.erase(shared->volumes.begin(), shared->volumes.find(number));
      TRY_ASSIGN(file, medium_.Open(VolumeName(number)), VolumeName(number));
    }
    return file;
  }

  Result<void> CheckLine(std::size_t at) {
    const IndexLine& line = index_.lines()[at];
    const bool absent = index_.absent_volumes().contains(line.volume);
    std::shared_ptr<MediumFile> file;
    if (!absent) {
      TRY_ASSIGN(file, Volume(line.volume));
    }
    bool held = false;
    std::unique_ptr<ObjectSlot> slot;
    if (options_.receiver != nullptr) {
      TRY_ASSIGN(held, options_.receiver->Has(line), line.name.ToString());
      if (!held && !absent) {
        TRY_ASSIGN(slot, options_.receiver->Begin(line), line.name.ToString());
      }
    }
    if (held) {
      if (options_.progress != nullptr) options_.progress->Advance(0, line.size);
    } else if (absent) {
      shared_.Lock()->missing.insert(line.volume);
    } else {
      TRY(Read(line, *file, slot));
      bytes_read_ += line.end() - line.offset;
      if (slot != nullptr) TRY(slot->Complete(), line.name.ToString());
    }
    if (options_.progress != nullptr) options_.progress->Advance(1, 0);
    const bool last =
        at + 1 == index_.lines().size() || index_.lines()[at + 1].volume != line.volume;
    if (!last || absent) return {};
    auto ends = ExpectZeros({*file}, line, line.end(), kTarTrailer, "trailer-damaged");
    if (ends || !IsDamage(ends.error())) return ends;
    const auto mended =
        ExpectZeros({*file, /*careful=*/true}, line, line.end(), kTarTrailer, "trailer-damaged");
    if (mended) return {};
    return Unmended(std::move(ends.error()), mended.error());
  }

  /// Into `slot`, or into a new one when what came first was damaged.
  Result<void> Read(const IndexLine& line, const MediumFile& file,
                    std::unique_ptr<ObjectSlot>& slot) {
    auto fast = CheckObject(medium_, {file}, line, slot.get(), options_.stop, options_.progress);
    if (fast || !IsDamage(fast.error())) return fast;
    if (slot != nullptr) {
      slot.reset();
      TRY_ASSIGN(slot, options_.receiver->Begin(line), line.name.ToString());
    }
    const auto mended =
        CheckObject(medium_, {file, /*careful=*/true}, line, slot.get(), options_.stop, nullptr);
    if (mended) return {};
    return Unmended(std::move(fast.error()), mended.error());
  }

  OpenedMedium medium_;
  const VerifiedIndex& index_;
  const VerifyOptions& options_;
  std::atomic<std::uint64_t> bytes_read_ = 0;
  Guarded<Shared> shared_;
};

Result<VerifiedBundle> VerifyVolumes(Medium& medium, VerifiedIndex index,
                                     const VerifyOptions& options) {
  std::uint64_t bytes = 0;
  for (const IndexLine& line : index.lines()) bytes += line.size;
  if (options.progress != nullptr) {
    options.progress->Begin("verifying", index.lines().size(), bytes);
  }
  VolumeVerifier verifier(medium, index, options);
  auto result = verifier.Run(std::move(index));
  if (options.progress != nullptr) options.progress->End();
  return result;
}

Result<void> ReadObject(Medium& medium, const VerifiedIndex& index, const IndexLine& line,
                        Sink& sink) {
  OpenedMedium opened(medium, index.manifest().seal_key());
  TRY_ASSIGN(const auto file, opened.Open(VolumeName(line.volume)),
             index.manifest().manifest().DirectoryName());
  // The sink takes no bytes back.
  return CheckObject(opened, {*file, /*careful=*/true}, line, &sink, {}, nullptr);
}

}  // namespace gapferry::manifests
