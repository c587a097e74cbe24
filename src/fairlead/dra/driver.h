// SPDX-License-Identifier: Apache-2.0
// What a driver author writes: one object that says what is here and how to hand it out. Everything else
// (registration, gRPC, claims, slices, CDI files, records, metrics) is done by dra::Plugin, see plugin.h.
// Nothing here knows of networks.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/formats/cdi.h"
#include "fairlead/kube/resources/slice.h"

namespace fairlead::dra {

using Device = kube::Device;
using AttributeValue = kube::AttributeValue;
using Capacity = kube::Capacity;
using Version = kube::Version;

/// Devices that are allocated together under one name, unique in the cluster. A node's own pool has the
/// node's name.
struct Pool {
  std::string name;  // empty: the node's name
  /// The scheduler takes the first that fits: put first what should go first, and keep the order stable,
  /// because a change of order is a change of slices.
  std::vector<Device> devices;
};

/// Text that never changes; copies share it. A claim may have each of its configurations at each of its
/// devices.
class SharedText {
 public:
  SharedText() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): it is a text
  SharedText(std::string text) : text_(std::make_shared<const std::string>(std::move(text))) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  SharedText(const char* text) : SharedText(std::string(text)) {}

  [[nodiscard]] const std::string& str() const {
    static const std::string kEmpty;
    return text_ ? *text_ : kEmpty;
  }
  // NOLINTNEXTLINE(google-explicit-constructor)
  operator const std::string&() const { return str(); }
  // NOLINTNEXTLINE(google-explicit-constructor)
  operator std::string_view() const { return str(); }
  bool operator==(const SharedText& other) const { return text_ == other.text_ || str() == other.str(); }
  /// Whether both have one text in memory, not only equal ones.
  [[nodiscard]] bool shares_with(const SharedText& other) const { return text_ == other.text_; }

 private:
  std::shared_ptr<const std::string> text_;
};

/// Opaque parameters meant for one device: those of our own driver only, request and sub-request already
/// matched.
struct DeviceConfig {
  bool from_class = false;  // written by an admin in a DeviceClass; else by whoever wrote the claim
  SharedText parameters;    // JSON text as the API server sent it: decode it with formats/strict_json.h
  /// Where its author finds it, for error messages: "config[1] of the claim: opaque.parameters", "config[0]
  /// of DeviceClass net: opaque.parameters". The index is that in the object which the author wrote.
  std::string path;
};

/// One device of one claim that is allocated from our driver.
struct AllocatedDevice {
  std::string request;  // "main" or "main/sub"
  std::string pool, device;
  std::string share_id;       // of a device that allows multiple allocations; else empty
  bool admin_access = false;  // monitoring only: never configure or take the device
  std::map<std::string, std::string> consumed_capacity;
  std::vector<DeviceConfig> config;  // weakest first: class, then claim; a later one wins
  /// What stood in the claim's status when it was read, as DeviceIdentity::data: from an earlier Prepare of
  /// the same allocation, before a reboot or for a pod that is gone. Empty: nothing. Not in records.
  std::string reported;

  /// "main" of "main/sub": what a container's resources.claims[].request names.
  [[nodiscard]] std::string main_request() const { return request.substr(0, request.find('/')); }
};

struct Pod {
  std::string name, uid;
};

/// A claim as the API server has it now: UID checked, allocated, on this node, filtered to our driver.
struct Claim {
  std::string namespace_, name, uid;
  std::vector<Pod> reserved_for;
  std::vector<AllocatedDevice> devices;  // at least one
  /// What its pod calls it: resourceClaims[].name of a claim that was made from a template, else `name`.
  std::string pod_claim_name = {};
};

/// What prepare() gives back. Containers that use a device get its edits and the claim's.
struct Prepared {
  /// One entry per Claim::devices entry, in that order. Empty edits: the device needs no CDI and gets no CDI
  /// ID.
  std::vector<cdi::ContainerEdits> device_edits;
  /// Applied once per container that uses any device of the claim.
  cdi::ContainerEdits claim_edits;
  /// Whatever the driver wants to find again (any text; JSON by custom). Kept in the claim's record.
  std::string state;
};

/// Where a claim stands. In-flight states are states: they are on disk before the effect begins.
enum class ClaimState : std::uint8_t { kPreparing, kPrepared, kUnpreparing };

/// A claim's record, as kept on disk: enough to unprepare without the API server.
struct ClaimRecord {
  Claim claim;
  ClaimState state = ClaimState::kPreparing;
  std::string plan;  // what plan() said
  /// Driver::plan_for_previous() of it; empty: the same. For the file only.
  std::string plan_for_previous = {};
  Prepared prepared;  // empty until prepare() succeeded; `state` inside may be changed later by Host::update
};

/// What the world may know of one device of a claim: its entry in the claim's status.devices, with one
/// condition, "Ready".
struct DeviceReport {
  bool ready = false;
  bool unknown = false;  // neither: the condition's status is "Unknown"
  std::string reason;    // one CamelCase word: "Attached"; else the API server's rule is met by a default
  std::string message;   // for people
  std::string interface_name;
  std::vector<std::string> ips;  // "10.0.0.5/24", "2001:db8::1/64": canonical text, host bits kept
  std::string hardware_address;  // "02:00:00:00:00:01"
  std::string data;              // JSON object; empty: DeviceIdentity::data
  /// Written this much later: for what will often be overtaken, such as a pod's end shortly before the
  /// claim's. Of several devices the longest counts.
  std::chrono::milliseconds delay{0};
  bool operator==(const DeviceReport&) const = default;
};

