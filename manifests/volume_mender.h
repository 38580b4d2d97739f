#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "manifests/medium.h"
#include "manifests/parity.h"

namespace gapferry::manifests {

/// Blocks and small files of a bundle that come from elsewhere: a repair folder
/// (manifests/repair_folder.h). Nothing of it is believed before a digest of the bundle says so.
/// Thread-safe.
class SpareParts {
 public:
  virtual ~SpareParts() = default;
  /// False when it has no such block; `out` is as large as the block.
  virtual Result<bool> ReadBlock(std::uint32_t volume, std::uint64_t block,
                                 std::span<std::uint8_t> out) const = 0;
  virtual bool HasBlocksOf(std::uint32_t volume) const = 0;
  /// A small file; kNotFound when it has none.
  virtual Result<std::unique_ptr<MediumFile>> Open(std::string_view name) const = 0;
};

/// What is known of one volume's damage: of all blocks that somebody asked for carefully, and of
/// their stripes.
struct VolumeDamage {
  std::uint32_t volume = 0;
  std::string name;
  std::uint64_t blocks = 0;
  std::vector<std::uint64_t> bad;   ///< ascending: wrong, unreadable or missing on the medium
  std::vector<std::uint64_t> lost;  ///< of these, could not be restored
  std::uint64_t from_parity = 0;    ///< of these, restored by repair blocks
  std::uint64_t from_spares = 0;    ///< of these, taken from a repair folder
  std::uint64_t from_copies = 0;    ///< of these, taken from another copy of the volume
  std::uint64_t repair_blocks = 0;
  std::uint64_t bad_repair_blocks = 0;  ///< found while they were needed
  bool is_missing = false;              ///< the whole file
  bool has_digests = true;              ///< false: the blocks file is lost too
};

/// One volume as it lies on a medium, and what restores it. Restored blocks lie in a temporary file
/// that is as large as they are; memory is bounded by kMendMemory. Neighbouring stripes are
/// restored together, so that a medium is read in long runs, and at most once more. Thread-safe.
class VolumeMender {
 public:
  static constexpr std::uint64_t kMendMemory = 48ULL << 20;
  struct Parts {
    std::uint32_t volume = 0;
    std::string name;
    ParityLayout layout;
    std::unique_ptr<MediumFile> file;                      ///< null: missing
    std::vector<std::unique_ptr<MediumFile>> copies = {};  ///< of the same volume, on other media
    std::vector<std::unique_ptr<MediumFile>> repair = {};  ///< copies of its repair file; or none
    /// The whole blocks file, its digest checked; asked for once, when damage is met.
    std::function<Result<Bytes>()> load_digests;
    std::shared_ptr<const SpareParts> spares;  ///< may be null
    std::filesystem::path scratch;             ///< folder of the temporary file
  };
  explicit VolumeMender(Parts parts) : parts_(std::move(parts)) {}

  /// As the medium gives them.
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::uint8_t> out) const;
  /// Right bytes only, as far as the blocks file tells; kCorrupt, reason "block-lost".
  Result<std::size_t> ReadCarefully(std::uint64_t offset, std::span<std::uint8_t> out);

  /// Whether so much of the file is missing that no repair block helps.
  bool IsBeyondRepair() const;
  std::uint64_t present_bytes() const { return parts_.file ? parts_.file->size() : 0; }
  const ParityLayout& layout() const { return parts_.layout; }

  /// Reads every repair block; what is bad counts from then on.
  Result<void> CheckRepairBlocks(const std::function<Result<void>()>& between);
  VolumeDamage damage() const;

 private:
  using Lost = std::vector<unsigned>;  ///< rows of one stripe
  Result<void> LoadDigests();
  bool IsRight(std::uint64_t digest_number, ByteView bytes) const;
  bool ReadFromMedium(std::uint64_t block, std::span<std::uint8_t> out) const;
  bool ReadFromCopies(std::uint64_t block, std::span<std::uint8_t> out) const;
  bool ReadFromElsewhere(std::uint64_t block, std::span<std::uint8_t> out);
  bool ReadFromSpares(std::uint64_t block, std::span<std::uint8_t> out) const;
  bool ReadRepairBlock(std::uint64_t number, Bytes& out);
  Result<void> ReadBlock(std::uint64_t block, std::span<std::uint8_t> out);
  Result<void> ReadBad(std::uint64_t block, std::span<std::uint8_t> out);
  Result<void> RestoreGroup(std::uint64_t first);
  void AddRun(ParityGroup& group, std::uint64_t run, Bytes& buffer,
              std::map<std::uint64_t, Lost>& lost);
  Result<void> RestoreStripe(const ParityGroup& group, std::uint64_t stripe, const Lost& lost);
  Result<void> Keep(std::uint64_t block, ByteView bytes);
  std::unexpected<Error> LostBlock(std::uint64_t block) const;

  Parts parts_;
  mutable std::mutex digests_mutex_;
  std::optional<Bytes> digests_;  // constant once it is there
  mutable std::mutex mutex_;      // of everything below
  std::set<std::uint64_t> bad_;
  std::set<std::uint64_t> from_spares_;
  std::set<std::uint64_t> from_copies_;
  std::map<std::uint64_t, std::uint64_t> kept_;  ///< restored block: its place in the scratch file
  std::set<std::uint64_t> lost_;
  std::set<std::uint64_t> bad_repair_;
  std::set<std::uint64_t> groups_done_;  ///< by their first stripe
  File scratch_;
};

}  // namespace gapferry::manifests
