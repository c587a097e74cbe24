// SPDX-License-Identifier: Apache-2.0
// The process that takes lent links back when the supervisor cannot.
//
// It is forked before the first link moves and has a session of its own, so that neither Ctrl-C nor a signal
// to drydock's process group reaches it. It holds the network namespaces of the machine and of the node, and
// waits. When the supervisor ends without a word (kill -9) it ends the node, waits until that is dead, and
// goes the same way back as the supervisor would have gone.
#pragma once

#include <sys/types.h>

#include <utility>

#include "drydock/node/lent_links.h"
#include "fairlead/core/fd.h"
#include "fairlead/core/result.h"

namespace drydock {

/// The name of the keeper process that runs while links are lent, as ps(1) shows it.
inline constexpr auto kKeeperName = "drydock-keeper";

class LinkKeeper {
 public:
  /// From a process with one thread. `node`: the network namespace of the node, whose first process is
  /// `init`.
  static fairlead::Result<LinkKeeper> start(const LentLinks& links, int node, pid_t init);
  LinkKeeper(const LinkKeeper&) = delete;
  LinkKeeper& operator=(const LinkKeeper&) = delete;
  LinkKeeper(LinkKeeper&& other) noexcept = default;
  LinkKeeper& operator=(LinkKeeper&& other) noexcept = default;
  ~LinkKeeper() = default;  // not dismissed: it acts

  /// All links are home, as far as that is possible: it ends without doing anything.
  void dismiss();

 private:
  LinkKeeper(pid_t pid, fairlead::UniqueFd word) : pid_(pid), word_(std::move(word)) {}
  pid_t pid_;
  fairlead::UniqueFd word_;
};

}  // namespace drydock
