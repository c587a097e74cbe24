// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/facts/rdma_devices.h"

#include <filesystem>
#include <string_view>
#include <system_error>

#include "fairlead/sys/files.h"
#include "fairlead/sys/pci.h"

namespace fairlead::sys {
namespace {

/// Without the newline; empty if it cannot be read.
std::string line_of(const std::string& path) {
  auto text = read_file(path);
  if (!text) {
    return {};
  }
  text->erase(text->find_last_not_of(" \n") + 1);
  return *std::move(text);
}

/// "4: ACTIVE" -> "ACTIVE"
std::string behind_number(const std::string& text) {
  const auto colon = text.find(": ");
  return colon == std::string::npos ? text : text.substr(colon + 2);
}

bool is_unset(const std::string& guid) { return guid.find_first_not_of("0:") == std::string::npos; }

}  // namespace

Result<std::vector<RdmaDevice>> read_rdma_devices(const std::string& sysfs_root) {
  const std::string folder = sysfs_root + "/class/infiniband";
  FL_ASSIGN(const auto names, list_dir(folder), "list RDMA devices");
  std::vector<RdmaDevice> devices;
  for (const std::string& name : names) {
    const std::string own = folder + "/" + name;
    FL_ASSIGN(const auto type, read_file_if_exists(own + "/node_type"), "read the RDMA device " + name);
    if (!type) {
      continue;
    }
    RdmaDevice device{
        .name = name, .node_guid = line_of(own + "/node_guid"), .firmware = line_of(own + "/fw_ver")};
    if (is_unset(device.node_guid)) {
      device.node_guid.clear();
    }
    FL_ASSIGN(const auto ports, list_dir(own + "/ports"), "list the ports of the RDMA device " + name);
    device.ports = static_cast<int>(ports.size());
    if (!ports.empty()) {
      device.link_layer = line_of(own + "/ports/" + ports.front() + "/link_layer");
      device.state = behind_number(line_of(own + "/ports/" + ports.front() + "/state"));
    }
    std::error_code error;
    const auto below = std::filesystem::read_symlink(own + "/device", error);
    device.is_software = static_cast<bool>(error);
    if (const std::string address = below.filename().string(); is_bdf(address)) {
      device.bdf = address;
    }
    if (device.is_software) {
      // rxe says it itself; of others the first GID has it.
      device.link = line_of(own + "/parent");
      if (device.link.empty() && !ports.empty()) {
        device.link = line_of(own + "/ports/" + ports.front() + "/gid_attrs/ndevs/0");
      }
    }
    devices.push_back(std::move(device));
  }
  return devices;
}

}  // namespace fairlead::sys
