#include "protocol/answer_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/text.h"
#include "protocol/soap.h"
#include "protocol/soap_codec.h"
#include "protocol/xpress.h"

namespace gapferry::protocol {

// ---- Content encodings -------------------------------------------------------------------------

namespace {

constexpr std::size_t kLongestBlock = 1 << 17;  // stored; a block decodes to 65,535 bytes at most
constexpr std::size_t kHeadBytes = 64 * 1024;
constexpr std::size_t kScalarBytes = 16 * 1024;

bool IsSoapNamespace(std::string_view uri) {
  return uri == "http://schemas.xmlsoap.org/soap/envelope/" ||
         uri == "http://www.w3.org/2003/05/soap-envelope";
}

}  // namespace

Result<void> AnswerSink::SetEncoding(std::string_view content_encoding) {
  const std::string coding = ToLowerAscii(TrimAscii(content_encoding));
  is_xpress_ = coding == "xpress";
  if (is_xpress_ || coding.empty() || coding == "identity") return {};
  return Fail(
      ErrorCode::kUnsupported, "content-encoding",
      fmt::format("answer: content encoding '{}' is not supported", EscapeForDisplay(coding, 40)));
}

Result<void> AnswerSink::Pass(std::string_view text) {
  passed_bytes_ += text.size();
  if (passed_bytes_ > limit_bytes_) {
    return Fail(ErrorCode::kCorrupt, "answer-too-large",
                fmt::format("answer: more than the {} bytes allowed", limit_bytes_));
  }
  return reader_.Feed(text);
}

Result<void> AnswerSink::Write(ByteView bytes) {
  if (!is_xpress_) return Pass(AsText(bytes));
  pending_.insert(pending_.end(), bytes.begin(), bytes.end());
  return Decode();
}

Result<void> AnswerSink::Decode() {
  std::size_t used = 0;
  while (pending_.size() - used >= kXpressHeaderBytes) {
    const std::size_t stored = LoadLe32(pending_.data() + used + 4);
    if (stored > kLongestBlock) {
      return Fail(ErrorCode::kCorrupt, fmt::format("xpress block of {} bytes", stored));
    }
    if (pending_.size() - used < kXpressHeaderBytes + stored) break;
    const ByteView block(pending_.data() + used, kXpressHeaderBytes + stored);
    TRY_ASSIGN(const std::string text, XpressDecode(block, kLongestBlock));
    TRY(Pass(text));
    used += block.size();
  }
  pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(used));
  return {};
}

Result<void> AnswerSink::Finish() {
  if (!pending_.empty()) {
    return Fail(ErrorCode::kTransient, "answer-cut", "answer: cut in an xpress block");
  }
  return reader_.Finish();
}

// ---- Envelope ----------------------------------------------------------------------------------

namespace {

constexpr int kEnvelope = 1;
constexpr int kBody = 2;

XmlStreamLimits AnswerLimits() {
  XmlStreamLimits limits;
  limits.document_bytes = SoapLimits::Answer().max_bytes;
  limits.depth = 64;
  return limits;
}

}  // namespace

StreamedAnswer::StreamedAnswer(std::string_view operation, const std::vector<Rule>& rules)
    : operation_(operation),
      rules_(rules),
      xml_(std::make_unique<XmlStream>(static_cast<XmlHandler&>(*this), AnswerLimits())) {}
StreamedAnswer::~StreamedAnswer() = default;

std::unexpected<Error> StreamedAnswer::Bad(std::string_view what) const {
  return Fail(ErrorCode::kCorrupt, "bad-answer", fmt::format("{}Response: {}", operation_, what));
}

Result<void> StreamedAnswer::Feed(std::string_view utf8) {
  if (head_.size() < kHeadBytes) head_ += utf8.substr(0, kHeadBytes - head_.size());
  if (is_fault_) return {};
  const auto fed = xml_->Feed(utf8);
  if (is_fault_) return {};  // decoded at the end, from the head
  return fed;
}

