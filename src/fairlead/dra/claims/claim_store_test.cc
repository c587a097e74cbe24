// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/claims/claim_store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "fairlead/dra/testing/claim_node.h"

namespace fairlead::dra::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::chrono::steady_clock::time_point now() { return std::chrono::steady_clock::now(); }

ClaimRecord full_record() {
  ClaimRecord record;
  record.state = ClaimState::kUnpreparing;
  record.claim = {.namespace_ = "default",
                  .name = "a",
                  .uid = "a-uid",
                  .reserved_for = {{.name = "pod", .uid = "pod-uid"}},
                  .devices = {},
                  .pod_claim_name = "net"};
  record.claim.devices.push_back(
      {.request = "main/sub",
       .pool = "node-1",
       .device = "eth1",
       .share_id = "11111111-0000-4000-8000-000000000000",
       .admin_access = true,
       .consumed_capacity = {{"slots", "1"}},
       .config = {{.from_class = true, .parameters = "{\"a\": 1}", .path = "config[0]"}}});
  record.plan = "plan\nwith \"quotes\" and \u00e9";
  record.prepared.state = "{}";
  cdi::ContainerEdits edits;
  edits.env = {"A=1"};
  edits.device_nodes = {{.path = "/dev/x",
                         .host_path = "/dev/y",
                         .type = "c",
                         .major = 1,
                         .minor = 2,
                         .file_mode = 0600,
                         .permissions = "rw",
                         .uid = 3,
                         .gid = 4},
                        {.path = "/dev/plain"}};
  edits.net_devices = {{.host_interface_name = "eth1", .name = "net0"}};
  edits.hooks = {{.hook_name = "createRuntime",
                  .path = "/bin/guard",
                  .args = {"guard", "x"},
                  .env = {"B=2"},
                  .timeout_seconds = 5}};
  edits.mounts = {{.host_path = "/a", .container_path = "/b", .options = {"ro"}, .type = "bind"}};
  edits.additional_gids = {7};
  record.prepared.device_edits = {edits};
  record.prepared.claim_edits.env = {"C=3"};
  return record;
}

void expect_same(const ClaimRecord& a, const ClaimRecord& b) {
  EXPECT_EQ(*encode_record(a, "boot"), *encode_record(b, "boot"));
  EXPECT_EQ(a.prepared.device_edits, b.prepared.device_edits);
  EXPECT_EQ(a.prepared.claim_edits, b.prepared.claim_edits);
  EXPECT_EQ(a.prepared.state, b.prepared.state);
  EXPECT_EQ(a.plan, b.plan);
  EXPECT_EQ(a.state, b.state);
  EXPECT_EQ(a.claim.pod_claim_name, b.claim.pod_claim_name);
  ASSERT_EQ(a.claim.devices.size(), b.claim.devices.size());
  for (std::size_t i = 0; i < a.claim.devices.size(); ++i) {
    EXPECT_EQ(a.claim.devices[i].request, b.claim.devices[i].request);
    EXPECT_EQ(a.claim.devices[i].share_id, b.claim.devices[i].share_id);
    EXPECT_EQ(a.claim.devices[i].admin_access, b.claim.devices[i].admin_access);
    EXPECT_EQ(a.claim.devices[i].consumed_capacity, b.claim.devices[i].consumed_capacity);
    EXPECT_EQ(a.claim.devices[i].config.at(0).parameters, b.claim.devices[i].config.at(0).parameters);
  }
}

std::unique_ptr<ClaimStore> open_store(const TemporaryDir& dir,
                                       std::vector<std::string>* quarantined = nullptr) {
  auto store =
      ClaimStore::open({.state_dir = dir.path(),
                        .boot_id = "boot",
                        .on_quarantine = [quarantined](const std::string& path, const Error& /*why*/) {
                          if (quarantined != nullptr) {
                            quarantined->push_back(path);
                          }
                        }});
  EXPECT_TRUE(store);
  return std::move(*store);
}

TEST(RecordText, KeepsEveryField) {
  const auto text = encode_record(full_record(), "boot");
  ASSERT_TRUE(text);
  const auto decoded = decode_record(*text);
  ASSERT_TRUE(decoded) << decoded.error().what();
  EXPECT_EQ(decoded->boot_id, "boot");
  expect_same(decoded->record, full_record());
}

