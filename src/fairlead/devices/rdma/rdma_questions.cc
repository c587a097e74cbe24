// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/rdma/rdma_questions.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>

#include "fairlead/sys/files.h"

namespace fairlead::devices::rdma {
namespace {

const std::string kFolder = "/dev/infiniband";

Result<DeviceFile> device_file(const std::string& name) {
  struct stat info = {};
  if (::stat(kFolder.c_str(), &info) != 0) {
    return DeviceFile{.state = DeviceFile::State::kNoFolder};
  }
  const std::string path = kFolder + "/" + name;
  if (::stat(path.c_str(), &info) != 0) {
    const int e = errno;
    if (e == ENOENT) {
      return DeviceFile{.state = DeviceFile::State::kMissing};
    }
    return Error::from_errno(e, "look at " + path);
  }
  if (!S_ISCHR(info.st_mode)) {
    return DeviceFile{.state = DeviceFile::State::kOther};
  }
  return DeviceFile{
      .state = DeviceFile::State::kThere, .major = major(info.st_rdev), .minor = minor(info.st_rdev)};
}

}  // namespace

RdmaQuestions rdma_questions_to_kernel() {
  using netlink::RdmaSocket;
  return {
      .netns_mode = []() -> Result<netlink::RdmaNetnsMode> {
        FL_ASSIGN(RdmaSocket socket, RdmaSocket::open());
        return socket.netns_mode();
      },
      .devices = []() -> Result<std::vector<netlink::RdmaDevice>> {
        FL_ASSIGN(RdmaSocket socket, RdmaSocket::open());
        return socket.devices();
      },
      .char_device =
          [](const netlink::RdmaCharDeviceQuery& query) -> Result<std::optional<netlink::RdmaCharDevice>> {
        FL_ASSIGN(RdmaSocket socket, RdmaSocket::open());
        return socket.char_device(query);
      },
      .devices_of =
          [](const std::string& bdf) { return sys::list_dir("/sys/bus/pci/devices/" + bdf + "/infiniband"); },
      .file = device_file};
}

}  // namespace fairlead::devices::rdma