Result<void> StreamedAnswer::Finish() {
  if (is_fault_) return FinishFault();
  if (auto ended = xml_->Finish(); !ended) {  // what came before was well-formed: it was cut
    ended.error().code = ErrorCode::kTransient;
    ended.error().reason = "answer-cut";
    return WithContext(std::move(ended.error()), operation_ + ": the answer ends early");
  }
  if (!has_answer_) return Bad("the body is empty");
  // Without it the lists below would look empty, and empty means "nothing new".
  if (!has_result_) return Bad(fmt::format("{}Result is missing", operation_));
  return {};
}

// A fault with status 200 is some proxy's doing; it says the same.
Result<void> StreamedAnswer::FinishFault() {
  TRY_ASSIGN(const SoapMessage message, SoapMessage::Parse(std::move(head_), SoapLimits::Request()),
             operation_);
  TRY_ASSIGN(const SoapFault fault, DecodeFault(message), operation_);
  return std::unexpected(FaultError(fault, operation_));
}

Result<void> StreamedAnswer::EnterBody(const XmlElement& element) {
  if (has_answer_) return Bad("a second element in the body");
  has_answer_ = true;
  if (element.name == "Fault" && IsSoapNamespace(element.ns)) {
    is_fault_ = true;
    return Bad("a fault");  // ends the parse
  }
  if (element.name != operation_ + "Response" || element.ns != ns::kServerSync) {
    return Fail(ErrorCode::kUnsupported, "bad-answer",
                fmt::format("{}: the answer is {{{}}}{}", operation_,
                            EscapeForDisplay(element.ns, 100), EscapeForDisplay(element.name, 60)));
  }
  path_.push_back({kResponse, Content::kChildren});
  return {};
}

Result<void> StreamedAnswer::Start(const XmlElement& element) {
  if (path_.empty() || path_.back().node == kEnvelope) {
    const bool first = path_.empty();
    if (first && (element.name != "Envelope" || !IsSoapNamespace(element.ns))) {
      return Bad(fmt::format("the document is '{}', no SOAP envelope",
                             EscapeForDisplay(element.name, 60)));
    }
    const bool body = !first && element.name == "Body" && IsSoapNamespace(element.ns);
    path_.push_back({first ? kEnvelope : body ? kBody : kOther, Content::kChildren});
    return {};
  }
  if (path_.back().node == kBody) return EnterBody(element);
  const auto rule = std::find_if(rules_.begin(), rules_.end(), [&](const Rule& r) {
    return r.parent == path_.back().node && r.name == element.name;
  });
  const std::string_view* nil = nullptr;
  for (const XmlAttribute& attribute : element.attributes) {
    if (attribute.name == "nil") nil = &attribute.value;
  }
  const bool is_nil = nil != nullptr && (*nil == "true" || *nil == "1");
  if (rule == rules_.end() || is_nil) {
    path_.push_back({kOther, Content::kChildren});
    return {};
  }
  if (rule->parent == kResponse && std::exchange(has_result_, true)) {
    return Bad(fmt::format("{}Result appears twice", operation_));
  }
  path_.push_back({rule->node, rule->content});
  scalar_.clear();
  return Enter(rule->node);
}

Result<void> StreamedAnswer::Text(std::string_view text) {
  if (path_.empty()) return {};
  const Place& place = path_.back();
  if (place.content == Content::kLarge) return Piece(place.node, text);
  if (place.content != Content::kScalar) return {};
  scalar_ += text;
  if (scalar_.size() > kScalarBytes) return Bad("a value is too long");
  return {};
}

Result<void> StreamedAnswer::End(const XmlElement&) {
  const Place place = path_.back();
  path_.pop_back();
  if (place.node < kFirst) return {};
  return Leave(place.node,
               place.content == Content::kScalar ? TrimAscii(scalar_) : std::string_view());
}

// ---- GetRevisionIdList -------------------------------------------------------------------------

namespace {

enum ListNode : int { kResult = 8, kAnchor, kRevisions, kIdentity, kUpdateGuid, kNumber };

}  // namespace

