#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "manifests/medium.h"
#include "manifests/seal.h"

namespace gapferry::manifests {

/// A sealed bundle as its recipient sees it: "volume-0001.tar" is the text of
/// "volume-0001.tar.sealed", which lies in `stored`; names that end with ".sealed", and all files
/// that are not sealed, are handed on as they are. Reads anywhere, one chunk of memory for each
/// reader and a few kept. A chunk that is not what was sealed: kCorrupt, reason "seal-damaged",
/// naming file and offset of its 64 KiB block. Without a key everything is handed on: a plain
/// bundle. `stored` must outlive it.
class OpenedMedium : public Medium {
 public:
  OpenedMedium(Medium& stored, const std::optional<SealKey>& key) : stored_(stored), key_(key) {}
  std::string Describe() const override { return stored_.Describe(); }
  Result<std::vector<std::string>> List() override { return stored_.List(); }
  Result<std::unique_ptr<MediumFile>> Open(std::string_view name) override;
  bool MayLackVolumes() const override { return stored_.MayLackVolumes(); }

 private:
  Medium& stored_;
  std::optional<SealKey> key_;
};

/// Whether a file of this plain name is sealed in a sealed bundle.
bool IsSealedFile(std::string_view name);

}  // namespace gapferry::manifests
