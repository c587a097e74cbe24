// SPDX-License-Identifier: Apache-2.0
// core/v1 Event: a message for people about an object.
#pragma once

#include <cstdint>
#include <string>

#include "fairlead/kube/resource_type.h"

namespace fairlead::kube {

struct Event {
  ObjectMeta meta;  // name and the object's namespace
  struct {
    std::string api_version, kind, namespace_, name, uid;
  } about;
  std::string type;                   // "Normal", "Warning"
  std::string reason;                 // one CamelCase word, at most 128 bytes
  std::string message;                // at most 1024 bytes
  std::string component, host;        // the reporter
  std::string first_seen, last_seen;  // RFC 3339
  std::int64_t count = 1;
};

template <>
struct ResourceTraits<Event> {
  static constexpr ResourceType kType{.group = "", .version = "v1", .plural = "events", .kind = "Event"};
  static Event read(const JsonReader& in);
  static std::string write(const Event& event);
};

/// A merge patch of the fields that change when it happens again: count and lastTimestamp.
std::string event_patch(const Event& event);

}  // namespace fairlead::kube
