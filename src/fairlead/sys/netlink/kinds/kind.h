// SPDX-License-Identifier: Apache-2.0
// The interface of a file of this folder for its kind of link. kinds.h lists the kinds.
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

/// A value that describes how a link of one kind is created.
template <class K>
concept Kind = std::equality_comparable<K> && requires(const K& kind, codec::Writer& writer) {
  /// IFLA_INFO_KIND
  { K::kName } -> std::convertible_to<std::string_view>;
  /// kInvalid for values that the kernel would misread, truncate or refuse without a reason.
  { kind.check() } -> std::same_as<Result<>>;
  /// IFLA_LINK; invalid when links of this kind have none.
  { kind.lower_link() } -> std::same_as<IfIndex>;
  /// Writes IFLA_INFO_DATA, or nothing if the kind has none.
  { kind.put(writer) } -> std::same_as<void>;
};

/// A kind whose parameters a dump contains: from the content of IFLA_INFO_DATA, nullopt if that is damaged or
/// has unknown values.
template <class K>
concept ReadableKind = Kind<K> && requires(IfIndex parent, codec::View data) {
  { K::read(parent, data) } -> std::same_as<std::optional<K>>;
};

}  // namespace kinds
}  // namespace fairlead::netlink
