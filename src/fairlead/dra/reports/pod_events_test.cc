// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/reports/pod_events.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fairlead/core/mutex.h"

namespace fairlead::dra {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class FakeEventApi final : public EventApi {
 public:
  Result<> create(const kube::Event& event, const std::stop_token& /*stop*/) override {
    return note("create " + event.about.name + " x" + std::to_string(event.count) + " " + event.reason);
  }
  Result<> patch(const kube::Event& event, const std::stop_token& /*stop*/) override {
    return note("patch " + event.about.name + " x" + std::to_string(event.count) + " " + event.reason);
  }
  void fail(int times, Error error) {
    const Lock lock(mutex_);
    errors_.insert(errors_.end(), static_cast<std::size_t>(times), std::move(error));
  }
  /// The calls once there are so many.
  std::vector<std::string> await(std::size_t count) {
    const Lock lock(mutex_);
    const auto deadline = std::chrono::steady_clock::now() + 60s;
    while (calls_.size() < count && changed_.wait_until(mutex_, deadline) == std::cv_status::no_timeout) {
    }
    return calls_;
  }

 private:
  Result<> note(std::string call) {
    const Lock lock(mutex_);
    calls_.push_back(std::move(call));
    changed_.notify_all();
    if (errors_.empty()) {
      return {};
    }
    Error error = errors_.front();
    errors_.erase(errors_.begin());
    return error;
  }

  Mutex mutex_;
  ConditionVariable changed_;
  std::vector<std::string> calls_ FL_GUARDED_BY(mutex_);
  std::vector<Error> errors_ FL_GUARDED_BY(mutex_);
};

Claim claim_of(const std::vector<std::string>& pods) {
  Claim claim{.namespace_ = "shop", .name = "net", .uid = "net-uid", .reserved_for = {}, .devices = {}};
  for (const std::string& pod : pods) {
    claim.reserved_for.push_back({.name = pod, .uid = pod + "-uid"});
  }
  return claim;
}

struct PodEventsTest : ::testing::Test {
  FakeEventApi api;
  Metrics metrics{"d", "v"};
  EventBook::Options options;

  [[nodiscard]] std::unique_ptr<PodEvents> start() {
    auto events = std::make_unique<PodEvents>(options, api, metrics);
    events->start();
    return events;
  }
};

TEST_F(PodEventsTest, EveryPodOfTheClaimIsTold) {
  const auto events = start();
  events->tell(claim_of({"a", "b"}), "R", "m");
  EXPECT_THAT(api.await(2), ElementsAre("create a x1 R", "create b x1 R"));
  events->stop();
  EXPECT_THAT(metrics.text(), HasSubstr("fairlead_dra_events_total{driver=\"d\",result=\"ok\"} 2\n"));
}

TEST_F(PodEventsTest, ToldBeforeTheStart_IsWrittenAfterIt) {
  PodEvents events(options, api, metrics);
  events.tell(claim_of({"a"}), "R", "m");
  events.start();
  EXPECT_THAT(api.await(1), ElementsAre("create a x1 R"));
}

TEST_F(PodEventsTest, TheSameAgain_IsPatched) {
  options.first_distance = 1ms;
  options.max_distance = 1ms;
  const auto events = start();
  events->tell(claim_of({"a"}), "R", "m");
  (void)api.await(1);
  events->tell(claim_of({"a"}), "R", "m");
  EXPECT_THAT(api.await(2), ElementsAre("create a x1 R", "patch a x2 R"));
}

TEST_F(PodEventsTest, ServerAway_IsTriedUntilItIsThere) {
  api.fail(3, Error(Code::kUnavailable, "connection refused"));
  const auto events = start();
  events->tell(claim_of({"a"}), "R", "m");
  EXPECT_THAT(api.await(4), ElementsAre("create a x1 R", "create a x1 R", "create a x1 R", "create a x1 R"));
  events->stop();
  EXPECT_THAT(metrics.text(), HasSubstr("events_total{driver=\"d\",result=\"unavailable\"} 3\n"));
}

TEST_F(PodEventsTest, CreatedAlready_CountsAsWritten) {
  options.first_distance = 1ms;
  api.fail(1, Error(Code::kExists, "events \"a.1\" already exists"));
  const auto events = start();
  events->tell(claim_of({"a"}), "R", "m");
  (void)api.await(1);
  events->tell(claim_of({"a"}), "R", "m");
  EXPECT_THAT(api.await(2), ElementsAre("create a x1 R", "patch a x2 R"));
}

TEST_F(PodEventsTest, RefusedForOneNamespace_HoldsUpNobodyElse) {
  api.fail(1, Error(Code::kDenied, "events is forbidden"));
  const auto events = start();
  events->tell(claim_of({"a"}), "R", "m");
  (void)api.await(1);
  events->tell(claim_of({"b"}), "R", "m");
  EXPECT_THAT(api.await(2), ElementsAre("create a x1 R", "create b x1 R"));
}

TEST_F(PodEventsTest, Flood_IsBoundedAndCounted) {
  options.max_per_pod = 2;
  const auto events = start();
  for (int i = 0; i < 100; ++i) {
    events->tell(claim_of({"a"}), "R", "message " + std::to_string(i));
  }
  EXPECT_THAT(api.await(2), ElementsAre("create a x1 R", "create a x1 R"));
  events->stop();
  EXPECT_THAT(metrics.text(), HasSubstr("events_total{driver=\"d\",result=\"dropped\"} 98\n"));
}

TEST(IsForTheAuthor, WhatThePodsAuthorCanMend) {
  EXPECT_TRUE(is_for_the_author(Code::kInvalid));
  EXPECT_TRUE(is_for_the_author(Code::kBusy));
  EXPECT_FALSE(is_for_the_author(Code::kUnavailable));
  EXPECT_FALSE(is_for_the_author(Code::kInternal));
}

}  // namespace
}  // namespace fairlead::dra
