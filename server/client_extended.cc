// GetExtendedUpdateInfo, GetExtendedUpdateInfo2 and GetFileLocations, MS-WUSP 3.1.5.9 to 3.1.5.12.
#include <algorithm>
#include <set>

#include "mirror/catalog.h"
#include "mirror/content_store.h"
#include "mirror/fragment_store.h"
#include "server/client_service.h"

namespace gapferry::server {

using protocol::FaultCode;
using protocol::FragmentType;

namespace {

/// Ten times what GetConfig announces; more would only serve to burden us.
constexpr std::size_t kMaxExtendedIds = 500;
constexpr std::size_t kMaxFileDigests = 20'000;
constexpr std::size_t kMaxLocales = 64;

protocol::TextValue ToText(mirror::StoredFragment fragment) {
  if (fragment.prepared) return std::move(fragment.prepared);
  return protocol::EscapedText{std::move(fragment.escaped_text)};
}

bool Wants(const std::vector<FragmentType>& types, FragmentType type) {
  return std::ranges::find(types, type) != types.end();
}

/// Collects what the two GetExtendedUpdateInfo operations have in common.
class ExtendedAnswer {
 public:
  ExtendedAnswer(CallContext& call, const ServiceShared& shared, mirror::FragmentStore& fragments)
      : call_(call), fragments_(fragments), base_url_(ContentBaseUrl(shared, call.request)) {}

  /// In the real server's order: all fragments of one type, then the next (wusp.md 8).
  Result<void> AddFragments(const std::vector<RevisionOrdinal>& revisions,
                            const std::vector<FragmentType>& types,
                            const std::vector<std::string>& locales) {
    for (const FragmentType type : types) {
      for (const RevisionOrdinal r : revisions) TRY(AddFragment(IdOf(r), type, locales));
    }
    return {};
  }

  void AddLocations(const std::vector<RevisionOrdinal>& revisions, bool with_algorithm,
                    bool with_eulas) {
    for (const RevisionOrdinal r : revisions) {
      for (const FileOrdinal f : call_.index->catalog().Payloads(r)) Locate(f, with_algorithm);
      if (!with_eulas) continue;
      for (const FileOrdinal f : call_.index->catalog().EulaFiles(r)) Locate(f, with_algorithm);
    }
  }

  std::vector<protocol::UpdateFragment> updates;
  std::vector<protocol::FileLocation> locations;

 private:
  mirror::RevisionId IdOf(RevisionOrdinal r) const {
    return call_.index->catalog().revisions()[r].id;
  }

  Result<void> AddFragment(mirror::RevisionId id, FragmentType type,
                           const std::vector<std::string>& locales) {
    std::optional<mirror::StoredFragment> fragment;
    switch (type) {
      case FragmentType::kCore: {
        TRY_ASSIGN(fragment, fragments_.FindCore(id));
        break;
      }
      case FragmentType::kExtended: {
        TRY_ASSIGN(fragment, fragments_.FindExtended(id));
        break;
      }
      case FragmentType::kLocalizedProperties: {
        TRY_ASSIGN(fragment, fragments_.FindLocalized(id, locales, "en"));
        break;
      }
      case FragmentType::kEula:
        return AddEula(id, locales);
      case FragmentType::kPublished:
      case FragmentType::kVerificationRule:
      case FragmentType::kFileUrl:
      case FragmentType::kFileDecryption:
        return {};
    }
    if (fragment) updates.push_back({id, ToText(std::move(*fragment))});
    return {};
  }

  /// All regions of the best language.
  Result<void> AddEula(mirror::RevisionId id, const std::vector<std::string>& locales) {
    TRY_ASSIGN(const auto keys, fragments_.Keys(id, protocol::FragmentKind::kEula));
    std::vector<std::string> languages;
    for (const auto& key : keys) languages.push_back(key.language);
    const int best = protocol::ChooseLanguage(languages, locales, "en");
    if (best < 0) return {};
    for (const auto& key : keys) {
      if (key.language != languages[static_cast<std::size_t>(best)]) continue;
      TRY_ASSIGN(auto fragment, fragments_.Find(id, key));
      if (fragment) updates.push_back({id, ToText(std::move(*fragment))});
    }
    return {};
  }

  void Locate(FileOrdinal f, bool with_algorithm) {
    const CatalogIndex& catalog = call_.index->catalog();
    const FileFacts256& file = catalog.files()[f];
    if (!located_.insert(file.sha1).second) return;
    protocol::FileLocation location;
    location.file_digest = file.sha1;
    location.url = base_url_ + mirror::ContentPath(file.sha1, catalog.extension(file));
    if (with_algorithm) location.file_digest_algorithm = "SHA1";
    locations.push_back(std::move(location));
  }

