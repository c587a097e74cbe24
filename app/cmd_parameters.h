// SPDX-License-Identifier: Apache-2.0
// `fairlead parameters`: prints what may be written in the opaque parameters of a claim.
#pragma once

#include <functional>

namespace CLI {
class App;
}  // namespace CLI

namespace fairlead::app {

/// Adds the subcommand's flags; the function runs it after the parsing and returns the exit status.
std::function<int()> add_parameters(CLI::App& app);

}  // namespace fairlead::app
