// SPDX-License-Identifier: Apache-2.0
// What one kind of device can do. A new kind is one folder with one class that implements Kind, and one line
// in app/ that registers it; docs/kinds.md shows how. A device need not be a network link: nothing here says
// so, and what links need beyond this is in devices/netdev.
//
// The life of a device, and who calls:
//
//   plan -----> prepare -----> attach -----> detach        the claim's calls, in this order; each but plan()
//   (claim)     (node)         (pod's        (undo of      may come again after a crash or an error
//                               network       both)
//                               namespace)
//
//   offers: for the ResourceSlices           sweep: at a start, what no record knows
//   inspect: for the claim's status          node_changed: the node's devices changed
//
// A plan may have parts, each of a kind of its own: an RDMA device and its link, say. A kind whose plans have
// parts decides no more than which; the framework calls the kinds of the parts, in order, and undoes them
// backwards.
//
// A device that several kinds can serve is offered once, by the kind that owns it: a whole NIC is offered by
// "netdev" "host-device", though a macvlan can have it too. The links that are made on demand all come from one
// device, which each of their kinds offers in the same way; Registry::offers() returns it once.
#pragma once

#include <algorithm>
#include <chrono>
#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <typeindex>
#include <vector>

#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/devices/marker.h"
#include "fairlead/devices/resolved.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/formats/cdi.h"
#include "fairlead/formats/fields.h"

namespace fairlead::sys {
class NodeFacts;
}

namespace fairlead::devices {

// Handed through to the kinds that know them: devices/node.h, devices/node_questions.h, devices/other_claims.h.
struct NodeOptions;
class NodeView;
struct NodeQuestions;
class OtherClaims;

/// The words that choose a kind in a claim: {"netdev", "macvlan"}.
struct KindName {
  std::string type, kind;
  friend auto operator<=>(const KindName&, const KindName&) = default;
};
/// "netdev macvlan"
std::string to_string(const KindName& name);

/// What plan() of a kind decided, in the kind's own terms. Immutable; any thread.
class PlanBody {
 public:
  PlanBody() = default;
  virtual ~PlanBody() = default;

  /// The JSON object that Kind::read() reads again, as JsonWriter or nlohmann's dump() writes it: keys in order, no white
  /// space, UTF-8.
  [[nodiscard]] virtual std::string to_json() const = 0;
  /// What the device is called in the pod, such as an interface's name; empty: it has no name there.
  [[nodiscard]] virtual std::string name_in_pod() const { return {}; }

 protected:
  PlanBody(const PlanBody&) = default;
  PlanBody& operator=(const PlanBody&) = default;
  PlanBody(PlanBody&&) = default;
  PlanBody& operator=(PlanBody&&) = default;
};
using PlanBodyPtr = std::shared_ptr<const PlanBody>;

/// What the framework must do for a plan.
struct Needs {
  /// attach() is called with the pod's network namespace, and no container of the pod runs before that
  /// succeeded. A pod without a namespace of its own (hostNetwork) is refused. False: prepare() is all.
  bool pod_netns = false;
  /// The device itself leaves the node for the pod's namespace: that is on disk before it does, and the
  /// namespace is held open until the device is back.
  bool leaves_node = false;
};

/// What was decided for one device of a claim. Kept in the claim's record.
struct DevicePlan {
  bool admin_access = false;  // monitoring only (KEP-5018): nothing is made or taken, and there is no kind
  KindName name = {};
  std::string request;  // for messages and for the container's environment
  PlanBodyPtr body;     // nullptr: it was not read, or cannot be read (`problem`)
  Needs needs = {};
  /// Of a device that was allocated as a whole: its name by what it is, and its identity as JSON
  /// (identity.h). Empty: it was made on demand, or the record is of version 0.1.
  std::string key, identity;
  std::optional<Error> problem = {};  // why this version cannot work with the plan; of parts, with the first

  /// What the device is made of, in the order in which it is prepared and attached. A plan with parts has no
  /// body, and what all parts together need; after plan() its own kind is not called any more. A part has
  /// name, request, body, needs and problem, and no parts.
  std::vector<DevicePlan> parts = {};

