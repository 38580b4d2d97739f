#include "mirror/evidence_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/bytes.h"
#include "base/canonical_json.h"
#include "base/text.h"

namespace gapferry::mirror {
namespace {

constexpr int kPage = 500;

std::string HeaderLine(const LogHeader& header) {
  return WriteCanonicalJson(JsonValue::Object{{"_type", kLogType},
                                              {"created", header.created.ToXml()},
                                              {"head", header.head.hash.ToHex()},
                                              {"mirror", header.mirror.ToString()},
                                              {"name", header.name},
                                              {"records", header.head.id}}) +
         '\n';
}

/// AppendAudit lets nothing else in; a database that was tampered with gives a record whose hash
/// does not fit.
std::string Text(const std::string& text) {
  const bool fine = IsValidUtf8(text) && text.find('\0') == std::string::npos;
  return fine ? text : EscapeForDisplay(text, kMaxLogLineBytes);
}

std::string RecordLine(const AuditRecord& record) {
  return WriteCanonicalJson(JsonValue::Object{{"action", Text(record.entry.action)},
                                              {"actor", Text(record.entry.actor)},
                                              {"at", record.at.ToXml()},
                                              {"detail", Text(record.entry.detail)},
                                              {"hash", record.hash.ToHex()},
                                              {"number", record.id},
                                              {"object", Text(record.entry.object)}}) +
         '\n';
}

Error Malformed(Error error) {
  error.code = ErrorCode::kCorrupt;
  error.reason = "log-malformed";
  return error;
}

std::unexpected<Error> Forged(std::string reason, std::string message) {
  return Fail(ErrorCode::kUntrusted, std::move(reason), std::move(message));
}

/// Lines of a source, one at a time.
class LineReader {
 public:
  explicit LineReader(Source& in) : in_(in), buffer_(64 << 10) {}

  /// nullopt at the end. A last line without its end is malformed.
  Result<std::optional<std::string>> Next() {
    std::string line;
    for (;;) {
      if (at_ == filled_) {
        TRY_ASSIGN(filled_, in_.Read(buffer_));
        at_ = 0;
        if (filled_ == 0) break;
      }
      const auto begin = buffer_.begin() + static_cast<std::ptrdiff_t>(at_);
      const auto limit = buffer_.begin() + static_cast<std::ptrdiff_t>(filled_);
      const auto end = std::find(begin, limit, static_cast<std::uint8_t>('\n'));
      line.append(begin, end);
      at_ += static_cast<std::size_t>(end - begin);
      if (line.size() > kMaxLogLineBytes) {
        return Fail(ErrorCode::kCorrupt, "log-malformed",
                    fmt::format("line {} is longer than {} bytes", number_ + 1, kMaxLogLineBytes));
      }
      if (end == limit) continue;
      ++at_;
      ++number_;
      return std::optional(std::move(line));
    }
    if (line.empty()) return std::optional<std::string>();
    return Forged("log-truncated", fmt::format("the file ends within line {}", number_ + 1));
  }

 private:
  Source& in_;
  Bytes buffer_;
  std::size_t at_ = 0, filled_ = 0;
  std::uint64_t number_ = 0;
};

Result<LogHeader> DecodeHeader(const std::optional<std::string>& line) {
  if (!line) return Fail(ErrorCode::kCorrupt, "log-malformed", "the log is empty");
  auto value = ParseCanonicalJson(*line);
  if (!value) return std::unexpected(Malformed(std::move(value.error())));
  JsonFields fields(*value, "first line");
  LogHeader header;
  if (fields.Text("_type", 64) != kLogType) {
    fields.Refuse("first line: this is no " + std::string(kLogType));
  }
  header.created = fields.Time("created");
  header.head.hash = fields.Sha256Value("head");
  header.mirror = fields.GuidValue("mirror");
  header.name = fields.Text("name", 64);
  header.head.id = static_cast<std::int64_t>(fields.Count("records", kMaxLogRecords));
  if (auto done = fields.Finish(); !done)
    return std::unexpected(Malformed(std::move(done.error())));
  return header;
}

Result<AuditRecord> DecodeRecord(const std::string& line, std::int64_t expected) {
  auto value = ParseCanonicalJson(line);
  if (!value) {
    return std::unexpected(Malformed(
        WithContext(std::move(value.error()), fmt::format("record {}", expected)).error()));
  }
  JsonFields fields(*value, fmt::format("record {}", expected));
  AuditRecord record;
  record.entry.action = fields.Text("action", kMaxLogLineBytes);
  record.entry.actor = fields.Text("actor", kMaxLogLineBytes);
  record.at = fields.Time("at");
  record.entry.detail = fields.Text("detail", kMaxLogLineBytes);
  record.hash = fields.Sha256Value("hash");
  record.id = static_cast<std::int64_t>(fields.Count("number", kMaxLogRecords));
  record.entry.object = fields.Text("object", kMaxLogLineBytes);
  if (auto done = fields.Finish(); !done)
    return std::unexpected(Malformed(std::move(done.error())));
  return record;
}

/// The walk over one log.
class Walk {
 public:
  Walk(LineReader& lines, const LogHeader& header, const std::vector<WitnessedHead>& heads)
      : lines_(lines) {
    check_.header = header;
    for (const WitnessedHead& head : heads) {
      if (head.log != header.mirror) continue;
      wanted_.emplace(head.head.id, head);
      ++check_.heads;
    }
  }

