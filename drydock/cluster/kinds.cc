// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/kinds.h"

#include <algorithm>
#include <array>

namespace drydock {
namespace {

constexpr std::array kAll{&kinds::kNode,          &kinds::kNamespace,
                          &kinds::kPod,           &kinds::kEvent,
                          &kinds::kConfigMap,     &kinds::kServiceAccount,
                          &kinds::kResourceSlice, &kinds::kDeviceClass,
                          &kinds::kResourceClaim, &kinds::kResourceClaimTemplate,
                          &kinds::kRole,          &kinds::kRoleBinding,
                          &kinds::kClusterRole,   &kinds::kClusterRoleBinding};

template <class Predicate>
const Kind* find_if(Predicate matches) {
  const auto* const it = std::ranges::find_if(kAll, [&](const Kind* kind) { return matches(*kind); });
  return it == kAll.end() ? nullptr : *it;
}

}  // namespace

std::string Kind::api_version() const {
  return group.empty() ? std::string(version) : std::string(group) + "/" + std::string(version);
}

std::string Kind::resource() const {
  return group.empty() ? std::string(plural) : std::string(plural) + "." + std::string(group);
}

std::span<const Kind* const> all_kinds() { return kAll; }

const Kind* find_kind(std::string_view api_version, std::string_view kind) {
  return find_if([&](const Kind& k) { return k.name == kind && k.api_version() == api_version; });
}

const Kind* find_plural(std::string_view group, std::string_view version, std::string_view plural) {
  return find_if(
      [&](const Kind& k) { return k.group == group && k.version == version && k.plural == plural; });
}

}  // namespace drydock
