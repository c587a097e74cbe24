// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/base/names.h"
#include "fairlead/core/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fairlead::dra {
namespace {

const std::string kRegistry = "/var/lib/kubelet/plugins_registry";
const std::string kPlugin = "/var/lib/kubelet/plugins/x";
const std::string kUid = "0b5c0a7e-6a1b-4f0e-9d1c-1b2c3d4e5f60";

TEST(SocketPaths, Classic) {
  const auto paths = socket_paths(kRegistry, kPlugin, "net.example.com", "");
  ASSERT_TRUE(paths);
  EXPECT_EQ(paths->registration, kRegistry + "/net.example.com-reg.sock");
  EXPECT_EQ(paths->dra, kPlugin + "/dra.sock");
}

TEST(SocketPaths, WithPodUid_CarryIt) {
  const auto paths = socket_paths(kRegistry, kPlugin, "net.example.com", kUid);
  ASSERT_TRUE(paths);
  EXPECT_EQ(paths->registration, kRegistry + "/net.example.com-" + kUid + "-reg.sock");
  EXPECT_EQ(paths->dra, kPlugin + "/dra-" + kUid + ".sock");
}

TEST(SocketPaths, TooLong_AreShortenedByHashesOfFixedValue) {
  // sha256(uid)[0:8] and sha256(driver NUL uid)[0:16] in base64url, computed with Python's hashlib.
  const std::string driver_40 = std::string(36, 'a') + ".com";
  const auto shorter = socket_paths(kRegistry, kPlugin, driver_40, kUid);
  ASSERT_TRUE(shorter);
  EXPECT_EQ(shorter->registration, kRegistry + "/" + driver_40 + "-yt09gjRQFbg-reg.sock");
  const std::string driver_63 = std::string(59, 'a') + ".com";
  const auto shortest = socket_paths(kRegistry, kPlugin, driver_63, kUid);
  ASSERT_TRUE(shortest);
  EXPECT_EQ(shortest->registration, kRegistry + "/dra-08hN7oVrQtF7t_ZWwbkfNw-reg.sock");
  const std::string long_plugin_dir = "/" + std::string(80, 'p');
  const auto dra = socket_paths(kRegistry, long_plugin_dir, "x.com", kUid);
  ASSERT_TRUE(dra);
  EXPECT_EQ(dra->dra, long_plugin_dir + "/dra-yt09gjRQFbg.sock");
}

TEST(SocketPaths, FolderTooLong_IsAnErrorThatSaysSo) {
  const auto paths = socket_paths("/" + std::string(100, 'r'), kPlugin, "x.com", "");
  ASSERT_FALSE(paths);
  EXPECT_EQ(paths.error().code(), Code::kInvalid);
  EXPECT_THAT(paths.error().what(), ::testing::HasSubstr("is too long for a socket in it"));
}

TEST(SocketPaths, NeverExceedTheLimit) {
  for (std::size_t length = 1; length <= 63; ++length) {
    const auto paths = socket_paths(kRegistry, kPlugin, std::string(length, 'a'), kUid);
    ASSERT_TRUE(paths);
    EXPECT_LE(paths->registration.size(), 107U);
  }
}

TEST(Names, FollowKubernetesRules) {
  EXPECT_TRUE(is_dns_label("a-1"));
  for (const char* bad : {"", "-a", "a-", "A", "a.b", "a_b"}) {
    EXPECT_FALSE(is_dns_label(bad)) << bad;
  }
  EXPECT_TRUE(is_dns_subdomain("a-1.b"));
  EXPECT_TRUE(is_dns_subdomain(std::string(253, 'a')));
  for (const char* bad : {"", ".a", "a.", "a..b", "a.-b", "a-.b", "a/b", "A"}) {
    EXPECT_FALSE(is_dns_subdomain(bad)) << bad;
  }
  EXPECT_TRUE(is_uid(kUid));
  for (const char* bad : {"", "-x", "a/b", "..", "a b"}) {
    EXPECT_FALSE(is_uid(bad)) << bad;
  }
}

TEST(Quote, MakesForeignTextPrintableAndShort) {
  EXPECT_EQ(quote("a\nb"), "\"a?b\"");
  EXPECT_EQ(quote(std::string(200, 'x')).size(), 85U);
}

}  // namespace
}  // namespace fairlead::dra
