// SPDX-License-Identifier: Apache-2.0
// The plugin's side against the runtime's side over a real unix socket, and against hand-made peers that do
// what a runtime of ours would not.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <filesystem>
#include <functional>
#include <future>
#include <optional>

#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"
#include "fairlead/rpc/nri/codec.h"
#include "fairlead/rpc/nri/mux.h"
#include "fairlead/rpc/nri/plugin.h"
#include "fairlead/rpc/nri/runtime.h"
#include "fairlead/rpc/ttrpc.h"
#include "fairlead/rpc/unix_listener.h"
#include "fairlead/sys/unix_socket.h"

namespace fairlead::rpc {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::ContainsRegex;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

steady_clock::time_point soon() { return steady_clock::now() + std::chrono::seconds(30); }

class TempFolder : private Pinned {
 public:
  TempFolder() {
    std::string name = std::filesystem::temp_directory_path() / "fl-nri-XXXXXX";
    path_ = ::mkdtemp(name.data());
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::string socket() const { return path_ + "/nri/nri.sock"; }

 private:
  std::string path_;
};

/// Opens once, for all who wait.
class Gate {
 public:
  void open() {
    const Lock lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  [[nodiscard]] bool wait(steady_clock::time_point deadline = soon()) {
    const Lock lock(mutex_);
    while (!open_) {
      if (changed_.wait_until(mutex_, deadline) == std::cv_status::timeout) {
        return open_;
      }
    }
    return true;
  }

 private:
  Mutex mutex_;
  ConditionVariable changed_;
  bool open_ FL_GUARDED_BY(mutex_) = false;
};

/// Writes down what it is told; `on` may answer instead.
class Recorder final : public NriHandler {
 public:
  using Answer = std::function<Result<>(const std::string& event, const NriCall& call)>;

  void configured(const NriRuntime& runtime) override {
    (void)note("configured by " + runtime.name + " " + runtime.version + " nri " + runtime.nri_version + " " +
                   std::to_string(runtime.request_timeout.count()) + " ms",
               {});
  }
  Result<> synchronize(const std::vector<NriPod>& pods, const std::vector<NriContainer>& containers,
                       const NriCall& call) override {
    {
      const Lock lock(mutex_);
      pods_ = pods;
    }
    return note("synchronize " + std::to_string(pods.size()) + " " + std::to_string(containers.size()), call);
  }
  Result<> run_pod_sandbox(const NriPod& pod, const NriCall& call) override {
    {
      const Lock lock(mutex_);
      pods_ = {pod};
    }
    return note("run " + pod.name, call);
  }
  Result<> stop_pod_sandbox(const NriPod& pod, const NriCall& call) override {
    return note("stop " + pod.name, call);
  }
  Result<> remove_pod_sandbox(const NriPod& pod, const NriCall& call) override {
    return note("remove " + pod.name, call);
  }
  Result<NriAdjustment> create_container(const NriPod& pod, const NriContainer& container,
                                         const NriCall& call) override {
    FL_TRY(note("create " + pod.name + "/" + container.name, call));
    const Lock lock(mutex_);
    return adjustment_;
  }
  Result<> container_event(NriEvent event, const NriPod& pod, const NriContainer& container,
                           const NriCall& call) override {
    return note(std::string(nri_event_name(event)) + " " + pod.name + "/" + container.name, call);
  }
  void disconnected(const Error& why) override { (void)note("disconnected: " + why.what(), {}); }

  void on(Answer answer) {
    const Lock lock(mutex_);
    answer_ = std::move(answer);
  }
  void adjust(NriAdjustment adjustment) {
    const Lock lock(mutex_);
    adjustment_ = std::move(adjustment);
  }
  std::vector<std::string> events() {
    const Lock lock(mutex_);
    return events_;
  }
  /// Pods of the last synchronize or run.
  std::vector<NriPod> pods() {
    const Lock lock(mutex_);
    return pods_;
  }
  [[nodiscard]] bool wait_for(const std::string& prefix) {
    const Lock lock(mutex_);
    while (std::ranges::none_of(events_, [&](const auto& e) { return e.starts_with(prefix); })) {
      if (changed_.wait_until(mutex_, soon()) == std::cv_status::timeout) {
        return false;
      }
    }
    return true;
  }

 private:
  Result<> note(const std::string& event, const NriCall& call) {
    Answer answer;
    {
      const Lock lock(mutex_);
      events_.push_back(event);
      changed_.notify_all();
      answer = answer_;
    }
    return answer ? answer(event, call) : Result<>();
  }

