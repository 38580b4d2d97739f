#pragma once

#include <cstdint>
#include <map>
#include <set>

#include "base/guid.h"

namespace gapferry::client {

struct Failure {
  std::int32_t hresult = 0;  ///< of the last attempt
  std::int32_t times = 0;
};

/// What updates went through on a computer, beyond what its facts and their rules say: nothing is
/// really installed, so this is where installing shows.
struct History {
  std::set<Guid> installed;        ///< taken as installed whatever the rules say
  std::set<Guid> removed;          ///< taken as not installed whatever the rules say
  std::set<Guid> restart_pending;  ///< installed when the computer has restarted
  std::set<Guid> downloaded;       ///< complete on this computer, not installed
  std::map<Guid, Failure> failed;  ///< what did not work since it last did
  std::set<Guid> installed_once;   ///< ever
};

}  // namespace gapferry::client
