// SPDX-License-Identifier: Apache-2.0
// The kinds of objects that drydock's API server keeps. A Kind is compared by address.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace drydock {

struct Kind {
  std::string_view group;  // "" for core
  std::string_view version;
  std::string_view plural;
  std::string_view name;
  bool namespaced = true;
  bool has_status = false;  // a /status sub-resource

  /// "v1", "resource.k8s.io/v1"
  [[nodiscard]] std::string api_version() const;
  /// "pods", "resourceclaims.resource.k8s.io": how kubectl's messages write it.
  [[nodiscard]] std::string resource() const;
};

namespace kinds {
inline constexpr Kind kNode{"", "v1", "nodes", "Node", false, true};
inline constexpr Kind kNamespace{"", "v1", "namespaces", "Namespace", false, false};
inline constexpr Kind kPod{"", "v1", "pods", "Pod", true, true};
inline constexpr Kind kEvent{"", "v1", "events", "Event", true, false};
inline constexpr Kind kConfigMap{"", "v1", "configmaps", "ConfigMap", true, false};
inline constexpr Kind kServiceAccount{"", "v1", "serviceaccounts", "ServiceAccount", true, false};
inline constexpr Kind kResourceSlice{"resource.k8s.io", "v1",  "resourceslices",
                                     "ResourceSlice",   false, false};
inline constexpr Kind kDeviceClass{"resource.k8s.io", "v1", "deviceclasses", "DeviceClass", false, false};
inline constexpr Kind kResourceClaim{"resource.k8s.io", "v1", "resourceclaims", "ResourceClaim", true, true};
inline constexpr Kind kResourceClaimTemplate{"resource.k8s.io",       "v1", "resourceclaimtemplates",
                                             "ResourceClaimTemplate", true, false};
inline constexpr std::string_view kRbac = "rbac.authorization.k8s.io";
inline constexpr Kind kRole{kRbac, "v1", "roles", "Role", true, false};
inline constexpr Kind kRoleBinding{kRbac, "v1", "rolebindings", "RoleBinding", true, false};
inline constexpr Kind kClusterRole{kRbac, "v1", "clusterroles", "ClusterRole", false, false};
inline constexpr Kind kClusterRoleBinding{kRbac, "v1", "clusterrolebindings", "ClusterRoleBinding",
                                          false, false};
}  // namespace kinds

std::span<const Kind* const> all_kinds();
/// Null when drydock does not keep such objects.
const Kind* find_kind(std::string_view api_version, std::string_view kind);
const Kind* find_plural(std::string_view group, std::string_view version, std::string_view plural);

}  // namespace drydock
