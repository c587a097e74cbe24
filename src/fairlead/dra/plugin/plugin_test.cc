// SPDX-License-Identifier: Apache-2.0
// The whole plugin as the kubelet sees it, with an API server that is away. With one that is there: the runs
// of drydock.
#include "fairlead/dra/plugin/plugin.h"
#include "fairlead/core/pinned.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <CLI/CLI.hpp>

#include <csignal>
#include <cstdlib>
#include <thread>

#include "fairlead/dra/claims/claim_cdi.h"
#include "fairlead/dra/claims/claim_store.h"
#include "fairlead/dra/serve/kubelet_services.h"
#include "fairlead/dra/testing/claim_node.h"
#include "fairlead/rpc/unix_listener.h"

namespace fairlead::dra::testing {
namespace {

using ::testing::HasSubstr;

constexpr std::chrono::seconds kPatience{60};

/// A node's folders with a kubeconfig whose server refuses every connection (port 1 of loopback).
struct Folders {
  TemporaryDir dir;

  Folders() {
    EXPECT_TRUE(sys::replace_file(dir.path(), "kubeconfig", R"({
      "apiVersion": "v1", "kind": "Config", "current-context": "c",
      "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:1"}}],
      "users": [{"name": "u", "user": {"token": "t"}}],
      "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}]})"));
  }

  [[nodiscard]] PluginOptions options() const { return options_in(dir.path()); }
  static PluginOptions options_in(const std::string& dir) {
    PluginOptions options;
    options.driver_name = kDriver;
    options.node_name = kNode;
    options.kubeconfig = dir + "/kubeconfig";
    options.registry_dir = dir + "/registry";
    options.plugin_dir = dir + "/plugin";
    options.cdi_dir = dir + "/cdi";
    options.state_dir = dir + "/state";
    return options;
  }
  [[nodiscard]] std::string registration() const { return dir / "registry/" + kDriver + "-reg.sock"; }
  [[nodiscard]] std::string dra() const { return dir / "plugin/dra.sock"; }
  [[nodiscard]] bool has_sockets() const { return Node::exists(registration()) || Node::exists(dra()); }
};

std::unique_ptr<Plugin> must_create(const PluginOptions& options, Driver& driver) {
  auto plugin = Plugin::create(options, driver);
  EXPECT_TRUE(plugin) << plugin.error().what();
  return std::move(*plugin);
}

template <class Condition>
bool eventually(Condition condition) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) {
      return false;
    }
    std::this_thread::yield();
  }
  return true;
}

TEST(Plugin, StartWithTheApiServerAway_ServesTheKubelet) {
  const Folders folders;
  FakeDriver driver(folders.dir / "world");
  const auto plugin = must_create(folders.options(), driver);
  EXPECT_FALSE(folders.has_sockets());
  const auto started = plugin->start();
  ASSERT_TRUE(started) << started.error().what();
  EXPECT_TRUE(probe_sockets(folders.registration(), folders.dra(), kPatience));
  for (const std::string& path : {folders.registration(), folders.dra()}) {
    struct stat info = {};
    ASSERT_EQ(::stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777U, 0600U) << path;
  }
  struct stat info = {};
  ASSERT_EQ(::stat((folders.dir / "plugin").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0750U);
  plugin->stop();
  EXPECT_FALSE(folders.has_sockets());
  plugin->stop();
}

TEST(Plugin, WhoSeesTheRegistrationSocket_FindsTheDraSocketServing) {
  const Folders folders;
  FakeDriver driver(folders.dir / "world");
  const auto plugin = must_create(folders.options(), driver);
  std::jthread starter([&] { EXPECT_TRUE(plugin->start()); });
  ASSERT_TRUE(eventually([&] { return Node::exists(folders.registration()); }));
  EXPECT_TRUE(Node::exists(folders.dra()));
  const auto listening = rpc::UnixListener::open(folders.dra());
  ASSERT_FALSE(listening);
  EXPECT_EQ(listening.error().code(), Code::kBusy);
  starter.join();
}

TEST(Plugin, SecondInstanceOfTheSameNames_IsRefusedAndTheFirstGoesOn) {
  const Folders folders;
  FakeDriver driver(folders.dir / "world");
  const auto first = must_create(folders.options(), driver);
  ASSERT_TRUE(first->start());
  const auto second = must_create(folders.options(), driver);
  const auto refused = second->start();
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what(), HasSubstr("another instance is running"));
  EXPECT_TRUE(probe_sockets(folders.registration(), folders.dra(), kPatience));
}

