#include "mirror/evidence_medium.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <fstream>
#include <optional>

#include "base/bytes.h"
#include "base/file.h"
#include "base/text.h"

namespace gapferry::mirror {
namespace {

constexpr std::size_t kMaxText = 256;

/// What a device says about itself is a stranger's text.
std::string Clean(std::string_view text) {
  const std::string_view trimmed = TrimAscii(text);
  return trimmed.empty() ? std::string() : EscapeForDisplay(trimmed, kMaxText);
}

/// Files of /proc and /sys have no size.
std::string FirstLine(const fs::path& path) {
  std::ifstream in(path);
  std::string line;
  if (!in || !std::getline(in, line)) return {};
  return Clean(line.substr(0, kMaxText));
}

/// "\040" of mountinfo, "\x20" of udev.
std::string Unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool octal =
        text[i] == '\\' && i + 3 < text.size() && text[i + 1] >= '0' && text[i + 1] <= '3';
    if (octal) {
      out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                               (text[i + 3] - '0'));
      i += 3;
      continue;
    }
    if (text[i] == '\\' && i + 3 < text.size() && text[i + 1] == 'x') {
      if (const auto byte = HexDecode(text.substr(i + 2, 2)); byte && byte->size() == 1) {
        out += static_cast<char>(byte->front());
        i += 3;
        continue;
      }
    }
    out += text[i];
  }
  return out;
}

struct Mount {
  std::string number;  ///< "8:17"
  std::string point;
  std::string type;
  std::string source;
  bool read_only = false;
};

/// mountinfo(5): ID PARENT MAJ:MIN ROOT POINT OPTIONS [FIELDS...] - TYPE SOURCE SUPER
std::optional<Mount> ParseMount(const std::string& line) {
  const auto words = Split(line, ' ');
  const auto dash = std::ranges::find(words, "-");
  if (words.size() < 6 || words.end() - dash < 4) return std::nullopt;
  const auto options = Split(words[5], ',');
  return Mount{std::string(words[2]), Unescape(words[4]), std::string(dash[1]), Unescape(dash[2]),
               std::ranges::find(options, "ro") != options.end()};
}

bool IsBelow(const std::string& path, const std::string& point) {
  if (point == "/") return true;
  return path.starts_with(point) && (path.size() == point.size() || path[point.size()] == '/');
}

std::optional<Mount> FindMount(const std::string& path, const fs::path& mounts) {
  constexpr int kMostMounts = 10'000;
  std::ifstream in(mounts);
  std::optional<Mount> best;
  std::string line;
  for (int i = 0; i < kMostMounts && std::getline(in, line); ++i) {
    auto mount = ParseMount(line);
    if (!mount || !IsBelow(path, mount->point)) continue;
    // Of several on one point the last one covers the others.
    if (!best || mount->point.size() >= best->point.size()) best = std::move(mount);
  }
  return best;
}

fs::path NearestThatExists(fs::path path) {
  std::error_code error;
  path = fs::absolute(path, error).lexically_normal();
  while (!fs::exists(path, error) && path.has_relative_path()) path = path.parent_path();
  const fs::path real = fs::canonical(path, error);
  return error ? path : real;
}

/// E:ID_FS_UUID=... lines of the udev database.
void ReadUdev(const fs::path& file, MediumFacts& facts) {
  constexpr int kMostLines = 1'000;
  std::ifstream in(file);
  std::string line;
  std::string serial, short_serial;
  for (int i = 0; i < kMostLines && std::getline(in, line); ++i) {
    const auto take = [&line](std::string_view key, std::string& out) {
      const std::string prefix = fmt::format("E:{}=", key);
      if (line.starts_with(prefix)) out = Clean(Unescape(line.substr(prefix.size())));
    };
    take("ID_FS_UUID", facts.uuid);
    take("ID_FS_LABEL_ENC", facts.label);
    take("ID_VENDOR", facts.vendor);
    take("ID_MODEL", facts.model);
    take("ID_SERIAL", serial);
    take("ID_SERIAL_SHORT", short_serial);
  }
  facts.serial = short_serial.empty() ? serial : short_serial;
}

