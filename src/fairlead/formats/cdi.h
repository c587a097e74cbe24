// SPDX-License-Identifier: Apache-2.0
// CDI 1.1.0 (Container Device Interface, cncf-tags/container-device-interface specs-go/config.go): the model,
// its JSON, the minimum-version rule and the name rules. Pure data; dra and drydock handle the files.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"

namespace fairlead::cdi {

struct DeviceNode {
  std::string path;       // in the container
  std::string host_path;  // empty: same as path (needs 0.5.0 when set)
  std::string type;       // "b", "c", "u", "p"; empty: read from the host
  std::optional<std::int64_t> major, minor;
  std::optional<std::uint32_t> file_mode;  // permission bits
  std::string permissions;                 // subset of "rwm"
  std::optional<std::uint32_t> uid, gid;
  bool operator==(const DeviceNode&) const = default;
};

struct Mount {
  std::string host_path, container_path;
  std::vector<std::string> options;
  std::string type;  // needs 0.4.0
  bool operator==(const Mount&) const = default;
};

struct Hook {
  std::string hook_name;  // prestart, createRuntime, createContainer, startContainer, poststart, poststop
  std::string path;
  std::vector<std::string> args;  // args[0] is the program's name
  std::vector<std::string> env;   // "K=V"
  std::optional<int> timeout_seconds;
  bool operator==(const Hook&) const = default;
};

/// A host interface that the OCI runtime moves into the container (needs 1.1.0).
struct NetDevice {
  std::string host_interface_name, name;
  bool operator==(const NetDevice&) const = default;
};

struct ContainerEdits {
  std::vector<std::string> env;  // "K=V"
  std::vector<DeviceNode> device_nodes;
  std::vector<NetDevice> net_devices;
  std::vector<Hook> hooks;
  std::vector<Mount> mounts;
  std::vector<std::uint32_t> additional_gids;  // needs 0.7.0
  [[nodiscard]] bool empty() const;
  bool operator==(const ContainerEdits&) const = default;
};

struct Device {
  std::string name;
  std::map<std::string, std::string> annotations;
  ContainerEdits edits;  // must not be empty
  bool operator==(const Device&) const = default;
};

struct Spec {
  std::string version;  // filled by parse(); to_json() writes minimum_version() instead
  std::string kind;     // "vendor/class"
  std::map<std::string, std::string> annotations;
  std::vector<Device> devices;
  ContainerEdits edits;  // applied once when any device of the spec is used
  bool operator==(const Spec&) const = default;
};

/// The oldest CDI version that can carry this spec; older runtimes refuse a file that declares a newer one.
std::string minimum_version(const Spec& spec);
/// All rules that a reader checks: names, kinds, required fields, unique devices and interfaces, no empty
/// device. kInvalid names the field.
Result<> validate(const Spec& spec);
/// Validates, then writes JSON with `cdiVersion` = minimum_version().
Result<std::string> to_json(const Spec& spec);
/// As strict as the reference reader: unknown fields, a declared version below the required one and violated
/// rules are kInvalid.
Result<Spec> parse(std::string_view json);

/// "vendor/class=name". kInvalid if a part violates the grammar.
Result<std::string> qualified_name(std::string_view kind, std::string_view device);
Result<> validate_kind(std::string_view kind);
Result<> validate_device_name(std::string_view name);

}  // namespace fairlead::cdi
