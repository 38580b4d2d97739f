#include "mirror/evidence_html.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <vector>

#include "mirror/evidence_style.h"
#include "mirror/html_text.h"

namespace gapferry::mirror {
namespace {

constexpr std::string_view kNotKnown = "<i>not known</i>";

using Object = JsonValue::Object;
using Array = JsonValue::Array;

/// The member, or nothing.
const JsonValue* At(const Object& object, std::string_view key) {
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &found->second;
}

const Object& ObjectAt(const Object& object, std::string_view key) {
  static const Object kNone;
  const JsonValue* value = At(object, key);
  return value != nullptr && value->AsObject() != nullptr ? *value->AsObject() : kNone;
}

const Array& ListAt(const Object& object, std::string_view key) {
  static const Array kNone;
  const JsonValue* value = At(object, key);
  return value != nullptr && value->AsArray() != nullptr ? *value->AsArray() : kNone;
}

/// A text, number or flag as it is shown; empty when it is absent.
std::string Plain(const JsonValue* value) {
  if (value == nullptr) return {};
  if (const std::string* text = value->AsString()) return *text;
  if (const std::int64_t* number = value->AsInteger()) return std::to_string(*number);
  if (const bool* flag = value->AsBool()) return *flag ? "yes" : "no";
  return {};
}
std::string Plain(const Object& object, std::string_view key) { return Plain(At(object, key)); }

std::string Shown(const std::string& text) {
  return text.empty() ? std::string(kNotKnown) : EscapeHtml(text);
}
std::string Code(const std::string& text) {
  return text.empty() ? std::string(kNotKnown) : "<code>" + EscapeHtml(text) + "</code>";
}

/// Pages are made of these; cells are HTML already.
class Page {
 public:
  void Title(std::string_view text) { out_ += "<h1>" + EscapeHtml(text) + "</h1>\n"; }
  void Section(std::string_view text) { out_ += "<h2>" + EscapeHtml(text) + "</h2>\n"; }
  void Note(std::string_view text) { out_ += "<p class=\"note\">" + EscapeHtml(text) + "</p>\n"; }
  void Begin() { out_ += "<table>\n"; }
  void Row(std::string_view name, const std::string& html) {
    out_ += "<tr><th>" + EscapeHtml(name) + "</th><td>" + html + "</td></tr>\n";
  }
  void Head(const std::vector<std::string_view>& names) {
    out_ += "<table><thead><tr>";
    for (const auto name : names) out_ += "<th>" + EscapeHtml(name) + "</th>";
    out_ += "</tr></thead>\n";
  }
  void Cells(const std::vector<std::string>& html) {
    out_ += "<tr>";
    for (const auto& cell : html) out_ += "<td>" + cell + "</td>";
    out_ += "</tr>\n";
  }
  void End() { out_ += "</table>\n"; }
  void Raw(std::string_view html) { out_ += html; }
  std::string Take() { return std::move(out_); }

 private:
  std::string out_;
};

class Writer {
 public:
  explicit Writer(const Object& members) : all_(members) {
    for (const JsonValue& item : ListAt(all_, "updates")) {
      if (item.AsObject() != nullptr) updates_[Plain(*item.AsObject(), "update")] = item.AsObject();
    }
    for (const JsonValue& item : ListAt(all_, "groups")) {
      if (item.AsObject() == nullptr) continue;
      groups_[Plain(*item.AsObject(), "guid")] = Plain(*item.AsObject(), "name");
    }
  }

  std::string Write() {
    const Object& bundle = ObjectAt(all_, "bundle");
    page_.Raw(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
        "style-src 'unsafe-inline'\">\n<title>");
    page_.Raw(EscapeHtml("Evidence: " + Plain(bundle, "name")));
    page_.Raw("</title>\n<style>");
    page_.Raw(kStyle);
    page_.Raw("</style></head><body>\n");
    page_.Title("Evidence of bundle " + Plain(bundle, "name"));
    Overview(bundle);
    Parties();
    for (const JsonValue& event : ListAt(all_, "events")) {
      if (event.AsObject() != nullptr) Event(*event.AsObject());
    }
    Refusals();
    Quarantine();
    Receipts();
    Trail();
    Signing();
    page_.Raw("</body></html>\n");
    return page_.Take();
  }

