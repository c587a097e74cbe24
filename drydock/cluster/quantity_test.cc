// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/quantity.h"

#include <gtest/gtest.h>

namespace drydock {
namespace {

struct Case {
  const char* text;
  const char* canonical;  // "": refused
};
class QuantityTable : public testing::TestWithParam<Case> {};

TEST_P(QuantityTable, Parse_WritesCanonically) {
  const auto quantity = Quantity::parse(GetParam().text);
  EXPECT_EQ(quantity ? quantity->to_string() : "", GetParam().canonical) << GetParam().text;
}

INSTANTIATE_TEST_SUITE_P(
    All, QuantityTable,
    testing::Values(Case{"0", "0"}, Case{"1", "1"}, Case{"1024Mi", "1Gi"}, Case{"1.5Gi", "1536Mi"},
                    Case{"1000", "1k"}, Case{"1500m", "1500m"}, Case{"2000m", "2"}, Case{"0.5", "500m"},
                    Case{"-3", "-3"}, Case{"+3", "3"}, Case{"1e3", "1e3"}, Case{"1E3", "1e3"},
                    Case{"1E", "1E"}, Case{"12e-1", "1200e-3"}, Case{"100Ki", "100Ki"}, Case{"1023", "1023"},
                    Case{"1.1Ki", "1127"}, Case{"0.1Ki", "102400m"}, Case{"5.", "5"}, Case{".5", "500m"},
                    Case{"", ""}, Case{"Gi", ""}, Case{"1 Gi", ""}, Case{"1gi", ""}, Case{"1e", ""},
                    Case{"--1", ""}, Case{"99999999999999999999999", ""}, Case{"1.2.3", ""}));

TEST(Quantity, Compare_IgnoresTheUnit) {
  EXPECT_EQ(*Quantity::parse("1Gi"), *Quantity::parse("1024Mi"));
  EXPECT_LT(*Quantity::parse("1G"), *Quantity::parse("1Gi"));
  EXPECT_EQ(Quantity::parse("1500m")->as_integer(), std::nullopt);
  EXPECT_EQ(Quantity::parse("2k")->as_integer(), 2000);
}

}  // namespace
}  // namespace drydock
