// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/discovery.h"

#include <algorithm>
#include <cctype>
#include <map>

#include "drydock/cluster/kinds.h"

namespace drydock::rest {
namespace {

/// group -> version, core left out.
std::map<std::string, std::string> groups() {
  std::map<std::string, std::string> found;
  for (const Kind* kind : all_kinds()) {
    if (!kind->group.empty()) {
      found[std::string(kind->group)] = kind->version;
    }
  }
  return found;
}

Json group_body(const std::string& name, const std::string& version) {
  const Json entry = {{"groupVersion", name + "/" + version}, {"version", version}};
  return {{"name", name}, {"versions", {entry}}, {"preferredVersion", entry}};
}

Json resources_body(std::string_view group, std::string_view version) {
  Json list = Json::array();
  std::string group_version;
  for (const Kind* kind : all_kinds()) {
    if (kind->group != group || kind->version != version) {
      continue;
    }
    group_version = kind->api_version();
    std::string singular(kind->name);
    std::ranges::transform(singular, singular.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    list.push_back(
        {{"name", kind->plural},
         {"singularName", singular},
         {"namespaced", kind->namespaced},
         {"kind", kind->name},
         {"verbs", {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}}});
    if (kind->has_status) {
      list.push_back({{"name", std::string(kind->plural) + "/status"},
                      {"singularName", ""},
                      {"namespaced", kind->namespaced},
                      {"kind", kind->name},
                      {"verbs", {"get", "patch", "update"}}});
    }
  }
  if (list.empty()) {
    return {};
  }
  return {{"kind", "APIResourceList"},
          {"apiVersion", "v1"},
          {"groupVersion", group_version},
          {"resources", list}};
}

Json version_body() {
  return {{"major", "1"},        {"minor", "36"},      {"gitVersion", "v1.36.0+drydock"},
          {"gitCommit", ""},     {"gitTreeState", ""}, {"buildDate", "1970-01-01T00:00:00Z"},
          {"goVersion", "none"}, {"compiler", "none"}, {"platform", "linux"}};
}

}  // namespace

std::vector<std::string> path_parts(std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    const auto slash = path.find('/');
    if (slash != 0) {
      parts.emplace_back(path.substr(0, slash));
    }
    if (slash == std::string_view::npos) {
      break;
    }
    path.remove_prefix(slash + 1);
  }
  return parts;
}

Json document(std::string_view path) {
  const auto parts = path_parts(path);
  if (path == "/version") {
    return version_body();
  }
  if (path == "/readyz" || path == "/healthz" || path == "/livez") {
    return "ok";
  }
  if (parts.size() == 1 && parts[0] == "api") {
    return {{"kind", "APIVersions"}, {"versions", {"v1"}}, {"serverAddressByClientCIDRs", Json::array()}};
  }
  if (parts.size() == 2 && parts[0] == "api") {
    return resources_body("", parts[1]);
  }
  if (parts.empty() || parts[0] != "apis") {
    return {};
  }
  if (parts.size() == 3) {
    return resources_body(parts[1], parts[2]);
  }
  Json list = Json::array();
  for (const auto& [name, version] : groups()) {
    list.push_back(group_body(name, version));
    if (parts.size() == 2 && parts[1] == name) {
      Json body = list.back();
      body["kind"] = "APIGroup";
      body["apiVersion"] = "v1";
      return body;
    }
  }
  return parts.size() == 1 ? Json{{"kind", "APIGroupList"}, {"apiVersion", "v1"}, {"groups", list}} : Json();
}

}  // namespace drydock::rest