  Mutex mutex_;
  ConditionVariable changed_;
  std::vector<std::string> events_ FL_GUARDED_BY(mutex_);
  std::vector<NriPod> pods_ FL_GUARDED_BY(mutex_);
  NriAdjustment adjustment_ FL_GUARDED_BY(mutex_);
  Answer answer_ FL_GUARDED_BY(mutex_);
};

NriPod pod_named(const std::string& name) {
  return {.id = "sandbox-of-" + name,
          .name = name,
          .uid = "uid-of-" + name,
          .namespace_ = "ns",
          .labels = {{"app", "x"}},
          .annotations = {{"a", "b"}},
          .runtime_handler = "runc",
          .pid = 4711,
          .ips = {"10.0.0.1", "fd00::1"},
          .netns = "/var/run/netns/cni-" + name};
}

NriContainer container_named(const std::string& name) {
  return {.id = "id-of-" + name,
          .pod_id = "sandbox-of-a",
          .name = name,
          .state = NriContainerState::kRunning,
          .pid = 4712,
          .cdi_devices = {"vendor/class=one"},
          .env = {"A=B"}};
}

const std::vector<NriEvent> kAllEvents = {
    NriEvent::kRunPodSandbox,      NriEvent::kStopPodSandbox,      NriEvent::kRemovePodSandbox,
    NriEvent::kCreateContainer,    NriEvent::kPostCreateContainer, NriEvent::kStartContainer,
    NriEvent::kPostStartContainer, NriEvent::kStopContainer,       NriEvent::kRemoveContainer};

NriPluginOptions plugin_options(const std::string& socket) {
  return {.name = "test",
          .index = "50",
          .socket = socket,
          .events = kAllEvents,
          .first_retry = milliseconds(1),
          .last_retry = milliseconds(20)};
}

std::unique_ptr<NriPlugin> must_start(NriPluginOptions options, NriHandler& handler) {
  auto plugin = NriPlugin::create(std::move(options), handler);
  EXPECT_TRUE(plugin) << (plugin ? "" : plugin.error().what());
  if (!plugin) {
    return nullptr;
  }
  (*plugin)->start();
  return std::move(*plugin);
}

/// A runtime that a busy machine does not lose patience with.
NriRuntimeOptions patient(const std::string& socket) {
  return {.socket = socket, .request_timeout = std::chrono::seconds(20)};
}

std::unique_ptr<NriRuntimeServer> must_serve(NriRuntimeOptions options, NriInventory inventory = {}) {
  auto server =
      NriRuntimeServer::start(std::move(options), [inventory = std::move(inventory)] { return inventory; });
  EXPECT_TRUE(server) << (server ? "" : server.error().what());
  return server ? std::move(*server) : nullptr;
}

/// Why a result is an error, for EXPECT_THAT.
template <class T>
std::string failure(const Result<T>& result) {
  return result ? "ok" : result.error().what();
}

// ---- both dialects ----------------------------------------------------------------------------------------

class NriDialects : public testing::TestWithParam<NriDialect> {
 protected:
  NriRuntimeOptions runtime_options() {
    return {.socket = folder.socket(), .version = "1", .dialect = GetParam()};
  }
  TempFolder folder;
  Recorder handler;
};
INSTANTIATE_TEST_SUITE_P(, NriDialects, testing::Values(NriDialect::kStateChange, NriDialect::kDedicated),
                         [](const auto& dialect) {
                           return dialect.param == NriDialect::kDedicated ? "Dedicated" : "StateChange";
                         });

TEST_P(NriDialects, Connect_ConfiguresThenSynchronizesThenIsReady) {
  const auto runtime =
      must_serve(runtime_options(), {.pods = {pod_named("a")}, .containers = {container_named("c")}});
  const auto plugin = must_start(plugin_options(folder.socket()), handler);
  ASSERT_EQ(failure(plugin->wait_ready(soon())), "ok");
  EXPECT_TRUE(plugin->ready());
  EXPECT_THAT(handler.events(),
              ElementsAre(GetParam() == NriDialect::kDedicated ? "configured by drydock 1 nri v0.12.0 2000 ms"
                                                               : "configured by drydock 1 nri  2000 ms",
                          "synchronize 1 1"));
  ASSERT_EQ(failure(runtime->wait_for_plugins(1, soon())), "ok");
  EXPECT_EQ(runtime->plugins().at(0).name, "test");
  EXPECT_EQ(runtime->plugins().at(0).index, "50");
  EXPECT_EQ(runtime->plugins().at(0).events, 0x67FU);
}

TEST_P(NriDialects, EveryEvent_ReachesItsHandler) {
  const auto runtime = must_serve(runtime_options());
  const auto plugin = must_start(plugin_options(folder.socket()), handler);
  ASSERT_EQ(failure(runtime->wait_for_plugins(1, soon())), "ok");
  EXPECT_TRUE(runtime->run_pod_sandbox(pod_named("a")));
  EXPECT_TRUE(runtime->create_container(pod_named("a"), container_named("c")));
  for (const NriEvent event :
       {NriEvent::kPostCreateContainer, NriEvent::kStartContainer, NriEvent::kPostStartContainer,
        NriEvent::kStopContainer, NriEvent::kRemoveContainer}) {
    EXPECT_TRUE(runtime->container_event(event, pod_named("a"), container_named("c")));
  }
  EXPECT_TRUE(runtime->stop_pod_sandbox(pod_named("a")));
  EXPECT_TRUE(runtime->remove_pod_sandbox(pod_named("a")));
  auto events = handler.events();
  events.erase(events.begin(), events.begin() + 2);  // configured, synchronize
  EXPECT_THAT(events, ElementsAre("run a", "create a/c", "PostCreateContainer a/c", "StartContainer a/c",
                                  "PostStartContainer a/c", "StopContainer a/c", "RemoveContainer a/c",
                                  "stop a", "remove a"));
}

TEST_P(NriDialects, Pod_ArrivesWithAllThatIsKnownOfIt) {
  const auto runtime = must_serve(runtime_options());
  const auto plugin = must_start(plugin_options(folder.socket()), handler);
  ASSERT_EQ(failure(runtime->wait_for_plugins(1, soon())), "ok");
  const NriPod sent = pod_named("a");
  ASSERT_TRUE(runtime->run_pod_sandbox(sent));
  ASSERT_EQ(handler.pods().size(), 1U);
  const NriPod got = handler.pods()[0];
  EXPECT_EQ(got.id, sent.id);
  EXPECT_EQ(got.name, sent.name);
  EXPECT_EQ(got.uid, sent.uid);
  EXPECT_EQ(got.namespace_, sent.namespace_);
  EXPECT_EQ(got.labels, sent.labels);
  EXPECT_EQ(got.annotations, sent.annotations);
  EXPECT_EQ(got.runtime_handler, sent.runtime_handler);
  EXPECT_EQ(got.pid, sent.pid);
  EXPECT_EQ(got.ips, sent.ips);
  EXPECT_EQ(got.netns, sent.netns);
}

TEST_P(NriDialects, HandlersError_FailsTheEventAndKeepsTheConnection) {
  const auto runtime = must_serve(runtime_options());
  handler.on([](const std::string& event, const NriCall&) -> Result<> {
    if (event == "run bad") {
      return Error(Code::kUnsupported, "no such device");  // must not read as "no such method"
    }
    return {};
  });
  const auto plugin = must_start(plugin_options(folder.socket()), handler);
  ASSERT_EQ(failure(runtime->wait_for_plugins(1, soon())), "ok");
  EXPECT_EQ(failure(runtime->run_pod_sandbox(pod_named("bad"))), "plugin 50-test: no such device");
  EXPECT_EQ(failure(runtime->run_pod_sandbox(pod_named("good"))), "ok");
  EXPECT_EQ(std::ranges::count(handler.events(), "run bad"), 1);
  EXPECT_EQ(runtime->connects(), 1U);
}

TEST_P(NriDialects, MessageOfSeveralFrames_ArrivesWhole) {
  const auto runtime = must_serve(runtime_options());
  const auto plugin = must_start(plugin_options(folder.socket()), handler);
  ASSERT_EQ(failure(runtime->wait_for_plugins(1, soon())), "ok");
  for (const std::size_t size : {3000U, 3900U, 4000U, 4090U, 4096U, 5000U, 100'000U, 4'000'000U}) {
    NriPod pod = pod_named("a");
    pod.annotations["big"] = std::string(size, 'x');
    ASSERT_EQ(failure(runtime->run_pod_sandbox(pod)), "ok") << size;
    EXPECT_EQ(handler.pods().at(0).annotations.at("big").size(), size);
    NriAdjustment adjustment;
    adjustment.env["BIG"] = std::string(size, 'y');
    handler.adjust(adjustment);
    const auto got = runtime->create_container(pod_named("a"), container_named("c"));
    ASSERT_EQ(failure(got), "ok") << size;
    EXPECT_EQ(got->env.at("BIG").size(), size);
  }
}

TEST_P(NriDialects, Synchronize_LargerThanAMessage_ComesInPartsAndIsSeenAsOne) {
  NriInventory inventory;
  for (int i = 0; i < 100; ++i) {
    inventory.pods.push_back(pod_named(std::to_string(i)));
    inventory.pods.back().annotations["big"] = std::string(100'000, 'x');
    inventory.containers.push_back(container_named(std::to_string(i)));
  }
  const auto runtime = must_serve(runtime_options(), inventory);
  const auto plugin = must_start(plugin_options(folder.socket()), handler);
  ASSERT_EQ(failure(plugin->wait_ready(soon())), "ok");
  EXPECT_THAT(handler.events().at(1), "synchronize 100 100");
  EXPECT_EQ(handler.pods().back().name, "99");
}

// ---- adjustments ------------------------------------------------------------------------------------------

class Nri : public testing::Test {
 protected:
  TempFolder folder;
  Recorder handler;
};

TEST_F(Nri, Adjustment_ReachesTheRuntimeUnchanged) {
  const auto runtime = must_serve(patient(folder.socket()));
  handler.adjust(
      {.annotations = {{"k", "v"}},
       .env = {{"E", "1"}},
       .mounts = {{.destination = "/d", .type = "bind", .source = "/s", .options = {"ro", "rbind"}}},
       .devices = {{.path = "/dev/x", .type = "c", .major = 10, .minor = 196, .file_mode = 0600}},
       .cdi_devices = {"a/b=c"},
       .net_devices = {{"eth7", "data0"}}});
  const auto plugin = must_start(plugin_options(folder.socket()), handler);
  ASSERT_EQ(failure(runtime->wait_for_plugins(1, soon())), "ok");
  const auto got = runtime->create_container(pod_named("a"), container_named("c"));
  ASSERT_EQ(failure(got), "ok");
  EXPECT_THAT(got->annotations, ElementsAre(Pair("k", "v")));
  EXPECT_THAT(got->env, ElementsAre(Pair("E", "1")));
  ASSERT_EQ(got->mounts.size(), 1U);
  EXPECT_EQ(got->mounts[0].destination, "/d");
  EXPECT_EQ(got->mounts[0].source, "/s");
  EXPECT_THAT(got->mounts[0].options, ElementsAre("ro", "rbind"));
  ASSERT_EQ(got->devices.size(), 1U);
  EXPECT_EQ(got->devices[0].minor, 196);
  EXPECT_EQ(got->devices[0].file_mode, 0600U);
  EXPECT_THAT(got->cdi_devices, ElementsAre("a/b=c"));
  EXPECT_THAT(got->net_devices, ElementsAre(Pair("eth7", "data0")));
}

TEST_F(Nri, TwoPlugins_AreAskedByIndexAndTheirAdjustmentsAreMerged) {
  const auto runtime = must_serve(patient(folder.socket()));
  Recorder late;
  handler.adjust({.env = {{"FIRST", "1"}}});
  late.adjust({.env = {{"SECOND", "2"}}});
  std::vector<std::string> order;
  const auto track = [&order](const char* who) {
    return [&order, who](const std::string& event, const NriCall&) -> Result<> {
      if (event.starts_with("create")) {
        order.emplace_back(who);
      }
      return {};
    };
  };
  handler.on(track("20"));
  late.on(track("90"));
  auto options = plugin_options(folder.socket());
  options.index = "90";
  const auto last = must_start(options, late);
  ASSERT_EQ(failure(last->wait_ready(soon())), "ok");
  options.index = "20";
  const auto first = must_start(options, handler);
  ASSERT_EQ(failure(runtime->wait_for_plugins(2, soon())), "ok");
  const auto got = runtime->create_container(pod_named("a"), container_named("c"));
  ASSERT_EQ(failure(got), "ok");
  EXPECT_THAT(got->env, ElementsAre(Pair("FIRST", "1"), Pair("SECOND", "2")));
  EXPECT_THAT(order, ElementsAre("20", "90"));

  late.adjust({.env = {{"FIRST", "other"}}});
  EXPECT_EQ(failure(runtime->create_container(pod_named("a"), container_named("c"))),
            "plugins 20-test and 90-test both set environment variable FIRST");
}

TEST_F(Nri, EventsNotSubscribedTo_AreNotSent) {
  const auto runtime = must_serve(patient(folder.socket()));
  auto options = plugin_options(folder.socket());
  options.events = {NriEvent::kStopPodSandbox};
  const auto plugin = must_start(options, handler);
  ASSERT_EQ(failure(runtime->wait_for_plugins(1, soon())), "ok");
  EXPECT_TRUE(runtime->run_pod_sandbox(pod_named("a")));
  EXPECT_TRUE(runtime->stop_pod_sandbox(pod_named("a")));
  EXPECT_EQ(handler.events().back(), "stop a");
  EXPECT_EQ(std::ranges::count(handler.events(), "run a"), 0);
}

// ---- time -------------------------------------------------------------------------------------------------

TEST_F(Nri, HandlerThatOverrunsItsDeadline_FailsTheEventBeforeTheRuntimeGivesUp) {
  const auto runtime = must_serve({.socket = folder.socket(), .request_timeout = milliseconds(4000)});
  Gate finish;
  Gate finished;
  handler.on([&](const std::string& event, const NriCall&) -> Result<> {
    if (event == "run slow") {
      EXPECT_TRUE(finish.wait());
      finished.open();
    }
    return {};
  });
  auto options = plugin_options(folder.socket());
  options.margin = std::chrono::seconds(1);  // as much as a quarter of the limit
  const auto plugin = must_start(options, handler);
  ASSERT_EQ(failure(runtime->wait_for_plugins(1, soon())), "ok");
  EXPECT_THAT(
      failure(runtime->run_pod_sandbox(pod_named("slow"))),
      // What is left of the runtime's time when the event arrives: 4000 ms, or some less on a busy machine.
      ContainsRegex("RunPodSandbox of pod ns/slow took longer than [0-9]+ ms; the runtime waits [0-9]+ ms"));
  // The connection stays, and other pods are served while the slow handler still runs.
  EXPECT_EQ(failure(runtime->run_pod_sandbox(pod_named("quick"))), "ok");
  EXPECT_EQ(handler.events().back(), "run quick");
  EXPECT_EQ(runtime->connects(), 1U);
  finish.open();
  EXPECT_TRUE(finished.wait());
  EXPECT_EQ(failure(runtime->stop_pod_sandbox(pod_named("slow"))), "ok");
}

TEST_F(Nri, EventsOfOnePod_WaitForAHandlerThatOverran) {
  const auto runtime = must_serve({.socket = folder.socket(), .request_timeout = milliseconds(4000)});
  Gate finish;
  handler.on([&](const std::string& event, const NriCall&) -> Result<> {
    if (event == "run slow") {
      EXPECT_TRUE(finish.wait());
    }
    return {};
  });
  auto options = plugin_options(folder.socket());
  options.margin = std::chrono::seconds(1);  // as much as a quarter of the limit
  const auto plugin = must_start(options, handler);
  ASSERT_EQ(failure(runtime->wait_for_plugins(1, soon())), "ok");
  EXPECT_THAT(failure(runtime->run_pod_sandbox(pod_named("slow"))), HasSubstr("took longer"));
  EXPECT_THAT(failure(runtime->stop_pod_sandbox(pod_named("slow"))),
              HasSubstr("StopPodSandbox of pod ns/slow took"));
  EXPECT_EQ(std::ranges::count(handler.events(), "stop slow"), 0);
  finish.open();
  EXPECT_EQ(failure(runtime->remove_pod_sandbox(pod_named("slow"))), "ok");
  EXPECT_EQ(handler.events().back(), "remove slow");
}

TEST_F(Nri, Deadline_LeavesAQuarterOfAShortLimit) {
  const auto runtime = must_serve({.socket = folder.socket(), .request_timeout = milliseconds(1000)});
  std::optional<steady_clock::duration> left;
  handler.on([&](const std::string& event, const NriCall& call) -> Result<> {
    if (event == "run a") {
      left = call.deadline - steady_clock::now();
    }
    return {};
  });
  const auto plugin = must_start(plugin_options(folder.socket()), handler);
  ASSERT_EQ(failure(runtime->wait_for_plugins(1, soon())), "ok");
  ASSERT_EQ(failure(runtime->run_pod_sandbox(pod_named("a"))), "ok");
  ASSERT_TRUE(left);
  EXPECT_LE(*left, milliseconds(750));
}

// ---- connections that end ---------------------------------------------------------------------------------

TEST_F(Nri, NoRuntime_WaitReadySaysWhatIsMissing) {
  const auto plugin = must_start(plugin_options(folder.socket()), handler);
  EXPECT_THAT(failure(plugin->wait_ready(steady_clock::now() + milliseconds(50))),
              testing::AnyOf(
                  HasSubstr("NRI is not ready: no NRI at " + folder.socket() + ": No such file or directory"),
                  HasSubstr("it has just started")));
}

TEST_F(Nri, RuntimeRestart_IsFollowedByAConnectionAndASynchronization) {
  auto runtime = must_serve(patient(folder.socket()));
  const auto plugin = must_start(plugin_options(folder.socket()), handler);
  ASSERT_EQ(failure(plugin->wait_ready(soon())), "ok");
  runtime.reset();
  ASSERT_TRUE(handler.wait_for("disconnected: the other side closed the NRI connection"));
  EXPECT_FALSE(plugin->ready());
  runtime = must_serve(patient(folder.socket()), {.pods = {pod_named("a")}, .containers = {}});
  ASSERT_EQ(failure(plugin->wait_ready(soon())), "ok");
  EXPECT_TRUE(handler.wait_for("synchronize 1 0"));
  ASSERT_EQ(failure(runtime->wait_for_plugins(1, soon())), "ok");
  EXPECT_EQ(failure(runtime->run_pod_sandbox(pod_named("b"))), "ok");
  EXPECT_EQ(handler.events().back(), "run b");
}

TEST_F(Nri, SocketThatAppears_IsNoticedAtOnceHoweverLongTheWaits) {
  auto options = plugin_options(folder.socket());
  options.first_retry = options.last_retry = std::chrono::hours(1);
  std::filesystem::create_directories(std::filesystem::path(folder.socket()).parent_path());
  const auto plugin = must_start(options, handler);
  while (failure(plugin->wait_ready(steady_clock::now())).find("No such file") == std::string::npos) {
    std::this_thread::yield();
  }
  // The try that follows may come between bind() and listen(); a later file of that name gives another.
  auto runtime = must_serve(patient(folder.socket()));
  while (!plugin->wait_ready(steady_clock::now() + milliseconds(200))) {
    runtime = must_serve(patient(folder.socket() + "2"));
    std::filesystem::rename(folder.socket() + "2", folder.socket());
  }
  EXPECT_TRUE(plugin->ready());
}

TEST_F(Nri, PluginStop_WhileAHandlerRuns_StillAnswers) {
  const auto runtime = must_serve(patient(folder.socket()));
  Gate entered;
  Gate leave;
  handler.on([&](const std::string& event, const NriCall&) -> Result<> {
    if (event == "run a") {
      entered.open();
      EXPECT_TRUE(leave.wait());
      return Error(Code::kBusy, "the answer");
    }
    return {};
  });
  const auto plugin = must_start(plugin_options(folder.socket()), handler);
  ASSERT_EQ(failure(runtime->wait_for_plugins(1, soon())), "ok");
  auto answer =
      std::async(std::launch::async, [&] { return failure(runtime->run_pod_sandbox(pod_named("a"))); });
  ASSERT_TRUE(entered.wait());
  auto stopped = std::async(std::launch::async, [&] { plugin->stop(); });
  leave.open();
  stopped.get();
  EXPECT_EQ(answer.get(), "plugin 50-test: the answer");
  EXPECT_EQ(failure(runtime->wait_for_plugins(0, soon())), "ok");
  EXPECT_EQ(plugin->wait_ready(soon()).error().code(), Code::kCancelled);
}

TEST_F(Nri, RuntimeThatEndsDuringAnEvent_TheHandlerFinishesAndThePluginComesBack) {
  auto runtime = must_serve(patient(folder.socket()));
  Gate entered;
  Gate leave;
  handler.on([&](const std::string& event, const NriCall&) -> Result<> {
    if (event == "run a") {
      entered.open();
      EXPECT_TRUE(leave.wait());
    }
    return {};
  });
  const auto plugin = must_start(plugin_options(folder.socket()), handler);
  ASSERT_EQ(failure(runtime->wait_for_plugins(1, soon())), "ok");
  auto answer =
      std::async(std::launch::async, [&] { return failure(runtime->run_pod_sandbox(pod_named("a"))); });
  ASSERT_TRUE(entered.wait());
  runtime->stop();
  EXPECT_EQ(answer.get(), "ok");  // it fails open
  EXPECT_TRUE(handler.wait_for("disconnected"));
  leave.open();
  runtime.reset();
  runtime = must_serve(patient(folder.socket()));
  EXPECT_EQ(failure(plugin->wait_ready(soon())), "ok");
}

// ---- the runtime's side -----------------------------------------------------------------------------------

TEST_F(Nri, PluginThatIsSilentInAnEvent_IsDisconnectedAndTheEventSucceeds) {
  const auto runtime = must_serve({.socket = folder.socket(), .request_timeout = milliseconds(300)});
  Gate leave;
  handler.on([&](const std::string& event, const NriCall&) -> Result<> {
    if (event == "run a") {
      EXPECT_TRUE(leave.wait());
    }
    return {};
  });
  auto options = plugin_options(folder.socket());
  options.margin = -std::chrono::hours(1);  // answers an hour late
  const auto plugin = must_start(options, handler);
  ASSERT_EQ(failure(runtime->wait_for_plugins(1, soon())), "ok");
  EXPECT_EQ(failure(runtime->run_pod_sandbox(pod_named("a"))), "ok");
  EXPECT_EQ(failure(runtime->wait_for_connects(2, soon())), "ok");  // closed, and it came back
  leave.open();
}

TEST_F(Nri, SynchronizeThatFails_TurnsThePluginAwayUntilItWorks) {
  const auto runtime = must_serve(patient(folder.socket()));
  std::atomic<int> calls = 0;
  handler.on([&](const std::string& event, const NriCall&) -> Result<> {
    if (event.starts_with("synchronize") && ++calls < 3) {
      return Error(Code::kInternal, "not yet");
    }
    return {};
  });
  const auto plugin = must_start(plugin_options(folder.socket()), handler);
  EXPECT_EQ(failure(plugin->wait_ready(soon())), "ok");
  EXPECT_EQ(calls.load(), 3);
  EXPECT_EQ(failure(runtime->wait_for_connects(1, soon())), "ok");
}

TEST_F(Nri, Socket_IsForTheOwnerOnly) {
  const auto runtime = must_serve(patient(folder.socket()));
  struct stat info{};
  ASSERT_EQ(::stat(folder.socket().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
  ASSERT_EQ(::stat(std::filesystem::path(folder.socket()).parent_path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0700U);
}

TEST(NriOptions, ThatMakeNoSense_AreRefusedWithTheReason) {
  Recorder handler;
  const auto refused = [&](NriPluginOptions options) {
    const auto plugin = NriPlugin::create(std::move(options), handler);
    return plugin ? "ok" : plugin.error().what();
  };
  EXPECT_THAT(refused({.name = "a b", .events = kAllEvents}), HasSubstr("plugin name \"a b\""));
  EXPECT_THAT(refused({.name = "a", .index = "5", .events = kAllEvents}), HasSubstr("must be two digits"));
  EXPECT_THAT(refused({.name = "a", .socket = "x", .events = kAllEvents}), HasSubstr("must be absolute"));
  EXPECT_THAT(refused({.name = "a", .events = {}}), HasSubstr("at least one event"));
}

// ---- hand-made runtimes -----------------------------------------------------------------------------------

/// A runtime that does only what a test tells it to.
class RawRuntime : private Pinned {
 public:
  explicit RawRuntime(UniqueFd socket)
      : plugin_(
            {.send = [this](std::string_view m) { return mux_.send(kNriPluginService, m); }, .handler = {}}),
        runtime_({.send = [this](std::string_view m) { return mux_.send(kNriRuntimeService, m); },
                  .handler =
                      [this](const TtrpcRequest&, TtrpcReply reply) {
                        const Lock lock(mutex_);
                        register_reply_ = std::move(reply);
                        changed_.notify_all();
                      }}),
        mux_(std::move(socket), {.receive =
                                     [this](std::uint32_t to, std::string_view bytes) {
                                       return to == kNriPluginService ? plugin_.receive(bytes)
                                                                      : runtime_.receive(bytes);
                                     },
                                 .closed =
                                     [this](const Error&) {
                                       plugin_.close();
                                       runtime_.close();
                                       gone_.open();
                                     }}) {
    mux_.start();
  }
  ~RawRuntime() {
    mux_.close();
    plugin_.close();
    runtime_.close();
  }

  TtrpcReply wait_register() {
    const Lock lock(mutex_);
    while (!register_reply_) {
      if (changed_.wait_until(mutex_, soon()) == std::cv_status::timeout) {
        ADD_FAILURE() << "no RegisterPlugin";
        return [](const auto&) { return false; };
      }
    }
    return register_reply_;
  }
  Result<std::string> call(std::string_view method, const std::string& payload) {
    return plugin_.call(kNriPluginServiceName, method, payload, soon());
  }
  Result<std::string> configure() {
    return call("Configure", nri_pb::ConfigureRequest().SerializeAsString());
  }
  Result<std::string> synchronize(bool more = false) {
    nri_pb::SynchronizeRequest request;
    request.set_more(more);
    return call("Synchronize", request.SerializeAsString());
  }
  NriMux& mux() { return mux_; }
  [[nodiscard]] bool wait_gone() { return gone_.wait(); }

 private:
  Mutex mutex_;
  ConditionVariable changed_;
  TtrpcReply register_reply_ FL_GUARDED_BY(mutex_);
  Gate gone_;
  Ttrpc plugin_, runtime_;
  NriMux mux_;
};

class NriRaw : public testing::Test {
 protected:
  void SetUp() override {
    auto opened = UnixListener::open(folder.socket());
    ASSERT_TRUE(opened);
    listener.emplace(std::move(*opened));
    ASSERT_EQ(::fcntl(listener->descriptor(), F_SETFL, 0), 0);
    plugin = must_start(plugin_options(folder.socket()), handler);
  }
  void TearDown() override { plugin.reset(); }
  UniqueFd accept() { return UniqueFd(::accept4(listener->descriptor(), nullptr, nullptr, SOCK_CLOEXEC)); }

  TempFolder folder;
  Recorder handler;
  std::optional<UnixListener> listener;
  std::unique_ptr<NriPlugin> plugin;
};

TEST_F(NriRaw, ConfigureAndSynchronizeBeforeTheAnswerToRegister_AreServed) {
  RawRuntime runtime(accept());
  const TtrpcReply registered = runtime.wait_register();
  ASSERT_EQ(failure(runtime.configure()), "ok");
  ASSERT_EQ(failure(runtime.synchronize()), "ok");
  EXPECT_EQ(failure(plugin->wait_ready(soon())), "ok");
  EXPECT_TRUE(registered(std::string()));
  EXPECT_EQ(failure(runtime.call("RunPodSandbox", {})), "ok");
  EXPECT_TRUE(plugin->ready());
}

TEST_F(NriRaw, Configure_IsAnsweredWithTheMask) {
  RawRuntime runtime(accept());
  (void)runtime.wait_register()(std::string());
  const auto answer = runtime.configure();
  ASSERT_EQ(failure(answer), "ok");
  EXPECT_EQ(*answer, std::string("\x10\xff\x0c", 3));  // field 2, varint 0x67f
}

TEST_F(NriRaw, PartOfSynchronize_IsAnsweredWithMoreAndNothingElse) {
  RawRuntime runtime(accept());
  (void)runtime.wait_register()(std::string());
  ASSERT_EQ(failure(runtime.configure()), "ok");
  const auto part = runtime.synchronize(true);
  ASSERT_EQ(failure(part), "ok");
  EXPECT_EQ(*part, std::string("\x10\x01", 2));  // field 2, true
  EXPECT_FALSE(plugin->ready());
  const auto last = runtime.synchronize(false);
  ASSERT_EQ(failure(last), "ok");
  EXPECT_EQ(*last, "");
  EXPECT_EQ(failure(plugin->wait_ready(soon())), "ok");
}

TEST_F(NriRaw, UnknownMethodsAndServices_AreUnimplemented) {
  RawRuntime runtime(accept());
  (void)runtime.wait_register()(std::string());
  EXPECT_EQ(runtime.call("UpdatePodSandbox", {}).error().code(), Code::kUnsupported);
  EXPECT_EQ(runtime.call("ValidateContainerAdjustment", {}).error().code(), Code::kUnsupported);
  EXPECT_EQ(failure(runtime.call("Shutdown", {})), "ok");
}

TEST_F(NriRaw, StateChangeOfAnUnknownEvent_IsNoError) {
  RawRuntime runtime(accept());
  (void)runtime.wait_register()(std::string());
  EXPECT_EQ(failure(runtime.call("StateChange", "\x08\x63")), "ok");  // event 99
}

TEST_F(NriRaw, PayloadThatIsNoMessage_IsAnErrorOfThisCallOnly) {
  RawRuntime runtime(accept());
  (void)runtime.wait_register()(std::string());
  EXPECT_THAT(failure(runtime.call("RunPodSandbox", "\xff\xff\xff")), HasSubstr("cannot be decoded"));
  EXPECT_EQ(failure(runtime.configure()), "ok");
}

TEST_F(NriRaw, RuntimeLostAtAnyPoint_ThePluginConnectsAgain) {
  {
    const UniqueFd before_anything = accept();
  }
  {
    RawRuntime silent(accept());
  }
  {
    RawRuntime runtime(accept());
    (void)runtime.wait_register();
  }
  {
    RawRuntime runtime(accept());
    (void)runtime.wait_register()(std::string());
  }
  {
    RawRuntime runtime(accept());
    (void)runtime.wait_register()(Error(Code::kInvalid, "not you"));
    EXPECT_TRUE(runtime.wait_gone());
  }
  {
    RawRuntime runtime(accept());
    (void)runtime.wait_register()(std::string());
    EXPECT_EQ(failure(runtime.configure()), "ok");
  }
  {
    RawRuntime runtime(accept());
    (void)runtime.wait_register()(std::string());
    EXPECT_EQ(failure(runtime.configure()), "ok");
    EXPECT_EQ(failure(runtime.synchronize(true)), "ok");
  }
  RawRuntime runtime(accept());
  (void)runtime.wait_register()(std::string());
  EXPECT_EQ(failure(runtime.configure()), "ok");
  EXPECT_EQ(failure(runtime.synchronize()), "ok");
  EXPECT_EQ(failure(plugin->wait_ready(soon())), "ok");
  EXPECT_EQ(handler.events().back(), "synchronize 0 0");
}

TEST_F(NriRaw, GarbageOnTheWire_EndsTheConnectionAndThePluginConnectsAgain) {
  {
    const UniqueFd socket = accept();
    const std::string garbage(64, '\xff');
    ASSERT_EQ(::send(socket.get(), garbage.data(), garbage.size(), MSG_NOSIGNAL), 64);
    std::array<char, 4096> sink{};
    while (::recv(socket.get(), sink.data(), sink.size(), 0) > 0) {
    }
  }
  {
    RawRuntime runtime(accept());
    (void)runtime.wait_register();
    ASSERT_TRUE(runtime.mux().send(kNriPluginService, std::string(64, '\xee')));  // no ttrpc
    EXPECT_TRUE(runtime.wait_gone());
  }
  RawRuntime runtime(accept());
  (void)runtime.wait_register()(std::string());
  EXPECT_EQ(failure(runtime.configure()), "ok");
}

TEST_F(NriRaw, FramesOfUnknownConnections_AreIgnored) {
  RawRuntime runtime(accept());
  (void)runtime.wait_register()(std::string());
  ASSERT_TRUE(runtime.mux().send(7, "whatever"));
  ASSERT_TRUE(runtime.mux().send(0, "whatever"));
  EXPECT_EQ(failure(runtime.configure()), "ok");
}

// ---- hand-made plugins ------------------------------------------------------------------------------------

/// A plugin that answers by a table.
class RawPlugin : private Pinned {
 public:
  using Answers = std::map<std::string, std::function<Result<std::string>(const TtrpcRequest&)>>;
  RawPlugin(const std::string& socket, Answers answers)
      : answers_(std::move(answers)),
        plugin_({.send = [this](std::string_view m) { return mux_.send(kNriPluginService, m); },
                 .handler =
                     [this](const TtrpcRequest& request, const TtrpcReply& reply) {
                       const auto answer = answers_.find(request.method);
                       (void)reply(answer == answers_.end()
                                       ? Error(Code::kUnsupported, "no " + request.method)
                                       : answer->second(request));
                     }}),
        runtime_(
            {.send = [this](std::string_view m) { return mux_.send(kNriRuntimeService, m); }, .handler = {}}),
        mux_(connected(socket), {.receive =
                                     [this](std::uint32_t to, std::string_view bytes) {
                                       return to == kNriPluginService ? plugin_.receive(bytes)
                                                                      : runtime_.receive(bytes);
                                     },
                                 .closed =
                                     [this](const Error&) {
                                       plugin_.close();
                                       runtime_.close();
                                       gone_.open();
                                     }}) {
    mux_.start();
  }
  ~RawPlugin() {
    mux_.close();
    plugin_.close();
    runtime_.close();
  }

  std::string enroll(const std::string& name = "raw", const std::string& index = "10") {
    nri_pb::RegisterPluginRequest request;
    request.set_plugin_name(name);
    request.set_plugin_idx(index);
    return failure(
        runtime_.call(kNriRuntimeServiceName, "RegisterPlugin", request.SerializeAsString(), soon()));
  }
  [[nodiscard]] bool wait_gone() { return gone_.wait(); }

  static UniqueFd connected(const std::string& socket) {
    auto fd = sys::connect_unix(socket);
    EXPECT_TRUE(fd) << fd.error().what();
    return fd ? std::move(*fd) : UniqueFd();
  }

 private:
  const Answers answers_;
  Gate gone_;
  Ttrpc plugin_, runtime_;
  NriMux mux_;
};

Result<std::string> nothing(const TtrpcRequest& request) {
  (void)request;
  return std::string();
}

class NriServer : public testing::Test {
 protected:
  void serve(NriDialect dialect = NriDialect::kDedicated, const NriInventory& inventory = {}) {
    server = must_serve({.socket = folder.socket(),
                         .dialect = dialect,
                         .registration_timeout = registration_timeout,
                         .observe = [this](const NriPluginCall& call) { calls.push_back(call); }},
                        inventory);
  }
  milliseconds registration_timeout = std::chrono::seconds(20);
  TempFolder folder;
  std::vector<NriPluginCall> calls;
  std::unique_ptr<NriRuntimeServer> server;
};

TEST_F(NriServer, PluginWithoutAMethod_IsToldByStateChange) {
  serve();
  nri_pb::StateChangeEvent told;
  RawPlugin plugin(folder.socket(), {{"Configure", nothing},
                                     {"Synchronize", nothing},
                                     {"StateChange", [&](const TtrpcRequest& request) -> Result<std::string> {
                                        EXPECT_TRUE(told.ParseFromString(request.payload));
                                        return std::string();
                                      }}});
  ASSERT_EQ(plugin.enroll(), "ok");
  ASSERT_EQ(failure(server->wait_for_plugins(1, soon())), "ok");
  EXPECT_EQ(server->plugins().at(0).events, 0x3fffU);  // a mask of 0 is everything
  EXPECT_EQ(failure(server->stop_pod_sandbox(pod_named("a"))), "ok");
  EXPECT_EQ(told.event(), 2);
  EXPECT_EQ(told.pod().name(), "a");
}

TEST_F(NriServer, SilentConnection_KeepsOthersWaitingNoLongerThanTheRegistrationTimeout) {
  registration_timeout = std::chrono::seconds(1);
  serve();
  RawPlugin silent(folder.socket(), {});
  RawPlugin plugin(folder.socket(), {{"Configure", nothing}, {"Synchronize", nothing}});
  EXPECT_EQ(plugin.enroll(), "ok");
  EXPECT_TRUE(silent.wait_gone());
  EXPECT_EQ(failure(server->wait_for_plugins(1, soon())), "ok");
}

TEST_F(NriServer, BadNameIndexOrMask_IsTurnedAway) {
  registration_timeout = std::chrono::seconds(1);  // it may try another name until then
  serve();
  {
    RawPlugin plugin(folder.socket(), {});
    EXPECT_THAT(plugin.enroll("a/b"), HasSubstr("plugin name"));
    EXPECT_THAT(plugin.enroll("ab", "1"), HasSubstr("two digits"));
    EXPECT_TRUE(plugin.wait_gone());
  }
  RawPlugin plugin(folder.socket(), {{"Configure", [](const TtrpcRequest&) -> Result<std::string> {
                                        return std::string("\x10\x80\x80\x04");  // events 0x10000
                                      }}});
  EXPECT_EQ(plugin.enroll(), "ok");
  EXPECT_TRUE(plugin.wait_gone());
  EXPECT_EQ(server->connects(), 0U);
}

TEST_F(NriServer, PluginThatDoesNotRepeatMore_IsTurnedAway) {
  NriInventory inventory;
  for (int i = 0; i < 50; ++i) {
    inventory.pods.push_back(pod_named("a"));
    inventory.pods.back().annotations["big"] = std::string(100'000, 'x');
  }
  serve(NriDialect::kDedicated, inventory);
  RawPlugin plugin(folder.socket(), {{"Configure", nothing}, {"Synchronize", nothing}});
  EXPECT_EQ(plugin.enroll(), "ok");
  EXPECT_TRUE(plugin.wait_gone());
  EXPECT_EQ(server->connects(), 0U);
}

TEST_F(NriServer, StatusOfATimeoutAnsweredInTime_IsAnErrorLikeOthers) {
  serve();
  RawPlugin plugin(folder.socket(), {{"Configure", nothing},
                                     {"Synchronize", nothing},
                                     {"RunPodSandbox", [](const TtrpcRequest&) -> Result<std::string> {
                                        return Error(Code::kTimeout, "my own deadline");
                                      }}});
  ASSERT_EQ(plugin.enroll(), "ok");
  ASSERT_EQ(failure(server->wait_for_plugins(1, soon())), "ok");
  EXPECT_EQ(failure(server->run_pod_sandbox(pod_named("a"))), "plugin 10-raw: my own deadline");
  EXPECT_EQ(server->plugins().size(), 1U);
  ASSERT_EQ(calls.size(), 2U);
  EXPECT_EQ(calls[0].event, "Synchronize");
  EXPECT_EQ(calls[0].outcome, NriPluginCall::Outcome::kAnswered);
  EXPECT_EQ(calls[1].event, "RunPodSandbox");
  EXPECT_EQ(calls[1].plugin, "10-raw");
  EXPECT_EQ(calls[1].outcome, NriPluginCall::Outcome::kRefused);
  EXPECT_EQ(calls[1].error, "my own deadline");
}

TEST_F(NriServer, RemovalsInAnAdjustment_AreRefused) {
  serve();
  nri_pb::CreateContainerResponse response;
  response.mutable_adjust()->add_env()->set_key("-PATH");
  RawPlugin plugin(folder.socket(), {{"Configure", nothing},
                                     {"Synchronize", nothing},
                                     {"CreateContainer", [&](const TtrpcRequest&) -> Result<std::string> {
                                        return response.SerializeAsString();
                                      }}});
  ASSERT_EQ(plugin.enroll(), "ok");
  ASSERT_EQ(failure(server->wait_for_plugins(1, soon())), "ok");
  EXPECT_EQ(failure(server->create_container(pod_named("a"), container_named("c"))),
            "plugin 10-raw: it asks to remove environment variable PATH, which this runtime cannot do");
}

TEST_F(NriServer, GarbageFromAPlugin_EndsItAlone) {
  serve();
  RawPlugin good(folder.socket(), {{"Configure", nothing}, {"Synchronize", nothing}});
  ASSERT_EQ(good.enroll(), "ok");
  ASSERT_EQ(failure(server->wait_for_plugins(1, soon())), "ok");
  const UniqueFd bad = RawPlugin::connected(folder.socket());
  const std::string garbage(100, '\xff');
  ASSERT_EQ(::send(bad.get(), garbage.data(), garbage.size(), MSG_NOSIGNAL), 100);
  char byte = 0;
  EXPECT_LE(::recv(bad.get(), &byte, 1, 0), 0);
  EXPECT_EQ(server->plugins().size(), 1U);
}

TEST_F(NriServer, SecondServerOnTheSameSocket_IsRefused) {
  serve();
  const auto second = NriRuntimeServer::start({.socket = folder.socket()}, [] { return NriInventory{}; });
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Code::kBusy);
}

}  // namespace
}  // namespace fairlead::rpc
