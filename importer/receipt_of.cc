#include "importer/receipt_of.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "importer/own_side.h"
#include "manifests/receipt_code.h"
#include "mirror/catalog.h"
#include "mirror/exchange/needed_files.h"
#include "mirror/html_text.h"

namespace gapferry::importer {
namespace {

using mirror::Mirror;

Result<manifests::Card> SenderCard(Mirror& mirror, const Guid& sender) {
  TRY_ASSIGN(const auto trust, ReadTrust(mirror));
  const manifests::Holder* holder = trust.Find(sender);
  if (holder != nullptr) return holder->card;
  return Fail(ErrorCode::kNotFound, "no-card",
              "the card of " + sender.ToString() + ", who sent the last bundle, is not here");
}

std::string Files(const ReceiptOf& receipt) {
  if (receipt.missing_files == 0) return "complete";
  return fmt::format("{} are missing here (the code says only that some are)",
                     receipt.missing_files);
}

std::string TextSheet(const ReceiptOf& receipt, const std::string& site, UtcTime now) {
  return fmt::format(
      "RECEIPT CODE\n\n"
      "from      {}\n"
      "to        {}\n"
      "bundle    {} of stream {}, imported {}\n"
      "state     generation {}, {}\n"
      "files     {}\n"
      "printed   {}\n\n"
      "    {}\n\n"
      "To be read aloud:\n\n{}\n"
      "On the connected side:  gapferry receipt enter {} CODE\n\n"
      "The code says bundle number, state and whether files are missing; nothing about files,\n"
      "computers or people. 72 of its bits prove that it was made here. It may be entered more\n"
      "than once, and late.\n",
      site, receipt.sender_name, receipt.sequence, receipt.stream, receipt.imported_at.ToXml(),
      receipt.state.name.generation, receipt.state.state_digest.ToHex().substr(0, 16),
      Files(receipt), now.ToXml(), receipt.code, manifests::SpellReceiptCode(receipt.code),
      receipt.stream);
}

std::string HtmlSheet(const ReceiptOf& receipt, const std::string& site, UtcTime now) {
  std::string words;
  const auto groups = Split(receipt.code, '-');
  const std::string spelled = manifests::SpellReceiptCode(receipt.code);
  std::size_t number = 0;
  for (const std::string_view line : Split(spelled, '\n')) {
    if (line.empty() || number >= groups.size()) continue;
    const std::string_view spoken = line.substr(std::min<std::size_t>(4, line.size()));
    words += fmt::format("<tr><td>{}</td><td class=\"code\">{}</td><td>{}</td></tr>\n", number + 1,
                         groups[number], spoken);
    ++number;
  }
  const auto row = [](std::string_view name, const std::string& value) {
    return fmt::format("<tr><th>{}</th><td>{}</td></tr>\n", name, mirror::EscapeHtml(value));
  };
  return "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
         "<title>Receipt code</title>\n<style>\n"
         "body { font: 12pt sans-serif; margin: 2cm; }\n"
         "th { text-align: left; padding-right: 1em; font-weight: normal; }\n"
         ".code { font-family: monospace; font-weight: bold; letter-spacing: 0.1em; }\n"
         "p.code { font-size: 18pt; border: 1px solid black; padding: 0.5em; }\n"
         "td { padding-right: 1.5em; }\n</style></head><body>\n<h1>Receipt code</h1>\n<table>\n" +
         row("from", site) + row("to", receipt.sender_name) +
         row("bundle", fmt::format("{} of stream {}, imported {}", receipt.sequence, receipt.stream,
                                   receipt.imported_at.ToXml())) +
         row("state", fmt::format("generation {}, {}", receipt.state.name.generation,
                                  receipt.state.state_digest.ToHex().substr(0, 16))) +
         row("files", Files(receipt)) + row("printed", now.ToXml()) +
         "</table>\n<p class=\"code\">" + receipt.code +
         "</p>\n<h2>To be read aloud</h2>\n<table>\n" + words +
         "</table>\n<p>On the connected side: <code>gapferry receipt enter " +
         mirror::EscapeHtml(receipt.stream) +
         " CODE</code></p>\n<p>The code says bundle number, state and whether files are missing; "
         "nothing about files, computers or people. 72 of its bits prove that it was made here. It "
         "may be entered more than once, and late.</p>\n</body></html>\n";
}

}  // namespace

Result<ReceiptOf> MakeReceiptOf(Mirror& mirror) {
  if (mirror.config().return_review) {
    return Fail(ErrorCode::kUsage, "review-required",
                "return.review in gapferry.yaml asks for a reviewer's signature, which a code "
                "cannot carry");
  }

  mirror::Ledger ledger(mirror.db());
  TRY_ASSIGN(const auto last, ledger.LastImport());
  if (!last) {
    return Fail(ErrorCode::kUsage, "nothing-imported",
                "no bundle was imported yet: there is nothing to acknowledge");
  }
  TRY_ASSIGN(const auto sender, SenderCard(mirror, last->sender));
  TRY_ASSIGN(const auto own, manifests::EncryptionKey::Load(mirror.keys().encryption));
  TRY_ASSIGN(const auto published, mirror.catalog().Published());
  TRY_ASSIGN(const auto needed, mirror::exchange::NeededFiles(mirror, /*all=*/false));
  ReceiptOf receipt;
  receipt.sender_name = sender.name;
  receipt.stream = last->stream;
  receipt.sequence = last->sequence;
  receipt.state = {last->target.name, published.state_digest};
  receipt.imported_at = last->imported_at;
  receipt.missing_files =
      static_cast<std::uint64_t>(std::ranges::count(needed, false, &mirror::DeclaredFile::is_held));
  manifests::ReceiptCode code;
  code.sequence = last->sequence;
  code.state = manifests::ReceiptStatePrefix(published.state_digest);
  code.epoch = manifests::ReceiptEpochHint(mirror.identity().epoch);
  code.files_are_missing = receipt.missing_files > 0;
  TRY_ASSIGN(const auto key,
             manifests::ReceiptKey::Derive(own, {mirror.identity().guid, last->sender,
                                                 own.public_key(), sender.encryption_key}));
  code.mac = key.Mac(code, last->stream);
  receipt.code = manifests::FormatReceiptCode(code);
  return receipt;
}

std::string ReceiptSheet(const ReceiptOf& receipt, const std::string& site_name, UtcTime now,
                         bool html) {
  return html ? HtmlSheet(receipt, site_name, now) : TextSheet(receipt, site_name, now);
}

}  // namespace gapferry::importer
