// SPDX-License-Identifier: Apache-2.0
#include <sys/utsname.h>

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>
#include <vector>

#include "drydock/node/image_store.h"
#include "drydock/node/processes.h"
#include "fairlead/sys/files.h"

namespace drydock {
namespace {

namespace fs = std::filesystem;
namespace sys = fairlead::sys;
using nlohmann::json;

Error invalid(std::string what) { return {Code::kInvalid, std::move(what)}; }

/// GOARCH's word for this machine, as image-spec's platform.architecture uses it.
std::string architecture() {
  utsname names{};
  (void)::uname(&names);
  const std::string machine = names.machine;
  if (machine == "x86_64") {
    return "amd64";
  }
  return machine == "aarch64" ? "arm64" : machine;
}

Result<json> read_json(const std::string& path) {
  FL_ASSIGN(const auto text, sys::read_file(path));
  auto out = json::parse(text, nullptr, false);
  if (out.is_discarded()) {
    return invalid(path + " is not JSON");
  }
  return out;
}

/// blobs/<algorithm>/<hex>; a digest of another shape could lead out of the layout.
Result<std::string> blob_path(const std::string& layout, const json& descriptor) {
  const std::string digest = descriptor.value("digest", "");
  const auto colon = digest.find(':');
  const auto is_plain = [](std::string_view word) {
    return !word.empty() &&
           word.find_first_not_of("0123456789abcdefghijklmnopqrstuvwxyz") == std::string_view::npos;
  };
  if (colon == std::string::npos || !is_plain(digest.substr(0, colon)) ||
      !is_plain(digest.substr(colon + 1))) {
    return invalid("digest \"" + digest + "\" has not the form algorithm:hex");
  }
  return layout + "/blobs/" + digest.substr(0, colon) + "/" + digest.substr(colon + 1);
}

bool fits(const json& descriptor) {
  const auto platform = descriptor.find("platform");
  return platform == descriptor.end() || (platform->value("architecture", architecture()) == architecture() &&
                                          platform->value("os", "linux") == "linux");
}

/// Follows indexes (an index may list indexes) down to a manifest.
Result<json> find_manifest(const std::string& layout, json document) {
  for (int depth = 0; depth < 4 && document.contains("manifests"); ++depth) {
    const json* chosen = nullptr;
    for (const auto& descriptor : document["manifests"]) {
      if (chosen == nullptr && fits(descriptor)) {
        chosen = &descriptor;
      }
    }
    if (chosen == nullptr) {
      return invalid("no manifest for linux/" + architecture());
    }
    FL_ASSIGN(const auto path, blob_path(layout, *chosen));
    FL_ASSIGN(document, read_json(path));
  }
  if (!document.contains("layers") || !document.contains("config")) {
    return invalid("its manifest names no layers");
  }
  return document;
}

/// True when `path`, links followed, is inside `rootfs`: a layer must not make us delete the machine's files.
bool is_inside(const fs::path& path, const fs::path& rootfs) {
  std::error_code failed;
  const auto real = fs::weakly_canonical(path, failed).string();
  const auto base = fs::canonical(rootfs, failed).string();
  return !failed && (real == base || real.starts_with(base + "/"));
}

/// image-spec layer.md: ".wh.NAME" takes NAME of lower layers away, ".wh..wh..opq" all that is beside it.
Result<> apply_whiteout(const std::string& entry, const std::string& rootfs) {
  const fs::path path = fs::path(rootfs) / entry;
  const std::string name = path.filename();
  const fs::path parent = path.parent_path();
  if (!is_inside(parent, rootfs)) {
    return invalid("layer entry " + entry + " leads out of the image");
  }
  std::error_code failed;
  if (name == ".wh..wh..opq") {
    for (const auto& child : fs::directory_iterator(parent, failed)) {
      fs::remove_all(child, failed);
    }
    return {};
  }
  fs::remove_all(parent / name.substr(4), failed);
  return {};
}

Result<> apply_layer(const std::string& layer, const std::string& rootfs) {
  FL_ASSIGN(const auto listed, run({.argv = {"tar", "-tf", layer}}, std::chrono::minutes(2)));
  if (!listed.status.ok()) {
    return invalid("tar cannot read " + layer + ": " + listed.out.substr(0, 300));
  }
  std::istringstream lines(listed.out);
  for (std::string line; std::getline(lines, line);) {
    while (line.starts_with('/') || line.starts_with("./")) {
      line.erase(0, line.find('/') + 1);
    }
    if (fs::path(line).filename().string().starts_with(".wh.")) {
      FL_TRY(apply_whiteout(line, rootfs));
    }
  }
  FL_ASSIGN(const auto unpacked,
            run({.argv = {"tar", "-xpf", layer, "-C", rootfs, "--numeric-owner", "--exclude=.wh.*"}},
                std::chrono::minutes(5)));
  if (!unpacked.status.ok()) {
    return invalid("tar cannot unpack " + layer + ": " + unpacked.out.substr(0, 300));
  }
  return {};
}

std::vector<std::string> words(const json& config, const char* key) {
  const auto found = config.find(key);
  return found == config.end() || found->is_null() ? std::vector<std::string>()
                                                   : found->get<std::vector<std::string>>();
}

Result<Image> unpack(const std::string& layout, const std::string& rootfs) {
  FL_ASSIGN(auto index, read_json(layout + "/index.json"));
  FL_ASSIGN(const auto manifest, find_manifest(layout, std::move(index)));
  FL_TRY(sys::make_dirs(rootfs));
  for (const auto& descriptor : manifest["layers"]) {
    FL_ASSIGN(const auto path, blob_path(layout, descriptor));
    FL_TRY(apply_layer(path, rootfs));
  }
  FL_ASSIGN(const auto config_path, blob_path(layout, manifest["config"]));
  FL_ASSIGN(const auto document, read_json(config_path));
  const auto config = document.value("config", json::object());
  Image image{.rootfs = rootfs, .config = {}};
  image.config.entrypoint = words(config, "Entrypoint");
  image.config.command = words(config, "Cmd");
  image.config.env = words(config, "Env");
  image.config.working_folder = config.value("WorkingDir", "");
  return image;
}

}  // namespace

Result<Image> unpack_oci_layout(const std::string& layout, const std::string& rootfs) {
  try {
    auto image = unpack(layout, rootfs);
    if (!image) {
      return std::move(image).error().with("OCI layout " + layout);
    }
    return image;
  } catch (const std::exception& e) {
    return invalid("OCI layout " + layout + ": " + e.what());
  }
}

}  // namespace drydock
