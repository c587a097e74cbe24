// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/install/daemonset.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "fairlead/kube/client.h"
#include "fairlead/kube/testing/https_test_server.h"

namespace fairlead::agent {
namespace {

TEST(DaemonSetName, MustBeNamespaceAndName) {
  EXPECT_TRUE(validate_daemonset("fairlead/fairlead"));
  for (const char* wrong : {"", "fairlead", "/x", "x/", "a/b/c", "a b/c", "../../x"}) {
    EXPECT_FALSE(validate_daemonset(wrong)) << wrong;
  }
}

struct Answer {
  int status;
  std::string body;
  std::optional<DaemonSetFate> fate;  // nothing: cannot be told
};

TEST(DaemonSetFate, IsToldByTheObjectAndByOurRights) {
  using enum DaemonSetFate;
  const kube::testing::TestCa ca("fairlead test CA");
  for (const Answer& answer :
       {Answer{200, R"({"spec":{"template":{"metadata":{"annotations":{"fairlead-link-marks":"2"}}}}})",
               kStays},
        Answer{200, R"({"kind":"DaemonSet","metadata":{"name":"fairlead"}})", kStays},
        Answer{200, R"({"spec":{"template":{"metadata":{"annotations":{"other":"2"}}}}})", kRolledBack},
        Answer{200, R"({"spec":{"template":{"metadata":{"labels":{}}}}})", kRolledBack},
        Answer{200, R"({"metadata":{"deletionTimestamp":"2026-01-01T00:00:00Z"},"spec":{"template":{}}})",
               kUninstalled},
        Answer{200, "no JSON", kStays},
        Answer{404, kube::testing::status_json(404, "NotFound", "daemonsets not found"), kUninstalled},
        Answer{403, kube::testing::status_json(403, "Forbidden", "no"), kUninstalled},
        Answer{401, kube::testing::status_json(401, "Unauthorized", "no"), kUninstalled},
        Answer{400, kube::testing::status_json(400, "BadRequest", "what"), std::nullopt}}) {
    const kube::testing::HttpsTestServer server(ca, [&](const kube::testing::TestRequest& request) {
      EXPECT_EQ(request.path, "/apis/apps/v1/namespaces/net/daemonsets/fairlead");
      return kube::testing::TestResponse{
          .status = answer.status, .body = answer.body, .headers = {}, .stream = {}};
    });
    const auto client = kube::Client::open(server.config(ca));
    ASSERT_TRUE(client) << client.error().what();
    const auto fate = daemonset_fate(**client, "net/fairlead");
    ASSERT_EQ(fate.has_value(), answer.fate.has_value()) << answer.status;
    if (fate) {
      EXPECT_EQ(*fate, *answer.fate) << answer.status << answer.body;
    }
  }
}

TEST(DaemonSetFate, ServerWhoseCertificateIsNotKnown_IsAnError) {
  const kube::testing::TestCa ca("fairlead test CA");
  const kube::testing::TestCa other("another CA");
  const kube::testing::HttpsTestServer server(ca, [&](const kube::testing::TestRequest&) {
    return kube::testing::TestResponse{.status = 404, .body = "{}", .headers = {}, .stream = {}};
  });
  const auto client = kube::Client::open(server.config(other));
  ASSERT_TRUE(client) << client.error().what();
  ASSERT_FALSE(daemonset_fate(**client, "net/fairlead")) << "the guard would be removed";
}

}  // namespace
}  // namespace fairlead::agent
