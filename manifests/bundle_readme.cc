#include <fmt/format.h>

#include "manifests/bundle_writer.h"

namespace gapferry::manifests {
namespace {

// clang-format off
constexpr std::string_view kTemplate =
    R"README(This folder is a gapferry bundle: updates for Windows on their way over an air gap.

Bundle     {directory}
From       {sender} ({sender_guid})
For        {recipients}
Sequence   {sequence} of stream {stream}
{contents}
Created    {created} (by the sender's clock)


What to do with it

  Copy the whole folder, with any tool, to the disconnected side. There:

    gapferry verify {directory}
    gapferry import {directory} --dry-run
    gapferry import {directory}


How to check it by hand, without gapferry

  Needed: openssl, sha256sum, and the sender's card (CARD below), which did NOT come with this
  folder. The card's fingerprint is {fingerprint}
  and must be what the sender's people read to you: a key found on this medium proves nothing.

  1. The signature of key {key_id} over the manifest:

    sed -n 's|.*"signing_key":"\([^"]*\)".*|-----BEGIN PUBLIC KEY-----\n\1\n-----END PUBLIC KEY-----|p' CARD > /tmp/key.pem
    sed -n 's/^{key_id} origin //p' manifest.json.sig | base64 -d > /tmp/manifest.signature
    openssl pkeyutl -verify -pubin -inkey /tmp/key.pem -rawin -in manifest.json -sigfile /tmp/manifest.signature

  2. The list of sums is the one that was signed: both lines show the same 64 digits.

    sha256sum SHA256SUMS
    grep -o '"sums_sha256":"[0-9a-f]*"' manifest.json

  3. Every file is as listed:

    sha256sum -c --strict SHA256SUMS

{volumes} The format is described in
docs/format.md of gapferry.
)README";

constexpr std::string_view kSealedContents =
    "Contents   sealed: encrypted, only the recipients can read them. Whoever finds this medium\n"
    "           learns from it what is written here and in manifest.json, and no more.";
constexpr std::string_view kPlainVolumes =
    "The volumes are tar files: tar -tf volume-0001.tar lists the first.";
constexpr std::string_view kSealedVolumes =
    "These steps show that every byte is as the sender signed it; what the volumes hold, only a\n"
    "recipient can check, by gapferry verify or import.";
// clang-format on

std::string Recipients(const Manifest& manifest) {
  std::string out;
  for (const Recipient& recipient : manifest.recipients) {
    if (!out.empty()) out += "\n           ";
    out += recipient.name + " (" + recipient.guid.ToString() + ")";
  }
  return out;
}

}  // namespace

std::string BundleReadme(const Manifest& manifest, std::string_view sender_fingerprint,
                         VolumeForm form) {
  const bool sealed = form == VolumeForm::kSealed;
  const std::string contents =
      sealed ? std::string(kSealedContents)
             : fmt::format("Contents   {}, from generation {} to generation {}",
                           ScopeName(manifest.scope), manifest.base.generation,
                           manifest.target.generation);
  return fmt::format(
      fmt::runtime(kTemplate), fmt::arg("directory", manifest.DirectoryName()),
      fmt::arg("sender", manifest.sender.name),
      fmt::arg("sender_guid", manifest.sender.guid.ToString()),
      fmt::arg("recipients", Recipients(manifest)), fmt::arg("sequence", manifest.sequence),
      fmt::arg("stream", manifest.stream), fmt::arg("contents", contents),
      fmt::arg("volumes", sealed ? kSealedVolumes : kPlainVolumes),
      fmt::arg("created", manifest.created.ToXml()), fmt::arg("fingerprint", sender_fingerprint),
      fmt::arg("key_id", manifest.sender.key_id.ToHex()));
}

}  // namespace gapferry::manifests
