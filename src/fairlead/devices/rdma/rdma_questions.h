// SPDX-License-Identifier: Apache-2.0
// What is asked about RDMA devices when a claim is prepared, and answered by the kernel as of now. Tests supply values.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/rdma.h"

namespace fairlead::devices::rdma {

/// A file below /dev/infiniband as this process sees it.
struct DeviceFile {
  enum class State : std::uint8_t {
    kNoFolder,  // there is no /dev/infiniband: it is not mounted here
    kMissing,
    kOther,  // it is no character device
    kThere,
  };
  State state = State::kNoFolder;
  std::uint32_t major = 0, minor = 0;
};

/// Any thread; each call opens what it needs, in the network namespace of the thread that asks.
struct RdmaQuestions {
  std::function<Result<netlink::RdmaNetnsMode>()> netns_mode;
  std::function<Result<std::vector<netlink::RdmaDevice>>()> devices;
  std::function<Result<std::optional<netlink::RdmaCharDevice>>(const netlink::RdmaCharDeviceQuery&)>
      char_device;
  /// Names of the RDMA devices of a PCI function.
  std::function<Result<std::vector<std::string>>(const std::string& bdf)> devices_of;
  std::function<Result<DeviceFile>(const std::string& name)> file;
};
RdmaQuestions rdma_questions_to_kernel();

}  // namespace fairlead::devices::rdma
