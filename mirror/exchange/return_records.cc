#include "mirror/exchange/return_records.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>
#include <map>
#include <tuple>

#include "base/text.h"
#include "mirror/exchange/return_fields.h"

namespace gapferry::mirror::exchange {
namespace {

constexpr std::string_view kType = "gapferry-return/1";

enum class Kind {
  kReceipt,
  kRequest,
  kRemoved,
  kBlock,
  kResend,
  kBlocked,
  kWithheld,
  kServer,
  kComputer,
  kStatus,
  kActivity
};

/// In the order of the file, each with the lowest level that it belongs to.
struct KindRow {
  std::string_view name;
  Kind kind;
  ReturnLevel from;
};
constexpr std::array<KindRow, 11> kKinds = {{
    {"receipt", Kind::kReceipt, ReturnLevel::kReceipt},
    {"request", Kind::kRequest, ReturnLevel::kReceipt},
    {"removed", Kind::kRemoved, ReturnLevel::kReceipt},
    {"block", Kind::kBlock, ReturnLevel::kReceipt},
    {"resend", Kind::kResend, ReturnLevel::kReceipt},
    {"blocked", Kind::kBlocked, ReturnLevel::kReceipt},
    {"withheld", Kind::kWithheld, ReturnLevel::kReceipt},
    {"server", Kind::kServer, ReturnLevel::kSummary},
    {"computer", Kind::kComputer, ReturnLevel::kDetailed},
    {"status", Kind::kStatus, ReturnLevel::kDetailed},
    {"activity", Kind::kActivity, ReturnLevel::kSummary},
}};

auto ReceiptOrder(const ReturnReceipt& receipt) {
  return std::tie(receipt.target.name.generation, receipt.stream, receipt.sequence);
}

std::unexpected<Error> Malformed(std::uint64_t line, const std::string& problem) {
  return Fail(ErrorCode::kCorrupt, "return-malformed",
              "return line " + std::to_string(line) + ": " + problem);
}

JsonValue::Object EncodeHeader(const ReturnHeader& header) {
  return {{"_type", kType},
          {"audit_head", header.audit.hash.ToHex()},
          {"audit_records", header.audit.id},
          {"created", header.created.ToXml()},
          {"epoch", header.site_epoch.ToString()},
          {"level", ReturnLevelName(header.level)},
          {"lines", header.lines},
          {"number", header.number},
          {"recipient", header.recipient.ToString()},
          {"seen_head", header.seen.hash.ToHex()},
          {"seen_records", header.seen.id},
          {"site", header.site.ToString()}};
}

class Writer {
 public:
  template <class T>
  void Put(const std::vector<T>& items) {
    for (const T& item : items) PutLine(EncodeRecord(item));
  }
  void PutLine(JsonValue::Object members) {
    body_ += WriteCanonicalJson(JsonValue(std::move(members)));
    body_ += '\n';
    ++lines_;
  }
  std::string Finish(ReturnHeader header) {
    header.lines = lines_;
    return WriteCanonicalJson(JsonValue(EncodeHeader(header))) + "\n" + std::move(body_);
  }

 private:
  std::string body_;
  std::uint64_t lines_ = 0;
};

class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  Result<ReturnDocument> Read() {
    TRY(ReadHeader());
    while (!rest_.empty()) {
      TRY_ASSIGN(const std::string_view line, NextLine());
      TRY(ReadLine(line));
    }
    if (line_ != document_.header.lines + 1) {
      return Malformed(line_, "the file has " + std::to_string(line_ - 1) +
                                  " records, its first line states " +
                                  std::to_string(document_.header.lines));
    }
    return std::move(document_);
  }

 private:
  Result<std::string_view> NextLine() {
    ++line_;
    const std::size_t end = rest_.find('\n');
    if (end == std::string_view::npos) return Malformed(line_, "the line does not end");
    if (end > kMaxReturnLineBytes) return Malformed(line_, "the line is too long");
    const std::string_view line = rest_.substr(0, end);
    for (const char c : line) {
      if (c < 0x20 || c > 0x7E) return Malformed(line_, "something other than printable ASCII");
    }
    rest_.remove_prefix(end + 1);
    return line;
  }

  static AuditHead ReadHead(JsonFields& fields, std::string_view hash, std::string_view records) {
    AuditHead head;
    head.hash = fields.Sha256Value(hash);
    head.id = static_cast<std::int64_t>(fields.Count(records));
    return head;
  }

