#include "cli/damage_view.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/text.h"

namespace gapferry::cli {
namespace {

using manifests::BundleReport;
using manifests::VolumeDamage;
using nlohmann::json;

constexpr std::size_t kShownRuns = 12;
constexpr std::size_t kShownObjects = 20;

std::vector<std::pair<std::uint64_t, std::uint64_t>> Runs(
    const std::vector<std::uint64_t>& blocks) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> runs;
  for (const std::uint64_t block : blocks) {
    if (!runs.empty() && runs.back().first + runs.back().second == block) {
      ++runs.back().second;
    } else {
      runs.emplace_back(block, 1);
    }
  }
  return runs;
}

std::string RunsText(const std::vector<std::uint64_t>& blocks) {
  const auto runs = Runs(blocks);
  std::string text;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (i == kShownRuns) return text + fmt::format(" and {} more runs", runs.size() - i);
    const auto& [first, count] = runs[i];
    if (i > 0) text += ", ";
    text += count == 1 ? fmt::format("{}", first) : fmt::format("{}-{}", first, first + count - 1);
  }
  return text;
}

json RunsToJson(const std::vector<std::uint64_t>& blocks) {
  json list = json::array();
  for (const auto& [first, count] : Runs(blocks)) list.push_back({first, count});
  return list;
}

std::string HowMended(const VolumeDamage& damage) {
  std::string text;
  const auto add = [&text](const std::string& how) { text += (text.empty() ? "" : ", ") + how; };
  if (damage.from_parity > 0) add("repaired from parity");
  if (damage.from_copies > 0) {
    add(fmt::format("{} taken from another copy", Thousands(damage.from_copies)));
  }
  if (damage.from_spares > 0) {
    add(fmt::format("{} taken from the repair folder", Thousands(damage.from_spares)));
  }
  return text;
}

std::string VolumeLine(const VolumeDamage& damage) {
  std::string text = fmt::format("volume {}: {} of {} blocks damaged", damage.volume,
                                 Thousands(damage.bad.size()), Thousands(damage.blocks));
  if (damage.is_missing) text += ", the file is missing";
  if (damage.lost.empty()) {
    if (!damage.bad.empty()) text += ", " + HowMended(damage);
  } else {
    if (damage.lost.size() < damage.bad.size()) {
      text += fmt::format(", {} of them {}", Thousands(damage.bad.size() - damage.lost.size()),
                          HowMended(damage));
    }
    text += fmt::format(", {} lost: {}", Thousands(damage.lost.size()), RunsText(damage.lost));
  }
  if (damage.bad_repair_blocks > 0) {
    text += fmt::format("; {} of {} repair blocks damaged", Thousands(damage.bad_repair_blocks),
                        Thousands(damage.repair_blocks));
  }
  return text;
}

}  // namespace

std::string Thousands(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (std::size_t at = text.size(); at > 3; at -= 3) text.insert(at - 3, ",");
  return text;
}

std::vector<std::string> MendedLines(const std::vector<VolumeDamage>& volumes,
                                     const std::vector<std::string>& files) {
  std::vector<std::string> lines;
  for (const VolumeDamage& damage : volumes) lines.push_back(VolumeLine(damage));
  for (const std::string& file : files) {
    lines.push_back(EscapeForDisplay(file, 64) + ": damaged, its copy was taken");
  }
  return lines;
}

json DamageToJson(const std::vector<VolumeDamage>& volumes) {
  json list = json::array();
  for (const VolumeDamage& damage : volumes) {
    list.push_back({{"volume", damage.volume},
                    {"name", damage.name},
                    {"blocks", damage.blocks},
                    {"bad", damage.bad.size()},
                    {"bad_runs", RunsToJson(damage.bad)},
                    {"lost", damage.lost.size()},
                    {"lost_runs", RunsToJson(damage.lost)},
                    {"from_parity", damage.from_parity},
                    {"from_repair", damage.from_spares},
                    {"from_copies", damage.from_copies},
                    {"repair_blocks", damage.repair_blocks},
                    {"bad_repair_blocks", damage.bad_repair_blocks},
                    {"missing", damage.is_missing},
                    {"blocks_known", damage.has_digests}});
  }
  return list;
}

std::string DamageText(const BundleReport& report) {
  std::string text;
  for (const auto& line : MendedLines(report.volumes, report.mended_files)) text += line + "\n";
  for (const auto& [name, why] : report.damaged_files) {
    text += EscapeForDisplay(name, 64) + ": " + why.message + "\n";
  }
  for (std::size_t i = 0; i < std::min(report.objects.size(), kShownObjects); ++i) {
    text += report.objects[i].why.message + "\n";
  }
  if (report.damaged_objects > kShownObjects) {
    text += fmt::format("and {} more objects\n", report.damaged_objects - kShownObjects);
  }
  if (report.has_index && report.failure) {
    text += fmt::format("good are {} of {} objects, {} of {}\n",
                        Thousands(report.all_objects - report.damaged_objects),
                        Thousands(report.all_objects),
                        FormatByteCount(report.all_bytes - report.damaged_bytes),
                        FormatByteCount(report.all_bytes));
  } else if (report.failure) {
    text += "which objects are damaged is not known: the index cannot be read\n";
  }
  return text;
}

json DamageFields(const BundleReport& report) {
  json objects = json::array();
  for (const auto& object : report.objects) {
    objects.push_back({{"name", object.line.name.ToString()},
                       {"volume", object.line.volume},
                       {"offset", object.line.offset},
                       {"size", object.line.size},
                       {"reason", object.why.reason},
                       {"message", object.why.message}});
  }
  json files = json::object();
  for (const auto& [name, why] : report.damaged_files) files[name] = why.message;
  json fields = {
      {"damaged", report.needed_repair()},     {"damaged_volumes", DamageToJson(report.volumes)},
      {"mended_files", report.mended_files},   {"damaged_files", std::move(files)},
      {"damaged_objects", std::move(objects)}, {"damaged_objects_count", report.damaged_objects},
      {"objects", report.all_objects},         {"bytes", report.all_bytes}};
  if (report.has_index) {
    fields["good_objects"] = report.all_objects - report.damaged_objects;
    fields["good_bytes"] = report.all_bytes - report.damaged_bytes;
  }
  return fields;
}

}  // namespace gapferry::cli
