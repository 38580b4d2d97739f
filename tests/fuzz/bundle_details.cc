// Details of a sealed bundle: what is accepted re-encodes to itself.
#include <cstdlib>

#include "base/bytes.h"
#include "manifests/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gapferry;
  manifests::Manifest manifest;
  manifest.sequence = 1000;
  const ByteView bytes{data, size};
  if (!manifests::DecodeDetails(bytes, manifest)) return 0;
  if (manifests::EncodeDetails(manifest) != AsText(bytes)) std::abort();
  return 0;
}
