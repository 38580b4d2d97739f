// Canonical JSON: what is accepted re-encodes to the same bytes.
#include "base/canonical_json.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = gapferry::AsText({data, size});
  const auto value = gapferry::ParseCanonicalJson(text);
  if (value && gapferry::WriteCanonicalJson(*value) != text) std::abort();
  return 0;
}
