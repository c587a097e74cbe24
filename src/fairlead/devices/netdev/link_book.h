// SPDX-License-Identifier: Apache-2.0
// The claims that have links of the node, by link and by what cannot be had twice on one.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/devices/kind.h"
#include "fairlead/devices/netdev/link_use.h"
#include "fairlead/devices/other_claims.h"

namespace fairlead::devices::netdev {

/// One thread at a time.
class LinkBook final : public OtherClaims {
 public:
  using ClaimPtr = std::shared_ptr<const PlannedClaim>;

  void add(const ClaimPtr& claim);
  /// Only its device `index`: the others follow as they are planned.
  void add(const ClaimPtr& claim, std::size_t index);
  /// That was added whole.
  void remove(const ClaimPtr& claim);

  [[nodiscard]] std::optional<OtherDevice> find_on(const IsLink& is_link, LinkShare share) const override {
    return find_on(is_link, share, {});
  }
  [[nodiscard]] std::optional<OtherDevice> find_want(const IsLink& is_link,
                                                     const std::string& want) const override {
    return find_want(is_link, want, {});
  }
  [[nodiscard]] std::optional<OtherDevice> find_other_value(const IsLink& is_link, const std::string& what,
                                                            const std::string& value) const override {
    return find_other_value(is_link, what, value, {});
  }
  /// The same without the claim of the uid `except`.
  [[nodiscard]] std::optional<OtherDevice> find_on(const IsLink& is_link, LinkShare share,
                                                   std::string_view except) const;
  [[nodiscard]] std::optional<OtherDevice> find_want(const IsLink& is_link, const std::string& want,
                                                     std::string_view except) const;
  [[nodiscard]] std::optional<OtherDevice> find_other_value(const IsLink& is_link, const std::string& what,
                                                            const std::string& value,
                                                            std::string_view except) const;

  struct Conflict {
    OtherDevice with;
    std::string what;  // "the address 192.0.2.5 on eth0"
  };
  /// What claims other than `except` have, so that `own` is not possible.
  [[nodiscard]] std::optional<Conflict> conflict(const LinkUse& own, std::string_view except) const;

  /// The links that claims use and others may use too, each once; without those that are used only by claims in
  /// `except`.
  [[nodiscard]] std::vector<sys::InventoryLink> shared_links(const std::set<std::string>& except) const;

 private:
  struct Seat {
    ClaimPtr claim;
    std::size_t index = 0;
    bool operator<(const Seat& other) const;
  };
  using Seats = std::set<Seat>;
  struct Place {
    sys::InventoryLink link;  // as it was
    Seats lent, whole, shared;
    std::map<std::string, Seats> wants;
    std::map<std::string, std::map<std::string, Seats>> must_agree;
  };
  enum class Change : std::uint8_t { kAdd, kRemove };
  void change(Change change, const ClaimPtr& claim, std::size_t index);
  static std::optional<OtherDevice> first_of(const Seats& seats, std::string_view except, bool whole);
  Place& place_of(const sys::InventoryLink& link);

  std::vector<std::unique_ptr<Place>> places_;
};

}  // namespace fairlead::devices::netdev
