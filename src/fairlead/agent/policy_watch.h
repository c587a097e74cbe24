// SPDX-License-Identifier: Apache-2.0
// The policy in force: --policy and the file of --policy-file, which is read again when it changes.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>

#include "fairlead/core/fd.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/devices/registry.h"
#include "fairlead/policy/policy_file.h"

namespace fairlead::agent {

/// A bad file changes nothing: the last good one stays in force. It is copied, so that it counts for an agent
/// that starts with a bad file, too.
class PolicyWatch : private Pinned {
 public:
  struct Options {
    policy::Level level = policy::Level::kPrivileged;  // --policy
    std::string file = {};                             // --policy-file; empty: there is none
    std::string copy_dir = {};                         // for the copy, "policy.yaml"; empty: it is not kept
    std::string driver = {};                           // of the metric
  };
  /// Reads the file. Errors: no inotify descriptor; a bad file is none. `kinds` must outlive the call only.
  static Result<std::unique_ptr<PolicyWatch>> start(Options options, const devices::Registry& kinds);
  ~PolicyWatch();

  /// kUnavailable: no good file was there since the node booted, so what claims may write is not known. Any thread.
  [[nodiscard]] Result<std::shared_ptr<const policy::Policy>> policy() const;
  /// An error: the file is bad. Any thread.
  [[nodiscard]] Result<> ready() const;
  /// fairlead_policy_file_loads_total, in Prometheus' format; empty without a file. Any thread.
  [[nodiscard]] std::string metrics_text() const;

 private:
  PolicyWatch(Options options, UniqueFd events, UniqueFd stop, const devices::Registry& kinds);
  void run(bool is_watching);
  [[nodiscard]] bool watch_folder() const;
  [[nodiscard]] bool read_events(bool& folder_gone) const;
  void load();
  void accept(policy::PolicyFile file, const std::string& text);
  void refuse(const Error& error);
  void use_copy();
  void put_in_force(policy::PolicyFile file);

  const Options options_;
  std::set<std::string_view> bounded_;  // keys of bounds that fields of this version are under
  UniqueFd events_, stop_;
  // Of start() and then of the thread:
  std::optional<std::string> last_text_;  // nullopt: it could not be read
  std::string last_error_;

  mutable Mutex mutex_;
  std::shared_ptr<const policy::Policy> policy_ FL_GUARDED_BY(mutex_);
  std::optional<Error> problem_ FL_GUARDED_BY(mutex_);
  std::atomic<std::uint64_t> accepted_{0}, refused_{0};
  std::thread thread_;
};

}  // namespace fairlead::agent
