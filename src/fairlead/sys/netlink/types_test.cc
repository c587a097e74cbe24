// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/types.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace fairlead::netlink {
namespace {

using testing::HasSubstr;
using namespace std::string_literals;

TEST(MacAddress, ParsesAndPrints) {
  EXPECT_EQ(MacAddress::parse("02:00:00:AA:bb:01")->to_string(), "02:00:00:aa:bb:01");
  EXPECT_EQ(MacAddress::parse("02-00-00-aa-bb-01")->to_string(), "02:00:00:aa:bb:01");
  const std::string infiniband = "80:00:00:03:fe:80:00:00:00:00:00:00:00:02:c9:03:00:00:0f:11";
  EXPECT_EQ(MacAddress::parse(infiniband)->to_string(), infiniband);
  EXPECT_EQ(MacAddress().to_string(), "");
}

TEST(MacAddress, RefusesEverythingElse) {
  for (const std::string& text :
       {""s, "02"s, "02:00:00:aa:bb"s, "02:00:00:aa:bb:0"s, "02:00:00:aa:bb:01:"s, "02:00:00:aa:bb:01:02"s,
        "02:00-00:aa:bb:01"s, "02:00:00:aa:bb:g1"s, "02.00.00.aa.bb.01"s, "0200:00:aa:bb:01:"s,
        "02:00:00:aa:bb:+1"s, "02:00:00:aa:bb:01\0"s}) {
    const auto mac = MacAddress::parse(text);
    ASSERT_FALSE(mac) << text;
    EXPECT_EQ(mac.error().code(), Code::kInvalid);
    EXPECT_THAT(mac.error().what(), HasSubstr("MAC address such as"));
  }
}

TEST(MacAddress, KnowsGroupAndZero) {
  EXPECT_TRUE(MacAddress::parse("01:00:5e:00:00:01")->is_multicast());
  EXPECT_FALSE(MacAddress::parse("02:00:00:00:00:01")->is_multicast());
  EXPECT_TRUE(MacAddress::parse("00:00:00:00:00:00")->is_zero());
  EXPECT_FALSE(MacAddress::parse("00:00:00:00:00:01")->is_zero());
}

TEST(IpPrefix, KeepsHostBitsAndPrintsCanonically) {
  EXPECT_EQ(IpPrefix::parse("10.0.0.5/24")->to_string(), "10.0.0.5/24");
  EXPECT_EQ(IpPrefix::parse("10.0.0.5/24")->network().to_string(), "10.0.0.0/24");
  EXPECT_EQ(IpPrefix::parse("FD00:0:0::0:5/64")->to_string(), "fd00::5/64");
  EXPECT_EQ(IpPrefix::parse("fd00:1:2:3:ffff::5/66")->network().to_string(), "fd00:1:2:3:c000::/66");
  EXPECT_EQ(IpPrefix::parse("255.255.255.255/31")->network().to_string(), "255.255.255.254/31");
  EXPECT_EQ(IpPrefix::parse("10.1.2.3/32")->network().to_string(), "10.1.2.3/32");
  EXPECT_EQ(IpPrefix::parse("10.1.2.3/0")->network().to_string(), "0.0.0.0/0");
  EXPECT_TRUE(IpPrefix::parse("::/0")->is_default());
}

TEST(IpPrefix, RefusesEverythingElse) {
  for (const std::string& text :
       {""s, "10.0.0.5"s, "10.0.0.5/"s, "10.0.0.5/33"s, "10.0.0.5/-1"s, "10.0.0.5/+1"s, "10.0.0/24"s,
        "10.0.0.05/24"s, "fd00::5/129"s, "fd00::5%eth0/64"s, "/24"s, "10.0.0.5/24/24"s, "10.0.0.5/ 24"s,
        "10.0.0.5\0/24"s, "010.0.0.5/999999999999999999999"s}) {
    EXPECT_EQ(IpPrefix::parse(text).error().code(), Code::kInvalid) << text;
  }
}

TEST(LinkName, FollowsTheKernel) {
  for (const std::string& name : {"eth0"s, "a"s, "data-0.100"s, "123456789012345"s, "caf\xC3\xA9"s}) {
    EXPECT_TRUE(check_link_name(name)) << name;
  }
  for (const std::string& name : {""s, "."s, ".."s, "../"s, "a/b"s, "a b"s, "a:b"s, "a\0b"s, "net%d"s,
                                  "a\x7F"s, "1234567890123456"s, "a\n"s}) {
    EXPECT_EQ(check_link_name(name).error().code(), Code::kInvalid) << name;
  }
  EXPECT_THAT(check_link_name("1234567890123456").error().what(), HasSubstr("16 characters"));
}

TEST(MacvlanMode, WordsThereAndBack) {
  for (const auto* word : {"private", "vepa", "bridge", "passthru", "source"}) {
    EXPECT_EQ(to_string(*parse_macvlan_mode(word)), word);
  }
  EXPECT_FALSE(parse_macvlan_mode("Bridge"));
  EXPECT_FALSE(parse_macvlan_mode(""));
}

}  // namespace
}  // namespace fairlead::netlink
