// SPDX-License-Identifier: Apache-2.0
// The documents of the API server that describe itself: versions, groups, resources, health. Inside drydock_cluster
// only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "drydock/cluster/api_error.h"

namespace drydock::rest {

/// "/api//v1" has the parts "api" and "v1".
std::vector<std::string> path_parts(std::string_view path);

/// Null if the path is not one of the documents. A string is plain text.
Json document(std::string_view path);

}  // namespace drydock::rest
