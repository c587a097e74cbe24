// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/image_store.h"

#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <sstream>
#include <utility>
#include <vector>

#include "drydock/node/processes.h"
#include "fairlead/sys/files.h"

namespace drydock {
namespace {

namespace fs = std::filesystem;
namespace sys = fairlead::sys;
using std::chrono::seconds;

Result<> failed_on(const std::error_code& failed, const std::string& what) {
  if (failed) {
    return Error::from_errno(failed.value(), what);
  }
  return {};
}

Result<> copy_program(const std::string& from, const std::string& rootfs, const std::string& to) {
  const fs::path target = rootfs + to;
  FL_TRY(sys::make_dirs(target.parent_path()));
  std::error_code failed;
  fs::remove(target, failed);
  fs::copy_file(from, target, failed);
  return failed_on(failed, "copy " + from + " into an image");
}

/// The libraries of a dynamic program, with the loader; none for a static one.
std::vector<std::string> libraries_of(const std::string& program) {
  const auto listed = run({.argv = {"ldd", program}, .env = {{"LC_ALL", "C"}}}, seconds(10));
  std::vector<std::string> out;
  if (!listed || !listed->status.ok()) {
    return out;
  }
  // "libmnl.so.0 => /lib/x86_64-linux-gnu/libmnl.so.0 (0x...)" or "/lib64/ld-linux-x86-64.so.2 (0x...)"
  std::istringstream words(listed->out);
  for (std::string word; words >> word;) {
    if (word.starts_with('/')) {
      out.push_back(word);
    }
  }
  return out;
}

Result<> add_program(const std::string& name, const std::string& rootfs, const std::string& to) {
  const auto program = find_program({name});
  if (!program) {
    return Error(Code::kNotFound, "this machine has no \"" + name + "\" to make the image from");
  }
  FL_TRY(copy_program(*program, rootfs, to));
  for (const auto& library : libraries_of(*program)) {
    FL_TRY(copy_program(library, rootfs, library));
  }
  return {};
}

Result<> make_base(const std::string& rootfs) {
  for (const std::string folder :
       {"/bin", "/sbin", "/usr/bin", "/usr/sbin", "/etc", "/proc", "/sys", "/dev", "/run", "/var", "/home"}) {
    FL_TRY(sys::make_dirs(rootfs + folder));
  }
  FL_TRY(sys::make_dirs(rootfs + "/root", 0700));
  FL_TRY(sys::make_dirs(rootfs + "/tmp"));
  (void)::chmod((rootfs + "/tmp").c_str(), 01777);
  FL_TRY(sys::replace_file(rootfs + "/etc", "passwd",
                           "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n",
                           0644));
  return sys::replace_file(rootfs + "/etc", "group", "root:x:0:\nnogroup:x:65534:\n", 0644);
}

Result<> add_busybox(const std::string& rootfs) {
  FL_TRY(make_base(rootfs));
  FL_TRY(add_program("busybox", rootfs, "/bin/busybox"));
  FL_ASSIGN(const auto applets, run({.argv = {"busybox", "--list-full"}}, seconds(10)));
  std::istringstream lines(applets.out);
  for (std::string line; std::getline(lines, line);) {
    const fs::path link = rootfs + "/" + line;
    std::error_code failed;
    if (line.empty() || line.starts_with('/') || fs::exists(fs::symlink_status(link, failed))) {
      continue;
    }
    fs::create_directories(link.parent_path(), failed);
    fs::create_symlink("/bin/busybox", link, failed);
    FL_TRY(failed_on(failed, "link applet " + line));
  }
  return {};
}

Result<Image> make_busybox(const std::string& rootfs) {
  FL_TRY(add_busybox(rootfs));
  return Image{.rootfs = rootfs, .config = {.command = {"sh"}}};
}

Result<Image> make_iproute2(const std::string& rootfs) {
  FL_TRY(add_busybox(rootfs));
  FL_TRY(add_program("ip", rootfs, "/sbin/ip"));
  FL_TRY(add_program("bridge", rootfs, "/sbin/bridge"));
  // Debian's busybox shell runs its own applets before anything in PATH, so its "ip" would win.
  FL_TRY(add_program("sh", rootfs, "/bin/sh"));
  return Image{.rootfs = rootfs, .config = {.command = {"sh"}}};
}

}  // namespace

std::string short_image_name(std::string_view reference) {
  std::string name(reference.substr(0, reference.find('@')));
  if (const auto colon = name.rfind(':');
      colon != std::string::npos && name.find('/', colon) == std::string::npos) {
    name.resize(colon);
  }
  // The first part is a registry when it looks like a host name (distribution's reference grammar).
  if (const auto slash = name.find('/'); slash != std::string::npos) {
    const auto head = name.substr(0, slash);
    if (head.find_first_of(".:") != std::string::npos || head == "localhost") {
      name.erase(0, slash + 1);
    }
  }
  if (name.starts_with("library/")) {
    name.erase(0, 8);
  }
  return name;
}

ImageStore::ImageStore(std::string folder, std::map<std::string, std::string> given)
    : folder_(std::move(folder)), given_(std::move(given)) {}

Result<Image> ImageStore::get(const std::string& reference) {
  const fairlead::Lock lock(mutex_);
  if (const auto found = made_.find(reference); found != made_.end()) {
    return found->second;
  }
  FL_ASSIGN(auto image, make(reference));
  made_.emplace(reference, image);
  return image;
}

Result<Image> ImageStore::make(const std::string& reference) {
  const auto name = short_image_name(reference);
  const std::string rootfs = folder_ + "/" + std::to_string(made_.size()) + "/rootfs";
  for (const auto& [given, path] : given_) {
    if (given != reference && short_image_name(given) != name) {
      continue;
    }
    struct stat info{};
    if (::stat((path + "/index.json").c_str(), &info) == 0) {
      auto image = unpack_oci_layout(path, rootfs);
      return image ? std::move(image) : Result<Image>(std::move(image).error().with("image " + reference));
    }
    if (::stat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
      return Error(Code::kNotFound, "image " + reference + ": " + path + " is not a folder");
    }
    return Image{.rootfs = path, .config = {}};
  }
  if (name == "busybox") {
    return make_busybox(rootfs);
  }
  if (name == "iproute2") {
    return make_iproute2(rootfs);
  }
  return Error(Code::kInvalid, "there is no image \"" + reference +
                                   "\" on this node (it has busybox and iproute2; give others as --image " +
                                   name + "=FOLDER, a root file system or an OCI layout)");
}

}  // namespace drydock
