// SPDX-License-Identifier: Apache-2.0
// A node and pods as network namespaces, for tests against the running kernel. The test's thread lives in the
// node's namespace.
#pragma once

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <regex>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "fairlead/agent/net_driver.h"
#include "fairlead/agent/probe.h"
#include "fairlead/agent/testing/fake_host.h"
#include "fairlead/core/pinned.h"
#include "fairlead/devices/testing/node.h"
#include "fairlead/sys/files.h"
#include "fairlead/sys/netns.h"
#include "fairlead/sys/testing/no_descriptors.h"

namespace fairlead::agent {

#define ASSERT_OK(expression)                                       \
  do {                                                              \
    const auto& ok_result = (expression);                           \
    ASSERT_TRUE(ok_result.has_value()) << ok_result.error().what(); \
  } while (false)

/// A process that only keeps a network namespace alive, like the pause container of a pod.
class Inhabitant : private Pinned {
 public:
  explicit Inhabitant(int netns) : pid_(::fork()) {
    if (pid_ == 0) {
      if (::setns(netns, CLONE_NEWNET) == 0) {
        // What it inherited would keep other pods' namespaces alive.
        const auto ready = static_cast<unsigned>(ready_[1]);
        (void)::close_range(3, ready - 1, 0);
        (void)::close_range(ready + 1, ~0U, 0);
        (void)!::write(ready_[1], "x", 1);
        while (true) {
          ::pause();
        }
      }
      ::_exit(1);
    }
    char byte = 0;
    (void)!::read(ready_[0], &byte, 1);
  }
  ~Inhabitant() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    ::close(ready_[0]);
    ::close(ready_[1]);
  }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  struct Pipe {
    int ends[2] = {-1, -1};  // NOLINT(modernize-avoid-c-arrays): pipe2
    Pipe() { (void)!::pipe2(ends, O_CLOEXEC); }
    int operator[](int i) const { return ends[i]; }
  };
  Pipe ready_;
  pid_t pid_;
};

/// This thread has no more rights to files and processes than an ordinary user meanwhile; to networks it has.
class NoFileRights : private Pinned {
 public:
  NoFileRights() : before_(::setfsuid(kNobody)) {}
  ~NoFileRights() { (void)::setfsuid(static_cast<uid_t>(before_)); }

 private:
  static constexpr uid_t kNobody = 65534;
  int before_;
};

struct Pod {
  UniqueFd netns;
  std::unique_ptr<netlink::Socket> socket;
  std::unique_ptr<Inhabitant> pause;  // so that it can be found by its id, as a real one
};

/// ip(8) in the namespace of the calling thread: what it printed, nothing when it failed.
inline std::optional<std::string> ip(const std::string& arguments) {
  FILE* pipe = ::popen(("ip " + arguments).c_str(), "re");  // NOLINT: a test
  if (pipe == nullptr) {
    return std::nullopt;
  }
  std::string text;
  std::array<char, 4096> part = {};
  for (std::size_t size = 1; size > 0;) {
    size = ::fread(part.data(), 1, part.size(), pipe);
    text.append(part.data(), size);
  }
  return ::pclose(pipe) == 0 ? std::optional(text) : std::nullopt;
}
inline bool has_ip() { return ip("-V").has_value(); }
inline std::optional<std::string> ip_in(const Pod& pod, const std::string& arguments) {
  return sys::with_netns(pod.netns.get(),
                         [&]() -> Result<std::optional<std::string>> { return ip(arguments); })
      .value();
}

