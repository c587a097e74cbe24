// SPDX-License-Identifier: Apache-2.0
// What the other claims of this node have of its links, as the plan of a device asks for it: what one of them has
// may be something that cannot be had twice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "fairlead/devices/kind.h"
#include "fairlead/sys/inventory.h"

namespace fairlead::devices {

/// A device of another claim, with what it has.
struct OtherDevice {
  std::shared_ptr<const PlannedClaim> claim;
  std::size_t index = 0;  // in PlannedClaim::devices
  bool whole = false;     // it has the link for itself; else others may use it, too
  std::string value;      // find_other_value(): what it has

  [[nodiscard]] const DevicePlan& plan() const { return claim->devices[index]; }
};

/// What a claim has of a link.
enum class LinkShare : std::uint8_t {
  kAny,
  kWhole,  // for itself
  kLent,   // the same, and the link leaves the node
};

/// Each question costs what there is on the links concerned, whatever the number of claims: `is_link` is asked once
/// for each link that claims have, as it was when they were planned. Of several devices the answer is that of the
/// claim with the first uid.
class OtherClaims {
 public:
  using IsLink = std::function<bool(const sys::InventoryLink& was)>;

  OtherClaims() = default;
  virtual ~OtherClaims() = default;

  [[nodiscard]] virtual std::optional<OtherDevice> find_on(const IsLink& is_link, LinkShare share) const = 0;
  /// Who has `want` on the link: "address 192.0.2.5" (netdev::LinkUse::wants).
  [[nodiscard]] virtual std::optional<OtherDevice> find_want(const IsLink& is_link,
                                                             const std::string& want) const = 0;
  /// Who has another value than `value` where all on one link must agree (netdev::LinkUse::must_agree).
  [[nodiscard]] virtual std::optional<OtherDevice> find_other_value(const IsLink& is_link,
                                                                    const std::string& what,
                                                                    const std::string& value) const = 0;

 protected:
  OtherClaims(const OtherClaims&) = default;
  OtherClaims& operator=(const OtherClaims&) = default;
  OtherClaims(OtherClaims&&) = default;
  OtherClaims& operator=(OtherClaims&&) = default;
};

}  // namespace fairlead::devices