TEST(Plugin, InstancesOfTwoPods_ServeSideBySide) {
  const Folders folders;
  FakeDriver driver(folders.dir / "world");
  auto options = folders.options();
  options.pod_uid = "pod-1";
  const auto older = must_create(options, driver);
  options.pod_uid = "pod-2";
  const auto newer = must_create(options, driver);
  ASSERT_TRUE(older->start());
  ASSERT_TRUE(newer->start());
  const auto registration = [&](const char* pod) {
    return folders.dir / "registry/" + kDriver + "-" + pod + "-reg.sock";
  };
  const auto dra = [&](const char* pod) { return folders.dir / "plugin/dra-" + pod + ".sock"; };
  EXPECT_TRUE(probe_sockets(registration("pod-1"), dra("pod-1"), kPatience));
  older->stop();
  EXPECT_FALSE(Node::exists(registration("pod-1")));
  EXPECT_TRUE(probe_sockets(registration("pod-2"), dra("pod-2"), kPatience));
}

/// What a killed process leaves.
void leave_socket(const std::string& path) {
  auto listener = rpc::UnixListener::open(path);
  ASSERT_TRUE(listener) << listener.error().what();
  const std::string kept = path + ".kept";  // so that its end does not remove it
  ASSERT_EQ(::rename(path.c_str(), kept.c_str()), 0);
  listener->close();
  ASSERT_EQ(::rename(kept.c_str(), path.c_str()), 0);
}

TEST(Plugin, SocketsOfInstancesThatWereKilled_GoAtTheStart_OthersStay) {
  const Folders folders;
  const std::string uid = "11111111-2222-4333-8444-555555555555";
  const std::string registry = folders.dir / "registry/";
  const std::string plugins = folders.dir / "plugin/";
  const std::vector<std::string> dead = {
      registry + kDriver + "-" + uid + "-reg.sock", registry + kDriver + "-AbCdEfGhIj0-reg.sock",
      registry + kDriver + "-reg.sock", plugins + "dra-" + uid + ".sock", plugins + "dra.sock"};
  const std::vector<std::string> foreign = {registry + kDriver + "-two-reg.sock",
                                            registry + "other.example.com-" + uid + "-reg.sock",
                                            registry + "other.example.com-reg.sock"};
  for (const auto* each : {&dead, &foreign}) {
    for (const std::string& path : *each) {
      leave_socket(path);
    }
  }
  const std::string another = "99999999-2222-4333-8444-555555555555";
  const auto alive = rpc::UnixListener::open(registry + kDriver + "-" + another + "-reg.sock");
  ASSERT_TRUE(alive) << alive.error().what();
  FakeDriver driver(folders.dir / "world");
  auto options = folders.options();
  options.pod_uid = "33333333-2222-4333-8444-555555555555";
  const auto plugin = must_create(options, driver);
  ASSERT_TRUE(plugin->start());
  for (const std::string& path : dead) {
    EXPECT_FALSE(Node::exists(path)) << path;
  }
  for (const std::string& path : foreign) {
    EXPECT_TRUE(Node::exists(path)) << path;
  }
  EXPECT_TRUE(alive->is_in_place());
}

