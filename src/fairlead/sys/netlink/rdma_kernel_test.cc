// SPDX-License-Identifier: Apache-2.0
// RDMA devices of the kernel that runs the tests: whatever there is must be consistent.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "fairlead/sys/files.h"
#include "fairlead/sys/netlink/rdma.h"

namespace fairlead::netlink {
namespace {

class RdmaKernel : public ::testing::Test {
 protected:
  void SetUp() override {
    auto opened = RdmaSocket::open();
    if (!opened) {
      ASSERT_EQ(opened.error().code(), Code::kUnsupported) << opened.error().what();
      GTEST_SKIP() << opened.error().what();
    }
    socket_ = *std::move(opened);
  }
  RdmaSocket& socket() { return *socket_; }

 private:
  std::optional<RdmaSocket> socket_;
};

TEST_F(RdmaKernel, SaysHowDevicesBelongToNamespaces) { EXPECT_TRUE(socket().netns_mode()); }

TEST_F(RdmaKernel, DevicesAreThoseOfSysfs) {
  const auto devices = socket().devices();
  ASSERT_TRUE(devices) << devices.error().what();
  for (const RdmaDevice& device : *devices) {
    const auto guid = sys::read_file("/sys/class/infiniband/" + device.name + "/node_guid");
    ASSERT_TRUE(guid) << guid.error().what();
    EXPECT_EQ(guid_text(device.node_guid) + "\n", *guid);
  }
}

TEST_F(RdmaKernel, CharDevicesHaveTheNumbersOfTheirFiles) {
  const auto devices = socket().devices();
  ASSERT_TRUE(devices) << devices.error().what();
  if (devices->empty()) {
    GTEST_SKIP() << "this machine has no RDMA device";
  }
  for (const RdmaDevice& device : *devices) {
    const auto uverbs = socket().char_device({.type = "uverbs", .device = device.index});
    ASSERT_TRUE(uverbs) << uverbs.error().what();
    ASSERT_TRUE(*uverbs) << device.name;
    struct stat info = {};
    ASSERT_EQ(::stat(("/dev/infiniband/" + (*uverbs)->name).c_str(), &info), 0);
    EXPECT_EQ((*uverbs)->major, major(info.st_rdev));
    EXPECT_EQ((*uverbs)->minor, minor(info.st_rdev));
  }
}

TEST_F(RdmaKernel, WhatIsNotThere_IsNoError) {
  const auto unknown = socket().char_device({.type = "fairlead-unknown"});
  ASSERT_TRUE(unknown) << unknown.error().what();
  EXPECT_FALSE(*unknown);
}

}  // namespace
}  // namespace fairlead::netlink
