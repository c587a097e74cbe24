// SPDX-License-Identifier: Apache-2.0
// A device of several parts through the whole agent: a kind that decides which parts there are, prepared and
// attached in order and undone backwards, also when the process is killed between any two steps.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fairlead/agent/attach/attach_reports.h"
#include "fairlead/agent/testing/kernel_fixture.h"
#include "fairlead/devices/netdev/veth/veth.h"
#include "fairlead/sys/testing/temporary_folder.h"

namespace fairlead::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

/// The calls that the kinds got, and the one before or after whose effect the process is killed.
struct Steps {
  std::vector<std::string> calls;  // "prepare 0.1"
  int number = 0, kill_at = 0;

  void pass() {
    if (++number == kill_at) {
      ::raise(SIGKILL);
    }
  }
  void call(const std::string& what, const devices::Marker& marker) {
    const std::string alias = marker.alias();
    calls.push_back(what + " " + alias.substr(alias.find('/') + 1));
    pass();
  }
};

/// A device node for the container. Its effect on the node is a file, which a killed process leaves.
class FileKind final : public devices::Kind {
 public:
  FileKind(Steps& steps, std::string folder) : steps_(&steps), folder_(std::move(folder)) {}

  [[nodiscard]] devices::KindName name() const override { return {.type = "plain", .kind = "file"}; }
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
    steps_->call("prepare", input.marker);
    const std::string& path = dynamic_cast<const Body&>(*input.plan->body).path;
    if (path == "/dev/broken") {
      return Error(Code::kUnavailable, "the device does not answer");
    }
    std::ofstream(file(input.marker)) << path;
    steps_->pass();
    cdi::ContainerEdits edits{.device_nodes = {{.path = path}}};
    if (!input.variable.empty()) {
      edits.env = {input.variable + "=" + path};
    }
    return edits;
  }
  Result<> detach(const devices::DetachInput& input) const override {
    steps_->call("detach", input.marker);
    std::filesystem::remove(file(input.marker));
    steps_->pass();
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
  [[nodiscard]] std::string file(const devices::Marker& marker) const {
    return folder_ + "/" + std::to_string(marker.index) + "." + std::to_string(marker.part.value_or(99));
  }
  Steps* steps_;
  const std::string folder_;
};

/// The kind "veth", with steps before and after what it does.
class SteppedVeth final : public devices::Kind {
 public:
  explicit SteppedVeth(Steps& steps) : steps_(&steps) {}

  [[nodiscard]] devices::KindName name() const override { return {.type = "plain", .kind = "veth"}; }
  [[nodiscard]] std::span<const fields::Field> fields() const override { return veth_.fields(); }
  Result<devices::DevicePlan> plan(const devices::PlanInput& input,
                                   const fields::Values& values) const override {
    return veth_.plan(input, values);
  }
  Result<devices::PlanBodyPtr> read(std::string_view json, std::string_view name) const override {
    return veth_.read(json, name);
  }
  [[nodiscard]] devices::Needs needs(const devices::PlanBody& body) const override {
    return veth_.needs(body);
  }
  Result<cdi::ContainerEdits> prepare(const devices::PrepareInput& input) const override {
    steps_->call("prepare", input.marker);
    return veth_.prepare(input);
  }
  Result<devices::Attached> attach(const devices::AttachInput& input) const override {
    steps_->call("attach", input.marker);
    auto attached = veth_.attach(input);
    steps_->pass();
    return attached;
  }
  Result<> detach(const devices::DetachInput& input) const override {
    steps_->call("detach", input.marker);
    auto detached = veth_.detach(input);
    steps_->pass();
    return detached;
  }
  Result<dra::DeviceReport> inspect(const devices::InspectInput& input) const override {
    return veth_.inspect(input);
  }
  [[nodiscard]] const devices::Staging* staging() const override { return veth_.staging(); }

 private:
  devices::netdev::VethKind veth_;
  Steps* steps_;
};

