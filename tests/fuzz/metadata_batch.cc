// Metadata objects: records ascend and never hold more than is there.
#include "mirror/exchange/metadata_batch.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gapferry;
  MemorySource source({data, size});
  mirror::exchange::MetadataBatchReader reader(source, 1 << 20);
  std::size_t bytes = 0;
  for (;;) {
    const auto revision = reader.Next();
    if (!revision || !*revision) return 0;
    bytes += (*revision)->bytes.size();
    if (bytes > size) std::abort();
  }
}
