#include "cli/trust_next.h"

#include <algorithm>
#include <iterator>

namespace gapferry::cli {
namespace {

struct Next {
  std::string_view reason;
  std::string_view next;
};

constexpr std::string_view kAnotherCopy =
    "take another copy of the medium; if that is refused too, the bundle was changed on its way: "
    "tell whoever looks after security, and ask for it again by: gapferry request add";

constexpr Next kNext[] = {
    // Who signed.
    {"no-trust", "compare the sender's card by voice, then: gapferry trust add CARD"},
    {"signature-unknown-key", "if this sender is to be trusted: gapferry trust add CARD"},
    {"signature-revoked-key",
     "ask the sender for a bundle signed by its present key; 'gapferry trust list' shows which "
     "keys ended, and why"},
    {"signature-threshold",
     "take it to a reviewer: gapferry sign DIR --key KEYS; 'gapferry trust policy' shows who "
     "counts"},
    {"signature-bad", kAnotherCopy},
    {"signature-role",
     "'gapferry trust list' shows for what each card is trusted; ask the signer to sign in that "
     "role"},
    {"signature-two-origins",
     "ask the sender which mirror wrote it; only one of them may sign as origin"},
    {"signature-malformed", kAnotherCopy},
    {"signature-repeated-key", kAnotherCopy},
    {"sender-mismatch",
     "ask the sender whether it wrote this bundle; 'gapferry trust list' shows whose keys these "
     "are"},
    {"document-type",
     "name a file of the right kind: this one was made for another purpose, or it is damaged; then "
     "take another copy"},
    {"document-version", "install the gapferry version that the sender uses, or a newer one"},
    // For whom, and when.
    {"recipient-foreign",
     "take it to the site that it names, or ask the sender for: gapferry export --to DIR --for "
     "SITE with this mirror's card ('gapferry identity show')"},
    {"bundle-replayed",
     "it was imported or overtaken: take the newest bundle; 'gapferry status' shows the last one"},
    {"bundle-older", "take the newest bundle; 'gapferry status' shows how far this mirror is"},
    {"history-changed",
     "when the sender confirms it, with a full bundle: gapferry import PATH --new-history"},
    {"fast-forwarded",
     "ask the sender for a full bundle: gapferry export --full --to DIR --for SITE"},
    {"base-missing",
     "import the bundles in between, or ask the sender for: gapferry export --full"},
    {"bundle-unfinished",
     "take a complete copy, or name the folder of the medium that was written last, too; where the "
     "export broke off, the sender finishes it: gapferry export --to DIR --for SITE"},
    // Trust documents and cards.
    {"trust-malformed", kAnotherCopy},
    {"trust-signature", kAnotherCopy},
    {"card-malformed", "ask for the card again: gapferry identity show > FILE"},
    {"card-signature", "ask for the card again: gapferry identity show > FILE"},
    {"card-known",
     "let the holder rotate its key (gapferry key rotate), or compare the new card by voice and: "
     "gapferry trust add CARD --replace"},
    // Keys.
    {"bad-name", "choose a name of 1 to 64 bytes without control characters: --name NAME"},
    {"bad-why", "say it in fewer words: --why TEXT"},
    {"no-keys", "gapferry key create DIR --name NAME"},
    {"passphrase-needed", "add --passphrase-file FILE or set GAPFERRY_PASSPHRASE_FILE"},
    {"passphrase-file", "name the file whose first line is the passphrase: --passphrase-file FILE"},
    {"passphrase-wrong", "try again with the right passphrase; nothing was changed"},
    {"key-readable", "chmod 600 the file; if others may have read it: gapferry key rotate"},
    {"key-exists", "choose another folder, or: gapferry key rotate"},
    {"key-malformed", "restore the key from its backup, or: gapferry key rotate --lost"},
    {"token-missing", "plug the token in; 'pkcs11-tool --list-objects' shows what is on it"},
    {"token-failed", "plug the token in again and repeat the command"},
    {"seal-key",
     "ask the sender for a bundle for this mirror's present card: gapferry identity show; with an "
     "older key, put its file back into keys/old/"},
    {"seal-damaged", kAnotherCopy},
    {"seal-closed", "open it where the key is: at the site, or with the site's key folder"},
    // The chain behind the signature.
    {"sums-digest", kAnotherCopy},
    {"sums-malformed", kAnotherCopy},
    {"file-missing", kAnotherCopy},
    {"file-unlisted", "remove the file that is not part of the bundle, or take another copy"},
    {"file-size", kAnotherCopy},
    {"file-digest", kAnotherCopy},
    {"file-too-large", kAnotherCopy},
    {"manifest-malformed", kAnotherCopy},
    {"file-not-regular",
     "name a plain file; in a bundle, take another copy of the medium, of plain files only"},
    {"index-digest", kAnotherCopy},
    {"index-malformed", kAnotherCopy},
    {"index-order", kAnotherCopy},
    {"index-gap", kAnotherCopy},
    {"index-parts", kAnotherCopy},
    {"index-volumes", kAnotherCopy},
    {"zstd-malformed", kAnotherCopy},
    {"zstd-too-large", kAnotherCopy},
    {"object-damaged", kAnotherCopy},
    {"header-damaged", kAnotherCopy},
    {"padding-damaged", kAnotherCopy},
    {"trailer-damaged", kAnotherCopy},
    {"volume-short", kAnotherCopy},
    {"volume-digest", kAnotherCopy},
    // Devices and folders.
    {"read-only",
     "take a medium or a folder that can be written, or mount this one so; then type the command "
     "again"},
    {"no-permission",
     "'ls -ld' shows whose it is: let the owner of the mirror read it (or write there), or name "
     "another place"},
    {"device-failed",
     "the device fails or was taken out ('dmesg' says more): put it in again or take another one, "
     "then type the same command again"},
    {"state-digest",
     "ask the sender for a full bundle: gapferry export --full --to DIR --for SITE"},
};

}  // namespace

std::string_view NextOfTrust(std::string_view reason) {
  const auto* found = std::ranges::find(kNext, reason, &Next::reason);
  return found == std::end(kNext) ? std::string_view() : found->next;
}

}  // namespace gapferry::cli
