// SPDX-License-Identifier: Apache-2.0
// The interface that a driver author implements: one object that offers devices and prepares them. Everything
// else (registration, gRPC, claims, slices, CDI files, records, metrics) is done by dra::Plugin, see
// plugin.h. It does not depend on networking.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/formats/cdi.h"
#include "fairlead/kube/resources/slice.h"

namespace fairlead::dra {

using Device = kube::Device;
using AttributeValue = kube::AttributeValue;
using Capacity = kube::Capacity;
using Version = kube::Version;

/// Devices that are allocated together under one pool name, unique in the cluster. A node's own pool has the
/// node's name.
struct Pool {
  std::string name;  // empty: the node's name
  /// The scheduler takes the first that fits: order by preference, and keep the order stable, because a
  /// change of order is a change of slices.
  std::vector<Device> devices;
};

/// Immutable text; copies share it. A claim may have each of its configurations at each of its devices.
class SharedText {
 public:
  SharedText() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): it is a text
  SharedText(std::string text) : text_(std::make_shared<const std::string>(std::move(text))) {}
  // NOLINTNEXTLINE(google-explicit-constructor)
  SharedText(const char* text) : SharedText(std::string(text)) {}

  [[nodiscard]] const std::string& str() const {
    static const std::string empty;
    return text_ ? *text_ : empty;
  }
  // NOLINTNEXTLINE(google-explicit-constructor)
  operator const std::string&() const { return str(); }
  // NOLINTNEXTLINE(google-explicit-constructor)
  operator std::string_view() const { return str(); }
  bool operator==(const SharedText& other) const { return text_ == other.text_ || str() == other.str(); }
  /// Whether both share one text in memory, as opposed to equal texts.
  [[nodiscard]] bool shares_with(const SharedText& other) const { return text_ == other.text_; }

 private:
  std::shared_ptr<const std::string> text_;
};

/// Opaque parameters for one device: only those of our own driver, with request and sub-request already
/// matched.
struct DeviceConfig {
  bool from_class = false;  // written by an admin in a DeviceClass; else by the author of the claim
  SharedText parameters;    // JSON text as the API server sent it: decode it with formats/strict_json.h
  /// The origin, for error messages: "config[1] of the claim: opaque.parameters", "config[0] of DeviceClass
  /// net: opaque.parameters". The index is that in the object which the author wrote.
  std::string path;
  /// Of a class's entry: the classes of all allocated requests that it is for, "" if one is not known. Not in records.
  std::vector<std::string> classes = {};

  /// Whether it is certain that the class by which the device was allocated has this entry. An allocator without the
  /// fix of kubernetes#134793 writes entries of several classes without the requests that they are for.
  [[nodiscard]] bool is_class_certain() const { return classes.size() == 1 && !classes[0].empty(); }
};

/// One device of one claim that is allocated from our driver.
struct AllocatedDevice {
  std::string request;  // "main" or "main/sub"
  std::string pool, device;
  std::string share_id;       // of a device that allows multiple allocations; else empty
  bool admin_access = false;  // monitoring only: never configure or take the device
  std::map<std::string, std::string> consumed_capacity;
  std::vector<DeviceConfig> config;  // weakest first: class, then claim; a later one wins
  /// DeviceIdentity::data in the claim's status when it was read: from an earlier Prepare of the same
  /// allocation, before a reboot or for a pod that is gone. Empty: none. Not in records.
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
  /// The pod's name for it: resourceClaims[].name for a claim made from a template, else `name`.
  std::string pod_claim_name = {};
};

/// The result of prepare(). Containers that use a device get its edits and the claim's.
struct Prepared {
  /// One entry per Claim::devices entry, in that order. Empty edits: the device needs no CDI and gets no CDI
  /// ID.
  std::vector<cdi::ContainerEdits> device_edits;
  /// Applied once per container that uses any device of the claim.
  cdi::ContainerEdits claim_edits;
  /// The driver's own data (any text; JSON by convention). Kept in the claim's record.
  std::string state;
};

/// The state of a claim. In-flight states are recorded on disk before the effect begins.
enum class ClaimState : std::uint8_t { kPreparing, kPrepared, kUnpreparing };

