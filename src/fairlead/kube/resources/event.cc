// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/resources/event.h"

#include <nlohmann/json.hpp>

#include "fairlead/kube/json_write.h"

namespace fairlead::kube {

using json_write::dump;

Event ResourceTraits<Event>::read(const JsonReader& in) {
  const JsonReader about = in.object("involvedObject");
  const JsonReader source = in.object("source");
  return {.meta = read_meta(in.object("metadata")),
          .about = {.api_version = about.string("apiVersion"),
                    .kind = about.string("kind"),
                    .namespace_ = about.string("namespace"),
                    .name = about.string("name"),
                    .uid = about.string("uid")},
          .type = in.string("type"),
          .reason = in.string("reason"),
          .message = in.string("message"),
          .component = source.string("component"),
          .host = source.string("host"),
          .first_seen = in.string("firstTimestamp"),
          .last_seen = in.string("lastTimestamp"),
          .count = in.integer("count", 1)};
}

std::string ResourceTraits<Event>::write(const Event& event) {
  return dump({{"apiVersion", "v1"},
               {"kind", "Event"},
               {"metadata", {{"name", event.meta.name}, {"namespace", event.meta.namespace_}}},
               {"involvedObject",
                {{"apiVersion", event.about.api_version},
                 {"kind", event.about.kind},
                 {"namespace", event.about.namespace_},
                 {"name", event.about.name},
                 {"uid", event.about.uid}}},
               {"type", event.type},
               {"reason", event.reason},
               {"message", event.message},
               {"source", {{"component", event.component}, {"host", event.host}}},
               {"reportingComponent", event.component},
               {"reportingInstance", event.host},
               {"firstTimestamp", event.first_seen},
               {"lastTimestamp", event.last_seen},
               {"count", event.count}});
}

std::string event_patch(const Event& event) {
  return dump({{"count", event.count}, {"lastTimestamp", event.last_seen}});
}

}  // namespace fairlead::kube
