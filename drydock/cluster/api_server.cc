// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/api_server.h"

#include <httplib.h>

#include <atomic>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <thread>

#include "drydock/cluster/growing_pool.h"
#include "drydock/cluster/ids.h"
#include "drydock/cluster/open_connections.h"
#include "drydock/cluster/rest.h"
#include "drydock/cluster/tls.h"

namespace drydock {
namespace {

using fairlead::Code;
using fairlead::ConditionVariable;
using fairlead::Error;
using fairlead::Lock;
using fairlead::Mutex;
using fairlead::Result;

constexpr std::size_t kMaxRequests = 4096;
/// How long a watch waits before it looks whether its client is still there.
constexpr std::chrono::milliseconds kWatchSlice{500};

std::string dump(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string_view event_name(WatchEvent::Type type) {
  switch (type) {
    case WatchEvent::Type::kAdded:
      return "ADDED";
    case WatchEvent::Type::kModified:
      return "MODIFIED";
    case WatchEvent::Type::kDeleted:
      return "DELETED";
  }
  return "";
}

std::string line(std::string_view type, const Json& object) {
  return dump({{"type", type}, {"object", object}}) + "\n";
}

bool is_public(std::string_view path) {
  return path == "/version" || path == "/readyz" || path == "/healthz" || path == "/livez";
}

/// The lines of one watch, produced on the connection's thread.
class WatchStream {
 public:
  WatchStream(std::shared_ptr<Watch> watch, rest::WatchPlan plan, std::chrono::milliseconds bookmark_interval)
      : watch_(std::move(watch)),
        plan_(std::move(plan)),
        interval_(bookmark_interval),
        end_(Clock::now() + plan_.timeout),
        bookmark_(Clock::now() + interval_) {}

  /// False when the client is gone.
  bool pump(httplib::DataSink& sink) {
    const Clock::time_point now = Clock::now();
    if (watch_->cancelled() || now >= end_) {
      sink.done();
      return true;
    }
    auto events = watch_->next(std::min({end_, plan_.bookmarks ? bookmark_ : end_, now + kWatchSlice}));
    std::string text;
    if (!events) {
      text = line("ERROR", events.error().to_status());
      (void)sink.write(text.data(), text.size());
      sink.done();
      return true;
    }
    for (const WatchEvent& event : *events) {
      text += line(event_name(event.type), event.object);
    }
    if (plan_.bookmarks && Clock::now() >= bookmark_) {
      text += bookmark();
      bookmark_ = Clock::now() + interval_;
    }
    if (text.empty()) {
      return sink.is_writable();
    }
    return sink.write(text.data(), text.size());
  }

 private:
  [[nodiscard]] std::string bookmark() const {
    const Kind& kind = *plan_.target.kind;
    return line("BOOKMARK", {{"kind", kind.name},
                             {"apiVersion", kind.api_version()},
                             {"metadata", {{"resourceVersion", std::to_string(watch_->position())}}}});
  }

  std::shared_ptr<Watch> watch_;
  rest::WatchPlan plan_;
  std::chrono::milliseconds interval_;
  Clock::time_point end_, bookmark_;
};

rest::Call call_of(const httplib::Request& request) {
  rest::Call call;
  call.method = request.method;
  call.path = request.path;
  call.query = request.params;
  call.content_type = request.get_header_value("Content-Type");
  call.accept = request.get_header_value("Accept");
  call.body = request.body;
  return call;
}

}  // namespace

struct ApiServer::Impl {
  Impl(Store& the_store, Options the_options)
      : store(the_store), options(the_options), token(random_hex(24)) {}

  Result<> start();
  void stop();
  std::unique_ptr<httplib::SSLServer> make_server();
  void handle(const httplib::Request& request, httplib::Response& response);
  void respond(const httplib::Request& request, httplib::Response& response, const rest::Call& call);
  bool start_watch(const rest::Call& call, httplib::Response& response);
  bool fails_on_order(const rest::Call& call, httplib::Response& response);
  static void fail(httplib::Response& response, const ApiError& error);
  /// nullopt: not authenticated. With an empty name: the user with all rights.
  [[nodiscard]] std::optional<Identity> user_of(const httplib::Request& request) const;
  void wait_until_answered() FL_REQUIRES(mutex);
  [[nodiscard]] std::vector<std::string> drop_fields() const {
    const Lock lock(mutex);
    return faults.drop_fields;
  }

  Store& store;
  const Options options;
  const std::string token;
  TlsIdentity identity;
  std::uint16_t port = 0;
  OpenConnections connections;

  Mutex lifecycle;  // start and stop
  std::unique_ptr<httplib::SSLServer> server FL_GUARDED_BY(lifecycle);
  std::thread thread FL_GUARDED_BY(lifecycle);