 private:
  void Overview(const Object& bundle) {
    const Object& own = ObjectAt(all_, "mirror");
    page_.Note("Made by gapferry from what mirror '" + Plain(own, "name") + "' (" +
               Plain(own, "guid") + ") knows, at " + Plain(all_, "made") +
               " by its clock. The signed file of the same name ending in .json holds the same; "
               "'gapferry evidence verify' checks it.");
    page_.Begin();
    page_.Row("Bundle", Code(Plain(bundle, "name")));
    page_.Row("What became of it here", Shown(Plain(bundle, "outcome")));
    page_.Row("This side", Shown(Plain(all_, "side")));
    page_.Row("Scope", Shown(Plain(bundle, "scope")));
    page_.Row("SHA-256 of manifest.json", Code(Plain(bundle, "manifest")));
    const Object& target = ObjectAt(bundle, "target");
    page_.Row("State it leads to", "generation " + Shown(Plain(target, "generation")) +
                                       " of history " + Code(Plain(target, "epoch")) +
                                       "<br>state digest " + Code(Plain(target, "state_digest")));
    for (const auto& [name, key] : {std::pair{"Reserved", "reserved"},
                                    {"Finished", "finished"},
                                    {"Imported", "imported"},
                                    {"Written to", "path"}}) {
      if (At(bundle, key) != nullptr) page_.Row(name, Shown(Plain(bundle, key)));
    }
    page_.End();
  }

  void Parties() {
    page_.Section("Keys and fingerprints");
    page_.Note(
        "Fingerprints are compared by voice with the persons named; a name alone proves "
        "nothing.");
    page_.Head({"Who", "Part", "Key", "Fingerprint"});
    for (const JsonValue& item : ListAt(all_, "parties")) {
      if (item.AsObject() == nullptr) continue;
      const Object& one = *item.AsObject();
      page_.Cells({Shown(Plain(one, "name")), Shown(Plain(one, "part")), Code(Plain(one, "key_id")),
                   Code(Plain(one, "fingerprint"))});
    }
    page_.End();
  }

  void Event(const Object& event) {
    const Object& facts = ObjectAt(event, "facts");
    const std::string kind = Plain(event, "kind");
    page_.Section(kind == "import" ? "Imported" : kind == "export" ? "Written" : "Event: " + kind);
    page_.Begin();
    page_.Row("By", Shown(Plain(event, "actor")));
    page_.Row("From, to (this side's clock)",
              Shown(Plain(facts, "started")) + " – " + Shown(Plain(event, "at")));
    page_.Row("The sender's clock said", Shown(Plain(facts, "created")));
    for (const JsonValue& item : ListAt(facts, "media")) {
      if (item.AsObject() != nullptr) Medium(*item.AsObject());
    }
    for (const auto& [name, key] : {std::pair{"Read back", "read_back"},
                                    {"Volumes here", "volumes"},
                                    {"Bytes written", "bytes"},
                                    {"Trust policy", "policy"},
                                    {"Repaired", "repaired"}}) {
      if (At(facts, key) != nullptr) page_.Row(name, Shown(Plain(facts, key)));
    }
    Signatures(ObjectAt(facts, "signatures"));
    if (At(facts, "scanner") != nullptr) Scanner(ObjectAt(facts, "scanner"));
    Counts(facts);
    page_.Row("SHA-256 of this event in the audit trail", Code(Plain(event, "sha256")));
    page_.End();
    Contents(ObjectAt(facts, "contents"));
  }

  void Medium(const Object& medium) {
    const std::string number = Plain(medium, "number");
    page_.Row(number.empty() ? "Medium" : "Medium " + number,
              "path " + Code(Plain(medium, "path")) + "<br>mounted at " +
                  Code(Plain(medium, "mount_point")) + ", file system " +
                  Shown(Plain(medium, "file_system")) + ", label " + Shown(Plain(medium, "label")) +
                  ", UUID " + Code(Plain(medium, "uuid")) + "<br>device " +
                  Code(Plain(medium, "device")) + ", " + Shown(Plain(medium, "vendor")) + " " +
                  Shown(Plain(medium, "model")) + "<br><b>serial number</b> " +
                  Code(Plain(medium, "serial")));
  }

