// SPDX-License-Identifier: Apache-2.0
// `fairlead probe`: the client side of the agent's HTTP server, for the probes of a pod.
#pragma once

#include <functional>
#include <string>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace fairlead::app {

/// Adds the subcommand's flags; the function runs it after the parsing and returns the exit status.
std::function<int()> add_probe(CLI::App& app);

/// Adds an option (or, without dashes, an argument) whose values are the pages of the agent's HTTP server.
CLI::Option* add_page(CLI::App& app, const std::string& name, std::string& page);

/// GETs `page` from the first address in `http_listen` and prints it. The exit status: 0 when the page's
/// status is 200, otherwise 1 with one sentence on stderr.
int probe(const std::string& http_listen, const std::string& page);

}  // namespace fairlead::app
