// SPDX-License-Identifier: Apache-2.0
// How a kind of object is described to the generic code (resource.h, reflector.h).
//
// The generic code knows T only through ResourceTraits<T>, which is in T's own file below resources/. Another
// kind of object is another such file, here or in a program's own code: there is no list of them.
//
//   template <>
//   struct ResourceTraits<Lease> {
//     static constexpr ResourceType kType{
//         .group = "coordination.k8s.io", .version = "v1", .plural = "leases", .kind = "Lease"};
//     static Lease read(const JsonReader& in);
//     static std::string write(const Lease& lease);  // with apiVersion and kind; only for create() and update()
//   };
//
// read() may have a second parameter, `std::string_view text`: the object's own JSON text, for values that must be kept
// byte for byte (formats/json_text.h). For create(), update() and the reflector T has a member `ObjectMeta meta`.
#pragma once

#include <string>
#include <string_view>

#include "fairlead/formats/json_reader.h"
#include "fairlead/kube/meta.h"

namespace fairlead::kube {

struct ResourceType {
  std::string_view group;    // "resource.k8s.io"; empty: the core group
  std::string_view version;  // "v1"
  std::string_view plural;   // "resourceclaims", as in paths
  std::string_view kind;     // "ResourceClaim", as in errors
  bool namespaced = true;
};

template <class T>
struct ResourceTraits;

struct ObjectName {
  std::string namespace_;  // empty for objects of the cluster
  std::string name;
};

/// Which objects of one kind.
struct Selection {
  std::string namespace_;  // empty: all
  std::string field_selector, label_selector;
};

}  // namespace fairlead::kube