/// Its parts are what the claim says, each as the parameters of a device of its own.
class ComboKind final : public devices::Kind {
 public:
  [[nodiscard]] devices::KindName name() const override { return {.type = "combo", .kind = "list"}; }
  [[nodiscard]] std::span<const fields::Field> fields() const override {
    static constexpr std::array kFields = {fields::Field{
        .name = "parts", .type = fields::Type::kStrings, .is_part = true, .required = true, .max_items = 8}};
    return kFields;
  }
  [[nodiscard]] std::vector<devices::PartConfig> parts(const fields::Values& entry) const override {
    std::vector<devices::PartConfig> parts;
    if (const auto texts = entry.strings("parts")) {
      for (const std::string& parameters : texts->value) {
        const std::string name = std::to_string(parts.size());
        parts.push_back(
            {.part = name, .config = {.parameters = parameters, .path = texts->path + "[" + name + "]"}});
      }
    }
    return parts;
  }
  Result<devices::DevicePlan> plan(const devices::PlanInput& input,
                                   const fields::Values& values) const override {
    devices::DevicePlan plan;
    for (const devices::PartConfig& wanted : parts(values)) {
      FL_ASSIGN(auto part, input.plan_part(wanted.part));
      plan.parts.push_back(std::move(part));
    }
    return plan;
  }
  Result<devices::PlanBodyPtr> read(std::string_view /*json*/, std::string_view /*name*/) const override {
    return Error(Code::kInternal, "its plans have no body");
  }
  [[nodiscard]] devices::Needs needs(const devices::PlanBody& /*body*/) const override { return {}; }
  Result<> detach(const devices::DetachInput& /*input*/) const override {
    return Error(Code::kInternal, "the framework calls the kinds of the parts");
  }
};

std::string file(const std::string& path) {
  return R"({"type":"plain","plain":{"kind":"file","path":")" + path + R"("}})";
}
std::string veth(const std::string& name) {
  return R"({"type":"plain","plain":{"kind":"veth","interfaceName":")" + name + R"("}})";
}
std::string netdev(const std::string& fields) {
  return R"({"type":"netdev","netdev":{"kind":)" + fields + "}}";
}

class Parts : public KernelTest {
 protected:
  Parts() {
    registry_.add(std::make_unique<FileKind>(steps_, folder_.path().string()));
    registry_.add(std::make_unique<SteppedVeth>(steps_));
    registry_.add(std::make_unique<ComboKind>());
  }
  void SetUp() override {
    KernelTest::SetUp();
    if (!IsSkipped() && !HasFatalFailure()) {
      node_before_ = node_names();
    }
  }

  static dra::Claim combo(const std::vector<std::string>& parts) {
    std::string list;
    for (const std::string& part : parts) {
      std::string escaped;
      for (const char c : part) {
        escaped += (c == '"' || c == '\\' ? "\\" : "") + std::string(1, c);
      }
      list += (list.empty() ? "\"" : ",\"") + escaped + "\"";
    }
    dra::Claim claim{.namespace_ = "default", .name = "claim-u1", .uid = "u1"};
    claim.devices.push_back(
        {.request = "pair",
         .pool = "node-a",
         .device = "netdev-virtual",
         .config = {{.parameters = R"({"type":"combo","combo":{"kind":"list","parts":[)" + list + "]}}",
                     .path = "config[0].opaque.parameters"}}});
    return claim;
  }
  [[nodiscard]] std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
      names.push_back(entry.path().filename().string());
    }
    std::ranges::sort(names);
    return names;
  }
  /// Nothing of the claim is on the node or in the pod.
  void expect_nothing_left() {
    EXPECT_THAT(files(), IsEmpty());
    EXPECT_EQ(node_names(), node_before_);
    EXPECT_THAT(names(*pod_.socket), ElementsAre("lo"));
  }
  /// Runs `action` in a process that is killed at its step of this number; true: it has so many.
  bool killed_at(int step, const std::function<void()>& action) {
    const pid_t child = ::fork();
    if (child == 0) {
      steps_.number = 0;
      steps_.kill_at = step;
      action();
      ::_exit(0);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }

  sys::testing_support::TemporaryFolder folder_;
  Steps steps_;
  std::vector<std::string> node_before_;
};

