// SPDX-License-Identifier: Apache-2.0
// Reflector: reports a set of objects and its changes to its user, by list and watch.
//
//   list (all pages) --> on_sync(all) --> watch from that version --> on_event(...) ...
//     ^                                    |  ended or broke: watch again from the newest version seen
//     |                                    |  (events and bookmarks)
//     +--- 410 Gone, refused, damaged, <---+
//          every `relist_interval`
//
// While the server cannot be reached it is probed at least every RetryDelay::kMaxOutage; after a refusal the
// pauses grow. Both are reset once a watch has worked. One thread per reflector. The callbacks run on it: be
// quick there (post to your own thread), never call stop() there.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "fairlead/core/backoff.h"
#include "fairlead/core/clock.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/kube/client.h"
#include "fairlead/kube/resource.h"

namespace fairlead::kube {

enum class EventType : std::uint8_t { kAdded, kModified, kDeleted };

struct ReflectorOptions {
  int page_size = 500;
  std::chrono::milliseconds list_timeout = std::chrono::seconds(30);
  /// timeoutSeconds of a watch is drawn from [min_watch, 2 * min_watch), as client-go does.
  std::chrono::seconds min_watch = std::chrono::minutes(5);
  /// If no byte arrives for this long (the API server sends a bookmark about every minute), the connection is
  /// dead.
  std::chrono::milliseconds idle_timeout = std::chrono::seconds(150);
  std::size_t max_line = std::size_t{4} << 20;
  /// A list is repeated after this time, even if the watch works; checked when a watch ends. 0: never.
  std::chrono::milliseconds relist_interval = std::chrono::minutes(10);
  Backoff::Options backoff = {};  // after a refusal by the server
  Clock* clock = &real_clock();
  /// Each failure, before its back-off, for a metric and a rate-limited log. May be null.
  std::function<void(const Error&)> on_error;
};

/// Which objects, untyped.
struct ReflectorSource {
  std::string path;            // of the collection
  std::string field_selector;  // never empty for kinds that other nodes have too
  std::string label_selector;
};

/// The untyped machine. Use TypedReflector<T>.
class Reflector : private Pinned {
 public:
  struct Handlers {
    /// One page of a list as the server sent it; `first` starts a new list. Returns the page's metadata.
    std::function<Result<ListOf<std::monostate>>(std::string_view body, bool first)> on_page;
    /// The last page was processed.
    std::function<void()> on_listed;
    std::function<Result<>(EventType type, std::string_view object)> on_event;
  };

  /// `client` must outlive the reflector.
  Reflector(Client& client, ReflectorSource source, Handlers handlers, ReflectorOptions options);
  ~Reflector();

  /// Starts the thread, once.
  void start();
  /// Ends the thread and waits for it: at once, even in the middle of a read. No callback runs afterwards.
  /// Idempotent.
  void stop();
  /// A list was processed and the watch is open, or about to be: for readiness.
  [[nodiscard]] bool healthy() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Reflector for objects of one kind, which ResourceTraits<T> describes.
template <class T>
class TypedReflector {
 public:
  struct Callbacks {
    /// After every list: all existing objects. Earlier objects that are not in it are gone.
    std::function<void(std::vector<T> all)> on_sync;
    /// One change, in the server's order. For kDeleted the last state of the object.
    std::function<void(EventType type, T object)> on_event;
  };

  /// `client` must outlive the reflector. A selector should not be empty for objects that other nodes have too.
  TypedReflector(Client& client, Selection selection, Callbacks callbacks, ReflectorOptions options = {})
      : callbacks_(std::move(callbacks)),
        reflector_(client,
                   {.path = resource_path(ResourceTraits<T>::kType,
                                          {.namespace_ = selection.namespace_, .name = {}}),
                    .field_selector = std::move(selection.field_selector),
                    .label_selector = std::move(selection.label_selector)},
                   handlers(), std::move(options)) {}

  void start() { reflector_.start(); }
  void stop() { reflector_.stop(); }
  [[nodiscard]] bool healthy() const { return reflector_.healthy(); }

 private:
  Reflector::Handlers handlers() {
    return {.on_page = [this](std::string_view body, bool first) { return take_page(body, first); },
            .on_listed = [this] { callbacks_.on_sync(std::exchange(listed_, {})); },
            .on_event = [this](EventType type, std::string_view object) { return take_event(type, object); }};
  }
  Result<ListOf<std::monostate>> take_page(std::string_view body, bool first) {
    FL_ASSIGN(auto page, read_list<T>(body));
    if (first) {
      listed_.clear();
    }
    std::move(page.items.begin(), page.items.end(), std::back_inserter(listed_));
    return ListOf<std::monostate>{.resource_version = std::move(page.resource_version),
                                  .continue_token = std::move(page.continue_token),
                                  .items = {}};
  }
  Result<> take_event(EventType type, std::string_view json) {
    FL_ASSIGN(auto object, read_object<T>(json));
    callbacks_.on_event(type, std::move(object));
    return {};
  }

  Callbacks callbacks_;
  std::vector<T> listed_;  // reflector thread only
  Reflector reflector_;    // last: its thread uses the members above
};

}  // namespace fairlead::kube
