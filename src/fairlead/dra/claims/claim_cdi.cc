// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/claims/claim_cdi.h"

#include <algorithm>
#include <cctype>
#include <cerrno>

#include "fairlead/sys/files.h"

namespace fairlead::dra {
namespace {

std::string prefix_of(std::string_view driver_name) { return std::string(driver_name) + "-claim_"; }

std::string device_name(const ClaimRecord& record, std::size_t index) {
  return "claim-" + record.claim.uid + "-" + std::to_string(index);
}

/// Readers refuse a CDI device without edits, and a claim's common edits apply only if one of its devices is
/// used. So a device without edits of its own gets an environment variable that names it.
std::string marker(std::string_view driver_name, const AllocatedDevice& device, std::size_t index) {
  std::string name = "DRA_DEVICE_" + device.main_request() + "_" + std::to_string(index);
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) {
    return std::isalnum(c) != 0 ? static_cast<char>(std::toupper(c)) : '_';
  });
  return name + "=" + std::string(driver_name) + "/" + device.pool + "/" + device.device;
}

cdi::Spec make_spec(std::string_view driver_name, const ClaimRecord& record) {
  cdi::Spec spec;
  spec.kind = std::string(driver_name) + "/claim";
  spec.edits = record.prepared.claim_edits;
  for (std::size_t i = 0; i < record.claim.devices.size(); ++i) {
    if (!has_cdi_device(record, i)) {
      continue;
    }
    cdi::Device device;
    device.name = device_name(record, i);
    device.edits = record.prepared.device_edits[i];
    if (device.edits.empty()) {
      device.edits.env.push_back(marker(driver_name, record.claim.devices[i], i));
    }
    spec.devices.push_back(std::move(device));
  }
  return spec;
}

}  // namespace

std::string cdi_file_name(std::string_view driver_name, std::string_view claim_uid) {
  return prefix_of(driver_name) + std::string(claim_uid) + ".json";
}

std::string claim_uid_of_cdi_file(std::string_view driver_name, std::string_view file_name) {
  const std::string prefix = prefix_of(driver_name);
  constexpr std::string_view kSuffix = ".json";
  if (!file_name.starts_with(prefix) || !file_name.ends_with(kSuffix) ||
      file_name.size() <= prefix.size() + kSuffix.size()) {
    return {};
  }
  return std::string(file_name.substr(prefix.size(), file_name.size() - prefix.size() - kSuffix.size()));
}

bool has_cdi_device(const ClaimRecord& record, std::size_t index) {
  return index < record.prepared.device_edits.size() &&
         (!record.prepared.device_edits[index].empty() || !record.prepared.claim_edits.empty());
}

std::string cdi_id(std::string_view driver_name, const ClaimRecord& record, std::size_t index) {
  return std::string(driver_name) + "/claim=" + device_name(record, index);
}

Result<> write_cdi_file(const std::string& cdi_dir, std::string_view driver_name, const ClaimRecord& record) {
  const cdi::Spec spec = make_spec(driver_name, record);
  if (spec.devices.empty()) {
    return remove_cdi_file(cdi_dir, driver_name, record.claim.uid);
  }
  FL_ASSIGN(const std::string text, cdi::to_json(spec), "the driver's container edits");
  const std::string name = cdi_file_name(driver_name, record.claim.uid);
  const auto present = sys::read_file_if_exists(cdi_dir + "/" + name);
  if (present && *present == text) {
    return {};  // runtimes read the folder again after every change
  }
  auto written = sys::replace_file(cdi_dir, name, text, 0644);
  if (!written && written.error().sys_errno() == ENOENT) {  // somebody removed the folder
    FL_TRY(sys::make_dirs(cdi_dir, 0755));
    written = sys::replace_file(cdi_dir, name, text, 0644);
  }
  return written;
}

Result<> remove_cdi_file(const std::string& cdi_dir, std::string_view driver_name,
                         std::string_view claim_uid) {
  return sys::remove_file(cdi_dir + "/" + cdi_file_name(driver_name, claim_uid));
}

}  // namespace fairlead::dra
