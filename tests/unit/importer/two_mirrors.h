#pragma once

#include <gtest/gtest.h>

#include <string>

#include "base/file.h"
#include "exporter/export.h"
#include "exporter/export_return.h"
#include "importer/import.h"
#include "importer/import_return.h"
#include "manifests/bundle_writer.h"
#include "manifests/trust_store.h"
#include "mirror/activity.h"
#include "mirror/audit.h"
#include "mirror/catalog.h"
#include "mirror/catalog_load.h"
#include "mirror/content_store.h"
#include "mirror/intent.h"
#include "mirror/ledger.h"
#include "tests/unit/mirror/test_directory.h"
#include "tests/unit/mirror/test_documents.h"

namespace gapferry::importer {

using mirror::Mirror;
using mirror::TestDocument;
using mirror::TestGuid;

/// A connected and a disconnected mirror that know each other, and what people carry between them.
class TwoMirrors : public testing::Test {
 protected:
  TwoMirrors() : near_(MakeMirror("near", false)), far_(MakeMirror("far", true)) {
    Introduce(far_);
  }

  Mirror MakeMirror(const std::string& name, bool gap) {
    mirror::Config config = mirror::TestConfig();
    config.name = name;
    config.upstream.gap = gap;
    config.replica = gap;
    config.return_level = mirror::ReturnLevel::kDetailed;
    EXPECT_TRUE(Mirror::Init(dir_.path() / name, config, Options()).has_value());
    return Reopen(name);
  }
  Mirror Reopen(const std::string& name) {
    return std::move(*Mirror::Open(dir_.path() / name, Options()));
  }
  mirror::MirrorOptions Options() {
    mirror::MirrorOptions options;
    options.clock = &clock_;
    return options;
  }

  static manifests::OwnIdentity IdentityOf(Mirror& mirror) {
    auto own = manifests::LoadIdentity(mirror.identity().guid, mirror.identity().name,
                                       mirror.keys().signing, mirror.keys().encryption);
    EXPECT_TRUE(own.has_value()) << own.error().message;
    return std::move(*own);
  }
  void Introduce(Mirror& site) {
    const auto here = IdentityOf(near_), there = IdentityOf(site);
    const std::string site_card = *manifests::EncodeCard(there.card, there.key);
    const std::string near_card = *manifests::EncodeCard(here.card, here.key);
    mirror::Ledger ledger(near_.db());
    EXPECT_TRUE(ledger
                    .AddSite(there.card.guid, there.card.name, AsBytes(site_card), clock_.Now(),
                             "user:test")
                    .has_value());
    EXPECT_TRUE(
        manifests::AddTrustedCard(site.keys().trusted_folder, AsBytes(near_card)).has_value());
  }

  /// What a sync brings: documents, and the content they declare.
  void Publish(const std::vector<TestDocument>& documents, bool with_content = true) {
    auto lock = *mirror::JobLock::Acquire(near_.path(), "sync");
    auto load = mirror::CatalogLoad::Open(near_, lock, "sync");
    ASSERT_TRUE(load.has_value()) << load.error().message;
    for (const auto& document : documents) {
      const auto added = load->Add(document.Incoming());
      ASSERT_TRUE(added.has_value()) << added.error().message;
      for (const auto& file : document.files) {
        if (with_content) Hold(near_, file.content);
      }
    }
    ASSERT_TRUE(load->Prepare().has_value());
    auto commit = load->BeginCommit("sync");
    ASSERT_TRUE(commit.has_value()) << commit.error().message;
    const auto state = commit->Finish();
    ASSERT_TRUE(state.has_value()) << state.error().message;
  }
  static void Hold(Mirror& mirror, const std::string& content) {
    const mirror::ContentExpectation expected{Sha1(content), Sha256(content), content.size(),
                                              "exe"};
    const auto path = mirror.content().StagedPath(expected);
    ASSERT_TRUE(path.has_value());
    ASSERT_TRUE(WriteFileAtomically(*path, AsBytes(content)).has_value());
    auto verified = mirror::ContentStore::VerifyStaged(*path, expected);
    ASSERT_TRUE(verified.has_value()) << verified.error().message;
    std::vector<mirror::VerifiedContent> batch;
    batch.push_back(std::move(*verified));
    ASSERT_TRUE(mirror.content().Publish(std::move(batch)).has_value());
  }

