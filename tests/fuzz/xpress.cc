// The input is read as an xpress body, then taken as text and sent through encoder and decoder.
#include "protocol/xpress.h"

#include <cstdint>
#include <cstdlib>
#include <string>

using namespace gapferry;  // NOLINT

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input(data, size);
  constexpr std::uint64_t kLimit = 4 << 20;
  const auto decoded = protocol::XpressDecode(input, kLimit);
  MemorySource in(input);
  protocol::XpressSource source(in);
  MemorySink streamed(kLimit);
  const bool also = Copy(source, streamed, kLimit).has_value();
  if (decoded && (!also || AsText(streamed.bytes()) != *decoded)) std::abort();
  if (decoded && *protocol::XpressDecodedSize(input) != decoded->size()) std::abort();

  for (const std::size_t block : {std::size_t{33}, protocol::kXpressBlockBytes}) {
    std::string encoded;
    protocol::XpressEncoder().AppendBlocks(input, encoded, block);
    const auto back = protocol::XpressDecode(AsBytes(encoded), size);
    if (!back || *back != AsText(input)) std::abort();
  }
  return 0;
}
