// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/kinds/kinds.h"

namespace fairlead::netlink::kinds {
namespace {

/// Tries one kind after the other.
template <Kind... Ks>
std::optional<LinkKind> read_one_of(std::variant<Ks...>* /*list*/, std::string_view kind, IfIndex parent,
                                    codec::View data) {
  std::optional<LinkKind> found;
  const auto read_if_named = [&]<class K>() {
    if constexpr (ReadableKind<K>) {
      if (kind == K::kName) {
        found = K::read(parent, data);
      }
    }
  };
  (read_if_named.template operator()<Ks>(), ...);
  return found;
}

}  // namespace

std::string_view name(const LinkKind& kind) {
  return std::visit([](const auto& one) -> std::string_view { return one.kName; }, kind);
}

Result<> check(const LinkKind& kind) {
  return std::visit([](const auto& one) { return one.check(); }, kind);
}

IfIndex lower_link(const LinkKind& kind) {
  return std::visit([](const auto& one) { return one.lower_link(); }, kind);
}

void put(codec::Writer& writer, const LinkKind& kind) {
  std::visit([&](const auto& one) { one.put(writer); }, kind);
}

std::optional<LinkKind> read(std::string_view kind, IfIndex parent, codec::View data) {
  return read_one_of(static_cast<LinkKind*>(nullptr), kind, parent, data);
}

const VethPeer* peer_to_set_up(const LinkKind& kind) {
  const auto* veth = std::get_if<Veth>(&kind);
  return veth != nullptr && veth->peer.up ? &veth->peer : nullptr;
}

}  // namespace fairlead::netlink::kinds
