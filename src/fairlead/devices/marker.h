// SPDX-License-Identifier: Apache-2.0
// How a link that we made or took says whose it is, and which of the two, in the kernel itself: by its alias
// (IFLA_IFALIAS). It survives our death and the link's moves between namespaces.
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
  /// Of a device of several parts (DevicePlan::parts), the index of the part.
  std::optional<std::size_t> part = {};

  /// "fairlead:<driver>:<claim uid>/<index>", of a part "<index>.<part>": how the others begin, and all that
  /// version 0.1 wrote.
  [[nodiscard]] std::string alias() const;
  /// Of a link that we made: alias() + "/made".
  [[nodiscard]] std::string made_alias() const;
  /// Of the end of a veth pair of ours that stays on the node: alias() + "/host".
  [[nodiscard]] std::string host_alias() const;
  /// Of a link of the node that a claim has, with what it was called and its own alias: alias() +
  /// "/lent:<name>:<alias>", without the latter when the kernel's 255 bytes do not hold that too.
  [[nodiscard]] std::string lent_alias(std::string_view name, std::string_view own_alias) const;
  /// Whether the alias is this device's, other than host_alias().
  [[nodiscard]] bool marks(std::string_view alias) const;
  /// A link's name in the node's namespace while it waits to be moved: "fl" and twelve hex digits.
  [[nodiscard]] std::string transit_name() const;
  /// The name of a veth pair's host end: "flh" and twelve hex digits.
  [[nodiscard]] std::string host_name() const;

  /// The link's group (IFLA_GROUP), which identifies the owner from the link's creation on, when the kernel
  /// does not accept an alias yet. Not 0. Reset when the alias is set.
  [[nodiscard]] std::uint32_t birth_group() const;

  /// Parses any of these; nullopt for any other text.
  static std::optional<Marker> parse(std::string_view alias);
  friend bool operator==(const Marker&, const Marker&) = default;
};

/// The parsed alias of a link that fairlead marked. A pod can change the alias of a link that it has.
struct MarkedLink {
  enum class Origin : std::uint8_t {
    kMade,     // created by fairlead: to be deleted
    kHostEnd,  // the same
    kLent,     // taken from the node: to be returned, never deleted
    kUnknown,  // either: version 0.1 marked both the same way
  };
  Marker marker;
  Origin origin = Origin::kUnknown;
  std::string name, alias;  // kLent: its own; the alias is empty when it had none, or a long one

  static std::optional<MarkedLink> parse(std::string_view alias);
};

/// The alias of a NIC that was returned to the node and fully restored except for its name, which another
/// link has.
struct NameWanted {
  std::string driver;
  std::string name;
  std::string alias;  // the NIC's own

  /// "fairlead-wants-name:<driver>:<name>:<alias>", without the alias when the kernel's 255 bytes do not hold
  /// that too.
  [[nodiscard]] std::string text() const;
  /// Parses text(); nullopt for any other text.
  static std::optional<NameWanted> parse(std::string_view alias);
  friend bool operator==(const NameWanted&, const NameWanted&) = default;
};

}  // namespace fairlead::devices
