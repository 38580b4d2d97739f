// Answers of an update server as a stream: the first byte says how large the pieces are and whether
// they are xpress. Whatever the pieces, the outcome is the same; and what the streaming reader of
// lists takes is what the decoder of whole messages reads.
#include "protocol/answer_stream.h"

#include <cstdint>
#include <cstdlib>
#include <string>

#include "protocol/soap.h"
#include "protocol/sync_codec.h"

using namespace gapferry;            // NOLINT
using namespace gapferry::protocol;  // NOLINT

namespace {

constexpr std::uint64_t kLimit = 1 << 20;

bool Feed(AnswerReader& reader, ByteView input, bool xpress, std::size_t piece) {
  AnswerSink sink(reader, kLimit);
  if (xpress && !sink.SetEncoding("xpress")) return false;
  for (std::size_t at = 0; at < input.size(); at += piece) {
    if (!sink.Write(input.subspan(at, std::min(piece, input.size() - at)))) return false;
  }
  return sink.Finish().has_value();
}

std::string Updates(ByteView input, bool xpress, std::size_t piece, bool& accepted) {
  std::string seen;
  UpdateDataAnswer answer({[&](ReceivedUpdate update) -> Result<void> {
                             if (update.text && update.text->size() > 4096) std::abort();
                             seen += update.id.ToString();
                             if (update.text) seen += AsText(*update.text);
                             if (update.cabinet) seen += HexEncode(*update.cabinet);
                             for (const auto& one : update.file_digests) seen += one.ToHex();
                             return {};
                           },
                           [&](FileUrl url) -> Result<void> {
                             seen += url.file_digest.ToHex() + url.mu_url.value_or("-");
                             return {};
                           }},
                          4096);
  accepted = Feed(answer, input, xpress, piece);
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const bool xpress = (data[0] & 1) != 0;
  const std::size_t piece = 1 + (data[0] >> 1);
  const ByteView input(data + 1, size - 1);

  RevisionListAnswer list;
  const bool accepted = Feed(list, input, xpress, piece);
  RevisionListAnswer whole;
  if (Feed(whole, input, xpress, size) != accepted) std::abort();
  if (accepted) {
    const auto ids = list.Take();
    if (ids.new_revisions != whole.Take().new_revisions) std::abort();
    if (!xpress) {
      const auto message = SoapMessage::Parse(std::string(AsText(input)), SoapLimits::Answer());
      if (message) {
        const auto decoded = Decode<GetRevisionIdListResponse>(*message);
        if (decoded && decoded->new_revisions != ids.new_revisions) std::abort();
      }
    }
  }
  bool first = false;
  bool second = false;
  const std::string seen = Updates(input, xpress, piece, first);
  const std::string again = Updates(input, xpress, size, second);
  if (first != second || (first && seen != again)) std::abort();
  return 0;
}