  Result<void> ReadHeader() {
    TRY_ASSIGN(const std::string_view line, NextLine());
    const auto value = ParseCanonicalJson(line);
    if (!value) return Malformed(line_, value.error().message);
    JsonFields fields(*value, "header");
    ReturnHeader& header = document_.header;
    if (fields.AsciiText("_type", 64) != kType) fields.Refuse("is no " + std::string(kType));
    header.audit = ReadHead(fields, "audit_head", "audit_records");
    header.created = fields.Time("created");
    header.site_epoch = fields.GuidValue("epoch");
    const auto level = ParseReturnLevel(fields.AsciiText("level", 16));
    if (!level) fields.Refuse("field 'level' is unknown");
    header.level = level.value_or(ReturnLevel::kReceipt);
    header.lines = fields.Count("lines", kMaxReturnLines);
    header.number = fields.Count("number", 999'999'999);
    if (header.number == 0) fields.Refuse("field 'number' is 0");
    header.recipient = fields.GuidValue("recipient");
    header.seen = ReadHead(fields, "seen_head", "seen_records");
    header.site = fields.GuidValue("site");
    if (const auto finished = fields.Finish(); !finished) {
      return Malformed(line_, finished.error().message);
    }
    return {};
  }

  Result<void> ReadLine(std::string_view line) {
    if (line_ > document_.header.lines + 1) return Malformed(line_, "more records than stated");
    const auto value = ParseCanonicalJson(line);
    if (!value) return Malformed(line_, value.error().message);
    JsonFields fields(*value, "record");
    const std::string name = fields.AsciiText("record", 16);
    const auto* const found = std::ranges::find(kKinds, name, &KindRow::name);
    if (found == kKinds.end() || found->kind < kind_) {
      return Malformed(line_,
                       "record '" + EscapeForDisplay(name, 16) + "' is unknown or out of order");
    }
    kind_ = found->kind;
    if (document_.header.level < found->from) {
      return Malformed(line_, "record '" + name + "' does not belong to level " +
                                  std::string(ReturnLevelName(document_.header.level)));
    }
    ReadRecord(kind_, fields);
    if (const auto finished = fields.Finish(); !finished) {
      return Malformed(line_, finished.error().message);
    }
    return {};
  }

  void ReadRecord(Kind kind, JsonFields& fields) {
    switch (kind) {
      case Kind::kReceipt:
        document_.receipts.push_back(ReadReceipt(fields));
        if (document_.receipts.size() > kMaxReceipts) fields.Refuse("too many receipts");
        if (document_.receipts.size() > 1 &&
            ReceiptOrder(document_.receipts[document_.receipts.size() - 2]) >=
                ReceiptOrder(document_.receipts.back())) {
          fields.Refuse("receipts do not ascend");
        }
        return;
      case Kind::kRequest:
        document_.requests.push_back(ReadRequest(fields));
        return;
      case Kind::kRemoved:
        document_.removed.push_back(fields.Sha1Value("sha1"));
        return;
      case Kind::kBlock:
        ReadDamage(fields);
        return;
      case Kind::kResend:
        document_.resends.push_back(ReadResend(fields));
        if (document_.resends.size() > kMaxResends) fields.Refuse("too many bundles");
        return;
      case Kind::kBlocked:
        document_.blocked.push_back(ReadBlocked(fields));
        if (document_.header.level == ReturnLevel::kReceipt &&
            !document_.blocked.back().reason.empty()) {
          fields.Refuse("field 'reason' does not belong to level receipt");
        }
        return;
      case Kind::kWithheld:
        document_.withheld.push_back(ReadWithheld(fields));
        return;
      case Kind::kServer:
        document_.servers.push_back(ReadServer(fields));
        return;
      case Kind::kComputer:
        document_.computers.push_back(ReadComputer(fields));
        return;
      case Kind::kStatus:
        document_.statuses.push_back(ReadStatus(fields));
        return;
      case Kind::kActivity:
        document_.activities.push_back(ReadActivity(fields));
        return;
    }
  }

  /// Runs of one volume ascend and do not touch: one damage has one spelling.
  void ReadDamage(JsonFields& fields) {
    ReturnEffect::Block block = ReadBlock(fields);
    if (!document_.blocks.empty()) {
      const auto& last = document_.blocks.back();
      const bool same = std::tie(last.stream, last.sequence, last.volume) ==
                        std::tie(block.stream, block.sequence, block.volume);
      if (same && last.block + last.count >= block.block) fields.Refuse("runs of blocks touch");
    }
    document_.blocks.push_back(std::move(block));
  }

