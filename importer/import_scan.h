#pragma once

#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "base/canonical_json.h"
#include "base/progress.h"
#include "base/result.h"
#include "importer/scanner.h"
#include "importer/staging.h"
#include "manifests/bundle_verifier.h"
#include "mirror/mirror.h"
#include "mirror/quarantine.h"

namespace gapferry::importer {

/// The scanner's part of one import: it sees what was staged before anything of ours reads it.
/// Without a scanner in gapferry.yaml nothing happens. Clean verdicts are kept until the import
/// ends, so that an interrupted one scans only what has none; a file that was not clean is asked
/// about again.
class ImportScan {
 public:
  struct Withheld {
    std::string name;
    std::string why;
    std::string output;
  };

  /// `bundle` is its name, `manifest` the digest of its manifest. `mirror` must outlive it.
  ImportScan(mirror::Mirror& mirror, const Sha256Digest& manifest, std::string bundle,
             std::string actor);

  /// Scans. With `on_reject: withhold` content files that are not clean are left out of `staging`,
  /// up to kMaxWithheld. Otherwise, and for documents and intent, which cannot be left out, fails
  /// with kUntrusted (reason "scanner-rejected"), naming file and verdict. kUsage (reason
  /// "scanner-unusable") when the command cannot be started: nothing is imported unseen.
  Result<void> Run(Staging& staging, Progress& progress, std::stop_token stop);
  static constexpr std::size_t kMaxWithheld = 1'000;

  /// Moves what was left out into quarantine; call when nothing can refuse the bundle any more.
  Result<void> MoveToQuarantine();
  /// After the commit: files that were withheld before and came in now leave quarantine, verdicts
  /// are forgotten.
  Result<void> Finish();
  /// After a refusal: verdicts are forgotten.
  Result<void> Forget();

  const std::vector<Withheld>& withheld() const { return withheld_; }
  /// For evidence: program, counts, what was withheld; {"configured": false} without a scanner.
  JsonValue::Object Facts() const;

 private:
  Result<std::vector<ScanItem>> Unseen(const std::vector<Staging::StagedObject>& objects);
  Result<void> Judge(const Staging::StagedObject& object, const ScanVerdict& verdict);
  Result<void> KeepClean(std::span<const Scanner::Told> told);
  std::unexpected<Error> Rejected(const std::string& name, const ScanVerdict& verdict) const;

  mirror::Mirror& mirror_;
  const Sha256Digest manifest_;
  const std::string bundle_;
  const std::string actor_;
  const Scanner scanner_;
  const mirror::OnReject on_reject_;
  std::uint64_t files_ = 0;    ///< that the scanner had to see
  std::uint64_t resumed_ = 0;  ///< of them, found clean by an earlier run
  std::vector<mirror::Quarantine::Arrival> arrivals_;
  std::vector<Withheld> withheld_;
};

/// For plans, which stage nothing: copies the documents and the intent object of a bundle to a
/// folder of its own, has them scanned, and removes the folder. Fails as ImportScan::Run.
Result<void> ScanDocuments(mirror::Mirror& mirror, manifests::Medium& medium,
                           const manifests::VerifiedIndex& index, Progress& progress,
                           std::stop_token stop);

}  // namespace gapferry::importer
