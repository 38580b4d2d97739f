// Logs of a partner: whatever the bytes, memory and time are bounded, and what is accepted as whole
// is a chain: no byte of it can be another one.
#include <cstdint>
#include <cstdlib>

#include "base/bytes.h"
#include "base/stream.h"
#include "mirror/evidence_log.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gapferry;
  const ByteView bytes(data, size);
  MemorySource first(bytes);
  const auto check = mirror::CheckLog(first, {});
  if (!check || check->header.head.id == 0) return 0;
  // The head that this log itself has is fulfilled by it, and by no other.
  mirror::WitnessedHead head;
  head.log = check->header.mirror;
  head.head = check->header.head;
  MemorySource second(bytes);
  const auto again = mirror::CheckLog(second, {head});
  if (!again || !again->last || again->heads != 1) std::abort();
  head.head.hash.bytes[0] ^= 1;
  MemorySource third(bytes);
  const auto other = mirror::CheckLog(third, {head});
  if (other || other.error().reason != "log-rewritten") std::abort();
  return 0;
}
