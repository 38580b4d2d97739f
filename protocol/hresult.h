#pragma once

#include <cstdint>
#include <string>

namespace gapferry::protocol {

/// What an HRESULT that a client reported says, for people: "0x80240017 WU_E_NOT_APPLICABLE: the
/// update is not for this computer", for codes without words of ours "0x8000FFFF". 0: "0x00000000
/// S_OK: no error".
std::string HresultText(std::int32_t hresult);

/// What a client event says, in a few words (wusp.md 10.1): "installation failed"; "event 4711" for
/// numbers that mean nothing here.
std::string ClientEventText(std::int32_t event_id);
/// Whether the event tells of something that did not work.
bool IsFailureEvent(std::int32_t event_id);

}  // namespace gapferry::protocol