  Result<LogCheck> Run() {
    for (;;) {
      TRY_ASSIGN(const auto line, lines_.Next());
      if (!line) break;
      TRY_ASSIGN(const AuditRecord record, DecodeRecord(*line, at_.id + 1));
      if (record.id != at_.id + 1) return WrongNumber(record.id);
      if (record.hash != NextAuditHash(at_.hash, record)) {
        return Forged("log-record-altered",
                      fmt::format("record {} does not follow from the one before it: one of the "
                                  "two was altered{}",
                                  record.id, SoFar()));
      }
      at_ = {record.id, record.hash};
      Compare();
    }
    return Finish();
  }

 private:
  /// A gap whose record comes later is a change of order.
  Result<LogCheck> WrongNumber(std::int64_t got) {
    const std::int64_t missing = at_.id + 1;
    bool comes_later = got < missing;
    while (!comes_later) {
      TRY_ASSIGN(const auto line, lines_.Next());
      if (!line) break;
      TRY_ASSIGN(const AuditRecord record, DecodeRecord(*line, missing));
      comes_later = record.id == missing;
    }
    if (comes_later) {
      return Forged("log-reordered",
                    fmt::format("record {} stands where {} should: records were put in another "
                                "order{}",
                                got, missing, SoFar()));
    }
    return Forged(
        "log-record-removed",
        fmt::format("record {} follows record {}: {} were removed{}", got, at_.id,
                    got == missing + 1 ? fmt::format("record {}", missing)
                                       : fmt::format("records {} to {}", missing, got - 1),
                    SoFar()));
  }

  /// The walk goes on behind a head that does not fit: whether later ones do tells a restored
  /// mirror from a forged log.
  void Compare() {
    const auto [begin, end] = wanted_.equal_range(at_.id);
    for (auto it = begin; it != end; ++it) {
      const WitnessedHead& head = it->second;
      if (head.head.hash == at_.hash) {
        if (differs_) again_ = head;
        if (!differs_) check_.last = head;
      } else if (!differs_) {
        differs_ = head;
        found_ = at_.hash;
      }
    }
  }

  std::unexpected<Error> Rewritten() const {
    return Forged(
        "log-rewritten",
        fmt::format("record {} has the hash {}, but in {} of {} this log had {} there: it was "
                    "rewritten{}{}",
                    differs_->head.id, found_.ToHex(), differs_->Source(),
                    differs_->created.ToXml(), differs_->head.hash.ToHex(),
                    check_.last ? fmt::format(" after record {}", check_.last->head.id)
                                : std::string(", no earlier head that was witnessed fits"),
                    again_ ? fmt::format("; record {} is as it was seen in {} of {}, as after the "
                                         "restoration of a backup",
                                         again_->head.id, again_->Source(), again_->created.ToXml())
                           : std::string()));
  }

  Result<LogCheck> Finish() {
    const LogHeader& header = check_.header;
    if (at_.id < header.head.id) {
      return Forged("log-truncated", fmt::format("ends at record {}, its first line says {}{}",
                                                 at_.id, header.head.id, SoFar()));
    }
    if (at_.id != header.head.id || at_.hash != header.head.hash) {
      return Fail(ErrorCode::kCorrupt, "log-malformed",
                  fmt::format("the first line speaks of {} records and the head {}, there are {} "
                              "and {}",
                              header.head.id, header.head.hash.ToHex(), at_.id, at_.hash.ToHex()));
    }
    if (differs_) return Rewritten();
    const auto later = wanted_.upper_bound(at_.id);
    if (later == wanted_.end()) return check_;
    const WitnessedHead& head = wanted_.rbegin()->second;
    return Forged("log-truncated",
                  fmt::format("ends at record {}, but in {} of {} it had {} records: the end was "
                              "cut off, or the mirror restored from a backup{}",
                              at_.id, head.Source(), head.created.ToXml(), head.head.id, SoFar()));
  }

  std::string SoFar() const {
    return check_.last ? fmt::format("; the records up to {} are as they were witnessed",
                                     check_.last->head.id)
                       : std::string();
  }

  LineReader& lines_;
  std::multimap<std::int64_t, WitnessedHead> wanted_;
  AuditHead at_;
  LogCheck check_;
  std::optional<WitnessedHead> differs_;  ///< the first head that does not fit
  Sha256Digest found_;                    ///< what is there
  std::optional<WitnessedHead> again_;    ///< the last head behind it that does
};

}  // namespace

Result<LogHeader> WriteLog(Database& catalog, LogHeader header, Sink& out) {
  TRY_ASSIGN(header.head, ReadAuditHead(catalog));
  TRY(out.Write(AsBytes(HeaderLine(header))));
  for (std::int64_t done = 0; done < header.head.id;) {
    TRY_ASSIGN(const auto page, ReadAuditFrom(catalog, done + 1, kPage));
    for (const AuditRecord& record : page) {
      if (record.id > header.head.id) break;
      TRY(out.Write(AsBytes(RecordLine(record))));
    }
    if (page.empty()) {
      return Fail(ErrorCode::kCorrupt, "audit-chain",
                  fmt::format("audit record {} is missing", done + 1));
    }
    done = page.back().id;
  }
  return header;
}

Result<LogHeader> ReadLogHeader(Source& in) {
  LineReader lines(in);
  TRY_ASSIGN(const auto line, lines.Next());
  return DecodeHeader(line);
}

Result<LogCheck> CheckLog(Source& in, const std::vector<WitnessedHead>& heads) {
  LineReader lines(in);
  TRY_ASSIGN(const auto line, lines.Next());
  TRY_ASSIGN(const LogHeader header, DecodeHeader(line));
  return Walk(lines, header, heads).Run();
}

}  // namespace gapferry::mirror
