// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/testing/https_test_server.h"

#include <httplib.h>

#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

namespace fairlead::kube::testing {

struct TestStream::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::string> pieces;
  bool ended = false;
  bool aborted = false;

  /// Sends the next piece; false breaks the connection.
  bool pump(httplib::DataSink& sink) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return ended || aborted || !pieces.empty(); });
    if (aborted) {
      return false;
    }
    if (!pieces.empty()) {
      const std::string piece = std::move(pieces.front());
      pieces.pop_front();
      lock.unlock();
      return sink.write(piece.data(), piece.size());
    }
    sink.done();
    return true;
  }

  void finish(bool& flag) {
    const std::lock_guard lock(mutex);
    flag = true;
    changed.notify_all();
  }
};

TestStream::TestStream() : state_(std::make_shared<State>()) {}
TestStream::~TestStream() { end(); }

void TestStream::write(std::string bytes) {
  const std::lock_guard lock(state_->mutex);
  state_->pieces.push_back(std::move(bytes));
  state_->changed.notify_all();
}
void TestStream::end() { state_->finish(state_->ended); }
void TestStream::abort() { state_->finish(state_->aborted); }

namespace {

struct Free {
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(BIO* bio) const { BIO_free_all(bio); }
};

void must(bool ok, const char* what) {
  if (!ok) {
    (void)std::fprintf(stderr, "test server: %s failed\n", what);
    std::abort();
  }
}

std::unique_ptr<BIO, Free> bio_of(const std::string& pem) {
  return std::unique_ptr<BIO, Free>(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

std::unique_ptr<X509, Free> certificate_of(const std::string& pem) {
  return std::unique_ptr<X509, Free>(PEM_read_bio_X509(bio_of(pem).get(), nullptr, nullptr, nullptr));
}

/// The server takes ownership of it.
X509_STORE* store_of(const TestCa& ca) {
  X509_STORE* const store = X509_STORE_new();
  must(store != nullptr && X509_STORE_add_cert(store, certificate_of(ca.certificate()).get()) == 1,
       "CA store");
  return store;
}

std::string common_name_of(SSL* ssl) {
  const std::unique_ptr<X509, Free> peer(ssl == nullptr ? nullptr : SSL_get1_peer_certificate(ssl));
  if (peer == nullptr) {
    return {};
  }
  std::array<char, 256> name{};
  X509_NAME_get_text_by_NID(X509_get_subject_name(peer.get()), NID_commonName, name.data(),
                            static_cast<int>(name.size()));
  return name.data();
}

}  // namespace

struct HttpsTestServer::Impl {
  Impl(const CertificateAndKey& pair, const TestCa* client_ca, Handler given)
      : handler(std::move(given)),
        server(certificate_of(pair.certificate).get(),
               std::unique_ptr<EVP_PKEY, Free>(
                   PEM_read_bio_PrivateKey(bio_of(pair.key).get(), nullptr, nullptr, nullptr))
                   .get(),
               client_ca == nullptr ? nullptr : store_of(*client_ca)) {}

  void serve(const httplib::Request& in, httplib::Response& out) {
    TestRequest request{.method = in.method,
                        .path = in.path,
                        .body = in.body,
                        .authorization = in.get_header_value("Authorization"),
                        .content_type = in.get_header_value("Content-Type"),
                        .user_agent = in.get_header_value("User-Agent"),
                        .query = {in.params.begin(), in.params.end()},
                        .client_name = common_name_of(const_cast<SSL*>(in.ssl)),
                        .connection = in.remote_port};
    {
      const std::lock_guard lock(mutex);
      seen.push_back(request);
    }
    TestResponse response = handler(request);
    out.status = response.status;
    for (const auto& [name, value] : response.headers) {
      out.set_header(name, value);
    }
    if (response.stream == nullptr) {
      out.set_content(response.body, "application/json");
      return;
    }
    auto state = response.stream->state();
    {
      const std::lock_guard lock(mutex);
      streams.push_back(state);
      if (closing) {
        state->finish(state->aborted);
      }
    }
    out.set_chunked_content_provider(
        "application/json", [state](std::size_t, httplib::DataSink& sink) { return state->pump(sink); });
  }

  Handler handler;
  httplib::SSLServer server;
  int port = 0;
  mutable std::mutex mutex;
  std::vector<TestRequest> seen;
  std::vector<std::shared_ptr<TestStream::State>> streams;
  bool closing = false;
  std::thread thread;
};

HttpsTestServer::HttpsTestServer(const TestCa& ca, const Options& options, Handler handler)
    : impl_(std::make_unique<Impl>(ca.issue("test server", options.names), options.client_ca,
                                   std::move(handler))) {
  httplib::SSLServer& server = impl_->server;
  must(server.is_valid(), "TLS set-up");
  const auto serve = [impl = impl_.get()](const httplib::Request& in, httplib::Response& out) {
    impl->serve(in, out);
  };
  server.Get(".*", serve);
  server.Post(".*", serve);
  server.Put(".*", serve);
  server.Patch(".*", serve);
  server.Delete(".*", serve);
  server.set_keep_alive_max_count(1000);
  if (options.port == 0) {
    impl_->port = server.bind_to_any_port("127.0.0.1");
  } else {
    must(server.bind_to_port("127.0.0.1", options.port), "bind");
    impl_->port = options.port;
  }
  must(impl_->port > 0, "bind");
  impl_->thread = std::thread([&server] { server.listen_after_bind(); });
  while (!server.is_running()) {
    std::this_thread::yield();
  }
}

HttpsTestServer::~HttpsTestServer() {
  impl_->server.stop();
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->closing = true;
    for (const auto& state : impl_->streams) {
      state->finish(state->aborted);
    }
  }
  impl_->thread.join();
}

int HttpsTestServer::port() const { return impl_->port; }
std::string HttpsTestServer::url() const { return "https://127.0.0.1:" + std::to_string(impl_->port); }

std::vector<TestRequest> HttpsTestServer::requests() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->seen;
}

ClientConfig HttpsTestServer::config(const TestCa& ca) const {
  ClientConfig config;
  config.server = url();
  config.ca.text = ca.certificate();
  config.origin = "test";
  return config;
}

std::string status_json(int code, const std::string& reason, const std::string& message) {
  return nlohmann::json{{"kind", "Status"}, {"apiVersion", "v1"}, {"status", "Failure"},
                        {"reason", reason}, {"message", message}, {"code", code}}
      .dump();
}

}  // namespace fairlead::kube::testing