RevisionListAnswer::RevisionListAnswer()
    : StreamedAnswer("GetRevisionIdList", []() -> const std::vector<Rule>& {
        static const std::vector<Rule> kRules{
            {kResponse, "GetRevisionIdListResult", kResult},
            {kResult, "Anchor", kAnchor, Content::kScalar},
            {kResult, "NewRevisions", kRevisions},
            {kRevisions, "UpdateIdentity", kIdentity},
            {kIdentity, "UpdateID", kUpdateGuid, Content::kScalar},
            {kIdentity, "RevisionNumber", kNumber, Content::kScalar}};
        return kRules;
      }()) {}

Result<void> RevisionListAnswer::Enter(Node node) {
  if (node != kIdentity) return {};
  guid_.reset();
  revision_.reset();
  return {};
}

Result<void> RevisionListAnswer::Leave(Node node, std::string_view text) {
  switch (node) {
    case kAnchor:
      if (has_anchor_) return Bad("Anchor appears twice");
      has_anchor_ = true;
      answer_.anchor = text;
      return {};
    case kUpdateGuid: {
      const auto guid = Guid::Parse(text);
      if (!guid || guid_) return Bad(fmt::format("UpdateID '{}'", EscapeForDisplay(text, 60)));
      guid_ = *guid;
      return {};
    }
    case kNumber: {
      const auto number = ParseInt<std::int32_t>(text);
      if (!number || revision_) {
        return Bad(fmt::format("RevisionNumber '{}'", EscapeForDisplay(text, 60)));
      }
      revision_ = *number;
      return {};
    }
    case kIdentity:
      if (!guid_ || !revision_) return Bad("an UpdateIdentity is incomplete");
      if (answer_.new_revisions.size() == kMaxArrayItems) return Bad("too many revisions");
      answer_.new_revisions.push_back({*guid_, *revision_});
      return {};
    default:
      return {};
  }
}

// ---- GetUpdateData -----------------------------------------------------------------------------

namespace {

enum DataNode : int {
  kDataResult = 8,
  kUpdates,
  kUpdate,
  kId,
  kIdGuid,
  kIdNumber,
  kText,
  kCabinet,
  kDigests,
  kDigest,
  kUrls,
  kUrl,
  kUrlDigest,
  kMuUrl,
  kUssUrl,
};
constexpr std::size_t kMaxFilesPerUpdate = 1'000'000;

}  // namespace

UpdateDataAnswer::UpdateDataAnswer(Receiver receiver, std::uint64_t max_document_bytes)
    : StreamedAnswer("GetUpdateData",
                     []() -> const std::vector<Rule>& {
                       static const std::vector<Rule> kRules{
                           {kResponse, "GetUpdateDataResult", kDataResult},
                           {kDataResult, "updates", kUpdates},
                           {kUpdates, "ServerSyncUpdateData", kUpdate},
                           {kUpdate, "Id", kId},
                           {kId, "UpdateID", kIdGuid, Content::kScalar},
                           {kId, "RevisionNumber", kIdNumber, Content::kScalar},
                           {kUpdate, "XmlUpdateBlob", kText, Content::kLarge},
                           {kUpdate, "XmlUpdateBlobCompressed", kCabinet, Content::kLarge},
                           {kUpdate, "FileDigestList", kDigests},
                           {kDigests, "base64Binary", kDigest, Content::kScalar},
                           {kDataResult, "fileUrls", kUrls},
                           {kUrls, "ServerSyncUrlData", kUrl},
                           {kUrl, "FileDigest", kUrlDigest, Content::kScalar},
                           {kUrl, "MUUrl", kMuUrl, Content::kScalar},
                           {kUrl, "UssUrl", kUssUrl, Content::kScalar}};
                       return kRules;
                     }()),
      receiver_(std::move(receiver)),
      max_document_bytes_(max_document_bytes) {}

Result<void> UpdateDataAnswer::Enter(Node node) {
  switch (node) {
    case kUpdate:
      update_ = {};
      guid_.reset();
      revision_.reset();
      return {};
    case kText:
    case kCabinet:
      if (node == kText ? update_.text.has_value() : update_.cabinet.has_value()) {
        return Bad("a document appears twice");
      }
      (node == kText ? update_.text : update_.cabinet).emplace();
      base64_.clear();
      base64_ended_ = false;
      blob_bytes_ = 0;
      return {};
    case kUrl:
      url_ = {};
      has_digest_ = false;
      return {};
    default:
      return {};
  }
}

