// Receipt codes as people type them: what is accepted has one printed form that says the same.
#include "manifests/receipt_code.h"

#include <cstdlib>

#include "base/bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gapferry;
  const auto code = manifests::ParseReceiptCode(AsText({data, size}));
  if (!code) return 0;
  const std::string printed = manifests::FormatReceiptCode(*code);
  const auto again = manifests::ParseReceiptCode(printed);
  if (!again || *again != *code || printed.size() != 49 || code->sequence >= 1U << 30) std::abort();
  return 0;
}
