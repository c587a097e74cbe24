// SPDX-License-Identifier: Apache-2.0
// JSON output shared by the codecs of resources/. Internal to kube. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "fairlead/kube/meta.h"

namespace fairlead::kube::json_write {

using Json = nlohmann::json;

/// Omits empty values.
void put(Json& object, const char* key, const std::string& value);
Json of_meta(const ObjectMeta& meta);
Json of_condition(const Condition& condition);
/// Text from the kernel may not be UTF-8: it must not make this throw.
std::string dump(const Json& document);

}  // namespace fairlead::kube::json_write