/// A claim's record, as kept on disk: enough to unprepare without the API server.
struct ClaimRecord {
  Claim claim;
  ClaimState state = ClaimState::kPreparing;
  std::string plan;  // the result of plan()
  /// Driver::plan_for_previous() of it; empty: the same. For the file only.
  std::string plan_for_previous = {};
  Prepared prepared;  // empty until prepare() succeeded; `state` inside may be changed later by Host::update
};

using RecordPtr = std::shared_ptr<const ClaimRecord>;

/// The difference between the claim records of two moments.
struct RecordChanges {
  /// Of the records after the changes: ask for the next changes with it. 0: the next changes are all records again
  /// (the folder cannot be listed now, these are the records as they were last read).
  std::uint64_t generation = 0;
  /// `changed` has all records: discard what is known of earlier generations.
  bool all = false;
  /// New and rewritten records, each as it is now. As long as a record does not change, it is one object.
  std::vector<RecordPtr> changed;
  /// The uids of claims whose records are gone. May name claims that were not known.
  std::vector<std::string> removed;
};

/// The claim records of this node, for indexes whose cost depends on the number of changes and not on the number of
/// records: keep the generation beside the index, under the same mutex, and update both before each use. The records
/// are those on disk, including those that another instance of the driver has written. Generations are numbers of this
/// process. Any number of indexes, any thread.
class RecordSource : private Pinned {
 public:
  RecordSource() = default;
  virtual ~RecordSource() = default;

  /// What changed since a call that returned this generation; since 0: all records. Changes whose write has returned
  /// before this call are included. Errors as of Host::records(); nothing is lost then, ask again.
  [[nodiscard]] virtual Result<RecordChanges> changes_since(std::uint64_t generation) const = 0;
};

/// The public information about one device of a claim: its entry in the claim's status.devices, with one
/// condition, "Ready".
struct DeviceReport {
  bool ready = false;
  bool unknown = false;  // neither ready nor not: the condition's status is "Unknown"
  std::string reason;    // one CamelCase word: "Attached"; in another form it is replaced
  std::string message;   // for people
  std::string interface_name;
  std::vector<std::string> ips;  // "10.0.0.5/24", "2001:db8::1/64": canonical text, host bits kept
  std::string hardware_address;  // "02:00:00:00:00:01"
  std::string data;              // JSON object; empty: DeviceIdentity::data
  /// Delay before it is written: for reports that are usually superseded, such as a pod's end shortly before
  /// the claim's. Of several devices the longest counts.
  std::chrono::milliseconds delay{0};
  bool operator==(const DeviceReport&) const = default;
};

/// The identity of a claim's device, beyond the name by which it was allocated.
struct DeviceIdentity {
  /// Equal for two names of the same device. Empty: the name is the identity.
  std::string key;
  /// JSON object of at most 10 KiB for the claim's status; returned as AllocatedDevice::reported.
  std::string data;
};

/// Deadline and cancellation of one call. Blocking work should check both; quick work may ignore both.
struct CallContext {
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  std::stop_token cancelled;
};

/// Whether a pod may still be using the claim's devices.
struct ClaimUse {
  enum class Kind : std::uint8_t { kUnused, kInUse, kUnknown };
  Kind kind = Kind::kUnknown;
  std::string why;  // for log lines; empty if unused
};

/// The driver's part while a claim's record is being written: see Driver::begin_admission(). Destroyed
/// when that is done, or has failed.
class Admission : private Pinned {
 public:
  Admission() = default;
  virtual ~Admission() = default;

  /// The record is on disk. If this is not called, the record was not written, and the admission has no
  /// effect. An error reverts the record.
  virtual Result<> recorded() { return {}; }
};

/// Calls come from worker threads: never two at once for one claim, nor for two claims that both want
/// exclusive use of a device; otherwise in parallel (also for two shares of one device). discover() is called
/// from one separate thread. Errors become the claim's error, verbatim, in the pod's events. Exceptions do
/// too, but with less detail.
class Driver : private Pinned {
 public:
  Driver() = default;
  virtual ~Driver() = default;

  /// All devices that this node offers now, devices of prepared claims included. Called at start, on
  /// Host::republish() and periodically. An error keeps the last published state.
  virtual Result<std::vector<Pool>> discover() = 0;

