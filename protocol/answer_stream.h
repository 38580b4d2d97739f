#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/result.h"
#include "base/stream.h"
#include "protocol/sync_messages.h"
#include "protocol/update_id.h"
#include "protocol/xml_stream.h"

// Large answers of the Server Sync service, decoded while they arrive: a revision list of 1,000,000
// entries is 126 MB of text and a document can be 47 MB, so neither is ever held as text or as a
// tree. What stays in memory is one unfinished tag, one xpress block and the records.

namespace gapferry::protocol {

/// Takes the text of an answer as it arrives. After an error it is unusable. Not thread-safe.
class AnswerReader {
 public:
  virtual ~AnswerReader() = default;
  virtual Result<void> Feed(std::string_view utf8) = 0;
  /// The answer is complete; fails when the text is not.
  virtual Result<void> Finish() = 0;
};

/// Undoes the Content-Encoding of a body that arrives in pieces of any size: none, identity or
/// xpress. Memory: one xpress block. `reader` must outlive it.
class AnswerSink : public Sink {
 public:
  /// At most `limit_bytes` of text (kCorrupt, reason "answer-too-large", beyond).
  AnswerSink(AnswerReader& reader, std::uint64_t limit_bytes)
      : reader_(reader), limit_bytes_(limit_bytes) {}

  /// Before the first byte. Fails with kUnsupported (reason "content-encoding") on another coding.
  Result<void> SetEncoding(std::string_view content_encoding);
  Result<void> Write(ByteView bytes) override;
  Result<void> Finish();

 private:
  Result<void> Decode();  // the blocks that are complete in pending_
  Result<void> Pass(std::string_view text);

  AnswerReader& reader_;
  std::uint64_t limit_bytes_;
  std::uint64_t passed_bytes_ = 0;
  bool is_xpress_ = false;
  Bytes pending_;
};

/// What the readers below share: the envelope, elements matched by local name (SOAP 1.1 and 1.2),
/// text of scalars, limits. A fault in place of the answer is an error made by FaultError.
class StreamedAnswer : public AnswerReader, private XmlHandler {
 public:
  ~StreamedAnswer() override;
  Result<void> Feed(std::string_view utf8) override;
  Result<void> Finish() override;

 protected:
  /// A place in the answer; the derived class gives the numbers from kFirst on.
  using Node = int;
  static constexpr Node kOther = 0;     ///< whatever we do not know: skipped with its children
  static constexpr Node kResponse = 3;  ///< the body's element
  static constexpr Node kFirst = 8;
  enum class Content { kChildren, kScalar, kLarge };
  struct Rule {
    Node parent;
    std::string_view name;
    Node node;
    Content content = Content::kChildren;
  };
  /// `rules` must outlive it. `operation` names the call; its answer is operation + "Response".
  StreamedAnswer(std::string_view operation, const std::vector<Rule>& rules);

  virtual Result<void> Enter(Node) { return {}; }
  /// Text of a kLarge element, in pieces.
  virtual Result<void> Piece(Node, std::string_view) { return {}; }
  /// `text` of kScalar elements, trimmed.
  virtual Result<void> Leave(Node node, std::string_view text) = 0;
  std::unexpected<Error> Bad(std::string_view what) const;

 private:
  Result<void> Start(const XmlElement& element) override;
  Result<void> End(const XmlElement& element) override;
  Result<void> Text(std::string_view text) override;
  Result<void> EnterBody(const XmlElement& element);
  Result<void> FinishFault();

  const std::string operation_;
  const std::vector<Rule>& rules_;
  std::unique_ptr<XmlStream> xml_;
  struct Place {
    Node node;
    Content content;
  };
  std::vector<Place> path_;
  std::string scalar_;
  std::string head_;  ///< the beginning of the text: a fault is decoded from it
  bool is_fault_ = false;
  bool has_answer_ = false;
  bool has_result_ = false;  ///< its one child, which carries everything
};

/// GetRevisionIdList (MS-WSUSSS 3.1.4.5). Memory: 20 bytes an entry, up to three times that while
/// the list grows; at most 5,000,000 entries.
class RevisionListAnswer : public StreamedAnswer {
 public:
  RevisionListAnswer();
  /// After Finish.
  GetRevisionIdListResponse Take() { return std::move(answer_); }

 private:
  Result<void> Enter(Node node) override;
  Result<void> Leave(Node node, std::string_view text) override;
  GetRevisionIdListResponse answer_;
  std::optional<Guid> guid_;
  std::optional<std::int32_t> revision_;
  bool has_anchor_ = false;
};

/// One update of an answer to GetUpdateData, complete.
struct ReceivedUpdate {
  UpdateId id;
  std::optional<Bytes> text;     ///< XmlUpdateBlob, UTF-8
  std::optional<Bytes> cabinet;  ///< XmlUpdateBlobCompressed
  bool is_too_large = false;     ///< its document was longer than allowed and is not here
  std::vector<Sha1Digest> file_digests;
};

/// GetUpdateData (MS-WSUSSS 3.1.4.6). Memory: one update, its document in the form it came (twice
/// that while it grows), and 20 bytes for each file it lists.
class UpdateDataAnswer : public StreamedAnswer {
 public:
  struct Receiver {
    /// Each update as soon as its element has ended; an error ends the reading.
    std::function<Result<void>(ReceivedUpdate)> update;
    /// Each address; they may come before or after the updates they belong to. One without a file
    /// is passed over.
    std::function<Result<void>(FileUrl)> url;
  };
  UpdateDataAnswer(Receiver receiver, std::uint64_t max_document_bytes);

 private:
  Result<void> Enter(Node node) override;
  Result<void> Piece(Node node, std::string_view text) override;
  Result<void> Leave(Node node, std::string_view text) override;
  Result<void> LeaveUpdate();
  Result<void> TakeBase64(std::string_view text);
  Result<void> TakeSolidBase64(std::string_view text);
  Result<void> DecodeGroups(std::string_view groups);

  Receiver receiver_;
  std::uint64_t max_document_bytes_;
  ReceivedUpdate update_;
  std::optional<Guid> guid_;
  std::optional<std::int32_t> revision_;
  FileUrl url_;
  bool has_digest_ = false;
  std::string base64_;  ///< characters that do not make a whole group yet
  bool base64_ended_ = false;
  std::uint64_t blob_bytes_ = 0;
};

}  // namespace gapferry::protocol
