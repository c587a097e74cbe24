// SPDX-License-Identifier: Apache-2.0
// The images that pods can name: two made from the machine's own files when first used, and those given as
// folders or OCI layouts.
//
//   busybox   Debian's static busybox with its applets
//   iproute2  the machine's ip and bridge with their libraries, and busybox
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "drydock/node/oci_spec.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/result.h"

namespace drydock {

struct Image {
  std::string rootfs;  // read-only by agreement: containers get an overlay over it
  ImageConfig config;
};

/// "docker.io/library/busybox:1.36@sha256:..." -> "busybox"; "ghcr.io/a/b:1" -> "a/b".
std::string short_image_name(std::string_view reference);

/// Any thread.
class ImageStore {
 public:
  /// `folder` is where images are made; `given` maps a name to a root file system or an OCI layout.
  ImageStore(std::string folder, std::map<std::string, std::string> given);

  /// kInvalid for a name that is neither built in nor given: the sentence says how to give it.
  fairlead::Result<Image> get(const std::string& reference);

 private:
  fairlead::Result<Image> make(const std::string& reference) FL_REQUIRES(mutex_);

  const std::string folder_;
  const std::map<std::string, std::string> given_;
  fairlead::Mutex mutex_;
  std::map<std::string, Image> made_ FL_GUARDED_BY(mutex_);
};

/// Unpacks an OCI image layout (image-spec image-layout.md): the first image of index.json that fits this
/// machine, its layers in order, whiteouts honoured.
fairlead::Result<Image> unpack_oci_layout(const std::string& layout, const std::string& rootfs);

}  // namespace drydock
