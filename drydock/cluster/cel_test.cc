// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/cel.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace drydock {
namespace {

const Json& device() {
  static const Json sample = Json::parse(R"({
    "name": "nic0",
    "allowMultipleAllocations": true,
    "attributes": {
      "type": {"string": "netdev"},
      "mtu": {"int": 1500},
      "rdma": {"bool": false},
      "firmware": {"version": "22.31.1014-rc.1"},
      "resource.kubernetes.io/pciBusID": {"string": "0000:3b:00.1"},
      "resource.kubernetes.io/numaNode": {"int": 1}
    },
    "capacity": {"slots": {"value": "128"}, "bandwidth": {"value": "25G"}}
  })");
  return sample;
}

/// "true", "false", "compile: ..." or "run: ..."
std::string outcome(const std::string& expression) {
  const auto program = CelProgram::compile(expression);
  if (!program) {
    return "compile: " + program.error().what();
  }
  const auto match = program->matches({.driver = "d.example", .device = device()});
  if (!match) {
    return "run: " + match.error().what();
  }
  return *match ? "true" : "false";
}

struct Case {
  const char* expression;
  const char* outcome;
};

class CelTable : public testing::TestWithParam<Case> {};

TEST_P(CelTable, Expression_HasOutcome) {
  EXPECT_EQ(outcome(GetParam().expression), GetParam().outcome) << GetParam().expression;
}

INSTANTIATE_TEST_SUITE_P(
    Literals, CelTable,
    testing::Values(Case{"true", "true"}, Case{"1 < 2 && 2 <= 2 && 3 > 2 && 3 >= 3", "true"},
                    Case{"0x10 == 16", "true"},
                    Case{"1 == 1.0", "compile: column 3: no overload of \"==\" for (int, double)"},
                    Case{"dyn(1) == 1.0", "true"}, Case{"'a' == \"a\"", "true"},
                    Case{R"("\x41\u0042\n" == 'AB' + "\n")", "true"}, Case{R"(r'\d' == '\\d')", "true"},
                    Case{"'''a'b''' == \"a'b\"", "true"}, Case{"-2 + 3 * 4 == 10", "true"},
                    Case{"7 / 2 == 3 && 7 % 2 == 1", "true"}, Case{"1.5 + 1.5 == 3.0", "true"},
                    Case{"[1, 2] + [3] == [1, 2, 3]", "true"}, Case{"2 in [1, 2]", "true"},
                    Case{"'x' in ['a']", "false"}, Case{"1 == 2 ? false : true", "true"},
                    Case{"!(1 == 2)", "true"}, Case{"!!true", "true"}, Case{"null == null", "true"},
                    Case{"size('aé') == 2 && [1].size() == 1", "true"}, Case{"true // a comment", "true"}));

INSTANTIATE_TEST_SUITE_P(
    Devices, CelTable,
    testing::Values(
        Case{R"(device.driver == "d.example")", "true"},
        Case{R"(device.driver == "d.example" && device.attributes["d.example"].type == "netdev")", "true"},
        Case{R"(device.attributes["d.example"]["mtu"] >= 1500)", "true"},
        Case{R"(device.attributes["resource.kubernetes.io"].pciBusID.startsWith("0000:3b"))", "true"},
        Case{R"(device.attributes["resource.kubernetes.io"].numaNode in [0, 1])", "true"},
        Case{R"(!device.attributes["d.example"].rdma)", "true"},
        Case{"device.allowMultipleAllocations", "true"},
        Case{R"(device.attributes["d.example"].type == 3)", "false"},
        Case{R"("d.example" in device.attributes)", "true"},
        Case{R"("pci" in device.attributes["d.example"])", "false"},
        Case{R"(device.attributes["unknown.example"] == device.attributes["other.example"])", "true"},
        Case{R"(has(device.attributes["d.example"].type) && !has(device.attributes["d.example"].pci))",
             "true"},
        Case{R"(has(device.attributes["unknown.example"].type))", "false"},
        Case{R"(device.attributes["d.example"].pci == "x")", "run: no such key: pci"},
        Case{R"(device.attributes["unknown.example"].type == "x")", "run: no such key: type"},
        Case{R"(device.attributes["d.example"].type > 3)", "run: no such overload: string > int"},
        Case{R"(device.attributes["d.example"].type)", "run: the result is a string, not a bool"},
        Case{R"(device.attributes["d.example"].pci == "x" || true)", "true"},
        Case{R"(false && device.attributes["d.example"].pci == "x")", "false"},
        Case{R"(device.attributes["d.example"].pci == "x" && false)", "false"},
        Case{R"(device.attributes["d.example"].?pci.orValue("none") == "none")", "true"},
        Case{R"(device.attributes["d.example"][?"mtu"].hasValue())", "true"},
        Case{R"(optional.of(1).value() == 1 && !optional.none().hasValue())", "true"},
        Case{R"(cel.bind(a, device.attributes["d.example"], a.mtu == 1500 && a.type == "netdev"))", "true"},
        Case{R"(["netdev", "rdma"].exists(t, t == device.attributes["d.example"].type))", "true"},
        Case{R"([1, 2, 3].all(n, n > 0) && [1, 2].map(n, n * 2) == [2, 4] && [1, 2].filter(n, n > 1) == [2])",
             "true"},
        Case{R"([1, 1].exists_one(n, n == 1))", "false"},
        Case{R"(device.attributes["d.example"].all(k, size(k) > 0))", "true"}));

