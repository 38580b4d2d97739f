// Repair requests and the head of repair-0000: what is accepted is what we would have written.
#include <cstdlib>

#include "manifests/repair_file.h"
#include "manifests/repair_request.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gapferry;
  const std::string_view text = AsText({data, size});
  if (const auto request = manifests::DecodeRepairRequest(text)) {
    if (manifests::EncodeRepairRequest(*request) != text) std::abort();
    std::uint64_t blocks = 0;
    for (const auto& run : request->runs) {
      if (run.count == 0 || run.count > manifests::kMaxRepairRun) std::abort();
      blocks += run.count;
    }
    if (blocks != request->blocks()) std::abort();
  }
  if (const auto header = manifests::DecodeCopiesHeader(text)) {
    if (manifests::EncodeCopiesHeader(header->files) != text.substr(0, header->bytes)) std::abort();
  }
  return 0;
}
