#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/guid.h"
#include "base/hash.h"
#include "base/result.h"
#include "base/stream.h"
#include "protocol/fragments.h"
#include "protocol/update_id.h"

namespace gapferry::protocol {

enum class UpdateType { kCategory, kDetectoid, kSoftware, kDriver };

std::string_view UpdateTypeName(UpdateType type);  ///< as in the document: "Software"
/// Fails with kUnsupported on an unknown name.
Result<UpdateType> ParseUpdateType(std::string_view name);

/// One clause of the conjunction under Prerequisites: satisfied by any of its updates (a bare
/// identity is a clause of one). GUIDs mean the newest revision.
struct PrerequisiteClause {
  bool is_category = false;  ///< IsCategory="true": membership, to be shown as such
  std::vector<Guid> any_of;
};

/// One group of a bundle: a client installs one applicable member of it.
struct BundledClause {
  std::vector<UpdateId> any_of;
};

/// A content file as declared; its identity in the store is the SHA-1.
struct UpdateFile {
  Sha1Digest sha1;
  std::optional<Sha256Digest> sha256;  ///< absent in old documents; Windows 8 and later want it
  std::uint64_t size = 0;              ///< bytes
  std::string file_name;               ///< not unique and never a storage name
  std::string modified;                ///< as written
  std::string patching_type;           ///< "SelfContained", "Express", … or empty
  bool is_encrypted = false;

  /// The extension under which it is stored and served: what follows the last dot of the name when
  /// that is 1 to 16 letters or digits, in the case of the name; "bin" otherwise.
  std::string Extension() const;
};

struct EulaFile {
  UpdateFile file;
  std::string language;
  std::string geo_id;  ///< usually empty
};

struct LocalizedText {
  std::string language;  ///< as written, lower case in practice
  std::string title;
  std::string description;
};

/// What CategoryInformation says; absent on updates that are no category. A category without
/// CategoryType is real (roots and sub-categories).
struct CategoryInformation {
  std::string type;  ///< "Company", "ProductFamily", "Product", "UpdateClassification", or empty
  bool prohibits_subcategories = false;
  bool prohibits_updates = false;
  bool excluded_by_default = false;
  std::optional<std::int32_t> display_order;
};

struct DriverFeatureScore {
  std::string operating_system;  ///< "amd64.10.0"
  std::uint8_t score = 0;        ///< lower is better
};

/// One WindowsDriverMetaData (WindowsDriver.xsd).
struct DriverMetadata {
  std::string hardware_id;  ///< compared without case
  std::string ver_date;     ///< as written
  std::string ver_version;  ///< four numbers
  std::string whql_driver_id;
  std::string driver_class;
  std::string company;
  std::string provider;
  std::string manufacturer;
  std::string model;
  std::vector<std::string> compatible_providers;
  std::vector<DriverFeatureScore> feature_scores;
  std::vector<Guid> distribution_computer_ids;
  std::vector<Guid> target_computer_ids;
};

/// What an update runs on the computer, for people who review what is new in kind.
struct CommandLine {
  std::string program;
  std::string arguments;
};

/// Everything this program reads out of a revision's document; the document itself stays as it
/// came. Strings are UTF-8, empty where the document says nothing.
struct UpdateDocument {
  UpdateId id;
  UpdateType type = UpdateType::kSoftware;

  // Properties
  bool explicitly_deployable = false;
  bool auto_select_on_web_sites = false;
  bool is_expired = false;  ///< PublicationState="Expired"
  bool is_public = true;
  bool is_beta = false;
  bool is_locally_published = false;
  bool has_secured_fragment = false;  ///< file addresses or decryption keys come apart from it
  bool needs_file_keys = false;       ///< its SecuredFragment says FileDecryption
  bool os_upgrade = false;
  bool per_user = false;
  std::optional<Guid> eula_id;
  std::optional<Guid> publisher_id;
  std::optional<UtcTime> creation_date;
  std::string handler;  ///< URI, empty on pure bundles
  std::string default_language;
  std::string legacy_name;
  std::string detectoid_type;
  std::string msrc_severity;
  std::string compatible_protocol_version;
  std::string support_url;
  std::optional<std::uint64_t> max_download_bytes;
  std::optional<std::uint64_t> min_download_bytes;
  std::vector<std::string> kb_articles;  ///< digits only, without "KB"
  std::vector<std::string> security_bulletins;
  std::vector<std::string> cve_ids;
  std::vector<std::string> languages;  ///< the update applies to; "all" is possible
  bool has_install_behavior = false;
  bool has_uninstall_behavior = false;  ///< can be uninstalled
  std::string install_reboot_behavior;  ///< "NeverReboots", … or empty
  std::string install_impact;           ///< "Normal", "Minor", "RequiresExclusiveHandling" or empty

