#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gapferry::protocol {

/// The parts of a revision that clients are sent (MS-WUSP 3.1.1.1). Each is XML text with several
/// roots, made from the revision's document; SOAP escapes it once more.
enum class FragmentKind {
  kCore,                 ///< SyncUpdates: identity, properties, relations, rules
  kExtended,             ///< GetExtendedUpdateInfo: properties, files, handler data
  kLocalizedProperties,  ///< one per language
  kEula,                 ///< one per language and region
};

std::string_view FragmentKindName(FragmentKind kind);  ///< "core", "extended", "localized", "eula"

/// Raised when the derivation changes, so that stored fragments are made again.
inline constexpr std::int32_t kFragmentDerivation = 1;

/// Which fragment of one revision. `language` is the text of the document, lower case ("pt-br");
/// `geo_id` only of EULAs, else empty.
struct FragmentKey {
  FragmentKind kind = FragmentKind::kCore;
  std::string language;
  std::string geo_id;

  auto operator<=>(const FragmentKey&) const = default;
};

/// Takes the fragments of one document while it is parsed. A core fragment can be 47 MB: it comes
/// in pieces, in order, and pieces of different fragments interleave. The text is UTF-8 and not yet
/// escaped for SOAP. An error ends the parse and is returned from it.
class FragmentReceiver {
 public:
  virtual ~FragmentReceiver() = default;
  virtual Result<void> Append(const FragmentKey& key, std::string_view text) = 0;
};

struct Fragment {
  FragmentKey key;
  std::string text;
};

/// Keeps the fragments in memory: for tests, small documents and tools. Fails with kCorrupt when
/// all together exceed `limit_bytes`. Core is first, Extended second, then languages and EULAs as
/// found.
class FragmentCollector : public FragmentReceiver {
 public:
  explicit FragmentCollector(std::uint64_t limit_bytes = 512ULL << 20)
      : limit_bytes_(limit_bytes) {}
  Result<void> Append(const FragmentKey& key, std::string_view text) override;

  const std::vector<Fragment>& fragments() const { return fragments_; }
  std::vector<Fragment> Take() { return std::move(fragments_); }
  /// The text of one fragment, empty when the document has none.
  std::string_view Find(FragmentKind kind, std::string_view language = {}) const;

 private:
  std::uint64_t limit_bytes_;
  std::uint64_t bytes_ = 0;
  std::vector<Fragment> fragments_;
};

/// The language fragment to send for the locales a client asked for: the first requested locale
/// that exists, its primary language after it, then "en", then `default_language`, then the first
/// of `available` (all compared without case). Returns an index into `available`, -1 when it is
/// empty.
int ChooseLanguage(const std::vector<std::string>& available,
                   const std::vector<std::string>& requested, std::string_view default_language);

}  // namespace gapferry::protocol
