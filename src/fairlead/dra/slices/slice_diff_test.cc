// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/slices/slice_diff.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <random>
#include <set>

namespace fairlead::dra {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Kind = SliceChange::Kind;

const SliceIdentity kIdentity{.driver_name = "dra.example.com", .node_name = "node-1", .node_uid = "uid-1"};

Device device(const std::string& name) {
  Device out;
  out.name = name;
  return out;
}

std::vector<Device> devices(std::size_t count) {
  std::vector<Device> out;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string digits = std::to_string(i);
    out.push_back(device("dev" + std::string(4 - digits.size(), '0') + digits));
  }
  return out;
}

std::vector<WantedSlice> one_pool(std::vector<Device> list) {
  return page_pools({Pool{.name = "node-1", .devices = std::move(list)}});
}

/// A server that stores what it is told.
class Store {
 public:
  void apply(const std::vector<SliceChange>& changes) {
    for (const SliceChange& change : changes) {
      kube::ResourceSlice slice = change.slice;
      if (change.kind == Kind::kCreate) {
        slice.meta.name = slice.meta.generate_name + "x" + std::to_string(++counter_);
        slice.meta.uid = "u" + std::to_string(counter_);
        slices.push_back(slice);
        continue;
      }
      const auto at = std::ranges::find(slices, slice.meta.name,
                                        [](const kube::ResourceSlice& s) { return s.meta.name; });
      ASSERT_NE(at, slices.end());
      if (change.kind == Kind::kDelete) {
        slices.erase(at);
      } else {
        *at = slice;
      }
    }
  }
  std::vector<SliceChange> publish(const std::vector<WantedSlice>& wanted) {
    auto changes = diff_slices(kIdentity, wanted, slices);
    apply(changes);
    return changes;
  }
  std::vector<kube::ResourceSlice> slices;

 private:
  int counter_ = 0;
};

std::vector<Kind> kinds(const std::vector<SliceChange>& changes) {
  std::vector<Kind> out;
  for (const SliceChange& change : changes) {
    out.push_back(change.kind);
  }
  return out;
}

TEST(PagePools, EmptyPool_HasOneEmptySlice) {
  const auto pages = one_pool({});
  ASSERT_THAT(pages, SizeIs(1));
  EXPECT_THAT(pages[0].devices, IsEmpty());
}

TEST(PagePools, NoPool_HasNoSlice) { EXPECT_THAT(page_pools({}), IsEmpty()); }

TEST(PagePools, Sizes) {
  const struct {
    std::size_t count;
    std::vector<std::size_t> sizes;
  } cases[] = {{1, {1}}, {128, {128}}, {129, {128, 1}}, {256, {128, 128}}, {300, {128, 128, 44}}};
  for (const auto& c : cases) {
    const auto pages = one_pool(devices(c.count));
    ASSERT_THAT(pages, SizeIs(c.sizes.size())) << c.count;
    for (std::size_t i = 0; i < pages.size(); ++i) {
      EXPECT_EQ(pages[i].index, i);
      EXPECT_THAT(pages[i].devices, SizeIs(c.sizes[i])) << c.count;
    }
  }
}

TEST(PagePools, Taints_HalveTheSliceTheyAreIn) {
  const kube::Taint taint{.key = "a", .value = "", .effect = "NoSchedule", .time_added = ""};
  const struct {
    std::size_t tainted;
    std::vector<std::size_t> sizes;
  } cases[] = {
      {0, {64, 128, 8}}, {63, {64, 128, 8}}, {64, {64, 64, 72}}, {100, {100, 64, 36}}, {199, {128, 71, 1}}};
  for (const auto& c : cases) {
    auto list = devices(200);
    list[c.tainted].taints = {taint};
    std::vector<std::size_t> sizes;
    for (const auto& page : one_pool(list)) {
      sizes.push_back(page.devices.size());
      const bool tainted =
          std::ranges::any_of(page.devices, [](const Device& d) { return !d.taints.empty(); });
      EXPECT_LE(page.devices.size(), tainted ? 64U : 128U) << c.tainted;
    }
    EXPECT_EQ(sizes, c.sizes) << c.tainted;
  }
}

