// .sig files: what is accepted re-encodes to the same bytes and names no key twice.
#include <cstdlib>
#include <set>

#include "manifests/signature.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gapferry;
  const auto lines = manifests::DecodeSignatures(AsText({data, size}));
  if (!lines) return 0;
  if (manifests::EncodeSignatures(*lines) != AsText({data, size})) std::abort();
  std::set<manifests::KeyId> ids;
  for (const auto& line : *lines) {
    if (!ids.insert(line.key_id).second) std::abort();
  }
  return 0;
}
