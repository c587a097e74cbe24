// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/reflector.h"

#include <atomic>
#include <random>
#include <thread>

#include "fairlead/core/log.h"
#include "fairlead/core/retry_delay.h"
#include "fairlead/formats/json_text.h"
#include "fairlead/kube/status.h"

namespace fairlead::kube {
namespace {

/// A watch that lasted this long, or brought anything, counts as one that works.
constexpr std::chrono::seconds kGoodWatch{5};

/// The member of a watch line or object as plain string. Types and versions are written without escapes.
std::string_view plain_string(std::optional<std::string_view> quoted) {
  if (!quoted || quoted->size() < 2 || quoted->front() != '"' ||
      quoted->find('\\') != std::string_view::npos) {
    return {};
  }
  return quoted->substr(1, quoted->size() - 2);
}

std::optional<EventType> type_of(std::string_view word) {
  if (word == "ADDED") {
    return EventType::kAdded;
  }
  if (word == "MODIFIED") {
    return EventType::kModified;
  }
  if (word == "DELETED") {
    return EventType::kDeleted;
  }
  return std::nullopt;
}

/// Is the version that we watched from of no use any more? Not after a lost connection or an overloaded
/// server: those say nothing of it, and a list by every node would be the last thing such a server needs.
bool needs_list(Code code) {
  return code != Code::kUnavailable && code != Code::kTimeout && code != Code::kCancelled;
}

}  // namespace

struct Reflector::Impl {
  Impl(Client& of_client, ReflectorSource of_source, Handlers of_handlers, ReflectorOptions given)
      : client(of_client),
        source(std::move(of_source)),
        handlers(std::move(of_handlers)),
        options(std::move(given)),
        delay(options.backoff) {}

  void run(const std::stop_token& stop);
  /// A list when it is needed, then one watch to its end.
  Result<> step(const std::stop_token& stop);
  Result<> list(const std::stop_token& stop);
  Result<> watch(const std::stop_token& stop);
  Result<> take_line(std::string_view line);
  void report(const Error& error);
  [[nodiscard]] bool list_is_due() const {
    return options.relist_interval.count() > 0 && options.clock->now() - listed_at >= options.relist_interval;
  }
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> selectors() const;

  Client& client;
  const ReflectorSource source;
  const Handlers handlers;
  const ReflectorOptions options;
  std::atomic<bool> healthy = false;

  // Of the reflector's thread.
  RetryDelay delay;
  std::minstd_rand random{std::random_device{}()};
  std::string version;  // empty: list first
  Clock::TimePoint listed_at;
  bool got_line = false;

  std::jthread thread;  // last: it uses all of the above
};

std::vector<std::pair<std::string, std::string>> Reflector::Impl::selectors() const {
  std::vector<std::pair<std::string, std::string>> query;
  if (!source.field_selector.empty()) {
    query.emplace_back("fieldSelector", source.field_selector);
  }
  if (!source.label_selector.empty()) {
    query.emplace_back("labelSelector", source.label_selector);
  }
  return query;
}

void Reflector::Impl::report(const Error& error) {
  healthy = false;
  log::debug("reflector will try again", {{"path", source.path}, {"error", error.what()}});
  if (options.on_error) {
    options.on_error(error);
  }
}

Result<> Reflector::Impl::list(const std::stop_token& stop) {
  std::string continue_token;
  std::string listed_version;
  do {
    RawRequest request{.path = source.path, .query = selectors()};
    request.query.emplace_back("limit", std::to_string(options.page_size));
    if (!continue_token.empty()) {
      request.query.emplace_back("continue", continue_token);
    }
    FL_ASSIGN(const auto response,
              client.request(request, {.timeout = options.list_timeout, .stop = stop, .max_tries = 1}));
    FL_ASSIGN(auto page, handlers.on_page(response.body, continue_token.empty()), "list");
    continue_token = std::move(page.continue_token);
    listed_version = std::move(page.resource_version);
  } while (!continue_token.empty());
  if (listed_version.empty()) {
    return Error(Code::kCorrupt, "list " + source.path + ": no metadata.resourceVersion");
  }
  version = std::move(listed_version);
  listed_at = options.clock->now();
  healthy = true;
  handlers.on_listed();
  return {};
}

Result<> Reflector::Impl::watch(const std::stop_token& stop) {
  const auto shortest = options.min_watch.count();
  std::uniform_int_distribution<std::chrono::seconds::rep> draw(shortest,
                                                                std::max(shortest, (2 * shortest) - 1));
  WatchRequest request{.path = source.path,
                       .query = selectors(),
                       .idle_timeout = options.idle_timeout,
                       .max_line = options.max_line,
                       .on_open = [this] { healthy = true; }};
  request.query.emplace_back("watch", "true");
  request.query.emplace_back("allowWatchBookmarks", "true");
  request.query.emplace_back("resourceVersion", version);
  request.query.emplace_back("timeoutSeconds", std::to_string(draw(random)));
  return client.watch(request, [this](std::string_view line) { return take_line(line); }, stop);
}

Result<> Reflector::Impl::take_line(std::string_view line) {
  const std::string_view type = plain_string(json_text::member(line, "type"));
  const auto object = json_text::member(line, "object");
  if (type.empty() || !object) {
    return Error(Code::kCorrupt, "a line is not a watch event");
  }
  if (type == "ERROR") {
    return error_of_watch_event(*object);
  }
  if (const auto change = type_of(type)) {
    FL_TRY(handlers.on_event(*change, *object));
  }
  got_line = true;
  // A BOOKMARK has nothing but this.
  const auto newest = plain_string(json_text::member_path(*object, {"metadata", "resourceVersion"}));
  if (!newest.empty()) {
    version = newest;
  }
  return {};
}

Result<> Reflector::Impl::step(const std::stop_token& stop) {
  if (version.empty() || list_is_due()) {
    version.clear();
    FL_TRY(list(stop));
  }
  got_line = false;
  const auto start = options.clock->now();
  auto watched = watch(stop);
  const bool worked = got_line || options.clock->now() - start >= kGoodWatch;
  if (worked) {
    delay.reset();
  }
  if (!watched && needs_list(watched.error().code())) {
    version.clear();
  }
  if (watched && !worked) {
    // It is there, so this is no outage: what comes next are growing pauses.
    return Error(Code::kInternal, "watch " + source.path + ": the server ended it at once");
  }
  return watched;
}

void Reflector::Impl::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    const auto done = step(stop);
    if (!done && !stop.stop_requested()) {
      report(done.error());
      (void)options.clock->wait_for(delay.next(done.error().code()), stop);
    }
  }
}

Reflector::Reflector(Client& client, ReflectorSource source, Handlers handlers, ReflectorOptions options)
    : impl_(std::make_unique<Impl>(client, std::move(source), std::move(handlers), std::move(options))) {}

Reflector::~Reflector() { stop(); }

void Reflector::start() {
  if (!impl_->thread.joinable()) {
    impl_->thread = std::jthread([impl = impl_.get()](const std::stop_token& stop) { impl->run(stop); });
  }
}

void Reflector::stop() {
  impl_->thread.request_stop();
  if (impl_->thread.joinable()) {
    impl_->thread.join();
  }
  impl_->healthy = false;
}

bool Reflector::healthy() const { return impl_->healthy; }

}  // namespace fairlead::kube
