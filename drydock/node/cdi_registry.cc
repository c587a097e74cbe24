// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/cdi_registry.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <set>
#include <utility>

#include "fairlead/core/text.h"
#include "fairlead/formats/cdi.h"
#include "fairlead/sys/files.h"

namespace drydock {
using fairlead::joined;
namespace {

namespace cdi = fairlead::cdi;
namespace sys = fairlead::sys;
using fairlead::Code;
using fairlead::Error;
using fairlead::Result;

struct Entry {
  std::shared_ptr<const cdi::Spec> spec;
  const cdi::Device* device = nullptr;
  std::string file;
  std::size_t priority = 0;
};

/// Everything the folders offer at one moment.
struct Catalogue {
  std::map<std::string, Entry> devices;
  std::set<std::string> conflicts;
  std::vector<std::string> trouble;  // one sentence per file that cannot be used, and per conflict
};

void add_device(Catalogue& catalogue, const std::string& name, Entry entry) {
  const auto found = catalogue.devices.find(name);
  if (found == catalogue.devices.end() || found->second.priority < entry.priority) {
    catalogue.conflicts.erase(name);
    catalogue.devices[name] = std::move(entry);
    return;
  }
  if (found->second.priority == entry.priority) {
    catalogue.conflicts.insert(name);
    catalogue.trouble.push_back("conflicting device \"" + name + "\" in " + found->second.file + " and " +
                                entry.file);
  }
}

void add_file(Catalogue& catalogue, const std::string& path, std::size_t priority) {
  if (path.ends_with(".yaml")) {
    catalogue.trouble.push_back(path + ": drydock reads CDI files in JSON only");
    return;
  }
  const auto text = sys::read_file(path);
  auto spec = text ? cdi::parse(*text) : Result<cdi::Spec>(text.error());
  if (!spec) {
    catalogue.trouble.push_back(path + ": " + spec.error().what());
    return;
  }
  const auto shared = std::make_shared<const cdi::Spec>(*std::move(spec));
  for (const auto& device : shared->devices) {
    add_device(catalogue, shared->kind + "=" + device.name,
               {.spec = shared, .device = &device, .file = path, .priority = priority});
  }
}

bool is_cdi_name(const std::string& name) { return name.ends_with(".json") || name.ends_with(".yaml"); }

Result<Catalogue> read_folders(const std::vector<std::string>& folders) {
  Catalogue out;
  for (std::size_t priority = 0; priority < folders.size(); ++priority) {
    FL_ASSIGN(const auto names, sys::list_dir(folders[priority]));
    for (const auto& name : names) {
      if (is_cdi_name(name)) {
        add_file(out, folders[priority] + "/" + name, priority);
      }
    }
  }
  return out;
}

std::string device_type(mode_t mode) {
  if (S_ISBLK(mode)) {
    return "b";
  }
  if (S_ISCHR(mode)) {
    return "c";
  }
  return S_ISFIFO(mode) ? "p" : "";
}

Result<OciDevice> make_device(const cdi::DeviceNode& node, const OciSpec& spec) {
  OciDevice out{
      .path = node.path, .type = node.type, .access = node.permissions.empty() ? "rwm" : node.permissions};
  const std::string host = node.host_path.empty() ? node.path : node.host_path;
  out.file_mode = node.file_mode;
  const bool complete = !node.type.empty() && (node.major.has_value() || node.type == "p");
  if (!complete) {
    struct stat info{};
    if (::stat(host.c_str(), &info) != 0) {
      return Error::from_errno(errno, "failed to stat CDI host device \"" + host + "\"");
    }
    const auto found = device_type(info.st_mode);
    if (found.empty()) {
      return Error(Code::kInvalid, "failed to stat CDI host device \"" + host + "\": not a device node");
    }
    if (!node.type.empty() && node.type != found) {
      return Error(Code::kInvalid, "CDI device (\"" + node.path + "\", \"" + host +
                                       "\"), host type mismatch (" + node.type + ", " + found + ")");
    }
    out.type = found;
    out.major = ::major(info.st_rdev);
    out.minor = ::minor(info.st_rdev);
    out.file_mode = node.file_mode.value_or(info.st_mode & 07777U);
  }
  out.major = node.major.value_or(out.major);
  out.minor = node.minor.value_or(out.minor);
  out.uid = node.uid.value_or(spec.uid);
  out.gid = node.gid.value_or(spec.gid);
  return out;
}

std::ptrdiff_t depth(const std::string& path) {
  return std::count(path.begin(), path.end(), '/') - (path.ends_with('/') ? 1 : 0);
}

Result<> apply_edits(const cdi::ContainerEdits& edits, OciSpec& spec) {
  for (const auto& entry : edits.env) {
    set_env(spec.env, entry);
  }
  for (const auto& node : edits.device_nodes) {
    FL_ASSIGN(auto device, make_device(node, spec));
    std::erase_if(spec.devices, [&](const OciDevice& d) { return d.path == device.path; });
    spec.devices.push_back(std::move(device));
  }
  for (const auto& device : edits.net_devices) {
    spec.net_devices[device.host_interface_name] = device.name;
  }
  for (const auto& mount : edits.mounts) {
    std::erase_if(spec.mounts, [&](const OciMount& m) { return m.destination == mount.container_path; });
    spec.mounts.push_back({mount.container_path, mount.type, mount.host_path, mount.options});
  }
  for (const auto& hook : edits.hooks) {
    spec.hooks[hook.hook_name].push_back(
        {.path = hook.path, .args = hook.args, .env = hook.env, .timeout_seconds = hook.timeout_seconds});
  }
  for (const auto gid : edits.additional_gids) {
    if (gid != 0 && std::find(spec.additional_gids.begin(), spec.additional_gids.end(), gid) ==
                        spec.additional_gids.end()) {
      spec.additional_gids.push_back(gid);
    }
  }
  if (!edits.mounts.empty()) {
    std::stable_sort(spec.mounts.begin(), spec.mounts.end(), [](const OciMount& a, const OciMount& b) {
      return depth(a.destination) < depth(b.destination);
    });
  }
  return {};
}

}  // namespace

Result<> CdiRegistry::inject(const std::vector<std::string>& devices, OciSpec& spec) const {
  if (devices.empty()) {
    return {};
  }
  FL_ASSIGN(const auto catalogue, read_folders(folders_));
  std::vector<std::string> unresolvable;
  for (const auto& name : devices) {
    if (!catalogue.devices.contains(name) || catalogue.conflicts.contains(name)) {
      unresolvable.push_back(name);
    }
  }
  if (!unresolvable.empty()) {
    std::string text = "unresolvable CDI devices " + joined(unresolvable, ", ");
    if (!catalogue.trouble.empty()) {
      text += " (" + joined(catalogue.trouble, "; ") + ")";
    }
    return Error(Code::kNotFound, std::move(text));
  }
  std::set<const cdi::Spec*> seen;
  for (const auto& name : devices) {
    const auto& entry = catalogue.devices.at(name);
    if (seen.insert(entry.spec.get()).second) {
      FL_TRY(apply_edits(entry.spec->edits, spec), name);
    }
    FL_TRY(apply_edits(entry.device->edits, spec), name);
  }
  return {};
}

Result<std::vector<std::string>> CdiRegistry::files() const {
  std::vector<std::string> out;
  for (const auto& folder : folders_) {
    FL_ASSIGN(const auto names, sys::list_dir(folder));
    for (const auto& name : names) {
      if (is_cdi_name(name)) {
        out.push_back((folder + "/").append(name));
      }
    }
  }
  return out;
}

}  // namespace drydock
