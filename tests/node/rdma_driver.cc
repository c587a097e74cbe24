// SPDX-License-Identifier: Apache-2.0
// The agent on a node with one RDMA device of software, on kernels without RDMA: kind uverbs alone, a sysfs of its own,
// and character devices made with mknod, whose numbers are what the kernel would say. They are those of /dev/null and
// /dev/zero, so that a container can use them.
//
//   rdma_driver DRIVER_NAME KUBECONFIG NODE REGISTRY_DIR PLUGIN_DIR CDI_DIR STATE_DIR
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fairlead/agent/net_driver.h"
#include "fairlead/core/log.h"
#include "fairlead/devices/rdma/uverbs.h"
#include "fairlead/dra/plugin/plugin.h"
#include "fairlead/sys/testing/sysfs_tree.h"

namespace fairlead {
namespace {

namespace rdma = devices::rdma;

struct Node {
  sys::testing_support::SysfsTree sysfs;
  std::string dev = sysfs.root() + "/infiniband";

  Result<> make() {
    const std::filesystem::path root = sysfs.root();
    std::filesystem::create_directories(root / "class/infiniband/soft0/ports/1");
    std::filesystem::create_directories(root / "bus/pci/devices");
    std::ofstream(root / "class/infiniband/soft0/node_type") << "1: CA\n";
    std::ofstream(root / "class/infiniband/soft0/node_guid") << "0002:c903:00a1:b2c3\n";
    std::ofstream(root / "class/infiniband/soft0/ports/1/link_layer") << "Ethernet\n";
    std::ofstream(root / "class/infiniband/soft0/ports/1/state") << "4: ACTIVE\n";
    std::filesystem::create_directories(dev);
    const std::map<std::string, dev_t> nodes = {{"uverbs0", ::makedev(1, 3)}, {"rdma_cm", ::makedev(1, 5)}};
    for (const auto& [name, number] : nodes) {
      if (::mknod((dev + "/" + name).c_str(), S_IFCHR | 0666, number) != 0) {
        const int e = errno;
        return Error::from_errno(e, "make a character device");
      }
    }
    return {};
  }

  [[nodiscard]] rdma::DeviceFile file(const std::string& name) const {
    struct stat info = {};
    if (::stat((dev + "/" + name).c_str(), &info) != 0) {
      return {.state = rdma::DeviceFile::State::kMissing};
    }
    return {
        .state = rdma::DeviceFile::State::kThere, .major = major(info.st_rdev), .minor = minor(info.st_rdev)};
  }

  rdma::RdmaQuestions questions() {
    return {.netns_mode = []() -> Result<netlink::RdmaNetnsMode> { return netlink::RdmaNetnsMode::kShared; },
            .devices = []() -> Result<std::vector<netlink::RdmaDevice>> {
              return std::vector<netlink::RdmaDevice>{
                  {.index = 0, .name = "soft0", .node_guid = 0x0002c90300a1b2c3, .ports = 1}};
            },
            .char_device = [this](const netlink::RdmaCharDeviceQuery& query)
                -> Result<std::optional<netlink::RdmaCharDevice>> {
              const std::string name = query.type == "uverbs" ? "uverbs0" : std::string(query.type);
              const rdma::DeviceFile there = file(name);
              if (there.state != rdma::DeviceFile::State::kThere) {
                return std::optional<netlink::RdmaCharDevice>();
              }
              return netlink::RdmaCharDevice{.name = name, .major = there.major, .minor = there.minor};
            },
            .devices_of = [](const std::string& /*bdf*/) -> Result<std::vector<std::string>> {
              return std::vector<std::string>();
            },
            .file = [this](const std::string& name) -> Result<rdma::DeviceFile> { return file(name); }};
  }
};

Result<int> run(const std::vector<std::string>& words) {
  Node node;
  FL_TRY(node.make());
  devices::Registry kinds;
  kinds.add(std::make_unique<rdma::UverbsKind>(node.questions()));
  dra::PluginOptions plugin_options{.driver_name = words.at(1)};
  plugin_options.kubeconfig = words.at(2);
  plugin_options.node_name = words.at(3);
  plugin_options.registry_dir = words.at(4);
  plugin_options.plugin_dir = words.at(5);
  plugin_options.cdi_dir = words.at(6);
  plugin_options.state_dir = words.at(7);
  agent::NetDriverOptions options;
  options.node.driver_name = words.at(1);
  options.node.sysfs_root = node.sysfs.root();
  options.node.rdma_view = devices::RdmaView::kRdma;
  options.guard_path = "/bin/false";  // no claim of this kind has a hook
  options.guard_socket = words.at(7) + "/guard.sock";
  FL_ASSIGN(auto plugin, dra::Plugin::create(std::move(plugin_options),
                                             [&](dra::Host& host) -> Result<std::unique_ptr<dra::Driver>> {
                                               return agent::NetDriver::create(host, std::move(options),
                                                                               kinds);
                                             }));
  return plugin->run();
}

}  // namespace
}  // namespace fairlead

int main(int argc, char** argv) {
  if (argc != 8) {
    return 2;
  }
  const auto status = fairlead::run({argv, argv + argc});
  if (!status) {
    fairlead::log::error("cannot start", {{"error", status.error().what()}});
    return 1;
  }
  return *status;
}
