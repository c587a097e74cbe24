// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/resources/event.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fairlead/kube/resource.h"

namespace fairlead::kube {
namespace {

TEST(Event, IsReadAsItWasWritten) {
  const Event event{
      .meta = {.name = "web.1", .namespace_ = "shop"},
      .about = {.api_version = "v1", .kind = "Pod", .namespace_ = "shop", .name = "web", .uid = "pod-uid"},
      .type = "Warning",
      .reason = "FailedPrepareClaim",
      .message = "no parent eth9",
      .component = "d.example.com",
      .host = "n1",
      .first_seen = "2026-01-01T00:00:00Z",
      .last_seen = "2026-01-01T00:05:00Z",
      .count = 7};
  const auto read = read_object<Event>(ResourceTraits<Event>::write(event));
  ASSERT_TRUE(read) << read.error().what();
  EXPECT_EQ(read->meta, event.meta);
  EXPECT_EQ(read->about.api_version, "v1");
  EXPECT_EQ(read->about.kind, "Pod");
  EXPECT_EQ(read->about.namespace_, "shop");
  EXPECT_EQ(read->about.name, "web");
  EXPECT_EQ(read->about.uid, "pod-uid");
  EXPECT_EQ(read->type, "Warning");
  EXPECT_EQ(read->reason, "FailedPrepareClaim");
  EXPECT_EQ(read->message, "no parent eth9");
  EXPECT_EQ(read->component, "d.example.com");
  EXPECT_EQ(read->host, "n1");
  EXPECT_EQ(read->first_seen, "2026-01-01T00:00:00Z");
  EXPECT_EQ(read->last_seen, "2026-01-01T00:05:00Z");
  EXPECT_EQ(read->count, 7);
}

}  // namespace
}  // namespace fairlead::kube
