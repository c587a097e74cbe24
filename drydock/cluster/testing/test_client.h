// SPDX-License-Identifier: Apache-2.0
// A small HTTPS client of the stand-in API server for tests.
#pragma once

#include <httplib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "drydock/cluster/api_server.h"
#include "drydock/cluster/cluster.h"
#include "fairlead/core/pinned.h"

namespace drydock::testing {

struct Reply {
  int status = 0;  // 0: no response
  Json body;
  std::string text, retry_after;
};

class Client : private fairlead::Pinned {
 public:
  Client(std::uint16_t port, std::string token, const std::string& ca_pem)
      : port_(port), token_(std::move(token)) {
    std::string name = std::filesystem::temp_directory_path() / "drydock-test-ca-XXXXXX";
    const int fd = ::mkstemp(name.data());
    (void)::close(fd);
    std::ofstream(name) << ca_pem;
    ca_file_ = name;
  }
  ~Client() { (void)std::filesystem::remove(ca_file_); }

  [[nodiscard]] std::unique_ptr<httplib::SSLClient> connect() const {
    auto client = std::make_unique<httplib::SSLClient>("127.0.0.1", port_);
    client->set_ca_cert_path(ca_file_);
    client->enable_server_certificate_verification(true);
    client->set_keep_alive(true);
    client->set_read_timeout(30);
    if (!token_.empty()) {
      client->set_bearer_token_auth(token_);
    }
    return client;
  }

  Reply get(const std::string& path) {
    if (!kept_) {
      kept_ = connect();
    }
    return reply(kept_->Get(path));
  }
  [[nodiscard]] Reply get(const std::string& path, const httplib::Headers& headers) const {
    return reply(connect()->Get(path, headers));
  }
  [[nodiscard]] Reply post(const std::string& path, const Json& body,
                           const std::string& type = "application/json") const {
    return reply(connect()->Post(path, body.dump(), type));
  }
  [[nodiscard]] Reply put(const std::string& path, const Json& body) const {
    return reply(connect()->Put(path, body.dump(), "application/json"));
  }
  [[nodiscard]] Reply patch(const std::string& path, const Json& body, const std::string& type) const {
    return reply(connect()->Patch(path, body.dump(), type));
  }
  [[nodiscard]] Reply remove(const std::string& path) const { return reply(connect()->Delete(path)); }
  [[nodiscard]] Reply remove(const std::string& path, const Json& body) const {
    return reply(connect()->Delete(path, body.dump(), "application/json"));
  }

 private:
  static Reply reply(const httplib::Result& result) {
    Reply out;
    if (result) {
      out.status = result->status;
      out.text = result->body;
      out.body = Json::parse(result->body, nullptr, false);
      out.retry_after = result->get_header_value("Retry-After");
    }
    return out;
  }

  std::uint16_t port_;
  std::string token_, ca_file_;
  std::unique_ptr<httplib::SSLClient> kept_;
};

/// A watch on a thread; its events are waited for.
class WatchReader : private fairlead::Pinned {
 public:
  WatchReader(const Client& client, const std::string& path) : client_(client.connect()) {
    thread_ = std::thread([this, path] {
      (void)client_->Get(
          path, [this](const char* data, std::size_t size) { return take(std::string(data, size)); });
      const std::lock_guard lock(mutex_);
      ended_ = true;
      changed_.notify_all();
    });
  }
  ~WatchReader() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    client_->stop();
    thread_.join();
  }

  /// The first event from `from` on that pleases, or null at the deadline.
  Json wait(const std::function<bool(const Json&)>& pleases) {
    std::unique_lock lock(mutex_);
    Json found;
    std::size_t looked = 0;
    (void)changed_.wait_for(lock, std::chrono::seconds(20), [&] {
      for (; looked < events_.size(); ++looked) {
        if (pleases(events_[looked])) {
          found = events_[looked];
          return true;
        }
      }
      return ended_;
    });
    return found;
  }
  Json wait_type(const std::string& type) {
    return wait([&](const Json& event) { return event["type"] == type; });
  }
  bool wait_end() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [&] { return ended_; });
  }

 private:
  bool take(const std::string& data) {
    const std::lock_guard lock(mutex_);
    rest_ += data;
    for (auto newline = rest_.find('\n'); newline != std::string::npos; newline = rest_.find('\n')) {
      events_.push_back(Json::parse(rest_.substr(0, newline), nullptr, false));
      rest_.erase(0, newline + 1);
    }
    changed_.notify_all();
    return !stop_;
  }

  std::unique_ptr<httplib::SSLClient> client_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string rest_;
  std::vector<Json> events_;
  bool ended_ = false, stop_ = false;
  std::thread thread_;
};

}  // namespace drydock::testing
