#include "exporter/content_need.h"

#include <algorithm>
#include <map>
#include <unordered_set>
#include <utility>

#include "base/text.h"
#include "mirror/catalog.h"
#include "mirror/intent.h"

namespace gapferry::exporter {

using mirror::ContentExpectation;
using mirror::DeclaredFile;
using mirror::DeploymentAction;
using mirror::FileKind;
using mirror::Mirror;
using mirror::RevisionRelations;

namespace {

/// Revisions that contradict each other about one file are few; more would be an attack on memory.
constexpr std::size_t kMaxDeclarations = 8;

class NeedFinder {
 public:
  explicit NeedFinder(Mirror& mirror) : mirror_(mirror) {}

  Result<std::vector<NeededFile>> Find() {
    TRY_ASSIGN(const auto declined, mirror_.intent().Declined());
    declined_.insert(declined.begin(), declined.end());
    const auto policy = mirror_.config().content.download;
    if (policy == mirror::ContentPolicy::kApproved) TRY(Approved());
    if (policy != mirror::ContentPolicy::kNone) {
      TRY(Everywhere(policy == mirror::ContentPolicy::kAll));
    }
    TRY(Wanted());
    std::vector<NeededFile> needed;
    for (auto& [sha1, declared] : files_) {
      if (mirror_.content().Holds(sha1)) continue;
      TRY(AddOthers(sha1));
      NeededFile file;
      file.expected = std::move(declared.front());
      file.others.assign(std::move_iterator(declared.begin() + 1),
                         std::move_iterator(declared.end()));
      TRY_ASSIGN(file.vendor_url, mirror_.catalog().FileUrl(sha1));
      needed.push_back(std::move(file));
    }
    return needed;
  }

 private:
  Result<void> Approved() {
    TRY_ASSIGN(const auto deployments, mirror_.intent().Deployments());
    for (const auto& deployment : deployments) {
      const bool carries = deployment.action == DeploymentAction::kInstall ||
                           deployment.action == DeploymentAction::kUninstall ||
                           deployment.action == DeploymentAction::kOptionalInstall;
      if (carries && !declined_.contains(deployment.update.guid)) TRY(Payload(deployment.update));
    }
    return {};
  }

  // The files of a revision and of what it bundles, at any depth.
  Result<void> Payload(const protocol::UpdateId& root) {
    std::vector<protocol::UpdateId> pending{root};
    while (!pending.empty()) {
      const protocol::UpdateId update = pending.back();
      pending.pop_back();
      if (!visited_.insert(update).second) continue;
      TRY_ASSIGN(const auto row, mirror_.catalog().Find(update));
      if (!row) continue;
      TRY_ASSIGN(const auto relations, mirror_.catalog().Relations(row->id));
      if (!relations) continue;
      for (const DeclaredFile& file : relations->files) {
        if (row->has_digest_conflict) {
          TRY(AddContested(file));
        } else {
          Add(file);
        }
      }
      for (const auto& group : relations->bundled) {
        pending.insert(pending.end(), group.begin(), group.end());
      }
    }
    return {};
  }

  // Licence texts of every live update: they are read before an approval. Payload too when asked.
  Result<void> Everywhere(bool payload) {
    return mirror_.catalog().ForEachRelations(0, [&](RevisionRelations& revision) -> Result<void> {
      const auto& row = revision.row;
      if (!row.is_latest || row.is_expired || row.is_withdrawn) return {};
      if (declined_.contains(row.update.guid)) return {};
      for (const DeclaredFile& file : revision.files) {
        if (!payload && file.kind != FileKind::kEula) continue;
        if (row.has_digest_conflict) {
          TRY(AddContested(file));
        } else {
          Add(file);
        }
      }
      return {};
    });
  }

  // Asked for by servers below, or lost here. Only what a revision declares can be verified.
  Result<void> Wanted() {
    TRY_ASSIGN(const auto wanted, mirror_.content().Wanted());
    for (const Sha1Digest& sha1 : wanted) {
      if (!files_.contains(sha1)) TRY(AddOthers(sha1));
    }
    return {};
  }

  // Of two revisions that contradict each other the one that came later is withheld, right or not.
  // Only the file itself decides between them.
  Result<void> AddContested(const DeclaredFile& file) {
    TRY_ASSIGN(const auto declared, mirror_.content().Declared(file.sha1));
    if (declared.size() > 1) Add(file);
    return {};
  }

  // What all revisions declare, after what is there already.
  Result<void> AddOthers(const Sha1Digest& sha1) {
    TRY_ASSIGN(const auto declared, mirror_.content().Declared(sha1));
    for (const ContentExpectation& one : declared) Insert(one);
    return {};
  }

  void Add(const DeclaredFile& file) {
    const bool express = EqualsIgnoreCase(file.patching_type, "Express");
    if (express && !mirror_.config().content.express) return;
    Insert({file.sha1, file.sha256, file.size_bytes, file.extension});
  }

  // Declarations that only say less than another one are none of their own.
  void Insert(const ContentExpectation& one) {
    auto& declared = files_[one.sha1];
    for (ContentExpectation& known : declared) {
      if (known.size_bytes != one.size_bytes) continue;
      if (!known.sha256) known.sha256 = one.sha256;
      if (!one.sha256 || known.sha256 == one.sha256) return;
    }
    if (declared.size() < kMaxDeclarations) declared.push_back(one);
  }

  Mirror& mirror_;
  std::unordered_set<Guid> declined_;
  std::unordered_set<protocol::UpdateId> visited_;
  std::map<Sha1Digest, std::vector<ContentExpectation>> files_;
};

bool Fits(const ContentExpectation& declared, const Sha256Digest& sha256,
          std::uint64_t size_bytes) {
  return declared.size_bytes == size_bytes && (!declared.sha256 || *declared.sha256 == sha256);
}

}  // namespace

std::uint64_t NeededFile::LargestBytes() const {
  std::uint64_t largest = expected.size_bytes;
  for (const ContentExpectation& other : others) largest = std::max(largest, other.size_bytes);
  return largest;
}

const ContentExpectation* NeededFile::Match(const Sha256Digest& sha256,
                                            std::uint64_t size_bytes) const {
  if (Fits(expected, sha256, size_bytes)) return &expected;
  const auto found = std::find_if(others.begin(), others.end(), [&](const auto& other) {
    return Fits(other, sha256, size_bytes);
  });
  return found == others.end() ? nullptr : &*found;
}

bool NeededFile::HasSize(std::uint64_t size_bytes) const {
  return expected.size_bytes == size_bytes ||
         std::any_of(others.begin(), others.end(),
                     [&](const auto& other) { return other.size_bytes == size_bytes; });
}

Result<std::vector<NeededFile>> FindNeededFiles(Mirror& mirror) {
  return NeedFinder(mirror).Find();
}

}  // namespace gapferry::exporter
