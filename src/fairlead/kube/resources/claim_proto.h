// SPDX-License-Identifier: Apache-2.0
// A claim in Kubernetes' protobuf form, changed in one place and otherwise kept byte for byte. Internal to
// kube. Pure.
//
// Why: the API server compares the opaque parameters inside status.allocation as bytes and refuses any change
// of them. Parameters keep the form in which they were written (spaces, order of keys), but every kind of
// JSON write loses it: apply sorts the keys, patches and PUT drop the spaces. If a claim's parameters are not
// in the form that kubectl sends, its status can only be written in protobuf, which carries them unchanged.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/kube/resources/claim_status.h"

namespace fairlead::kube {

/// The media type, for Accept and Content-Type.
inline constexpr const char* kProtobufType = "application/vnd.kubernetes.protobuf";

/// `object` with all status.devices of `driver` replaced by `devices`. kNotFound: its uid is not `uid`;
/// kCorrupt: not a resource.k8s.io/v1 ResourceClaim in protobuf.
Result<std::string> replace_claim_devices(std::string_view object, std::string_view uid,
                                          std::string_view driver, const std::vector<DeviceStatus>& devices);

/// The error response to a request in protobuf: a v1 Status in the same form.
struct ProtoStatus {
  std::string reason;   // "NotFound"
  std::string message;  // a sentence
};
/// nullopt for anything else.
std::optional<ProtoStatus> read_proto_status(std::string_view body);

}  // namespace fairlead::kube