  void Signatures(const Object& signatures) {
    std::string html;
    for (const JsonValue& item : ListAt(signatures, "counted")) {
      if (item.AsObject() == nullptr) continue;
      const Object& one = *item.AsObject();
      html += Shown(Plain(one, "role")) + ": " + Shown(Plain(one, "name")) + ", key " +
              Code(Plain(one, "key_id")) + "<br>";
    }
    for (const JsonValue& item : ListAt(signatures, "unknown")) {
      if (item.AsObject() == nullptr) continue;
      html += "not counted, unknown here: " + Shown(Plain(*item.AsObject(), "role")) + ", key " +
              Code(Plain(*item.AsObject(), "key_id")) + "<br>";
    }
    if (!html.empty()) page_.Row("Signatures", html);
  }

  void Scanner(const Object& scanner) {
    if (Plain(scanner, "configured") != "yes") {
      page_.Row("Scanner", "<b>none was configured</b>");
      return;
    }
    std::string html = Code(Plain(scanner, "program")) + ": " + Shown(Plain(scanner, "files")) +
                       " new files, " + Shown(Plain(scanner, "clean")) + " clean";
    for (const JsonValue& item : ListAt(scanner, "withheld")) {
      if (item.AsObject() == nullptr) continue;
      const Object& one = *item.AsObject();
      html += "<br><b>withheld</b> " + Code(Plain(one, "name")) + ": " + Shown(Plain(one, "why")) +
              ", " + Shown(Plain(one, "output"));
    }
    page_.Row("Scanner", html);
  }

  void Counts(const Object& facts) {
    std::string html;
    const auto add = [&html](std::string_view name, const std::string& value) {
      if (!value.empty()) html += EscapeHtml(name) + " " + EscapeHtml(value) + "<br>";
    };
    const Object& counts = ObjectAt(facts, "counts");
    const Object& contents = ObjectAt(facts, "contents");
    add("documents", Plain(counts, "documents"));
    add("files", Plain(counts, "content_files"));
    add("bytes of files", Plain(counts, "content_bytes"));
    add("updates with their documents", Plain(contents, "updates_count"));
    add("approvals listed", Plain(contents, "approvals_count"));
    add("approvals ended", Plain(contents, "approvals_ended_count"));
    add("declined", Plain(contents, "declined_count"));
    add("withdrawn by the upstream", Plain(contents, "withdrawn_count"));
    for (const JsonValue& item : ListAt(counts, "moved_deadlines")) {
      if (item.AsObject() == nullptr) continue;
      html += "deadline of " + Update(Plain(*item.AsObject(), "update")) + " moved from " +
              Shown(Plain(*item.AsObject(), "given")) + "<br>";
    }
    page_.Row("What it brought", html.empty() ? std::string(kNotKnown) : html);
  }

  std::string Update(const std::string& id) const {
    const auto known = updates_.find(id);
    std::string html;
    if (known != updates_.end()) {
      const std::string kb = Plain(*known->second, "kb");
      if (!kb.empty()) html += "KB" + EscapeHtml(kb) + " ";
      html += Shown(Plain(*known->second, "title")) + "<br>";
    }
    return html + Code(id);
  }

  void Contents(const Object& contents) {
    const Array& updates = ListAt(contents, "updates");
    if (!updates.empty()) {
      page_.Head({"Updates that came with their documents"});
      for (const JsonValue& item : updates) page_.Cells({Update(Plain(&item))});
      Left(contents, "updates_count", updates.size());
      page_.End();
    }
    const Array& approvals = ListAt(contents, "approvals");
    if (!approvals.empty()) {
      page_.Head({"Approval", "For group", "Update", "Deadline given"});
      for (const JsonValue& item : approvals) {
        if (item.AsObject() == nullptr) continue;
        const Object& one = *item.AsObject();
        const std::string group = Plain(one, "group");
        const auto name = groups_.find(group);
        page_.Cells({Shown(Plain(one, "action")),
                     name == groups_.end() ? Code(group) : Shown(name->second),
                     Update(Plain(one, "update")),
                     At(one, "deadline") == nullptr ? "none" : Shown(Plain(one, "deadline"))});
      }
      Left(contents, "approvals_count", approvals.size());
      page_.End();
    }
  }

  void Left(const Object& contents, const char* count, std::size_t shown) {
    const JsonValue* value = At(contents, count);
    const std::int64_t* all = value == nullptr ? nullptr : value->AsInteger();
    if (all == nullptr || *all <= static_cast<std::int64_t>(shown)) return;
    page_.Cells({fmt::format("and {} more, which are not listed",
                             *all - static_cast<std::int64_t>(shown))});
  }

