// SPDX-License-Identifier: Apache-2.0
#include "fairlead/policy/bounds.h"

#include <algorithm>
#include <charconv>
#include <functional>

#include "fairlead/core/text.h"

namespace fairlead::policy {
namespace {

using netlink::IpAddress;
using netlink::IpPrefix;

constexpr std::uint16_t kMaxVlan = 4094;
constexpr std::size_t kMaxWord = 253;
constexpr std::size_t kListed = 4;

std::optional<std::uint16_t> parse_vlan(std::string_view text) {
  std::uint16_t id = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), id);
  const bool is_number = parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
  return is_number && id <= kMaxVlan ? std::optional(id) : std::nullopt;
}

/// `*`: any text, `?`: one byte. Everything else is itself.
bool matches(std::string_view glob, std::string_view text) {
  std::size_t g = 0;
  std::size_t t = 0;
  std::size_t star = std::string_view::npos;
  std::size_t after_star = 0;
  while (t < text.size()) {
    if (g < glob.size() && glob[g] == '*') {
      star = g++;
      after_star = t;
    } else if (g < glob.size() && (glob[g] == '?' || glob[g] == text[t])) {
      ++g;
      ++t;
    } else if (star != std::string_view::npos) {
      g = star + 1;
      t = ++after_star;
    } else {
      return false;
    }
  }
  return glob.substr(g).find_first_not_of('*') == std::string_view::npos;
}

bool is_in(const IpPrefix& range, const IpAddress& address) {
  return range.is_v6() == address.is_v6() && IpPrefix(address, range.length()).network() == range;
}

std::string text_of(const VlanRange& range) {
  return range.first == range.last ? std::to_string(range.first)
                                   : std::to_string(range.first) + "-" + std::to_string(range.last);
}

/// The address of "192.0.2.10/24" or "192.0.2.10".
std::optional<IpAddress> address_in(const std::string& text) {
  if (const auto prefix = IpPrefix::parse(text)) {
    return prefix->address();
  }
  const auto address = IpAddress::parse(text);
  return address ? std::optional(*address) : std::nullopt;
}

std::optional<std::string> why_no_word(std::string_view text) {
  return text.empty() || text.size() > kMaxWord
             ? std::optional("must have 1 to 253 bytes, not " + std::to_string(text.size()))
             : std::nullopt;
}

std::optional<std::string> why_no_parent(std::string_view text) {
  constexpr std::size_t kMaxName = 127;  // an altname's
  return text.empty() || text.size() > kMaxName || text.find('/') != std::string_view::npos
             ? std::optional(quoted(text) + " is neither the name of a link nor a glob of names (ens2f*)")
             : std::nullopt;
}

template <class T>
std::optional<BadItem> set_list(
    std::optional<std::vector<T>>& list, const std::vector<std::string>& items,
    const std::function<std::optional<std::string>(const std::string&, T&)>& read) {
  list.emplace();
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (auto why = read(items[i], list->emplace_back())) {
      return BadItem{i, *std::move(why)};
    }
  }
  return std::nullopt;
}

std::optional<std::string> read_range(const std::string& text, IpPrefix& range) {
  const auto parsed = IpPrefix::parse(text);
  if (!parsed) {
    return quoted(text) + " is not a network with its prefix length (such as 192.0.2.0/24)";
  }
  if (parsed->network() != *parsed) {
    return quoted(text) + " has bits behind its prefix length; the network is " +
           parsed->network().to_string();
  }
  range = *parsed;
  return std::nullopt;
}

std::optional<std::string> read_vlans(const std::string& text, VlanRange& range) {
  const auto parsed = parse_vlan_range(text);
  if (!parsed) {
    return parsed.error().what();
  }
  range = *parsed;
  return std::nullopt;
}

/// The items of a value, each with its place below the field.
template <class Is>
std::optional<Outside> first_outside(const fields::Value& value, const Is& is_inside) {
  if (const auto* text = std::get_if<std::string>(&value.data)) {
    return is_inside(*text) ? std::nullopt : std::optional(Outside{.item = quoted(*text)});
  }
  if (const auto* texts = std::get_if<std::vector<std::string>>(&value.data)) {
    for (std::size_t i = 0; i < texts->size(); ++i) {
      if (!is_inside((*texts)[i])) {
        return Outside{.at = "[" + std::to_string(i) + "]", .item = quoted((*texts)[i])};
      }
    }
    return std::nullopt;
  }
  if (const auto* number = std::get_if<std::int64_t>(&value.data)) {
    const std::string digits = std::to_string(*number);
    return is_inside(digits) ? std::nullopt : std::optional(Outside{.item = digits});
  }
  return Outside{.item = "a value of this type"};  // no such field is under a bound
}

std::optional<Outside> outside_words(const std::optional<std::vector<std::string>>& list,
                                     const fields::Value& value) {
  if (!list) {
    return std::nullopt;
  }
  auto outside = first_outside(
      value, [&](const std::string& text) { return std::ranges::find(*list, text) != list->end(); });
  if (outside) {
    outside->allowed = short_list(*list);
  }
  return outside;
}

