#include <string>
#include <vector>

#include "cli/app.h"
#include "cli/signals.h"

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const std::vector<gapferry::cli::Command> commands = gapferry::cli::AllCommands();
  const gapferry::cli::SignalStop signals;
  return static_cast<int>(gapferry::cli::RunCommandLine(words, commands, signals.token()));
}