  /// The plans whose kinds do the work: the parts, or this plan if it has none.
  [[nodiscard]] std::span<const DevicePlan> parts_or_self() const {
    return parts.empty() ? std::span<const DevicePlan>(this, 1) : std::span<const DevicePlan>(parts);
  }
};

/// parts_or_self() of all of these, in order.
inline std::vector<const DevicePlan*> all_parts(std::span<const DevicePlan> devices) {
  std::vector<const DevicePlan*> all;
  for (const DevicePlan& device : devices) {
    for (const DevicePlan& part : device.parts_or_self()) {
      all.push_back(&part);
    }
  }
  return all;
}
/// Sets needs and problem of a plan from those of its parts.
void add_up_parts(DevicePlan& plan);

/// A claim of this node and what its devices were planned to be.
struct PlannedClaim {
  std::string namespace_, name, uid;
  std::vector<DevicePlan> devices;  // of one with parts, the parts
  std::vector<dra::Pod> reserved_for = {};
  /// In which its containers find the devices' names; one for each of `devices`, empty for one that is only
  /// monitored, and for all parts of a device but the first.
  std::vector<std::string> variables = {};
};

/// A device of a claim that no other claim may have.
struct HeldDevice {
  std::string name;  // the name in the allocation
  DevicePlan plan;
};

struct OfferInput {
  const NodeView* node = nullptr;         // the links, and whose they are
  const sys::NodeFacts* facts = nullptr;  // links, PCI functions, RDMA devices; null only in tests
  /// What claims hold. A kind needs it for devices that have left the node, and to keep names unique.
  std::span<const HeldDevice> held = {};
  /// Not empty: only the device that is, or was, offered under this name is needed, as it is now. A kind may
  /// return more.
  std::string_view named = {};
};

/// Why a device is not given to claims now.
struct NotOffered {
  std::string reason;  // a word for metrics: "uplink"
  std::string text;    // one sentence: "it is a port of br0"
  /// It is the same for all devices of the kind, and in Offers::problem.
  bool is_general = false;
};

struct Offer {
  dra::Device device;  // its name is by what it is, so that it survives a reboot
  /// `key` is equal for two names of the same device; empty: the name is. `data` is needed only if
  /// OfferInput::named is set.
  dra::DeviceIdentity identity = {};
  std::string called = {};  // what people call it on the node: "eth1"; empty: as the device
  /// Names by which a version that recorded no key allocated it.
  std::vector<std::string> former_names = {};
  /// Not published while this is set, except for the claim that holds it: an allocated device must not vanish.
  std::optional<NotOffered> withheld = {};
};

struct Offers {
  std::vector<Offer> devices;
  std::optional<NotOffered> problem = {};  // why none is offered, as far as that concerns all of them
};

struct PlanInput {
  const dra::AllocatedDevice* device = nullptr;
  const NodeView* node = nullptr;
  const sys::NodeFacts* facts = nullptr;  // as of OfferInput
  const dra::Claim* claim = nullptr;      // the one that the device is for
  /// All other claims of this node that are prepared, or being prepared: what one of them has may be
  /// something that cannot be had twice. The claim itself, too, with the devices that were planned before
  /// this one. nullptr: none.
  const OtherClaims* others = nullptr;
  /// Answers what NodeView does not contain; nullptr: the kernel cannot be queried.
  const NodeQuestions* ask = nullptr;
  /// Called with each part of the device as soon as it is planned: `others` has it from then on, as a device of
  /// this claim. May be empty.
  std::function<void(const DevicePlan& part)> part_planned = {};
  /// For a kind whose plans have parts: plans the one of this name (Kind::parts), for DevicePlan::parts.
  std::function<Result<DevicePlan>(std::string_view part)> plan_part = {};
  /// Whether a link that is the node's own may be the parent that the values name. Registry::plan() fills it in.
  OwnParents own_parents = OwnParents::kNone;
};

/// What one entry of parameters says of a part of the device.
struct PartConfig {
  std::string part;          // its name, the same in all entries of the device
  dra::DeviceConfig config;  // parameters as a claim has them, {"type": ..., ...}, and their path
};

/// What the devices of one claim share during one call into one network namespace, such as a socket or a list:
/// each type of thing exists once and is made when it is first asked for. One thread.
class CallScope {
 public:
  template <class T>
  T& get() {
    std::shared_ptr<void>& thing = things_[std::type_index(typeid(T))];
    if (!thing) {
      thing = std::make_shared<T>();
    }
    return *static_cast<T*>(thing.get());
  }

