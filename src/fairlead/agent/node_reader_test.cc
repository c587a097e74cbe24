// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/node_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <utility>

#include "fairlead/sys/testing/temporary_folder.h"

namespace fairlead::agent {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using Answer = Result<std::vector<std::string>>;

class ReadsTheNode : public ::testing::Test {
 protected:
  /// The n-th call, from 0, gets the n-th answer; those behind the last one wait for the end.
  void start(std::vector<Answer> answers) {
    begin(std::move(answers), milliseconds(0));
    all_given_.get_future().wait();
  }
  void begin(std::vector<Answer> answers, milliseconds after_a_success) {
    auto left = std::make_shared<std::vector<Answer>>(std::move(answers));
    reader_ = std::make_unique<NodeReader>(NodeReaderOptions{
        .read = [this, left, next = std::size_t{0}](const std::stop_token& stop) mutable -> Answer {
          if (next == left->size()) {
            all_given_.set_value();
            std::promise<void> stopped;
            const std::stop_callback on_stop(stop, [&] { stopped.set_value(); });
            stopped.get_future().wait();
            return Error(Code::kCancelled, "the reader ends");
          }
          return (*left)[next++];
        },
        .memory = memory_,
        .changed =
            [this] {
              ++changes_;
              if (memory_->known().addresses && !std::exchange(known_told_, true)) {
                known_.set_value();
              }
            },
        .again = after_a_success,
        .retry_min = milliseconds(0),
        .retry_max = milliseconds(0)});
  }

  const sys::testing_support::TemporaryFolder folder_;
  std::shared_ptr<devices::NodeMemory> memory_ =
      std::make_shared<devices::NodeMemory>(folder_.path().string());
  std::promise<void> all_given_, known_;
  bool known_told_ = false;  // the reader's
  std::atomic<int> changes_ = 0;
  std::unique_ptr<NodeReader> reader_;  // last: its thread uses the others
};

TEST_F(ReadsTheNode, AddressesAreKnown_AndOnlyNewsIsTold) {
  start({std::vector<std::string>{"192.0.2.5", "2001:db8::5"},
         std::vector<std::string>{"192.0.2.5", "2001:db8::5"}, std::vector<std::string>{"192.0.2.6"}});
  ASSERT_TRUE(memory_->known().addresses);
  EXPECT_EQ(*memory_->known().addresses, std::vector{*netlink::IpAddress::parse("192.0.2.6")});
  EXPECT_EQ(changes_, 2);
}

TEST_F(ReadsTheNode, FailureIsTried_AndSaysWhyNothingIsKnown) {
  start({Error(Code::kUnavailable, "no API server"), Error(Code::kUnavailable, "no API server")});
  EXPECT_FALSE(memory_->known().addresses);
  EXPECT_EQ(memory_->known().problem, "the Node's own addresses are unknown: no API server");
  EXPECT_EQ(changes_, 1);
}

TEST_F(ReadsTheNode, WhatWasReadStays_WhenTheServerIsAway) {
  start({std::vector<std::string>{"192.0.2.5"}, Error(Code::kUnavailable, "no API server"),
         std::vector<std::string>{"no address"}});
  ASSERT_TRUE(memory_->known().addresses);
  EXPECT_EQ(memory_->known().addresses->size(), 1);
  EXPECT_EQ(changes_, 1);
}

TEST_F(ReadsTheNode, WithoutAnAddress_IsNotKnownYet_AndTriedAgainSoon) {
  start({std::vector<std::string>{}, std::vector<std::string>{}});
  EXPECT_FALSE(memory_->known().addresses);
  EXPECT_THAT(memory_->known().problem, HasSubstr("no address of type InternalIP"));
  EXPECT_EQ(changes_, 1);
}

TEST_F(ReadsTheNode, AddressThatComesLater_IsKnownThen) {
  // Were the first answer a success, the second would not be asked for while this test runs.
  begin({std::vector<std::string>{}, std::vector<std::string>{"192.0.2.5"}}, std::chrono::hours(24));
  ASSERT_EQ(known_.get_future().wait_for(std::chrono::seconds(60)), std::future_status::ready);
  EXPECT_EQ(*memory_->known().addresses, std::vector{*netlink::IpAddress::parse("192.0.2.5")});
  EXPECT_EQ(changes_, 2);
}

TEST_F(ReadsTheNode, AddressesThatWereKnown_Stay_WhenTheNodeHasNone) {
  start({std::vector<std::string>{"192.0.2.5"}, std::vector<std::string>{}});
  ASSERT_TRUE(memory_->known().addresses);
  EXPECT_EQ(memory_->known().addresses->size(), 1);
}

TEST_F(ReadsTheNode, FirstAnswerIsWaitedFor_AlsoABadOne) {
  start({Error(Code::kUnavailable, "no API server")});
  reader_->wait_first(milliseconds(60'000));
  EXPECT_FALSE(memory_->known().addresses);
}

}  // namespace
}  // namespace fairlead::agent
