#pragma once

#include <string_view>

namespace gapferry::mirror {

/// How a page of evidence looks, above all on paper.
inline constexpr std::string_view kStyle = R"(
@page { size: A4; margin: 18mm 15mm; }
body { font: 10.5pt/1.35 "Liberation Sans", Arial, Helvetica, sans-serif; color: #000;
  background: #fff; max-width: 190mm; margin: 8mm auto; }
h1 { font-size: 17pt; margin: 0 0 2mm; }
h2 { font-size: 12.5pt; margin: 7mm 0 2mm; border-bottom: 0.4mm solid #000;
  break-after: avoid; }
table { border-collapse: collapse; width: 100%; margin: 1mm 0 2mm; }
th, td { border: 0.2mm solid #777; padding: 1mm 1.6mm; text-align: left; vertical-align: top;
  overflow-wrap: anywhere; }
th { background: #eee; font-weight: 600; width: 42mm; }
thead th { width: auto; }
thead { display: table-header-group; }
tr { break-inside: avoid; }
code { font: 9pt "Liberation Mono", "DejaVu Sans Mono", monospace; }
p.note { font-size: 9.5pt; color: #222; }
td.bad { font-weight: 700; }
.sign td { height: 16mm; }
)";

}  // namespace gapferry::mirror
