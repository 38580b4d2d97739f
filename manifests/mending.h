#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "manifests/manifest.h"
#include "manifests/medium.h"
#include "manifests/volume_mender.h"

namespace gapferry::manifests {

/// Whether a failure says that bytes of the medium are not what was signed: other copies of them
/// help.
bool IsDamage(const Error& error);

struct MendOptions {
  std::filesystem::path scratch = {};  ///< folder for restored blocks; "" takes the system's
  std::shared_ptr<const SpareParts> spares = {};  ///< may be null
  /// Damage is to be reported, not only mended: volumes that are beyond repair are opened too.
  bool reads_on = false;
};

/// A bundle's medium seen through its repair files, a repair folder (docs/format.md, "Repair
/// files") and all copies that lie on several media. Sound files pass as they are. Damaged, missing
/// or unreadable ones are given right as far as that is possible: small files from their copies,
/// blocks of volumes when they are read carefully. Nothing that it gives needs to be believed: the
/// verifier checks all as ever. The manifest is read when the first other file is opened, which the
/// verifier does after it has checked the signatures. Thread-safe. `medium` must outlive it.
class MendingMedium : public Medium {
 public:
  MendingMedium(Medium& medium, MendOptions options);

  /// Before anything was opened.
  void UseSpares(std::shared_ptr<const SpareParts> spares) { options_.spares = std::move(spares); }

  std::string Describe() const override { return medium_.Describe(); }
  Result<std::vector<std::string>> List() override;
  Result<std::unique_ptr<MediumFile>> Open(std::string_view name) override;
  bool MayLackVolumes() const override { return medium_.MayLackVolumes(); }
  /// Only of files that have no digest: the others are given right by Open.
  Result<std::vector<std::unique_ptr<MediumFile>>> OpenCopies(std::string_view name) override {
    return medium_.OpenCopies(name);
  }
  bool MayHaveCopies() const override { return medium_.MayHaveCopies(); }

  /// Whether there are repair files, a repair folder or several media: an import reads what they
  /// mend.
  bool MayMend(const Manifest& manifest) const {
    return manifest.parity != 0 || options_.spares != nullptr || medium_.MayHaveCopies();
  }
  /// Which blocks Survey looks at beside all repair blocks.
  enum class Depth {
    kRepairBlocks,    ///< none: every object was right
    kDamagedVolumes,  ///< all of volumes with a lost block: a check of an object ends at the first
    kEverything,
  };
  /// Finds the damage that no check of an object has met. `between` is called often and may end it.
  Result<void> Survey(Depth depth, const std::function<Result<void>()>& between);
  /// Volumes of which blocks are bad, ascending.
  std::vector<VolumeDamage> Damage() const;
  /// Small files that were damaged or missing and given right.
  std::vector<std::string> MendedFiles() const;
  /// Digests of the blocks of a volume, then of its repair blocks; empty when they are lost.
  Bytes BlockDigests(std::uint32_t volume);
  /// What the signed list says of a small file, and of itself; nothing when it is lost.
  std::optional<Sha256Digest> StatedDigest(std::string_view name);

 private:
  struct Routing {
    Manifest manifest;
    std::map<std::string, std::uint32_t, std::less<>> volumes;  ///< stored name: number
  };
  using Sums = std::map<std::string, Sha256Digest, std::less<>>;
  struct State {
    std::optional<Routing> routing;
    std::optional<Sums> sums;
    std::string sums_text;
    std::map<std::uint32_t, std::shared_ptr<VolumeMender>> menders;
    std::vector<std::string> mended;
  };

  Result<const Routing*> FindRouting();
  bool IsElsewhere(std::uint32_t volume) const;
  bool IsActive(const Routing& routing) const;
  Result<const Sums*> FindSums(const Routing& routing);
  std::optional<std::string> ReadSums(const Routing& routing);
  std::optional<std::string> SumsFromSpares(const Routing& routing) const;
  std::optional<std::string> SumsFromCopies(const Routing& routing);
  std::optional<std::string> SumsFromFiles(const Routing& routing);
  Result<std::unique_ptr<MediumFile>> OpenSmall(const Routing& routing, std::string_view name);
  std::unique_ptr<MediumFile> OpenRight(std::string_view name, const Sha256Digest& digest);
  std::unique_ptr<MediumFile> OpenCopy(const Routing& routing, std::string_view name);
  Result<std::shared_ptr<VolumeMender>> Mender(const Routing& routing, std::uint32_t volume);
  Result<Bytes> ReadBlocksFile(const Routing& routing, std::uint32_t volume);
  void NoteMended(std::string_view name);

  Medium& medium_;
  MendOptions options_;
  mutable Guarded<State> state_;
};

}  // namespace gapferry::manifests
