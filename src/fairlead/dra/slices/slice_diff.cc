// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/slices/slice_diff.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "fairlead/formats/quantity.h"

namespace fairlead::dra {
namespace {

using kube::ResourceSlice;

constexpr std::size_t kMaxDevices = 128;
constexpr std::size_t kMaxDevicesWithTaints = 64;
constexpr std::size_t kIndexDigits = 5;
/// metadata.generateName; the server keeps only the first 58 bytes anyway, but checks the whole.
constexpr std::size_t kMaxGenerateName = 200;

// ---- paging ----

/// How many of the devices from `begin` on fit into one slice.
std::size_t page_size(const std::vector<Device>& devices, std::size_t begin) {
  const std::size_t most = std::min(devices.size() - begin, kMaxDevices);
  std::size_t size = 0;
  bool taints = false;
  while (size < most) {
    taints = taints || !devices[begin + size].taints.empty();
    if (taints && size >= kMaxDevicesWithTaints) {
      break;
    }
    ++size;
  }
  return size;
}

void page_pool(const Pool& pool, std::vector<WantedSlice>& out) {
  const std::vector<Device>& devices = pool.devices;
  std::size_t begin = 0;
  std::size_t index = 0;
  do {
    const std::size_t size = page_size(devices, begin);
    const auto first = devices.begin() + static_cast<std::ptrdiff_t>(begin);
    out.push_back(
        {.pool = pool.name, .index = index++, .devices = {first, first + static_cast<std::ptrdiff_t>(size)}});
    begin += size;
  } while (begin < devices.size());
}

// ---- names ----

std::string hex_index(std::size_t index) {
  std::array<char, 16> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), index, 16).ptr;
  const std::string text(digits.data(), end);
  return std::string(kIndexDigits - std::min(kIndexDigits, text.size()), '0') + text;
}

std::string generate_name(const SliceIdentity& identity, std::size_t index) {
  std::string base = hex_index(index) + "-" + identity.driver_name + "-" + identity.node_name;
  return base.substr(0, kMaxGenerateName) + "-";
}

/// The index in front of a slice's name; nullopt for a name in another format.
std::optional<std::size_t> index_of(std::string_view name) {
  const std::string_view digits = name.substr(0, name.find('-'));
  std::size_t index = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), index, 16);
  if (digits.size() < kIndexDigits || digits.size() == name.size() || code != std::errc{} ||
      end != digits.data() + digits.size()) {
    return std::nullopt;
  }
  return index;
}

// ---- equality ----

bool same_optional_quantity(const std::optional<std::string>& a, const std::optional<std::string>& b) {
  return a.has_value() == b.has_value() && (!a || formats::same_quantity(*a, *b));
}

bool same_policy(const std::optional<kube::RequestPolicy>& a, const std::optional<kube::RequestPolicy>& b) {
  if (a.has_value() != b.has_value() || !a) {
    return a.has_value() == b.has_value();
  }
  return formats::same_quantity(a->default_value, b->default_value) &&
         std::ranges::equal(a->valid_values, b->valid_values, formats::same_quantity) &&
         same_optional_quantity(a->range_min, b->range_min) &&
         same_optional_quantity(a->range_max, b->range_max) &&
         same_optional_quantity(a->range_step, b->range_step);
}

bool same_time(const std::string& wanted, const std::string& stored) {
  if (wanted.empty() || wanted == stored) {
    return true;
  }
  const auto a = rfc3339_seconds(wanted);
  const auto b = rfc3339_seconds(stored);
  return a && b && std::llabs(*a - *b) <= 1;  // metav1.Time has seconds; rounding may differ
}

bool same_taint(const kube::Taint& wanted, const kube::Taint& stored) {
  return wanted.key == stored.key && wanted.value == stored.value && wanted.effect == stored.effect &&
         same_time(wanted.time_added, stored.time_added);
}

std::string field(std::string_view map, const std::string& key) {
  return std::string(map) + "[\"" + key + "\"]";
}

/// Keys of both maps whose values differ, and keys that only one has.
template <class Map, class Same>
void compare_maps(std::string_view name, const Map& wanted, const Map& stored, Same same,
                  std::vector<std::string>& out) {
  for (const auto& [key, value] : wanted) {
    const auto other = stored.find(key);
    if (other == stored.end() || !same(value, other->second)) {
      out.push_back(field(name, key));
    }
  }
  for (const auto& [key, value] : stored) {
    if (!wanted.contains(key)) {
      out.push_back(field(name, key));
    }
  }
}

// ---- one pool ----

/// A pool's slices in the API server beside those that are wanted.
struct PoolState {
  std::vector<const WantedSlice*> wanted;     // by index
  std::vector<const ResourceSlice*> matched;  // by index; null: to be created
  std::vector<const ResourceSlice*> surplus;
  std::int64_t newest = 0;  // generation
};

/// The better of two slices with one index: of the newer generation, else the one that sorts first.
bool better(const ResourceSlice& a, const ResourceSlice& b) {
  return a.pool_generation != b.pool_generation ? a.pool_generation > b.pool_generation
                                                : a.meta.name < b.meta.name;
}

