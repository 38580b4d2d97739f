#include "server/job_output.h"

#include <nlohmann/json.hpp>

#include "base/text.h"

namespace gapferry::server {
namespace {

using mirror::JobResult;
using nlohmann::json;

constexpr std::size_t kTailLines = 20;
constexpr std::size_t kTailBytes = 2000;
constexpr std::size_t kMostText = 4000;
constexpr const char* kTriedAgain =
    "'gapferry serve' tries it again by itself, 'gapferry schedule show' says when";
constexpr int kBusyExit = 11;
constexpr int kPartlyExit = 3;
constexpr int kCancelledExit = 130;

std::string Text(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) return {};
  const auto& text = found->get_ref<const std::string&>();
  return text.size() > kMostText ? EscapeForDisplay(text, kMostText) : text;
}

ErrorCode CodeNamed(std::string_view name) {
  for (int i = 0; i <= static_cast<int>(ErrorCode::kInternal); ++i) {
    const auto code = static_cast<ErrorCode>(i);
    if (ErrorCodeName(code) == name) return code;
  }
  return ErrorCode::kInternal;
}

std::string LowerFirst(std::string text) {
  if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z') text[0] = static_cast<char>(text[0] + 32);
  return text;
}

/// It crashed or was killed.
JobEnding Killed(int signal, const JobOutput& output, JobStop stop) {
  JobEnding ending;
  ending.result = JobResult::kInterrupted;
  ending.error.code = ErrorCode::kInternal;
  ending.error.reason = stop == JobStop::kAsked ? "serve-stopped" : "job-crashed";
  ending.error.message = stop == JobStop::kAsked
                             ? "was killed, since it did not end in time when 'serve' was stopped"
                             : "ended by signal " + std::to_string(signal) + " (" +
                                   LowerFirst(SignalText(signal)) + ")";
  ending.error.next = kTriedAgain;
  ending.output = output.tail();
  return ending;
}

JobEnding Stopped() {
  JobEnding ending;
  ending.result = JobResult::kInterrupted;
  ending.error = {ErrorCode::kCancelled, "'serve' was stopped", "serve-stopped",
                  "goes on where it stopped when 'gapferry serve' runs again"};
  return ending;
}

}  // namespace

void JobOutput::Take(ChildProcess::Stream /*stream*/, std::string_view line) {
  const json object = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) {
    if (TrimAscii(line).empty()) return;
    if (tail_.size() == kTailLines) tail_.erase(tail_.begin());
    tail_.push_back(EscapeForDisplay(line, kTailBytes / 4));
    return;
  }
  if (Text(object, "message_type") != "exit_error") return;
  error_ = Error{CodeNamed(Text(object, "error")), Text(object, "message"), Text(object, "reason"),
                 Text(object, "next")};
}

std::string JobOutput::tail() const {
  std::string text;
  for (const std::string& line : tail_) text += (text.empty() ? "" : "\n") + line;
  if (text.size() > kTailBytes) text.erase(0, text.size() - kTailBytes);
  return text;
}

JobEnding JudgeEnding(const ProcessEnd& end, const JobOutput& output, JobStop stop,
                      std::optional<JobResult> recorded) {
  if (end.signal != 0) return Killed(end.signal, output, stop);
  JobEnding ending;
  if (end.code == 0 || end.code == kPartlyExit) {
    ending.result = recorded.value_or(end.code == 0 ? JobResult::kDone : JobResult::kPartly);
    return ending;
  }
  const bool cancelled = end.code == kCancelledExit;
  if (cancelled && stop == JobStop::kAsked) return Stopped();
  ending.result = cancelled ? JobResult::kCancelled : JobResult::kFailed;
  if (output.error()) {
    ending.error = *output.error();
  } else {
    ending.error = {ErrorCode::kInternal, "ended with exit code " + std::to_string(end.code),
                    "job-crashed", ""};
    ending.output = output.tail();
  }
  // What was refused before it began, since another one holds the mirror, only has to wait.
  const bool began = recorded.has_value();
  if (!began && end.code == kBusyExit) ending.result = JobResult::kPostponed;
  const bool may_pass =
      ending.error.code == ErrorCode::kTransient || ending.error.code == ErrorCode::kBusy;
  if (!cancelled && may_pass) ending.error.next = kTriedAgain;
  return ending;
}

}  // namespace gapferry::server
