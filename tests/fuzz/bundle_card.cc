// Cards: what is accepted has the fingerprint and key id it states.
#include <cstdlib>

#include "manifests/card.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gapferry;
  const auto card = manifests::DecodeCard({data, size});
  if (!card) return 0;
  const std::string_view text = AsText({data, size});
  if (text.find(card->Fingerprint()) == std::string_view::npos) std::abort();
  if (text.find(card->signing_key.Id().ToHex()) == std::string_view::npos) std::abort();
  return 0;
}
