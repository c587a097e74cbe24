// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/netns_number.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "fairlead/core/fd.h"
#include "fairlead/sys/netns.h"

namespace fairlead::netlink {
namespace {

class NetnsNumber : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) {
      GTEST_SKIP() << "needs root: makes network namespaces";
    }
  }
  /// On a thread in a namespace of its own, which has no numbers yet.
  template <class F>
  static void in_new_namespace(F&& work) {
    auto own = sys::create_netns();
    ASSERT_TRUE(own) << own.error().what();
    const auto done = sys::on_netns_thread(own->get(), [&]() -> Result<> {
      work();
      return {};
    });
    ASSERT_TRUE(done) << done.error().what();
  }
};

TEST_F(NetnsNumber, NamespaceKeepsItsNumber_AndOthersGetOthers) {
  in_new_namespace([] {
    const UniqueFd a = sys::create_netns().value();
    const UniqueFd b = sys::create_netns().value();
    const auto number = number_netns(a.get());
    ASSERT_TRUE(number) << number.error().what();
    EXPECT_EQ(number_netns(a.get()).value(), *number);
    EXPECT_NE(number_netns(b.get()).value(), *number);
    EXPECT_TRUE(is_netns_number_in_use(*number).value());
    EXPECT_FALSE(is_netns_number_in_use(*number + 100).value());
  });
}

/// A descriptor is enough to keep it.
TEST_F(NetnsNumber, IsInUse_UntilTheLastUserOfTheNamespaceIsGone) {
  in_new_namespace([] {
    UniqueFd netns = sys::create_netns().value();
    const auto number = number_netns(netns.get()).value();
    UniqueFd second(::dup(netns.get()));
    netns.reset();
    EXPECT_TRUE(is_netns_number_in_use(number).value());
    second.reset();
    // The descriptor's last reference is dropped when this thread returns from the kernel.
    EXPECT_FALSE(is_netns_number_in_use(number).value());
  });
}

TEST_F(NetnsNumber, OfWhatIsNoNamespace_IsAnError) {
  in_new_namespace([] {
    EXPECT_FALSE(number_netns(0));
    EXPECT_FALSE(number_netns(-1));
  });
}

}  // namespace
}  // namespace fairlead::netlink