TEST_F(Parts, PreparedAttachedAndUndone_AcrossARestart) {
  auto record = prepare(combo({file("/dev/null"), veth("data0")}));
  ASSERT_OK(record);
  ASSERT_THAT(record->prepared.device_edits, SizeIs(1));
  EXPECT_EQ(record->prepared.device_edits[0].device_nodes.at(0).path, "/dev/null");
  EXPECT_THAT(record->prepared.device_edits[0].env, ElementsAre("FAIRLEAD_CLAIM_U1_PAIR=data0"));
  EXPECT_THAT(record->prepared.claim_edits.hooks, SizeIs(1)) << "a part needs the pod's namespace";
  EXPECT_THAT(files(), ElementsAre("0.0"));
  ASSERT_OK(attach(*record, pod_));
  const netlink::Link data0 = link(*pod_.socket, "data0");
  EXPECT_EQ(data0.kind, "veth");
  EXPECT_EQ(data0.alias, "fairlead:net.example.com:u1/0.1/made");

  records_ = {*record};
  make_driver();
  driver_->restored(records_);
  ASSERT_OK(attach(*record, pod_));
  EXPECT_EQ(link(*pod_.socket, "data0"), data0) << "nothing to do";
  EXPECT_EQ(driver_->use_of(*record).kind, dra::ClaimUse::Kind::kInUse);
  EXPECT_THAT(steps_.calls, ElementsAre("prepare 0.0", "prepare 0.1", "attach 0.1", "attach 0.1"));
  steps_.calls.clear();
  ASSERT_OK(driver_->unprepare(*record, {}));
  EXPECT_THAT(steps_.calls, ElementsAre("detach 0.1", "detach 0.0")) << "backwards";
  expect_nothing_left();
}

TEST_F(Parts, Device_IsReportedAsOne) {
  auto record = prepare(combo({file("/dev/null"), veth("data0"), veth("data1")}));
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  host_.add(*record);
  AttachReports& reports = driver_->attach_service().reports();
  reports.check(*record, pod_.netns.get(), Namespace::kTheClaims);
  ASSERT_THAT(host_.report("u1"), SizeIs(1));
  EXPECT_TRUE(host_.report("u1")[0].ready);
  EXPECT_EQ(host_.report("u1")[0].reason, "Attached");
  EXPECT_EQ(host_.report("u1")[0].interface_name, "data0");

  ASSERT_OK(pod_.socket->delete_link(link(*pod_.socket, "data1").index));
  reports.check(*record, pod_.netns.get(), Namespace::kTheClaims);
  EXPECT_FALSE(host_.report("u1")[0].ready);
  EXPECT_EQ(host_.report("u1")[0].reason, "InterfaceGone");
  EXPECT_THAT(host_.report("u1")[0].message, HasSubstr("data1"));
  ASSERT_OK(driver_->unprepare(*record, {}));
}

TEST_F(Parts, SecondPartIsNotPrepared_TheFirstIsUndone) {
  const auto record = prepare(combo({file("/dev/null"), file("/dev/broken")}));
  ASSERT_FALSE(record);
  EXPECT_EQ(record.error().what(), "request pair: the device does not answer");
  EXPECT_THAT(steps_.calls, ElementsAre("prepare 0.0", "prepare 0.1", "detach 0.1", "detach 0.0"));
  expect_nothing_left();
}

