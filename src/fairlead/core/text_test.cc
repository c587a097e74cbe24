// SPDX-License-Identifier: Apache-2.0
#include "fairlead/core/text.h"

#include <gtest/gtest.h>

#include "fairlead/core/hash.h"

namespace fairlead {
namespace {

TEST(Text, Joined_PutsNothingAroundOneAndNothing) {
  EXPECT_EQ(joined({}), "");
  EXPECT_EQ(joined({"a"}), "a");
  EXPECT_EQ(joined({"a", "", "b"}, "; "), "a; ; b");
  EXPECT_EQ(quoted("eth0"), "\"eth0\"");
}

TEST(Text, DnsLabel_IsKubernetesRule) {
  for (const std::string& good : {std::string("a"), std::string("0-9"), std::string(63, 'a')}) {
    EXPECT_TRUE(is_dns_label(good)) << good;
  }
  for (const std::string& bad :
       {std::string(), std::string("-a"), std::string("a-"), std::string("A"), std::string("a.b"),
        std::string("a_b"), std::string(64, 'a'), std::string("\xc3\xa9")}) {
    EXPECT_FALSE(is_dns_label(bad)) << bad;
  }
}

TEST(Text, DnsSubdomain_HasALimitAsAWholeOnly) {
  EXPECT_TRUE(is_dns_subdomain("net.example.com"));
  EXPECT_TRUE(is_dns_subdomain(std::string(100, 'a') + ".b"));
  EXPECT_FALSE(is_dns_subdomain(std::string(254, 'a')));
  EXPECT_TRUE(is_dns_subdomain("abc", 3));
  EXPECT_FALSE(is_dns_subdomain("abcd", 3));
  for (const char* bad : {"", ".", "a.", ".a", "a..b", "a.-b", "a.B"}) {
    EXPECT_FALSE(is_dns_subdomain(bad)) << bad;
  }
}

TEST(Text, Uid_IsNeverAPath) {
  EXPECT_TRUE(is_uid("0b1c2d3e-0000-4000-8000-0123456789ab"));
  EXPECT_TRUE(is_uid("Mirror-Pod"));
  for (const std::string& bad : {std::string(), std::string(".."), std::string("a/b"), std::string("a.b"),
                                 std::string("-a"), std::string(64, 'a')}) {
    EXPECT_FALSE(is_uid(bad)) << bad;
  }
}

TEST(Hash, IsFnv1a) {
  static_assert(fnv1a_64("") == 0xcbf29ce484222325U);
  static_assert(fnv1a_64("foobar") == 0x85944171f73967e8U);
  static_assert(fnv1a_32("foobar") == 0xbf9cf968U);
  SUCCEED();
}

}  // namespace
}  // namespace fairlead
