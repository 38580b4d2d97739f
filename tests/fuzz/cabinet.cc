// Cabinets as an upstream sends them: whatever is accepted is UTF-8 within the limit.
#include "protocol/cabinet.h"

#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::uint64_t kLimit = 1 << 20;
  const auto text = gapferry::protocol::DecodeMetadataCabinet({data, size}, kLimit);
  if (text && (text->size() > kLimit || !gapferry::IsValidUtf8(*text))) std::abort();
  return 0;
}
