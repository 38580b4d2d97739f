// Evidence of a partner: signed JSON of which nothing may become markup on its page.
#include <cstdint>
#include <cstdlib>

#include "base/bytes.h"
#include "manifests/evidence_document.h"
#include "mirror/evidence.h"
#include "mirror/evidence_html.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gapferry;
  const ByteView bytes(data, size);
  static_cast<void>(manifests::ReadEvidence(bytes).has_value());
  // The page is made of the members, whoever signed them.
  const auto value = ParseCanonicalJson(AsText(bytes));
  if (!value || value->AsObject() == nullptr) return 0;
  const std::string page = mirror::EvidenceHtml(*value->AsObject());
  if (page.find("<script") != std::string::npos) std::abort();
  const auto list = value->AsObject()->find("witnessed");
  if (list != value->AsObject()->end()) {
    static_cast<void>(mirror::HeadsFromJson(list->second).has_value());
  }
  return 0;
}