  /// Product, a hidden leaf with a file, a bundle that can be approved.
  std::vector<TestDocument> Family() const {
    TestDocument product;
    product.id = {TestGuid(1, 1), 100};
    product.type = "Category";
    product.properties = "";
    product.category_type = "Product";
    TestDocument leaf;
    leaf.id = {TestGuid(2, 2), 200};
    leaf.properties = "";
    leaf.files = {{"leaf content"}};
    TestDocument bundle;
    bundle.id = {TestGuid(3, 3), 200};
    bundle.title = "Security fix";
    bundle.prerequisites = {{product.id.guid}};
    bundle.bundled = {leaf.id};
    return {product, leaf, bundle};
  }
  TestDocument Plain(std::uint8_t number, std::int32_t revision = 1) const {
    TestDocument document;
    document.id = {TestGuid(9, number), revision};
    document.title = "Plain " + std::to_string(number);
    document.files = {{"file " + std::to_string(number) + "/" + std::to_string(revision)}};
    return document;
  }
  void Approve(const protocol::UpdateId& update, std::string_view group) {
    auto found = near_.intent().FindGroup(group);
    if (!found) found = near_.intent().AddGroup(group, mirror::kAllComputers, "user:test");
    ASSERT_TRUE(found.has_value()) << found.error().message;
    mirror::Intent::Approval approval;
    approval.update = update;
    approval.group = found->id;
    const auto done = near_.intent().Approve({approval}, "user:test");
    ASSERT_TRUE(done.has_value()) << done.error().message;
  }

  Result<exporter::ExportResult> Export(exporter::ExportRequest request = {}) {
    if (request.site.empty()) request.site = "far";
    exporter::ExportOptions options;
    options.to = {dir_.path() / "stick"};
    options.actor = "user:test";
    return exporter::RunExport(near_, request, options);
  }
  fs::path MustExport(exporter::ExportRequest request = {}) {
    const auto done = Export(std::move(request));
    EXPECT_TRUE(done.has_value()) << done.error().message;
    return done ? done->path : fs::path();
  }
  Result<ImportResult> Import(const fs::path& bundle) { return Import(far_, bundle); }
  Result<ImportResult> Import(Mirror& site, const fs::path& bundle, ImportOptions options = {}) {
    options.actor = "user:test";
    return RunImport(site, bundle, options);
  }
  void MustImport(const fs::path& bundle) {
    const auto done = Import(bundle);
    ASSERT_TRUE(done.has_value()) << done.error().message;
    EXPECT_EQ(StateOf(far_).state_digest, StateOf(near_).passed_on_digest);
  }
  fs::path MustReturn(mirror::exchange::ReturnFields fields = {}) {
    auto lock = *mirror::JobLock::Acquire(far_.path(), "export-return");
    const auto prepared = exporter::PrepareReturn(far_, lock, fields);
    EXPECT_TRUE(prepared.has_value()) << prepared.error().message;
    const auto written =
        exporter::WriteReturn(far_, lock, *prepared, dir_.path() / "stick", nullptr, "user:test");
    EXPECT_TRUE(written.has_value()) << written.error().message;
    return written->path;
  }
  Result<ReturnResult> Apply(const fs::path& file) {
    return ImportReturn(near_, file, "user:test");
  }

  static mirror::PublishedState StateOf(Mirror& mirror) { return *mirror.catalog().Published(); }

  /// Everything that somebody could see of a mirror, but for the audit trail.
  static std::string Visible(Mirror& mirror) {
    const auto state = StateOf(mirror);
    std::string text =
        state.name.chain.ToHex() + state.state_digest.ToHex() + mirror.content().Digest()->ToHex();
    for (const auto& one : *mirror.intent().Deployments()) text += one.guid.ToString();
    return text;
  }
  static std::int64_t AuditRecords(Mirror& mirror) {
    return mirror::ReadAuditHead(mirror.db())->id;
  }

  /// The import is refused with `reason`; nothing but one audit record is left of it.
  void ExpectRefused(Mirror& site, const fs::path& bundle, const std::string& reason) {
    const std::string before = Visible(site);
    const auto records = AuditRecords(site);
    const auto done = Import(site, bundle);
    ASSERT_FALSE(done.has_value()) << reason;
    EXPECT_EQ(done.error().reason, reason) << done.error().message;
    EXPECT_EQ(Visible(site), before);
    EXPECT_EQ(AuditRecords(site), records + 1);
    EXPECT_EQ(mirror::ReadAudit(site.db(), 0, 1)->front().entry.action, "import.refused");
    const auto staged = ListDirectory(site.staging());
    for (const std::string& name : *staged) {
      EXPECT_FALSE(name.starts_with("import-")) << name;
    }
  }

  mirror::TemporaryDirectory dir_;
  FixedClock clock_{*UtcTime::ParseXml("2026-10-04T16:00:00Z")};
  Mirror near_;
  Mirror far_;
};

}  // namespace gapferry::importer
