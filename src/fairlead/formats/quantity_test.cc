// SPDX-License-Identifier: Apache-2.0
#include "fairlead/formats/quantity.h"

#include <gmock/gmock.h>

namespace fairlead::formats {
namespace {

TEST(Quantity, Canonical) {
  const struct {
    const char* text;
    const char* canonical;
  } cases[] = {
      {.text = "0", .canonical = "0"},
      {.text = "-0", .canonical = "0"},
      {.text = "0Ki", .canonical = "0"},
      {.text = "0e5", .canonical = "0"},
      {.text = "1", .canonical = "1"},
      {.text = "+1", .canonical = "1"},
      {.text = "007", .canonical = "7"},
      {.text = ".5", .canonical = "500m"},
      {.text = "5.", .canonical = "5"},
      {.text = "128", .canonical = "128"},
      {.text = "1000", .canonical = "1k"},
      {.text = "1500", .canonical = "1500"},
      {.text = "1e3", .canonical = "1e3"},
      {.text = "1E3", .canonical = "1e3"},
      {.text = "12e2", .canonical = "1200"},
      {.text = "1e-3", .canonical = "1e-3"},
      {.text = "1e+6", .canonical = "1e6"},
      {.text = "1E", .canonical = "1E"},
      {.text = "1000P", .canonical = "1E"},
      {.text = "0.1", .canonical = "100m"},
      {.text = "1.5G", .canonical = "1500M"},
      {.text = "100m", .canonical = "100m"},
      {.text = "1000m", .canonical = "1"},
      {.text = "1n", .canonical = "1n"},
      {.text = "1500u", .canonical = "1500u"},
      {.text = "0.1n", .canonical = "1n"},
      {.text = "-0.1n", .canonical = "-1n"},
      {.text = "1.0000000001", .canonical = "1000000001n"},
      {.text = "1024", .canonical = "1024"},
      {.text = "1024Mi", .canonical = "1Gi"},
      {.text = "1Gi", .canonical = "1Gi"},
      {.text = "1536Mi", .canonical = "1536Mi"},
      {.text = "0.5Gi", .canonical = "512Mi"},
      {.text = "0.5Ki", .canonical = "512"},
      {.text = "1023Ki", .canonical = "1023Ki"},
      {.text = "1.5Ki", .canonical = "1536"},
      {.text = "0.0000000001Ki", .canonical = "103n"},
      {.text = "2.0001Ki", .canonical = "2048102400u"},
      {.text = "-2Ki", .canonical = "-2Ki"},
      {.text = "-1000", .canonical = "-1k"},
      {.text = "7Ei", .canonical = "7Ei"},
      {.text = "8Ei", .canonical = "9223372036854775807"},
      {.text = "9223372036854775807", .canonical = "9223372036854775807"},
      {.text = "1e100", .canonical = "9223372036854775807"},
      {.text = "1e-100", .canonical = "1e-9"},
      {.text = "1e2147483647", .canonical = "9223372036854775807"},
      {.text = "99999999999999999999999999", .canonical = "9223372036854775807"},
      {.text = "-99999999999999999999999999Ki", .canonical = "-9223372036854775807"},
  };
  for (const auto& c : cases) {
    const auto quantity = Quantity::parse(c.text);
    ASSERT_TRUE(quantity) << c.text;
    EXPECT_EQ(quantity->canonical(), c.canonical) << c.text;
    const auto again = Quantity::parse(quantity->canonical());
    ASSERT_TRUE(again) << c.text;
    EXPECT_EQ(*again, *quantity) << c.text;
    EXPECT_EQ(again->canonical(), quantity->canonical()) << c.text;
  }
}

TEST(Quantity, Refused) {
  for (const char* text : {"",      " ",    "1 ",  " 1",   "Ki",   "-",     "+",        ".",
                           "1KI",   "1ki",  "1K",  "1g",   "1e",   "1e+",   "1e+-3",    "1e1.5",
                           "1.2.3", "--1",  "+-1", "1Gi1", "0x10", "1_000", "\xc2\xb5", "1e99999999999",
                           "abc",   "1.5.", "inf"}) {
    const auto quantity = Quantity::parse(text);
    ASSERT_FALSE(quantity) << text;
    EXPECT_EQ(quantity.error().code(), Code::kInvalid);
    EXPECT_THAT(quantity.error().what(), ::testing::HasSubstr("is not a quantity"));
  }
  EXPECT_FALSE(Quantity::parse(std::string(300, '1')));
}

TEST(Quantity, ComparesByValue) {
  EXPECT_TRUE(same_quantity("1024Mi", "1Gi"));
  EXPECT_TRUE(same_quantity("1000m", "1"));
  EXPECT_TRUE(same_quantity("1e3", "1k"));
  EXPECT_TRUE(same_quantity("0", "-0"));
  EXPECT_TRUE(same_quantity("nonsense", "nonsense"));
  EXPECT_FALSE(same_quantity("1", "nonsense"));
  EXPECT_FALSE(same_quantity("1G", "1Gi"));
  EXPECT_LT(Quantity::parse("1G").value(), Quantity::parse("1Gi").value());
  EXPECT_GT(Quantity::parse("-1n").value(), Quantity::parse("-1").value());
}

TEST(Quantity, Arithmetic) {
  const auto q = [](const char* text) { return Quantity::parse(text).value(); };
  EXPECT_EQ(q("1Gi").plus(q("1Gi")), q("2Gi"));
  EXPECT_EQ(q("1").minus(q("2")), q("-1"));
  EXPECT_TRUE(q("6").multiple_of(q("1500m")));
  EXPECT_FALSE(q("7").multiple_of(q("2")));
  EXPECT_FALSE(q("7").multiple_of(q("0")));
  EXPECT_EQ(q("8E").plus(q("8E")).canonical(), "9223372036854775807");
}

}  // namespace
}  // namespace fairlead::formats