  std::string_view rest_;
  std::uint64_t line_ = 0;
  Kind kind_ = Kind::kReceipt;
  ReturnDocument document_;
};

std::string RunningNumber(const char* stem, std::size_t number) {
  char buffer[64];
  std::snprintf(buffer, sizeof(buffer), "%s-%06zu", stem, number);
  return buffer;
}

void RedactComputer(Computer& computer, std::size_t number, const ReturnFields& fields) {
  auto& details = computer.details;
  if (!fields.names) {
    details.full_domain_name = RunningNumber("computer", number);
    details.requested_target_group_names.clear();
  }
  if (!fields.addresses) details.ip_address.clear();
  if (!fields.hardware) {
    for (std::string* text : {&details.computer_make, &details.computer_model,
                              &details.bios_version, &details.bios_name}) {
      text->clear();
    }
    details.bios_release_date = kNever;
  }
}

template <class T, class Key>
bool Repeats(const std::vector<T>& sorted, Key key) {
  return std::ranges::adjacent_find(sorted, {}, key) != sorted.end();
}

/// The name of a kind of which one key occurs twice; empty: none.
std::string_view Repeated(const ReturnDocument& document) {
  if (Repeats(document.requests, &ReturnRequest::sha1)) return "request";
  if (Repeats(document.removed, std::identity{})) return "removed";
  if (Repeats(document.resends, std::identity{})) return "resend";
  if (Repeats(document.blocked, &ReturnEffect::Blocked::update)) return "blocked";
  if (Repeats(document.withheld, &ReturnEffect::Withheld::sha1)) return "withheld";
  if (Repeats(document.servers, &DownstreamServer::id)) return "server";
  if (Repeats(document.computers, &Computer::id)) return "computer";
  const auto of_status = [](const StatusChange& change) {
    return std::tie(change.computer_id, change.status.update);
  };
  return Repeats(document.statuses, of_status) ? "status" : std::string_view();
}

}  // namespace

ReturnDocument Redact(ReturnDocument document, const ReturnFields& fields) {
  if (document.header.level == ReturnLevel::kReceipt) {
    document.servers.clear();
    document.activities.clear();
    for (auto& blocked : document.blocked) blocked.reason.clear();
  }
  if (document.header.level != ReturnLevel::kDetailed) {
    document.computers.clear();
    document.statuses.clear();
  }
  std::ranges::sort(document.computers, {}, &Computer::id);
  for (std::size_t i = 0; i < document.computers.size(); ++i) {
    RedactComputer(document.computers[i], i + 1, fields);
  }
  std::ranges::sort(document.servers, {}, &DownstreamServer::id);
  for (std::size_t i = 0; i < document.servers.size(); ++i) {
    if (!fields.names) document.servers[i].name = RunningNumber("server", i + 1);
  }
  return document;
}

std::string EncodeReturn(ReturnDocument document) {
  std::ranges::sort(document.receipts, {}, ReceiptOrder);
  std::ranges::sort(document.requests, {}, &ReturnRequest::sha1);
  std::ranges::sort(document.removed);
  std::ranges::sort(document.blocks);
  std::ranges::sort(document.resends);
  std::ranges::sort(document.blocked, {}, &ReturnEffect::Blocked::update);
  std::ranges::sort(document.withheld, {}, &ReturnEffect::Withheld::sha1);
  std::ranges::sort(document.servers, {}, &DownstreamServer::id);
  std::ranges::sort(document.computers, {}, &Computer::id);
  std::ranges::sort(document.statuses, [](const StatusChange& a, const StatusChange& b) {
    return std::tie(a.computer_id, a.status.update) < std::tie(b.computer_id, b.status.update);
  });
  Writer writer;
  writer.Put(document.receipts);
  writer.Put(document.requests);
  for (const Sha1Digest& sha1 : document.removed) {
    writer.PutLine({{"record", "removed"}, {"sha1", sha1.ToHex()}});
  }
  writer.Put(document.blocks);
  writer.Put(document.resends);
  writer.Put(document.blocked);
  writer.Put(document.withheld);
  writer.Put(document.servers);
  writer.Put(document.computers);
  writer.Put(document.statuses);
  // Nothing orders the kinds of computers but their text.
  std::map<std::string, const InstallActivity*> activities;
  for (const InstallActivity& activity : document.activities) {
    activities.emplace(WriteCanonicalJson(JsonValue(EncodeRecord(activity))), &activity);
  }
  for (const auto& [text, activity] : activities) writer.PutLine(EncodeRecord(*activity));
  return writer.Finish(document.header);
}

Result<ReturnDocument> DecodeReturn(std::string_view text) {
  if (text.size() > kMaxReturnBytes) return Malformed(1, "the file is too large");
  TRY_ASSIGN(auto document, Reader(text).Read());
  // Order and repetition could say what no field may say.
  const std::string again = EncodeReturn(document);
  if (again != text) {
    const auto differ = std::ranges::mismatch(again, text);
    const auto line = std::count(text.begin(), differ.in2, '\n') + 1;
    return Malformed(static_cast<std::uint64_t>(line), "is not what a sender writes there");
  }
  const std::string_view repeated = Repeated(document);
  if (repeated.empty()) return document;
  return Fail(ErrorCode::kCorrupt, "return-malformed",
              "return: two records '" + std::string(repeated) + "' speak of the same");
}

}  // namespace gapferry::mirror::exchange
