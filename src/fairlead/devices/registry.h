// SPDX-License-Identifier: Apache-2.0
// type -> kind -> handler. Filled once, explicitly, in app/main.cc; read-only afterwards.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/devices/kind.h"

namespace fairlead::devices {

class Registry {
 public:
  void add(std::unique_ptr<Kind> handler);
  /// nullptr when nobody registered it.
  [[nodiscard]] const Kind* find(std::string_view type, std::string_view kind) const;

  /// Reads `type` and `kind` of every config of the device (weakest first) and lets the handler of the last
  /// one plan. Configs of another kind before it are dropped: a claim may ask for something else than its
  /// class suggests. Without any config a NIC is handed out as it is ("netdev", "host-device").
  Result<DevicePlan> plan(const PlanInput& input) const;
  /// Kind::links_changed() of all: goes on after errors and tells the first.
  Result<> links_changed(netlink::Socket& node, const NodeOptions& options) const;

 private:
  struct Choice {
    const Kind* handler = nullptr;
    Section section;
  };
  Result<Choice> read(const dra::DeviceConfig& config) const;
  [[nodiscard]] std::vector<std::string_view> types() const;
  [[nodiscard]] std::vector<std::string_view> kinds(std::string_view type) const;

  std::map<std::string, std::map<std::string, std::unique_ptr<Kind>, std::less<>>, std::less<>> handlers_;
};

}  // namespace fairlead::devices
