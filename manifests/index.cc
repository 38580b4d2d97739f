#include "manifests/index.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "base/canonical_json.h"
#include "manifests/seal_format.h"

namespace gapferry::manifests {
namespace {

std::unexpected<Error> Bad(const char* reason, const IndexLine& line, std::string_view problem) {
  return Fail(ErrorCode::kCorrupt, reason,
              "object '" + line.name.ToString() + "' in " + VolumeName(line.volume) +
                  " at offset " + std::to_string(line.offset) + ": " + std::string(problem));
}

void Octal(std::uint8_t* field, std::size_t digits, std::uint64_t value) {
  for (std::size_t i = digits; i-- > 0; value >>= 3) {
    field[i] = static_cast<std::uint8_t>('0' + (value & 7));
  }
}

void WriteSize(std::uint8_t* field, std::uint64_t size) {
  if (size < (std::uint64_t{1} << 33)) {
    Octal(field, 11, size);
    return;
  }
  // Base-256: the top bit of the first byte, then the number, big-endian.
  field[0] = 0x80;
  for (std::size_t i = 11; i > 3; --i, size >>= 8) field[i] = static_cast<std::uint8_t>(size);
}

std::string Numbered(const char* format, std::uint32_t number) {
  char buffer[32];
  std::snprintf(buffer, sizeof(buffer), format, number);
  return buffer;
}

/// Fills volumes in order; an object that has no room in what is left of one begins the next.
class Layouter {
 public:
  explicit Layouter(std::uint64_t volume_bytes) : limit_(volume_bytes) {}

  Result<void> Place(const PlannedObject& object) {
    const std::uint64_t needed = kTarBlock + RoundUp(object.size);
    if (limit_ == 0 || at_ + needed + kTarTrailer <= limit_)
      return Put(object, object.name, object.size);
    if (needed + kTarTrailer <= limit_) {
      NextVolume();
      return Put(object, object.name, object.size);
    }
    if (!object.name.IsContent()) {
      return Fail(ErrorCode::kUsage, "volume-too-small",
                  "object '" + object.name.ToString() + "' needs volumes of at least " +
                      std::to_string(needed + kTarTrailer) + " bytes, asked for are " +
                      std::to_string(limit_));
    }
    return Cut(object);
  }

  std::vector<IndexLine> Take() { return std::move(lines_); }

 private:
  static std::uint64_t RoundUp(std::uint64_t size) {
    return (size + kTarBlock - 1) / kTarBlock * kTarBlock;
  }

  void NextVolume() {
    if (at_ != 0) ++volume_;
    at_ = 0;
  }

  Result<void> Put(const PlannedObject& object, const ObjectName& name, std::uint64_t size) {
    if (volume_ > kMaxVolumes) {
      return Fail(ErrorCode::kUsage, "volume-too-small",
                  "more than " + std::to_string(kMaxVolumes) + " volumes would be needed");
    }
    IndexLine line;
    line.name = name;
    line.volume = volume_;
    line.offset = at_;
    line.size = size;
    if (name.IsContent()) line.full_size = object.size;
    if (name.part == 0) {
      line.sha256 = object.sha256;
    } else {
      line.full_sha256 = object.sha256;
    }
    at_ = line.end();
    lines_.push_back(std::move(line));
    return {};
  }

  Result<void> Cut(const PlannedObject& object) {
    std::uint64_t rest = object.size;
    ObjectName name = object.name;
    while (rest > 0) {
      // A part of a few blocks at the end of a volume is not worth a header.
      if (at_ + kTarBlock + kTarTrailer + (kMinVolumeBytes / 4) > limit_) NextVolume();
      const std::uint64_t room = (limit_ - at_ - kTarBlock - kTarTrailer) / kTarBlock * kTarBlock;
      const std::uint64_t size = std::min(room, rest);
      if (++name.part > 9999) {
        return Fail(ErrorCode::kUsage, "volume-too-small",
                    "object '" + object.name.ToString() + "' would need more than 9999 parts");
      }
      TRY(Put(object, name, size));
      rest -= size;
    }
    return {};
  }

