#include "client/fragment_reader.h"

#include <utility>

#include "base/text.h"
#include "protocol/xml_stream.h"

namespace gapferry::client {

namespace {

using protocol::XmlAttribute;
using protocol::XmlElement;
using protocol::XmlHandler;
using protocol::XmlStream;

constexpr std::size_t kMaxTextBytes = 1 << 20;
constexpr std::size_t kMaxRules = 200'000;

std::string Attribute(const XmlElement& element, std::string_view name) {
  const std::string_view* value = element.Find(name);
  return value == nullptr ? std::string() : std::string(*value);
}

Result<Guid> ReadGuid(const XmlElement& element) {
  const auto guid = Guid::Parse(Attribute(element, "UpdateID"));
  if (!guid) return Fail(ErrorCode::kCorrupt, "UpdateIdentity: " + guid.error().message);
  return *guid;
}

Result<protocol::UpdateId> ReadId(const XmlElement& element) {
  protocol::UpdateId id;
  TRY_ASSIGN(id.guid, ReadGuid(element));
  const auto revision = ParseInt<std::int32_t>(Attribute(element, "RevisionNumber"));
  if (!revision) return Fail(ErrorCode::kCorrupt, "UpdateIdentity without RevisionNumber");
  id.revision = *revision;
  return id;
}

Result<void> ParseRoots(std::string_view text, XmlHandler& handler) {
  XmlStream stream(handler, {});
  TRY(stream.Feed("<fragment>"));
  TRY(stream.Feed(text));
  TRY(stream.Feed("</fragment>"));
  return stream.Finish();
}

// Depth 1 is the wrapper, 2 a root of the fragment.
class CoreReader : public XmlHandler {
 public:
  Result<void> Start(const XmlElement& element) override {
    ++depth_;
    collecting_ = nullptr;
    if (depth_ == 2) {
      section_ = element.name;
      return StartSection(element);
    }
    if (depth_ == 1) return {};
    if (section_ == "Relationships") return Relation(element);
    if (section_ == "ApplicabilityRules") return RuleElement(element);
    return {};
  }

  Result<void> End(const XmlElement&) override {
    if (section_ == "ApplicabilityRules" && depth_ > 3 && depth_ - 3 == open_.size()) CloseRule();
    collecting_ = nullptr;
    --depth_;
    return {};
  }

  Result<void> Text(std::string_view text) override {
    std::string* target = collecting_;
    if (target == nullptr && section_ == "ApplicabilityRules" && !open_.empty()) {
      target = &open_.back().text;
    }
    if (target == nullptr) return {};
    if (target->size() + text.size() > kMaxTextBytes) {
      return Fail(ErrorCode::kCorrupt, "a text of a core fragment is too long");
    }
    target->append(text);
    return {};
  }

  Result<CoreFragment> Finish() {
    if (!has_identity_ || !has_type_) {
      return Fail(ErrorCode::kCorrupt, "a core fragment lacks UpdateIdentity or UpdateType");
    }
    return std::move(core_);
  }

 private:
  Result<void> StartSection(const XmlElement& element) {
    if (section_ == "UpdateIdentity") {
      TRY_ASSIGN(core_.id, ReadId(element));
      has_identity_ = true;
    } else if (section_ == "Properties") {
      TRY_ASSIGN(core_.type, protocol::ParseUpdateType(Attribute(element, "UpdateType")));
      core_.explicitly_deployable = Attribute(element, "ExplicitlyDeployable") == "true";
      core_.has_eula = element.Find("EulaID") != nullptr;
      has_type_ = true;
    }
    return {};
  }

  Result<void> Relation(const XmlElement& element) {
    if (depth_ == 3) {
      part_ = element.name;
      return {};
    }
    if (part_ == "BundledUpdates") {
      const bool is_group = element.name == "AtLeastOne";
      if (is_group || depth_ == 4) core_.bundled.emplace_back();
      if (is_group) return {};
      TRY_ASSIGN(const protocol::UpdateId id, ReadId(element));
      core_.bundled.back().any_of.push_back(id);
    } else if (part_ == "SupersededUpdates") {
      TRY_ASSIGN(const Guid guid, ReadGuid(element));
      core_.superseded.push_back(guid);
    }
    return {};
  }

  Result<void> RuleElement(const XmlElement& element) {
    if (depth_ == 3) {
      part_ = element.name;
      open_.clear();
      return {};
    }
    if (part_ == "Metadata") {
      Metadata(element);
      return {};
    }
    if (part_ != "IsInstalled" && part_ != "IsSuperseded" && part_ != "IsInstallable") return {};
    if (++rules_ > kMaxRules)
      return Fail(ErrorCode::kCorrupt, "a core fragment has too many rules");
    Rule rule;
    rule.name = element.name;
    for (const XmlAttribute& attribute : element.attributes) {
      rule.attributes.emplace_back(attribute.name, attribute.value);
    }
    open_.push_back(std::move(rule));
    return {};
  }

  void CloseRule() {
    Rule rule = std::move(open_.back());
    open_.pop_back();
    if (!open_.empty()) {
      open_.back().operands.push_back(std::move(rule));
      return;
    }
    auto& slot = part_ == "IsInstalled"    ? core_.is_installed
                 : part_ == "IsSuperseded" ? core_.is_superseded
                                           : core_.is_installable;
    if (!slot) {
      slot = std::move(rule);
      return;
    }
    Rule both;
    both.name = "And";
    both.operands.push_back(std::move(*slot));
    both.operands.push_back(std::move(rule));
    slot = std::move(both);
  }

