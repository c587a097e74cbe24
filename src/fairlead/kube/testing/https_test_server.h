// SPDX-License-Identifier: Apache-2.0
// HttpsTestServer: a real HTTPS server on loopback for tests. Each request goes to the test's own function.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fairlead/core/pinned.h"
#include "fairlead/kube/config.h"
#include "fairlead/kube/testing/tls_test_files.h"

namespace fairlead::kube::testing {

struct TestRequest {
  std::string method, path, body, authorization, content_type, user_agent;
  std::multimap<std::string, std::string> query;
  std::string client_name;  // common name of the client's certificate
  int connection = 0;       // the client's port: identifies the connection
  [[nodiscard]] std::string parameter(const std::string& name) const {
    const auto it = query.find(name);
    return it == query.end() ? "" : it->second;
  }
};

/// What a test pushes into an open answer, from any thread. The answer stays open until end() or abort().
class TestStream : private Pinned {
 public:
  TestStream();
  ~TestStream();

  /// Sent as one chunk.
  void write(std::string bytes);
  /// The orderly end of the stream.
  void end();
  /// The connection breaks.
  void abort();

  struct State;
  [[nodiscard]] const std::shared_ptr<State>& state() const { return state_; }

 private:
  std::shared_ptr<State> state_;
};

struct TestResponse {
  int status = 200;
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  std::shared_ptr<TestStream> stream;  // instead of the body
};

class HttpsTestServer : private Pinned {
 public:
  struct Options {
    std::string names = "IP:127.0.0.1,DNS:localhost";  // in the certificate
    const TestCa* client_ca = nullptr;                 // set: clients must show a certificate of it
    int port = 0;                                      // 0: any
  };
  using Handler = std::function<TestResponse(const TestRequest&)>;

  HttpsTestServer(const TestCa& ca, const Options& options, Handler handler);
  HttpsTestServer(const TestCa& ca, Handler handler) : HttpsTestServer(ca, Options{}, std::move(handler)) {}
  /// Ends all streams.
  ~HttpsTestServer();

  [[nodiscard]] int port() const;
  [[nodiscard]] std::string url() const;
  [[nodiscard]] std::vector<TestRequest> requests() const;
  /// Trusts `ca`, no credentials.
  [[nodiscard]] ClientConfig config(const TestCa& ca) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A kubernetes Status body.
std::string status_json(int code, const std::string& reason, const std::string& message);

}  // namespace fairlead::kube::testing
