// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/http.h"
#include "fairlead/core/pinned.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "fairlead/kube/credentials.h"
#include "fairlead/kube/line_splitter.h"
#include "fairlead/kube/testing/https_test_server.h"

namespace fairlead::kube {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::HttpsTestServer;
using ::testing::SizeIs;
using testing::TestCa;
using testing::TestRequest;
using testing::TestResponse;
using testing::TestStream;

TestResponse answer_ok(const TestRequest&) { return {.body = "ok"}; }

class HttpTest : public ::testing::Test, private Pinned {
 public:
  HttpTest() {
    std::string pattern = ::testing::TempDir() + "fairlead-http-XXXXXX";
    dir_ = ::mkdtemp(pattern.data());
  }
  ~HttpTest() override { std::filesystem::remove_all(dir_); }

 protected:
  std::string write(const std::string& name, const std::string& text) {
    const std::string path = dir_ + "/" + name;
    std::ofstream(path + ".new") << text;
    std::filesystem::rename(path + ".new", path);
    return path;
  }
  Result<HttpResponse> get(const ClientConfig& config) {
    auto http = Http::open(config, clock_);
    if (!http) {
      return std::move(http).error();
    }
    return (*http)->perform({.target = "/x"});
  }

  TestCa ca_;
  VirtualClock clock_;
  std::string dir_;
};

TEST_F(HttpTest, ServerOfTheRightCaIsTrusted) {
  const HttpsTestServer server(ca_, answer_ok);
  const auto response = get(server.config(ca_));
  ASSERT_TRUE(response) << response.error().what();
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->body, "ok");
}

TEST_F(HttpTest, ServerOfAnotherCaIsRefused) {
  const HttpsTestServer server(ca_, answer_ok);
  const TestCa other("another CA");
  const auto response = get(server.config(other));
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code(), Code::kDenied) << response.error().what();
  EXPECT_THAT(response.error().what(), HasSubstr("credentials from test"));
  EXPECT_THAT(server.requests(), SizeIs(0)) << "nothing may be sent to a server that is not trusted";
}

TEST_F(HttpTest, ServerOfAnotherCaOfTheSameNameIsRefused) {
  const HttpsTestServer server(ca_, answer_ok);
  const TestCa other;
  const auto response = get(server.config(other));
  ASSERT_FALSE(response);
  EXPECT_THAT(response.error().what(), HasSubstr("TLS with the server failed"));
  EXPECT_THAT(server.requests(), SizeIs(0));
}

TEST_F(HttpTest, ServerOutsideTheSystemsCasIsRefusedWithoutOwnCa) {
  const HttpsTestServer server(ca_, answer_ok);
  ClientConfig config = server.config(ca_);
  config.ca = {};
  EXPECT_EQ(get(config).error().code(), Code::kDenied);
}

TEST_F(HttpTest, CertificateForAnotherHostIsRefused) {
  const HttpsTestServer server(ca_, {.names = "DNS:elsewhere.example.com"}, answer_ok);
  const auto response = get(server.config(ca_));
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code(), Code::kDenied) << response.error().what();
}

TEST_F(HttpTest, TlsServerNameIsVerifiedInsteadOfTheHost) {
  const HttpsTestServer server(ca_, {.names = "DNS:elsewhere.example.com"}, answer_ok);
  ClientConfig config = server.config(ca_);
  config.tls_server_name = "elsewhere.example.com";
  const auto right = get(config);
  EXPECT_TRUE(right) << right.error().what();
  config.tls_server_name = "third.example.com";
  EXPECT_EQ(get(config).error().code(), Code::kDenied);
}

TEST_F(HttpTest, InsecureTakesAnyServer) {
  const HttpsTestServer server(ca_, {.names = "DNS:elsewhere.example.com"}, answer_ok);
  ClientConfig config = server.config(ca_);
  config.ca = {};
  config.insecure = true;
  EXPECT_TRUE(get(config));
}

