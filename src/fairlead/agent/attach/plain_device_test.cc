// SPDX-License-Identifier: Apache-2.0
// A device that is no network link, through the whole agent: its kind offers it, and a claim is allocated it by
// that name. What prepare() makes is all, so that there is no hook, and a pod with hostNetwork may have it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>

#include "fairlead/agent/attach/attach_reports.h"
#include "fairlead/agent/testing/kernel_fixture.h"

namespace fairlead::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

/// What the node has of them.
struct PlainNode {
  std::map<std::string, std::string> paths = {{"plain-broken", "/dev/broken"}, {"plain-null", "/dev/null"}};
  std::map<std::string, std::string> in_use;  // device -> by what
  std::string problem;                        // why none is offered
  std::map<std::string, std::string> moved;   // path when it was planned -> path now
};

/// A device node for the container; the test sees which claims have one.
class PlainKind final : public devices::Kind {
 public:
  using Prepared = std::map<std::string, std::string>;  // marker -> variable
  PlainKind(Prepared& prepared, const PlainNode& node) : prepared_(&prepared), node_(&node) {}

  [[nodiscard]] devices::KindName name() const override { return {.type = "plain", .kind = "node"}; }
  [[nodiscard]] devices::Offers offers(const devices::OfferInput& /*input*/) const override {
    devices::Offers offers;
    if (!node_->problem.empty()) {
      offers.problem = {.reason = "unknown", .text = node_->problem, .is_general = true};
    }
    for (const auto& [name, path] : node_->paths) {
      devices::Offer offer{
          .device = {.name = name}, .identity = {.key = name, .data = data_of(path)}, .called = path};
      offer.device.attributes["type"] = std::string("plain");
      if (const auto user = node_->in_use.find(name); user != node_->in_use.end()) {
        offer.withheld = {.reason = "in-use", .text = user->second + " has it"};
      }
      offers.devices.push_back(std::move(offer));
    }
    return offers;
  }
  Result<> check_is_same(std::string_view reported, const devices::Offer& now,
                         const std::string& who) const override {
    return reported.empty() || reported == now.identity.data
               ? Result<>()
               : Error(Code::kInvalid, who + " is another than before");
  }
  [[nodiscard]] std::span<const fields::Field> fields() const override {
    static constexpr std::array kFields = {fields::Field{.name = "path"}};
    return kFields;
  }
  Result<devices::DevicePlan> plan(const devices::PlanInput& input,
                                   const fields::Values& values) const override {
    const auto known = node_->paths.find(input.device->device);
    if (known == node_->paths.end()) {
      return Error(Code::kNotFound, "the device " + input.device->device + " is not on this node");
    }
    const auto path = values.string("path");
    return devices::DevicePlan{.body = std::make_shared<const Body>(path ? path->value : known->second)};
  }
  Result<devices::PlanBodyPtr> read(std::string_view json, std::string_view /*name*/) const override {
    if (!json.starts_with(kBegin) || !json.ends_with(kEnd)) {
      return Error(Code::kCorrupt, "no path");
    }
    json.remove_prefix(kBegin.size());
    json.remove_suffix(kEnd.size());
    return std::make_shared<const Body>(std::string(json));
  }
  [[nodiscard]] devices::Needs needs(const devices::PlanBody& /*body*/) const override { return {}; }
  Result<cdi::ContainerEdits> prepare(const devices::PrepareInput& input) const override {
    const auto& body = dynamic_cast<const Body&>(*input.plan->body);
    if (body.path == "/dev/broken") {
      return Error(Code::kUnavailable, "the device does not answer");
    }
    prepared_->emplace(input.marker.alias(), input.variable);
    const auto moved = node_->moved.find(body.path);
    return cdi::ContainerEdits{
        .device_nodes = {{.path = moved == node_->moved.end() ? body.path : moved->second}}};
  }
  [[nodiscard]] bool may_change_when_prepared() const override { return true; }
  Result<> detach(const devices::DetachInput& input) const override {
    prepared_->erase(input.marker.alias());
    return {};
  }

  static std::string data_of(const std::string& path) {
    return std::string(kBegin) + path + std::string(kEnd);
  }

 private:
  static constexpr std::string_view kBegin = R"({"path":")";
  static constexpr std::string_view kEnd = R"("})";
  struct Body final : devices::PlanBody {
    explicit Body(std::string given) : path(std::move(given)) {}
    [[nodiscard]] std::string to_json() const override { return data_of(path); }
    std::string path;
  };
  Prepared* prepared_;
  const PlainNode* node_;
};

class PlainDevice : public KernelTest {
 protected:
  PlainDevice() { registry_.add(std::make_unique<PlainKind>(prepared_, plain_node_)); }

