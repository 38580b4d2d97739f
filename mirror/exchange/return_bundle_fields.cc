#include <algorithm>

#include "mirror/exchange/return_fields.h"

// Records of returns that speak of bundles, files and updates.

namespace gapferry::mirror::exchange {
namespace {

constexpr std::uint64_t kMaxBlocks = 1ULL << 32;
constexpr std::uint64_t kMaxSequence = 999'999'999;
constexpr std::size_t kMaxReasonBytes = 200;

JsonValue EncodeState(const KnownState& state) {
  return JsonValue::Object{{"chain", state.name.chain.ToHex()},
                           {"epoch", state.name.epoch.ToString()},
                           {"generation", state.name.generation},
                           {"state_digest", state.state_digest.ToHex()}};
}

KnownState ReadState(JsonFields& parent, std::string_view key) {
  JsonFields fields(parent.Child(key), std::string(key));
  KnownState state;
  state.name.chain = fields.Sha256Value("chain");
  state.name.epoch = fields.GuidValue("epoch");
  state.name.generation = static_cast<Generation>(fields.Count("generation"));
  state.state_digest = fields.Sha256Value("state_digest");
  if (const auto finished = fields.Finish(); !finished) parent.Refuse(finished.error().message);
  return state;
}

bool IsStream(std::string_view text) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  };
  return !text.empty() && text.front() != '-' && text.back() != '-' &&
         std::ranges::all_of(text, plain);
}

std::uint64_t ReadSequence(JsonFields& fields) {
  const std::uint64_t sequence = fields.Count("sequence", kMaxSequence);
  if (sequence == 0) fields.Refuse("field 'sequence' is 0");
  return sequence;
}

std::string ReadStream(JsonFields& fields) {
  std::string stream = fields.AsciiText("stream", 40);
  if (!IsStream(stream)) fields.Refuse("field 'stream' is no name of a stream");
  return stream;
}

}  // namespace

JsonValue::Object EncodeRecord(const ReturnReceipt& receipt) {
  return {{"content_digest", receipt.content_digest.ToHex()},
          {"imported", receipt.imported_at.ToXml()},
          {"manifest", receipt.manifest.ToHex()},
          {"record", "receipt"},
          {"sequence", receipt.sequence},
          {"stream", receipt.stream},
          {"target", EncodeState(receipt.target)}};
}

ReturnReceipt ReadReceipt(JsonFields& fields) {
  ReturnReceipt receipt;
  receipt.content_digest = fields.Sha256Value("content_digest");
  receipt.imported_at = fields.Time("imported");
  receipt.manifest = fields.Sha256Value("manifest");
  receipt.sequence = ReadSequence(fields);
  receipt.stream = ReadStream(fields);
  receipt.target = ReadState(fields, "target");
  return receipt;
}

JsonValue::Object EncodeRecord(const ReturnRequest& request) {
  return {{"asked", request.asked},
          {"record", "request"},
          {"sha1", request.sha1.ToHex()},
          {"size", request.size_bytes}};
}

ReturnRequest ReadRequest(JsonFields& fields) {
  ReturnRequest request;
  request.asked = fields.Flag("asked");
  request.sha1 = fields.Sha1Value("sha1");
  request.size_bytes = fields.Count("size");
  return request;
}

JsonValue::Object EncodeRecord(const ReturnEffect::Block& block) {
  return {{"block", block.block},   {"count", block.count},
          {"record", "block"},      {"sequence", block.sequence},
          {"stream", block.stream}, {"volume", static_cast<std::uint64_t>(block.volume)}};
}

ReturnEffect::Block ReadBlock(JsonFields& fields) {
  ReturnEffect::Block block;
  block.block = fields.Count("block", kMaxBlocks);
  block.count = fields.Count("count", kMaxBlocks);
  if (block.count == 0) fields.Refuse("field 'count' is 0");
  block.sequence = ReadSequence(fields);
  block.stream = ReadStream(fields);
  block.volume = static_cast<std::uint32_t>(fields.Count("volume", 4096));
  if (block.volume == 0) fields.Refuse("field 'volume' is 0");
  return block;
}

JsonValue::Object EncodeRecord(const ReturnEffect::Resend& resend) {
  return {{"record", "resend"}, {"sequence", resend.sequence}, {"stream", resend.stream}};
}

ReturnEffect::Resend ReadResend(JsonFields& fields) {
  ReturnEffect::Resend resend;
  resend.sequence = fields.Count("sequence", kMaxSequence);
  resend.stream = ReadStream(fields);
  return resend;
}

JsonValue::Object EncodeRecord(const ReturnEffect::Blocked& blocked) {
  JsonValue::Object members{{"record", "blocked"},
                            {"since", blocked.since.ToXml()},
                            {"update", blocked.update.ToString()}};
  if (!blocked.reason.empty()) members["reason"] = ToAscii(blocked.reason, kMaxReasonBytes);
  return members;
}

ReturnEffect::Blocked ReadBlocked(JsonFields& fields) {
  ReturnEffect::Blocked blocked;
  if (fields.Has("reason")) {
    blocked.reason = fields.AsciiText("reason", kMaxReasonBytes);
    if (blocked.reason.empty()) fields.Refuse("field 'reason' is empty");
  }
  blocked.since = fields.Time("since");
  blocked.update = fields.GuidValue("update");
  return blocked;
}

JsonValue::Object EncodeRecord(const ReturnEffect::Withheld& withheld) {
  return {{"record", "withheld"},
          {"sha1", withheld.sha1.ToHex()},
          {"size", withheld.size_bytes},
          {"why", WithheldWhyName(withheld.why)}};
}

ReturnEffect::Withheld ReadWithheld(JsonFields& fields) {
  ReturnEffect::Withheld withheld;
  withheld.sha1 = fields.Sha1Value("sha1");
  withheld.size_bytes = fields.Count("size");
  const auto why = ParseWithheldWhy(fields.AsciiText("why", 16));
  if (!why) fields.Refuse("field 'why' is unknown");
  withheld.why = why.value_or(WithheldWhy::kRejected);
  return withheld;
}

}  // namespace gapferry::mirror::exchange