/// The link below `folder` that leads to the device: its name is the UUID or label.
std::string LinkTo(const fs::path& folder, const std::string& device) {
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (fs::read_symlink(it->path(), ignored).filename() == device) {
      return Clean(Unescape(it->path().filename().string()));
    }
  }
  return {};
}

/// From the device upward: a partition's disk, a disk's USB device.
void ReadSys(const fs::path& sys, const std::string& number, MediumFacts& facts) {
  constexpr int kMostSteps = 16;
  std::error_code error;
  fs::path folder = fs::canonical(sys / "dev/block" / number, error);
  if (error) return;
  if (facts.device.empty()) facts.device = "/dev/" + Clean(folder.filename().string());
  const fs::path top = fs::canonical(sys, error);
  const auto take = [](std::string& out, const fs::path& file) {
    if (!out.empty()) return;
    out = FirstLine(file);
    if (out.starts_with("0x")) out.clear();  // a number of the PCI bus says nothing to people
  };
  for (int i = 0; i < kMostSteps && folder != top && folder.has_relative_path(); ++i) {
    const fs::path device = folder / "device";
    for (const fs::path& place : {device, folder}) {
      take(facts.serial, place / "serial");
      take(facts.vendor, place / "vendor");
      take(facts.model, place / "model");
      take(facts.vendor, place / "manufacturer");
      take(facts.model, place / "product");
    }
    if (!facts.serial.empty()) return;
    folder = folder.parent_path();
  }
}

}  // namespace

MediumFacts ReadMedium(const fs::path& path, const MediumSources& sources) {
  MediumFacts facts;
  facts.path = Clean(path.string());
  const fs::path real = NearestThatExists(path);
  const auto mount = FindMount(real.string(), sources.mounts);
  if (!mount) return facts;
  facts.mount_point = Clean(mount->point);
  facts.file_system = Clean(mount->type);
  facts.read_only = mount->read_only;
  if (mount->source.starts_with("/dev/")) facts.device = Clean(mount->source);
  // Some file systems have a number of their own that names no device (0:N): nothing more is known.
  if (mount->number.starts_with("0:")) return facts;
  ReadUdev(sources.udev / ("b" + mount->number), facts);
  ReadSys(sources.sys, mount->number, facts);
  const std::string device = fs::path(facts.device).filename().string();
  if (!device.empty() && facts.uuid.empty()) facts.uuid = LinkTo(sources.disks / "by-uuid", device);
  if (!device.empty() && facts.label.empty()) {
    facts.label = LinkTo(sources.disks / "by-label", device);
  }
  return facts;
}

JsonValue::Object MediumFacts::ToJson() const {
  JsonValue::Object out{{"read_only", read_only}};
  const std::pair<const char*, const std::string*> texts[] = {{"path", &path},
                                                              {"mount_point", &mount_point},
                                                              {"file_system", &file_system},
                                                              {"uuid", &uuid},
                                                              {"label", &label},
                                                              {"device", &device},
                                                              {"vendor", &vendor},
                                                              {"model", &model},
                                                              {"serial", &serial}};
  for (const auto& [key, text] : texts) {
    if (!text->empty()) out[key] = *text;
  }
  return out;
}

std::string MediumFacts::Marks() const {
  std::string out;
  if (!serial.empty()) out = "serial number " + serial;
  if (!uuid.empty()) out += (out.empty() ? "UUID " : ", UUID ") + uuid;
  return out;
}

Result<void> CheckMediumAllowed(const MediumFacts& medium,
                                const std::vector<std::string>& allowed) {
  if (allowed.empty()) return {};
  for (const std::string& one : allowed) {
    if ((!medium.serial.empty() && EqualsIgnoreCase(one, medium.serial)) ||
        (!medium.uuid.empty() && EqualsIgnoreCase(one, medium.uuid))) {
      return {};
    }
  }
  const std::string marks = medium.Marks();
  std::string list;
  for (const std::string& one : allowed) list += (list.empty() ? "" : ", ") + one;
  return Fail(ErrorCode::kUntrusted, "medium-not-allowed",
              fmt::format("'{}' is on a medium with {}, allowed are {}", medium.path,
                          marks.empty() ? "no serial number or UUID that is known" : marks,
                          EscapeForDisplay(list, 400)));
}

}  // namespace gapferry::mirror