/// All that ip(8) and /proc show of a link of the node, one setting per line. Without the IPv6 address that the
/// kernel makes of its MAC, and what goes with that, which come by themselves in their own time.
inline std::vector<std::string> describe_link(const std::string& name) {
  const auto lines_of = [](const std::string& arguments) {
    std::istringstream text(ip(arguments).value_or("ip(8) failed"));
    std::vector<std::string> lines;
    for (std::string line; std::getline(text, line);) {
      lines.push_back(line);
    }
    return lines;
  };
  std::vector<std::string> out;
  // No indexes; not what follows from the carrier, a moment later.
  static const std::regex kPasses(
      "^[0-9]+: |@[^ :]+|,(LOWER_UP|M-DOWN)|NO-CARRIER,| (state|qdisc) [a-zA-Z]+| link-netnsid [0-9]+");
  for (const std::string& line : lines_of("-d -o link show dev " + name)) {
    out.push_back(std::regex_replace(line, kPasses, ""));
  }
  static const std::regex kOfItself("fe80::[0-9a-f:]*ff:fe[0-9a-f:]+| fe80::(/64)? | ff00::/8 ");
  // The order of addresses counts: it decides which one is used as a source.
  int number = 0;
  for (const std::string& line : lines_of("-d -o addr show dev " + name)) {
    if (!std::regex_search(line, kOfItself)) {
      out.push_back("address " + std::to_string(++number) + " of " + std::regex_replace(line, kPasses, ""));
    }
  }
  for (const std::string family : {"-4", "-6"}) {
    for (const std::string& line : lines_of("-d " + family + " route show table all dev " + name)) {
      if (!std::regex_search(line, kOfItself)) {
        out.push_back(std::regex_replace(line, kPasses, ""));
      }
    }
  }
  for (const char* folder : {"ipv4/conf", "ipv4/neigh", "ipv6/conf", "ipv6/neigh"}) {
    std::error_code error;
    const std::string path = "/proc/sys/net/" + std::string(folder) + "/" + name;
    std::vector<std::string> settings;
    for (const auto& file : std::filesystem::directory_iterator(path, error)) {
      if (const auto value = sys::read_file(file.path().string())) {
        settings.push_back(file.path().string() + " = " + *value);
      }
    }
    std::ranges::sort(settings);
    out.insert(out.end(), settings.begin(), settings.end());
  }
  return out;
}

/// What differs, a line each.
inline std::vector<std::string> changes(std::vector<std::string> before, std::vector<std::string> now) {
  std::ranges::sort(before);
  std::ranges::sort(now);
  std::vector<std::string> gone;
  std::vector<std::string> is_new;
  std::ranges::set_difference(before, now, std::back_inserter(gone));
  std::ranges::set_difference(now, before, std::back_inserter(is_new));
  std::vector<std::string> out;
  for (const std::string& line : gone) {
    out.push_back("was: " + line);
  }
  for (const std::string& line : is_new) {
    out.push_back("is:  " + line);
  }
  return out;
}

class KernelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto node = sys::create_netns();
    if (!node) {
      GTEST_SKIP() << "cannot make network namespaces: " << node.error().what();
    }
    auto scope = sys::NetnsScope::enter(node->get());
    ASSERT_OK(scope);
    scope_.emplace(std::move(*scope));
    node_netns_ = std::move(*node);
    auto socket = netlink::Socket::open();
    ASSERT_OK(socket);
    node_ = std::make_unique<netlink::Socket>(std::move(*socket));
    // Of all kinds, also of those that the test's registry leaves out or adds.
    const devices::Registry all = devices::all_kinds();
    for (const devices::Registry* registry : {&all, static_cast<const devices::Registry*>(&registry_)}) {
      const auto kinds = probe_kinds(*registry);
      ASSERT_OK(kinds);
      kinds_.insert(kinds->begin(), kinds->end());
    }
    if (!kinds_.contains("veth") || !kinds_.contains("macvlan")) {
      GTEST_SKIP() << "this kernel lacks veth or macvlan";
    }
    ASSERT_OK(node_->create_link(
        {.name = "eth0", .kind = netlink::Veth{.peer = {.name = "eth0-peer", .up = true}}, .up = true}));
    pod_ = make_pod();
    make_driver();
  }

  static Pod make_pod() {
    Pod pod;
    auto netns = sys::create_netns();
    EXPECT_TRUE(netns);
    pod.netns = std::move(*netns);
    auto socket = netlink::Socket::open_in(pod.netns.get());
    EXPECT_TRUE(socket);
    pod.socket = std::make_unique<netlink::Socket>(std::move(*socket));
    pod.pause = std::make_unique<Inhabitant>(pod.netns.get());
    return pod;
  }

  void make_driver() {
    NetDriverOptions options{.guard_path = "/opt/fairlead-guard", .guard_socket = "/run/x/guard.sock"};
    options.node = {.driver_name = "net.example.com",
                    .mode = mode_,
                    .has_guard = has_guard_,
                    .host_devices = {"nic*"},
                    .kinds_of_kernel = kinds_};
    options.node.uplinks = uplinks_;
    options.node.not_uplinks = not_uplinks_;
    options.node.allow_connected = allow_connected_;
    options.node.memory = memory_;
    options.watch_node = false;
    driver_ = NetDriver::create(host_, std::move(options), registry_).value();
  }

  struct Wanted {
    std::string netdev;  // the fields after "kind", as JSON: R"("macvlan","master":"eth0")"
    std::string device = "netdev-virtual";
    std::string request = "nic";
  };
  static dra::Claim claim(const std::string& uid, const std::vector<Wanted>& devices) {
    dra::Claim claim{.namespace_ = "default", .name = "claim-" + uid, .uid = uid};
    for (const Wanted& wanted : devices) {
      claim.devices.push_back(
          {.request = wanted.request,
           .pool = "node-a",
           .device = wanted.device,
           .config = {{.parameters = R"({"type":"netdev","netdev":{"kind":)" + wanted.netdev + "}}",
                       .path = "config[0].opaque.parameters"}}});
    }
    return claim;
  }

  /// plan() and prepare(), as the framework does it.
  Result<dra::ClaimRecord> prepare(const dra::Claim& claim) {
    dra::ClaimRecord record{.claim = claim, .state = dra::ClaimState::kPreparing};
    FL_ASSIGN(record.plan, driver_->plan(claim));
    FL_ASSIGN(record.prepared, driver_->prepare(claim, record.plan, {}));
    record.state = dra::ClaimState::kPrepared;
    return record;
  }

  /// attach(), with the new state in the record as dra::Host::update keeps it.
  Result<> attach(dra::ClaimRecord& record, const Pod& pod) {
    FL_ASSIGN(record.prepared.state,
              driver_->attacher().attach(record, {.netns = pod.netns.get(), .container = "container-1"}));
    return {};
  }

  static std::vector<std::string> names(netlink::Socket& socket) {
    std::vector<std::string> out;
    const auto links = socket.links().value();
    for (const netlink::Link& link : links) {
      out.push_back(link.name);
    }
    std::ranges::sort(out);
    return out;
  }
  [[nodiscard]] std::vector<std::string> node_names() { return names(*node_); }
  static netlink::Link link(netlink::Socket& socket, const std::string& name) {
    auto found = socket.link(name);
    EXPECT_TRUE(found && *found) << name;
    return found && *found ? **found : netlink::Link{};
  }

  /// The framework, whose state is in members of the test.
  class Host final : public FakeHost {
   public:
    explicit Host(KernelTest& test) : test_(&test) {}
    Result<std::vector<dra::ClaimRecord>> records() const override {
      if (test_->on_records_) {
        test_->on_records_();
      }
      return test_->records_;
    }
    Result<bool> if_unknown(const std::string& uid, TimePoint /*deadline*/,
                            const std::function<void()>& action) override {
      if (test_->if_unknown_) {
        return test_->if_unknown_(uid, action);
      }
      action();
      return true;
    }
    void pod_event(const std::string& uid, const std::string& reason, const std::string& message,
                   const std::optional<dra::Pod>& /*pod*/) override {
      test_->told_.push_back(uid + " " + reason + ": " + message);
    }

   private:
    KernelTest* test_;
  };

  UniqueFd node_netns_;
  std::optional<sys::NetnsScope> scope_;
  std::unique_ptr<netlink::Socket> node_;
  std::set<std::string> kinds_;
  devices::AttachMode mode_ = devices::AttachMode::kGuard;
  bool has_guard_ = true;
  std::vector<std::string> uplinks_, not_uplinks_;  // flags, read by make_driver()
  bool allow_connected_ = false;
  std::shared_ptr<devices::NodeMemory> memory_;
  devices::Registry registry_ = devices::all_kinds();
  std::vector<dra::ClaimRecord> records_;  // what the framework would know
  std::function<void()> on_records_;       // runs just before they are returned
  /// Instead of running the action.
  std::function<Result<bool>(const std::string& uid, const std::function<void()>& action)> if_unknown_;
  std::vector<std::string> told_;  // "<claim uid> <reason>: <message>"
  Host host_{*this};
  std::unique_ptr<NetDriver> driver_;
  Pod pod_;
};

}  // namespace fairlead::agent