TEST(PagePools, KeepTheDriversOrder) {
  auto list = devices(150);
  std::ranges::shuffle(list, std::minstd_rand(7));
  const auto paged = one_pool(list);
  ASSERT_EQ(paged.size(), 2U);
  EXPECT_EQ(paged[0].devices.front(), list.front());
  EXPECT_EQ(paged[1].devices.back(), list.back());
}

TEST(DiffSlices, FirstPublication_CreatesGenerationOne) {
  const auto changes = diff_slices(kIdentity, one_pool(devices(129)), {});
  ASSERT_THAT(kinds(changes), ElementsAre(Kind::kCreate, Kind::kCreate));
  const auto& slice = changes[1].slice;
  EXPECT_EQ(changes[0].slice.meta.generate_name, "00000-dra.example.com-node-1-");
  EXPECT_EQ(slice.meta.generate_name, "00001-dra.example.com-node-1-");
  EXPECT_EQ(slice.driver, "dra.example.com");
  EXPECT_EQ(slice.node_name, "node-1");
  EXPECT_EQ(slice.pool_name, "node-1");
  EXPECT_EQ(slice.pool_generation, 1);
  EXPECT_EQ(slice.pool_slice_count, 2);
  EXPECT_THAT(
      slice.meta.owner_references,
      ElementsAre(kube::OwnerReference{
          .api_version = "v1", .kind = "Node", .name = "node-1", .uid = "uid-1", .controller = true}));
}

TEST(DiffSlices, IndexIsHex) {
  const auto changes = diff_slices(kIdentity, one_pool(devices(128 * 17)), {});
  EXPECT_EQ(changes[16].slice.meta.generate_name, "00010-dra.example.com-node-1-");
}

TEST(DiffSlices, SteadyState_WritesNothing) {
  Store store;
  const auto wanted = one_pool(devices(300));
  EXPECT_THAT(store.publish(wanted), SizeIs(3));
  EXPECT_THAT(store.publish(wanted), IsEmpty());
  std::ranges::reverse(store.slices);
  EXPECT_THAT(store.publish(wanted), IsEmpty());
}

TEST(DiffSlices, OneChangedSlice_KeepsTheGeneration) {
  Store store;
  auto list = devices(300);
  (void)store.publish(one_pool(list));
  list[140].attributes["speed"] = std::int64_t{100};
  const auto changes = store.publish(one_pool(list));
  ASSERT_THAT(kinds(changes), ElementsAre(Kind::kUpdate));
  EXPECT_EQ(changes[0].slice.pool_generation, 1);
  EXPECT_TRUE(changes[0].slice.meta.name.starts_with("00001-"));
  EXPECT_FALSE(changes[0].slice.meta.uid.empty());
}

TEST(DiffSlices, TwoChangedSlices_RaiseTheGenerationOfAll) {
  Store store;
  auto list = devices(300);
  (void)store.publish(one_pool(list));
  list[0].attributes["speed"] = std::int64_t{100};
  list[140].attributes["speed"] = std::int64_t{100};
  ASSERT_THAT(kinds(store.publish(one_pool(list))), ElementsAre(Kind::kUpdate, Kind::kUpdate, Kind::kUpdate));
  for (const auto& slice : store.slices) {
    EXPECT_EQ(slice.pool_generation, 2);
  }
}

TEST(DiffSlices, MoreSlices_RaiseGenerationAndCountOfAll) {
  Store store;
  (void)store.publish(one_pool(devices(100)));
  ASSERT_THAT(kinds(store.publish(one_pool(devices(200)))), ElementsAre(Kind::kUpdate, Kind::kCreate));
  for (const auto& slice : store.slices) {
    EXPECT_EQ(slice.pool_generation, 2);
    EXPECT_EQ(slice.pool_slice_count, 2);
  }
}