TEST(Plugin, RecordsOfBefore_AreThereAtStartAndAfterStop) {
  const Folders folders;
  FakeDriver driver(folders.dir / "world");
  ClaimRecord record;
  record.state = ClaimState::kPrepared;
  record.claim = {.namespace_ = "default", .name = "a", .uid = "a-uid", .reserved_for = {}, .devices = {{}}};
  record.claim.devices[0].request = "req";
  record.claim.devices[0].device = "eth1";
  record.prepared.device_edits.resize(1);
  record.prepared.device_edits[0].env.push_back("A=1");
  record.prepared.state = "old";
  {
    const auto store =
        ClaimStore::open({.state_dir = folders.dir / "state", .boot_id = "", .on_quarantine = {}});
    ASSERT_TRUE((*store)->write(record));
  }
  const auto plugin = must_create(folders.options(), driver);
  EXPECT_FALSE(plugin->find("a-uid"));
  ASSERT_TRUE(plugin->start());
  EXPECT_EQ(driver.count("restored 1"), 1);
  EXPECT_EQ(plugin->find("a-uid")->claim.name, "a");
  EXPECT_EQ(plugin->records()->size(), 1U);
  ASSERT_TRUE(plugin->update("a-uid", std::chrono::steady_clock::now() + kPatience,
                             [](const ClaimRecord&) -> Result<std::string> { return std::string("new"); }));
  EXPECT_EQ(plugin->find("a-uid")->prepared.state, "new");
  EXPECT_THAT(plugin->metrics_text(), HasSubstr("prepared"));
  plugin->stop();
  EXPECT_TRUE(Node::exists(folders.dir / "state/claims/a-uid.json"));
  EXPECT_TRUE(Node::exists(folders.dir / "cdi/" + cdi_file_name(kDriver, "a-uid")));
}

TEST(Plugin, EventAtAPodThatTheClaimIsNotReservedFor_IsTried) {
  const Folders folders;
  FakeDriver driver(folders.dir / "world");
  const auto plugin = must_create(folders.options(), driver);
  ClaimRecord record;
  record.state = ClaimState::kPrepared;
  record.claim = {.namespace_ = "default", .name = "a", .uid = "a-uid", .reserved_for = {}, .devices = {{}}};
  record.prepared.device_edits.resize(1);
  {
    const auto store =
        ClaimStore::open({.state_dir = folders.dir / "state", .boot_id = "", .on_quarantine = {}});
    ASSERT_TRUE((*store)->write(record));
  }
  ASSERT_TRUE(plugin->start());
  plugin->pod_event("a-uid", "FailedAttach", "in another pod", Pod{.name = "second", .uid = "second-uid"});
  EXPECT_TRUE(eventually([&] { return plugin->metrics_text().find("events_total") != std::string::npos; }));
  plugin->stop();
}

TEST(Plugin, TellingWithTheApiServerAway_NeverBlocks) {
  const Folders folders;
  FakeDriver driver(folders.dir / "world");
  const auto plugin = must_create(folders.options(), driver);
  plugin->report("a-uid", {{.ready = true}});  // before the start there is nobody to tell
  plugin->pod_event("a-uid", "FailedAttach", "no parent eth9");
  // Not "none": nobody knows yet.
  ASSERT_FALSE(plugin->records());
  EXPECT_EQ(plugin->records_of_pod("pod-uid").error().code(), Code::kUnavailable);
  ClaimRecord record;
  record.state = ClaimState::kPrepared;
  record.claim = {.namespace_ = "default", .name = "a", .uid = "a-uid", .reserved_for = {}, .devices = {{}}};
  record.claim.reserved_for.push_back({.name = "pod", .uid = "pod-uid"});
  record.prepared.device_edits.resize(1);
  {
    const auto store =
        ClaimStore::open({.state_dir = folders.dir / "state", .boot_id = "", .on_quarantine = {}});
    ASSERT_TRUE((*store)->write(record));
  }
  ASSERT_TRUE(plugin->start());
  ASSERT_EQ(plugin->records_of_pod("pod-uid")->size(), 1U);
  plugin->report("a-uid", {{.ready = true}});
  plugin->pod_event("a-uid", "FailedAttach", "no parent eth9");
  plugin->operation_finished("attach", "nri", Code::kBusy, std::chrono::milliseconds(2));
  EXPECT_TRUE(eventually([&] {
    const std::string text = plugin->metrics_text();
    return text.find("verb=\"create\"") != std::string::npos &&
           text.find("events_total") != std::string::npos;
  })) << "the event was tried";
  EXPECT_THAT(plugin->metrics_text(),
              HasSubstr("operation_errors_total{driver=\"dra.example.com\",code=\"busy\","
                        "operation=\"attach\",via=\"nri\"} 1"));
  plugin->stop();
}

