// SPDX-License-Identifier: Apache-2.0
// The machine's side of `drydock run`: lends links, starts the node, and compares the machine with what it was.
#include <unistd.h>

#include <cstdio>
#include <optional>
#include <string>
#include <utility>

#include "drydock/node/isolation.h"
#include "drydock/node/lent_links.h"
#include "drydock/node/link_keeper.h"
#include "drydock/node/machine_state.h"
#include "drydock/node/run.h"
#include "fairlead/core/fault.h"
#include "fairlead/sys/netns.h"

namespace drydock {
namespace {

namespace sys = fairlead::sys;

Console::Amount amount_of(const RunOptions& options) {
  if (options.json) {
    return Console::Amount::kNothing;
  }
  return options.verbose ? Console::Amount::kVerbose : Console::Amount::kNormal;
}

int complain(const std::string& text) {
  (void)std::fprintf(stderr, "drydock: %s\n", text.c_str());
  return kExitFailed;
}

/// Before anything was done.
int refuse(const Error& error) {
  (void)complain(error.what());
  return error.code() == Code::kInvalid ? kExitUsage : kExitFailed;
}

void report(Console& console, bool json, const std::string& failure) {
  console.fail(failure);
  (void)(json ? complain(failure) : 0);
}

/// The node and the run in it, and the lent links back home: false when one is not.
Result<std::pair<int, bool>> run_with_links(const RunOptions& options, const RunInput& input,
                                            Console& console, LentLinks& lent) {
  UniqueFd node;
  std::optional<LinkKeeper> keeper;
  const auto lend = [&](pid_t init) -> Result<> {
    if (lent.empty()) {
      return {};
    }
    FL_ASSIGN(node, sys::open_netns_of(init));
    FL_ASSIGN(keeper, LinkKeeper::start(lent, node.get(), init));
    return lent.move_to(node.get());
  };
  auto code =
      run_isolated(options.node_name, [&] { return Run(options, input, console, lent).execute(); }, lend);
  bool home = true;
  if (keeper) {
    fairlead::fault_point("return-begin");
    for (const auto& [name, problem] : lent.take_back(node.get())) {
      home = home && problem.empty();
      if (problem.empty()) {
        console.step("lent link " + name + " is back");
      } else {
        report(console, options.json, "lent link " + name + ": " + problem);
      }
    }
    keeper->dismiss();
  }
  if (!code) {
    return std::move(code).error();
  }
  return std::pair(*code, home);
}

}  // namespace

int run_command(const RunOptions& wanted) {
  RunOptions options = wanted;
  options.cgroup = "drydock-" + std::to_string(::getpid());
  Console console(STDOUT_FILENO, Console::Colour::kOnTerminal, amount_of(options));
  const auto input = RunInput::read(options);
  if (!input) {
    return refuse(input.error());
  }
  auto before = MachineState::read(options.cgroup);
  if (!before) {
    return complain(before.error().what());
  }
  auto lent = LentLinks::find(options.lent, NodeNetwork::own_names(options.nics));
  if (!lent) {
    return refuse(lent.error());
  }
  options.lent = lent->names();
  const auto done = run_with_links(options, *input, console, *lent);
  if (!done) {
    (void)complain(done.error().what());
  }
  auto after = MachineState::read(options.cgroup);
  if (!after) {
    return complain(after.error().what());
  }
  forget_indices(*before, options.lent);
  forget_indices(*after, options.lent);
  const auto left = differences(*before, *after);
  const auto [code, home] = done.value_or(std::pair(kExitFailed, false));
  if (left.empty() && home) {
    console.step("this machine is as it was: links, mounts, CDI files, cgroups");
    return code;
  }
  for (const auto& line : left) {
    report(console, options.json, "on this machine: " + line);
  }
  return code == 0 ? kExitFailed : code;
}

}  // namespace drydock
