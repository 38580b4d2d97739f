#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/context.h"
#include "manifests/bundle_report.h"
#include "manifests/medium_set.h"
#include "manifests/mending.h"

namespace gapferry::cli {

/// A bundle that was checked from end to end, and where it lies.
struct CheckedBundle {
  std::unique_ptr<manifests::MediumSet> media;
  std::unique_ptr<manifests::MendingMedium> medium;
  manifests::BundleReport report;
};

/// For `command`, `verify` or `repair-request`: options DIR, --trust, --repair, --part. The senders
/// that count are those of this mirror, or the cards of --trust, which need no mirror.
Result<CheckedBundle> CheckBundle(Context& context, const std::string& command);
std::vector<Option> BundleCheckOptions();

std::string SignatureText(const manifests::SignatureReport& report);

}  // namespace gapferry::cli