  std::uint64_t limit_;
  std::uint32_t volume_ = 1;
  std::uint64_t at_ = 0;
  std::vector<IndexLine> lines_;
};

}  // namespace

std::array<std::uint8_t, kTarBlock> TarHeader(const IndexLine& line) {
  std::array<std::uint8_t, kTarBlock> header{};
  const std::string name = line.name.ToString();
  std::memcpy(&header[0], name.data(), name.size());
  std::memcpy(&header[100], "0000644", 7);
  std::memcpy(&header[108], "0000000", 7);
  std::memcpy(&header[116], "0000000", 7);
  WriteSize(&header[124], line.size);
  Octal(&header[136], 11, 0);
  std::memset(&header[148], ' ', 8);
  header[156] = '0';
  std::memcpy(&header[257],
              "ustar\0"
              "00",
              8);
  std::memcpy(&header[329], "0000000", 7);
  std::memcpy(&header[337], "0000000", 7);
  unsigned sum = 0;
  for (const std::uint8_t byte : header) sum += byte;
  Octal(&header[148], 6, sum);
  header[154] = 0;
  return header;
}

std::string VolumeName(std::uint32_t number) { return Numbered("volume-%04u.tar", number); }
std::string BlocksName(std::uint32_t number) { return Numbered("blocks-%04u", number); }

std::string EncodeIndexLine(const IndexLine& line) {
  JsonValue::Object members{{"name", line.name.ToString()},
                            {"offset", line.offset},
                            {"sha256", line.sha256.ToHex()},
                            {"size", line.size},
                            {"volume", static_cast<std::uint64_t>(line.volume)}};
  if (line.name.IsContent()) {
    members["full_size"] = line.full_size;
    members["sha1"] = line.name.sha1.ToHex();
  }
  if (line.full_sha256) members["full_sha256"] = line.full_sha256->ToHex();
  return WriteCanonicalJson(JsonValue(std::move(members)));
}

Result<IndexLine> DecodeIndexLine(std::string_view text, std::uint64_t line_number) {
  const std::string what = "index line " + std::to_string(line_number);
  const auto malformed = [&](std::string message) {
    return Fail(ErrorCode::kCorrupt, "index-malformed", std::move(message));
  };
  if (text.size() > kMaxIndexLineBytes) return malformed(what + ": too long");
  const auto value = ParseCanonicalJson(text);
  if (!value) return malformed(what + ": " + value.error().message);
  JsonFields fields(*value, what);
  IndexLine line;
  const auto name = ObjectName::Parse(fields.Text("name", 100));
  if (!name) return malformed(what + ": " + name.error().message);
  line.name = *name;
  line.offset = fields.Count("offset");
  line.sha256 = fields.Sha256Value("sha256");
  line.size = fields.Count("size");
  line.volume = static_cast<std::uint32_t>(fields.Count("volume", kMaxVolumes));
  if (line.name.IsContent()) {
    line.full_size = fields.Count("full_size");
    if (fields.Sha1Value("sha1") != line.name.sha1) fields.Refuse("sha1 and name disagree");
  }
  if (line.name.part != 0) line.full_sha256 = fields.Sha256Value("full_sha256");
  if (const auto finished = fields.Finish(); !finished) return malformed(finished.error().message);
  return line;
}

Result<void> IndexChecker::Add(const IndexLine& line) {
  if (last_ && last_->name >= line.name) {
    return Bad("index-order", line, "does not come after '" + last_->name.ToString() + "'");
  }
  TRY(CheckPlace(line));
  TRY(CheckPart(line));
  last_ = line;
  return {};
}

Result<void> IndexChecker::CheckPlace(const IndexLine& line) {
  // The sum below must not overflow, and no file system holds more.
  if (line.size > static_cast<std::uint64_t>(kMaxJsonInteger) / 2 ||
      line.offset > static_cast<std::uint64_t>(kMaxJsonInteger) / 2) {
    return Bad("index-gap", line, "larger than anything that can be stored");
  }
  const bool same_volume = last_ && line.volume == last_->volume;
  const bool next_volume = line.volume == volume_sizes_.size() + 1;
  if (!same_volume && !next_volume) {
    return Bad("index-gap", line, "expected volume " + std::to_string(volume_sizes_.size() + 1));
  }
  const std::uint64_t expected = same_volume ? last_->end() : 0;
  if (line.offset != expected) {
    return Bad("index-gap", line, "expected offset " + std::to_string(expected));
  }
  if (next_volume) volume_sizes_.push_back(0);
  volume_sizes_.back() = line.end() + kTarTrailer;
  return {};
}

Result<void> IndexChecker::CheckPart(const IndexLine& line) {
  const bool unfinished = last_ && last_->name.part != 0 && part_bytes_ < last_->full_size;
  if (line.name.part <= 1) {
    if (unfinished) return Bad("index-parts", *last_, "parts are missing behind it");
    part_bytes_ = 0;
  } else if (!unfinished || last_->name.Whole() != line.name.Whole() ||
             last_->name.part + 1 != line.name.part || last_->full_size != line.full_size ||
             last_->full_sha256 != line.full_sha256) {
    return Bad("index-parts", line, "does not continue the part before it");
  }
  if (!line.name.IsContent()) return {};
  if (last_ && last_->name.IsContent() && line.name.part <= 1 &&
      last_->name.sha1 == line.name.sha1) {
    return Bad("index-order", line, "the same file twice");
  }
  part_bytes_ += line.size;
  if (line.name.part == 0 ? line.size != line.full_size
                          : line.size == 0 || part_bytes_ > line.full_size) {
    return Bad("index-parts", line, "size and full size disagree");
  }
  return {};
}

Result<std::vector<std::uint64_t>> IndexChecker::Finish() {
  if (last_ && last_->name.part != 0 && part_bytes_ < last_->full_size) {
    return Bad("index-parts", *last_, "parts are missing behind it");
  }
  return std::move(volume_sizes_);
}

Result<std::vector<IndexLine>> LayOut(std::span<const PlannedObject> objects,
                                      std::uint64_t volume_bytes, VolumeForm form) {
  if (volume_bytes != 0 && volume_bytes < kMinVolumeBytes) {
    return Fail(ErrorCode::kUsage, "volume-too-small",
                "volumes of " + std::to_string(volume_bytes) + " bytes; the least is " +
                    std::to_string(kMinVolumeBytes));
  }
  Layouter layouter(form == VolumeForm::kSealed ? PlainCapacity(volume_bytes) : volume_bytes);
  for (const PlannedObject& object : objects) TRY(layouter.Place(object));
  return layouter.Take();
}

}  // namespace gapferry::manifests
