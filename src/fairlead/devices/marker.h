// SPDX-License-Identifier: Apache-2.0
// How a link that we made or took says whose it is, in the kernel itself: by its alias (IFLA_IFALIAS). It
// survives our death and the link's moves between namespaces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fairlead::devices {

/// One device of one claim of one driver.
struct Marker {
  std::string driver;
  std::string claim_uid;
  std::size_t index = 0;  // of the device in the claim

  /// "fairlead:<driver>:<claim uid>/<index>". The kernel takes up to 255 bytes.
  [[nodiscard]] std::string alias() const;
  /// The same for the end of a veth pair that stays on the node: "fairlead:<driver>:<claim
  /// uid>/<index>/host".
  [[nodiscard]] std::string host_alias() const;
  /// A link's name in the node's namespace while it waits to be moved: "fl" and twelve hex digits.
  [[nodiscard]] std::string transit_name() const;
  /// The name of a veth pair's host end: "flh" and twelve hex digits.
  [[nodiscard]] std::string host_name() const;

  /// What tells whose a link is from its birth on, as its group (IFLA_GROUP): the kernel takes no alias then.
  /// Not 0. It goes when the alias comes.
  [[nodiscard]] std::uint32_t birth_group() const;

  /// From alias() or host_alias(); nothing for any other text.
  static std::optional<Marker> parse(std::string_view alias);
  friend bool operator==(const Marker&, const Marker&) = default;
};

/// The alias of a NIC that is home and has everything back but its name, which another link has.
struct NameWanted {
  std::string driver;
  std::string name;
  std::string alias;  // the NIC's own

  /// "fairlead-wants-name:<driver>:<name>:<alias>", without the alias when the kernel's 255 bytes do not hold
  /// that too.
  [[nodiscard]] std::string text() const;
  /// From text(); nothing for any other text.
  static std::optional<NameWanted> parse(std::string_view alias);
  friend bool operator==(const NameWanted&, const NameWanted&) = default;
};

}  // namespace fairlead::devices
