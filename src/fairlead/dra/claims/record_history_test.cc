// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/claims/record_history.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>

namespace fairlead::dra {
namespace {

RecordPtr record(const std::string& uid, const std::string& plan = "") {
  ClaimRecord made;
  made.claim.uid = uid;
  made.plan = plan;
  return std::make_shared<const ClaimRecord>(std::move(made));
}

/// "all a b, without c"
std::string text_of(const RecordChanges& changes) {
  std::string text = changes.all ? "all" : "";
  for (const RecordPtr& changed : changes.changed) {
    text += (text.empty() ? "" : " ") + changed->claim.uid;
  }
  for (const std::string& uid : changes.removed) {
    text += (text.empty() ? "" : " ") + ("-" + uid);
  }
  return text;
}

TEST(RecordHistory, GivesAllRecordsSinceZero) {
  RecordHistory history;
  EXPECT_EQ(text_of(history.since(0)), "all");
  history.put(record("b"));
  history.put(record("a"));
  EXPECT_EQ(text_of(history.since(0)), "all a b");
  EXPECT_EQ(history.records().size(), 2);
}

TEST(RecordHistory, GivesOnlyWhatChangedSince) {
  RecordHistory history;
  const std::uint64_t empty = history.since(0).generation;
  history.put(record("a"));
  history.put(record("b"));
  const std::uint64_t both = history.since(0).generation;
  EXPECT_EQ(text_of(history.since(both)), "");
  history.put(record("a", "another plan"));
  history.remove("b");
  EXPECT_EQ(text_of(history.since(both)), "a -b");
  EXPECT_EQ(history.since(both).changed.front()->plan, "another plan");
  EXPECT_EQ(text_of(history.since(empty)), "a -b");
}

TEST(RecordHistory, GivesARecordThatCameBackAsChangedOnly) {
  RecordHistory history;
  history.put(record("a"));
  const std::uint64_t known = history.since(0).generation;
  history.remove("a");
  history.put(record("a"));
  EXPECT_EQ(text_of(history.since(known)), "a");
}

TEST(RecordHistory, SeesNoChangeInTheSameObject) {
  RecordHistory history;
  const RecordPtr a = record("a");
  history.put(a);
  const std::uint64_t known = history.since(0).generation;
  history.put(a);
  history.remove("unknown");
  EXPECT_EQ(history.since(known).generation, known);
  EXPECT_EQ(text_of(history.since(known)), "");
}

TEST(RecordHistory, RemovesWhatIsNotListed) {
  RecordHistory history;
  for (const char* uid : {"a", "b", "c"}) {
    history.put(record(uid));
  }
  const std::uint64_t known = history.since(0).generation;
  history.keep_only({"b", "d"});
  EXPECT_EQ(text_of(history.since(known)), "-a -c");
  EXPECT_EQ(text_of(history.since(0)), "all b");
}

TEST(RecordHistory, GivesAllRecordsSinceBeforeAForgottenRemoval) {
  RecordHistory history(2);
  for (const char* uid : {"a", "b", "c", "d"}) {
    history.put(record(uid));
  }
  const std::uint64_t before = history.since(0).generation;
  history.remove("a");
  const std::uint64_t after_a = history.since(0).generation;
  history.remove("b");
  history.remove("c");
  EXPECT_EQ(text_of(history.since(before)), "all d");
  EXPECT_EQ(text_of(history.since(after_a)), "-b -c");
}

TEST(RecordHistory, GivesAllRecordsForAGenerationOfAnotherHistory) {
  RecordHistory history;
  history.put(record("a"));
  EXPECT_EQ(text_of(history.since(1'000'000)), "all a");
}

/// An index that applies the changes has what the history has, however rarely it asks.
TEST(RecordHistory, KeepsAnIndexUpToDate) {
  std::minstd_rand random(7);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same test every time
  RecordHistory history(8);
  std::uint64_t generation = 0;
  std::map<std::string, RecordPtr> index;
  for (int round = 0; round < 5000; ++round) {
    const std::string uid(1, static_cast<char>('a' + random() % 20));
    if (random() % 2 == 0) {
      history.put(record(uid));
    } else {
      history.remove(uid);
    }
    if (random() % 10 != 0) {
      continue;
    }
    const RecordChanges changes = history.since(generation);
    if (changes.all) {
      index.clear();
    }
    for (const std::string& gone : changes.removed) {
      index.erase(gone);
    }
    for (const RecordPtr& changed : changes.changed) {
      index[changed->claim.uid] = changed;
    }
    generation = changes.generation;
    std::vector<RecordPtr> indexed;
    for (const auto& [key, value] : index) {
      indexed.push_back(value);
    }
    ASSERT_EQ(indexed, history.records()) << "round " << round;
  }
}

}  // namespace
}  // namespace fairlead::dra