  // Relationships
  std::vector<PrerequisiteClause> prerequisites;
  std::vector<BundledClause> bundled;
  std::vector<Guid> superseded;

  // Content
  std::vector<UpdateFile> files;
  std::vector<EulaFile> eula_files;
  std::vector<LocalizedText> localized;

  // Handler data and rules
  std::string handler_data_type;  ///< local part of xsi:type: "CommandLineInstallation", "Category"
  std::optional<CategoryInformation> category;
  std::vector<CommandLine> command_lines;
  std::vector<DriverMetadata> drivers;
  bool has_installed_rule = false;
  bool has_installable_rule = false;

  bool IsClassification() const { return IsCategoryOf("UpdateClassification"); }
  bool IsProduct() const { return IsCategoryOf("Product"); }
  bool IsCategoryOf(std::string_view category_type) const;
  bool IsBundle() const { return !bundled.empty(); }

  /// Every GUID that any prerequisite clause names, sorted, once each: membership for filtering.
  std::vector<Guid> PrerequisiteIds() const;
  /// The same of the IsCategory clauses alone: products and classification as shown to people.
  std::vector<Guid> CategoryIds() const;
  /// The text in `language`, its primary language, English, the default language, or the first;
  /// null when there is none.
  const LocalizedText* Text(std::string_view language) const;
  std::string Title(std::string_view language = "en") const;  ///< empty when there is none
  std::uint64_t TotalFileBytes() const;  ///< stays at the largest number instead of wrapping
};

/// Bounds of one document. A breach is kCorrupt and names the bound.
struct UpdateDocumentLimits {
  std::uint64_t document_bytes = 256ULL << 20;
  std::size_t token_bytes = 4U << 20;    ///< one tag with its attributes, as written
  std::size_t depth = 256;               ///< CBS manifests nest; nothing here recurses
  std::size_t attributes = 256;          ///< of one element
  std::size_t text_bytes = 1U << 20;     ///< of one value that is kept, such as a description
  std::size_t items = 1'000'000;         ///< relations, files, texts, drivers together
  std::size_t reorder_bytes = 8U << 20;  ///< held while an earlier part of a fragment may follow
};

/// Reads one revision's document piece by piece, whatever its size, and derives the fragments for
/// clients in the same pass (protocol notes: metadata, sections 1 and 4). Memory is bounded by the
/// limits plus the result. Names are resolved by namespace URI, never by prefix; document type
/// declarations are refused; unknown elements are passed over (and kept in fragments).
/// Not thread-safe. `receiver` may be null and must outlive the parser otherwise.
///
/// Fails with kCorrupt on XML that is not well-formed, required parts that are missing, repeated
/// parts and values out of range; with kUnsupported on an unknown UpdateType or a file without a
/// SHA-1. After a failure the parser is unusable.
class UpdateDocumentParser {
 public:
  explicit UpdateDocumentParser(FragmentReceiver* receiver = nullptr,
                                const UpdateDocumentLimits& limits = {});
  ~UpdateDocumentParser();
  UpdateDocumentParser(UpdateDocumentParser&&) noexcept;
  UpdateDocumentParser& operator=(UpdateDocumentParser&&) noexcept;

  Result<void> Feed(std::string_view utf8);
  Result<UpdateDocument> Finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The whole text at once.
Result<UpdateDocument> ParseUpdateDocument(std::string_view utf8,
                                           FragmentReceiver* receiver = nullptr,
                                           const UpdateDocumentLimits& limits = {});

/// The text from a stream, in pieces.
Result<UpdateDocument> ParseUpdateDocument(Source& utf8, FragmentReceiver* receiver = nullptr,
                                           const UpdateDocumentLimits& limits = {});

}  // namespace gapferry::protocol
