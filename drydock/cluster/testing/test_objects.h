// SPDX-License-Identifier: Apache-2.0
// Objects for tests.
#pragma once

#include <string>

#include "drydock/cluster/api_error.h"

namespace drydock::testing {

inline Json device(const std::string& name, const Json& attributes = Json::object()) {
  return {{"name", name}, {"attributes", attributes}};
}

inline Json slice(const std::string& name, const std::string& driver, const Json& devices) {
  return {{"metadata", {{"name", name}}},
          {"spec",
           {{"driver", driver},
            {"nodeName", "drydock"},
            {"pool", {{"name", "drydock"}, {"generation", 1}, {"resourceSliceCount", 1}}},
            {"devices", devices}}}};
}

inline Json device_class(const std::string& name, const std::string& expression) {
  const Json selector = {{"cel", {{"expression", expression}}}};
  return {{"metadata", {{"name", name}}}, {"spec", {{"selectors", Json::array({selector})}}}};
}

inline Json exactly(const std::string& name, Json request) {
  return {{"name", name}, {"exactly", std::move(request)}};
}

inline Json claim(const std::string& name, const Json& requests) {
  return {{"metadata", {{"name", name}, {"namespace", "default"}}},
          {"spec", {{"devices", {{"requests", requests}}}}}};
}

/// netdev-virtual as multi-interface drivers publish it.
inline Json virtual_device(const std::string& slots) {
  return {{"name", "netdev-virtual"},
          {"allowMultipleAllocations", true},
          {"attributes", {{"type", {{"string", "netdev"}}}}},
          {"capacity", {{"slots", {{"value", slots}, {"requestPolicy", {{"default", "1"}}}}}}}};
}

}  // namespace drydock::testing
