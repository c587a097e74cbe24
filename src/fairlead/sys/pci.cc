// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/pci.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <ranges>

#include "fairlead/sys/files.h"

namespace fairlead::sys {
namespace {

namespace fs = std::filesystem;

bool is_hex(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

/// A component of a path that comes from outside: it must stay one.
bool is_component(std::string_view text) {
  return !text.empty() && text != "." && text != ".." && !text.contains('/') && !text.contains('\0');
}

/// The file's one line; empty when it is not there or cannot be read (a driver may refuse at any time).
std::string read_line(const fs::path& path) {
  auto content = read_file(path.string());
  if (!content) {
    return {};
  }
  content->resize(std::min(content->find('\n'), content->size()));
  return std::move(*content);
}

template <class T>
std::optional<T> read_number(const fs::path& path, int base = 10) {
  const std::string line = read_line(path);
  std::string_view digits = line;
  if (base == 16 && digits.starts_with("0x")) {
    digits.remove_prefix(2);
  }
  T value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size()) {
    return std::nullopt;
  }
  return value;
}

/// What a link points to, by its last component.
std::string link_target(const fs::path& path) {
  std::error_code error;
  return fs::read_symlink(path, error).filename().string();
}

std::optional<fs::path> resolve(const fs::path& path) {
  std::error_code error;
  fs::path resolved = fs::canonical(path, error);
  return error ? std::nullopt : std::optional(std::move(resolved));
}

/// The components of a device's place below devices/: "pci0000:00", "0000:00:01.0", "0000:03:00.0".
std::vector<std::string> place_of(const std::string& sysfs_root, const fs::path& device) {
  const auto devices = resolve(fs::path(sysfs_root) / "devices");
  const auto resolved = resolve(device);
  if (!devices || !resolved) {
    return {};
  }
  const auto [end, rest] =
      std::mismatch(devices->begin(), devices->end(), resolved->begin(), resolved->end());
  if (end != devices->end()) {
    return {};
  }
  std::vector<std::string> components;
  std::transform(rest, resolved->end(), std::back_inserter(components),
                 [](const fs::path& one) { return one.string(); });
  return components;
}

/// "pci0000:00": the root's form that Kubernetes' pcieRoot attribute takes.
bool is_pcie_root(std::string_view text) {
  return text.size() == 10 && text.starts_with("pci") && text[7] == ':' && is_hex(text.substr(3, 4)) &&
         is_hex(text.substr(8, 2));
}

std::string known_speed(std::string speed) {
  return speed.starts_with("Unknown") ? std::string() : std::move(speed);
}

}  // namespace

bool is_bdf(std::string_view text) {
  return text.size() == 12 && text[4] == ':' && text[7] == ':' && text[10] == '.' &&
         is_hex(text.substr(0, 4)) && is_hex(text.substr(5, 2)) && is_hex(text.substr(8, 2)) &&
         text[11] >= '0' && text[11] <= '7';
}

Result<std::optional<PciDevice>> read_pci_device(const std::string& sysfs_root, std::string_view bdf) {
  if (!is_bdf(bdf)) {
    return Error(Code::kInvalid,
                 "\"" + std::string(bdf.substr(0, 64)) + "\" is not a PCI address such as 0000:03:00.0");
  }
  const fs::path folder = fs::path(sysfs_root) / "bus/pci/devices" / bdf;
  const auto vendor = read_number<std::uint16_t>(folder / "vendor", 16);
  if (!vendor) {
    return std::optional<PciDevice>();
  }
  PciDevice device = {.bdf = std::string(bdf), .vendor = *vendor};
  device.device = read_number<std::uint16_t>(folder / "device", 16).value_or(0);
  device.class_code = read_number<std::uint32_t>(folder / "class", 16).value_or(0);
  device.driver = link_target(folder / "driver");
  device.numa_node = std::max(read_number<int>(folder / "numa_node").value_or(-1), -1);
  device.link_speed = known_speed(read_line(folder / "current_link_speed"));
  device.link_width = read_number<int>(folder / "current_link_width").value_or(0);
  device.sriov_total_vfs = read_number<int>(folder / "sriov_totalvfs");
  device.sriov_num_vfs = read_number<int>(folder / "sriov_numvfs").value_or(0);
  device.physical_function = link_target(folder / "physfn");
  const auto place = place_of(sysfs_root, folder);
  if (!place.empty() && is_pcie_root(place.front())) {
    device.pcie_root = place.front();
  }
  return std::optional(std::move(device));
}

std::optional<std::string> pci_function_of(const std::string& sysfs_root, const std::string& bus,
                                           const std::string& device) {
  if (!is_component(bus) || !is_component(device)) {
    return std::nullopt;
  }
  if (bus == "pci") {
    return is_bdf(device) ? std::optional(device) : std::nullopt;
  }
  const auto place = place_of(sysfs_root, fs::path(sysfs_root) / "bus" / bus / "devices" / device);
  const auto upwards = std::views::reverse(place);
  const auto lowest = std::ranges::find_if(upwards, [](const auto& one) { return is_bdf(one); });
  return lowest == upwards.end() ? std::nullopt : std::optional(*lowest);
}

std::string driver_of(const std::string& sysfs_root, const std::string& bus, const std::string& device) {
  if (!is_component(bus) || !is_component(device)) {
    return {};
  }
  return link_target(fs::path(sysfs_root) / "bus" / bus / "devices" / device / "driver");
}

int dev_port_of(const std::string& sysfs_root, const std::string& bus, const std::string& device,
                const std::string& link_name) {
  if (!is_component(bus) || !is_component(device) || !is_component(link_name)) {
    return 0;
  }
  const fs::path link = fs::path(sysfs_root) / "bus" / bus / "devices" / device / "net" / link_name;
  return std::max(read_number<int>(link / "dev_port").value_or(0), 0);
}

}  // namespace fairlead::sys