TEST(RecordText, FlippedBitOrMissingEnd_IsNoticed) {
  const std::string text = *encode_record(full_record(), "boot");
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string damaged = text;
    damaged[i] = static_cast<char>(static_cast<unsigned char>(damaged[i]) ^ (1U << (i % 8)));
    if (const auto decoded = decode_record(damaged)) {
      // Only where other bytes say the same, such as an upper-case letter in a \u escape.
      EXPECT_EQ(*encode_record(decoded->record, decoded->boot_id), text) << "byte " << i;
    }
    EXPECT_FALSE(decode_record(text.substr(0, i)));
  }
}

TEST(RecordText, UnknownFields_AreSkipped) {
  std::string text = *encode_record(full_record(), "boot");
  text.insert(1, R"("addedLater": [1, 2],)");
  EXPECT_TRUE(decode_record(text));
}

TEST(RecordText, NewerVersion_SaysSo) {
  const auto decoded = decode_record(R"({"version": 9, "crc32": "", "record": {}})");
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().code(), Code::kUnsupported);
  EXPECT_EQ(decoded.error().what(), "version 9 of the format; this program reads 1");
}

TEST(RecordText, ParametersOfManyDevices_AreWrittenOnceAndSharedAgain) {
  ClaimRecord record = full_record();
  DeviceConfig big{.from_class = false, .parameters = std::string(std::size_t{10} << 10, 'x'), .path = "c"};
  DeviceConfig other{.from_class = false, .parameters = std::string(std::size_t{10} << 10, 'y'), .path = "d"};
  record.claim.devices.resize(32, record.claim.devices[0]);
  for (AllocatedDevice& device : record.claim.devices) {
    device.config = {big, other, big};
  }
  const auto text = encode_record(record, "boot");
  ASSERT_TRUE(text);
  EXPECT_LT(text->size(), std::size_t{40} << 10) << "two texts of 10 KiB";
  const auto decoded = decode_record(*text);
  ASSERT_TRUE(decoded) << decoded.error().what();
  ASSERT_EQ(decoded->record.claim.devices.size(), 32U);
  std::set<const char*> texts;
  for (const AllocatedDevice& device : decoded->record.claim.devices) {
    ASSERT_EQ(device.config.size(), 3U);
    EXPECT_EQ(device.config[0].parameters, big.parameters);
    EXPECT_EQ(device.config[1].parameters, other.parameters);
    EXPECT_EQ(device.config[2].parameters, big.parameters);
    for (const DeviceConfig& entry : device.config) {
      texts.insert(std::string_view(entry.parameters).data());
    }
  }
  EXPECT_EQ(texts.size(), 2U);
}

TEST(RecordText, DriversJson_IsNestedForPeople_AndTextForVersion01) {
  ClaimRecord record = full_record();
  record.plan = R"({"devices":[{"body":{"mtu":1400}}]})";
  record.plan_for_previous = R"({"devices":[{"body":"{\"mtu\":1400}"}]})";
  record.prepared.state = R"({"phase":"attached"})";
  const auto text = encode_record(record, "boot");
  ASSERT_TRUE(text);
  const auto file = nlohmann::json::parse(*text).at("record");
  EXPECT_EQ(file.at("driver").at("plan").at("devices").at(0).at("body").at("mtu"), 1400);
  EXPECT_EQ(file.at("driver").at("state").at("phase"), "attached");
  EXPECT_EQ(file.at("plan"), record.plan_for_previous);
  EXPECT_EQ(file.at("prepared").at("state"), record.prepared.state);
  const auto decoded = decode_record(*text);
  ASSERT_TRUE(decoded) << decoded.error().what();
  expect_same(decoded->record, record);
  EXPECT_EQ(decoded->record.plan_for_previous, record.plan_for_previous);
}

TEST(RecordText, WithoutTheNestedPart_AsVersion01WritesIt_TheTextsCount) {
  ClaimRecord old = full_record();
  old.plan = R"({"devices":[{"body":"{\"mtu\":1400}"}]})";
  old.prepared.state = "released by the version before";
  const auto text = encode_record(old, "boot");
  ASSERT_TRUE(text);
  const auto decoded = decode_record(*text);
  ASSERT_TRUE(decoded) << decoded.error().what();
  EXPECT_EQ(decoded->record.plan, old.plan);
  EXPECT_EQ(decoded->record.prepared.state, old.prepared.state);
}