TEST(Plugin, KubeconfigThatIsNotThere_FailsTheStartAndLeavesNothing) {
  const Folders folders;
  FakeDriver driver(folders.dir / "world");
  auto options = folders.options();
  options.kubeconfig = folders.dir / "nowhere";
  const auto plugin = must_create(options, driver);
  const auto started = plugin->start();
  ASSERT_FALSE(started);
  EXPECT_THAT(started.error().what(), HasSubstr(options.kubeconfig));
  EXPECT_FALSE(folders.has_sockets());
}

TEST(Plugin, BusyHttpPort_FailsTheStartAndLeavesNothing) {
  const Folders folders;
  FakeDriver driver(folders.dir / "world");
  auto options = folders.options();
  options.http_listen = "not an address";
  const auto plugin = must_create(options, driver);
  EXPECT_FALSE(plugin->start());
  EXPECT_FALSE(folders.has_sockets());
}

// ---- signals, in a process of its own ----

constexpr const char* kChildDir = "FAIRLEAD_TEST_PLUGIN_DIR";
constexpr const char* kChildStuck = "FAIRLEAD_TEST_PLUGIN_STUCK";

/// discover() never returns: stop() waits for it.
class StuckDriver final : public Driver {
 public:
  explicit StuckDriver(std::string dir) : dir_(std::move(dir)) {}
  Result<std::vector<Pool>> discover() override {
    (void)sys::replace_file(dir_, "stuck", "");
    for (;;) {
      ::pause();
    }
  }
  Result<Prepared> prepare(const Claim& /*claim*/, const std::string& /*plan*/,
                           const CallContext& /*context*/) override {
    return Prepared{};
  }
  Result<> unprepare(const ClaimRecord& /*record*/, const CallContext& /*context*/) override { return {}; }

 private:
  const std::string dir_;
};

int run_child(const std::string& dir) {
  FakeDriver quick(dir + "/world");
  StuckDriver stuck(dir);
  Driver& driver =
      std::getenv(kChildStuck) != nullptr ? static_cast<Driver&>(stuck) : static_cast<Driver&>(quick);
  auto plugin = Plugin::create(Folders::options_in(dir), driver);
  (void)sys::replace_file(dir, "created", "");
  return plugin ? (*plugin)->run() : 2;
}

class Child : private Pinned {
 public:
  explicit Child(const Folders& folders, bool stuck = false) {
    std::string self = "/proc/self/exe";
    std::string dir = std::string(kChildDir) + "=" + folders.dir.path();
    std::string how = stuck ? std::string(kChildStuck) + "=1" : "X=1";
    std::vector<char*> arguments = {self.data(), nullptr};
    std::vector<char*> environment = {dir.data(), how.data(), nullptr};
    EXPECT_EQ(::posix_spawn(&pid_, self.c_str(), nullptr, nullptr, arguments.data(), environment.data()), 0);
  }
  ~Child() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      (void)wait();
    }
  }

  [[nodiscard]] rlimit descriptors() const {
    rlimit limit = {};
    EXPECT_EQ(::prlimit(pid_, RLIMIT_NOFILE, nullptr, &limit), 0);
    return limit;
  }
  void signal(int number) const { EXPECT_EQ(::kill(pid_, number), 0); }
  /// "exit 0", "signal 9"
  std::string wait() {
    int status = 0;
    EXPECT_EQ(::waitpid(std::exchange(pid_, 0), &status, 0) > 0, true);
    return WIFEXITED(status) ? "exit " + std::to_string(WEXITSTATUS(status))
                             : "signal " + std::to_string(WTERMSIG(status));
  }

 private:
  pid_t pid_ = 0;
};