 private:
  std::map<std::type_index, std::shared_ptr<void>> things_;
};

/// A network namespace during one call. All is borrowed.
struct Side {
  int netns = -1;
  bool is_callers = false;  // it is the calling thread's own: the node's
  CallScope* scope = nullptr;
};

/// What every call after plan() gets.
struct DeviceInput {
  const DevicePlan* plan = nullptr;
  Marker marker;
  Side node;
  const NodeOptions* options = nullptr;
};

struct PrepareInput : DeviceInput {
  /// The environment variable in which containers expect the device's name in the pod. Of several parts it is
  /// for the first that has a name there; else for the first. Empty for the others.
  std::string variable;
};

struct AttachInput : DeviceInput {
  Side pod;
  /// All of the claim was attached here before, and a container ran with it: what is there stays as the pod
  /// made it, only what is missing is attached anew.
  bool was_attached = false;
  /// What an earlier attach() returned, if it is certain that this is the same namespace; else 0.
  std::int32_t index_in_pod = 0;
};

/// What a device was given when it was attached: this goes to the claim's status, not what a pod with NET_ADMIN
/// made of it.
struct Given {
  std::string mac;
  std::vector<std::string> addresses;  // with their prefixes
};

struct Attached {
  std::int32_t index = 0;  // by which the kernel knows it in the pod, such as an interface's index; 0: none
  bool changed = false;    // made or moved by this call: undone when the call as a whole fails
  Given given;
  /// Reverts what this call changed for other interfaces of the pod; called before the device is detached.
  /// Empty if there is nothing to revert. The sides of the call must still exist.
  std::function<void()> undo_in_pod = {};
};

struct DetachInput : DeviceInput {
  std::optional<Side> pod;        // nullopt: the pod's namespace is gone, or was never known
  std::int32_t index_in_pod = 0;  // what attach() returned; 0: not certain that `pod` is that namespace
  bool was_attached = false;      // attach() or stage() succeeded once
  bool was_begun = false;         // attach() began, and how far it got is not known
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  /// Called with what the device's user should know although it is undone: a reason (CamelCase) and a
  /// sentence. May be empty.
  std::function<void(const std::string& reason, const std::string& message)> tell;
};

struct InspectInput : DeviceInput {
  Side pod;
  std::int32_t index_in_pod = 0;  // as of DetachInput
  const Given* given = nullptr;   // nullptr: the record is of version 0.1
};

/// What no record knows is looked for.
struct SweepInput {
  std::string driver;
  Side node;
  const NodeOptions* options = nullptr;
  /// Whether a record of this claim was there when the sweep began.
  std::function<bool(const std::string& claim_uid)> is_known;
  /// Runs `action` while it is certain that the claim has no record, nor gets one; false: it has one.
  std::function<Result<bool>(const std::string& claim_uid, const std::function<void()>& action)> if_unknown;
};

/// For kinds whose devices the OCI runtime can move into the pod's namespace (CDI 1.1.0 netDevices). Stateless.
class Staging {
 public:
  /// Puts the device into the node's namespace for the OCI runtime to move; returns its name there. May be
  /// called again. Undone by Kind::detach().
  virtual Result<std::string> stage(const DeviceInput& input) const = 0;
  /// The runtime should have moved it: makes it ready for attach(). kNotFound when it is not there.
  virtual Result<> receive(const AttachInput& input) const = 0;
  /// What waits on the node under the name that stage() returned.
  virtual Result<dra::DeviceReport> inspect_staged(const Side& node, const std::string& name) const = 0;

 protected:
  ~Staging() = default;
};

/// For kinds that attach several devices of a claim faster together than one after the other. Stateless.
class JointAttach {
 public:
  /// Kind::attach() for devices of one claim, in their order; at least one, with the same sides. All or nothing: on
  /// failure this call has undone what it did, and `failed` is the position of the device whose error it is.
  virtual Result<std::vector<Attached>> attach_all(std::span<const AttachInput> inputs,
                                                   std::size_t& failed) const = 0;

 protected:
  ~JointAttach() = default;
};

/// Stateless: any thread, several at once.
class Kind : private Pinned {
 public:
  Kind() = default;
  virtual ~Kind() = default;

  [[nodiscard]] virtual KindName name() const = 0;