TEST(RecordText, PlanThatIsNoJson_OrWouldComeBackOtherwise_StaysAText) {
  for (const std::string plan : {"words", "[1,2]", R"({"b":1,"a":2})", R"({"a":1,"a":2})", R"({"a": 1})"}) {
    ClaimRecord record = full_record();
    record.plan = plan;
    const auto text = encode_record(record, "boot");
    ASSERT_TRUE(text);
    EXPECT_FALSE(nlohmann::json::parse(*text).at("record").contains("driver")) << plan;
    const auto decoded = decode_record(*text);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->record.plan, plan);
  }
}

TEST(RecordText, TextThatIsNoUtf8_IsRefusedWhenWritten) {
  ClaimRecord record = full_record();
  record.plan = "\xff";
  const auto text = encode_record(record, "boot");
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().code(), Code::kInvalid);
}

/// The driver could not read it again, and what it made by it would stay.
TEST(RecordText, PlanThatIsACutOffJsonObject_IsRefusedWhenWritten) {
  ClaimRecord record = full_record();
  record.plan = R"({"devices":[{"body":{"mtu":1400})";
  const auto text = encode_record(record, "boot");
  ASSERT_FALSE(text);
  EXPECT_THAT(text.error().what(), HasSubstr("its plan begins as a JSON object and is not valid JSON"));
  record.plan = R"({ "other": "white space" })";
  EXPECT_TRUE(encode_record(record, "boot"));
}

TEST(ClaimStore, WriteReadRemove) {
  const TemporaryDir dir;
  const auto store = open_store(dir);
  EXPECT_EQ(*store->read("a-uid"), nullptr);
  ASSERT_TRUE(store->write(full_record()));
  expect_same(**store->read("a-uid"), full_record());
  struct stat info = {};
  ASSERT_EQ(::stat((dir / "claims/a-uid.json").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0600U);
  EXPECT_EQ(store->read_all()->records.size(), 1U);
  EXPECT_TRUE(store->remove("a-uid"));
  EXPECT_TRUE(store->remove("a-uid"));
  EXPECT_TRUE(store->read_all()->records.empty());
}

TEST(ClaimStore, RemovedRecords_AreNotKeptInMemory) {
  const TemporaryDir dir;
  const auto store = open_store(dir);
  for (int i = 0; i < 100; ++i) {
    ClaimRecord record = full_record();
    record.claim.uid = "uid-" + std::to_string(i);
    ASSERT_TRUE(store->write(record));
    ASSERT_TRUE(store->read(record.claim.uid));
    EXPECT_EQ(store->cached(), 1U);
    ASSERT_TRUE(store->remove(record.claim.uid));
  }
  EXPECT_EQ(store->cached(), 0U);
}

TEST(ClaimStore, RecordsThatAnotherInstanceRemoved_AreNotKeptInMemory) {
  const TemporaryDir dir;
  const auto one = open_store(dir);
  const auto two = open_store(dir);
  ASSERT_TRUE(one->write(full_record()));
  ASSERT_TRUE(two->remove("a-uid"));
  EXPECT_TRUE(one->read_all()->records.empty());
  EXPECT_EQ(one->cached(), 0U);
}

TEST(ClaimStore, UnreadableFile_IsToldOfOnceUntilItCanBeRead) {
  const TemporaryDir dir;
  int told = 0;
  auto store = *ClaimStore::open({.state_dir = dir.path(),
                                  .boot_id = "boot",
                                  .on_unreadable = [&](const std::string& path, const Error& /*why*/) {
                                    EXPECT_EQ(path, dir / "claims/a-uid.json");
                                    ++told;
                                  }});
  for (int round = 1; round <= 2; ++round) {
    ASSERT_TRUE(store->write(full_record()));
    EXPECT_TRUE(store->read_all()->unreadable.empty());
    ASSERT_TRUE(store->remove("a-uid"));
    ASSERT_TRUE(sys::make_dirs(dir / "claims/a-uid.json"));
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(store->read_all()->unreadable.contains("a-uid"));
    }
    EXPECT_EQ(told, round);
    ASSERT_TRUE(sys::remove_tree(dir / "claims/a-uid.json"));
  }
}