void match(PoolState& pool, const std::vector<const ResourceSlice*>& existing) {
  pool.matched.assign(pool.wanted.size(), nullptr);
  for (const ResourceSlice* slice : existing) {
    pool.newest = std::max(pool.newest, slice->pool_generation);
    const auto index = index_of(slice->meta.name);
    if (!index || *index >= pool.matched.size()) {
      pool.surplus.push_back(slice);
      continue;
    }
    const ResourceSlice*& place = pool.matched[*index];
    if (place == nullptr || better(*slice, *place)) {
      std::swap(place, slice);
    }
    if (slice != nullptr) {
      pool.surplus.push_back(slice);
    }
  }
}

bool content_differs(const PoolState& pool, std::size_t index) {
  const ResourceSlice& stored = *pool.matched[index];
  return stored.pool_generation != pool.newest ||
         stored.pool_slice_count != static_cast<std::int64_t>(pool.wanted.size()) ||
         !same_devices(pool.wanted[index]->devices, stored.devices);
}

std::int64_t next_generation(const PoolState& pool) {
  std::size_t changed = 0;
  for (std::size_t i = 0; i < pool.matched.size(); ++i) {
    if (pool.matched[i] == nullptr) {
      changed += 2;  // a new slice always needs a new generation
    } else if (content_differs(pool, i)) {
      ++changed;
    }
  }
  // Readers ignore surplus slices of an older generation: removing them changes nothing.
  const bool shrinks = std::ranges::any_of(
      pool.surplus, [&](const ResourceSlice* slice) { return slice->pool_generation == pool.newest; });
  if (changed <= 1 && !shrinks) {
    return pool.newest;
  }
  return pool.newest == std::numeric_limits<std::int64_t>::max() ? pool.newest : pool.newest + 1;
}

using DevicesByName = std::map<std::string_view, const Device*>;

DevicesByName devices_by_name(const std::vector<const ResourceSlice*>& slices) {
  DevicesByName out;
  for (const ResourceSlice* slice : slices) {
    for (const Device& device : slice->devices) {
      out.emplace(device.name, &device);
    }
  }
  return out;
}

/// Taints keep the time at which they were added, also when their device moves to another slice.
void keep_taint_times(std::vector<Device>& devices, const DevicesByName& stored) {
  for (Device& device : devices) {
    const auto known = stored.find(device.name);
    for (kube::Taint& taint : device.taints) {
      if (!taint.time_added.empty() || known == stored.end()) {
        continue;
      }
      const auto& old = known->second->taints;
      const auto same = std::ranges::find_if(old, [&](const kube::Taint& t) { return same_taint(taint, t); });
      if (same != old.end()) {
        taint.time_added = same->time_added;
      }
    }
  }
}

class Differ {
 public:
  explicit Differ(const SliceIdentity& identity)
      : identity_(identity),
        owner_{.api_version = "v1",
               .kind = "Node",
               .name = identity.node_name,
               .uid = identity.node_uid,
               .controller = true} {}

  void add(const std::vector<const WantedSlice*>& wanted, const std::vector<const ResourceSlice*>& existing) {
    PoolState pool{.wanted = wanted, .matched = {}, .surplus = {}, .newest = 0};
    match(pool, existing);
    const std::int64_t generation = next_generation(pool);
    const DevicesByName stored = devices_by_name(existing);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const ResourceSlice* old = pool.matched[i];
      if (old == nullptr) {
        creates_.push_back({.kind = SliceChange::Kind::kCreate, .slice = fresh(*wanted[i])});
        fill(creates_.back().slice, pool, i, generation, stored);
      } else if (generation != old->pool_generation || content_differs(pool, i) || owner_differs(*old)) {
        updates_.push_back({.kind = SliceChange::Kind::kUpdate, .slice = *old});
        fill(updates_.back().slice, pool, i, generation, stored);
      }
    }
    for (const ResourceSlice* slice : pool.surplus) {
      deletes_.push_back({.kind = SliceChange::Kind::kDelete, .slice = *slice});
    }
  }

  std::vector<SliceChange> take() {
    std::vector<SliceChange> out = std::move(updates_);
    std::ranges::move(creates_, std::back_inserter(out));
    std::ranges::move(deletes_, std::back_inserter(out));
    return out;
  }

 private:
  [[nodiscard]] bool owner_differs(const ResourceSlice& slice) const {
    return slice.meta.owner_references != std::vector{owner_};
  }
  [[nodiscard]] ResourceSlice fresh(const WantedSlice& wanted) const {
    ResourceSlice out;
    out.meta.generate_name = generate_name(identity_, wanted.index);
    out.driver = identity_.driver_name;
    out.node_name = identity_.node_name;
    out.pool_name = wanted.pool;
    return out;
  }
  void fill(ResourceSlice& slice, const PoolState& pool, std::size_t index, std::int64_t generation,
            const DevicesByName& stored) const {
    slice.meta.owner_references = {owner_};
    slice.pool_generation = generation;
    slice.pool_slice_count = static_cast<std::int64_t>(pool.wanted.size());
    slice.devices = pool.wanted[index]->devices;
    keep_taint_times(slice.devices, stored);
  }

  const SliceIdentity& identity_;
  kube::OwnerReference owner_;
  std::vector<SliceChange> updates_, creates_, deletes_;
};

