#pragma once

#include <set>
#include <string>

#include "base/result.h"
#include "mirror/mirror.h"

namespace gapferry::mirror::exchange {

/// What kinds of things published revisions of this mirror do: a plan lists what is not among them.
struct KnownKinds {
  std::set<std::string> handlers;    ///< URIs
  std::set<std::string> publishers;  ///< GUIDs as text
  std::set<std::string> commands;    ///< programs with their arguments
};
Result<KnownKinds> ReadKnownKinds(Mirror& mirror);

}  // namespace gapferry::mirror::exchange
