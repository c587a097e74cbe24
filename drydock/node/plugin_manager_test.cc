// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/plugin_manager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>

#include "drydock/node/claim_manager.h"
#include "drydock/node/testing/fake_plugin.h"
#include "drydock/node/testing/temp_folder.h"
#include "fairlead/sys/unix_socket.h"

namespace drydock {
namespace {

using namespace std::chrono_literals;
using fairlead::UniqueFd;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

UniqueFd listen_on(const std::string& path) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto address = fairlead::sys::unix_address(path).value();
  EXPECT_EQ(::bind(fd.get(), fairlead::sys::as_sockaddr(address), sizeof address), 0) << path;
  return fd;
}

TEST(RegistryWatcher, SeesWhatIsThereAndWhatComes) {
  const TempFolder folder;
  const auto first = listen_on(folder.path() + "/a.sock");
  folder.write("plain", "no socket");
  auto watcher = RegistryWatcher::open(folder.path());
  ASSERT_TRUE(watcher) << watcher.error().what();
  EXPECT_THAT(watcher->sockets(), ElementsAre(testing::Key(folder.path() + "/a.sock")));
  const auto generation = watcher->sockets().begin()->second;

  const auto hidden = listen_on(folder.path() + "/.b.sock");
  ASSERT_TRUE(*watcher->drain());
  EXPECT_THAT(watcher->sockets(), SizeIs(1));

  ASSERT_EQ(::unlink((folder.path() + "/a.sock").c_str()), 0);
  const auto again = listen_on(folder.path() + "/a.sock");
  ASSERT_TRUE(*watcher->drain());
  ASSERT_THAT(watcher->sockets(), SizeIs(1));
  EXPECT_GT(watcher->sockets().begin()->second, generation);

  ASSERT_EQ(::unlink((folder.path() + "/a.sock").c_str()), 0);
  ASSERT_TRUE(*watcher->drain());
  EXPECT_THAT(watcher->sockets(), IsEmpty());
}

TEST(RegistryWatcher, FollowsFoldersAndMissesWhatMovesAway) {
  const TempFolder folder;
  auto watcher = RegistryWatcher::open(folder.path());
  ASSERT_TRUE(watcher);
  ASSERT_TRUE(fairlead::sys::make_dirs(folder.path() + "/sub"));
  ASSERT_TRUE(*watcher->drain());
  const auto socket = listen_on(folder.path() + "/sub/x.sock");
  ASSERT_TRUE(*watcher->drain());
  EXPECT_THAT(watcher->sockets(), SizeIs(1));
  ASSERT_EQ(::rename((folder.path() + "/sub/x.sock").c_str(), (folder.path() + "/../drydock-moved").c_str()),
            0);
  ASSERT_TRUE(watcher->drain());
  EXPECT_THAT(watcher->sockets(), SizeIs(1)) << "the kubelet does not see a socket move away either";
  ASSERT_EQ(::unlink((folder.path() + "/../drydock-moved").c_str()), 0);
}

/// Collects the manager's events and waits for them.
class Watched {
 public:
  PluginEvents events() {
    PluginEvents out;
    out.registered = [this](const std::string& driver, const std::string&, DraVersion version) {
      add("registered " + driver + " " + std::string(to_string(version)));
    };
    out.unregistered = [this](const std::string& driver, const std::string&) {
      add("unregistered " + driver);
    };
    out.failed = [this](const std::string&, const std::string& why) { add("failed " + why); };
    out.wipe_slices = [this](const std::string& driver) { add("wipe " + driver); };
    return out;
  }
  bool wait_for(const std::string& part, int times = 1) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, 15s, [&] {
      return std::count_if(all_.begin(), all_.end(),
                           [&](const auto& e) { return e.find(part) != std::string::npos; }) >= times;
    });
  }

 private:
  void add(std::string text) {
    const std::lock_guard lock(mutex_);
    all_.push_back(std::move(text));
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> all_;
};

class Plugins : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(fairlead::sys::make_dirs(registry_));
    ASSERT_TRUE(fairlead::sys::make_dirs(folder_.path() + "/p"));
  }
  void start(std::chrono::milliseconds wipe_delay = 60s) {
    auto manager = PluginManager::start(
        {.registry = registry_, .first_retry = 10ms, .wipe_delay = wipe_delay}, watched_.events());
    ASSERT_TRUE(manager) << manager.error().what();
    manager_ = *std::move(manager);
  }
  [[nodiscard]] FakePlugin::Settings settings(const std::string& instance = "") const {
    FakePlugin::Settings out;
    out.registration_socket = registry_ + "/test" + instance + "-reg.sock";
    out.endpoint = folder_.path() + "/p/dra" + instance + ".sock";
    return out;
  }
  [[nodiscard]] bool wait_connected(const std::string& endpoint) const {
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (std::chrono::steady_clock::now() < deadline) {
      const auto plugin = manager_->plugin("test.example.com");
      if (plugin && plugin->connected() && plugin->endpoint() == endpoint) {
        return true;
      }
      std::this_thread::yield();
    }
    return false;
  }

  TempFolder folder_;
  const std::string registry_ = folder_.path() + "/r";
  Watched watched_;
  std::unique_ptr<PluginManager> manager_;
};

