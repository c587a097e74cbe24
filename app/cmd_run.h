// SPDX-License-Identifier: Apache-2.0
// `fairlead run`: the agent.
#pragma once

#include <functional>

namespace CLI {
class App;
}  // namespace CLI

namespace fairlead::app {

/// Adds the agent's flags; the function runs it after the parsing and returns the exit status.
std::function<int()> add_run(CLI::App& app);

}  // namespace fairlead::app