  void Metadata(const XmlElement& element) {
    if (element.name == "assemblyIdentity" && depth_ == 6) {
      core_.metadata.packages.push_back({Attribute(element, "name"), Attribute(element, "version"),
                                         Attribute(element, "processorArchitecture")});
    } else if (element.name == "d.WindowsDriverMetaData") {
      core_.metadata.drivers.push_back({Attribute(element, "HardwareID"),
                                        Attribute(element, "DriverVerVersion"),
                                        Attribute(element, "DriverVerDate")});
    } else if (element.name == "MsiPatch") {
      core_.metadata.patches.push_back({Attribute(element, "PatchGUID"), {}});
    } else if (element.name == "m.ProductCode") {
      collecting_ = &core_.metadata.product_codes.emplace_back();
    } else if (!core_.metadata.patches.empty()) {
      PatchPart(element);
    }
  }

  void PatchPart(const XmlElement& element) {
    auto& targets = core_.metadata.patches.back().targets;
    if (element.name == "TargetProduct") targets.emplace_back();
    if (targets.empty()) return;
    if (element.name == "TargetProductCode") {
      collecting_ = &targets.back().product_codes.emplace_back();
    } else if (element.name == "TargetVersion") {
      targets.back().comparison = Attribute(element, "ComparisonType");
      targets.back().filter = Attribute(element, "ComparisonFilter");
      if (Attribute(element, "Validate") != "false") collecting_ = &targets.back().version;
    }
  }

  CoreFragment core_;
  std::size_t depth_ = 0;
  std::size_t rules_ = 0;
  std::string section_;
  std::string part_;
  std::string* collecting_ = nullptr;
  std::vector<Rule> open_;
  bool has_identity_ = false;
  bool has_type_ = false;
};

// Files of Extended and texts of LocalizedProperties: element names do not collide.
class ExtendedReader : public XmlHandler {
 public:
  Result<void> Start(const XmlElement& element) override {
    ++depth_;
    collecting_ = nullptr;
    if (depth_ == 2) section_ = element.name;
    const bool is_file = section_ == "Files" && depth_ == 3 && element.name == "File";
    if (is_file || (depth_ == 2 && element.name == "EulaFile")) return StartFile(element);
    const std::size_t digest_depth = section_ == "EulaFile" ? 3 : 4;
    const bool in_file = section_ == "Files" || section_ == "EulaFile";
    if (in_file && depth_ == digest_depth && element.name == "AdditionalDigest" &&
        EqualsIgnoreCase(Attribute(element, "Algorithm"), "SHA256") && !extended.files.empty()) {
      digest_.clear();
      collecting_ = &digest_;
    }
    if (section_ == "LocalizedProperties" && depth_ == 3) {
      if (element.name == "Title") collecting_ = &extended.title;
      if (element.name == "Description") collecting_ = &extended.description;
    }
    return {};
  }

  Result<void> End(const XmlElement&) override {
    if (std::exchange(collecting_, nullptr) == &digest_) {
      TRY_ASSIGN(extended.files.back().sha256, Sha256Digest::FromBase64(digest_),
                 "SHA-256 of '" + EscapeForDisplay(extended.files.back().file_name) + "'");
    }
    --depth_;
    return {};
  }

  Result<void> Text(std::string_view text) override {
    if (collecting_ == nullptr) return {};
    collecting_->append(text);
    if (collecting_->size() <= kMaxTextBytes) return {};
    return Fail(ErrorCode::kCorrupt, "a text of a fragment is too long");
  }

  ExtendedFragment extended;

 private:
  Result<void> StartFile(const XmlElement& element) {
    protocol::UpdateFile file;
    file.file_name = Attribute(element, "FileName");
    TRY_ASSIGN(file.sha1, Sha1Digest::FromBase64(Attribute(element, "Digest")),
               "SHA-1 of '" + EscapeForDisplay(file.file_name) + "'");
    const auto size = ParseInt<std::uint64_t>(Attribute(element, "Size"));
    if (!size) {
      return Fail(ErrorCode::kCorrupt,
                  "file '" + EscapeForDisplay(file.file_name) + "' without Size");
    }
    file.size = *size;
    file.patching_type = Attribute(element, "PatchingType");
    extended.files.push_back(std::move(file));
    return {};
  }

  std::size_t depth_ = 0;
  std::string section_;
  std::string digest_;
  std::string* collecting_ = nullptr;
};

}  // namespace

Result<CoreFragment> ParseCore(std::string_view core) {
  CoreReader reader;
  TRY(ParseRoots(core, reader), "core fragment");
  return reader.Finish();
}

Result<std::vector<protocol::UpdateFile>> ParseEulas(std::string_view eulas) {
  ExtendedReader reader;
  TRY(ParseRoots(eulas, reader), "licence fragment");
  return std::move(reader.extended.files);
}

Result<ExtendedFragment> ParseExtended(std::string_view extended, std::string_view localized) {
  ExtendedReader reader;
  TRY(ParseRoots(extended, reader), "extended fragment");
  TRY(ParseRoots(localized, reader), "localized fragment");
  return std::move(reader.extended);
}

}  // namespace gapferry::client