TEST(DiffSlices, FewerSlices_UpdateFirstAndDeleteLast) {
  Store store;
  (void)store.publish(one_pool(devices(200)));
  ASSERT_THAT(kinds(store.publish(one_pool({}))), ElementsAre(Kind::kUpdate, Kind::kDelete));
  ASSERT_THAT(store.slices, SizeIs(1));
  EXPECT_EQ(store.slices[0].pool_generation, 2);
  EXPECT_EQ(store.slices[0].pool_slice_count, 1);
}

TEST(DiffSlices, PoolThatIsNotWanted_IsDeleted) {
  Store store;
  (void)store.publish(
      page_pools({{.name = "a", .devices = devices(1)}, {.name = "b", .devices = devices(1)}}));
  const auto changes = store.publish(page_pools({{.name = "b", .devices = devices(1)}}));
  ASSERT_THAT(kinds(changes), ElementsAre(Kind::kDelete));
  EXPECT_EQ(changes[0].slice.pool_name, "a");
}

TEST(DiffSlices, PoolsHaveTheirOwnGenerations) {
  Store store;
  (void)store.publish(
      page_pools({{.name = "a", .devices = devices(1)}, {.name = "b", .devices = devices(1)}}));
  (void)store.publish(
      page_pools({{.name = "a", .devices = devices(200)}, {.name = "b", .devices = devices(1)}}));
  for (const auto& slice : store.slices) {
    EXPECT_EQ(slice.pool_generation, slice.pool_name == "a" ? 2 : 1);
  }
}

TEST(DiffSlices, MissingSlice_IsPutBackWithANewGeneration) {
  Store store;
  const auto wanted = one_pool(devices(300));
  (void)store.publish(wanted);
  store.slices.erase(store.slices.begin() + 1);
  ASSERT_THAT(kinds(store.publish(wanted)), ElementsAre(Kind::kUpdate, Kind::kUpdate, Kind::kCreate));
  EXPECT_THAT(store.publish(wanted), IsEmpty());
  for (const auto& slice : store.slices) {
    EXPECT_EQ(slice.pool_generation, 2);
  }
}

TEST(DiffSlices, InterruptedBump_IsFinished) {
  Store store;
  auto list = devices(300);
  (void)store.publish(one_pool(list));
  list[0].attributes["speed"] = std::int64_t{1};
  list[299].attributes["speed"] = std::int64_t{1};
  const auto wanted = one_pool(list);
  const auto changes = diff_slices(kIdentity, wanted, store.slices);
  store.apply({changes[0], changes[1]});
  (void)store.publish(wanted);
  EXPECT_THAT(diff_slices(kIdentity, wanted, store.slices), IsEmpty());
  std::set<std::int64_t> generations;
  for (const auto& slice : store.slices) {
    generations.insert(slice.pool_generation);
  }
  EXPECT_THAT(generations, ElementsAre(2));  // one slice was left behind: it catches up, no third generation
}

TEST(DiffSlices, SlicesWithOtherNames_AreReplaced) {
  Store store;
  const auto wanted = one_pool(devices(1));
  (void)store.publish(wanted);
  store.slices[0].meta.name = "node-1-dra.example.com-abcde";
  ASSERT_THAT(kinds(store.publish(wanted)), ElementsAre(Kind::kCreate, Kind::kDelete));
  EXPECT_EQ(store.slices[0].pool_generation, 2);
  EXPECT_THAT(store.publish(wanted), IsEmpty());
}

TEST(DiffSlices, SecondSliceWithOneIndex_IsDeleted) {
  Store store;
  const auto wanted = one_pool(devices(1));
  (void)store.publish(wanted);
  auto twin = store.slices[0];
  twin.meta.name = "00000-dra.example.com-node-1-zzzzz";
  store.slices.insert(store.slices.begin(), twin);
  const auto changes = store.publish(wanted);
  ASSERT_FALSE(changes.empty());
  EXPECT_EQ(changes.back().kind, Kind::kDelete);
  EXPECT_EQ(changes.back().slice.meta.name, twin.meta.name);
  EXPECT_THAT(store.publish(wanted), IsEmpty());
}

