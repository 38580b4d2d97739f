#pragma once

#include <cstddef>
#include <vector>

#include "tests/support/catalogue/catalogue.h"
#include "tests/support/catalogue/machine.h"

namespace gapferry::catalogue {

/// What a scan of one computer finds when every visible update is approved for it. Indices into
/// Catalogue::revisions(), ascending; newest revisions only.
struct Expectation {
  std::vector<std::size_t> applicable;  ///< visible, not installed, installable
  /// Of these: no applicable or installed update supersedes it.
  std::vector<std::size_t> offered;
  std::vector<std::size_t> installed;  ///< visible and installed
  std::vector<std::size_t> drivers;    ///< newer than what the computer has for a device of it
};

/// Evaluates the catalogue as a client does (MS-WUSP 3.2): an update is seen when each prerequisite
/// clause has an installed alternative; a bundle is applicable when each group has a member that is
/// installed or applicable, and installed when each group has an installed one.
Expectation Expect(const Catalogue& catalogue, const Machine& machine);

}  // namespace gapferry::catalogue
