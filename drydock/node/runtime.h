// SPDX-License-Identifier: Apache-2.0
// An OCI runtime, crun or runc, driven as a container runtime does: create, start, wait, kill, delete.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "drydock/node/oci_spec.h"
#include "drydock/node/processes.h"
#include "fairlead/core/result.h"

namespace drydock {

struct RuntimeFeatures {
  bool net_devices = false;  // `features` says linux.netDevices.enabled
};

/// Any thread. The process must have called adopt_orphans(), or containers cannot be waited for.
class Runtime {
 public:
  /// `program` empty: crun, else runc, whichever PATH has. `root` holds the runtime's state. runc insists on
  /// a cgroup and gets `cgroup`, a name of this run only: cgroups are the machine's.
  static Result<Runtime> find(const std::string& program, const std::string& root, const std::string& cgroup);

  [[nodiscard]] const std::string& name() const { return name_; }        // "crun" or "runc"
  [[nodiscard]] const std::string& version() const { return version_; }  // "crun 1.8.1"
  [[nodiscard]] const RuntimeFeatures& features() const { return features_; }

  struct Streams {
    int out = -1, err = -1;
  };
  /// Writes config.json into `bundle` and creates the container, its process not yet running. The error holds
  /// the runtime's own words, a failed hook's stderr included; nothing of the container is left then.
  Result<pid_t> create(const std::string& id, const std::string& bundle, OciSpec spec,
                       const Streams& streams);
  Result<> start(const std::string& id);
  /// A container that is gone counts as signalled.
  Result<> kill(const std::string& id, int signal);
  /// Forced; one that is not there counts as removed.
  Result<> remove(const std::string& id);

 private:
  Runtime() = default;
  [[nodiscard]] std::vector<std::string> base_command(const std::string& log) const;
  Result<> call(const std::string& id, std::vector<std::string> words);

  std::string program_, name_, version_, root_, cgroup_;
  RuntimeFeatures features_;
};

/// Exposed for tests. The messages of a runtime's --log-format=json file, newest last, joined by "; ".
std::string runtime_errors(const std::string& log_text);
RuntimeFeatures parse_features(const std::string& json_text);

}  // namespace drydock
