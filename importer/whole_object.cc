#include "importer/whole_object.h"

#include <string>

#include "base/stream.h"

namespace gapferry::importer {

Result<Bytes> ReadWholeObject(manifests::Medium& medium, const manifests::VerifiedIndex& index,
                              const manifests::IndexLine& line, std::string_view what_for) {
  if (line.size > kMaxWholeObjectBytes) {
    return Fail(ErrorCode::kUnsupported, "object-too-large",
                "object '" + line.name.ToString() + "' has " + std::to_string(line.size) +
                    " bytes, at most " + std::to_string(kMaxWholeObjectBytes) + " " +
                    std::string(what_for));
  }
  MemorySink sink(line.size);
  TRY(manifests::ReadObject(medium, index, line, sink));
  return sink.Take();
}

}  // namespace gapferry::importer
