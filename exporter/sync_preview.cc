#include "exporter/sync_preview.h"

#include <algorithm>
#include <map>
#include <utility>

#include "exporter/update_stream.h"
#include "protocol/cabinet.h"
#include "protocol/soap.h"
#include "protocol/update_document.h"

namespace gapferry::exporter {

using protocol::UpdateDocument;
using protocol::UpdateId;
using protocol::UpdateType;

namespace {

Result<UpdateDocument> Parse(protocol::ReceivedUpdate update, std::uint64_t max_document_bytes) {
  TRY_ASSIGN(const auto incoming, ToIncoming(std::move(update)));
  if (incoming.form == mirror::DocumentForm::kPlain) {
    return protocol::ParseUpdateDocument(AsText(incoming.bytes));
  }
  TRY_ASSIGN(const std::string text,
             protocol::DecodeMetadataCabinet(incoming.bytes, max_document_bytes));
  return protocol::ParseUpdateDocument(std::string_view(text));
}

class Preview {
 public:
  Preview(mirror::Mirror& mirror, Upstream& upstream, std::size_t batch, Progress& progress,
          std::stop_token stop)
      : mirror_(mirror),
        upstream_(upstream),
        batch_(batch),
        progress_(progress),
        stop_(std::move(stop)) {}

  Result<SyncPreview> Run(const std::vector<UpdateId>& categories,
                          const std::vector<UpdateId>& updates) {
    preview_.of = updates.size();
    const std::size_t some = std::min(updates.size(), SyncPreview::kMostDocuments);
    const std::size_t names = std::min(categories.size(), SyncPreview::kMostDocuments);
    progress_.Begin("looking at what is new", some + names, 0);
    TRY(LookAt(updates, some));
    TRY(LookAt(categories, names));
    progress_.End();
    std::sort(preview_.updates.begin(), preview_.updates.end(),
              [](const auto& a, const auto& b) { return a.id < b.id; });
    TRY(NameProducts());
    return std::move(preview_);
  }

 private:
  Result<void> LookAt(const std::vector<UpdateId>& ids, std::size_t count) {
    const std::uint64_t limit = mirror_.config().import.max_document_bytes;
    const protocol::UpdateDataAnswer::Receiver receiver{
        [&](protocol::ReceivedUpdate update) -> Result<void> {
          const UpdateId id = update.id;
          auto document = Parse(std::move(update), limit);
          if (!document || document->id != id) return {};  // the sync itself will say so
          if (!seen_.insert(id).second) return {};
          return Take(*document);
        },
        [](protocol::FileUrl) -> Result<void> { return {}; }};
    for (std::size_t first = 0; first < count; first += batch_) {
      const std::size_t last = std::min(count, first + batch_);
      auto asked = upstream_.GetUpdateData({ids.begin() + static_cast<std::ptrdiff_t>(first),
                                            ids.begin() + static_cast<std::ptrdiff_t>(last)},
                                           receiver, limit);
      // A batch with an id that is not held any more: the sync would look for it, a taste need not.
      const bool is_unlucky = !asked && protocol::FaultCodeOf(asked.error()) ==
                                            protocol::FaultCode::kInternalServerError;
      if (!asked && !is_unlucky) return asked;
      progress_.Advance(last - first, 0);
    }
    return {};
  }

  Result<void> Take(const UpdateDocument& document) {
    if (document.type != UpdateType::kSoftware && document.type != UpdateType::kDriver) {
      if (document.category && document.category->type == "Product") {
        new_products_[document.id.guid] = document.Title();
      }
      return {};
    }
    ++preview_.looked_at;
    TRY_ASSIGN(const auto held, mirror_.catalog().FindLatest(document.id.guid));
    const bool is_newest = !held || held->update.revision < document.id.revision;
    preview_.updates.push_back({document.id, document.Title(), !held, document.is_expired,
                                document.explicitly_deployable});
    if (document.is_expired && is_newest && held && !held->is_expired) {
      preview_.expired.push_back(document.id);
    }
    std::set<Guid> names;
    for (const auto& clause : document.prerequisites) {
      names.insert(clause.any_of.begin(), clause.any_of.end());
    }
    for (const Guid& name : names) ++named_[name];
    if (!document.is_expired) preview_.names.insert(names.begin(), names.end());
    return {};
  }

  Result<void> NameProducts() {
    for (const auto& [guid, count] : named_) {
      std::string title;
      if (const auto fresh = new_products_.find(guid); fresh != new_products_.end()) {
        title = fresh->second;
      } else {
        TRY_ASSIGN(const auto row, mirror_.catalog().FindLatest(guid));
        if (!row || row->category_type != mirror::CategoryType::kProduct) continue;
        TRY_ASSIGN(auto text, mirror_.catalog().Text(row->id));
        title = std::move(text.title);
      }
      preview_.products.push_back({guid, std::move(title), count});
    }
    std::sort(preview_.products.begin(), preview_.products.end(),
              [](const auto& a, const auto& b) { return a.updates > b.updates; });
    return {};
  }

  mirror::Mirror& mirror_;
  Upstream& upstream_;
  std::size_t batch_;
  Progress& progress_;
  std::stop_token stop_;
  std::set<UpdateId> seen_;
  std::map<Guid, std::uint64_t> named_;
  std::map<Guid, std::string> new_products_;
  SyncPreview preview_;
};

}  // namespace

Result<SyncPreview> LookAhead(mirror::Mirror& mirror, Upstream& upstream,
                              const std::vector<UpdateId>& categories,
                              const std::vector<UpdateId>& updates, std::size_t batch,
                              Progress& progress, std::stop_token stop) {
  return Preview(mirror, upstream, batch, progress, std::move(stop)).Run(categories, updates);
}

}  // namespace gapferry::exporter
