// SPDX-License-Identifier: Apache-2.0
// The small parts: placeholders, processes, durations, percentiles, differences, runtime messages.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "drydock/node/call_stats.h"
#include "drydock/node/cluster_view.h"
#include "drydock/node/console.h"
#include "drydock/node/driver_process.h"
#include "drydock/node/leftovers.h"
#include "drydock/node/machine_state.h"
#include "drydock/node/nri_side.h"
#include "drydock/node/pause_process.h"
#include "drydock/node/run_options.h"
#include "drydock/node/runtime.h"
#include "drydock/node/testing/temp_folder.h"

namespace drydock {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(Placeholders, KnownWordsOnly) {
  const std::map<std::string, std::string> values = {{"node", "n1"}, {"cdi", "/c"}};
  EXPECT_EQ(fill_placeholders("d --node={node} {cdi}{cdi}", values), "d --node=n1 /c/c");
  EXPECT_EQ(fill_placeholders("${node} {other} awk '{print $1}' {", values),
            "${node} {other} awk '{print $1}' {");
}

TEST(Durations, UnitsAndNonsense) {
  EXPECT_EQ(*parse_duration("500ms"), 500ms);
  EXPECT_EQ(*parse_duration("1.5s"), 1500ms);
  EXPECT_EQ(*parse_duration("2m"), 120s);
  for (const auto* bad : {"", "5", "s", "5y", "-1s", "5 s", "1e9h"}) {
    EXPECT_FALSE(parse_duration(bad)) << bad;
  }
}

TEST(ImageOption, NeedsAFolder) {
  const TempFolder folder;
  EXPECT_EQ(parse_image("tool=" + folder.path())->first, "tool");
  for (const std::string bad : {"tool", "=x", "tool=", "tool=/no/such/folder"}) {
    EXPECT_FALSE(parse_image(bad)) << bad;
  }
}

TEST(CallStats, PercentilesAreMeasuredValues) {
  CallStats stats;
  for (int i = 1; i <= 100; ++i) {
    stats.add("d", "m", {.took = std::chrono::microseconds(i), .failed = i == 100});
  }
  const auto all = stats.summary();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].count, 100U);
  EXPECT_EQ(all[0].failed, 1U);
  EXPECT_EQ(all[0].p50, 50us);
  EXPECT_EQ(all[0].p99, 99us);
}