TEST(ClaimStore, ChangesOfAnotherInstance_AreSeenAtOnce) {
  const TemporaryDir dir;
  const auto one = open_store(dir);
  const auto two = open_store(dir);
  ClaimRecord record = full_record();
  for (int i = 0; i < 50; ++i) {
    record.plan = "plan " + std::to_string(i % 10);  // the same size each time
    ASSERT_TRUE(one->write(record));
    ASSERT_EQ((*two->read("a-uid"))->plan, record.plan);
  }
}

TEST(ClaimStore, ListAfterTheFirst_HasWhatAnotherInstanceChanged) {
  const TemporaryDir dir;
  std::vector<std::string> quarantined;
  const auto one = open_store(dir);
  const auto two = open_store(dir, &quarantined);
  const auto listed = [&] {
    std::vector<std::string> plans;
    const auto view = two->read_all();
    for (const auto& record : view->records) {
      plans.push_back(record->claim.uid + " " + record->plan);
    }
    return plans;
  };
  ClaimRecord a = full_record();
  a.plan = "1";
  ClaimRecord b = a;
  b.claim.uid = "b-uid";
  EXPECT_THAT(listed(), IsEmpty());
  ASSERT_TRUE(one->write(b));
  EXPECT_THAT(listed(), ElementsAre("b-uid 1"));
  ASSERT_TRUE(one->write(a));
  EXPECT_THAT(listed(), ElementsAre("a-uid 1", "b-uid 1")) << "in the order of the uids";
  for (int i = 0; i < 50; ++i) {
    a.plan = std::to_string(i % 10);
    ASSERT_TRUE(one->write(a));
    ASSERT_THAT(listed(), ElementsAre("a-uid " + a.plan, "b-uid 1"));
  }
  ASSERT_TRUE(one->remove("a-uid"));
  EXPECT_THAT(listed(), ElementsAre("b-uid 1"));
  ASSERT_TRUE(sys::replace_file(dir / "claims", "b-uid.json", "{"));
  EXPECT_THAT(listed(), IsEmpty());
  EXPECT_THAT(quarantined, SizeIs(1));
}

TEST(ClaimStore, ChangesOfAnotherInstance_AreChangesSince) {
  const TemporaryDir dir;
  const auto one = open_store(dir);
  const auto two = open_store(dir);
  std::uint64_t known = 0;
  const auto changes = [&] {
    const auto since = two->changes_since(known);
    std::string text = since->all ? "all" : "";
    for (const auto& record : since->changed) {
      text += " " + record->claim.uid + "=" + record->plan;
    }
    for (const auto& uid : since->removed) {
      text += " -" + uid;
    }
    known = since->generation;
    return text;
  };
  ClaimRecord a = full_record();
  a.plan = "1";
  ClaimRecord b = a;
  b.claim.uid = "b-uid";
  ASSERT_TRUE(one->write(a));
  EXPECT_EQ(changes(), "all a-uid=1");
  EXPECT_EQ(changes(), "");
  ASSERT_TRUE(one->write(b));
  EXPECT_EQ(changes(), " b-uid=1");
  a.plan = "2";
  ASSERT_TRUE(one->write(a));
  ASSERT_TRUE(one->remove("b-uid"));
  EXPECT_EQ(changes(), " a-uid=2 -b-uid");
  EXPECT_EQ(two->read_all()->records.size(), 1U);
  EXPECT_EQ(changes(), "") << "what another caller has read is no change";
  ASSERT_TRUE(sys::replace_file(dir / "claims", "a-uid.json", "{"));
  EXPECT_EQ(changes(), " -a-uid") << "it is quarantined";
  known = 0;
  EXPECT_EQ(changes(), "all");
}

TEST(ClaimStore, FolderThatCannotBeListed_GivesTheLastRecordsAndStartsAnew) {
  const TemporaryDir dir;
  int unreadable = 0;
  auto store = *ClaimStore::open({.state_dir = dir.path(),
                                  .boot_id = "boot",
                                  .on_unreadable = [&](const std::string& path, const Error&) {
                                    EXPECT_EQ(path, dir / "claims");
                                    ++unreadable;
                                  }});
  ASSERT_TRUE(store->write(full_record()));
  const std::uint64_t known = store->changes_since(0)->generation;
  ASSERT_EQ(::rename((dir / "claims").c_str(), (dir / "moved").c_str()), 0);
  ASSERT_TRUE(sys::replace_file(dir.path(), "claims", "no folder"));
  for (int i = 0; i < 2; ++i) {
    const auto changes = store->changes_since(known);
    EXPECT_TRUE(changes->all);
    EXPECT_THAT(changes->changed, SizeIs(1));
    EXPECT_EQ(changes->generation, 0U);
  }
  EXPECT_EQ(unreadable, 1) << "reported once";
  ASSERT_TRUE(sys::remove_file(dir / "claims"));
  ASSERT_EQ(::rename((dir / "moved").c_str(), (dir / "claims").c_str()), 0);
  EXPECT_FALSE(store->changes_since(known)->all) << "nothing has changed since";
  EXPECT_THAT(store->changes_since(known)->changed, IsEmpty());
}

