// SPDX-License-Identifier: Apache-2.0
// The REST semantics without HTTP: what a method on a path with a query and a body means. api_server.cc feeds
// it. Inside drydock_cluster only.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "drydock/cluster/store.h"

namespace drydock::rest {

struct Call {
  std::string method, path;
  std::multimap<std::string, std::string> query;
  std::string content_type, accept, body;

  [[nodiscard]] std::string param(const std::string& key) const;
};

struct Answer {
  int status = 200;
  Json body;
};

/// The kind, namespace, name and sub-resource of a path.
struct Target {
  const Kind* kind = nullptr;
  std::string ns, name, sub;
};
std::optional<Target> parse_path(std::string_view path);

struct WatchPlan {
  Target target;
  ListQuery query;
  std::optional<std::uint64_t> resource_version;
  bool bookmarks = false;
  std::chrono::seconds timeout{1800};
};
/// Not a watch: nothing. A watch that cannot be: the error.
ApiResult<std::optional<WatchPlan>> plan_watch(const Call& call);

/// Everything but watches: discovery, health, objects.
struct Access {
  std::vector<std::string> drop_fields;  // from what is written, at any depth
  Store::Review review;                  // of writes
};
ApiResult<Answer> answer(Store& store, const Call& call, const Access& access);

}  // namespace drydock::rest
