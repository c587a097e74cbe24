// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/reports/event_book.h"

#include <gtest/gtest.h>

namespace fairlead::dra {
namespace {

using namespace std::chrono_literals;

constexpr EventBook::TimePoint kStart{1000h};

EventBook::Options options() {
  EventBook::Options options;
  options.component = "dra.example.com";
  options.host = "node-1";
  options.max_series = 20;
  return options;
}

struct EventBookTest : ::testing::Test {
  EventBook book{options()};
  EventBook::TimePoint now = kStart;
  int names = 0;

  bool add(const std::string& message = "no parent eth9", const std::string& pod = "web") {
    return book.add("shop", {.name = pod, .uid = pod + "-uid"}, "FailedPrepareClaim", message, now, wall(),
                    std::to_string(++names));
  }
  [[nodiscard]] std::string wall() const {
    return "t" + std::to_string(std::chrono::duration_cast<std::chrono::seconds>(now - kStart).count());
  }
  /// "create web.1 x1 t0", or "nothing".
  std::string write() {
    const auto write = book.due(now);
    if (!write) {
      return "nothing";
    }
    book.written(*write, now);
    return std::string(write->create ? "create " : "patch ") + write->event.meta.name + " x" +
           std::to_string(write->event.count) + " " + write->event.last_seen;
  }
};

TEST_F(EventBookTest, First_IsWrittenAtOnceAndComplete) {
  ASSERT_TRUE(add());
  const auto first = book.due(now);
  ASSERT_TRUE(first);
  EXPECT_TRUE(first->create);
  const kube::Event& event = first->event;
  EXPECT_EQ(event.meta.namespace_, "shop");
  EXPECT_EQ(event.about.kind, "Pod");
  EXPECT_EQ(event.about.namespace_, "shop");
  EXPECT_EQ(event.about.name, "web");
  EXPECT_EQ(event.about.uid, "web-uid");
  EXPECT_EQ(event.type, "Warning");
  EXPECT_EQ(event.component, "dra.example.com");
  EXPECT_EQ(event.host, "node-1");
  EXPECT_EQ(event.first_seen, "t0");
  EXPECT_EQ(event.count, 1);
  EXPECT_EQ(write(), "create web.1 x1 t0");
  EXPECT_EQ(write(), "nothing");
  EXPECT_FALSE(book.next_due());
}

TEST_F(EventBookTest, Again_CountsUpInTheSameEventLater) {
  add();
  EXPECT_EQ(write(), "create web.1 x1 t0");
  for (int i = 0; i < 5; ++i) {
    now += 1s;
    EXPECT_TRUE(add());
    EXPECT_EQ(write(), "nothing");
  }
  EXPECT_EQ(book.next_due(), kStart + 10s);
  now = kStart + 10s;
  EXPECT_EQ(write(), "patch web.1 x6 t5");
  EXPECT_EQ(write(), "nothing");
}

TEST_F(EventBookTest, HoursOfTheSame_CostFewWrites) {
  int writes = 0;
  for (; now < kStart + 6h; now += 2s) {
    add();
    writes += write() == "nothing" ? 0 : 1;
  }
  EXPECT_LE(writes, 45) << "seven growing distances, then one in ten minutes";
  EXPECT_GE(writes, 35);
  EXPECT_EQ(book.size(), 1U);
}

TEST_F(EventBookTest, HappenedWhileItWasWritten_IsNotLost) {
  add();
  const auto first = book.due(now);
  add();
  book.written(*first, now);
  EXPECT_EQ(write(), "nothing");
  now += 10s;
  EXPECT_EQ(write(), "patch web.1 x2 t0");
}

TEST_F(EventBookTest, OtherReasonMessageOrPod_IsAnotherEvent) {
  add("a");
  add("b");
  add("a", "db");
  EXPECT_EQ(write(), "create db.3 x1 t0");
  EXPECT_EQ(write(), "create web.1 x1 t0");
  EXPECT_EQ(write(), "create web.2 x1 t0");
}

TEST_F(EventBookTest, GoneFromTheServer_BeginsAgainWithWhatHappenedSince) {
  add();
  (void)write();
  add();
  add();
  now += 10s;
  const auto patch = book.due(now);
  ASSERT_TRUE(patch);
  EXPECT_FALSE(patch->create);
  book.lost(*patch, now, wall(), "new");
  const auto again = book.due(now);
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->create);
  EXPECT_EQ(again->event.meta.name, "web.new");
  EXPECT_EQ(again->event.count, 2);
  EXPECT_EQ(again->event.first_seen, "t10");
}

TEST_F(EventBookTest, Postponed_IsDueThenAndNotBefore) {
  add();
  const auto first = book.due(now);
  book.postpone(*first, now + 5s);
  add();
  EXPECT_EQ(write(), "nothing");
  now += 5s;
  EXPECT_EQ(write(), "create web.1 x2 t0");
}

TEST_F(EventBookTest, TooManyDifferentOnes_AreLeftOut) {
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(add("message " + std::to_string(i)));
  }
  EXPECT_FALSE(add("message 10")) << "of one pod";
  EXPECT_TRUE(add("message 3")) << "a known one still counts";
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(add("x", "pod-" + std::to_string(i)));
  }
  now += 1h;
  EXPECT_TRUE(add("message 10")) << "old ones are forgotten";
  EXPECT_EQ(book.size(), 1U);
}

TEST_F(EventBookTest, FullOfOldPods_ForgetsTheOldestThatIsWritten) {
  for (int i = 0; i < 20; ++i, now += 1s) {  // a Job whose pods fail one after another
    EXPECT_TRUE(add("x", "job-" + std::to_string(i)));
    if (i != 0) {
      continue;
    }
    book.postpone(*book.due(now), now + 1h);  // the first waits for the server
  }
  while (write() != "nothing") {
  }
  EXPECT_TRUE(add("x", "new"));
  EXPECT_EQ(book.size(), 20U);
  EXPECT_EQ(write(), "create new.21 x1 t20");
  EXPECT_TRUE(add("x", "job-2"));
  EXPECT_EQ(write(), "nothing") << "still known";
  EXPECT_TRUE(add("x", "job-1"));
  EXPECT_EQ(write(), "create job-1.23 x1 t20") << "the oldest was forgotten";
  now += 30min;
  EXPECT_TRUE(add("x", "job-0"));
  now = kStart + 1h;
  EXPECT_EQ(write(), "patch job-2.3 x2 t20");
  EXPECT_EQ(write(), "create job-0.1 x2 t1820") << "what waits was kept";
}

TEST_F(EventBookTest, LimitsOfTheApi_AreKept) {
  const std::string long_name = std::string(250, 'p') + ".x";
  ASSERT_TRUE(book.add("shop", {.name = long_name, .uid = "u"}, std::string(200, 'R'), std::string(2000, 'm'),
                       now, "t", "abc"));
  const auto event = book.due(now)->event;
  EXPECT_EQ(event.reason.size(), 128U);
  EXPECT_EQ(event.message.size(), 1024U);
  EXPECT_EQ(event.meta.name, std::string(249, 'p') + ".abc");
  EXPECT_EQ(event.about.name, long_name);
  // The same long message again is the same event.
  EXPECT_TRUE(book.add("shop", {.name = long_name, .uid = "u"}, std::string(200, 'R'), std::string(2000, 'm'),
                       now, "t", "def"));
  EXPECT_EQ(book.size(), 1U);
}

}  // namespace
}  // namespace fairlead::dra