TEST_F(Parts, SecondPartIsNotAttached_TheFirstIsUndone) {
  auto record = prepare(combo({veth("data0"), veth("data1"), file("/dev/null")}));
  ASSERT_OK(record);
  ASSERT_OK(pod_.socket->create_link({.name = "data1", .kind = netlink::Bridge{}}));
  const auto attached = attach(*record, pod_);
  ASSERT_FALSE(attached);
  EXPECT_THAT(attached.error().what(), HasSubstr("interface data1 (request pair)"));
  EXPECT_THAT(names(*pod_.socket), ElementsAre("data1", "lo")) << "the pod's own";
  ASSERT_OK(pod_.socket->delete_link(link(*pod_.socket, "data1").index));
  EXPECT_EQ(node_names(), node_before_);
  ASSERT_OK(attach(*record, pod_));
  EXPECT_THAT(names(*pod_.socket), ElementsAre("data0", "data1", "lo"));
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_nothing_left();
}

TEST_F(Parts, KilledInPrepare_AtEachStep_IsUndone) {
  const dra::Claim claim = combo({file("/dev/null"), veth("data0"), file("/dev/zero")});
  dra::ClaimRecord record{.claim = claim, .state = dra::ClaimState::kPreparing};
  record.plan = driver_->plan(claim).value();
  const PlanPtr plan = driver_->attacher().plans().read(record.plan).value();
  const auto action = [&] { (void)driver_->attacher().prepare(plan, "u1", {"VARIABLE"}); };
  int steps = 0;
  while (killed_at(steps + 1, action)) {
    const ::testing::ScopedTrace trace(__FILE__, __LINE__, ++steps);
    ASSERT_OK(driver_->unprepare(record, {}));
    expect_nothing_left();
  }
  EXPECT_EQ(steps, 5) << "before and after each effect";
  EXPECT_THAT(files(), ElementsAre("0.0", "0.2"));
  ASSERT_OK(driver_->unprepare(record, {}));
  expect_nothing_left();
}

TEST_F(Parts, KilledInAttach_AtEachStep_IsCompletedOrUndone) {
  const auto before = prepare(combo({veth("data0"), file("/dev/null"), veth("data1")}));
  ASSERT_OK(before);
  const auto action = [&] {
    dra::ClaimRecord record = *before;
    (void)attach(record, pod_);
  };
  int steps = 0;
  while (killed_at(steps + 1, action)) {
    const ::testing::ScopedTrace trace(__FILE__, __LINE__, ++steps);
    dra::ClaimRecord record = *before;
    ASSERT_OK(attach(record, pod_));
    EXPECT_THAT(names(*pod_.socket), ElementsAre("data0", "data1", "lo"));
    ASSERT_OK(driver_->unprepare(record, {}));
    expect_nothing_left();
    // The same without another attach: the links that no record knows of end with the pod's namespace.
    ASSERT_TRUE(killed_at(steps, action));
    pod_ = make_pod();
    ASSERT_OK(driver_->unprepare(*before, {}));
    expect_nothing_left();
    ASSERT_OK(prepare(before->claim));
  }
  EXPECT_EQ(steps, 4) << "before and after each link";
}

TEST_F(Parts, KilledInDetach_AtEachStep_IsFinished) {
  const dra::Claim claim = combo({file("/dev/null"), veth("data0")});
  int steps = 0;
  for (bool is_killed = true; is_killed; steps += is_killed ? 1 : 0) {
    const ::testing::ScopedTrace trace(__FILE__, __LINE__, steps);
    auto record = prepare(claim);
    ASSERT_OK(record);
    ASSERT_OK(attach(*record, pod_));
    record->state = dra::ClaimState::kUnpreparing;
    is_killed = killed_at(steps + 1, [&] { (void)driver_->attacher().detach(*record, {}); });
    ASSERT_OK(driver_->unprepare(*record, {}));
    expect_nothing_left();
  }
  EXPECT_EQ(steps, 4) << "before and after each part";
}