TEST(ClaimStore, FolderThatWasReplaced_IsListedAnew) {
  const TemporaryDir dir;
  const auto store = open_store(dir);
  ASSERT_TRUE(store->write(full_record()));
  ASSERT_THAT(store->read_all()->records, SizeIs(1));
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(sys::remove_tree(dir / "claims"));
    EXPECT_THAT(store->read_all()->records, IsEmpty());
    ASSERT_TRUE(sys::make_dirs(dir / "claims"));
    ASSERT_TRUE(store->write(full_record()));
    EXPECT_THAT(store->read_all()->records, SizeIs(1));
  }
}

TEST(ClaimStore, UnreadableRecord_IsMovedAwayAndToldOfOnce) {
  const TemporaryDir dir;
  std::vector<std::string> quarantined;
  const auto store = open_store(dir, &quarantined);
  ASSERT_TRUE(sys::replace_file(dir / "claims", "a-uid.json", "{"));
  EXPECT_EQ(*store->read("a-uid"), nullptr);
  EXPECT_EQ(*store->read("a-uid"), nullptr);
  ASSERT_EQ(quarantined.size(), 1U);
  EXPECT_THAT(quarantined[0], HasSubstr("/quarantine/a-uid.json."));
  EXPECT_EQ(*sys::read_file(quarantined[0]), "{");
}

TEST(ClaimStore, TemporaryFiles_AreNoRecords) {
  const TemporaryDir dir;
  const auto store = open_store(dir);
  ASSERT_TRUE(sys::replace_file(dir / "claims", ".x.json.1-1.tmp", "{"));
  EXPECT_TRUE(store->read_all()->records.empty());
}

TEST(ClaimStore, OldTemporaryFiles_AreRemoved) {
  const TemporaryDir dir;
  ASSERT_TRUE(sys::replace_file(dir.path(), ".x.json.1-1.tmp", ""));
  ASSERT_TRUE(sys::replace_file(dir.path(), ".x.json.2-2.tmp", ""));
  const timespec long_ago[2] = {{1'000'000, 0}, {1'000'000, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (dir / ".x.json.1-1.tmp").c_str(), long_ago, 0), 0);
  sys::remove_old_temporaries(dir.path(), "x");
  EXPECT_THAT(*sys::list_dir(dir.path()), ElementsAre(".x.json.2-2.tmp"));
}

TEST(ClaimStoreLock, HeldByAnotherInstance_TimesOutOrIsCancelled) {
  const TemporaryDir dir;
  const auto one = open_store(dir);
  const auto two = open_store(dir);
  {
    const auto held = one->lock({"claim/a", "device/x"}, now());
    ASSERT_TRUE(held);
    EXPECT_TRUE(two->lock({"claim/b"}, now()));
    const auto refused = two->lock({"device/x"}, now());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), Code::kTimeout);
    std::stop_source stop;
    stop.request_stop();
    EXPECT_EQ(two->lock({"device/x"}, now() + std::chrono::hours(1), stop.get_token()).error().code(),
              Code::kCancelled);
  }
  EXPECT_TRUE(two->lock({"claim/a", "device/x"}, now()));
}

TEST(ClaimStoreLock, WaitsUntilTheOtherIsDone) {
  const TemporaryDir dir;
  const auto one = open_store(dir);
  const auto two = open_store(dir);
  auto held = std::make_unique<Result<ClaimStore::Keys>>(one->lock({"claim/a"}, now()));
  ASSERT_TRUE(*held);
  std::jthread releaser([&] { held.reset(); });
  EXPECT_TRUE(two->lock({"claim/a"}, now() + std::chrono::seconds(60)));
}

}  // namespace
}  // namespace fairlead::dra::testing
