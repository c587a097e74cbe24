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
inline constexpr Kind kNode{
    .group = "", .version = "v1", .plural = "nodes", .name = "Node", .namespaced = false, .has_status = true};
inline constexpr Kind kNamespace{.group = "",
                                 .version = "v1",
                                 .plural = "namespaces",
                                 .name = "Namespace",
                                 .namespaced = false,
                                 .has_status = false};
inline constexpr Kind kPod{
    .group = "", .version = "v1", .plural = "pods", .name = "Pod", .namespaced = true, .has_status = true};
inline constexpr Kind kEvent{.group = "",
                             .version = "v1",
                             .plural = "events",
                             .name = "Event",
                             .namespaced = true,
                             .has_status = false};
inline constexpr Kind kConfigMap{.group = "",
                                 .version = "v1",
                                 .plural = "configmaps",
                                 .name = "ConfigMap",
                                 .namespaced = true,
                                 .has_status = false};
inline constexpr Kind kServiceAccount{.group = "",
                                      .version = "v1",
                                      .plural = "serviceaccounts",
                                      .name = "ServiceAccount",
                                      .namespaced = true,
                                      .has_status = false};
inline constexpr Kind kResourceSlice{.group = "resource.k8s.io",
                                     .version = "v1",
                                     .plural = "resourceslices",
                                     .name = "ResourceSlice",
                                     .namespaced = false,
                                     .has_status = false};
inline constexpr Kind kDeviceClass{.group = "resource.k8s.io",
                                   .version = "v1",
                                   .plural = "deviceclasses",
                                   .name = "DeviceClass",
                                   .namespaced = false,
                                   .has_status = false};
inline constexpr Kind kResourceClaim{.group = "resource.k8s.io",
                                     .version = "v1",
                                     .plural = "resourceclaims",
                                     .name = "ResourceClaim",
                                     .namespaced = true,
                                     .has_status = true};
inline constexpr Kind kResourceClaimTemplate{.group = "resource.k8s.io",
                                             .version = "v1",
                                             .plural = "resourceclaimtemplates",
                                             .name = "ResourceClaimTemplate",
                                             .namespaced = true,
                                             .has_status = false};
inline constexpr std::string_view kRbac = "rbac.authorization.k8s.io";
inline constexpr Kind kRole{.group = kRbac,
                            .version = "v1",
                            .plural = "roles",
                            .name = "Role",
                            .namespaced = true,
                            .has_status = false};
inline constexpr Kind kRoleBinding{.group = kRbac,
                                   .version = "v1",
                                   .plural = "rolebindings",
                                   .name = "RoleBinding",
                                   .namespaced = true,
                                   .has_status = false};
inline constexpr Kind kClusterRole{.group = kRbac,
                                   .version = "v1",
                                   .plural = "clusterroles",
                                   .name = "ClusterRole",
                                   .namespaced = false,
                                   .has_status = false};
inline constexpr Kind kClusterRoleBinding{.group = kRbac,
                                          .version = "v1",
                                          .plural = "clusterrolebindings",
                                          .name = "ClusterRoleBinding",
                                          .namespaced = false,
                                          .has_status = false};
}  // namespace kinds

std::span<const Kind* const> all_kinds();
/// Null when drydock does not keep such objects.
const Kind* find_kind(std::string_view api_version, std::string_view kind);
const Kind* find_plural(std::string_view group, std::string_view version, std::string_view plural);

}  // namespace drydock
