// Returns: what is accepted is printable ASCII and re-encodes to the same bytes when its lists are
// in the order that our writer uses.
#include <cstdlib>

#include "mirror/exchange/return_records.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gapferry;
  const std::string_view text = AsText({data, size});
  auto document = mirror::exchange::DecodeReturn(text);
  if (!document) return 0;
  for (const char c : text) {
    if (c != '\n' && (c < 0x20 || c > 0x7E)) std::abort();
  }
  const std::string again = mirror::exchange::EncodeReturn(std::move(*document));
  const auto reread = mirror::exchange::DecodeReturn(again);
  if (!reread || again.size() > text.size()) std::abort();
  return 0;
}