TEST(DiffSlices, SurplusOfAnOldGeneration_GoesQuietly) {
  Store store;
  const auto wanted = one_pool(devices(1));
  (void)store.publish(wanted);
  auto old = store.slices[0];
  old.meta.name = "00000-dra.example.com-node-1-old";
  old.pool_generation = 0;
  store.slices.push_back(old);
  ASSERT_THAT(kinds(store.publish(wanted)), ElementsAre(Kind::kDelete));
  EXPECT_EQ(store.slices[0].pool_generation, 1);
}

TEST(DiffSlices, ForeignSlices_AreLeftAlone) {
  kube::ResourceSlice other_driver;
  other_driver.driver = "other.example.com";
  other_driver.node_name = "node-1";
  other_driver.pool_name = "node-1";
  kube::ResourceSlice other_node = other_driver;
  other_node.driver = "dra.example.com";
  other_node.node_name = "node-2";
  const auto changes = diff_slices(kIdentity, one_pool(devices(1)), {other_driver, other_node});
  ASSERT_THAT(kinds(changes), ElementsAre(Kind::kCreate));
  EXPECT_EQ(changes[0].slice.pool_generation, 1);
}

TEST(DiffSlices, NewNodeUid_UpdatesTheOwnerOnly) {
  Store store;
  const auto wanted = one_pool(devices(300));
  (void)store.publish(wanted);
  SliceIdentity identity = kIdentity;
  identity.node_uid = "uid-2";
  const auto changes = diff_slices(identity, wanted, store.slices);
  ASSERT_THAT(kinds(changes), ElementsAre(Kind::kUpdate, Kind::kUpdate, Kind::kUpdate));
  EXPECT_EQ(changes[0].slice.meta.owner_references[0].uid, "uid-2");
  EXPECT_EQ(changes[0].slice.pool_generation, 1);
}

TEST(DiffSlices, TaintTime_IsKept_AlsoInAnotherSlice) {
  Store store;
  auto list = devices(129);
  list[127].taints = {{.key = "k", .value = "v", .effect = "NoSchedule", .time_added = ""}};
  (void)store.publish(one_pool(list));
  for (auto& slice : store.slices) {
    for (auto& stored : slice.devices) {
      for (auto& taint : stored.taints) {
        taint.time_added = "2026-01-31T12:00:00Z";  // as the server does
      }
    }
  }
  EXPECT_THAT(store.publish(one_pool(list)), IsEmpty());
  list.erase(list.begin(), list.begin() + 100);
  (void)store.publish(one_pool(list));
  ASSERT_THAT(store.slices, SizeIs(1));
  EXPECT_EQ(store.slices[0].devices[27].taints[0].time_added, "2026-01-31T12:00:00Z");
}

TEST(DiffSlices, LongNodeName_StaysWithinTheLimit) {
  SliceIdentity identity = kIdentity;
  identity.node_name = std::string(250, 'n');
  const auto changes = diff_slices(identity, one_pool({}), {});
  EXPECT_LE(changes[0].slice.meta.generate_name.size(), 248U);
}

TEST(Differences, MeansTheSame) {
  Device wanted = device("a");
  wanted.capacity["memory"] = {.value = "1024Mi", .request_policy = {}};
  wanted.capacity["slots"] = {.value = "128",
                              .request_policy = kube::RequestPolicy{.default_value = "1000m",
                                                                    .valid_values = {"1", "2000m"},
                                                                    .range_min = {},
                                                                    .range_max = {},
                                                                    .range_step = {}}};
  wanted.taints = {
      {.key = "k", .value = "", .effect = "NoSchedule", .time_added = ""},
      {.key = "l", .value = "", .effect = "NoSchedule", .time_added = "2026-01-31T12:00:00.9+01:00"}};
  Device stored = wanted;
  stored.capacity["memory"].value = "1Gi";
  stored.capacity["slots"].request_policy->default_value = "1";
  stored.capacity["slots"].request_policy->valid_values[1] = "2";
  stored.taints[0].time_added = "2026-01-01T00:00:00Z";
  stored.taints[1].time_added = "2026-01-31T11:00:01Z";
  EXPECT_THAT(differences(wanted, stored), IsEmpty());
  EXPECT_TRUE(same_devices({wanted}, {stored}));
}