TEST_F(HttpTest, PlainHttpIsRefusedUnlessInsecure) {
  const HttpsTestServer server(ca_, answer_ok);
  ClientConfig config = server.config(ca_);
  config.server = "http://127.0.0.1:" + std::to_string(server.port());
  EXPECT_EQ(get(config).error().code(), Code::kInvalid);
}

TEST_F(HttpTest, ClientCertificateProvesWhoWeAre) {
  const TestCa users;
  const HttpsTestServer server(ca_, {.client_ca = &users}, answer_ok);
  ClientConfig config = server.config(ca_);
  EXPECT_FALSE(get(config)) << "the server wants a certificate";
  const auto pair = users.issue("node-driver", "");
  config.client_certificate.text = pair.certificate;
  config.client_key.path = write("key.pem", pair.key);
  const auto response = get(config);
  ASSERT_TRUE(response) << response.error().what();
  EXPECT_EQ(server.requests().at(0).client_name, "node-driver");
}

TEST_F(HttpTest, CaFileIsReadAgainWhenItChanges) {
  const HttpsTestServer server(ca_, answer_ok);
  const TestCa other("another CA");
  ClientConfig config = server.config(ca_);
  config.ca = {.path = write("ca.crt", other.certificate()), .text = {}};
  auto http = Http::open(config, clock_);
  ASSERT_TRUE(http) << http.error().what();
  EXPECT_EQ((*http)->perform({.target = "/"}).error().code(), Code::kDenied);
  write("ca.crt", ca_.certificate());
  const auto response = (*http)->perform({.target = "/"});
  EXPECT_TRUE(response) << response.error().what();
}

TEST_F(HttpTest, CaFileThatBreaksLaterLeavesTheLastGoodOne) {
  const HttpsTestServer server(ca_, answer_ok);
  ClientConfig config = server.config(ca_);
  config.ca = {.path = write("ca.crt", ca_.certificate()), .text = {}};
  auto http = Http::open(config, clock_);
  ASSERT_TRUE(http) << http.error().what();
  write("ca.crt", "half a fi");
  EXPECT_TRUE((*http)->perform({.target = "/"}));
  std::filesystem::remove(dir_ + "/ca.crt");
  EXPECT_TRUE((*http)->perform({.target = "/"}));
}

TEST_F(HttpTest, CredentialFileThatIsNotThereFailsOpenAndIsNamed) {
  ClientConfig config{.server = "https://127.0.0.1:1", .origin = "kubeconfig k"};
  config.ca.path = dir_ + "/none.crt";
  const auto no_ca = Http::open(config, clock_);
  ASSERT_FALSE(no_ca);
  EXPECT_THAT(no_ca.error().what(), HasSubstr("kubeconfig k: open " + dir_ + "/none.crt"));
  config.ca.path.clear();
  config.token_file = write("token", "two\nlines");
  EXPECT_THAT(Http::open(config, clock_).error().what(), HasSubstr("control characters"));
  config.token_file = write("token", "\n");
  EXPECT_THAT(Http::open(config, clock_).error().what(), HasSubstr("is empty"));
  config.token_file.clear();
  config.token = "a\r\nX-Remote-User: admin";
  EXPECT_EQ(Http::open(config, clock_).error().code(), Code::kInvalid);
}

TEST_F(HttpTest, TokenFileIsReadAgainAfterAMinute) {
  const HttpsTestServer server(ca_, answer_ok);
  ClientConfig config = server.config(ca_);
  config.token = "from-the-config";
  config.token_file = write("token", "first\n");
  auto http = Http::open(config, clock_);
  ASSERT_TRUE(http) << http.error().what();
  ASSERT_TRUE((*http)->perform({.target = "/"}));
  write("token", "second\n");
  clock_.advance(seconds(59));
  ASSERT_TRUE((*http)->perform({.target = "/"}));
  clock_.advance(seconds(1));
  ASSERT_TRUE((*http)->perform({.target = "/"}));
  const auto requests = server.requests();
  EXPECT_EQ(requests.at(0).authorization, "Bearer first");
  EXPECT_EQ(requests.at(1).authorization, "Bearer first");
  EXPECT_EQ(requests.at(2).authorization, "Bearer second");
}

