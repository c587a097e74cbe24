// SPDX-License-Identifier: Apache-2.0
// Converts an unsuccessful HTTP response, Kubernetes' Status object, to an Error. Internal to kube. Pure.
#pragma once

#include <string_view>

#include "fairlead/core/result.h"

namespace fairlead::kube {

/// `status` is an HTTP status of 300 or more, or the `code` of a Status; `body` is the response body,
/// normally a Status (apimachinery, meta/v1 types.go). The sentence is the server's message, with the field
/// paths of its causes added if it does not name them, and the status.
Error error_of_status(int status, std::string_view body);

/// The object of a watch's ERROR event.
Error error_of_watch_event(std::string_view status_object);

}  // namespace fairlead::kube
