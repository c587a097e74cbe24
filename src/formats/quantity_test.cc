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
      {"0", "0"},
      {"-0", "0"},
      {"0Ki", "0"},
      {"0e5", "0"},
      {"1", "1"},
      {"+1", "1"},
      {"007", "7"},
      {".5", "500m"},
      {"5.", "5"},
      {"128", "128"},
      {"1000", "1k"},
      {"1500", "1500"},
      {"1e3", "1e3"},
      {"1E3", "1e3"},
      {"12e2", "1200"},
      {"1e-3", "1e-3"},
      {"1e+6", "1e6"},
      {"1E", "1E"},
      {"1000P", "1E"},
      {"0.1", "100m"},
      {"1.5G", "1500M"},
      {"100m", "100m"},
      {"1000m", "1"},
      {"1n", "1n"},
      {"1500u", "1500u"},
      {"0.1n", "1n"},
      {"-0.1n", "-1n"},
      {"1.0000000001", "1000000001n"},
      {"1024", "1024"},
      {"1024Mi", "1Gi"},
      {"1Gi", "1Gi"},
      {"1536Mi", "1536Mi"},
      {"0.5Gi", "512Mi"},
      {"0.5Ki", "512"},
      {"1023Ki", "1023Ki"},
      {"1.5Ki", "1536"},
      {"0.0000000001Ki", "103n"},
      {"2.0001Ki", "2048102400u"},
      {"-2Ki", "-2Ki"},
      {"-1000", "-1k"},
      {"7Ei", "7Ei"},
      {"8Ei", "9223372036854775807"},
      {"9223372036854775807", "9223372036854775807"},
      {"1e100", "9223372036854775807"},
      {"1e-100", "1e-9"},
      {"1e2147483647", "9223372036854775807"},
      {"99999999999999999999999999", "9223372036854775807"},
      {"-99999999999999999999999999Ki", "-9223372036854775807"},
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
