#pragma once

#include <filesystem>
#include <map>
#include <stop_token>
#include <vector>

#include "base/result.h"
#include "manifests/bundle_writer.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"

namespace gapferry::exporter {

/// The objects of one reserved bundle: intent and metadata in a folder of staging/, content in the
/// store. Made again from the ledger by every run, with the same bytes each time. The mirror must
/// outlive it.
class BundleObjects : public manifests::ObjectProvider {
 public:
  /// Writes intent and metadata objects to `folder`. Batches hold at most 1,000 documents and, but
  /// for single large ones, 16 MiB as stored (half a volume if that is less).
  static Result<BundleObjects> Build(mirror::Mirror& mirror, const mirror::BundleOut& bundle,
                                     std::uint64_t volume_bytes, std::filesystem::path folder,
                                     std::stop_token stop);

  const std::vector<manifests::PlannedObject>& plan() const { return plan_; }
  Result<std::unique_ptr<Source>> Open(const manifests::ObjectName& name,
                                       std::uint64_t offset) override;

 private:
  BundleObjects(mirror::Mirror& mirror, std::filesystem::path folder)
      : mirror_(&mirror), folder_(std::move(folder)) {}
  Result<void> WriteIntent(const mirror::BundleOut& bundle);
  Result<void> WriteMetadata(std::uint64_t batch_bytes, std::stop_token stop);
  std::filesystem::path PathOf(const manifests::ObjectName& name) const;

  mirror::Mirror* mirror_;
  std::filesystem::path folder_;
  std::vector<manifests::PlannedObject> plan_;
};

}  // namespace gapferry::exporter
