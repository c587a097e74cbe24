// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/reflector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>
#include <ostream>

#include "fairlead/core/fd.h"
#include "fairlead/kube/resources/slice.h"
#include "fairlead/kube/testing/https_test_server.h"

namespace fairlead::kube {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::HttpsTestServer;
using testing::status_json;
using testing::TestCa;
using testing::TestRequest;
using testing::TestResponse;
using testing::TestStream;

json slice_of(const std::string& name, const std::string& version) {
  return {{"metadata", {{"name", name}, {"resourceVersion", version}, {"uid", "uid-" + name}}},
          {"spec", {{"driver", "d"}, {"nodeName", "n1"}}}};
}

std::string event(const std::string& type, const json& object) {
  return json{{"type", type}, {"object", object}}.dump() + "\n";
}

std::string bookmark(const std::string& version) {
  return event("BOOKMARK", {{"kind", "ResourceSlice"}, {"metadata", {{"resourceVersion", version}}}});
}

std::string list_of(const std::vector<json>& items, const std::string& version,
                    const std::string& next = "") {
  return json{{"metadata", {{"resourceVersion", version}, {"continue", next}}}, {"items", items}}.dump();
}

bool is_watch(const TestRequest& request) { return request.parameter("watch") == "true"; }

/// What the reflector told, in order: "sync a b", "ADDED c", ... and a wait for it.
class Log {
 public:
  void add(std::string entry) {
    const std::lock_guard lock(mutex_);
    entries_.push_back(std::move(entry));
    changed_.notify_all();
  }
  /// Until there are `count` entries; generous, for slow machines.
  std::vector<std::string> wait(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, seconds(60), [&] { return entries_.size() >= count; });
    return entries_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> entries_;
};

using SliceReflector = TypedReflector<ResourceSlice>;

class ReflectorTest : public ::testing::Test {
 protected:
  void serve(HttpsTestServer::Handler handler) {
    handler_ = std::move(handler);
    start_server(0);
  }
  void start_server(int port) {
    server_ = std::make_unique<HttpsTestServer>(ca_, HttpsTestServer::Options{.port = port}, handler_);
  }
  /// Ends reflector and server before the test's own variables go, which the server's handler uses.
  [[nodiscard]] auto reflect(ReflectorOptions options = {}) {
    begin(std::move(options));
    return ScopeExit([this] {
      reflector_->stop();
      server_.reset();
    });
  }
  void begin(ReflectorOptions options) {
    // No limit of requests per second: the tests wait for what happens, not for time.
    auto client = Client::open(server_->config(ca_), {.qps = 0});
    EXPECT_TRUE(client) << client.error().what();
    client_ = *std::move(client);
    options.clock = &clock_;
    options.on_error = [this](const Error& error) { errors_.add(error.what()); };
    reflector_ = std::make_unique<SliceReflector>(
        *client_, selection_of({.driver = "d", .node_name = "n1"}).value(),
        SliceReflector::Callbacks{.on_sync =
                                      [this](const std::vector<ResourceSlice>& all) {
                                        std::string entry = "sync";
                                        for (const auto& slice : all) {
                                          entry += " " + slice.meta.name;
                                        }
                                        log_.add(entry);
                                      },
                                  .on_event =
                                      [this](EventType type, const ResourceSlice& slice) {
                                        constexpr const char* kNames[] = {"added ", "modified ", "deleted "};
                                        log_.add(kNames[static_cast<int>(type)] + slice.meta.name);
                                      }},
        options);
    reflector_->start();
  }
  /// The watch requests that the server has seen.
  std::vector<TestRequest> watches() {
    auto all = server_->requests();
    std::erase_if(all, [](const TestRequest& request) { return !is_watch(request); });
    return all;
  }

