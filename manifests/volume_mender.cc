#include "manifests/volume_mender.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/hash.h"

namespace gapferry::manifests {
namespace {

/// A file without a name: gone when it is closed, whatever happens.
Result<File> OpenScratch(const fs::path& folder) {
  std::string path = (folder / "gapferry-mend-XXXXXX").string();
  const int fd = ::mkostemp(path.data(), O_CLOEXEC);
  if (fd < 0) return FailErrno(errno, "cannot make a temporary file in '" + folder.string() + "'");
  ::close(fd);
  auto file = File::OpenUpdate(path, 0600);
  TRY(RemoveFile(path));
  return file;
}

}  // namespace

Result<std::size_t> VolumeMender::ReadAt(std::uint64_t offset, std::span<std::uint8_t> out) const {
  if (parts_.file == nullptr) {
    return Fail(ErrorCode::kCorrupt, "file-missing", "'" + parts_.name + "' is missing");
  }
  return parts_.file->ReadAt(offset, out);
}

Result<std::size_t> VolumeMender::ReadCarefully(std::uint64_t offset, std::span<std::uint8_t> out) {
  TRY(LoadDigests());
  Bytes block(kBlockBytes);
  std::size_t done = 0;
  while (done < out.size() && offset + done < parts_.layout.volume_bytes) {
    const std::uint64_t number = (offset + done) / kBlockBytes;
    const auto whole =
        std::span(block).first(static_cast<std::size_t>(parts_.layout.block_bytes(number)));
    TRY(ReadBlock(number, whole));
    const auto from = static_cast<std::size_t>(offset + done - number * kBlockBytes);
    const std::size_t count = std::min(out.size() - done, whole.size() - from);
    std::copy_n(whole.begin() + static_cast<std::ptrdiff_t>(from), count,
                out.begin() + static_cast<std::ptrdiff_t>(done));
    done += count;
  }
  return done;
}

bool VolumeMender::IsBeyondRepair() const {
  const ParityLayout& layout = parts_.layout;
  if (parts_.spares != nullptr || !parts_.copies.empty()) return false;
  const std::uint64_t there = present_bytes() / kBlockBytes;
  const bool short_end = present_bytes() < layout.volume_bytes;
  const std::uint64_t missing = short_end ? layout.blocks - std::min(layout.blocks, there) : 0;
  if (missing == 0) return false;
  return layout.parity == 0 || (missing + layout.stripes - 1) / layout.stripes > layout.parity;
}

Result<void> VolumeMender::LoadDigests() {
  const std::lock_guard lock(digests_mutex_);
  if (digests_) return {};
  // Without locks that a report holds: this opens other files of the bundle.
  auto digests = parts_.load_digests();
  const ParityLayout& layout = parts_.layout;
  const std::uint64_t size = (layout.blocks + layout.repair_blocks()) * kBlockDigestBytes;
  digests_ = digests && digests->size() == size ? std::move(*digests) : Bytes();
  return {};
}

bool VolumeMender::IsRight(std::uint64_t digest_number, ByteView bytes) const {
  const Sha256Digest digest = Sha256(bytes);
  return std::equal(
      digest.bytes.begin(), digest.bytes.begin() + kBlockDigestBytes,
      digests_->begin() + static_cast<std::ptrdiff_t>(digest_number * kBlockDigestBytes));
}

bool VolumeMender::ReadFromMedium(std::uint64_t block, std::span<std::uint8_t> out) const {
  if (parts_.file == nullptr) return false;
  const auto count = parts_.file->ReadAt(block * kBlockBytes, out);
  return count && *count == out.size() && (digests_->empty() || IsRight(block, out));
}

bool VolumeMender::ReadFromSpares(std::uint64_t block, std::span<std::uint8_t> out) const {
  if (parts_.spares == nullptr) return false;
  const auto found = parts_.spares->ReadBlock(parts_.volume, block, out);
  return found && *found && (digests_->empty() || IsRight(block, out));
}

/// Without digests nobody knows which copy is right.
bool VolumeMender::ReadFromCopies(std::uint64_t block, std::span<std::uint8_t> out) const {
  if (digests_->empty()) return false;
  return std::ranges::any_of(parts_.copies, [&](const auto& copy) {
    const auto count = copy->ReadAt(block * kBlockBytes, out);
    return count && *count == out.size() && IsRight(block, out);
  });
}

/// A block that is bad on the medium.
bool VolumeMender::ReadFromElsewhere(std::uint64_t block, std::span<std::uint8_t> out) {
  if (ReadFromCopies(block, out)) {
    from_copies_.insert(block);
    return true;
  }
  if (!ReadFromSpares(block, out)) return false;
  from_spares_.insert(block);
  return true;
}

bool VolumeMender::ReadRepairBlock(std::uint64_t number, Bytes& out) {
  out.resize(kBlockBytes);
  for (const auto& repair : parts_.repair) {
    const auto count = repair->ReadAt(number * kBlockBytes, out);
    if (count && *count == out.size() && IsRight(parts_.layout.blocks + number, out)) return true;
  }
  bad_repair_.insert(number);
  return false;
}

Result<void> VolumeMender::ReadBlock(std::uint64_t block, std::span<std::uint8_t> out) {
  // Without digests nobody knows which blocks are wrong: those that were asked for come first.
  if (digests_->empty() && ReadFromSpares(block, out)) {
    const std::lock_guard lock(mutex_);
    bad_.insert(block);
    from_spares_.insert(block);
    return {};
  }
  if (ReadFromMedium(block, out)) return {};
  const std::lock_guard lock(mutex_);
  return ReadBad(block, out);
}

Result<void> VolumeMender::ReadBad(std::uint64_t block, std::span<std::uint8_t> out) {
  bad_.insert(block);
  if (ReadFromElsewhere(block, out)) return {};
  if (parts_.layout.parity != 0 && !digests_->empty()) {
    const std::uint64_t at_once = ParityGroup::StripesIn(parts_.layout, kMendMemory);
    TRY(RestoreGroup(block % parts_.layout.stripes / at_once * at_once));
  }
  const auto kept = kept_.find(block);
  if (kept == kept_.end()) {
    lost_.insert(block);
    return LostBlock(block);
  }
  TRY_ASSIGN(const std::size_t count, scratch_.ReadAt(kept->second, out));
  // It was checked when it was kept; the disk below may be failing too.
  if (count != out.size() || !IsRight(block, out)) {
    return Fail(ErrorCode::kInternal, "the temporary file in '" + parts_.scratch.string() +
                                          "' gives other bytes than were written");
  }
  return {};
}

Result<void> VolumeMender::RestoreGroup(std::uint64_t first) {
  if (!groups_done_.insert(first).second) return {};
  const ParityLayout& layout = parts_.layout;
  const std::uint64_t count =
      std::min(ParityGroup::StripesIn(layout, kMendMemory), layout.stripes - first);
  ParityGroup group(layout, first, count);
  Bytes buffer(static_cast<std::size_t>(count * kBlockBytes));
  std::map<std::uint64_t, Lost> lost;
  for (std::uint64_t run = first; run < layout.blocks; run += layout.stripes) {
    AddRun(group, run, buffer, lost);
  }
  for (const auto& [stripe, rows] : lost) TRY(RestoreStripe(group, stripe, rows));
  return {};
}

/// Blocks next to each other, one of each stripe of the group.
void VolumeMender::AddRun(ParityGroup& group, std::uint64_t run, Bytes& buffer,
                          std::map<std::uint64_t, Lost>& lost) {
  const ParityLayout& layout = parts_.layout;
  const std::uint64_t end = std::min(layout.blocks, run + group.count());
  const std::uint64_t bytes = std::min(layout.volume_bytes, end * kBlockBytes) - run * kBlockBytes;
  const auto view = std::span(buffer).first(static_cast<std::size_t>(bytes));
  const auto read = parts_.file == nullptr ? Result<std::size_t>(0)
                                           : parts_.file->ReadAt(run * kBlockBytes, view);
  const bool is_whole = read && *read == view.size();
  for (std::uint64_t block = run; block < end; ++block) {
    const auto one = view.subspan(static_cast<std::size_t>((block - run) * kBlockBytes),
                                  static_cast<std::size_t>(layout.block_bytes(block)));
    // One unreadable sector makes a long read fail: then block by block.
    const bool right = is_whole ? IsRight(block, one) : ReadFromMedium(block, one);
    if (!right) bad_.insert(block);
    if (right || ReadFromElsewhere(block, one)) {
      group.Add(block, one);
    } else {
      lost[block % layout.stripes].push_back(static_cast<unsigned>(block / layout.stripes));
    }
  }
}

Result<void> VolumeMender::RestoreStripe(const ParityGroup& group, std::uint64_t stripe,
                                         const Lost& lost) {
  const ParityLayout& layout = parts_.layout;
  std::vector<Bytes> repair_bytes;
  std::vector<unsigned> repair_rows;
  for (unsigned row = 0; row < layout.parity && repair_bytes.size() < lost.size(); ++row) {
    Bytes bytes;
    if (!ReadRepairBlock(row * layout.stripes + stripe, bytes)) continue;
    repair_bytes.push_back(std::move(bytes));
    repair_rows.push_back(row);
  }
  const auto number = [&](unsigned row) { return row * layout.stripes + stripe; };
  std::vector<Bytes> restored;
  if (repair_bytes.size() == lost.size()) {
    std::vector<ParityGroup::Repair> repair;
    for (std::size_t i = 0; i < lost.size(); ++i)
      repair.push_back({repair_rows[i], repair_bytes[i]});
    restored = group.Restore(stripe, lost, repair);
  }
  if (restored.size() != lost.size()) {
    for (const unsigned row : lost) lost_.insert(number(row));
    return {};
  }
  for (std::size_t i = 0; i < lost.size(); ++i) {
    restored[i].resize(static_cast<std::size_t>(layout.block_bytes(number(lost[i]))));
    TRY(Keep(number(lost[i]), restored[i]));
  }
  return {};
}

Result<void> VolumeMender::Keep(std::uint64_t block, ByteView bytes) {
  // Everything that went in was checked; what came out is checked all the same.
  if (!IsRight(block, bytes)) {
    lost_.insert(block);
    return {};
  }
  if (!scratch_.is_open()) {
    TRY_ASSIGN(scratch_, OpenScratch(parts_.scratch));
  }
  const std::uint64_t at = kept_.size() * kBlockBytes;
  TRY(scratch_.WriteAllAt(at, bytes));
  kept_[block] = at;
  return {};
}

std::unexpected<Error> VolumeMender::LostBlock(std::uint64_t block) const {
  const ParityLayout& layout = parts_.layout;
  std::string text = "block " + std::to_string(block) + " of " + parts_.name + " (offset " +
                     std::to_string(block * kBlockBytes) + ") is damaged";
  if (layout.parity != 0 && !digests_->empty()) {
    const std::uint64_t stripe = block % layout.stripes;
    const auto of_stripe = [&](std::uint64_t one) { return one % layout.stripes == stripe; };
    const auto gone = std::ranges::count_if(lost_, of_stripe);
    const auto gone_repair = std::ranges::count_if(bad_repair_, of_stripe);
    text += ", " + std::to_string(gone) + " blocks of its stripe are lost and " +
            std::to_string(layout.parity - static_cast<std::uint64_t>(gone_repair)) + " of " +
            std::to_string(layout.parity) + " repair blocks are left";
  }
  return Fail(ErrorCode::kCorrupt, "block-lost", std::move(text));
}

Result<void> VolumeMender::CheckRepairBlocks(const std::function<Result<void>()>& between) {
  TRY(LoadDigests());
  if (digests_->empty()) return {};
  Bytes bytes;
  for (std::uint64_t number = 0; number < parts_.layout.repair_blocks(); ++number) {
    TRY(between());
    const std::lock_guard lock(mutex_);
    ReadRepairBlock(number, bytes);
  }
  return {};
}

VolumeDamage VolumeMender::damage() const {
  const std::lock_guard lock(mutex_);
  VolumeDamage damage;
  damage.volume = parts_.volume;
  damage.name = parts_.name;
  damage.blocks = parts_.layout.blocks;
  damage.bad.assign(bad_.begin(), bad_.end());
  damage.lost.assign(lost_.begin(), lost_.end());
  damage.from_parity = kept_.size();
  damage.from_spares = from_spares_.size();
  damage.from_copies = from_copies_.size();
  damage.repair_blocks = parts_.layout.repair_blocks();
  damage.bad_repair_blocks = bad_repair_.size();
  damage.is_missing = parts_.file == nullptr;
  const std::lock_guard digests_lock(digests_mutex_);
  damage.has_digests = !digests_ || !digests_->empty();
  return damage;
}

}  // namespace gapferry::manifests