  /// Checks a claim and returns what prepare() will do, without side effects. The text is on disk before
  /// prepare() is called, so that unprepare() can undo a prepare() that was interrupted at any point. Called
  /// again when a prepare is retried.
  virtual Result<std::string> plan(const Claim& claim) {
    (void)claim;
    return std::string();
  }

  /// `plan` in the format of the driver's previous version, for a roll-back to it. The record's file has
  /// both.
  [[nodiscard]] virtual std::string plan_for_previous(const std::string& plan) const { return plan; }

  /// The last check before the claim is recorded as planned: is its plan still possible beside the other
  /// claims? From this call until the record is written and the result destroyed, no other claim of this
  /// driver is admitted, by any thread or instance: be quick, all Prepares of the driver wait for it. Called
  /// again, with a new plan, when a prepare is retried. The default admits every claim.
  ///
  /// `records` are those on disk, with the generations of Host::changes_since(). They may include an older
  /// one of this claim: compare uids. changes_since(0) returns all, which costs more the more claims there
  /// are; an index that is kept with changes_since(<its generation>) does not.
  ///
  /// kConflict: another claim was admitted since plan(); this one is planned again, several times at most.
  /// Other errors are the claim's. The result may be null: there is nothing to do once the record is written.
  virtual Result<std::unique_ptr<Admission>> begin_admission(const ClaimRecord& record,
                                                             const RecordSource& records,
                                                             const CallContext& context) {
    (void)record;
    (void)records;
    (void)context;
    return nullptr;
  }

  /// Makes the devices ready. May be called again with the same claim after a crash or an error: continue or
  /// start over, never twice. After an error the driver must have undone its part; the framework then calls
  /// unprepare() as well, to be sure.
  virtual Result<Prepared> prepare(const Claim& claim, const std::string& plan,
                                   const CallContext& context) = 0;

  /// The kubelet prepares the claim again, which is prepared: what its containers get may have changed on the node
  /// meanwhile, as the numbers of device nodes do when a kernel driver is loaded again. Returns
  /// Prepared::device_edits as they are now; nullopt: as in the record. After an error the claim stays prepared.
  virtual Result<std::optional<std::vector<cdi::ContainerEdits>>> prepare_again(const ClaimRecord& record,
                                                                                const CallContext& context) {
    (void)record;
    (void)context;
    return std::optional<std::vector<cdi::ContainerEdits>>();
  }

  /// Undoes everything that prepare() did, completely or partly, without the API server. Work already undone
  /// counts as undone.
  virtual Result<> unprepare(const ClaimRecord& record, const CallContext& context) = 0;

  /// One for each device of the claim, or none at all. Two claims that want exclusive use do not get devices
  /// with the same key. Must be quick; any thread.
  [[nodiscard]] virtual std::vector<DeviceIdentity> identities(const ClaimRecord& record) const {
    (void)record;
    return {};
  }

  /// All records found on disk, once, before the kubelet can call: the time to compare them with the actual
  /// state. In-flight claims have been unprepared by then; a record that is still kUnpreparing could not be,
  /// and will be retried. During a rolling update the other instance may be working on a record that is
  /// kPreparing.
  virtual void restored(const std::vector<ClaimRecord>& records) { (void)records; }

  /// Why devices that should be offered are not, in one sentence: /readyz fails with it. Any thread.
  [[nodiscard]] virtual Result<> ready() const { return {}; }

  /// Additional text for /metrics, in Prometheus' format. Any thread.
  [[nodiscard]] virtual std::string metrics_text() const { return {}; }

  /// The API server no longer has the claim, and the kubelet has not unprepared it: may it be undone without
  /// them? Return "unused" only if that is certain: a running pod must not lose its devices. Called from a
  /// separate thread, possibly during the claim's other calls; must not change anything.
  virtual ClaimUse use_of(const ClaimRecord& record) {
    (void)record;
    return {.why = "this driver cannot tell whether the pod is gone"};
  }

  /// The plugin begins to stop; calls are still accepted while this runs. Once.
  virtual void stopping() {}
};

}  // namespace fairlead::dra