TEST(Differences, NamesTheFields) {
  Device wanted = device("a");
  wanted.attributes["x"] = true;
  wanted.attributes["y"] = std::string("1");
  wanted.capacity["slots"] = {.value = "128", .request_policy = kube::RequestPolicy{}};
  wanted.allow_multiple_allocations = true;
  wanted.taints = {{.key = "k", .value = "", .effect = "NoSchedule", .time_added = "2026-01-31T12:00:00Z"}};
  Device stored = device("a");
  stored.attributes["y"] = std::int64_t{1};
  stored.attributes["z"] = true;
  stored.capacity["slots"] = {.value = "128", .request_policy = {}};
  stored.taints = wanted.taints;
  stored.taints[0].time_added = "2026-01-31T12:00:02Z";
  EXPECT_THAT(differences(wanted, stored),
              ElementsAre("attributes[\"x\"]", "attributes[\"y\"]", "attributes[\"z\"]",
                          "capacity[\"slots\"]", "allowMultipleAllocations", "taints"));
  EXPECT_FALSE(same_devices({wanted}, {stored}));
  EXPECT_FALSE(same_devices({wanted}, {}));
}

TEST(Rfc3339, Seconds) {
  EXPECT_EQ(rfc3339_seconds("1970-01-01T00:00:00Z"), 0);
  EXPECT_EQ(rfc3339_seconds("2026-01-31T12:00:00Z"), 1'769'860'800);
  EXPECT_EQ(rfc3339_seconds("2026-01-31T13:30:00.123456+01:30"), 1'769'860'800);
  EXPECT_EQ(rfc3339_seconds("2026-01-31T11:00:00-01:00"), 1'769'860'800);
  for (const char* bad :
       {"", "2026-01-31", "2026-01-31T12:00:00", "2026-13-31T12:00:00Z", "2026-01-31 12:00:00Z",
        "2026-01-31T12:00:00.Z", "2026-01-31T12:00:00+1:00", "2026-01-31T25:00:00Z", "x026-01-31T12:00:00Z",
        "2026-01-31T12:00:00Zx", "2026-01--1T12:00:00Z"}) {
    EXPECT_EQ(rfc3339_seconds(bad), std::nullopt) << bad;
  }
}

/// Whatever the steps, publishing converges in one go and leaves what the API demands.
TEST(DiffSlices, RandomSteps_AlwaysConverge) {
  std::minstd_rand random(3);
  Store store;
  for (int step = 0; step < 300; ++step) {
    if (!store.slices.empty() && random() % 3 == 0) {
      store.slices.erase(store.slices.begin() + static_cast<std::ptrdiff_t>(random() % store.slices.size()));
    }
    auto list = devices(random() % 400);
    for (Device& d : list) {
      if (random() % 50 == 0) {
        d.attributes["n"] = static_cast<std::int64_t>(random() % 4);
      }
    }
    const auto wanted = one_pool(list);
    (void)store.publish(wanted);
    EXPECT_THAT(diff_slices(kIdentity, wanted, store.slices), IsEmpty());
    ASSERT_EQ(store.slices.size(), wanted.size());
    for (const auto& slice : store.slices) {
      EXPECT_EQ(slice.pool_slice_count, static_cast<std::int64_t>(wanted.size()));
      EXPECT_EQ(slice.pool_generation, store.slices[0].pool_generation);
    }
  }
}

}  // namespace
}  // namespace fairlead::dra
