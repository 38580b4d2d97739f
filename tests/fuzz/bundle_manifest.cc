// manifest.json: what is accepted re-encodes to the same bytes.
#include <cstdlib>

#include "manifests/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gapferry;
  const auto manifest = manifests::DecodeManifest({data, size});
  if (manifest && manifests::EncodeManifest(*manifest) != AsText({data, size})) std::abort();
  return 0;
}
