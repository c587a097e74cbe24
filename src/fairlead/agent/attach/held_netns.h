// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fairlead/core/fd.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/sys/netns.h"

namespace fairlead::agent {

/// The namespaces of pods that have a NIC of the node, from before the NIC moves there until it is
/// returned. Otherwise a pod that passed its namespace's descriptor to another process could keep the NIC:
/// the kernel returns a NIC (or deletes it: a veth that is a nested node's NIC) only when the last user of
/// the namespace is gone, and we could not find the namespace. The price: while we hold it, only the agent
/// returns the NIC; if the agent dies, the kernel does.
/// Any thread.
class HeldNamespaces : private Pinned {
 public:
  /// Whether a held namespace is certainly the claim's, or only has the inode number in the record.
  enum class Certainty : std::uint8_t { kCertain, kByNumber };

  void hold(const std::string& claim_uid, int netns, Certainty certainty);
  /// A descriptor of its own; not valid: none is held.
  [[nodiscard]] UniqueFd find(const std::string& claim_uid) const;
  /// How certain it is that the claim's namespace in the record, which has this id, is the one that is held: while it
  /// is, the kernel does not reuse its inode number. nullopt: none is held, or another one.
  [[nodiscard]] std::optional<Certainty> certainty_of(const std::string& claim_uid,
                                                      const sys::NetnsId& id) const;
  void let_go(const std::string& claim_uid);

  /// Those that are held.
  using Now = std::map<std::string, std::uint64_t>;
  [[nodiscard]] Now now() const;
  /// Releases those of `before` that the records, read after now(), do not require any more: another instance has
  /// undone or released the claim. Namespaces held since then are kept.
  void let_go_of_others(const Now& before,
                        const std::vector<std::shared_ptr<const dra::ClaimRecord>>& records);

 private:
  struct Held {
    UniqueFd netns;
    Certainty certainty = Certainty::kByNumber;
    std::uint64_t number = 0;  // of the call of hold()
  };
  mutable Mutex mutex_;
  std::map<std::string, Held> held_ FL_GUARDED_BY(mutex_);
  std::uint64_t holds_ FL_GUARDED_BY(mutex_) = 0;
};

}  // namespace fairlead::agent
