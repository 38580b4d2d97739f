// Index lines: what is accepted re-encodes, has a header of its own, and lies without gaps.
#include <cstdlib>

#include "base/text.h"
#include "manifests/index.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gapferry;
  manifests::IndexChecker checker;
  std::uint64_t number = 0;
  std::uint64_t end = 0;
  for (const std::string_view text : Split(AsText({data, size}), '\n')) {
    const auto line = manifests::DecodeIndexLine(text, ++number);
    if (!line) return 0;
    if (manifests::EncodeIndexLine(*line) != text) std::abort();
    if (!checker.Add(*line)) return 0;
    if (line->offset != 0 && line->offset != end) std::abort();
    end = line->end();
    if (manifests::TarHeader(*line)[156] != '0') std::abort();
  }
  return 0;
}
