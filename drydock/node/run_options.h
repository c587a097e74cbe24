// SPDX-License-Identifier: Apache-2.0
// What `drydock run` was asked to do.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "fairlead/core/result.h"

namespace drydock {

struct RunOptions {
  std::vector<std::string> drivers;           // shell commands with placeholders
  std::vector<std::string> manifests;         // files
  std::map<std::string, std::string> images;  // name -> folder or OCI layout
  std::vector<std::string> nics;
  std::vector<std::string> lent;  // links of the machine: names or PCI addresses
  std::string confine;  // manifest of the drivers\' DaemonSet; empty: they run as drydock itself does
  std::string runtime;  // empty: crun, else runc
  std::string node_name = "drydock";
  std::chrono::milliseconds timeout{60'000};  // for drivers to publish and for pods to start
  std::optional<std::chrono::milliseconds> run_for;
  std::chrono::milliseconds wipe_delay{30'000};
  std::chrono::seconds grace{2};
  int retries = 3;
  bool nri = true;
  std::string nri_dialect = "0.12";                      // or "0.11"
  std::chrono::milliseconds nri_request_timeout{2'000};  // how long the runtime waits for a plugin's response
  std::vector<std::string> nri_cuts;  // events before which plugins lose their connection, once each
  std::optional<std::chrono::milliseconds> lose_sandbox;
  bool restart_driver = false;
  std::string show_log;  // lines of the drivers' logs with this text are shown at the end
  bool keep_going = false;
  bool verbose = false;
  bool json = false;
  std::string cgroup = "drydock";  // name for runc's, unique on the machine
};

/// "500ms", "5s", "2m", "1h"; kInvalid for anything else.
fairlead::Result<std::chrono::milliseconds> parse_duration(const std::string& text);
/// "NAME=PATH" with an absolute or relative path; kInvalid when it is not of that form or PATH is no folder.
fairlead::Result<std::pair<std::string, std::string>> parse_image(const std::string& text);

}  // namespace drydock