TEST_F(HttpTest, TokenFileIsReadAgainAtOnceAfterA401) {
  const HttpsTestServer server(ca_, [](const TestRequest& request) {
    return TestResponse{.status = request.authorization == "Bearer second" ? 200 : 401};
  });
  ClientConfig config = server.config(ca_);
  config.token_file = write("token", "first");
  auto http = Http::open(config, clock_);
  ASSERT_TRUE(http) << http.error().what();
  EXPECT_EQ((*http)->perform({.target = "/"})->status, 401);
  EXPECT_THAT(server.requests(), SizeIs(1)) << "the same token is not worth a second try";
  write("token", "second");
  EXPECT_EQ((*http)->perform({.target = "/"})->status, 200);
  EXPECT_THAT(server.requests(), SizeIs(3));
}

TEST_F(HttpTest, OneConnectionServesManyRequests) {
  const HttpsTestServer server(ca_, answer_ok);
  auto http = Http::open(server.config(ca_), clock_);
  ASSERT_TRUE(http) << http.error().what();
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE((*http)->perform({.target = "/"}));
  }
  const auto requests = server.requests();
  for (const auto& request : requests) {
    EXPECT_EQ(request.connection, requests.at(0).connection);
  }
}

TEST_F(HttpTest, AnswerOverTheLimitIsCut) {
  const HttpsTestServer server(
      ca_, [](const TestRequest&) { return TestResponse{.body = std::string(100'000, 'x')}; });
  auto http = Http::open(server.config(ca_), clock_);
  ASSERT_TRUE(http) << http.error().what();
  const auto response = (*http)->perform({.target = "/", .max_body = 99'999});
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code(), Code::kOverflow);
  EXPECT_TRUE((*http)->perform({.target = "/", .max_body = 100'000}));
}

TEST_F(HttpTest, RedirectsAreNotFollowed) {
  const HttpsTestServer server(ca_, [](const TestRequest&) {
    return TestResponse{.status = 302, .headers = {{"Location", "/elsewhere"}}};
  });
  EXPECT_EQ(get(server.config(ca_))->status, 302);
  EXPECT_THAT(server.requests(), SizeIs(1)) << "a redirect would carry our token to another place";
}

/// Serves one stream that the test writes, and reads it.
class StreamTest : public HttpTest {
 protected:
  StreamTest() {
    stream_ = std::make_shared<TestStream>();
    server_ = std::make_unique<HttpsTestServer>(
        ca_, [this](const TestRequest&) { return TestResponse{.stream = stream_}; });
  }
  Result<HttpResponse> read(const StreamOptions& options, const std::stop_token& stop = {}) {
    auto http = Http::open(server_->config(ca_), clock_);
    if (!http) {
      return std::move(http).error();
    }
    return (*http)->stream({.target = "/watch", .stop = stop}, options, [this](std::string_view line) {
      lines_.emplace_back(line);
      return on_line_ ? on_line_() : Result<>{};
    });
  }

  std::shared_ptr<TestStream> stream_;
  std::unique_ptr<HttpsTestServer> server_;
  std::vector<std::string> lines_;
  std::function<Result<>()> on_line_;
};

const StreamOptions patient{.idle_timeout = std::chrono::minutes(1), .max_line = 1 << 20, .on_open = {}};

TEST_F(StreamTest, LinesSplitOverChunksComeWhole) {
  stream_->write("{\"a\":");
  stream_->write("1}\n{\"b\"");
  stream_->write(":2}\n\n{\"c\":3}\n{\"last\":");
  stream_->write("4}");
  stream_->end();
  const auto end = read(patient);
  ASSERT_TRUE(end) << end.error().what();
  EXPECT_THAT(lines_, ElementsAre("{\"a\":1}", "{\"b\":2}", "{\"c\":3}", "{\"last\":4}"));
}

TEST_F(StreamTest, HalfALineBeforeABreakIsNotALine) {
  on_line_ = [this] {
    stream_->abort();
    return Result<>{};
  };
  stream_->write("whole\nhal");
  const auto end = read(patient);
  EXPECT_EQ(end.error().code(), Code::kUnavailable);
  EXPECT_THAT(lines_, ElementsAre("whole"));
}

TEST_F(StreamTest, SilenceIsATimeout) {
  stream_->write("one\n");
  const auto end = read({.idle_timeout = milliseconds(30), .max_line = 100, .on_open = {}});
  EXPECT_EQ(end.error().code(), Code::kTimeout);
  EXPECT_THAT(end.error().what(), HasSubstr("nothing came for 30 ms"));
}

TEST_F(StreamTest, LineOverTheLimitEndsTheStream) {
  stream_->write("short\n" + std::string(60, 'x'));
  stream_->write(std::string(60, 'x'));
  const auto end = read({.idle_timeout = std::chrono::minutes(1), .max_line = 100, .on_open = {}});
  EXPECT_EQ(end.error().code(), Code::kOverflow);
  EXPECT_THAT(lines_, ElementsAre("short"));
}

TEST_F(StreamTest, StopEndsAReadThatWaits) {
  std::stop_source stop;
  on_line_ = [&] {
    stop.request_stop();
    return Result<>{};
  };
  stream_->write("one\n");
  EXPECT_EQ(read(patient, stop.get_token()).error().code(), Code::kCancelled);
}

TEST_F(StreamTest, ErrorOfTheReaderComesBack) {
  on_line_ = [] { return Result<>(Error(Code::kGone, "that version is no more")); };
  stream_->write("one\ntwo\n");
  const auto end = read(patient);
  EXPECT_EQ(end.error().code(), Code::kGone);
  EXPECT_THAT(lines_, ElementsAre("one"));
}

TEST_F(StreamTest, OnOpenComesBeforeTheFirstLine) {
  int opened = 0;
  StreamOptions options = patient;
  options.on_open = [&] {
    EXPECT_THAT(lines_, SizeIs(0));
    ++opened;
    stream_->end();
  };
  EXPECT_TRUE(read(options));
  EXPECT_EQ(opened, 1);
}

TEST(LineSplitter, AnySplitGivesTheSameLines) {
  std::mt19937 random(7);  // NOLINT(cert-msc51-cpp): the same cases in every run
  for (int round = 0; round < 500; ++round) {
    std::string text;
    std::vector<std::string> expected(1);
    for (int i = 0; i < 60; ++i) {
      const char c = "ab\n\r{"[random() % 5];
      text += c;
      c == '\n' ? expected.emplace_back() : expected.back() += c;
    }
    std::erase(expected, "");
    LineSplitter splitter(1000);
    std::vector<std::string> lines;
    const auto keep = [&](std::string_view line) {
      lines.emplace_back(line);
      return Result<>{};
    };
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t size = 1 + (random() % 9);
      ASSERT_TRUE(splitter.feed(std::string_view(text).substr(at, size), keep));
      at += size;
    }
    ASSERT_TRUE(splitter.finish(keep));
    ASSERT_EQ(lines, expected) << text;
  }
}

TEST(LineSplitter, LimitIsPerLineNotPerStream) {
  LineSplitter splitter(10);
  const auto ignore = [](std::string_view) { return Result<>{}; };
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(splitter.feed("0123456789\n", ignore));
  }
  ASSERT_TRUE(splitter.feed("01234", ignore));
  EXPECT_EQ(splitter.feed("567890\n", ignore).error().code(), Code::kOverflow);
}

TEST(PercentEncode, LeavesOnlyUnreservedCharacters) {
  EXPECT_EQ(percent_encode("aZ0-._~"), "aZ0-._~");
  EXPECT_EQ(percent_encode("a/b=c,\xc3\xa9 ?"), "a%2Fb%3Dc%2C%C3%A9%20%3F");
}

}  // namespace
}  // namespace fairlead::kube