TEST(PluginProcess, TermAtAnyMoment_RemovesBothSockets) {
  for (int i = 0; i < 12; ++i) {
    const Folders folders;
    Child child(folders);
    ASSERT_TRUE(eventually([&] { return Node::exists(folders.dir / "created"); }));
    for (int n = 0; n < 300 * i; ++n) {
      std::this_thread::yield();  // another moment each time
    }
    child.signal(i % 2 == 0 ? SIGTERM : SIGINT);
    EXPECT_EQ(child.wait(), "exit 0");
    EXPECT_FALSE(folders.has_sockets());
  }
}

TEST(PluginProcess, KilledAndStartedAgain_TakesOverItsSockets) {
  const Folders folders;
  Child killed(folders);
  ASSERT_TRUE(eventually(
      [&] { return probe_sockets(folders.registration(), folders.dra(), kPatience).has_value(); }));
  killed.signal(SIGKILL);
  EXPECT_EQ(killed.wait(), "signal 9");
  EXPECT_TRUE(folders.has_sockets());
  Child again(folders);
  EXPECT_TRUE(eventually(
      [&] { return probe_sockets(folders.registration(), folders.dra(), kPatience).has_value(); }));
  again.signal(SIGTERM);
  EXPECT_EQ(again.wait(), "exit 0");
  EXPECT_FALSE(folders.has_sockets());
}

TEST(PluginProcess, BrokenPipe_DoesNotEndIt) {
  const Folders folders;
  Child child(folders);
  ASSERT_TRUE(eventually([&] { return Node::exists(folders.dir / "created"); }));
  child.signal(SIGPIPE);
  child.signal(SIGTERM);
  EXPECT_EQ(child.wait(), "exit 0");
}

TEST(PluginProcess, DescriptorLimit_IsTheHardOne) {
  rlimit own = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &own), 0);
  const rlimit low = {.rlim_cur = own.rlim_max / 2, .rlim_max = own.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  const ScopeExit undo([&] { (void)::setrlimit(RLIMIT_NOFILE, &own); });
  const Folders folders;
  Child child(folders);
  ASSERT_TRUE(eventually([&] { return Node::exists(folders.dir / "created"); }));
  EXPECT_EQ(child.descriptors().rlim_cur, own.rlim_max);
  child.signal(SIGTERM);
  EXPECT_EQ(child.wait(), "exit 0");
}

TEST(PluginProcess, SecondSignal_EndsItAtOnce) {
  const Folders folders;
  Child child(folders, true);
  ASSERT_TRUE(eventually([&] { return Node::exists(folders.dir / "stuck"); }));
  child.signal(SIGTERM);
  ASSERT_TRUE(eventually([&] { return !folders.has_sockets(); }));
  child.signal(SIGTERM);
  EXPECT_EQ(child.wait(), "signal " + std::to_string(SIGTERM));
}

// ---- options ----

Result<PluginOptions> from(std::vector<const char*> arguments,
                           const std::function<void(CLI::App&)>& more = {}) {
  arguments.insert(arguments.begin(), "driver");
  PluginOptions options;
  options.driver_name = "preset.example.com";
  CLI::App app;
  options.add_flags(app);
  if (more) {
    more(app);
  }
  try {
    app.parse(static_cast<int>(arguments.size()), arguments.data());
  } catch (const CLI::ParseError& e) {
    return Error(Code::kInvalid, e.what());
  }
  return options;
}

TEST(PluginOptions, FlagsWinOverEnvironmentAndPresets) {
  ::setenv("NODE_NAME", "from-env", 1);
  ::setenv("STATE_DIR", "/from/env", 1);
  const auto options = from({"--state-dir", "/from/flag", "--kube-qps", "7.5"});
  ::unsetenv("NODE_NAME");
  ::unsetenv("STATE_DIR");
  ASSERT_TRUE(options) << options.error().what();
  EXPECT_EQ(options->driver_name, "preset.example.com");
  EXPECT_EQ(options->node_name, "from-env");
  EXPECT_EQ(options->state_dir, "/from/flag");
  EXPECT_EQ(options->kube_qps, 7.5);
}

