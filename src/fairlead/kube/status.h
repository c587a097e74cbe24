// SPDX-License-Identifier: Apache-2.0
// What an HTTP answer that is no success means: Kubernetes' Status object as Error. Internal to kube. Pure.
#pragma once

#include <string_view>

#include "fairlead/core/result.h"

namespace fairlead::kube {

/// `status` is an HTTP status of 300 or more, or the `code` of a Status; `body` whatever came with it, by
/// rule a Status (apimachinery, meta/v1 types.go). The sentence is the server's message, completed with the
/// field paths of its causes where it does not name them, and the status.
Error error_of_status(int status, std::string_view body);

/// The object of a watch's ERROR event.
Error error_of_watch_event(std::string_view status_object);

}  // namespace fairlead::kube
