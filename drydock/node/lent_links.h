// SPDX-License-Identifier: Apache-2.0
// --lend: links of the machine that the node has for the time of a run.
//
// The link's state is recorded before it moves; the way back (take_back) works from the record alone, so that
// it can be done by the supervisor, or by its keeper if the supervisor is dead (link_keeper.h). It may start
// after any step of the move and may be repeated.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "drydock/node/link_record.h"
#include "fairlead/core/fd.h"
#include "fairlead/core/result.h"

namespace drydock {

/// How one of them came back.
struct Homecoming {
  std::string name;
  std::string problem;  // one sentence; empty: it is as it was
};

class LentLinks {
 public:
  /// Of the calling process's network namespace, the machine's. Each of `wanted` is a link's name or altname,
  /// or the PCI address of a function with one link. Touches nothing. kInvalid: one sentence says why that
  /// one cannot be lent. `own` are names that the node's own links will have.
  static fairlead::Result<LentLinks> find(const std::vector<std::string>& wanted,
                                          const std::set<std::string>& own,
                                          const std::string& sysfs_root = "/sys");

  [[nodiscard]] bool empty() const { return records_.empty(); }
  [[nodiscard]] std::vector<std::string> names() const;

  /// Moves all of them to the namespace `node` and makes them there what they were here, without their
  /// routes. After an error take_back() puts right what was done.
  fairlead::Result<> move_to(int node);

  /// Nothing runs in the node any more. Finds each of them again, in the node's namespace or where the kernel
  /// put it when the namespace that it was in died, and makes it what it was.
  std::vector<Homecoming> take_back(int node) const;

  /// For the node itself, at the end of its pods: how the lent links in `node` differ from what they were
  /// when they were lent (routes do not count). One sentence each: "nic0 was not given back: ...".
  [[nodiscard]] fairlead::Result<std::vector<std::string>> changes_in(int node) const;

  /// Until `stop` is readable: lent hardware that the kernel puts into the initial namespace goes on to the
  /// node's, at once, down and under the name that it has there ("devN" when that is taken), as the kernel
  /// does it on a real node. Blocks; one thread of its own.
  fairlead::Result<> follow_fallbacks(int node, int stop) const;

  /// Those that take_back() needs.
  [[nodiscard]] std::vector<int> descriptors() const;

 private:
  LentLinks() = default;
  [[nodiscard]] fairlead::Result<> bring_home(const LinkRecord& record, int node) const;

  fairlead::UniqueFd machine_;  // network namespaces
  fairlead::UniqueFd initial_;  // the kernel's fall-back; invalid when it is the machine's
  std::vector<LinkRecord> records_;
};

}  // namespace drydock