TEST(PluginOptions, WrongFlag_IsOneSentence) {
  const auto options = from({"--stat-dir", "/x"});
  ASSERT_FALSE(options);
  EXPECT_EQ(options.error().code(), Code::kInvalid);
  EXPECT_THAT(options.error().what(), HasSubstr("--stat-dir"));
  EXPECT_EQ(from({"--log-level", "loud"}).error().what(),
            "--log-level must be debug, info, warn, error or off, not \"loud\"");
}

TEST(PluginOptions, LogLevel_IsReadAndItsDefaultIsInTheHelp) {
  using log::Level;
  EXPECT_EQ(from({})->log_level, Level::kInfo);
  for (const auto& [word, level] : {std::pair{"debug", Level::kDebug},
                                    {"info", Level::kInfo},
                                    {"warn", Level::kWarn},
                                    {"error", Level::kError},
                                    {"off", Level::kOff}}) {
    const auto options = from({"--log-level", word});
    ASSERT_TRUE(options) << options.error().what();
    EXPECT_EQ(options->log_level, level) << word;
    CLI::App app;
    PluginOptions preset = *options;
    preset.add_flags(app);
    EXPECT_EQ(app.get_option("--log-level")->get_default_str(), word);
  }
}

TEST(PluginOptions, LogLevel_IsAppliedByCreate) {
  FakeDriver driver("/tmp");
  PluginOptions options;
  options.driver_name = "net.example.com";
  options.node_name = "n";
  const auto logged = [&](log::Level level) {
    options.log_level = level;
    const auto plugin = must_create(options, driver);
    ::testing::internal::CaptureStderr();
    log::info("at level info");
    return ::testing::internal::GetCapturedStderr();
  };
  EXPECT_EQ(logged(log::Level::kWarn), "");
  EXPECT_THAT(logged(log::Level::kInfo), HasSubstr("at level info"));
}

TEST(PluginOptions, FlagsOfTheProgram_AreReadToo) {
  int slots = 0;
  const auto options = from({"--slots", "3"}, [&slots](CLI::App& app) { app.add_option("--slots", slots); });
  ASSERT_TRUE(options);
  EXPECT_EQ(slots, 3);
}

TEST(PluginOptions, BrokenRules_AreAllNamed) {
  FakeDriver driver("/tmp");
  PluginOptions options;
  options.driver_name = "No Driver";
  options.node_name = "";
  options.cdi_dir = "relative";
  options.kube_qps = 0;
  options.workers = 0;
  const auto plugin = Plugin::create(options, driver);
  ASSERT_FALSE(plugin);
  EXPECT_EQ(plugin.error().code(), Code::kInvalid);
  for (const char* part :
       {"--driver-name must be a DNS subdomain", "not \"No Driver\"", "--node-name must be",
        "--cdi-dir must be an absolute path, not \"relative\"", "--kube-qps", "workers"}) {
    EXPECT_THAT(plugin.error().what(), HasSubstr(part));
  }
}

TEST(PluginOptions, EmptyFolders_FollowTheDriversName) {
  FakeDriver driver("/tmp");
  PluginOptions options;
  options.driver_name = "net.example.com";
  options.node_name = "n";
  const auto plugin = must_create(options, driver);
  EXPECT_EQ(plugin->options().plugin_dir, "/var/lib/kubelet/plugins/net.example.com");
  EXPECT_EQ(plugin->options().state_dir, "/run/net.example.com");
}

}  // namespace
}  // namespace fairlead::dra::testing

int main(int argc, char** argv) {
  if (const char* dir = std::getenv(fairlead::dra::testing::kChildDir); dir != nullptr) {
    return fairlead::dra::testing::run_child(dir);
  }
  ::testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
