// SPDX-License-Identifier: Apache-2.0
// Resource<T>: the typed requests that Kubernetes has for objects of every kind.
//
//   Resource<ResourceClaim> claims(client);
//   FL_ASSIGN(const ResourceClaim claim, claims.get({.namespace_ = "shop", .name = "nic"}));
//
// What an object of a kind of its own needs: resource_type.h.
//
// Errors and retries: client.h. A Resource is a reference to its client: cheap to make, any thread.
#pragma once

#include <concepts>
#include <functional>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/formats/json_reader.h"
#include "fairlead/formats/json_text.h"
#include "fairlead/kube/client.h"
#include "fairlead/kube/meta.h"
#include "fairlead/kube/resource_type.h"

namespace fairlead::kube {

/// The path of one object, or of the collection if the name is empty; of that of all namespaces if the
/// namespace is empty.
std::string resource_path(const ResourceType& type, const ObjectName& object = {});

namespace internal {

/// resource.h without types: JSON texts.
class UntypedResource {
 public:
  UntypedResource(Client& client, const ResourceType& type) : client_(&client), type_(type) {}

  /// Context of errors: "get resourceclaims".
  [[nodiscard]] std::string context(std::string_view verb) const;
  Result<std::string> get(const ObjectName& object, const CallOptions& call) const;
  /// `on_page` gets each page and whether it is the first of a list, and returns the page's continue token.
  using OnPage = std::function<Result<std::string>(std::string_view page, bool first)>;
  Result<> list(const Selection& selection, const OnPage& on_page, const CallOptions& call) const;
  Result<std::string> create(const ObjectMeta& meta, const std::string& body, const CallOptions& call) const;
  Result<std::string> update(const ObjectMeta& meta, std::string body, const CallOptions& call) const;
  Result<> remove(const ObjectMeta& meta, const CallOptions& call) const;
  Result<> merge_patch(const ObjectName& object, std::string body, const CallOptions& call) const;
  Result<> apply(const ObjectName& object, std::string_view subresource, std::string body,
                 const std::string& field_manager, const CallOptions& call) const;

 private:
  Result<> require(std::string_view verb, const ObjectName& object) const;
  Result<> list_once(const Selection& selection, const OnPage& on_page, const CallOptions& call,
                     Clock::TimePoint start) const;

  Client* client_;
  ResourceType type_;
};

/// The remaining time of a call that takes several requests.
CallOptions rest_of(const CallOptions& call, const Client& client, Clock::TimePoint start);

template <class T>
concept KeepsText = requires(const JsonReader& in, std::string_view text) {
  { ResourceTraits<T>::read(in, text) } -> std::same_as<T>;
};

template <class T>
T read_from(const JsonReader& in, std::string_view text) {
  if constexpr (KeepsText<T>) {
    return ResourceTraits<T>::read(in, text);
  } else {
    return ResourceTraits<T>::read(in);
  }
}

}  // namespace internal

/// One object from JSON text. Unknown fields are ignored; kCorrupt names the path of a field of a wrong type.
template <class T>
Result<T> read_object(std::string_view json) {
  return read_json(json, ResourceTraits<T>::kType.kind,
                   [&](const JsonReader& in) { return internal::read_from<T>(in, json); });
}

/// One page of a list.
template <class T>
Result<ListOf<T>> read_list(std::string_view json) {
  const std::string what = std::string(ResourceTraits<T>::kType.kind) + "List";
  return read_json(json, what, [&](const JsonReader& in) {
    const JsonReader meta = in.object("metadata");
    ListOf<T> list{.resource_version = meta.string("resourceVersion"),
                   .continue_token = meta.string("continue"),
                   .items = {}};
    std::vector<std::string_view> texts;
    if constexpr (internal::KeepsText<T>) {
      texts = json_text::elements(json_text::member(json, "items").value_or(""));
    }
    const auto items = in.objects("items");
    list.items.reserve(items.size());
    for (std::size_t i = 0; i < items.size(); ++i) {
      list.items.push_back(
          internal::read_from<T>(items[i], i < texts.size() ? texts[i] : std::string_view{}));
    }
    return list;
  });
}

template <class T>
class Resource {
 public:
  /// `client` must outlive the resource.
  explicit Resource(Client& client) : calls_(client, Traits::kType) {}

  Result<T> get(const ObjectName& object, const CallOptions& call = {}) const {
    FL_ASSIGN(const std::string body, calls_.get(object, call));
    return read(body, "get");
  }
  /// All pages. Starts over if a page's continue token expired (410).
  Result<ListOf<T>> list(const Selection& selection, const CallOptions& call = {}) const {
    ListOf<T> all;
    const auto on_page = [&](std::string_view body, bool first) -> Result<std::string> {
      FL_ASSIGN(auto page, read_list<T>(body), calls_.context("list"));
      if (first) {
        all.items.clear();
      }
      std::move(page.items.begin(), page.items.end(), std::back_inserter(all.items));
      all.resource_version = std::move(page.resource_version);
      return std::move(page.continue_token);
    };
    FL_TRY(calls_.list(selection, on_page, call));
    return all;
  }
  /// POST, with meta.name or meta.generate_name (retried with another random suffix if the server's choice
  /// was taken). Returns the stored object: compare it with the sent one to detect dropped fields.
  Result<T> create(const T& object, const CallOptions& call = {}) const {
    FL_ASSIGN(const std::string body, calls_.create(object.meta, Traits::write(object), call));
    return read(body, "create");
  }
  /// PUT with meta.resource_version, which must be set. kConflict: it changed meanwhile. kNotFound: it is gone.
  Result<T> update(const T& object, const CallOptions& call = {}) const {
    FL_ASSIGN(const std::string body, calls_.update(object.meta, Traits::write(object), call));
    return read(body, "update");
  }
  /// DELETE of exactly this object: meta.uid and, if set, meta.resource_version are preconditions. Success if
  /// it is already gone, or another object has its name by now; kConflict if it changed.
  Result<> remove(const ObjectMeta& meta, const CallOptions& call = {}) const {
    return calls_.remove(meta, call);
  }
  /// RFC 7386. kNotFound: it is gone.
  Result<> merge_patch(const ObjectName& object, std::string patch, const CallOptions& call = {}) const {
    return calls_.merge_patch(object, std::move(patch), call);
  }
  /// Server-side apply with force. `body` has apiVersion, kind, and all fields of this field manager: the
  /// server removes those left out. `subresource` may be "status".
  Result<> apply(const ObjectName& object, std::string_view subresource, std::string body,
                 const std::string& field_manager, const CallOptions& call = {}) const {
    return calls_.apply(object, subresource, std::move(body), field_manager, call);
  }

 private:
  using Traits = ResourceTraits<T>;
  Result<T> read(std::string_view body, std::string_view verb) const {
    FL_ASSIGN(auto object, read_object<T>(body), calls_.context(verb));
    return object;
  }

  internal::UntypedResource calls_;
};

}  // namespace fairlead::kube
