// SPDX-License-Identifier: Apache-2.0
// Messages about RDMA devices. Devices and netns mode are read from recorded dumps of a kernel; those of character
// devices, which the recorder does not ask for, were written by hand from include/uapi/rdma/rdma_netlink.h.
#include "fairlead/sys/netlink/rdma.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netlink.h>

#include <cstring>
#include <random>
#include <string_view>

#include "fairlead/sys/netlink/rdma_codec.h"
#include "fairlead/sys/testing/recorded_node.h"

namespace fairlead::netlink::codec {
namespace {

using ::testing::ElementsAre;

/// A message of type RDMA_NL_NLDEV << 10 | `command` with these bytes as attributes.
Bytes message_of(std::uint16_t command, std::string_view attributes) {
  nlmsghdr header = {};
  header.nlmsg_len = static_cast<std::uint32_t>(sizeof header + attributes.size());
  header.nlmsg_type = static_cast<std::uint16_t>(5U << 10U | command);
  Bytes bytes(header.nlmsg_len);
  std::memcpy(bytes.data(), &header, sizeof header);
  std::memcpy(bytes.data() + sizeof header, attributes.data(), attributes.size());
  return bytes;
}

template <class T>
std::vector<T> read_all(View rest, std::optional<T> (*read)(const Message&)) {
  std::vector<T> values;
  while (const auto message = next_message(rest)) {
    if (auto value = read(*message)) {
      values.push_back(*std::move(value));
    }
  }
  return values;
}

using namespace std::string_view_literals;
/// CHARDEV_NAME (70) "uverbs0", CHARDEV_ABI (71) 2, CHARDEV (72) 231:192.
constexpr std::string_view kUverbs =
    "\x0c\0\x46\0uverbs0\0"
    "\x0c\0\x47\0\x02\0\0\0\0\0\0\0"
    "\x0c\0\x48\0\xc0\xe7\0\0\0\0\0\0"sv;

TEST(RdmaCodec, RecordedDevice) {
  const auto node =
      sys::testing_support::RecordedNode::load(sys::testing_support::recorded_folder("igb-2pf"));
  ASSERT_TRUE(node) << node.error().what();
  const auto devices = read_all(node->dump("rdma"), read_rdma_device);
  EXPECT_THAT(devices, ElementsAre(RdmaDevice{.index = 0,
                                              .name = "rxe0",
                                              .node_guid = 0x505400fffeaa0200,
                                              .node_type = 1,
                                              .ports = 1,
                                              .protocol = "roce"}));
  EXPECT_EQ(guid_text(devices.at(0).node_guid), "5054:00ff:feaa:0200");
}

TEST(RdmaCodec, RecordedNetnsMode) {
  const auto node =
      sys::testing_support::RecordedNode::load(sys::testing_support::recorded_folder("igb-2pf"));
  ASSERT_TRUE(node) << node.error().what();
  EXPECT_THAT(read_all(node->dump("rdma_system"), read_rdma_system), ElementsAre(RdmaNetnsMode::kShared));
  EXPECT_THAT(read_all(message_of(6, "\x05\0\x42\0\0\0\0\0"sv), read_rdma_system),
              ElementsAre(RdmaNetnsMode::kExclusive));
}

TEST(RdmaCodec, CharDevice) {
  EXPECT_THAT(read_all(message_of(15, kUverbs), read_rdma_char_device),
              ElementsAre(RdmaCharDevice{.name = "uverbs0", .major = 231, .minor = 192, .abi = 2}));
}

TEST(RdmaCodec, MinorOfMoreThanEightBits) {
  const auto devices = read_all(message_of(15,
                                           "\x0c\0\x46\0rdma_cm\0"
                                           "\x0c\0\x48\0\x04\x0a\x10\0\0\0\0\0"sv),
                                read_rdma_char_device);
  EXPECT_THAT(devices, ElementsAre(RdmaCharDevice{.name = "rdma_cm", .major = 10, .minor = 260}));
}

TEST(RdmaCodec, DamagedMessages_GiveNothingThatIsIncomplete) {
  for (std::size_t size = 0; size < kUverbs.size(); ++size) {
    const Bytes cut = message_of(15, kUverbs.substr(0, size));
    EXPECT_THAT(read_all(cut, read_rdma_char_device), ElementsAre()) << size;
  }
  std::mt19937 random(1);
  for (int i = 0; i < 20'000; ++i) {
    Bytes damaged = message_of(i % 2 == 0 ? 15 : 1, kUverbs);
    for (int n = 0; n < 4; ++n) {
      damaged[random() % damaged.size()] = static_cast<std::uint8_t>(random());
    }
    for (const auto& device : read_all(damaged, read_rdma_char_device)) {
      EXPECT_FALSE(device.name.empty());
    }
    for (const auto& device : read_all(damaged, read_rdma_device)) {
      EXPECT_FALSE(device.name.empty());
    }
    (void)read_all(damaged, read_rdma_system);
  }
}

TEST(RdmaCodec, Requests) {
  const auto system = get_rdma_system();
  ASSERT_TRUE(system);
  View rest = *system;
  EXPECT_EQ(next_message(rest)->type, 0x1406);
  const auto umad = get_rdma_char_device({.type = "umad", .device = 3, .port = 1});
  ASSERT_TRUE(umad);
  const auto expected = message_of(15,
                                   "\x09\0\x45\0umad\0\0\0\0"
                                   "\x08\0\x01\0\x03\0\0\0"
                                   "\x08\0\x03\0\x01\0\0\0"sv);
  EXPECT_EQ(Bytes(umad->begin() + sizeof(nlmsghdr), umad->end()),
            Bytes(expected.begin() + sizeof(nlmsghdr), expected.end()));
  rest = *umad;
  const auto message = next_message(rest);
  EXPECT_EQ(message->type, 0x140f);
  EXPECT_EQ(message->flags, NLM_F_REQUEST);
}

}  // namespace
}  // namespace fairlead::netlink::codec
