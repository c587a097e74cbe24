// SPDX-License-Identifier: Apache-2.0
// What the tests of claims share: a driver whose effects are files, an API server in memory, and a node's
// folders.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"
#include "fairlead/dra/claims/claim_service.h"
#include "fairlead/sys/files.h"

namespace fairlead::dra::testing {

inline constexpr const char* kDriver = "dra.example.com";
inline constexpr const char* kNode = "node-1";

class TemporaryDir : private Pinned {
 public:
  TemporaryDir() { EXPECT_NE(::mkdtemp(path_.data()), nullptr); }
  ~TemporaryDir() { (void)sys::remove_tree(path_); }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_ = "/tmp/fl-dra-XXXXXX";
};

/// Calls of `name` in the order they came, and what to do in them.
class FakeDriver final : public Driver {
 public:
  /// `world` is the folder in which an effect is a file named after the claim's uid.
  explicit FakeDriver(std::string world) : world_(std::move(world)) { EXPECT_TRUE(sys::make_dirs(world_)); }

  Result<std::vector<Pool>> discover() override { return std::vector<Pool>{}; }

  Result<std::string> plan(const Claim& claim) override {
    note("plan " + claim.uid);
    return on_plan ? on_plan(claim) : Result<std::string>("plan of " + claim.uid);
  }

  Result<std::unique_ptr<Admission>> begin_admission(const ClaimRecord& record, const RecordSource& records,
                                                     const CallContext& /*context*/) override {
    if (!on_admit) {
      return nullptr;
    }
    FL_ASSIGN(auto others, records.changes_since(0));
    std::erase_if(others.changed,
                  [&](const RecordPtr& other) { return other->claim.uid == record.claim.uid; });
    return on_admit(record, others.changed);
  }

  Result<Prepared> prepare(const Claim& claim, const std::string& plan, const CallContext& context) override {
    note("prepare " + claim.uid);
    EXPECT_FALSE(plan.empty());
    if (sys::read_file_if_exists(world_ + "/" + claim.uid)->has_value()) {
      note("double " + claim.uid);
    }
    FL_TRY(sys::replace_file(world_, claim.uid, "effect"));
    if (on_prepare) {
      FL_TRY(on_prepare(claim, context));
    }
    Prepared prepared;
    for (const AllocatedDevice& device : claim.devices) {
      cdi::ContainerEdits edits;
      edits.env.push_back("DEVICE=" + device.device);
      prepared.device_edits.push_back(std::move(edits));
    }
    prepared.state = "state of " + claim.uid;
    return on_prepared ? on_prepared(std::move(prepared)) : std::move(prepared);
  }

  Result<std::optional<std::vector<cdi::ContainerEdits>>> prepare_again(
      const ClaimRecord& record, const CallContext& /*context*/) override {
    return on_prepare_again ? on_prepare_again(record) : std::optional<std::vector<cdi::ContainerEdits>>();
  }

  Result<> unprepare(const ClaimRecord& record, const CallContext& context) override {
    note("unprepare " + record.claim.uid);
    if (on_unprepare) {
      FL_TRY(on_unprepare(record, context));
    }
    return sys::remove_file(world_ + "/" + record.claim.uid);
  }

  [[nodiscard]] std::vector<DeviceIdentity> identities(const ClaimRecord& record) const override {
    return on_identities ? on_identities(record) : std::vector<DeviceIdentity>();
  }

  void restored(const std::vector<ClaimRecord>& records) override {
    note("restored " + std::to_string(records.size()));
  }

  [[nodiscard]] std::vector<std::string> calls() const {
    const Lock lock(mutex_);
    return calls_;
  }
  [[nodiscard]] int count(const std::string& call) const {
    int n = 0;
    for (const std::string& each : calls()) {
      n += each == call ? 1 : 0;
    }
    return n;
  }
  void await(const std::string& call, int times = 1) {
    const Lock lock(mutex_);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (std::count(calls_.begin(), calls_.end(), call) < times) {
      ASSERT_EQ(changed_.wait_until(mutex_, deadline), std::cv_status::no_timeout) << "no call " << call;
    }
  }

  std::function<Result<std::string>(const Claim&)> on_plan;
  /// Gets the records of the other claims.
  std::function<Result<std::unique_ptr<Admission>>(const ClaimRecord&, const std::vector<RecordPtr>&)>
      on_admit;
  std::function<Result<>(const Claim&, const CallContext&)> on_prepare;  // after the effect
  std::function<Result<Prepared>(Prepared)> on_prepared;
  std::function<Result<std::optional<std::vector<cdi::ContainerEdits>>>(const ClaimRecord&)> on_prepare_again;
  std::function<Result<>(const ClaimRecord&, const CallContext&)> on_unprepare;  // before the effect
  std::function<std::vector<DeviceIdentity>(const ClaimRecord&)> on_identities;

 private:
  void note(std::string call) {
    const Lock lock(mutex_);
    calls_.push_back(std::move(call));
    changed_.notify_all();
  }

