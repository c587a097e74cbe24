// SPDX-License-Identifier: Apache-2.0
#include "tests/node/drydock_run.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>

#include "fairlead/core/fd.h"
#include "fairlead/sys/files.h"

extern char** environ;  // NOLINT(readability-redundant-declaration): POSIX wants it declared by the program

namespace fairlead::testing {
namespace {

const std::string kBin = FAIRLEAD_BIN_DIR;

std::string read_all(int fd) {
  std::string all;
  std::array<char, 4096> buffer = {};
  for (;;) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n <= 0) {
      return all;
    }
    all.append(buffer.data(), static_cast<std::size_t>(n));
  }
}

const std::string& scratch_dir() {
  static const std::string dir = [] {
    std::string pattern = ::testing::TempDir() + "/drydock-run-XXXXXX";
    return std::string(::mkdtemp(pattern.data()) != nullptr ? pattern : "");
  }();
  return dir;
}

}  // namespace

std::string why_no_drydock() {
  if (::geteuid() != 0) {
    return "drydock needs root for its namespaces";
  }
  if (::access("/usr/bin/crun", X_OK) != 0 && ::access("/usr/sbin/runc", X_OK) != 0) {
    return "no OCI runtime (crun or runc) is installed";
  }
  return "";
}

std::string write_manifest(const std::string& yaml) {
  static std::atomic<int> counter{0};
  const std::string name = "manifest-" + std::to_string(counter.fetch_add(1)) + ".yaml";
  EXPECT_TRUE(sys::replace_file(scratch_dir(), name, yaml, 0644));
  return scratch_dir() + "/" + name;
}

std::string fairlead_command(const std::string& flags) {
  return kBin +
         "/fairlead --driver-name dra.example.com --kubeconfig {kubeconfig} --node-name {node}"
         " --registry-dir {registry} --plugin-dir {plugins}/dra.example.com --cdi-dir {cdi} --nri-socket "
         "{nri}"
         " --state-dir {state} " +
         (flags.find("--policy") == std::string::npos ? "--policy privileged " : "") + flags;
}

std::string killed_once(const std::string& point, const std::string& command) {
  return "test -e {state}.died || { touch {state}.died; export FAIRLEAD_FAULT=" + point + ":kill; }; exec " +
         command;
}

std::string frozen_once(const std::string& point, const std::string& command) {
  return "(while ! test -e {state}.frozen; do sleep 0.1; done; sleep 4; kill -CONT $$) & "
         "export FAIRLEAD_FAULT=" +
         point + ":freeze:once={state}.frozen; exec " + command;
}

std::string drydock_program() { return kBin + "/drydock"; }
std::string fairlead_program() { return kBin + "/fairlead"; }
std::string source_file(const std::string& name) { return std::string(FAIRLEAD_SOURCE_DIR) + "/" + name; }

std::string example_manifest(const std::string& name) {
  return std::string(FAIRLEAD_SOURCE_DIR) + "/examples/manifests/" + name + ".yaml";
}

RunOutcome run_command(const std::vector<std::string>& command) {
  std::vector<char*> argv;
  argv.reserve(command.size() + 1);
  for (const std::string& word : command) {
    argv.push_back(const_cast<char*>(
        word.c_str()));  // NOLINT(cppcoreguidelines-pro-type-const-cast): posix_spawn's type
  }
  argv.push_back(nullptr);
  std::array<int, 2> ends = {-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return {};
  }
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, write_end.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, write_end.get(), STDERR_FILENO);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  write_end.reset();
  if (error != 0) {
    return {.exit_status = 127, .output = "cannot start " + command[0]};
  }
  RunOutcome outcome;
  outcome.output = read_all(read_end.get());
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  outcome.exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

RunOutcome run_drydock(const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {"timeout", "--kill-after=10", "300", kBin + "/drydock", "run"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return run_command(command);
}

RunOutcome run_fairlead(const std::string& yaml, const std::vector<std::string>& more,
                        const std::string& fairlead_flags) {
  std::vector<std::string> arguments = {"--driver", fairlead_command(fairlead_flags), "-f",
                                        write_manifest(yaml)};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_drydock(arguments);
}

std::string pod_manifest(const std::vector<WantedDevice>& devices, const std::string& script,
                         const std::string& image, const std::string& pod) {
  std::string yaml = R"(apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata:
  name: network-devices
spec:
  selectors:
  - cel:
      expression: device.driver == "dra.example.com" && device.attributes["dra.example.com"].type == "netdev"
)";
  std::string claims;
  std::string uses;
  for (const WantedDevice& device : devices) {
    yaml += "---\napiVersion: resource.k8s.io/v1\nkind: ResourceClaimTemplate\nmetadata:\n  name: " + pod +
            "-" + device.request +
            "\nspec:\n  spec:\n    devices:\n      requests:\n      - name: " + device.request +
            "\n        exactly:\n          deviceClassName: network-devices\n";
    if (!device.device_selector.empty()) {
      yaml += "          selectors:\n          - cel:\n              expression: " + device.device_selector +
              "\n";
    }
    yaml +=
        "      config:\n      - requests: [" + device.request +
        "]\n        opaque:\n          driver: dra.example.com\n          parameters: " + device.parameters +
        "\n";
    claims += "  - name: " + device.request + "\n    resourceClaimTemplateName: " + pod + "-" +
              device.request + "\n";
    uses += "      - name: " + device.request + "\n";
  }
  yaml += "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: " + pod +
          "\nspec:\n  restartPolicy: Never\n  resourceClaims:\n" + claims +
          "  containers:\n  - name: main\n    image: " + image + "\n    command: [\"/bin/sh\", \"-c\", '" +
          script + "']\n    resources:\n      claims:\n" + uses;
  return yaml;
}

}  // namespace fairlead::testing
