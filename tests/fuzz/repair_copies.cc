// The header of repair-0000: what is accepted re-encodes to itself, and no copy lies outside.
#include <cstdlib>

#include "base/bytes.h"
#include "manifests/repair_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gapferry;
  const std::string_view text = AsText({data, size});
  const auto header = manifests::DecodeCopiesHeader(text);
  if (!header) return 0;
  if (header->bytes > size) std::abort();
  if (manifests::EncodeCopiesHeader(header->files) != text.substr(0, header->bytes)) std::abort();
  return 0;
}
