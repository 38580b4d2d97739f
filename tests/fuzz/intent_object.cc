// Intent objects: what is accepted re-encodes to the same bytes.
#include "mirror/exchange/intent_object.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gapferry;
  MemorySource source({data, size});
  auto object = mirror::exchange::ReadIntentObject(source);
  if (!object) return 0;
  MemorySink sink(size + 1);
  if (!mirror::exchange::WriteIntentObject(std::move(*object), sink)) std::abort();
  if (AsText(sink.bytes()) != AsText({data, size})) std::abort();
  return 0;
}