INSTANTIATE_TEST_SUITE_P(
    Functions, CelTable,
    testing::Values(
        Case{R"("eth0".startsWith("eth") && "eth0".endsWith("0") && "eth0".contains("th"))", "true"},
        Case{R"("0000:3b:00.1".matches("^[0-9a-f]{4}:3b:"))", "true"},
        Case{R"("a".matches("("))", "run: matches(): bad regular expression: missing ): ("},
        Case{R"("AbC".lowerAscii() == "abc" && "abc".upperAscii() == "ABC" && " a ".trim() == "a")", "true"},
        Case{R"(int("12") + 1 == 13 && string(5) == "5" && double("1.5") == 1.5)", "true"},
        Case{R"(int("x") == 1)", "run: int(): \"x\" is not a number"},
        Case{R"(device.capacity["d.example"].bandwidth.isGreaterThan(quantity("10G")))", "true"},
        Case{R"(device.capacity["d.example"].slots.compareTo(quantity("128")) == 0)", "true"},
        Case{R"(device.capacity["d.example"].slots == quantity("0.128k"))", "true"},
        Case{R"(device.capacity["d.example"].slots.asInteger() == 128)", "true"},
        Case{R"(quantity("1Gi").sub(quantity("1Mi")).isLessThan(quantity("1Gi")))", "true"},
        Case{R"(quantity("1x") == quantity("1"))", "run: quantity(): \"1x\" is not a quantity"},
        Case{R"(device.attributes["d.example"].firmware.isLessThan(semver("22.31.1014")))", "true"},
        Case{R"(device.attributes["d.example"].firmware.major() == 22)", "true"},
        Case{R"(semver("1.0.0-alpha.2").isLessThan(semver("1.0.0-alpha.10")))", "true"},
        Case{R"(isSemver("1.2") || isQuantity("five"))", "false"},
        Case{"1 / 0 == 1", "run: division by zero"},
        Case{"9223372036854775807 + 1 > 0", "run: integer overflow"}));

INSTANTIATE_TEST_SUITE_P(
    Mistakes, CelTable,
    testing::Values(
        Case{"", "compile: column 1: unexpected end of the expression"},
        Case{"1 == 1 &&& 2 == 2", "compile: column 10: unexpected \"&\""},
        Case{"1 == 1 & 2 == 2", "compile: column 8: unexpected \"&\""},
        Case{"true &&\n  (false", "compile: line 2, column 9: expected \")\", found the end"},
        Case{"device.driver = \"x\"", "compile: column 15: unexpected \"=\""},
        Case{"device.driver == \"x", "compile: column 18: the string that starts here has no end"},
        Case{"devise.driver == 'x'",
             "compile: column 1: undeclared reference to \"devise\" (there is only `device`)"},
        Case{"device.drivers == 'x'",
             "compile: column 8: undefined field \"drivers\" of device (driver, attributes, "
             "capacity, allowMultipleAllocations)"},
        Case{"device.driver == 1", "compile: column 15: no overload of \"==\" for (string, int)"},
        Case{"device.driver", "compile: column 8: must be a bool, not a string"},
        Case{"1 + 1", "compile: column 3: must be a bool, not a int"},
        Case{"device.driver.startWith('x')", "compile: column 15: unknown function \"startWith\""},
        Case{"device.driver.startsWith()", "compile: column 15: startsWith() takes 1 argument(s), not 0"},
        Case{"has(device)",
             "compile: column 1: has() takes one field, such as has(device.attributes[\"d\"].x)"},
        Case{"99999999999999999999 > 1",
             "compile: column 1: the number 99999999999999999999 is out of range"},
        Case{"{'a': 1} == {}", "compile: column 1: unexpected \"{\""},
        Case{R"("\q" == "q")", "compile: column 2: unknown escape sequence in a string"}));

TEST(Cel, Compile_NestedTooDeeply_IsRefused) {
  EXPECT_EQ(outcome(std::string(5000, '(') + "true" + std::string(5000, ')')),
            "compile: column 101: nested too deeply");
  EXPECT_EQ(outcome(std::string(5000, '!') + "true"), "compile: column 100: nested too deeply");
  std::string chain = "true";
  for (int i = 0; i < 5000; ++i) {
    chain += " && true";
  }
  EXPECT_EQ(outcome(chain).substr(0, 8), "compile:");
}

}  // namespace
}  // namespace drydock
