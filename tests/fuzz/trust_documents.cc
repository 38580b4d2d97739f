// Trust documents of a bundle: what is accepted re-encodes to itself.
#include <cstdlib>

#include "base/bytes.h"
#include "manifests/trust_document.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gapferry;
  const ByteView bytes{data, size};
  const auto one = manifests::DecodeTrustDocument(bytes);
  if (one && manifests::EncodeTrustDocument(*one) != AsText(bytes)) std::abort();
  const auto several = manifests::DecodeTrustDocuments(bytes);
  if (several && manifests::EncodeTrustDocuments(*several) != AsText(bytes)) std::abort();
  return 0;
}
