// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/slices/slice_writer.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string_view>

#include "fairlead/core/log.h"
#include "fairlead/core/text.h"

namespace fairlead::dra {
namespace {

using kube::ResourceSlice;

/// How often a round is restarted at once because the slices changed meanwhile; then it waits as after an
/// error.
constexpr int kConflictRetries = 3;

/// resourceVersions are comparable numbers (KEP-5504; always so on etcd). False when one is not.
bool not_newer(const std::string& version, const std::string& than) {
  std::uint64_t a = 0;
  std::uint64_t b = 0;
  const auto parsed_a = std::from_chars(version.data(), version.data() + version.size(), a);
  const auto parsed_b = std::from_chars(than.data(), than.data() + than.size(), b);
  return parsed_a.ec == std::errc{} && parsed_b.ec == std::errc{} && a <= b;
}

std::string_view verb(SliceChange::Kind kind) {
  switch (kind) {
    case SliceChange::Kind::kUpdate:
      return "update";
    case SliceChange::Kind::kCreate:
      return "create";
    case SliceChange::Kind::kDelete:
      return "delete";
  }
  return "";
}

/// The slices changed between our read and our write: read again.
bool stale(Code code) { return code == Code::kConflict || code == Code::kNotFound || code == Code::kExists; }

std::string describe(const SliceChange& change) {
  const auto& meta = change.slice.meta;
  return std::string(verb(change.kind)) + " ResourceSlice " +
         (meta.name.empty() ? meta.generate_name + "*" : meta.name);
}

const Device* find_device(const SliceWriter::Wanted& wanted, const std::string& pool,
                          const std::string& name) {
  for (const WantedSlice& slice : wanted) {
    const auto at =
        slice.pool == pool ? std::ranges::find(slice.devices, name, &Device::name) : slice.devices.end();
    if (at != slice.devices.end()) {
      return &*at;
    }
  }
  return nullptr;
}

}  // namespace

std::size_t device_count(const SliceWriter::Wanted& wanted) {
  std::size_t count = 0;
  for (const WantedSlice& slice : wanted) {
    count += slice.devices.size();
  }
  return count;
}

SliceWriter::SliceWriter(const PublisherOptions& options, SliceApi& api, Metrics& metrics)
    : options_(options),
      api_(api),
      metrics_(metrics),
      repairs_({.min = options.repair_min, .max = options.repair_max, .quiet = options.repair_quiet}),
      own_changes_(options.change_burst, options.change_interval, *options.clock) {}

bool SliceWriter::by_others(const SliceEvent& event) const {
  const auto known = known_.find(event.uid);
  switch (event.kind) {
    case SliceEvent::Kind::kResynced:
      return true;
    case SliceEvent::Kind::kDeleted:
      return known != known_.end();
    case SliceEvent::Kind::kChanged:
      return known == known_.end() ? !gone_.contains(event.uid)
                                   : !not_newer(event.resource_version, known->second);
  }
  return true;
}

void SliceWriter::note(const SliceEvent& event) {
  if (event.kind == SliceEvent::Kind::kDeleted) {
    gone_.erase(event.uid);  // the last event of an object
  }
  watch_list_ = event.all;  // what came after the list is not in it
}

bool SliceWriter::has_fresh_list() const {
  return listed_ && options_.clock->now() - *listed_ < options_.list_is_fresh;
}

std::optional<SliceWriter::TimePoint> SliceWriter::write_later(const Wanted& wanted) {
  return is_own_change(wanted) ? own_changes_.wait_until() : std::nullopt;
}

Result<> SliceWriter::round(const Wanted& wanted, const std::stop_token& stop) {
  repair_at_.reset();
  for (int attempt = 0;; ++attempt) {
    auto done = attempt_round(wanted, stop);
    if (done || !stale(done.error().code()) || attempt >= kConflictRetries) {
      if (!done && !repair_at_) {
        node_uid_.clear();  // a write may fail because our Node is another one now
      }
      return done;
    }
  }
}

Result<> SliceWriter::attempt_round(const Wanted& wanted, const std::stop_token& stop) {
  FL_ASSIGN(const auto existing, list(stop), "list ResourceSlices");
  if (lost_any(existing)) {
    node_uid_.clear();  // the garbage collector may have taken it: is the Node still the same?
  }
  if (node_uid_.empty()) {
    auto uid = api_.node_uid(stop);
    if (!uid) {
      // A missing Node is no reason to begin this round again at once, nor often.
      return Error(uid.error().code() == Code::kNotFound ? Code::kInternal : uid.error().code(),
                   uid.error().what())
          .with("read Node " + options_.node_name);
    }
    node_uid_ = *std::move(uid);
  }
  const SliceIdentity identity{
      .driver_name = options_.driver_name, .node_name = options_.node_name, .node_uid = node_uid_};
  const auto changes = diff_slices(identity, reduce(wanted), existing);
  FL_TRY(limit_repairs(wanted, changes, existing));
  if (!changes.empty() && is_own_change(wanted)) {
    (void)own_changes_.take();
  }
  remember(existing);
  for (const SliceChange& change : changes) {
    FL_TRY(write(wanted, change, stop), describe(change));
  }
  last_written_ = wanted;
  repairs_.settled(options_.clock->now());
  metrics_.set_slices_published(known_.size());
  metrics_.set_devices_published(device_count(wanted));
  return {};
}

Result<SliceWriter::Slices> SliceWriter::list(const std::stop_token& stop) {
  // A later one may be older than what we have written since.
  if (const auto all = std::exchange(watch_list_, nullptr); all && !listed_) {
    listed_ = options_.clock->now();
    return *all;
  }
  auto all = api_.list(stop);
  if (all) {
    listed_ = options_.clock->now();
  }
  if (!all && (all.error().code() == Code::kNotFound || all.error().code() == Code::kUnsupported)) {
    return Error(Code::kUnsupported,
                 "the API server does not know resource.k8s.io/v1, which came with Kubernetes 1.34");
  }
  return all;
}

/// A slice that we know is not there any more.
bool SliceWriter::lost_any(const Slices& existing) const {
  return std::ranges::any_of(known_, [&](const auto& known) {
    return std::ranges::none_of(existing,
                                [&](const ResourceSlice& slice) { return slice.meta.uid == known.first; });
  });
}

void SliceWriter::remember(const Slices& existing) {
  known_.clear();
  for (const ResourceSlice& slice : existing) {
    known_[slice.meta.uid] = slice.meta.resource_version;
  }
}

/// Writes although our own state is unchanged: another client changed the slices, and may do it again at
/// once.
Result<> SliceWriter::limit_repairs(const Wanted& wanted, const std::vector<SliceChange>& changes,
                                    const Slices& existing) {
  if (changes.empty() || last_written_ != wanted) {
    return {};
  }
  if (repairs_.is_allowed()) {
    return {};  // another attempt
  }
  repair_at_ = repairs_.ask(options_.clock->now());
  is_warned_ = is_warned_ && repairs_.repairs() > 0;
  if (repair_at_) {
    remember(existing);
    warn_of_others(changes, existing);
    return Error(Code::kBusy, "others keep changing our ResourceSlices");
  }
  metrics_.slice_repaired();
  log::info("putting slices back that others changed", {{"writes", changes.size()}});
  return {};
}

/// Once for each time that they begin. A kubelet that wipes the slices one by one is not meant.
void SliceWriter::warn_of_others(const std::vector<SliceChange>& changes, const Slices& existing) {
  constexpr unsigned kRepairsUntilWarning = 3;
  if (repairs_.repairs() < kRepairsUntilWarning || std::exchange(is_warned_, true)) {
    return;
  }
  std::set<std::string> managers;
  for (const ResourceSlice& slice : existing) {
    const bool is_changed = std::ranges::any_of(changes, [&](const SliceChange& change) {
      return !change.slice.meta.uid.empty() && change.slice.meta.uid == slice.meta.uid;
    });
    if (is_changed && !slice.last_manager.empty()) {
      managers.insert(slice.last_manager);
    }
  }
  log::warn(
      "another client keeps changing or deleting the ResourceSlices of this driver on this node; they are "
      "put back at "
      "growing intervals. Check whether another agent runs on the node with the same driver name (in a "
      "rolling update "
      "from version 0.1 this ends with the older pod), or whether a controller deletes them",
      {{"driver", options_.driver_name},
       {"node", options_.node_name},
       {"field_managers",
        managers.empty() ? "unknown" : joined(std::vector<std::string>(managers.begin(), managers.end()))}});
}

/// What is wanted, with the devices that the API server reduced as it stored them: else we would send them
/// again and again.
SliceWriter::Wanted SliceWriter::reduce(const Wanted& wanted) {
  Wanted out = wanted;
  if (reduced_.empty()) {
    return out;
  }
  for (WantedSlice& slice : out) {
    for (Device& device : slice.devices) {
      const auto known = reduced_.find({slice.pool, device.name});
      if (known == reduced_.end()) {
        continue;
      }
      if (known->second.wanted == device) {
        device = known->second.stored;
      } else {
        reduced_.erase(known);
      }
    }
  }
  return out;
}

Result<> SliceWriter::write(const Wanted& wanted, const SliceChange& change, const std::stop_token& stop) {
  if (change.kind == SliceChange::Kind::kDelete) {
    auto removed = api_.remove(change.slice, stop);
    count(change, removed ? "ok" : to_string(removed.error().code()));
    FL_TRY(std::move(removed));
    known_.erase(change.slice.meta.uid);
    gone_.insert(change.slice.meta.uid);
    return {};
  }
  auto stored = change.kind == SliceChange::Kind::kCreate ? api_.create(change.slice, stop)
                                                          : api_.update(change.slice, stop);
  count(change, stored ? "ok" : to_string(stored.error().code()));
  if (!stored) {
    return std::move(stored).error();
  }
  known_[stored->meta.uid] = stored->meta.resource_version;
  return compare_stored(wanted, change.slice, *stored);
}

void SliceWriter::count(const SliceChange& change, std::string_view result) {
  metrics_.slice_written(verb(change.kind), result);
}

/// Looks for fields that the server did not keep: a feature gate that is off drops its fields in silence.
Result<> SliceWriter::compare_stored(const Wanted& wanted, const ResourceSlice& sent,
                                     const ResourceSlice& stored) {
  const bool same_names = std::ranges::equal(sent.devices, stored.devices, {}, &Device::name, &Device::name);
  if (!same_names) {
    return Error(Code::kInternal, "the API server stored other devices than were sent");
  }
  for (std::size_t i = 0; i < sent.devices.size(); ++i) {
    const auto lost = differences(sent.devices[i], stored.devices[i]);
    if (!lost.empty()) {
      accept(wanted, sent.pool_name, stored.devices[i], lost);
    }
  }
  return {};
}

void SliceWriter::accept(const Wanted& all, const std::string& pool, const Device& stored,
                         const std::vector<std::string>& lost) {
  const Device* wanted = find_device(all, pool, stored.name);
  if (wanted == nullptr) {
    return;
  }
  metrics_.field_dropped();
  log::warn("the API server dropped fields of a device, publishing it without them (is a feature gate off?)",
            {{"pool", pool}, {"device", stored.name}, {"fields", joined(lost)}});
  reduced_.insert_or_assign(DeviceKey{pool, stored.name}, Reduced{.wanted = *wanted, .stored = stored});
}

}  // namespace fairlead::dra