/// What a device of a claim is, beyond the name by which it was allocated.
struct DeviceIdentity {
  /// Equal for two devices that are one under two names. Empty: the name says all.
  std::string key;
  /// JSON object of at most 10 KiB for the claim's status; comes back as AllocatedDevice::reported.
  std::string data;
};

/// Deadline and cancellation of one call. Blocking work should look at both; both may be ignored by quick
/// work.
struct CallContext {
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  std::stop_token cancelled;
};

/// Whether somebody still has what a claim was given.
struct ClaimUse {
  enum class Kind : std::uint8_t { kUnused, kInUse, kUnknown };
  Kind kind = Kind::kUnknown;
  std::string why;  // for people, unless it is unused
};

/// What a driver has to say for itself while a claim's record is being written: see Driver::admit(). Goes
/// when that is done, or has failed.
class Admission {
 public:
  Admission() = default;
  Admission(const Admission&) = delete;
  Admission& operator=(const Admission&) = delete;
  Admission(Admission&&) = delete;
  Admission& operator=(Admission&&) = delete;
  virtual ~Admission() = default;

  /// The record is on disk. Without this call it is not, and nothing has come of the admission. An error
  /// takes the record back.
  virtual Result<> recorded() { return {}; }
};

/// Calls come from worker threads: never two at once for one claim, nor for two claims that both want a
/// device for themselves; otherwise in parallel (so also for two shares of one device). discover() comes from
/// one thread of its own. Errors become the claim's error, word for word, in the pod's events. Exceptions do
/// too, but say less.
class Driver {
 public:
  Driver() = default;
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;
  Driver(Driver&&) = delete;
  Driver& operator=(Driver&&) = delete;
  virtual ~Driver() = default;

  /// Everything this node has to offer now, devices of prepared claims included. Called at start, on
  /// Host::republish() and once in a while. An error keeps the last published state.
  virtual Result<std::vector<Pool>> discover() = 0;

  /// Checks a claim and says what prepare() will do, touching nothing. The text is on disk before prepare()
  /// is called, so that unprepare() can undo a prepare() that was cut off at any point. Called again when a
  /// prepare is tried again.
  virtual Result<std::string> plan(const Claim& claim) {
    (void)claim;
    return std::string();
  }

  /// `plan` as the version of the driver before this one reads it, which may come back in a roll-back. The
  /// record's file has both.
  [[nodiscard]] virtual std::string plan_for_previous(const std::string& plan) const { return plan; }

  /// The last word before the claim is recorded as planned: whether it may still have what its plan says.
  /// `others` are the records of all other claims as they are on disk now; until this one's is there too, no
  /// claim of this driver is admitted, by any thread or instance. kConflict: another claim came between; this
  /// one is planned anew. Must be quick. The answer may be null.
  virtual Result<std::unique_ptr<Admission>> admit(
      const ClaimRecord& record, const std::vector<std::shared_ptr<const ClaimRecord>>& others,
      const CallContext& context) {
    (void)record;
    (void)others;
    (void)context;
    return nullptr;
  }

  /// Makes the devices ready. May be called again with the same claim after a crash or an error: continue or
  /// start over, never double. After an error the driver must have undone its part; the framework then calls
  /// unprepare() as well, to be sure.
  virtual Result<Prepared> prepare(const Claim& claim, const std::string& plan,
                                   const CallContext& context) = 0;

  /// Undoes whatever prepare() did or half did. No API server here. What is gone already counts as undone.
  virtual Result<> unprepare(const ClaimRecord& record, const CallContext& context) = 0;

  /// One for each device of the claim, or none at all. Two claims that want devices for themselves do not get
  /// those of one key. Must be quick; any thread.
  [[nodiscard]] virtual std::vector<DeviceIdentity> identities(const ClaimRecord& record) const {
    (void)record;
    return {};
  }

  /// All records found on disk, once, before the kubelet can call: the moment to compare with the real world.
  /// What was in flight has been unprepared by then; a record that is still kUnpreparing could not be and
  /// will be tried again. During a rolling update the other instance may be at work on a record that is
  /// kPreparing.
  virtual void restored(const std::vector<ClaimRecord>& records) { (void)records; }

  /// What keeps devices from being offered that should be, in one sentence: /readyz says so and fails. Any
  /// thread.
  [[nodiscard]] virtual Result<> ready() const { return {}; }

  /// More for /metrics, in Prometheus' text format. Any thread.
  [[nodiscard]] virtual std::string metrics_text() const { return {}; }

  /// The API server no longer has the claim, and the kubelet has not unprepared it: may it be undone without
  /// them? Only what is certain counts: a pod that still runs must not lose its devices. Called from a thread
  /// of its own, while the claim's other calls may run; changes nothing.
  virtual ClaimUse use_of(const ClaimRecord& record) {
    (void)record;
    return {.why = "this driver cannot tell whether the pod is gone"};
  }

  /// The plugin begins to stop; calls are still taken while this runs. Once.
  virtual void stopping() {}
};

}  // namespace fairlead::dra
