// SPDX-License-Identifier: Apache-2.0
// What the kinds that are made on demand share: born in the pod's namespace with their final name, MAC, MTU
// and alias in one request; found again by the alias; deleted.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fairlead/devices/netdev/common.h"
#include "fairlead/devices/netdev/netdev_kind.h"

namespace fairlead::devices::netdev {

class VirtualLink : public NetdevKind, public JointAttach {
 public:
  Result<> probe(const Side& scratch) const final;
  [[nodiscard]] Offers offers(const OfferInput& input) const final;
  Result<DevicePlan> plan(const PlanInput& input, const fields::Values& values) const final;
  Result<Attached> attach(const AttachInput& input) const final;
  [[nodiscard]] const JointAttach* joint_attach() const final { return this; }
  /// The links are created in one exchange, and configured in another.
  Result<std::vector<Attached>> attach_all(std::span<const AttachInput> inputs,
                                           std::size_t& failed) const final;
  Result<std::string> stage(const DeviceInput& input) const final;
  Result<> detach(const DetachInput& input) const final;

 protected:
  [[nodiscard]] bool may_be(const netlink::Link& link) const final { return link.kind == kind(); }
  /// The kind's own fields and rules.
  virtual Result<> resolve(const PlanInput& input, const fields::Values& values, const CommonValues& common,
                           NetdevPlan& plan) const = 0;
  /// The kind's own part of the request, after a check of what may have changed on the node since plan();
  /// name, MAC, MTU, namespace and alias are filled in by the caller.
  virtual Result<netlink::NewLink> make(const NetdevPlan& plan, const Marker& marker, const Place& node,
                                        const NodeOptions& options) const = 0;
  /// Why the kernel does not make the link, for the claim's author: what changed since plan(), and what only the
  /// kernel knows.
  [[nodiscard]] virtual Error refused(Error error, const NetdevPlan& plan) const;
  /// A link of this kind to try the kernel with, on `parent` if it needs one.
  [[nodiscard]] virtual netlink::NewLink sample(netlink::IfIndex parent) const = 0;
  /// What else belongs to the link in the node's namespace: removed before one is made and after one is
  /// deleted.
  virtual Result<> remove_host_side(const Marker& marker, const Place& node) const;
  /// The part of the work in the node's namespace that follows the birth. Called again on a repeated attach.
  virtual Result<> finish_host_side(const NetdevPlan& plan, const Marker& marker, const Place& node) const;

 private:
  [[nodiscard]] const netlink::Link* find_made(const AttachInput& input,
                                               const std::vector<netlink::Link>& links) const;
  /// A link to be created.
  struct Birth {
    const NetdevPlan* plan = nullptr;
    const Marker* marker = nullptr;
    std::size_t device = 0;  // position in the call
    netlink::NewLink link;
    std::optional<netlink::Link> made = {};
  };
  /// The complete Birth::link of one that has only a name, after a check of what is there. `taken`: the existing link
  /// of that name, nullptr if there is none.
  [[nodiscard]] Result<netlink::NewLink> new_link(const Birth& birth, const Place& node, const Place& where,
                                                  const netlink::Link* taken,
                                                  const NodeOptions& options) const;
  /// Creates them in their first namespace. After an error those that were created have Birth::made, and
  /// `failed` is the position of the device.
  Result<> create(std::span<Birth> births, const Place& node, const Place& where, std::size_t& failed) const;
  [[nodiscard]] Error not_created(Error error, const Birth& birth, const Place& where) const;
  /// One of the call's devices, with a Birth if its link is not there.
  struct Work {
    const NetdevPlan* plan = nullptr;
    Interface interface;
    Attached attached;
  };
  [[nodiscard]] Result<Work> look_at(const AttachInput& input, const Place& node, const Place& pod,
                                     std::vector<Birth>& births, std::size_t device) const;
  void take_back(std::span<const Birth> births, const Place& node, const Place& pod) const;
};

/// Keeps a link of ours that is in the node's namespace, and not up yet, out of the node's IPv6 stack: no
/// address, no router advertisements, no router solicitations, no incoming packets. Otherwise a claim's
/// author, or the pod at the other end, could give the node addresses and routes (CVE-2020-10749). A bridge
/// port still forwards IPv6: that happens below the IPv6 stack.
Result<> keep_out_of_ipv6(const Place& node, const std::string& link);

/// Refuses a kind that creates its link if the allocated device is a NIC.
Result<> require_virtual_device(const PlanInput& input, const fields::Values& values, std::string_view kind);

}  // namespace fairlead::devices::netdev