  mutable Mutex mutex;
  bool stopping FL_GUARDED_BY(mutex) = true;
  Faults faults FL_GUARDED_BY(mutex);
  std::map<std::string, Identity> users FL_GUARDED_BY(mutex);  // by token
  std::deque<Request> requests FL_GUARDED_BY(mutex);           // answered
  std::uint64_t begun FL_GUARDED_BY(mutex) = 0;
  std::set<std::uint64_t> in_progress FL_GUARDED_BY(mutex);  // of those that begun counts
  ConditionVariable answered;
  std::set<std::shared_ptr<Watch>> watches FL_GUARDED_BY(mutex);
};

std::unique_ptr<httplib::SSLServer> ApiServer::Impl::make_server() {
  auto made = std::make_unique<httplib::SSLServer>(static_cast<X509*>(identity.certificate.get()),
                                                   static_cast<EVP_PKEY*>(identity.key.get()));
  made->new_task_queue = [] { return new GrowingPool; };
  made->set_tcp_nodelay(true);
  made->set_keep_alive_max_count(1'000'000);
  made->set_keep_alive_timeout(3600);
  made->set_read_timeout(30);
  made->set_pre_routing_handler([](const httplib::Request& request, httplib::Response&) {
    // Without this httplib would compress a watch and hold its events back until the end. The request is its
    // own, not const, object.
    const_cast<httplib::Request&>(request).headers.erase("Accept-Encoding");
    return httplib::Server::HandlerResponse::Unhandled;
  });
  const auto handler = [this](const httplib::Request& request, httplib::Response& response) {
    handle(request, response);
  };
  made->Get(".*", handler).Post(".*", handler).Put(".*", handler).Patch(".*", handler).Delete(".*", handler);
  return made;
}

Result<> ApiServer::Impl::start() {
  const Lock lock(lifecycle);
  if (server) {
    return {};
  }
  if (!identity.key) {
    FL_ASSIGN(identity, make_tls_identity(), "make the API server's certificate");
  }
  auto made = make_server();
  if (!made->is_valid()) {
    return Error(Code::kInternal, "the API server's certificate was refused by OpenSSL");
  }
  constexpr const char* kHost = "127.0.0.1";
  const int bound = port == 0 ? made->bind_to_any_port(kHost) : (made->bind_to_port(kHost, port) ? port : -1);
  if (bound <= 0) {
    return Error(Code::kUnavailable,
                 "cannot listen on 127.0.0.1" + (port == 0 ? std::string() : ":" + std::to_string(port)));
  }
  port = static_cast<std::uint16_t>(bound);
  {
    const Lock state(mutex);
    stopping = false;
  }
  connections.welcome();
  connections.watch_over(made->ssl_context());
  server = std::move(made);
  const auto ended = std::make_shared<std::atomic<bool>>(false);
  thread = std::thread([listener = server.get(), ended] {
    (void)listener->listen_after_bind();
    ended->store(true);
  });
  while (!server->is_running() && !ended->load()) {
    std::this_thread::yield();
  }
  return {};
}

void ApiServer::Impl::stop() {
  const Lock lock(lifecycle);
  if (!server) {
    return;
  }
  std::set<std::shared_ptr<Watch>> open;
  {
    const Lock state(mutex);
    stopping = true;
    open = watches;
  }
  for (const auto& watch : open) {
    watch->cancel();
  }
  server->stop();
  connections.end_all();
  thread.join();
  server.reset();
}

void ApiServer::Impl::fail(httplib::Response& response, const ApiError& error) {
  response.status = error.code;
  if (error.retry_after_seconds > 0) {
    response.set_header("Retry-After", std::to_string(error.retry_after_seconds));
  }
  response.set_content(dump(error.to_status()), "application/json");
}

void ApiServer::Impl::handle(const httplib::Request& request, httplib::Response& response) {
  const auto number = [this] {
    const Lock lock(mutex);
    in_progress.insert(++begun);
    return begun;
  }();
  try {
    respond(request, response, call_of(request));
  } catch (const std::exception& problem) {  // JSON of an unexpected structure
    fail(response, {.code = 500, .reason = "InternalError", .message = problem.what(), .causes = {}});
  }
  const Lock lock(mutex);
  in_progress.erase(number);
  requests.push_back({request.method, request.target, response.status});
  if (requests.size() > kMaxRequests) {
    requests.pop_front();
  }
  answered.notify_all();
}

/// What a request does to the store can be seen before the request is among those answered.
void ApiServer::Impl::wait_until_answered() {
  const std::uint64_t last = begun;
  while (!in_progress.empty() && *in_progress.begin() <= last) {
    answered.wait(mutex);
  }
}

void ApiServer::Impl::respond(const httplib::Request& request, httplib::Response& response,
                              const rest::Call& call) {
  response.status = 200;
  const auto user = user_of(request);
  if (!user && !is_public(call.path)) {
    fail(response, {.code = 401, .reason = "Unauthorized", .message = "Unauthorized", .causes = {}});
    return;
  }
  if (fails_on_order(call, response) || start_watch(call, response)) {
    return;
  }
  rest::Access access{.drop_fields = drop_fields(), .review = {}};
  if (user && !user->user.empty()) {
    access.review = [who = *user](const Kind& kind, const Json& before, const Json& after, Part part) {
      return review_write(who, kind, before, after, part);
    };
  }
  auto answer = rest::answer(store, call, access);
  if (!answer) {
    fail(response, answer.error());
    return;
  }
  response.status = answer->status;
  if (answer->body.is_string()) {
    response.set_content(answer->body.get<std::string>(), "text/plain");
  } else {
    response.set_content(dump(answer->body), "application/json");
  }
}

std::optional<Identity> ApiServer::Impl::user_of(const httplib::Request& request) const {
  constexpr std::string_view kScheme = "Bearer ";
  const std::string given = request.get_header_value("Authorization");
  if (!given.starts_with(kScheme)) {
    return std::nullopt;
  }
  const std::string presented = given.substr(kScheme.size());
  if (presented == token) {
    return Identity{};
  }
  const Lock lock(mutex);
  const auto found = users.find(presented);
  return found == users.end() ? std::nullopt : std::optional(found->second);
}

bool ApiServer::Impl::fails_on_order(const rest::Call& call, httplib::Response& response) {
  const Lock lock(mutex);
  if (faults.fail_requests <= 0 || (!faults.method.empty() && faults.method != call.method) ||
      call.path.find(faults.path_contains) == std::string::npos) {
    return false;
  }
  --faults.fail_requests;
  fail(response, {.code = faults.status,
                  .reason = faults.status == 429 ? "TooManyRequests" : "InternalError",
                  .message = "this request failed on order (fault injection)",
                  .causes = {},
                  .retry_after_seconds = faults.retry_after_seconds});
  return true;
}

bool ApiServer::Impl::start_watch(const rest::Call& call, httplib::Response& response) {
  auto plan = rest::plan_watch(call);
  if (!plan) {
    fail(response, plan.error());
    return true;
  }
  if (!plan->has_value()) {
    return false;
  }
  rest::WatchPlan& wanted = plan->value();
  auto started = store.watch(*wanted.target.kind, wanted.query, wanted.resource_version);
  if (!started && started.error().code == 410) {
    // The watch cache returns 200 and reports the error inside the stream.
    response.set_content(line("ERROR", started.error().to_status()), "application/json");
    return true;
  }
  if (!started) {
    fail(response, started.error());
    return true;
  }
  const auto watch = std::make_shared<Watch>(std::move(*started));
  {
    const Lock lock(mutex);
    if (stopping) {
      watch->cancel();
    }
    watches.insert(watch);
  }
  const auto stream = std::make_shared<WatchStream>(watch, std::move(wanted), options.bookmark_interval);
  response.set_chunked_content_provider(
      "application/json", [stream](std::size_t, httplib::DataSink& sink) { return stream->pump(sink); },
      [this, watch](bool) {
        const Lock lock(mutex);
        watches.erase(watch);
      });
  return true;
}

ApiServer::ApiServer(Store& store, Options options) : impl_(std::make_unique<Impl>(store, options)) {}
ApiServer::~ApiServer() { impl_->stop(); }
Result<> ApiServer::start() { return impl_->start(); }
void ApiServer::stop() { impl_->stop(); }
bool ApiServer::running() const {
  const Lock lock(impl_->lifecycle);
  return impl_->server != nullptr;
}
std::uint16_t ApiServer::port() const {
  const Lock lock(impl_->lifecycle);
  return impl_->port;
}
const std::string& ApiServer::token() const { return impl_->token; }
const std::string& ApiServer::ca_pem() const { return impl_->identity.ca_pem; }

std::string ApiServer::add_user(Identity identity) {
  std::string made = random_hex(24);
  const Lock lock(impl_->mutex);
  impl_->users.emplace(made, std::move(identity));
  return made;
}

void ApiServer::allow_driver(const std::string& token, const std::string& driver) {
  const Lock lock(impl_->mutex);
  const auto found = impl_->users.find(token);
  if (found != impl_->users.end()) {
    found->second.drivers.insert(driver);
  }
}

std::string ApiServer::kubeconfig(const std::string& token) const {
  return "apiVersion: v1\n"
         "kind: Config\n"
         "clusters:\n"
         "- name: drydock\n"
         "  cluster:\n"
         "    server: https://127.0.0.1:" +
         std::to_string(port()) +
         "\n"
         "    certificate-authority-data: " +
         base64(ca_pem()) +
         "\n"
         "users:\n"
         "- name: drydock\n"
         "  user:\n"
         "    token: " +
         token +
         "\n"
         "contexts:\n"
         "- name: drydock\n"
         "  context:\n"
         "    cluster: drydock\n"
         "    user: drydock\n"
         "current-context: drydock\n";
}

void ApiServer::set_faults(Faults faults) {
  const Lock lock(impl_->mutex);
  impl_->faults = std::move(faults);
}

std::vector<ApiServer::Request> ApiServer::requests() const {
  const Lock lock(impl_->mutex);
  impl_->wait_until_answered();
  return {impl_->requests.begin(), impl_->requests.end()};
}

void ApiServer::clear_requests() {
  const Lock lock(impl_->mutex);
  impl_->wait_until_answered();
  impl_->requests.clear();
}

}  // namespace drydock