TEST_F(Parts, WithoutALink_APodOfTheNodesNetworkMayHaveThem) {
  auto plain = prepare(combo({file("/dev/null"), file("/dev/zero")}));
  ASSERT_OK(plain);
  EXPECT_THAT(plain->prepared.claim_edits.hooks, IsEmpty());
  EXPECT_FALSE(is_attachable(*plain, PlanReader(registry_)));
  EXPECT_THAT(plain->prepared.device_edits.at(0).env, ElementsAre("FAIRLEAD_CLAIM_U1_PAIR=/dev/null"));
  ASSERT_OK(driver_->unprepare(*plain, {}));
  const auto mixed = prepare(combo({file("/dev/null"), veth("data0")}));
  ASSERT_OK(mixed);
  EXPECT_TRUE(is_attachable(*mixed, PlanReader(registry_)));
  const auto refused =
      driver_->attacher().attach(*mixed, {.netns = node_netns_.get(), .container = "container-1"});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what(), HasSubstr("hostNetwork"));
  ASSERT_OK(driver_->unprepare(*mixed, {}));
}

TEST_F(Parts, InterfacesWithoutAName_GetOneEach_AndNoTwoTheSame) {
  auto record = prepare(combo({netdev(R"("veth")"), netdev(R"("veth")")}));
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  EXPECT_THAT(names(*pod_.socket), ElementsAre("lo", "net1", "net2"));
  ASSERT_OK(driver_->unprepare(*record, {}));
  const auto refused = driver_->plan(combo({veth("data0"), veth("data0")}));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what(), HasSubstr("two parts of the device of request pair"));
}

TEST_F(Parts, EachIsPlannedBesideTheOthers) {
  const std::string same = R"("macvlan","master":"eth0","mac":"02:00:00:00:00:77")";
  const auto refused = driver_->plan(combo({netdev(same), netdev(same)}));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what(), HasSubstr("config[0].opaque.parameters.combo.parts[1]"));
  EXPECT_THAT(refused.error().what(), HasSubstr("by request pair of this claim"));
}

TEST_F(Parts, OfAPart_AreRefused) {
  const std::string inner = combo({file("/dev/null")}).devices[0].config[0].parameters;
  const auto refused = driver_->plan(combo({inner}));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what(), HasSubstr("it cannot be a part itself"));
}

TEST_F(Parts, ModeNetdevices_EachLinkIsStaged) {
  mode_ = devices::AttachMode::kNetdevices;
  make_driver();
  auto record = prepare(combo({file("/dev/null"), veth("data0"), veth("data1")}));
  ASSERT_OK(record);
  const auto& staged = record->prepared.device_edits.at(0).net_devices;
  ASSERT_THAT(staged, SizeIs(2));
  EXPECT_EQ(staged[0].name, "data0");
  EXPECT_EQ(staged[1].name, "data1");
  const auto plan = parse_claim_plan(record->plan, registry_);
  ASSERT_OK(plan);
  const auto reports = inspect_staged_devices(*plan, registry_, *record);
  ASSERT_OK(reports);
  ASSERT_THAT(*reports, SizeIs(1));
  EXPECT_EQ((*reports)[0].reason, "Staged");
  EXPECT_TRUE((*reports)[0].unknown);
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_nothing_left();
}

/// This version does not know the kind of the first part.
TEST_F(Parts, OfAKindThatIsNotKnown_TheRestIsUndone) {
  auto record = prepare(combo({file("/dev/null"), veth("data0")}));
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  const auto at = record->plan.find(R"("kind":"file")");
  ASSERT_NE(at, std::string::npos);
  record->plan.replace(at, 13, R"("kind":"gone")");
  const auto undone = driver_->unprepare(*record, {});
  ASSERT_FALSE(undone);
  EXPECT_THAT(undone.error().what(), HasSubstr("does not know plain gone"));
  EXPECT_THAT(names(*pod_.socket), ElementsAre("lo"));
  EXPECT_THAT(files(), ElementsAre("0.0"));
}

}  // namespace
}  // namespace fairlead::agent
