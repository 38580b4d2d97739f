// What peers put into headers, paths, anchors, filters and cookies. The first byte chooses the
// reader.
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string_view>

#include "server/cookie_box.h"
#include "server/http_content.h"
#include "server/http_message.h"
#include "server/revision_list.h"
#include "server/sync_anchor.h"

using namespace gapferry;

namespace {

void Require(bool holds) {
  if (!holds) std::abort();
}

void Range(std::string_view text) {
  for (const std::uint64_t size : {0ULL, 1ULL, 1000ULL, 14'800'000'000ULL}) {
    const server::RangeChoice choice = server::ChooseRange(text, size);
    if (choice.kind != server::RangeKind::kPart) continue;
    Require(choice.range.size_bytes > 0);
    Require(choice.range.offset < size);
    Require(choice.range.size_bytes <= size - choice.range.offset);
  }
}

void Cookies(ByteView bytes) {
  mirror::CookieKey key{};
  const server::CookieBox box(key);
  Require(!box.Open(server::CookiePurpose::kClient, bytes).has_value());
  const auto client = server::DecodeClientCookie(bytes);
  if (client.has_value()) {
    Require(*server::DecodeClientCookie(server::EncodeCookie(*client)) == *client);
  }
  const auto other = server::DecodeServerCookie(bytes);
  if (other.has_value()) {
    Require(*server::DecodeServerCookie(server::EncodeCookie(*other)) == *other);
  }
}

/// A category, two products of it, a classification, a detectoid, four updates (one needs a newer
/// caller) and a bundle of two of them, in generations of their own.
std::shared_ptr<const server::CatalogIndex> SmallCatalogue() {
  server::CatalogIndexBuilder builder;
  auto add = [&builder, next = 1](mirror::UpdateType type, std::vector<int> named,
                                  std::vector<int> members = {}) mutable {
    const auto guid = [](int number) {
      Guid made;
      made.bytes[0] = static_cast<std::uint8_t>(number);
      return made;
    };
    mirror::RevisionRelations relations;
    relations.row.id = next;
    relations.row.update = {guid(next), next};
    relations.row.type = type;
    relations.row.generation = 1 + next / 2;
    if (next == 8) relations.row.compatible_protocol_version = "1.20";
    for (const int number : named) relations.prerequisites.push_back({true, {guid(number)}});
    for (const int number : members) relations.bundled.push_back({{guid(number), number}});
    builder.Add(relations);
    ++next;
  };
  using mirror::UpdateType;
  add(UpdateType::kCategory, {});
  add(UpdateType::kCategory, {1});
  add(UpdateType::kCategory, {1});
  add(UpdateType::kCategory, {});
  add(UpdateType::kDetectoid, {});
  add(UpdateType::kSoftware, {2, 4});
  add(UpdateType::kSoftware, {3, 4});
  add(UpdateType::kSoftware, {2, 3, 4});
  add(UpdateType::kDriver, {2});
  add(UpdateType::kSoftware, {2, 4}, {7, 9, 10});
  return builder.Finish();
}

/// Three bytes of head (flags, anchor, version), then one for each id: its number, whether it is a
/// classification, whether it is a delta.
void Filter(ByteView bytes) {
  static const std::shared_ptr<const server::CatalogIndex> catalog = SmallCatalogue();
  if (bytes.size() < 3) return;
  protocol::SyncFilter filter;
  filter.get_config = (bytes[0] & 1) != 0;
  for (const std::uint8_t byte : bytes.subspan(3)) {
    protocol::IdAndDelta item;
    item.id.bytes[0] = byte & 0x3f;
    item.delta = (byte & 0x40) != 0;
    ((byte & 0x80) != 0 ? filter.classifications : filter.categories).push_back(item);
  }
  const std::uint32_t version = 1U << 16 | bytes[2];
  const auto list = [&](mirror::Generation anchor) {
    const auto listed = server::ListRevisions(catalog, filter, anchor, version);
    std::set<protocol::UpdateId> ids;
    for (std::size_t i = 0; i < listed->size(); ++i) Require(ids.insert(listed->At(i)).second);
    return ids;
  };
  const auto part = list(bytes[1]);
  const auto whole = list(0);
  Require(whole.size() <= catalog->revisions().size());
  for (const auto& id : part) Require(whole.contains(id));  // an anchor never adds
  const bool one_alone = filter.categories.empty() != filter.classifications.empty();
  if (one_alone && !filter.get_config) Require(whole.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteView bytes(data + 1, size - 1);
  const std::string_view text = AsText(bytes);
  switch (data[0]) {
    case 'r':
      Range(text);
      break;
    case 'd':
      if (const auto date = server::ParseHttpDate(text)) {
        Require(server::ParseHttpDate(date->ToHttp()) == date);
      }
      break;
    case 'p':
      if (const auto path = server::DecodePath(text)) {
        Require(!path->empty() && path->size() <= text.size() && path->front() == '/');
      }
      break;
    case 'a':
      if (const auto anchor = server::SyncAnchor::Parse(text)) {
        const auto again = server::SyncAnchor::Parse(anchor->ToString());
        Require(again && again->generation == anchor->generation &&
                again->committed_at == anchor->committed_at);
        Require(!server::IsVendorAnchor(text));
      }
      break;
    case 'f':
      Filter(bytes);
      break;
    default:
      Cookies(bytes);
      break;
  }
  return 0;
}