TEST_F(Plugins, SocketThatIsThereAlready_IsRegistered) {
  const FakePlugin plugin(settings());
  start();
  ASSERT_TRUE(watched_.wait_for("registered test.example.com v1.DRAPlugin"));
  EXPECT_THAT(plugin.calls(), ElementsAre("GetInfo", "Notify true"));
  EXPECT_THAT(manager_->drivers(), ElementsAre("test.example.com"));
}

TEST_F(Plugins, Authority_IsTheEscapedPathAsTheKubeletsIs) {
  const FakePlugin plugin(settings());
  start();
  ASSERT_TRUE(watched_.wait_for("registered"));
  EXPECT_THAT(plugin.authority(), HasSubstr("%2Ftest-reg.sock"));
}

TEST_F(Plugins, FirstKnownVersionOfThePluginsList_IsUsed) {
  start();
  auto wanted = settings();
  wanted.versions = {"v7.DRAPlugin", "v1beta1.DRAPlugin", "v1.DRAPlugin"};
  const FakePlugin plugin(wanted);
  EXPECT_TRUE(watched_.wait_for("registered test.example.com v1beta1.DRAPlugin"));
}

TEST_F(Plugins, NoKnownVersion_IsRefusedWithTheReason) {
  start();
  auto wanted = settings();
  wanted.versions = {"1.0.0"};
  const FakePlugin plugin(wanted);
  ASSERT_TRUE(watched_.wait_for("supported_versions: 1.0.0"));
  EXPECT_THAT(plugin.calls(), Contains(HasSubstr("Notify false: GetInfo: supported_versions")));
  EXPECT_THAT(manager_->drivers(), IsEmpty());
}

TEST_F(Plugins, OtherType_IsRefused) {
  start();
  auto wanted = settings();
  wanted.type = "CSIPlugin";
  const FakePlugin plugin(wanted);
  EXPECT_TRUE(watched_.wait_for("no handler registered for plugin type: CSIPlugin"));
}

TEST_F(Plugins, NoticeAnsweredWithAnError_RegistersAgainLater) {
  start();
  FakePlugin plugin(settings());
  plugin.refuse_notices(2);
  ASSERT_TRUE(watched_.wait_for("registered test.example.com"));
  EXPECT_TRUE(manager_->plugin("test.example.com"));
}

TEST_F(Plugins, SocketRemoved_IsUnregistered_AndComesBack) {
  start();
  {
    const FakePlugin plugin(settings());
    ASSERT_TRUE(watched_.wait_for("registered"));
  }
  ASSERT_TRUE(watched_.wait_for("unregistered test.example.com"));
  EXPECT_EQ(manager_->plugin("test.example.com"), nullptr);
  const FakePlugin again(settings());
  EXPECT_TRUE(watched_.wait_for("registered test.example.com v1", 2));
}

TEST_F(Plugins, TwoInstances_NewestThatIsConnectedIsUsed) {
  start();
  const FakePlugin old(settings("1"));
  ASSERT_TRUE(watched_.wait_for("registered"));
  auto newer = std::make_unique<FakePlugin>(settings("2"));
  ASSERT_TRUE(watched_.wait_for("registered", 2));
  EXPECT_TRUE(wait_connected(settings("2").endpoint));
  newer->stop_serving();
  EXPECT_TRUE(wait_connected(settings("1").endpoint));
}

TEST_F(Plugins, SameEndpointTwice_IsRefused) {
  start();
  const FakePlugin first(settings("1"));
  ASSERT_TRUE(watched_.wait_for("registered"));
  auto copy = settings("2");
  copy.announced_endpoint = settings("1").endpoint;
  const FakePlugin second(copy);
  EXPECT_TRUE(watched_.wait_for("already registered for DRA driver test.example.com"));
  EXPECT_THAT(manager_->drivers(), SizeIs(1));
}

TEST_F(Plugins, DriverGone_LosesItsSlicesOnce) {
  start(50ms);
  {
    const FakePlugin plugin(settings());
    ASSERT_TRUE(watched_.wait_for("registered"));
    ASSERT_TRUE(wait_connected(settings().endpoint));
  }
  EXPECT_TRUE(watched_.wait_for("wipe test.example.com"));
}