std::optional<Outside> outside_parents(const Bounds& bounds, const fields::Value& value) {
  if (!bounds.parents) {
    return std::nullopt;
  }
  auto outside = first_outside(value, [&](const std::string& text) {
    return std::ranges::any_of(*bounds.parents, [&](const auto& glob) { return matches(glob, text); });
  });
  if (outside) {
    outside->allowed = short_list(*bounds.parents);
  }
  return outside;
}

std::optional<Outside> outside_addresses(const Bounds& bounds, const fields::Value& value) {
  if (!bounds.addresses) {
    return std::nullopt;
  }
  auto outside = first_outside(value, [&](const std::string& text) {
    const auto address = address_in(text);
    return address && std::ranges::any_of(*bounds.addresses,
                                          [&](const IpPrefix& range) { return is_in(range, *address); });
  });
  if (outside) {
    std::vector<std::string> ranges;
    std::ranges::transform(*bounds.addresses, std::back_inserter(ranges), &IpPrefix::to_string);
    outside->allowed = short_list(ranges);
  }
  return outside;
}

std::optional<Outside> outside_vlans(const Bounds& bounds, const fields::Value& value) {
  if (!bounds.vlans) {
    return std::nullopt;
  }
  auto outside = first_outside(value, [&](const std::string& text) {
    const auto id = parse_vlan(text);
    return id && std::ranges::any_of(*bounds.vlans, [&](const VlanRange& range) {
             return range.first <= *id && *id <= range.last;
           });
  });
  if (outside) {
    std::vector<std::string> ranges;
    std::ranges::transform(*bounds.vlans, std::back_inserter(ranges), text_of);
    outside->allowed = short_list(ranges);
  }
  return outside;
}

std::optional<Outside> find(const Bounds& bounds, const fields::Value& value) {
  switch (value.field->bound) {
    case fields::Bound::kNone:
      return std::nullopt;
    case fields::Bound::kParent:
      return outside_parents(bounds, value);
    case fields::Bound::kAddress:
      return outside_addresses(bounds, value);
    case fields::Bound::kVlan:
      return outside_vlans(bounds, value);
    case fields::Bound::kDriver:
      return outside_words(bounds.drivers, value);
    case fields::Bound::kNadNamespace:
      return outside_words(bounds.nad_namespaces, value);
    case fields::Bound::kCniPlugin:
      return outside_words(bounds.cni_plugins, value);
  }
  return std::nullopt;
}

}  // namespace

Result<VlanRange> parse_vlan_range(std::string_view text) {
  const std::size_t dash = text.find('-');
  const auto first = parse_vlan(text.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : parse_vlan(text.substr(dash + 1));
  if (!first || !last || *first > *last) {
    return Error(
        Code::kInvalid,
        quoted(text) + " is neither a VLAN id (\"300\") nor a range of them (\"100-199\"), 0 to 4094");
  }
  return VlanRange{.first = *first, .last = *last};
}

bool Bounds::lists_parent_exactly(std::string_view name) const {
  return parents && std::ranges::any_of(*parents, [&](const std::string& entry) {
           return entry.find_first_of("*?") == std::string::npos && entry == name;
         });
}

std::optional<BadItem> set_bound(Bounds& bounds, std::string_view key,
                                 const std::vector<std::string>& items) {
  if (key == "addresses") {
    return set_list<IpPrefix>(bounds.addresses, items, read_range);
  }
  if (key == "vlans") {
    return set_list<VlanRange>(bounds.vlans, items, read_vlans);
  }
  const auto set_words = [&](std::optional<std::vector<std::string>>& list, const auto& why_not) {
    return set_list<std::string>(list, items, [&](const std::string& text, std::string& word) {
      word = text;
      return why_not(text);
    });
  };
  if (key == "parents") {
    return set_words(bounds.parents, why_no_parent);
  }
  if (key == "drivers") {
    return set_words(bounds.drivers, why_no_word);
  }
  if (key == "nadNamespaces") {
    return set_words(bounds.nad_namespaces, why_no_word);
  }
  return set_words(bounds.cni_plugins, why_no_word);
}

std::vector<std::string_view> keys_of(const Bounds& bounds) {
  const std::array<bool, kBoundKeys.size()> has = {
      bounds.parents.has_value(), bounds.addresses.has_value(),      bounds.vlans.has_value(),
      bounds.drivers.has_value(), bounds.nad_namespaces.has_value(), bounds.cni_plugins.has_value()};
  std::vector<std::string_view> keys;
  for (std::size_t i = 0; i < has.size(); ++i) {
    if (has.at(i)) {
      keys.push_back(kBoundKeys.at(i));
    }
  }
  return keys;
}

std::string_view key_of(fields::Bound bound) {
  return bound == fields::Bound::kNone ? std::string_view()
                                       : kBoundKeys.at(static_cast<std::size_t>(bound) - 1);
}

std::optional<Outside> find_outside(const Bounds& bounds, const fields::Value& value) {
  auto outside = find(bounds, value);
  if (outside) {
    outside->key = key_of(value.field->bound);
  }
  return outside;
}

std::string short_list(const std::vector<std::string>& words) {
  std::string out;
  for (std::size_t i = 0; i < std::min(words.size(), kListed); ++i) {
    out += (i == 0 ? "" : ", ") + words[i];
  }
  return words.empty() ? "nothing" : out + (words.size() > kListed ? ", ..." : "");
}

}  // namespace fairlead::policy
