// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/link_book.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "fairlead/devices/node.h"

namespace fairlead::devices::netdev {
namespace {

/// All by which a link is recognized later (is_same_link, is_made_anew, sits_on).
auto identity(const sys::InventoryLink& link) {
  const netlink::Link& is = link.link;
  return std::tie(is.index, is.name, is.kind, is.arphrd, is.parent, is.parent_netnsid, is.mac,
                  is.permanent_mac, is.parent_dev, is.parent_bus, is.phys_port_name, is.phys_port_id,
                  is.phys_switch_id);
}

std::string_view uid_of(const std::optional<OtherDevice>& device) {
  return device ? std::string_view(device->claim->uid) : std::string_view();
}

/// The one whose claim's uid comes first.
std::optional<OtherDevice> first(std::optional<OtherDevice> a, std::optional<OtherDevice> b) {
  const bool is_b = b && (!a || uid_of(b) < uid_of(a));
  return is_b ? std::move(b) : std::move(a);
}

}  // namespace

bool LinkBook::Seat::operator<(const Seat& other) const {
  const int order = claim == other.claim ? 0 : claim->uid.compare(other.claim->uid);
  return order != 0 ? order < 0 : index < other.index;
}

LinkBook::Place& LinkBook::place_of(const sys::InventoryLink& link) {
  const auto known = std::ranges::find_if(
      places_, [&](const auto& place) { return identity(place->link) == identity(link); });
  if (known != places_.end()) {
    return **known;
  }
  places_.push_back(std::make_unique<Place>(Place{.link = link}));
  return *places_.back();
}

void LinkBook::change(Change change, const ClaimPtr& claim, std::size_t index) {
  const DevicePlan& device = claim->devices[index];
  const auto use = link_use(device);
  if (!use) {
    return;
  }
  Place& place = place_of(use->link);
  const Seat seat{.claim = claim, .index = index};
  const auto put = [&](Seats& seats) {
    if (change == Change::kAdd) {
      seats.insert(seat);
    } else {
      seats.erase(seat);
    }
  };
  // Without the values that no claim has any more.
  const auto put_by = [&](auto& by_value, const std::string& value) {
    put(by_value[value]);
    if (by_value[value].empty()) {
      by_value.erase(value);
    }
  };
  put(use->whole ? place.whole : place.shared);
  if (taken_nic(device)) {
    put(place.lent);
  }
  for (const std::string& want : use->wants) {
    put_by(place.wants, want);
  }
  for (const auto& [what, value] : use->must_agree) {
    put_by(place.must_agree[what], value);
  }
  if (place.whole.empty() && place.shared.empty()) {
    std::erase_if(places_, [&](const auto& one) { return one.get() == &place; });
  }
}

void LinkBook::add(const ClaimPtr& claim, std::size_t index) { change(Change::kAdd, claim, index); }

void LinkBook::add(const ClaimPtr& claim) {
  for (std::size_t i = 0; i < claim->devices.size(); ++i) {
    change(Change::kAdd, claim, i);
  }
}

void LinkBook::remove(const ClaimPtr& claim) {
  for (std::size_t i = 0; i < claim->devices.size(); ++i) {
    change(Change::kRemove, claim, i);
  }
}

std::optional<OtherDevice> LinkBook::first_of(const Seats& seats, std::string_view except, bool whole) {
  const auto found = std::ranges::find_if(
      seats, [&](const Seat& seat) { return except.empty() || seat.claim->uid != except; });
  return found == seats.end()
             ? std::nullopt
             : std::optional(OtherDevice{.claim = found->claim, .index = found->index, .whole = whole});
}

std::optional<OtherDevice> LinkBook::find_on(const IsLink& is_link, LinkShare share,
                                             std::string_view except) const {
  std::optional<OtherDevice> found;
  for (const auto& place : places_) {
    const Seats& seats = share == LinkShare::kLent ? place->lent : place->whole;
    if ((share != LinkShare::kAny && seats.empty()) || !is_link(place->link)) {
      continue;
    }
    found = first(std::move(found), first_of(seats, except, true));
    if (share == LinkShare::kAny) {
      found = first(std::move(found), first_of(place->shared, except, false));
    }
  }
  return found;
}

std::optional<OtherDevice> LinkBook::find_want(const IsLink& is_link, const std::string& want,
                                               std::string_view except) const {
  std::optional<OtherDevice> found;
  for (const auto& place : places_) {
    const auto seats = place->wants.find(want);
    if (seats != place->wants.end() && is_link(place->link)) {
      found = first(std::move(found), first_of(seats->second, except, false));
    }
  }
  return found;
}

std::optional<OtherDevice> LinkBook::find_other_value(const IsLink& is_link, const std::string& what,
                                                      const std::string& value,
                                                      std::string_view except) const {
  std::optional<OtherDevice> found;
  for (const auto& place : places_) {
    const auto values = place->must_agree.find(what);
    if (values == place->must_agree.end()) {
      continue;
    }
    for (const auto& [theirs, seats] : values->second) {
      if (theirs == value || !is_link(place->link)) {
        continue;
      }
      auto one = first_of(seats, except, false);
      if (one) {
        one->value = theirs;
      }
      found = first(std::move(found), std::move(one));
    }
  }
  return found;
}

std::optional<LinkBook::Conflict> LinkBook::conflict(const LinkUse& own, std::string_view except) const {
  const IsLink is_own = [&](const sys::InventoryLink& was) { return is_same_link(was, own.link.link); };
  const std::string& link = own.link.link.name;
  if (auto other = find_on(is_own, own.whole ? LinkShare::kAny : LinkShare::kWhole, except)) {
    return Conflict{.with = *std::move(other), .what = "the link " + link};
  }
  for (const std::string& want : own.wants) {
    if (auto other = find_want(is_own, want, except)) {
      return Conflict{.with = *std::move(other), .what = "the " + want + " on " + link};
    }
  }
  for (const auto& [what, value] : own.must_agree) {
    if (auto other = find_other_value(is_own, what, value, except)) {
      std::string text = "a link of another mode (" + other->value + ") on " + link;
      return Conflict{.with = *std::move(other), .what = std::move(text)};
    }
  }
  return std::nullopt;
}

std::vector<sys::InventoryLink> LinkBook::shared_links(const std::set<std::string>& except) const {
  std::vector<sys::InventoryLink> links;
  for (const auto& place : places_) {
    if (std::ranges::any_of(place->shared,
                            [&](const Seat& seat) { return !except.contains(seat.claim->uid); })) {
      links.push_back(place->link);
    }
  }
  return links;
}

}  // namespace fairlead::devices::netdev