  const std::string world_;
  mutable Mutex mutex_;
  ConditionVariable changed_;
  std::vector<std::string> calls_ FL_GUARDED_BY(mutex_);
};

class FakeClaims final : public ClaimSource {
 public:
  Result<kube::ResourceClaim> get_claim(const std::string& namespace_, const std::string& name,
                                        std::chrono::milliseconds /*timeout*/,
                                        const std::stop_token& /*stop*/) override {
    ++gets;
    if (on_get) {
      on_get();
    }
    const Lock lock(mutex_);
    if (away) {
      return Error(Code::kUnavailable, "connect to 127.0.0.1: Connection refused");
    }
    const auto found = claims_.find(namespace_ + "/" + name);
    if (found == claims_.end()) {
      return Error(Code::kNotFound, "resourceclaims \"" + name + "\" not found");
    }
    return found->second;
  }

  void put(kube::ResourceClaim claim) {
    const Lock lock(mutex_);
    claims_[claim.meta.namespace_ + "/" + claim.meta.name] = std::move(claim);
  }
  void remove(const std::string& name) {
    const Lock lock(mutex_);
    claims_.erase("default/" + name);
  }

  std::atomic<bool> away{false};
  std::atomic<int> gets{0};
  std::function<void()> on_get;

 private:
  mutable Mutex mutex_;
  std::map<std::string, kube::ResourceClaim> claims_ FL_GUARDED_BY(mutex_);
};

inline kube::AllocationResult result_of(const std::string& device, const std::string& request = "req") {
  return {.request = request,
          .driver = kDriver,
          .pool = kNode,
          .device = device,
          .share_id = {},
          .admin_access = false,
          .consumed_capacity = {}};
}

/// A claim default/<name> with uid "<name>-uid", allocated to these devices.
inline kube::ResourceClaim claim_of(const std::string& name, std::vector<kube::AllocationResult> results) {
  kube::ResourceClaim claim;
  claim.meta.namespace_ = "default";
  claim.meta.name = name;
  claim.meta.uid = name + "-uid";
  claim.request_names = {"req"};
  for (const auto& result : results) {
    claim.request_names.push_back(result.request);
  }
  claim.allocation.emplace();
  claim.allocation->results = std::move(results);
  claim.allocation->node_name = kNode;
  claim.reserved_for.push_back({.api_group = "", .resource = "pods", .name = "pod", .uid = "pod-uid"});
  return claim;
}

inline ClaimRef ref_of(const std::string& name) {
  return {.namespace_ = "default", .name = name, .uid = name + "-uid"};
}

/// A node's folders, an API server and a driver: what outlives the service that is tested.
struct Node {
  TemporaryDir dir;
  FakeClaims claims;
  FakeDriver driver{dir / "world"};
  Metrics metrics{kDriver, "1.0.0"};

  [[nodiscard]] ClaimService::Options options() const {
    ClaimService::Options options;
    options.driver_name = kDriver;
    options.node_name = kNode;
    options.state_dir = dir / "state";
    options.cdi_dir = dir / "cdi";
    options.retry_min = std::chrono::milliseconds(1);
    return options;
  }
  [[nodiscard]] std::unique_ptr<ClaimService> open(const ClaimService::Options& options) {
    auto service = ClaimService::open(options, driver, claims, metrics);
    EXPECT_TRUE(service) << service.error().what();
    const auto restored = (*service)->restore();
    EXPECT_TRUE(restored) << restored.error().what();
    return std::move(*service);
  }
  [[nodiscard]] std::unique_ptr<ClaimService> open() { return open(options()); }

  [[nodiscard]] std::string cdi_path(const std::string& name) const {
    return dir / "cdi/" + kDriver + "-claim_" + name + "-uid.json";
  }
  [[nodiscard]] std::string record_path(const std::string& name) const {
    return dir / "state/claims/" + name + "-uid.json";
  }
  [[nodiscard]] static bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }
  /// Record, CDI file, effect.
  [[nodiscard]] std::string traces(const std::string& name) const {
    return std::string(exists(record_path(name)) ? "record " : "") + (exists(cdi_path(name)) ? "cdi " : "") +
           (exists(dir / "world/" + name + "-uid") ? "effect" : "");
  }
};

inline std::future<PrepareAnswers> prepare_async(ClaimService& service, const std::vector<ClaimRef>& refs,
                                                 const CallContext& context = {}) {
  auto promise = std::make_shared<std::promise<PrepareAnswers>>();
  auto future = promise->get_future();
  service.prepare(refs, context,
                  [promise](PrepareAnswers answers) { promise->set_value(std::move(answers)); });
  return future;
}

inline PrepareAnswers prepare(ClaimService& service, const std::vector<ClaimRef>& refs,
                              const CallContext& context = {}) {
  return prepare_async(service, refs, context).get();
}

inline std::future<UnprepareAnswers> unprepare_async(ClaimService& service,
                                                     const std::vector<ClaimRef>& refs) {
  auto promise = std::make_shared<std::promise<UnprepareAnswers>>();
  auto future = promise->get_future();
  service.unprepare(refs, {},
                    [promise](UnprepareAnswers answers) { promise->set_value(std::move(answers)); });
  return future;
}

inline UnprepareAnswers unprepare(ClaimService& service, const std::vector<ClaimRef>& refs) {
  return unprepare_async(service, refs).get();
}

/// The error of the only answer, or "ok".
template <class Answers>
std::string outcome(const Answers& answers) {
  if (answers.size() != 1) {
    return std::to_string(answers.size()) + " answers";
  }
  const auto& answer = answers.begin()->second;
  return answer ? "ok" : answer.error().what();
}

}  // namespace fairlead::dra::testing
