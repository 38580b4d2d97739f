#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "exporter/export_base.h"
#include "mirror/ledger.h"
#include "mirror/mirror.h"

namespace gapferry::exporter {

/// The files of a bundle, and what became of the others.
struct ContentPlan {
  std::vector<mirror::PinnedFile> files;  ///< ascending by SHA-1
  std::uint64_t bytes = 0;
  std::uint64_t believed = 0;          ///< needed, and held there
  std::uint64_t missing = 0;           ///< needed, but not held here
  std::uint64_t replaced_updates = 0;  ///< approved, and others approved in their place
  struct LeftOut {
    std::uint64_t updates = 0;
    std::uint64_t bytes = 0;
  };
  LeftOut by_language, by_architecture, by_block;  ///< by_block: the site blocks them itself
  std::uint64_t withheld = 0;                      ///< the site does not let these files in
  std::uint64_t over_limit_files = 0, over_limit_bytes = 0;  ///< for the next bundle
  std::uint64_t max_bytes = 0;                               ///< the limit; 0: none
  std::uint64_t never_fitting_files = 0;                     ///< each larger than the limit
  std::uint64_t requests = 0;                                ///< files that sites asked for
  std::uint64_t requests_honoured = 0;                       ///< with this bundle
  std::uint64_t requests_filtered = 0;  ///< needed there, but the site's settings say no
};

/// What the sites are to be given, each by its settings, requests and belief (`bases`, in the order
/// of the recipients); a file travels when one of them needs and lacks it. With a limit of bytes:
/// what people asked for and licence texts first, then whole updates: definition, critical and
/// security updates before others, by severity, deadline, age of the approval.
Result<ContentPlan> PlanContent(mirror::Mirror& mirror, const mirror::Destination& destination,
                                const std::vector<SiteBase>& bases);

}  // namespace gapferry::exporter
