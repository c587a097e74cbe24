// SPDX-License-Identifier: Apache-2.0
// The parser with messages as the kernel writes them. The socket is tested with the running kernel:
// uevents_kernel_test.cc.
#include "fairlead/sys/facts/uevents.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace fairlead::sys {
namespace {

using std::string_view_literals::operator""sv;

std::optional<Uevent> parse(std::string_view text) {
  return parse_uevent({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

constexpr std::string_view kLink =
    "add@/devices/virtual/net/veth0\0ACTION=add\0DEVPATH=/devices/virtual/net/veth0\0SUBSYSTEM=net\0"
    "INTERFACE=veth0\0IFINDEX=7\0SEQNUM=4711\0"sv;
constexpr std::string_view kBound =
    "bind@/devices/pci0000:00/0000:00:03.0/0000:03:10.1\0ACTION=bind\0"
    "DEVPATH=/devices/pci0000:00/0000:00:03.0/0000:03:10.1\0SUBSYSTEM=pci\0DRIVER=vfio-pci\0"
    "PCI_CLASS=20000\0PCI_ID=8086:10CA\0PCI_SUBSYS_ID=1AF4:1100\0PCI_SLOT_NAME=0000:03:10.1\0"
    "MODALIAS=pci:v00008086d000010CAsv00001AF4sd00001100bc02sc00i00\0SEQNUM=4712\0"sv;
constexpr std::string_view kRdma =
    "add@/devices/pci0000:00/0000:03:00.0/infiniband/mlx5_0\0ACTION=add\0"
    "DEVPATH=/devices/pci0000:00/0000:03:00.0/infiniband/mlx5_0\0SUBSYSTEM=infiniband\0NAME=mlx5_0\0SEQNUM=4713\0"sv;

TEST(ParseUevent, LinkFunctionAndRdmaDevice) {
  EXPECT_EQ(parse(kLink),
            (Uevent{.action = "add", .path = "/devices/virtual/net/veth0", .subsystem = "net"}));
  EXPECT_EQ(parse(kBound), (Uevent{.action = "bind",
                                   .path = "/devices/pci0000:00/0000:00:03.0/0000:03:10.1",
                                   .subsystem = "pci"}));
  EXPECT_EQ(parse(kRdma), (Uevent{.action = "add",
                                  .path = "/devices/pci0000:00/0000:03:00.0/infiniband/mlx5_0",
                                  .subsystem = "infiniband"}));
  for (const std::string_view message : {kLink, kBound, kRdma}) {
    EXPECT_TRUE(is_about_facts(*parse(message))) << message;
  }
}

TEST(ParseUevent, OtherSubsystems_SayNothingAboutTheFacts) {
  const auto block = parse("change@/devices/virtual/block/loop0\0ACTION=change\0SUBSYSTEM=block\0"sv);
  ASSERT_TRUE(block);
  EXPECT_FALSE(is_about_facts(*block));
  // A queue of a link, once per queue of each link.
  const auto queue = parse("add@/devices/virtual/net/veth0/queues/rx-0\0ACTION=add\0SUBSYSTEM=queues\0"sv);
  ASSERT_TRUE(queue);
  EXPECT_FALSE(is_about_facts(*queue));
}

TEST(ParseUevent, LinkThatIsNoHardware_ChangesNoFunction) {
  EXPECT_TRUE(is_about_virtual_link({"add", "/devices/virtual/net/veth0", "net"}));
  EXPECT_FALSE(is_about_virtual_link({"add", "/devices/pci0000:00/0000:00:02.0/net/eth0", "net"}));
  EXPECT_FALSE(is_about_virtual_link({"add", "/devices/virtual/infiniband/rxe0", "infiniband"}));
}

TEST(ParseUevent, WhatIsNotTheKernels_IsNone) {
  EXPECT_FALSE(parse("libudev\0\xfe\xed\xca\xfe\0\0\0\x28SUBSYSTEM=net\0"sv));
  EXPECT_FALSE(parse(""sv));
  EXPECT_FALSE(parse("\0"sv));
  EXPECT_FALSE(parse("add"sv));
  EXPECT_FALSE(parse("add@"sv));
  EXPECT_FALSE(parse("@/devices/x\0SUBSYSTEM=net\0"sv));
  EXPECT_FALSE(parse("add@devices/x\0SUBSYSTEM=net\0"sv));
  EXPECT_FALSE(parse("add@/devices/x\0ACTION=add\0"sv)) << "no subsystem";
}

TEST(ParseUevent, CutOffAnywhere_IsReadWithinItsBounds) {
  for (std::size_t size = 0; size <= kBound.size(); ++size) {
    // A copy of this size, so that the sanitizers see a read beyond its end.
    const std::vector<std::uint8_t> bytes(kBound.begin(), kBound.begin() + static_cast<std::ptrdiff_t>(size));
    const auto event = parse_uevent(bytes);
    EXPECT_TRUE(!event || event->action == "bind") << size;
  }
}

TEST(ParseUevent, LastTextWithoutNul_IsRead) {
  const auto event = parse("add@/devices/x\0SUBSYSTEM=net"sv);
  ASSERT_TRUE(event);
  EXPECT_EQ(event->subsystem, "net");
}

}  // namespace
}  // namespace fairlead::sys