TEST(Console, TimesReadWell) {
  EXPECT_EQ(to_text(340us), "340 us");
  EXPECT_EQ(to_text(12'400us), "12.4 ms");
  EXPECT_EQ(to_text(3'200'000us), "3.2 s");
}

TEST(Console, OutputOfContainers_CannotSteerTheTerminal) {
  int ends[2] = {-1, -1};
  ASSERT_EQ(::pipe(ends), 0);
  Console(ends[1], Console::Colour::kOnTerminal, Console::Amount::kNormal).output("c", "a\033[2Jb");
  ::close(ends[1]);
  char text[128] = {};
  EXPECT_GT(::read(ends[0], text, sizeof text - 1), 0);
  ::close(ends[0]);
  EXPECT_STREQ(text, "    │ c: a[2Jb\n");
}

TEST(MachineState, DifferencesAreNamed) {
  MachineState before;
  before.links = {"eth0 (index 2)", "old (index 3)"};
  MachineState after = before;
  after.links = {"eth0 (index 2)", "veth1 (index 9)"};
  after.mounts = {"/run/netns/x (nsfs)"};
  EXPECT_THAT(differences(before, after),
              ElementsAre("link veth1 (index 9) is new", "link old (index 3) is gone",
                          "mount /run/netns/x (nsfs) is new"));
  const auto real = MachineState::read("none");
  ASSERT_TRUE(real) << real.error().what();
  EXPECT_THAT(differences(*real, *real), IsEmpty());
}

TEST(Leftovers, AreNamed) {
  EXPECT_THAT(
      node_differences({{"link", {"eth0", "nic0"}}}, {{"link", {"eth0", "mv1"}}, {"CDI file", {"/x.json"}}}),
      ElementsAre("CDI file /x.json is left", "link mv1 is left", "link nic0 is gone"));
}

TEST(ClaimStatus, DevicesInOneLineEach) {
  const Json result = {{"request", "data"}, {"driver", "d"}, {"pool", "p"}, {"device", "nic"}};
  Json claim = {{"status", {{"allocation", {{"devices", {{"results", Json::array({result})}}}}}}}};
  EXPECT_FALSE(has_full_status(claim));
  EXPECT_THAT(describe_device_status(claim), IsEmpty());
  claim["status"]["devices"] = Json::array(
      {{{"driver", "d"},
        {"pool", "p"},
        {"device", "nic"},
        {"conditions",
         Json::array({{{"type", "Ready"}, {"status", "False"}, {"reason", "Why"}, {"message", "so"}}})},
        {"networkData",
         {{"interfaceName", "data0"},
          {"hardwareAddress", "02:00:00:00:00:0a"},
          {"ips", {"192.0.2.1/24"}}}}}});
  EXPECT_TRUE(has_full_status(claim));
  EXPECT_THAT(describe_device_status(claim),
              ElementsAre("data: data0, 02:00:00:00:00:0a, 192.0.2.1/24, not Ready (Why: so)"));
}

TEST(NriAdjustments, ReplaceWhatIsThere) {
  OciSpec spec;
  spec.env = {"A=1", "B=2"};
  spec.mounts = {{"/m", "bind", "/old", {}}};
  spec.devices = {{.path = "/dev/x", .type = "c", .major = 1, .minor = 1}};
  apply_adjustment({.annotations = {{"k", "v"}},
                    .env = {{"A", "9"}, {"C", "3"}},
                    .mounts = {{.destination = "/m", .type = "bind", .source = "/new", .options = {"ro"}}},
                    .devices = {{.path = "/dev/x", .type = "c", .major = 7, .minor = 8, .file_mode = 0600}},
                    .cdi_devices = {},
                    .net_devices = {{"host0", "net1"}}},
                   spec);
  EXPECT_THAT(spec.env, ElementsAre("A=9", "B=2", "C=3"));
  EXPECT_THAT(spec.mounts, ElementsAre(OciMount{"/m", "bind", "/new", {"ro"}}));
  ASSERT_EQ(spec.devices.size(), 1U);
  EXPECT_EQ(spec.devices[0].major, 7);
  EXPECT_EQ(spec.devices[0].file_mode, 0600U);
  EXPECT_EQ(spec.annotations.at("k"), "v");
  EXPECT_EQ(spec.net_devices.at("host0"), "net1");
}

TEST(PauseProcess, LivesUntilItIsLetGo) {
  pid_t pid = -1;
  {
    const auto pause = PauseProcess::start(-1);
    ASSERT_TRUE(pause) << pause.error().what();
    pid = pause->pid();
    EXPECT_EQ(::kill(pid, 0), 0);
  }
  EXPECT_NE(::kill(pid, 0), 0) << "it must be reaped";
}

TEST(PauseProcess, NoNamespace_IsAnError) {
  const fairlead::UniqueFd file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const auto pause = PauseProcess::start(file.get());
  ASSERT_FALSE(pause);
  EXPECT_THAT(pause.error().what(), HasSubstr("network namespace"));
}

TEST(Runtime, ErrorsOfItsLog_WithoutWarnings) {
  EXPECT_EQ(runtime_errors(R"({"level":"warning","msg":"w"}
{"level":"error","msg":"first\n"}
{"msg":"second","level":"error"}
)"),
            "first; second");
  EXPECT_EQ(runtime_errors(""), "");
}

TEST(Runtime, FeaturesAreRead) {
  EXPECT_TRUE(parse_features(R"({"linux": {"netDevices": {"enabled": true}}})").net_devices);
  EXPECT_FALSE(parse_features(R"({"linux": {}})").net_devices);
  EXPECT_FALSE(parse_features("unknown command features").net_devices);
}

TEST(Runtime, ProgramThatIsNotThere_IsNamed) {
  const TempFolder folder;
  EXPECT_THAT(Runtime::find("/no/such/crun", folder.path(), "none").error().what(),
              HasSubstr("/no/such/crun"));
}

TEST(DriverProcess, TellsHowItEndedAndWhatItSaid) {
  const TempFolder folder;
  auto driver = DriverProcess::start(
      {.command = "echo hello $WHO; exit 3", .env = {{"WHO", "you"}}, .log = folder.path() + "/log"});
  ASSERT_TRUE(driver) << driver.error().what();
  auto ended = driver->exit_status();
  while (ended && !*ended) {
    std::this_thread::yield();
    ended = driver->exit_status();
  }
  ASSERT_TRUE(ended) << ended.error().what();
  EXPECT_EQ((*ended)->code, 3);
  EXPECT_EQ(driver->stop(10s)->code, 3);
  EXPECT_THAT(driver->log_tail(5), ElementsAre("hello you"));
}

TEST(DriverProcess, ShellThatEndsFirst_DoesNotCutItsDriverShort) {
  const TempFolder folder;
  // As dash does without exec: the command is a child of the shell, which SIGTERM ends at once.
  auto driver = DriverProcess::start({.command = "sh -c \"trap 'sleep 0.3; echo in order; exit 0' TERM; echo "
                                                 "up; while :; do sleep 0.05; done\"; true",
                                      .env = {},
                                      .log = folder.path() + "/log"});
  ASSERT_TRUE(driver);
  while (driver->log_tail(1).empty()) {
    std::this_thread::yield();
  }
  const auto stopped = driver->stop(20s);
  ASSERT_TRUE(stopped);
  EXPECT_NE(stopped->signal, SIGKILL);
  EXPECT_THAT(driver->log_tail(3), ::testing::Contains("in order"));
}

TEST(DriverProcess, DeafToSigterm_IsKilled) {
  const TempFolder folder;
  auto driver = DriverProcess::start({.command = "trap '' TERM; echo up; while :; do sleep 1; done",
                                      .env = {},
                                      .log = folder.path() + "/log"});
  ASSERT_TRUE(driver);
  while (driver->log_tail(1).empty()) {
    std::this_thread::yield();
  }
  EXPECT_TRUE(driver->owns(driver->pid()));
  EXPECT_FALSE(driver->owns(1));
  EXPECT_GT(driver->cost().peak_resident_kib, 0);
  const auto stopped = driver->stop(100ms);
  ASSERT_TRUE(stopped);
  EXPECT_EQ(stopped->signal, 9);
}

TEST(Processes, OutputAndStatusAreKept) {
  const auto output = run({.argv = {"sh", "-c", "echo out; echo err >&2; exit 5"}}, 20s);
  ASSERT_TRUE(output) << output.error().what();
  EXPECT_EQ(output->status.code, 5);
  EXPECT_EQ(output->out, "out\nerr\n");
  const auto slow = run({.argv = {"sleep", "60"}}, 10ms);
  ASSERT_FALSE(slow);
  EXPECT_EQ(slow.error().code(), Code::kTimeout);
  EXPECT_FALSE(run({.argv = {"/no/such/program"}}, 1s));
}

}  // namespace
}  // namespace drydock