  /// As the allocator gives it: by the name that the kind offers, without any config.
  static dra::AllocatedDevice plain(const std::string& device, const std::string& request = "node") {
    return {.request = request, .pool = "node-a", .device = device};
  }
  static dra::Claim claim_of(std::vector<dra::AllocatedDevice> devices) {
    dra::Claim claim{.namespace_ = "default", .name = "claim-u1", .uid = "u1"};
    claim.devices = std::move(devices);
    return claim;
  }
  /// What is published beside netdev-virtual.
  std::vector<std::string> published() {
    std::vector<std::string> names;
    const auto pools = driver_->discover();
    EXPECT_TRUE(pools) << pools.error().what();
    for (const dra::Device& device : pools ? pools->front().devices : std::vector<dra::Device>()) {
      if (device.name != "netdev-virtual") {
        names.push_back(device.name);
      }
    }
    return names;
  }

  PlainNode plain_node_;
  PlainKind::Prepared prepared_;
};

TEST_F(PlainDevice, IsOfferedByItsKind_AndAllocatedByThatName) {
  EXPECT_THAT(published(), ElementsAre("plain-broken", "plain-null"));
  const auto record = prepare(claim_of({plain("plain-null")}));
  ASSERT_OK(record);
  EXPECT_EQ(record->prepared.device_edits.at(0).device_nodes.at(0).path, "/dev/null");
  const auto identities = driver_->identities(*record);
  ASSERT_THAT(identities, SizeIs(1));
  EXPECT_EQ(identities[0].key, "plain-null");
  EXPECT_EQ(identities[0].data, R"({"path":"/dev/null"})");
  ASSERT_OK(driver_->unprepare(*record, {}));
}

TEST_F(PlainDevice, ParametersOfItsKind_AreItsOwn) {
  dra::Claim claim = claim_of({plain("plain-null")});
  claim.devices[0].config = {{.parameters = R"({"type":"plain","plain":{"kind":"node","path":"/dev/zero"}})",
                              .path = "config[0].opaque.parameters"}};
  auto record = prepare(claim);
  ASSERT_OK(record);
  EXPECT_EQ(record->prepared.device_edits.at(0).device_nodes.at(0).path, "/dev/zero");
  claim.devices[0].device = "plain-gone";
  record = prepare(claim);
  ASSERT_FALSE(record);
  EXPECT_THAT(record.error().what(), HasSubstr("plain-gone is not on this node"));
}

TEST_F(PlainDevice, Withheld_IsNotPublished_UnlessAClaimHoldsIt) {
  const auto record = prepare(claim_of({plain("plain-null")}));
  ASSERT_OK(record);
  plain_node_.in_use["plain-null"] = "something";
  EXPECT_THAT(published(), ElementsAre("plain-broken"));
  EXPECT_THAT(driver_->metrics_text(), HasSubstr(R"(reason="in-use"} 1)"));
  records_ = {*record};
  EXPECT_THAT(published(), ElementsAre("plain-broken", "plain-null")) << "it is allocated";
  records_.clear();
  EXPECT_THAT(published(), ElementsAre("plain-broken"));
  plain_node_.in_use.clear();
  EXPECT_THAT(published(), ElementsAre("plain-broken", "plain-null"));
  EXPECT_EQ(driver_->metrics_text(), "");
}

TEST_F(PlainDevice, ProblemOfAllItsDevices_IsNotReady) {
  (void)published();
  EXPECT_TRUE(driver_->ready());
  plain_node_.problem = "the devices are not known yet";
  (void)published();
  const auto ready = driver_->ready();
  ASSERT_FALSE(ready);
  EXPECT_EQ(ready.error().what(), "the devices are not known yet");
}

TEST_F(PlainDevice, AnotherDeviceThanTheAllocationHadBefore_IsRefused) {
  dra::Claim claim = claim_of({plain("plain-null")});
  claim.devices[0].reported = R"({"path":"/dev/null"})";
  ASSERT_OK(driver_->plan(claim));
  claim.devices[0].reported = R"({"path":"/dev/zero"})";
  const auto refused = driver_->plan(claim);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().what(),
            "the device plain-null of the request \"node\" (/dev/null) is another than before");
}

TEST_F(PlainDevice, IsPrepared_WithoutAHook_AndUndone) {
  auto record = prepare(claim_of({plain("plain-null")}));
  ASSERT_OK(record);
  EXPECT_THAT(prepared_, ElementsAre(std::pair("fairlead:net.example.com:u1/0", "FAIRLEAD_CLAIM_U1_NODE")));
  ASSERT_THAT(record->prepared.device_edits, SizeIs(1));
  EXPECT_EQ(record->prepared.device_edits[0].device_nodes.at(0).path, "/dev/null");
  EXPECT_THAT(record->prepared.claim_edits.hooks, IsEmpty());
  EXPECT_FALSE(is_attachable(*record, PlanReader(registry_))) << "NRI and the guard have nothing to do";
  ASSERT_OK(driver_->unprepare(*record, {}));
  EXPECT_THAT(prepared_, IsEmpty());
}

