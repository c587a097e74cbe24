// SPDX-License-Identifier: Apache-2.0
// The program's subcommands and their dispatch.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "app/cmd_parameters.h"
#include "app/cmd_probe.h"
#include "app/cmd_run.h"

namespace {

struct Subcommand {
  const char* name;
  const char* description;
  /// Adds the flags; the function runs the subcommand after the parsing and returns the exit status.
  std::function<int()> (*add)(CLI::App& app);
};
constexpr std::array kSubcommands = {
    Subcommand{"run", "run the agent; also without the word: fairlead [OPTIONS]", fairlead::app::add_run},
    Subcommand{"probe", "ask the running agent for healthz, readyz or metrics", fairlead::app::add_probe},
    Subcommand{"parameters", "print what may be written in the parameters of a claim",
               fairlead::app::add_parameters},
};

bool is_flag(std::string_view word) { return word.starts_with('-'); }

/// Flags of the agent may come without a subcommand; --help and --version are the program's own.
std::vector<const char*> with_subcommand(int argc, const char* const* argv) {
  std::vector<const char*> words(argv, argv + argc);
  const std::string_view first = argc > 1 ? argv[1] : "";
  if (argc <= 1 || (is_flag(first) && first != "--help" && first != "-h" && first != "--version")) {
    words.insert(words.begin() + std::min(argc, 1), kSubcommands.front().name);
  }
  return words;
}

/// What the command line asks for. --help, --version and errors are printed here.
std::function<int()> parse(const std::vector<const char*>& words) {
  constexpr int kWrongFlags = 2;
  CLI::App app("Kubernetes network devices by Dynamic Resource Allocation", "fairlead");
  app.set_version_flag("--version", FAIRLEAD_VERSION);
  app.require_subcommand(0, 1);  // another word is an unexpected argument, which the error names
  std::function<int()> run;
  const auto chosen = std::find_if_not(words.begin() + 1, words.end(), is_flag);
  for (const Subcommand& subcommand : kSubcommands) {
    CLI::App& flags = *app.add_subcommand(subcommand.name, subcommand.description);
    // CLI11 reads the environment variables of all options, also those of a subcommand that is not used.
    if (chosen != words.end() && *chosen == std::string_view(subcommand.name)) {
      flags.set_version_flag("--version", FAIRLEAD_VERSION);
      run = subcommand.add(flags);
    }
  }
  try {
    app.parse(static_cast<int>(words.size()), words.data());
  } catch (const CLI::Success& e) {  // --help, --version
    const int status = app.exit(e);
    return [status] { return status; };
  } catch (const std::exception& e) {
    (void)std::fprintf(stderr, "fairlead: command line: %s\n", e.what());
    return [] { return kWrongFlags; };
  }
  return run;
}

}  // namespace

int main(int argc, char** argv) { return parse(with_subcommand(argc, argv))(); }
