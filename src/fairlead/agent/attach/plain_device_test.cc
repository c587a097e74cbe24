// SPDX-License-Identifier: Apache-2.0
// A device that is no network link, through the whole agent: what prepare() makes is all, so that there is no
// hook, and a pod with hostNetwork may have it.
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

/// A device node for the container; the test sees which claims have one.
class PlainKind final : public devices::Kind {
 public:
  using Prepared = std::map<std::string, std::string>;  // marker -> variable
  explicit PlainKind(Prepared& prepared) : prepared_(&prepared) {}

  [[nodiscard]] devices::KindName name() const override { return {.type = "plain", .kind = "node"}; }
  [[nodiscard]] std::span<const fields::Field> fields() const override {
    static constexpr std::array kFields = {fields::Field{.name = "path", .required = true}};
    return kFields;
  }
  Result<devices::DevicePlan> plan(const devices::PlanInput& /*input*/,
                                   const fields::Values& values) const override {
    return devices::DevicePlan{.body = std::make_shared<const Body>(values.string("path")->value)};
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
    return cdi::ContainerEdits{.device_nodes = {{.path = body.path}}};
  }
  Result<> detach(const devices::DetachInput& input) const override {
    prepared_->erase(input.marker.alias());
    return {};
  }

 private:
  static constexpr std::string_view kBegin = R"({"path":")";
  static constexpr std::string_view kEnd = R"("})";
  struct Body final : devices::PlanBody {
    explicit Body(std::string given) : path(std::move(given)) {}
    [[nodiscard]] std::string to_json() const override {
      return std::string(kBegin) + path + std::string(kEnd);
    }
    std::string path;
  };
  Prepared* prepared_;
};

class PlainDevice : public KernelTest {
 protected:
  PlainDevice() { registry_.add(std::make_unique<PlainKind>(prepared_)); }

  static dra::AllocatedDevice plain(const std::string& path, const std::string& request = "node") {
    return {.request = request,
            .pool = "node-a",
            .device = "netdev-virtual",
            .config = {{.parameters = R"({"type":"plain","plain":{"kind":"node","path":")" + path + R"("}})",
                        .path = "config[0].opaque.parameters"}}};
  }
  static dra::Claim claim_of(std::vector<dra::AllocatedDevice> devices) {
    dra::Claim claim{.namespace_ = "default", .name = "claim-u1", .uid = "u1"};
    claim.devices = std::move(devices);
    return claim;
  }

  PlainKind::Prepared prepared_;
};

TEST_F(PlainDevice, IsPrepared_WithoutAHook_AndUndone) {
  auto record = prepare(claim_of({plain("/dev/null")}));
  ASSERT_OK(record);
  EXPECT_THAT(prepared_, ElementsAre(std::pair("fairlead:net.example.com:u1/0", "FAIRLEAD_CLAIM_U1_NODE")));
  ASSERT_THAT(record->prepared.device_edits, SizeIs(1));
  EXPECT_EQ(record->prepared.device_edits[0].device_nodes.at(0).path, "/dev/null");
  EXPECT_THAT(record->prepared.claim_edits.hooks, IsEmpty());
  EXPECT_FALSE(is_attachable(*record, registry_)) << "NRI and the guard have nothing to do";
  ASSERT_OK(driver_->unprepare(*record, {}));
  EXPECT_THAT(prepared_, IsEmpty());
}

TEST_F(PlainDevice, PodOfTheNodesOwnNetwork_MayHaveIt) {
  auto record = prepare(claim_of({plain("/dev/null")}));
  ASSERT_OK(record);
  const auto attached =
      driver_->attacher().attach(*record, {.netns = node_netns_.get(), .container = "container-1"});
  ASSERT_OK(attached);
  EXPECT_EQ(*attached, record->prepared.state);
}

TEST_F(PlainDevice, BesideAnInterface_HostNetworkIsRefused) {
  dra::Claim both = claim("u1", {{R"("veth")"}});
  both.devices.push_back(plain("/dev/null"));
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
  const auto record = prepare(claim_of({plain("/dev/null", "one"), plain("/dev/broken", "two")}));
  ASSERT_FALSE(record);
  EXPECT_EQ(record.error().what(), "request two: the device does not answer");
  EXPECT_THAT(prepared_, IsEmpty());
}

TEST_F(PlainDevice, StatusOfWhatNeedsNoPod_DoesNotDependOnTheRest) {
  dra::Claim mixed = claim("u1", {{R"("veth")"}});
  mixed.devices.push_back(plain("/dev/null"));
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
  auto record = prepare(claim_of({plain("/dev/null")}));
  ASSERT_OK(record);
  EXPECT_THAT(record->prepared.device_edits[0].net_devices, IsEmpty());
  EXPECT_THAT(record->prepared.claim_edits.hooks, IsEmpty());
  ASSERT_OK(driver_->unprepare(*record, {}));
}

}  // namespace
}  // namespace fairlead::agent