TEST_F(PlainDevice, PreparedAgain_IsGivenAsItIsNow_AndTheOthersStay) {
  dra::Claim both = claim("u1", {{R"("veth")"}});
  both.devices.push_back(plain("plain-null"));
  const auto record = prepare(both);
  ASSERT_OK(record);
  auto again = driver_->prepare_again(*record, {});
  ASSERT_OK(again);
  ASSERT_TRUE(*again);
  EXPECT_EQ(**again, record->prepared.device_edits);
  plain_node_.moved["/dev/null"] = "/dev/zero";
  again = driver_->prepare_again(*record, {});
  ASSERT_OK(again);
  ASSERT_TRUE(*again);
  EXPECT_EQ((*again)->at(0), record->prepared.device_edits.at(0));
  EXPECT_EQ((*again)->at(1).device_nodes.at(0).path, "/dev/zero");
  const auto only_veth = prepare(claim("u2", {{R"("veth")"}}));
  ASSERT_OK(only_veth);
  const auto nothing = driver_->prepare_again(*only_veth, {});
  ASSERT_OK(nothing);
  EXPECT_FALSE(*nothing) << "nothing of it may change";
  ASSERT_OK(driver_->unprepare(*only_veth, {}));
  ASSERT_OK(driver_->unprepare(*record, {}));
}

TEST_F(PlainDevice, PodOfTheNodesOwnNetwork_MayHaveIt) {
  auto record = prepare(claim_of({plain("plain-null")}));
  ASSERT_OK(record);
  const auto attached =
      driver_->attacher().attach(*record, {.netns = node_netns_.get(), .container = "container-1"});
  ASSERT_OK(attached);
  EXPECT_EQ(*attached, record->prepared.state);
}

TEST_F(PlainDevice, BesideAnInterface_HostNetworkIsRefused) {
  dra::Claim both = claim("u1", {{R"("veth")"}});
  both.devices.push_back(plain("plain-null"));
  auto record = prepare(both);
  ASSERT_OK(record);
  EXPECT_THAT(record->prepared.claim_edits.hooks, SizeIs(1));
  const auto refused =
      driver_->attacher().attach(*record, {.netns = node_netns_.get(), .container = "container-1"});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what(), HasSubstr("hostNetwork"));
  ASSERT_OK(attach(*record, pod_));
  EXPECT_EQ(link(*pod_.socket, "net1").kind, "veth");
  ASSERT_OK(driver_->unprepare(*record, {}));
  EXPECT_THAT(prepared_, IsEmpty());
  EXPECT_EQ(names(*pod_.socket), std::vector<std::string>{"lo"});
}

TEST_F(PlainDevice, SecondDeviceThatFails_UndoesTheFirst) {
  const auto record = prepare(claim_of({plain("plain-null", "one"), plain("plain-broken", "two")}));
  ASSERT_FALSE(record);
  EXPECT_EQ(record.error().what(), "request two: the device does not answer");
  EXPECT_THAT(prepared_, IsEmpty());
}

TEST_F(PlainDevice, StatusOfWhatNeedsNoPod_DoesNotDependOnTheRest) {
  dra::Claim mixed = claim("u1", {{R"("veth")"}});
  mixed.devices.push_back(plain("plain-null"));
  mixed.devices.push_back(
      {.request = "watch", .pool = "node-a", .device = "netdev-virtual", .admin_access = true});
  auto record = prepare(mixed);
  ASSERT_OK(record);
  driver_->attach_service().reports().not_attached(*record, "the pod has not started");
  const auto reports = host_.report("u1");
  ASSERT_THAT(reports, SizeIs(3));
  EXPECT_EQ(reports[0].reason, "NotAttached");
  EXPECT_FALSE(reports[0].ready);
  EXPECT_EQ(reports[1].reason, "Prepared");
  EXPECT_TRUE(reports[1].ready);
  EXPECT_EQ(reports[2].reason, "Monitoring");
  EXPECT_TRUE(reports[2].ready);
}

/// Mode netdevices: the runtime moves links, and nothing else.
TEST_F(PlainDevice, ModeNetdevices_NothingIsStaged) {
  mode_ = devices::AttachMode::kNetdevices;
  make_driver();
  auto record = prepare(claim_of({plain("plain-null")}));
  ASSERT_OK(record);
  EXPECT_THAT(record->prepared.device_edits[0].net_devices, IsEmpty());
  EXPECT_THAT(record->prepared.claim_edits.hooks, IsEmpty());
  ASSERT_OK(driver_->unprepare(*record, {}));
}

}  // namespace
}  // namespace fairlead::agent