  CallContext& call_;
  mirror::FragmentStore& fragments_;
  const std::string base_url_;
  std::set<Sha1Digest> located_;
};

/// What a client may ask about: what its scans can deliver, and categories of category scans.
bool IsVisible(const ScanIndex& index, const Scope& scope, RevisionOrdinal r) {
  if (scope.PositionOf(r) != kNone) return true;
  const RevisionFacts& facts = index.catalog().revisions()[r];
  if (facts.type == mirror::UpdateType::kCategory || facts.type == mirror::UpdateType::kDetectoid) {
    return true;
  }
  return scope.DriverPositionOf(r) != kNone;
}

/// The keys of encrypted files, each file once.
Result<std::vector<protocol::FileDecryption>> DecryptionOf(
    CallContext& call, const std::vector<RevisionOrdinal>& revisions) {
  std::vector<protocol::FileDecryption> list;
  std::set<Sha1Digest> told;
  for (const RevisionOrdinal r : revisions) {
    TRY_ASSIGN(auto keys,
               call.worker.mirror.catalog().FileKeys(call.index->catalog().revisions()[r].id));
    for (mirror::FileKey& key : keys) {
      if (!told.insert(key.sha1).second) continue;
      // MS-WUSP 2.2.2.2.10: SecurityData is one element, the same as the key.
      list.push_back({key.sha1, key.key, {key.key}});
    }
  }
  return list;
}

}  // namespace

Result<protocol::GetExtendedUpdateInfoResponse> ClientService::GetExtendedUpdateInfo(
    CallContext& call, const protocol::GetExtendedUpdateInfoRequest& ask) {
  TRY_ASSIGN(const ClientCookie cookie, cookies_.Open(call, ask.cookie));
  if (ask.revision_ids.size() > kMaxExtendedIds) {
    return FailFault(FaultCode::kInvalidParameters, "revisionIDs");
  }
  if (ask.locales.size() > kMaxLocales) {
    return FailFault(FaultCode::kInvalidParameters, "locales");
  }
  const auto scope = call.index->ScopeOf(GroupsOf(call, cookie));
  protocol::GetExtendedUpdateInfoResponse answer;
  std::vector<RevisionOrdinal> revisions;
  for (const std::int32_t id : ask.revision_ids) {
    const RevisionOrdinal r = call.index->catalog().FindId(id);
    if (r != kNone && IsVisible(*call.index, *scope, r)) {
      revisions.push_back(r);
    } else {
      answer.out_of_scope_revision_ids.push_back(id);
    }
  }
  TRY_ASSIGN(mirror::FragmentStore * fragments, call.worker.mirror.fragments());
  ExtendedAnswer collected(call, shared_, *fragments);
  TRY(collected.AddFragments(revisions, ask.info_types, ask.locales));
  const bool eulas = Wants(ask.info_types, FragmentType::kEula);
  if (eulas || Wants(ask.info_types, FragmentType::kExtended) ||
      Wants(ask.info_types, FragmentType::kFileUrl)) {
    collected.AddLocations(revisions, /*with_algorithm=*/false, eulas);
  }
  answer.updates = std::move(collected.updates);
  answer.file_locations = std::move(collected.locations);
  return answer;
}

Result<protocol::GetExtendedUpdateInfo2Response> ClientService::GetExtendedUpdateInfo2(
    CallContext& call, const protocol::GetExtendedUpdateInfo2Request& ask) {
  TRY_ASSIGN(const ClientCookie cookie, cookies_.Open(call, ask.cookie));
  if (ask.update_ids.size() > kMaxExtendedIds) {
    return FailFault(FaultCode::kInvalidParameters, "updateIDs");
  }
  if (ask.locales.size() > kMaxLocales) {
    return FailFault(FaultCode::kInvalidParameters, "locales");
  }
  const auto scope = call.index->ScopeOf(GroupsOf(call, cookie));
  std::vector<RevisionOrdinal> revisions;
  for (const protocol::UpdateId& id : ask.update_ids) {
    const RevisionOrdinal r = call.index->catalog().Find(id);
    if (r != kNone && IsVisible(*call.index, *scope, r)) revisions.push_back(r);
  }
  TRY_ASSIGN(mirror::FragmentStore * fragments, call.worker.mirror.fragments());
  ExtendedAnswer collected(call, shared_, *fragments);
  TRY(collected.AddFragments(revisions, ask.info_types, ask.locales));
  if (Wants(ask.info_types, FragmentType::kFileUrl) ||
      Wants(ask.info_types, FragmentType::kExtended)) {
    collected.AddLocations(revisions, /*with_algorithm=*/true, /*with_eulas=*/false);
  }
  protocol::GetExtendedUpdateInfo2Response answer;
  if (Wants(ask.info_types, FragmentType::kFileDecryption)) {
    TRY_ASSIGN(answer.file_decryption_data, DecryptionOf(call, revisions));
  }
  answer.updates = std::move(collected.updates);
  answer.file_locations = std::move(collected.locations);
  return answer;
}

Result<protocol::GetFileLocationsResponse> ClientService::GetFileLocations(
    CallContext& call, const protocol::GetFileLocationsRequest& ask) {
  TRY_ASSIGN(ClientCookie cookie, cookies_.Open(call, ask.cookie));
  if (ask.file_digests.size() > kMaxFileDigests) {
    return FailFault(FaultCode::kInvalidParameters, "fileDigests");
  }
  const std::string base_url = ContentBaseUrl(shared_, call.request);
  protocol::GetFileLocationsResponse answer;
  for (const Bytes& raw : ask.file_digests) {
    const Result<Sha1Digest> digest = Sha1Digest::FromBytes(raw);
    if (!digest.has_value()) return FailFault(FaultCode::kInvalidParameters, "fileDigests");
    const mirror::ContentFile* held = call.index->holdings().Find(*digest);
    if (held == nullptr) continue;
    answer.file_locations.push_back(
        {*digest, base_url + mirror::ContentPath(*digest, held->extension), std::nullopt});
  }
  TRY_ASSIGN(answer.new_cookie, cookies_.Seal(call, std::move(cookie)));
  return answer;
}

}  // namespace gapferry::server