  /// Whether this node can do it, tried at a start in an empty network namespace that is thrown away after all
  /// kinds were asked. The error is one sentence.
  virtual Result<> probe(const Side& scratch) const {
    (void)scratch;
    return {};
  }
  /// The devices of this node that this kind owns (see above), withheld ones included, from what was read: it
  /// reads nothing. The framework publishes them, with what claims hold, and logs what is withheld.
  [[nodiscard]] virtual Offers offers(const OfferInput& input) const {
    (void)input;
    return {};
  }
  /// Whether the device has the identity that an earlier Prepare of the same allocation reported
  /// (dra::DeviceIdentity::data, perhaps of another version). The error's sentence begins with `who`.
  virtual Result<> check_is_same(std::string_view reported, const Offer& now, const std::string& who) const {
    (void)reported;
    (void)now;
    (void)who;
    return {};
  }
  /// What may be written for it, besides `kind`. With static storage duration, and always the same.
  [[nodiscard]] virtual std::span<const fields::Field> fields() const = 0;
  /// Who is affected when a claim asks for this kind, beside what its fields say of themselves. Always the same.
  [[nodiscard]] virtual fields::Risk risk() const { return fields::Risk::kNode; }
  /// Of a kind whose plans have parts: what the values of one entry say of each, from the fields with
  /// fields::Field::is_part. The origin of the parameters is the caller's to fill in. Pure.
  [[nodiscard]] virtual std::vector<PartConfig> parts(const fields::Values& entry) const {
    (void)entry;
    return {};
  }
  /// Whether a field describes parts.
  [[nodiscard]] bool has_parts() const { return std::ranges::any_of(fields(), &fields::Field::is_part); }
  /// Checks the values of fields() against the node, changes nothing. A device of its own may have been withheld
  /// since it was allocated: that is for this to refuse. Everything detach() needs later must be in
  /// the plan. The caller fills in name, request, needs, key and identity. `values` is empty if the claim has no
  /// parameters: that is for a device that this kind offers.
  virtual Result<DevicePlan> plan(const PlanInput& input, const fields::Values& values) const = 0;
  /// Reads PlanBody::to_json() again, of the version before this one too. `name_in_pod`: PlanBody::
  /// name_in_pod(), which the record has beside the body.
  virtual Result<PlanBodyPtr> read(std::string_view json, std::string_view name_in_pod) const = 0;
  [[nodiscard]] virtual Needs needs(const PlanBody& body) const = 0;

  /// Node-side effects, and what containers get by CDI: device nodes, mounts, environment.
  virtual Result<cdi::ContainerEdits> prepare(const PrepareInput& input) const {
    (void)input;
    return cdi::ContainerEdits();
  }
  /// Only with Needs::pod_netns. Puts the device into the pod's namespace, or completes what is already there.
  /// Undoes its own part on failure.
  virtual Result<Attached> attach(const AttachInput& input) const {
    (void)input;
    return Attached();
  }
  /// Undoes prepare(), attach() and stage(), however far they got. What is gone counts as undone.
  virtual Result<> detach(const DetachInput& input) const = 0;

  /// The device's entry in the claim's status: ready with its names, or "InterfaceGone" and the like.
  /// Of a device that needs no pod's network namespace, InspectInput::pod is none (-1), and `plan` and `marker` are
  /// all that is given.
  virtual Result<dra::DeviceReport> inspect(const InspectInput& input) const {
    const bool in_pod = input.plan == nullptr || input.plan->needs.pod_netns;
    return dra::DeviceReport{.ready = true, .reason = in_pod ? "Attached" : "Prepared"};
  }
  /// What prepare() returns may change while a claim is prepared, as the numbers of device nodes do when a driver is
  /// loaded again: it is called again whenever the kubelet prepares the claim again. Nothing is undone if it fails
  /// then.
  [[nodiscard]] virtual bool may_change_when_prepared() const { return false; }
  /// Whether something in the namespace says that it is the claim's (of any device: Marker::index does not
  /// count).
  virtual Result<bool> is_claim_in(const Side& pod, const Marker& claim) const {
    (void)pod;
    (void)claim;
    return false;
  }
  /// Undoes what the marker of this driver is on and no record knows. At a start. The first error, after all
  /// was tried.
  virtual Result<> sweep(const SweepInput& input) const {
    (void)input;
    return {};
  }
  /// Version 0.1 is about to take over (a roll-back): changes what the claim's device in `pod` says of itself,
  /// such as a link's alias, to the form that 0.1 compares with. Everything else stays as it is.
  virtual Result<> mark_for_previous(const Side& pod, const Marker& marker) const {
    (void)pod;
    (void)marker;
    return {};
  }
  /// Something about the node's devices has changed, or the program has just started: what had to wait for it
  /// can be done now. May be called at any time.
  virtual Result<> node_changed(const Side& node, const NodeOptions& options) const {
    (void)node;
    (void)options;
    return {};
  }
  /// nullptr: the OCI runtime cannot move devices of this kind.
  [[nodiscard]] virtual const Staging* staging() const { return nullptr; }
  /// nullptr: devices of this kind are attached one by one.
  [[nodiscard]] virtual const JointAttach* joint_attach() const { return nullptr; }
};

}  // namespace fairlead::devices
