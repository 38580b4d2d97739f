#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "base/file.h"
#include "manifests/bundle_verifier.h"
#include "manifests/bundle_writer.h"
#include "manifests/card.h"

namespace gapferry::manifests {

/// Objects in memory, by name.
class MemoryProvider : public ObjectProvider {
 public:
  void Put(const ObjectName& name, std::string bytes) { objects_[name] = std::move(bytes); }
  std::vector<PlannedObject> Plan() const {
    std::vector<PlannedObject> plan;
    for (const auto& [name, bytes] : objects_) plan.push_back({name, bytes.size(), Sha256(bytes)});
    return plan;
  }
  Result<std::unique_ptr<Source>> Open(const ObjectName& name, std::uint64_t offset) override {
    return std::unique_ptr<Source>(
        std::make_unique<MemorySource>(AsBytes(objects_.at(name)).subspan(offset)));
  }
  std::map<ObjectName, std::string>& objects() { return objects_; }

 private:
  std::map<ObjectName, std::string> objects_;
};

inline ObjectName ContentNamed(std::string_view bytes, std::string extension = "cab") {
  return ObjectName::Content(Sha1(bytes), std::move(extension));
}

/// A fixed private key made of one repeated byte, so that goldens do not change.
inline SigningKey TestKey(const std::filesystem::path& folder, std::uint8_t seed) {
  Bytes der = *HexDecode("302e020100300506032b657004220420");
  der.insert(der.end(), 32, seed);
  const fs::path path = folder / ("key" + std::to_string(seed) + ".pem");
  EXPECT_TRUE(WriteFileAtomically(path,
                                  AsBytes("-----BEGIN PRIVATE KEY-----\n" + Base64Encode(der) +
                                          "\n-----END PRIVATE KEY-----\n"),
                                  0600)
                  .has_value());
  auto key = SigningKey::Load(path);
  EXPECT_TRUE(key.has_value());
  return std::move(*key);
}

/// The same for encryption.
inline EncryptionKey TestEncryptionKey(const std::filesystem::path& folder, std::uint8_t seed) {
  Bytes der = *HexDecode("302e020100300506032b656e04220420");
  der.insert(der.end(), 32, seed);
  const fs::path path = folder / ("encryption" + std::to_string(seed) + ".pem");
  EXPECT_TRUE(WriteFileAtomically(path,
                                  AsBytes("-----BEGIN PRIVATE KEY-----\n" + Base64Encode(der) +
                                          "\n-----END PRIVATE KEY-----\n"),
                                  0600)
                  .has_value());
  auto key = EncryptionKey::Load(path);
  EXPECT_TRUE(key.has_value());
  return std::move(*key);
}

/// A folder of its own per test, and a small bundle from `Headquarters` to `Ship 7`.
class BundleTest : public ::testing::Test {
 protected:
  BundleTest()
      : root_(fs::path(::testing::TempDir()) /
              ("bundle." + std::to_string(::getpid()) + "." +
               ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    EXPECT_TRUE(RemoveTree(root_).has_value());
    EXPECT_TRUE(CreateDirectories(root_).has_value());
    origin_.emplace(TestKey(root_, 1));
    policy_.keys.push_back({origin_->public_key(), SignerRole::kOrigin, sender_, "Headquarters"});
    addressee_.guid = *Guid::Parse("22222222-2222-4222-8222-222222222222");
    addressee_.encryption_key_id = *KeyId::FromHex("000102030405060708090a0b0c0d0e0f");
    provider_.Put(ObjectName::Intent(), std::string(700, 'i'));
    provider_.Put(ObjectName::Metadata(1), std::string(1500, 'm'));
    for (const char* text : {"", "alpha", "beta"}) provider_.Put(ContentNamed(text), text);
    std::string big(300'000, 'x');
    for (std::size_t i = 0; i < big.size(); ++i) big[i] = static_cast<char>(i * 7 + i / 256);
    provider_.Put(ContentNamed(big, "msu"), big);
  }
  ~BundleTest() override { (void)RemoveTree(root_); }

  Manifest Draft() const {
    Manifest manifest;
    manifest.stream = "ship-7";
    manifest.sequence = 3;
    manifest.void_sequences = {2};
    manifest.previous_manifest = Sha256("previous");
    manifest.sender = {sender_, origin_->public_key().Id(), "Headquarters"};
    manifest.recipients = {{addressee_.guid, addressee_.encryption_key_id, "Ship 7"}};
    manifest.target = {*Guid::Parse("33333333-3333-4333-8333-333333333333"), 12, Sha256("chain"),
                       Sha256("state")};
    manifest.base = {manifest.target.epoch, 7, Sha256("base chain"), Sha256("base state")};
    manifest.created = *UtcTime::ParseXml("2026-10-04T16:03:35Z");
    manifest.upstream_sync = {UpstreamSync::Outcome::kSucceeded,
                              *UtcTime::ParseXml("2026-10-04T12:00:00Z")};
    manifest.acknowledgements = {{addressee_.guid, 4, true, {sender_}, 0, {}}};
    manifest.audit_head = Sha256("audit");
    manifest.totals = {2, 4, 300'009};
    return manifest;
  }

  std::function<Result<std::shared_ptr<const EncryptionKey>>(const KeyId&)> Giving(
      std::uint8_t seed) {
    return [key = std::make_shared<const EncryptionKey>(TestEncryptionKey(root_, seed))](
               const KeyId&) { return key; };
  }

  /// What is written from now on is sealed for the recipient, who has key `seed`.
  void SealFor(std::uint8_t seed) {
    const EncryptionPublicKey key = TestEncryptionKey(root_, seed).public_key();
    const fs::path secret = root_ / "secret";
    ASSERT_TRUE(
        WriteFileAtomically(secret, AsBytes(std::string(64, '5') + "\n"), 0600).has_value());
    sealing_ = Sealing{*BundleSecret::Load(secret), {key}};
    addressee_.encryption_key_id = key.Id();
    addressee_.load_key = Giving(seed);
  }

  fs::path Directory() const { return root_ / Draft().DirectoryName(); }

  Result<Manifest> Write(std::uint64_t volume_bytes = 0) {
    return WriteTo(Directory(), volume_bytes);
  }

  Result<Manifest> WriteTo(const fs::path& directory, std::uint64_t volume_bytes = 0) {
    const VolumeForm form = sealing_ ? VolumeForm::kSealed : VolumeForm::kPlain;
    TRY_ASSIGN(auto layout, LayOut(provider_.Plan(), volume_bytes, form));
    TRY_ASSIGN(auto writer, BundleWriter::Create(directory, root_ / "journal", std::move(layout),
                                                 parity_, sealing_));
    TRY(writer.WriteVolumes(BundleReadme(Draft(), "abcd-efgh", form), provider_, {}));
    return writer.Finish(Draft(), *origin_);
  }

  Result<VerifiedBundle> Verify(const fs::path& directory) {
    DirectoryMedium medium(directory);
    TRY_ASSIGN(auto manifest, VerifyManifest(medium, policy_, addressee_));
    TRY_ASSIGN(auto index, VerifyIndex(medium, std::move(manifest)));
    return VerifyVolumes(medium, std::move(index), {});
  }
  std::string Reason() {
    const auto result = Verify(Directory());
    return result ? "" : result.error().reason;
  }

  std::string Read(const std::string& name) { return *ReadTextFile(Directory() / name, 1 << 30); }
  void Replace(const std::string& name, std::string_view bytes) {
    auto file = File::Create(Directory() / name);  // no sync: some tests do this 1,000 times
    ASSERT_TRUE(file.has_value() && file->WriteAll(AsBytes(bytes)).has_value());
  }
  void Flip(const std::string& name, std::size_t at) {
    std::string bytes = Read(name);
    bytes.at(at) = static_cast<char>(bytes.at(at) ^ 1);
    Replace(name, bytes);
  }
  /// Signs again whatever manifest.json holds, as an attacker with a key of his own would.
  void Resign(const SigningKey& key) {
    const std::string text = Read("manifest.json");
    Replace("manifest.json.sig",
            EncodeSignatures({*SignDocument(AsBytes(text), key, SignerRole::kOrigin)}));
  }
  /// Makes SHA256SUMS what the files are now.
  void RewriteSums() {
    std::string sums;
    const auto names = *ListDirectory(Directory());
    for (const std::string& name : names) {
      if (name == "SHA256SUMS" || name.starts_with("manifest.json")) continue;
      sums += Sha256(Read(name)).ToHex() + "  " + name + "\n";
    }
    Replace("SHA256SUMS", sums);
  }
  void EditManifest(const std::function<void(Manifest&)>& edit, const SigningKey& key) {
    const std::string text = Read("manifest.json");
    Manifest manifest = *DecodeManifest(AsBytes(text));
    edit(manifest);
    Replace("manifest.json", EncodeManifest(manifest));
    Resign(key);
  }

  fs::path root_;
  Guid sender_ = *Guid::Parse("11111111-1111-4111-8111-111111111111");
  std::optional<SigningKey> origin_;
  TrustPolicy policy_;
  Addressee addressee_;
  MemoryProvider provider_;
  std::optional<Sealing> sealing_;  ///< how bundles are written
  unsigned parity_ = 0;
};

}  // namespace gapferry::manifests
