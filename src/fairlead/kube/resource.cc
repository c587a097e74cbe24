// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/resource.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "fairlead/kube/http.h"
#include "fairlead/kube/json_write.h"

namespace fairlead::kube {
namespace {

constexpr int kMaxNameDraws = 5;
constexpr int kMaxListRestarts = 3;
constexpr int kPageSize = 500;
/// A single try of a small request: a dead connection must not eat the whole deadline.
constexpr std::chrono::milliseconds kTryTimeout{5'000};

Result<> require_text(std::string_view value, const std::string& what) {
  return value.empty() ? Result<>(Error(Code::kInvalid, what + " is empty")) : Result<>{};
}

std::string delete_options(const ObjectMeta& meta) {
  nlohmann::json preconditions = {{"uid", meta.uid}};
  json_write::put(preconditions, "resourceVersion", meta.resource_version);
  return json_write::dump(
      {{"apiVersion", "v1"}, {"kind", "DeleteOptions"}, {"preconditions", std::move(preconditions)}});
}

ObjectName name_of(const ObjectMeta& meta) { return {.namespace_ = meta.namespace_, .name = meta.name}; }

}  // namespace

std::string resource_path(const ResourceType& type, const ObjectName& object) {
  std::string path = type.group.empty() ? "/api/" : "/apis/" + std::string(type.group) + "/";
  path += type.version;
  if (type.namespaced && !object.namespace_.empty()) {
    path += "/namespaces/" + percent_encode(object.namespace_);
  }
  path += "/" + std::string(type.plural);
  return object.name.empty() ? path : path + "/" + percent_encode(object.name);
}

namespace internal {

CallOptions rest_of(const CallOptions& call, const Client& client, Clock::TimePoint start) {
  CallOptions rest = call;
  rest.timeout -= std::chrono::duration_cast<std::chrono::milliseconds>(client.clock().now() - start);
  rest.timeout = std::max(rest.timeout, std::chrono::milliseconds(1));
  return rest;
}

std::string UntypedResource::context(std::string_view verb) const {
  return std::string(verb) + " " + std::string(type_.plural);
}

Result<> UntypedResource::require(std::string_view verb, const ObjectName& object) const {
  if (type_.namespaced) {
    FL_TRY(require_text(object.namespace_, context(verb) + ": metadata.namespace"));
  }
  return require_text(object.name, context(verb) + ": metadata.name");
}

Result<std::string> UntypedResource::get(const ObjectName& object, const CallOptions& call) const {
  FL_TRY(require("get", object));
  FL_ASSIGN(auto response,
            client_->request({.path = resource_path(type_, object), .try_timeout = kTryTimeout}, call));
  return std::move(response.body);
}

Result<> UntypedResource::list_once(const Selection& selection, const OnPage& on_page,
                                    const CallOptions& call, Clock::TimePoint start) const {
  RawRequest request{.path = resource_path(type_, {.namespace_ = selection.namespace_, .name = {}})};
  if (!selection.field_selector.empty()) {
    request.query.emplace_back("fieldSelector", selection.field_selector);
  }
  if (!selection.label_selector.empty()) {
    request.query.emplace_back("labelSelector", selection.label_selector);
  }
  request.query.emplace_back("limit", std::to_string(kPageSize));
  const auto first_page = request.query;
  std::string token;
  do {
    request.query = first_page;
    if (!token.empty()) {
      request.query.emplace_back("continue", token);
    }
    FL_ASSIGN(const auto response, client_->request(request, rest_of(call, *client_, start)));
    FL_ASSIGN(token, on_page(response.body, token.empty()));
  } while (!token.empty());
  return {};
}

Result<> UntypedResource::list(const Selection& selection, const OnPage& on_page,
                               const CallOptions& call) const {
  const auto start = client_->clock().now();
  for (int restarts = 0;; ++restarts) {
    auto listed = list_once(selection, on_page, call, start);
    if (listed || listed.error().code() != Code::kGone || restarts == kMaxListRestarts) {
      return listed;
    }
  }
}

Result<std::string> UntypedResource::create(const ObjectMeta& meta, const std::string& body,
                                            const CallOptions& call) const {
  if (type_.namespaced) {
    FL_TRY(require_text(meta.namespace_, context("create") + ": metadata.namespace"));
  }
  FL_TRY(require_text(meta.name + meta.generate_name, context("create") + ": metadata.name"));
  const RawRequest request{.method = "POST",
                           .path = resource_path(type_, {.namespace_ = meta.namespace_, .name = {}}),
                           .body = body,
                           .try_timeout = kTryTimeout};
  const auto start = client_->clock().now();
  for (int draws = 1;; ++draws) {
    auto response = client_->request(request, rest_of(call, *client_, start));
    if (response) {
      return std::move(response->body);
    }
    const bool name_taken = meta.name.empty() && response.error().code() == Code::kExists;
    if (!name_taken || draws == kMaxNameDraws) {
      return std::move(response).error();
    }
  }
}

Result<std::string> UntypedResource::update(const ObjectMeta& meta, std::string body,
                                            const CallOptions& call) const {
  FL_TRY(require("update", name_of(meta)));
  FL_TRY(require_text(meta.resource_version, context("update") + ": metadata.resourceVersion"));
  FL_ASSIGN(auto response, client_->request({.method = "PUT",
                                             .path = resource_path(type_, name_of(meta)),
                                             .body = std::move(body),
                                             .try_timeout = kTryTimeout},
                                            call));
  return std::move(response.body);
}

Result<> UntypedResource::remove(const ObjectMeta& meta, const CallOptions& call) const {
  FL_TRY(require("delete", name_of(meta)));
  FL_TRY(require_text(meta.uid, context("delete") + ": metadata.uid"));
  const std::string path = resource_path(type_, name_of(meta));
  const auto start = client_->clock().now();
  auto response = client_->request(
      {.method = "DELETE", .path = path, .body = delete_options(meta), .try_timeout = kTryTimeout}, call);
  if (response || response.error().code() == Code::kNotFound) {
    return {};
  }
  if (response.error().code() != Code::kConflict) {
    return std::move(response).error();
  }
  // A precondition failed: another object by now (then ours is gone), or ours in another version.
  const auto now =
      client_->request({.path = path, .try_timeout = kTryTimeout}, rest_of(call, *client_, start));
  if (!now && now.error().code() == Code::kNotFound) {
    return {};
  }
  if (now) {
    const auto found = parse_meta(now->body);
    if (found && !found->uid.empty() && found->uid != meta.uid) {
      return {};
    }
  }
  return std::move(response).error();
}

Result<> UntypedResource::merge_patch(const ObjectName& object, std::string body,
                                      const CallOptions& call) const {
  FL_TRY(require("patch", object));
  FL_TRY(client_->request({.method = "PATCH",
                           .path = resource_path(type_, object),
                           .body = std::move(body),
                           .content_type = "application/merge-patch+json",
                           .try_timeout = kTryTimeout},
                          call));
  return {};
}

Result<> UntypedResource::apply(const ObjectName& object, std::string_view subresource, std::string body,
                                const std::string& field_manager, const CallOptions& call) const {
  FL_TRY(require("patch", object));
  FL_TRY(require_text(field_manager, context("patch") + ": the field manager"));
  std::string path = resource_path(type_, object);
  if (!subresource.empty()) {
    path += "/" + std::string(subresource);
  }
  FL_TRY(client_->request({.method = "PATCH",
                           .path = std::move(path),
                           .query = {{"fieldManager", field_manager}, {"force", "true"}},
                           .body = std::move(body),
                           .content_type = "application/apply-patch+yaml",
                           .try_timeout = kTryTimeout},
                          call));
  return {};
}

}  // namespace internal
}  // namespace fairlead::kube
