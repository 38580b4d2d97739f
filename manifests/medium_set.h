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
/// A volume is taken from the first folder where its blocks file lies beside it: a volume without
/// one was not finished there. Everything else comes from the first folder that has it;
/// manifest.json.sig from where it is largest, since signatures are only ever added.
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
  bool MayLackVolumes() const override { return lacking_ == Lacking::kElsewhere; }

 private:
  std::vector<DirectoryMedium> folders_;
  Lacking lacking_;
};

}  // namespace gapferry::manifests
