// Documents of revisions as an upstream sends them. Whatever is accepted gives fragments that are
// XML again, in the same pieces however the text is fed.
#include "protocol/update_document.h"

#include <cstdint>
#include <cstdlib>
#include <string_view>

using gapferry::protocol::FragmentCollector;
using gapferry::protocol::UpdateDocumentLimits;
using gapferry::protocol::UpdateDocumentParser;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  UpdateDocumentLimits limits;
  limits.reorder_bytes = 4096;
  FragmentCollector whole;
  const auto parsed = gapferry::protocol::ParseUpdateDocument(text, &whole, limits);

  FragmentCollector pieces;
  UpdateDocumentParser parser(&pieces, limits);
  bool fed = true;
  for (std::size_t at = 0; at < size && fed; at += 13) {
    fed = parser.Feed(text.substr(at, 13)).has_value();
  }
  const bool accepted = fed && parser.Finish().has_value();
  if (accepted != parsed.has_value()) std::abort();
  if (!parsed) return 0;

  if (whole.fragments().size() != pieces.fragments().size()) std::abort();
  for (std::size_t i = 0; i < whole.fragments().size(); ++i) {
    if (whole.fragments()[i].text != pieces.fragments()[i].text) std::abort();
  }
  const std::string_view core = whole.Find(gapferry::protocol::FragmentKind::kCore);
  if (core.find("<UpdateIdentity ") == std::string_view::npos) std::abort();
  if (core.find("<!DOCTYPE") != std::string_view::npos) std::abort();
  return 0;
}
