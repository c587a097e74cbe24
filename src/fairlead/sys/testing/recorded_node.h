// SPDX-License-Identifier: Apache-2.0
// For tests: a machine as tools/record_node.py recorded it or tools/generate_node.py made it up. Its sysfs
// lies in a temporary folder, its netlink dumps are bytes and values.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/codec.h"
#include "fairlead/sys/netlink/types.h"
#include "fairlead/sys/testing/sysfs_tree.h"

namespace fairlead::sys::testing_support {

/// The folder of a recording in src/sys/testing/recorded: "igb-2pf".
std::string recorded_folder(std::string_view name);

class RecordedNode {
 public:
  /// Reads a recording and lays out its sysfs. The error names file and line.
  static Result<RecordedNode> load(const std::string& folder);

  /// For InventoryOptions and the like. Gone with this object.
  [[nodiscard]] std::string sysfs_root() const { return sysfs_->root(); }
  /// To change the machine before it is read.
  [[nodiscard]] SysfsTree& sysfs() { return *sysfs_; }
  /// Files that could be opened but not read on the machine, with the error's name: path below sysfs_root()
  /// -> "EINVAL". Each is an empty folder here: it is there, it can be opened and reading fails, but always
  /// with EISDIR.
  [[nodiscard]] const std::map<std::string, std::string>& unreadable() const { return unreadable_; }

  /// The messages of one dump ("links", "rdma", ...) as the kernel sent them; empty when the machine had
  /// none.
  [[nodiscard]] const netlink::codec::Bytes& dump(std::string_view name) const;
  [[nodiscard]] std::vector<netlink::Link> links() const;
  [[nodiscard]] std::vector<netlink::Address> addresses() const;
  /// IPv4 and IPv6, all tables.
  [[nodiscard]] std::vector<netlink::Route> routes() const;

 private:
  RecordedNode() : sysfs_(std::make_unique<SysfsTree>()) {}
  Result<> read_tree(const std::string& path);

  std::unique_ptr<SysfsTree> sysfs_;
  std::map<std::string, std::string> unreadable_;
  std::map<std::string, netlink::codec::Bytes, std::less<>> dumps_;
};

/// Runs tools/generate_node.py FOLDER ARGUMENTS... kUnsupported when this machine has no python3.
Result<> generate_node(const std::string& folder, const std::vector<std::string>& arguments);

}  // namespace fairlead::sys::testing_support