  TestCa ca_;
  VirtualClock clock_{VirtualClock::Mode::kJump};  // back-off costs no time
  HttpsTestServer::Handler handler_;
  std::unique_ptr<HttpsTestServer> server_;
  std::unique_ptr<Client> client_;
  Log log_, errors_;
  std::unique_ptr<SliceReflector> reflector_;
};

TEST_F(ReflectorTest, ListsThenTellsEveryChange) {
  auto stream = std::make_shared<TestStream>();
  serve([&](const TestRequest& request) {
    return is_watch(request) ? TestResponse{.stream = stream}
                             : TestResponse{.body = list_of({slice_of("a", "3")}, "5")};
  });
  const auto running = reflect();
  stream->write(event("ADDED", slice_of("b", "6")));
  const std::string split = event("MODIFIED", slice_of("b", "7")) + event("DELETED", slice_of("a", "8"));
  stream->write(split.substr(0, 20));
  stream->write(split.substr(20));
  EXPECT_THAT(log_.wait(4), ElementsAre("sync a", "added b", "modified b", "deleted a"));
  EXPECT_TRUE(reflector_->healthy());
  const auto watch = watches().at(0);
  EXPECT_EQ(watch.parameter("resourceVersion"), "5");
  EXPECT_EQ(watch.parameter("allowWatchBookmarks"), "true");
  EXPECT_EQ(watch.parameter("fieldSelector"), "spec.driver=d,spec.nodeName=n1");
  const int timeout = std::stoi(watch.parameter("timeoutSeconds"));
  EXPECT_GE(timeout, 300);
  EXPECT_LT(timeout, 600);
}

TEST_F(ReflectorTest, ListOfSeveralPagesIsOneSync) {
  auto stream = std::make_shared<TestStream>();
  serve([&](const TestRequest& request) {
    if (is_watch(request)) {
      return TestResponse{.stream = stream};
    }
    const bool first = request.parameter("continue").empty();
    EXPECT_EQ(request.parameter("limit"), "1");
    return TestResponse{.body = first ? list_of({slice_of("a", "3")}, "5", "more")
                                      : list_of({slice_of("b", "4")}, "5")};
  });
  const auto running = reflect({.page_size = 1});
  EXPECT_THAT(log_.wait(1), ElementsAre("sync a b"));
}

TEST_F(ReflectorTest, WatchThatEndsGoesOnFromTheNewestVersionWithoutAList) {
  std::atomic<int> watched = 0;
  auto last = std::make_shared<TestStream>();
  serve([&](const TestRequest& request) {
    if (!is_watch(request)) {
      return TestResponse{.body = list_of({}, "5")};
    }
    auto stream = std::make_shared<TestStream>();
    switch (++watched) {
      case 1:
        stream->write(event("ADDED", slice_of("a", "6")));
        stream->end();
        return TestResponse{.stream = stream};
      case 2:
        stream->write(bookmark("90"));
        stream->end();
        return TestResponse{.stream = stream};
      default:
        last->write(event("ADDED", slice_of("b", "91")));
        return TestResponse{.stream = last};
    }
  });
  const auto running = reflect();
  EXPECT_THAT(log_.wait(3), ElementsAre("sync", "added a", "added b"));
  const auto seen = watches();
  EXPECT_EQ(seen.at(1).parameter("resourceVersion"), "6");
  EXPECT_EQ(seen.at(2).parameter("resourceVersion"), "90") << "the bookmark's version";
}

struct GoneCase {
  const char* name;
  TestResponse (*answer)();
};

// NOLINTNEXTLINE(readability-identifier-naming): gtest's name
void PrintTo(const GoneCase& row, std::ostream* out) { *out << row.name; }

class ReflectorGone : public ReflectorTest, public ::testing::WithParamInterface<GoneCase> {};

TEST_P(ReflectorGone, ListsAgain) {
  std::atomic<int> lists = 0;
  std::atomic<int> watched = 0;
  auto stream = std::make_shared<TestStream>();
  serve([&](const TestRequest& request) {
    if (is_watch(request)) {
      return ++watched == 1 ? GetParam().answer() : TestResponse{.stream = stream};
    }
    return ++lists == 1 ? TestResponse{.body = list_of({slice_of("a", "3")}, "5")}
                        : TestResponse{.body = list_of({slice_of("b", "9")}, "10")};
  });
  const auto running = reflect();
  EXPECT_THAT(log_.wait(2), ElementsAre("sync a", "sync b"));
  stream->write(event("ADDED", slice_of("c", "11")));
  (void)log_.wait(3);
  EXPECT_EQ(watches().at(1).parameter("resourceVersion"), "10");
}

TestResponse stream_with(const std::string& text) {
  auto stream = std::make_shared<TestStream>();
  if (!text.empty()) {  // an empty chunk would be the end already
    stream->write(text);
  }
  stream->end();
  return {.stream = stream};
}

INSTANTIATE_TEST_SUITE_P(
    All, ReflectorGone,
    ::testing::Values(
        GoneCase{"http_410",
                 [] { return TestResponse{.status = 410, .body = status_json(410, "Expired", "old")}; }},
        GoneCase{"error_event",
                 [] { return stream_with(event("ERROR", json::parse(status_json(410, "Expired", "old")))); }},
        GoneCase{"version_of_another_server",
                 [] {
                   json status = json::parse(status_json(504, "Timeout", "Too large resource version"));
                   status["details"]["causes"] = {{{"reason", "ResourceVersionTooLarge"}}};
                   return TestResponse{.status = 504, .body = status.dump()};
                 }},
        GoneCase{"forbidden",
                 [] { return TestResponse{.status = 403, .body = status_json(403, "Forbidden", "no")}; }},
        GoneCase{"malformed_line", [] { return stream_with("{\"type\":\"ADDED\",\"obj\n"); }},
        GoneCase{"object_of_wrong_type",
                 [] {
                   return stream_with(R"({"type":"ADDED","object":{"spec":{"devices":7}}})"
                                      "\n");
                 }},
        GoneCase{"oversized_line",
                 [] { return stream_with(std::string(std::size_t{5} << 20, 'x') + "\n"); }}),
    [](const auto& row) { return std::string(row.param.name); });

TEST_F(ReflectorTest, BrokenConnectionIsWatchedAgainFromTheNewestVersion) {
  std::atomic<int> watched = 0;
  std::atomic<int> lists = 0;
  auto first = std::make_shared<TestStream>();
  auto second = std::make_shared<TestStream>();
  serve([&](const TestRequest& request) {
    if (is_watch(request)) {
      return TestResponse{.stream = ++watched == 1 ? first : second};
    }
    ++lists;
    return TestResponse{.body = list_of({}, "5")};
  });
  const auto running = reflect();
  first->write(event("ADDED", slice_of("a", "6")));
  (void)log_.wait(2);
  first->abort();
  second->write(event("ADDED", slice_of("b", "7")));
  EXPECT_THAT(log_.wait(3), ElementsAre("sync", "added a", "added b"));
  EXPECT_EQ(watches().at(1).parameter("resourceVersion"), "6");
  EXPECT_EQ(lists, 1);
}

TEST_F(ReflectorTest, ServerThatGoesAwayAndComesBackIsFoundAgain) {
  auto stream = std::make_shared<TestStream>();
  serve([&](const TestRequest& request) {
    return is_watch(request) ? TestResponse{.stream = stream} : TestResponse{.body = list_of({}, "5")};
  });
  const auto running = reflect({.relist_interval = milliseconds(0)});  // virtual hours pass
  stream->write(event("ADDED", slice_of("a", "6")));
  (void)log_.wait(2);
  const int port = server_->port();
  server_.reset();
  (void)errors_.wait(3);
  EXPECT_FALSE(reflector_->healthy());
  stream = std::make_shared<TestStream>();
  stream->write(event("ADDED", slice_of("b", "7")));
  start_server(port);
  EXPECT_EQ(log_.wait(3).back(), "added b");
  EXPECT_TRUE(reflector_->healthy());
}

TEST_F(ReflectorTest, ServerThatIsNotThereAtStartIsWaitedFor) {
  auto stream = std::make_shared<TestStream>();
  serve([&](const TestRequest& request) {
    return is_watch(request) ? TestResponse{.stream = stream}
                             : TestResponse{.body = list_of({slice_of("a", "3")}, "5")};
  });
  const int port = server_->port();
  // The client needs the address, not the server.
  const ClientConfig config = server_->config(ca_);
  server_.reset();
  auto client = Client::open(config, {.qps = 0});
  ASSERT_TRUE(client);
  SliceReflector reflector(**client, selection_of({.driver = "d", .node_name = "n1"}).value(),
                           {.on_sync = [this](const auto&) { log_.add("sync"); }, .on_event = {}},
                           {.clock = &clock_, .on_error = [this](const Error& e) { errors_.add(e.what()); }});
  reflector.start();
  EXPECT_THAT(errors_.wait(2).at(0), HasSubstr("list resourceslices at https://127.0.0.1"));
  start_server(port);
  EXPECT_THAT(log_.wait(1), ElementsAre("sync"));
  reflector.stop();
  server_.reset();
}

TEST_F(ReflectorTest, SilentConnectionIsReplaced) {
  std::atomic<int> watched = 0;
  auto silent = std::make_shared<TestStream>();
  serve([&](const TestRequest& request) {
    if (is_watch(request)) {
      return ++watched == 1 ? TestResponse{.stream = silent}
                            : stream_with(event("ADDED", slice_of("a", "6")));
    }
    return TestResponse{.body = list_of({}, "5")};
  });
  const auto running = reflect({.idle_timeout = milliseconds(100)});
  EXPECT_EQ(log_.wait(2).at(1), "added a");
  EXPECT_THAT(errors_.wait(1).at(0), HasSubstr("nothing came for 100 ms"));
}

TEST_F(ReflectorTest, StopReturnsInTheMiddleOfARead) {
  auto stream = std::make_shared<TestStream>();
  serve([&](const TestRequest& request) {
    return is_watch(request) ? TestResponse{.stream = stream} : TestResponse{.body = list_of({}, "5")};
  });
  const auto running = reflect();
  stream->write(bookmark("6"));
  (void)log_.wait(1);
  reflector_->stop();
  reflector_->stop();
  EXPECT_FALSE(reflector_->healthy());
}

TEST_F(ReflectorTest, WatchThatEndsAtOnceAgainAndAgainIsNotAHotLoop) {
  std::atomic<int> watched = 0;
  auto last = std::make_shared<TestStream>();
  serve([&](const TestRequest& request) {
    if (!is_watch(request)) {
      return TestResponse{.body = list_of({}, "5")};
    }
    if (++watched <= 12) {
      return stream_with("");
    }
    last->write(event("ADDED", slice_of("a", "6")));
    return TestResponse{.stream = last};
  });
  const auto before = clock_.now();
  const auto running = reflect();
  EXPECT_EQ(log_.wait(2).at(1), "added a");
  reflector_->stop();
  EXPECT_GT(clock_.now() - before, seconds(1)) << "virtual time: twelve growing delays";
}

/// When the server was asked, and when the reflector was told at last, in virtual time.
struct Moments {
  std::mutex mutex;
  std::vector<Clock::TimePoint> asked;
  void note(Clock::TimePoint when) {
    const std::lock_guard lock(mutex);
    asked.push_back(when);
  }
};

TEST_F(ReflectorTest, ServerBackAfterALongOutage_IsFoundWithinASecond) {
  constexpr std::size_t kFailures = 300;
  Moments moments;
  const auto last = std::make_shared<TestStream>();
  serve([&](const TestRequest& request) {
    if (is_watch(request)) {
      return TestResponse{.stream = last};
    }
    moments.note(clock_.now());
    return moments.asked.size() <= kFailures ? TestResponse{.status = 500}
                                             : TestResponse{.body = list_of({}, "5")};
  });
  const auto running = reflect();
  EXPECT_EQ(log_.wait(1).at(0), "sync");
  ASSERT_EQ(moments.asked.size(), kFailures + 1);
  EXPECT_GT(moments.asked.back() - moments.asked.front(), seconds(30)) << "a long outage";
  for (std::size_t i = 1; i < moments.asked.size(); ++i) {
    EXPECT_LE(moments.asked[i] - moments.asked[i - 1], milliseconds(500));
  }
}

TEST_F(ReflectorTest, ServerThatRefuses_IsAskedLessAndLess) {
  Moments moments;
  const auto last = std::make_shared<TestStream>();
  serve([&](const TestRequest& request) {
    if (is_watch(request)) {
      return TestResponse{.stream = last};
    }
    moments.note(clock_.now());
    return moments.asked.size() <= 14
               ? TestResponse{.status = 403, .body = status_json(403, "Forbidden", "no")}
               : TestResponse{.body = list_of({}, "5")};
  });
  const auto running = reflect();
  EXPECT_EQ(log_.wait(1).at(0), "sync");
  EXPECT_GT(moments.asked.back() - moments.asked.front(), seconds(10));
}

TEST_F(ReflectorTest, RelistIntervalListsWhenAWatchEnds) {
  std::atomic<int> watched = 0;
  auto last = std::make_shared<TestStream>();
  serve([&](const TestRequest& request) {
    if (!is_watch(request)) {
      return TestResponse{.body = list_of({}, "5")};
    }
    if (++watched == 1) {
      clock_.advance(std::chrono::minutes(11));
      return stream_with(bookmark("6"));
    }
    return TestResponse{.stream = last};
  });
  const auto running = reflect();
  EXPECT_THAT(log_.wait(2), ElementsAre("sync", "sync"));
}

}  // namespace
}  // namespace fairlead::kube
