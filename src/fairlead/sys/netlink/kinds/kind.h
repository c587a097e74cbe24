// SPDX-License-Identifier: Apache-2.0
// What a file of this folder gives for its kind of link. kinds.h lists the kinds.
#pragma once

#include <concepts>
#include <optional>
#include <string_view>

#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/if_index.h"
#include "fairlead/sys/netlink/message.h"

namespace fairlead::netlink {

namespace codec {
class Writer;
}

namespace kinds {

/// A value that says how a link of one kind is to be created.
template <class K>
concept Kind = std::equality_comparable<K> && requires(const K& kind, codec::Writer& writer) {
  /// IFLA_INFO_KIND
  { K::kName } -> std::convertible_to<std::string_view>;
  /// kInvalid for what the kernel would misread, cut to fit or refuse without saying why.
  { kind.check() } -> std::same_as<Result<>>;
  /// IFLA_LINK; invalid when links of this kind have none.
  { kind.lower_link() } -> std::same_as<IfIndex>;
  /// Writes IFLA_INFO_DATA, or nothing.
  { kind.put(writer) } -> std::same_as<void>;
};

/// One of which a dump says how it was created: from the content of IFLA_INFO_DATA, nothing if that is damaged or has
/// values that are not known.
template <class K>
concept ReadableKind = Kind<K> && requires(IfIndex parent, codec::View data) {
  { K::read(parent, data) } -> std::same_as<std::optional<K>>;
};

}  // namespace kinds
}  // namespace fairlead::netlink
