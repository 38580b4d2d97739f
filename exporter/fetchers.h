#pragma once

#include "exporter/upstream.h"
#include "mirror/mirror.h"

namespace gapferry::exporter {

/// Makes the fetchers by which `mirror` talks to its upstream and fetches content: over HTTP with
/// the proxy, authorities and client certificate of its configuration (file names relative to the
/// mirror). Everything that goes upwards uses these and nothing else. What it returns may outlive
/// `mirror` and be called by any thread.
FetcherFactory HttpFetchers(const mirror::Mirror& mirror);

}  // namespace gapferry::exporter