  void Refusals() {
    std::vector<const Object*> refused;
    for (const JsonValue& item : ListAt(ObjectAt(all_, "audit"), "speaking_of_it")) {
      if (item.AsObject() == nullptr) continue;
      if (Plain(*item.AsObject(), "action").ends_with("refused"))
        refused.push_back(item.AsObject());
    }
    if (refused.empty()) return;
    page_.Section("Refused here");
    page_.Head({"When", "By", "Why"});
    for (const Object* one : refused) {
      page_.Cells({Shown(Plain(*one, "at")), Shown(Plain(*one, "actor")),
                   "<code>" + EscapeHtml(Plain(*one, "detail")) + "</code>"});
    }
    page_.End();
  }

  void Quarantine() {
    const Array& files = ListAt(all_, "quarantine");
    if (files.empty()) return;
    page_.Section("Files the scanner rejected");
    page_.Head({"File", "What became of it", "Why", "What the scanner said"});
    for (const JsonValue& item : files) {
      if (item.AsObject() == nullptr) continue;
      const Object& one = *item.AsObject();
      page_.Cells({Code(Plain(one, "name")), Shown(Plain(one, "state")), Shown(Plain(one, "why")),
                   Shown(Plain(one, "output"))});
    }
    page_.End();
  }

  void Receipts() {
    const Array& sites = ListAt(all_, "receipts");
    if (sites.empty()) return;
    page_.Section("Receipts");
    page_.Head({"Site", "Has said that it has it", "When we read that", "Withheld there"});
    for (const JsonValue& item : sites) {
      if (item.AsObject() == nullptr) continue;
      const Object& one = *item.AsObject();
      std::string withheld;
      for (const JsonValue& file : ListAt(one, "withheld_there")) {
        if (file.AsObject() == nullptr) continue;
        withheld += Code(Plain(*file.AsObject(), "sha1")) + " " +
                    Shown(Plain(*file.AsObject(), "why")) + "<br>";
      }
      page_.Cells({Shown(Plain(one, "name")), Shown(Plain(one, "acknowledged")),
                   Shown(Plain(one, "acknowledged_at")), withheld.empty() ? "nothing" : withheld});
    }
    page_.End();
  }

  void Trail() {
    const Object& audit = ObjectAt(all_, "audit");
    page_.Section("Audit trail");
    page_.Begin();
    page_.Row("Records, head", Shown(Plain(audit, "records")) + ", " + Code(Plain(audit, "head")));
    page_.End();
    page_.Head({"Number", "When", "By", "What", "Hash"});
    for (const JsonValue& item : ListAt(audit, "speaking_of_it")) {
      if (item.AsObject() == nullptr) continue;
      const Object& one = *item.AsObject();
      page_.Cells({Shown(Plain(one, "number")), Shown(Plain(one, "at")), Shown(Plain(one, "actor")),
                   Shown(Plain(one, "action")), Code(Plain(one, "hash"))});
    }
    page_.End();
    page_.Section("Heads of audit trails that one side saw of the other");
    page_.Head(
        {"Trail of", "Seen by", "Records", "In", "Written (its clock)", "Seen (ours)", "Head"});
    for (const JsonValue& item : ListAt(all_, "witnessed")) {
      if (item.AsObject() == nullptr) continue;
      const Object& one = *item.AsObject();
      page_.Cells(
          {Code(Plain(one, "log")), Code(Plain(one, "witness")), Shown(Plain(one, "records")),
           Shown(Plain(one, "kind") + " " + Plain(one, "number")), Shown(Plain(one, "created")),
           Shown(Plain(one, "seen")), Code(Plain(one, "head"))});
    }
    page_.End();
  }

  void Signing() {
    page_.Section("Seen by");
    page_.Raw(
        "<table class=\"sign\"><thead><tr><th>Name</th><th>Function</th><th>Date</th>"
        "<th>Signature</th></tr></thead>\n");
    for (int i = 0; i < 3; ++i) page_.Cells({"&nbsp;", "", "", ""});
    page_.End();
  }

  const Object& all_;
  std::map<std::string, const Object*> updates_;
  std::map<std::string, std::string> groups_;
  Page page_;
};

}  // namespace

std::string EvidenceHtml(const JsonValue::Object& members) { return Writer(members).Write(); }

}  // namespace gapferry::mirror
