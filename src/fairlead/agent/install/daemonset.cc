// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/install/daemonset.h"

#include <algorithm>
#include <array>
#include <chrono>

#include <nlohmann/json.hpp>

#include "fairlead/kube/client.h"

namespace fairlead::agent {
namespace {

constexpr std::chrono::seconds kAskTime{5};

DaemonSetFate fate_in(const std::string& body) {
  const auto object = nlohmann::json::parse(body, nullptr, false);
  const auto has = [&](const char* path) {
    return object.is_object() && object.contains(nlohmann::json::json_pointer(path));
  };
  if (has("/metadata/deletionTimestamp")) {
    return DaemonSetFate::kUninstalled;
  }
  const std::string annotation = std::string("/spec/template/metadata/annotations/") + kLinkMarksAnnotation;
  return has("/spec/template") && !has(annotation.c_str()) ? DaemonSetFate::kRolledBack
                                                           : DaemonSetFate::kStays;
}

}  // namespace

Result<> validate_daemonset(const std::string& daemonset) {
  const auto slash = daemonset.find('/');
  const bool two_parts = slash != std::string::npos && slash > 0 && slash + 1 < daemonset.size() &&
                         daemonset.find('/', slash + 1) == std::string::npos;
  const bool plain = std::ranges::all_of(daemonset, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '/';
  });
  if (!two_parts || !plain) {
    return Error(Code::kInvalid,
                 "--daemonset must be NAMESPACE/NAME of the DaemonSet that this program runs in, not \"" +
                     daemonset + "\"");
  }
  return {};
}

Result<DaemonSetFate> daemonset_fate(kube::Client& client, const std::string& daemonset) {
  FL_TRY(validate_daemonset(daemonset));
  const auto slash = daemonset.find('/');
  const std::string path =
      "/apis/apps/v1/namespaces/" + daemonset.substr(0, slash) + "/daemonsets/" + daemonset.substr(slash + 1);
  // Any status: a refusal by the server differs from a certificate that we refuse.
  FL_ASSIGN(const auto answer, client.request({.path = path}, {.timeout = kAskTime, .any_status = true}));
  constexpr std::array kGone = {401, 403, 404};
  if (std::ranges::find(kGone, answer.status) != kGone.end()) {
    return DaemonSetFate::kUninstalled;
  }
  if (answer.status / 100 == 2) {
    return fate_in(answer.body);
  }
  return Error(Code::kUnavailable, "the API server answered " + std::to_string(answer.status) +
                                       " to the question whether DaemonSet " + daemonset + " is there");
}

}  // namespace fairlead::agent
