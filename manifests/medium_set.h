#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "manifests/medium.h"

namespace gapferry::manifests {

/// Whether volumes that lie in none of the folders are damage or on media that come later.
enum class Lacking { kRefused, kElsewhere };

/// Several folders that together hold one bundle: one medium each, all there at the same time.
/// The same file may lie in several of them. Of a volume the copies come first beside which its
/// blocks file lies: a volume without one was not finished there. Of manifest.json.sig the largest
/// comes first, since signatures are only ever added; of everything else that of the first folder.
/// A copy that cannot be opened is passed over where there is another one.
/// Nothing here decides about trust: whatever is taken is checked by the verifier.
class MediumSet : public Medium {
 public:
  /// At least one folder.
  explicit MediumSet(const std::vector<std::filesystem::path>& folders,
                     Lacking lacking = Lacking::kRefused);
  std::string Describe() const override;
  /// Of all folders, each name once.
  Result<std::vector<std::string>> List() override;
  /// Where volumes may be elsewhere, an absent one is kNotFound with reason "volumes-missing".
  Result<std::unique_ptr<MediumFile>> Open(std::string_view name) override;
  Result<std::vector<std::unique_ptr<MediumFile>>> OpenCopies(std::string_view name) override;
  bool MayHaveCopies() const override { return folders_.size() > 1; }
  bool MayLackVolumes() const override { return lacking_ == Lacking::kElsewhere; }

 private:
  std::vector<DirectoryMedium> folders_;
  Lacking lacking_;
};

}  // namespace gapferry::manifests