class Claims : public Plugins {
 protected:
  void SetUp() override {
    Plugins::SetUp();
    start();
    plugin_ = std::make_unique<FakePlugin>(settings());
    ASSERT_TRUE(watched_.wait_for("registered"));
    claims_ = std::make_unique<ClaimManager>(*manager_);
  }
  static AllocatedClaim claim(const std::string& name) {
    return {.pod_claim = "c-" + name,
            .id = {.namespace_ = "default", .name = name, .uid = "uid-" + name},
            .drivers = {"test.example.com"}};
  }
  [[nodiscard]] std::vector<std::string> dra_calls() const {
    auto out = plugin_->calls();
    std::erase_if(out, [](const auto& c) { return c.find("prepare") == std::string::npos; });
    return out;
  }
  std::unique_ptr<FakePlugin> plugin_;
  std::unique_ptr<ClaimManager> claims_;
};

TEST_F(Claims, OneBatchPerDriver_AndDevicesByRequest) {
  const std::vector all = {claim("a"), claim("b")};
  ASSERT_TRUE(claims_->prepare("pod", all));
  EXPECT_THAT(dra_calls(), ElementsAre("prepare v1 a,b"));
  ContainerSpec container;
  container.claims = {{"c-a", "one"}, {"c-b", "two"}, {"c-a", ""}};
  EXPECT_THAT(claims_->cdi_devices(container, all), ElementsAre("v.com/c=a"))
      << "b's device is of request one";
  EXPECT_THAT(claims_->in_use(), SizeIs(2));
  ASSERT_TRUE(claims_->unprepare("pod", {claim("a").id, claim("b").id}));
  EXPECT_THAT(dra_calls(), ElementsAre("prepare v1 a,b", "unprepare v1 a,b"));
  EXPECT_THAT(claims_->in_use(), IsEmpty());
}

TEST_F(Claims, SharedClaim_PreparedOnceAndUnpreparedWithTheLast) {
  ASSERT_TRUE(claims_->prepare("pod1", {claim("a")}));
  ASSERT_TRUE(claims_->prepare("pod2", {claim("a")}));
  ASSERT_TRUE(claims_->unprepare("pod1", {claim("a").id}));
  EXPECT_THAT(dra_calls(), ElementsAre("prepare v1 a"));
  ASSERT_TRUE(claims_->unprepare("pod2", {claim("a").id}));
  EXPECT_THAT(dra_calls(), ElementsAre("prepare v1 a", "unprepare v1 a"));
}

TEST_F(Claims, ErrorOfAClaim_IsTheKubeletsText_AndIsUnpreparedAllTheSame) {
  plugin_->answer_with("no such cable");
  const auto done = claims_->prepare("pod", {claim("a")});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().what(), "NodePrepareResources failed for ResourceClaim a: no such cable");
  plugin_->answer_with("");
  ASSERT_TRUE(claims_->unprepare("pod", {claim("a").id}));
  EXPECT_THAT(dra_calls(), ElementsAre("prepare v1 a", "unprepare v1 a"));
}

TEST_F(Claims, MissingAnswers_AreAnError) {
  plugin_->omit_answers();
  EXPECT_EQ(claims_->prepare("pod", {claim("a"), claim("b")}).error().what(),
            "NodePrepareResources skipped 2 ResourceClaims");
}

TEST_F(Claims, AnswerNobodyAskedFor_IsAnError) {
  plugin_->add_unknown_answer();
  EXPECT_EQ(claims_->prepare("pod", {claim("a")}).error().what(),
            "NodePrepareResources returned result for unknown claim UID nobody");
}

TEST_F(Claims, FailedUnprepare_IsTriedAgain) {
  ASSERT_TRUE(claims_->prepare("pod", {claim("a")}));
  plugin_->answer_with("busy");
  EXPECT_FALSE(claims_->unprepare("pod", {claim("a").id}));
  EXPECT_THAT(claims_->in_use(), SizeIs(1));
  plugin_->answer_with("");
  EXPECT_TRUE(claims_->unprepare("pod", {claim("a").id}));
  EXPECT_THAT(claims_->in_use(), IsEmpty());
}

TEST_F(Claims, SameNameOtherUid_WaitsForTheOldOne) {
  ASSERT_TRUE(claims_->prepare("pod", {claim("a")}));
  auto newer = claim("a");
  newer.id.uid = "uid-a2";
  EXPECT_THAT(claims_->prepare("pod2", {newer}).error().what(), HasSubstr("still exists"));
}

TEST_F(Claims, DriverNotRegistered_IsSaid_EvenWhenAllIsPrepared) {
  ASSERT_TRUE(claims_->prepare("pod1", {claim("a")}));
  plugin_.reset();
  ASSERT_TRUE(watched_.wait_for("unregistered"));
  EXPECT_EQ(claims_->prepare("pod2", {claim("a")}).error().what(),
            "DRA driver test.example.com is not registered");
}

}  // namespace
}  // namespace drydock