/// The digits [at, at + count) as a number; -1 when they are none.
int digits_at(std::string_view text, std::size_t at, std::size_t count) {
  int value = -1;
  const std::string_view part = text.substr(std::min(at, text.size()), count);
  const auto [end, code] = std::from_chars(part.data(), part.data() + part.size(), value);
  return code == std::errc{} && part.size() == count && end == part.data() + count && part[0] != '-' ? value
                                                                                                     : -1;
}

/// "Z", "+01:00" in seconds.
std::optional<std::int64_t> zone_seconds(std::string_view zone) {
  if (zone == "Z" || zone == "z") {
    return 0;
  }
  const int hours = digits_at(zone, 1, 2);
  const int minutes = digits_at(zone, 4, 2);
  if (zone.size() != 6 || zone[3] != ':' || hours < 0 || hours > 23 || minutes < 0 || minutes > 59 ||
      (zone[0] != '+' && zone[0] != '-')) {
    return std::nullopt;
  }
  return (zone[0] == '+' ? 60 : -60) * (std::int64_t{60} * hours + minutes);
}

}  // namespace

std::vector<WantedSlice> page_pools(const std::vector<Pool>& pools) {
  std::vector<WantedSlice> out;
  for (const Pool& pool : pools) {
    page_pool(pool, out);
  }
  return out;
}

std::vector<SliceChange> diff_slices(const SliceIdentity& identity, const std::vector<WantedSlice>& wanted,
                                     const std::vector<ResourceSlice>& existing) {
  struct Sides {
    std::vector<const WantedSlice*> wanted;
    std::vector<const ResourceSlice*> existing;
  };
  std::map<std::string_view, Sides> pools;
  for (const WantedSlice& slice : wanted) {
    pools[slice.pool].wanted.push_back(&slice);
  }
  for (const ResourceSlice& slice : existing) {
    if (slice.driver == identity.driver_name && slice.node_name == identity.node_name) {
      pools[slice.pool_name].existing.push_back(&slice);
    }
  }
  Differ differ(identity);
  for (const auto& [name, sides] : pools) {
    differ.add(sides.wanted, sides.existing);
  }
  return differ.take();
}

std::vector<std::string> differences(const Device& wanted, const Device& stored) {
  std::vector<std::string> out;
  if (wanted.name != stored.name) {
    out.emplace_back("name");
  }
  compare_maps("attributes", wanted.attributes, stored.attributes, std::equal_to<>{}, out);
  const auto same_value = [](const Capacity& a, const Capacity& b) {
    return formats::same_quantity(a.value, b.value) && same_policy(a.request_policy, b.request_policy);
  };
  compare_maps("capacity", wanted.capacity, stored.capacity, same_value, out);
  if (wanted.allow_multiple_allocations != stored.allow_multiple_allocations) {
    out.emplace_back("allowMultipleAllocations");
  }
  if (!std::ranges::equal(wanted.taints, stored.taints, same_taint)) {
    out.emplace_back("taints");
  }
  return out;
}

bool same_devices(const std::vector<Device>& wanted, const std::vector<Device>& stored) {
  return std::ranges::equal(
      wanted, stored, [](const Device& a, const Device& b) { return a == b || differences(a, b).empty(); });
}

std::optional<std::int64_t> rfc3339_seconds(std::string_view text) {
  constexpr std::size_t kSeconds = 19;  // "2026-01-31T12:00:00"
  std::tm time{};
  time.tm_year = digits_at(text, 0, 4) - 1900;
  time.tm_mon = digits_at(text, 5, 2) - 1;
  time.tm_mday = digits_at(text, 8, 2);
  time.tm_hour = digits_at(text, 11, 2);
  time.tm_min = digits_at(text, 14, 2);
  time.tm_sec = digits_at(text, 17, 2);
  if (text.size() <= kSeconds || text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != 't') ||
      text[13] != ':' || text[16] != ':' || time.tm_year < -1900 || time.tm_mon < 0 || time.tm_mon > 11 ||
      time.tm_mday < 1 || time.tm_mday > 31 || time.tm_hour < 0 || time.tm_hour > 23 || time.tm_min < 0 ||
      time.tm_min > 59 || time.tm_sec < 0 || time.tm_sec > 60) {
    return std::nullopt;
  }
  std::string_view rest = text.substr(kSeconds);
  if (rest.starts_with('.')) {
    const auto end = rest.find_first_not_of("0123456789", 1);
    if (end == 1 || end == std::string_view::npos) {
      return std::nullopt;
    }
    rest.remove_prefix(end);
  }
  const auto zone = zone_seconds(rest);
  return zone ? std::optional(::timegm(&time) - *zone) : std::nullopt;
}

}  // namespace fairlead::dra
