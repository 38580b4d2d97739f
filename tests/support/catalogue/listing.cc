#include "tests/support/catalogue/listing.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/text.h"

namespace gapferry::catalogue {
namespace {

using Json = nlohmann::ordered_json;

std::string Line(const Json& json) { return json.dump() + "\n"; }

Json FileJson(const FileSpec& file) {
  return Json{{"sha1", file.digests.sha1.ToHex(HexCase::kUpper)},
              {"sha256", file.digests.sha256.ToHex()},
              {"size", file.size_bytes},
              {"name", file.name}};
}

Json RevisionJson(const Catalogue& catalogue, std::size_t index) {
  const Revision& revision = catalogue.revisions()[index];
  Json json{{"guid", revision.id.guid.ToString()},
            {"revision", revision.id.revision},
            {"kind", KindName(revision.kind)},
            {"title", revision.title},
            {"path", revision.path},
            {"newest", catalogue.IsNewest(index)},
            {"expired", revision.expired},
            {"visible", IsVisible(revision)},
            {"later", index >= catalogue.base_count()}};
  for (const Clause& clause : revision.prerequisites) {
    if (clause.is_category) json["categories"].push_back(clause.alternatives.front().ToString());
  }
  for (const auto& group : revision.bundled) {
    for (const UpdateId& member : group) json["bundled"].push_back(member.ToString());
  }
  for (const Guid& guid : revision.superseded) json["supersedes"].push_back(guid.ToString());
  for (const std::uint32_t file : revision.files) {
    json["files"].push_back(FileJson(catalogue.files()[file]));
  }
  for (const std::uint32_t file : revision.eula_files) {
    json["eula_files"].push_back(FileJson(catalogue.files()[file]));
  }
  if (!revision.eula.IsZero()) json["eula"] = revision.eula.ToString();
  if (revision.knowledge_base != 0) json["kb"] = revision.knowledge_base;
  if (revision.can_uninstall) json["can_uninstall"] = true;
  return json;
}

}  // namespace

std::string ListingJson(const Catalogue& catalogue) {
  std::string out = "{\"revisions\":[";
  for (std::size_t i = 0; i < catalogue.revisions().size(); ++i) {
    out.append(i == 0 ? "\n" : ",\n").append(RevisionJson(catalogue, i).dump());
  }
  return out + "\n]}\n";
}

std::string ListingText(const Catalogue& catalogue) {
  std::string out;
  for (const Revision& revision : catalogue.revisions()) {
    out +=
        fmt::format("{} {} {}\n", revision.id.ToString(), KindName(revision.kind), revision.title);
  }
  return out;
}

std::string SummaryJson(const Catalogue& catalogue, const Summary& summary) {
  Json kinds;
  for (const auto& [kind, count] : summary.revisions_by_kind) kinds[std::string(kind)] = count;
  return Line(Json{{"seed", catalogue.options().seed},
                   {"size", catalogue.options().size},
                   {"step", catalogue.options().step},
                   {"revisions", catalogue.revisions().size()},
                   {"revisions_by_kind", kinds},
                   {"older_revisions", summary.older_revisions},
                   {"expired", summary.expired},
                   {"superseded_edges", summary.superseded_edges},
                   {"document_bytes", summary.document_bytes},
                   {"largest_document", summary.largest_document},
                   {"median_document", summary.median_document},
                   {"percentile_99_document", summary.percentile_99_document},
                   {"documents_over_1_mb", summary.documents_over_1_mb},
                   {"documents_over_32_mb", summary.documents_over_32_mb},
                   {"files", summary.file_count},
                   {"file_bytes", summary.file_bytes},
                   {"digest", summary.digest.ToHex()}});
}

std::string SummaryText(const Catalogue& catalogue, const Summary& summary) {
  std::string out =
      fmt::format("seed {}, size {}, step {}: {} revisions\n", catalogue.options().seed,
                  catalogue.options().size, catalogue.options().step, catalogue.revisions().size());
  for (const auto& [kind, count] : summary.revisions_by_kind) {
    out += fmt::format("  {:8} {}\n", count, kind);
  }
  out += fmt::format("older revisions {}, expired {}, superseded edges {}\n",
                     summary.older_revisions, summary.expired, summary.superseded_edges);
  out += fmt::format(
      "documents {}, the largest {}, half of them up to {}, 99 % up to {}\n",
      FormatByteCount(summary.document_bytes), FormatByteCount(summary.largest_document),
      FormatByteCount(summary.median_document), FormatByteCount(summary.percentile_99_document));
  out += fmt::format("{} documents over 1 MB, {} over 32 MB\n", summary.documents_over_1_mb,
                     summary.documents_over_32_mb);
  out += fmt::format("files {}, {}\n", summary.file_count, FormatByteCount(summary.file_bytes));
  return out + fmt::format("digest {}\n", summary.digest.ToHex());
}

std::string ExpectationJson(const Catalogue& catalogue, const Machine& machine,
                            const Expectation& expectation) {
  const auto list = [&catalogue](const std::vector<std::size_t>& indices) {
    Json json = Json::array();
    for (const std::size_t index : indices) {
      const Revision& revision = catalogue.revisions()[index];
      json.push_back(Json{{"guid", revision.id.guid.ToString()},
                          {"revision", revision.id.revision},
                          {"title", revision.title},
                          {"path", revision.path}});
    }
    return json;
  };
  return Line(Json{{"profile", machine.name},
                   {"offered", list(expectation.offered)},
                   {"applicable", list(expectation.applicable)},
                   {"installed", list(expectation.installed)},
                   {"drivers", list(expectation.drivers)}});
}

std::string ExpectationText(const Catalogue& catalogue, const Expectation& expectation) {
  std::string out;
  const auto add = [&](std::string_view state, const std::vector<std::size_t>& indices) {
    for (const std::size_t index : indices) {
      const Revision& revision = catalogue.revisions()[index];
      out += fmt::format("{:<10} {} {}\n", state, revision.id.ToString(), revision.title);
    }
  };
  add("offered", expectation.offered);
  add("applicable", expectation.applicable);
  add("installed", expectation.installed);
  add("driver", expectation.drivers);
  return out;
}

}  // namespace gapferry::catalogue