Result<void> UpdateDataAnswer::Piece(Node node, std::string_view text) {
  blob_bytes_ += text.size();
  const std::uint64_t limit =
      node == kText ? max_document_bytes_ : max_document_bytes_ / 3 * 4 + max_document_bytes_ / 8;
  if (blob_bytes_ > limit) {  // this one is refused, the others are not its fault
    update_.is_too_large = true;
    (node == kText ? update_.text : update_.cabinet).emplace();
    return {};
  }
  if (node == kCabinet) return TakeBase64(text);
  update_.text->insert(update_.text->end(), text.begin(), text.end());
  return {};
}

// Whole groups of four are decoded as they come; white space is allowed between characters.
Result<void> UpdateDataAnswer::TakeBase64(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  if (text.find_first_of(kBlanks) != std::string_view::npos) {
    std::string solid;
    std::copy_if(text.begin(), text.end(), std::back_inserter(solid),
                 [&](char c) { return kBlanks.find(c) == std::string_view::npos; });
    return TakeSolidBase64(solid);
  }
  return TakeSolidBase64(text);
}

Result<void> UpdateDataAnswer::TakeSolidBase64(std::string_view text) {
  if (!base64_.empty()) {  // the beginning of a group
    const std::size_t taken = std::min(4 - base64_.size(), text.size());
    base64_ += text.substr(0, taken);
    text.remove_prefix(taken);
    if (base64_.size() < 4) return {};
    TRY(DecodeGroups(base64_));
    base64_.clear();
  }
  const std::size_t whole = text.size() / 4 * 4;
  TRY(DecodeGroups(text.substr(0, whole)));
  base64_ = text.substr(whole);
  return {};
}

Result<void> UpdateDataAnswer::DecodeGroups(std::string_view groups) {
  if (groups.empty()) return {};
  const auto bytes = Base64Decode(groups);
  if (!bytes || base64_ended_) return Bad("XmlUpdateBlobCompressed is no Base64");
  base64_ended_ = groups.back() == '=';
  update_.cabinet->insert(update_.cabinet->end(), bytes->begin(), bytes->end());
  return {};
}

Result<void> UpdateDataAnswer::LeaveUpdate() {
  if (!guid_ || !revision_) return Bad("an update without Id");
  update_.id = {*guid_, *revision_};
  return receiver_.update(std::move(update_));
}

Result<void> UpdateDataAnswer::Leave(Node node, std::string_view text) {
  switch (node) {
    case kIdGuid: {
      const auto guid = Guid::Parse(text);
      if (!guid || guid_) return Bad(fmt::format("UpdateID '{}'", EscapeForDisplay(text, 60)));
      guid_ = *guid;
      return {};
    }
    case kIdNumber: {
      const auto number = ParseInt<std::int32_t>(text);
      if (!number || revision_) {
        return Bad(fmt::format("RevisionNumber '{}'", EscapeForDisplay(text, 60)));
      }
      revision_ = *number;
      return {};
    }
    case kCabinet:
      if (!base64_.empty() && !update_.is_too_large) {
        return Bad("XmlUpdateBlobCompressed is no Base64");
      }
      return {};
    case kDigest: {
      auto digest = Sha1Digest::FromBase64(text);
      if (!digest) return Bad(fmt::format("file digest '{}'", EscapeForDisplay(text, 60)));
      if (update_.file_digests.size() == kMaxFilesPerUpdate) return Bad("too many files");
      update_.file_digests.push_back(*digest);
      return {};
    }
    case kUpdate:
      return LeaveUpdate();
    case kUrlDigest: {
      const auto digest = Sha1Digest::FromBase64(text);
      has_digest_ = digest.has_value();
      if (digest) url_.file_digest = *digest;
      return {};
    }
    case kMuUrl:
      url_.mu_url = std::string(text);
      return {};
    case kUssUrl:
      url_.uss_url = text;
      return {};
    case kUrl:
      // It is of no use, and no reason to refuse the updates.
      return has_digest_ ? receiver_.url(std::move(url_)) : Result<void>();
    default:
      return {};
  }
}

}  // namespace gapferry::protocol
