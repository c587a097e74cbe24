// SPDX-License-Identifier: Apache-2.0
// Runs of the drydock program with the fairlead program as driver, for tests: both as users start them.
#pragma once

#include <string>
#include <vector>

namespace fairlead::testing {

struct RunOutcome {
  int exit_status = -1;  // 128 + signal when it was killed
  std::string output;    // stdout and stderr
};

/// Why whole runs cannot be tested here; empty when they can.
std::string why_no_drydock();

/// A manifest file below the test's temporary folder; its path.
std::string write_manifest(const std::string& yaml);

/// The driver command with fairlead as "dra.example.com" and more flags; --policy privileged unless they say else.
std::string fairlead_command(const std::string& flags = "");

/// A driver command whose first life ends at a fault point (core/fault.h), for --restart-driver.
std::string killed_once(const std::string& point, const std::string& command);

/// One that stands still at a fault point for four seconds, longer than the runtime waits for NRI.
std::string frozen_once(const std::string& point, const std::string& command);

/// The paths of the programs, and of a file of the sources.
std::string drydock_program();
std::string fairlead_program();
std::string source_file(const std::string& name);

/// The path of examples/manifests/NAME.yaml.
std::string example_manifest(const std::string& name);

/// `drydock run` with these arguments; killed after five minutes.
RunOutcome run_drydock(const std::vector<std::string>& arguments);
/// The same, with fairlead as driver and one manifest.
RunOutcome run_fairlead(const std::string& yaml, const std::vector<std::string>& more = {},
                        const std::string& fairlead_flags = "");
/// Any command, the same way.
RunOutcome run_command(const std::vector<std::string>& command);

/// One device of a pod: the request's name and the netdev parameters as JSON.
struct WantedDevice {
  std::string request;
  std::string parameters;
  std::string device_selector;  // CEL, && to the class's; empty: any
};

/// A DeviceClass, one claim template per device, and a pod whose only container runs `script` with /bin/sh.
std::string pod_manifest(const std::vector<WantedDevice>& devices, const std::string& script,
                         const std::string& image = "iproute2", const std::string& pod = "test-pod");

}  // namespace fairlead::testing
