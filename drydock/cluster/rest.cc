// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/rest.h"

#include <algorithm>
#include <charconv>

#include "drydock/cluster/discovery.h"
#include "drydock/cluster/field_check.h"
#include "drydock/cluster/manifest.h"
#include "drydock/cluster/schema.h"

namespace drydock::rest {
namespace {

constexpr std::size_t kMaxBody = std::size_t{3} * 1024 * 1024;  // the API server's own limit

bool truth(const std::string& text) { return text == "true" || text == "1"; }

template <class T>
ApiResult<std::optional<T>> number_param(const Call& call, const std::string& key) {
  const std::string text = call.param(key);
  if (text.empty()) {
    return std::optional<T>();
  }
  T value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) {
    return ApiError::bad_request(key + ": Invalid value: \"" + text + "\": must be a whole number");
  }
  return std::optional(value);
}

ApiResult<ListQuery> list_query(const Call& call, const Target& target) {
  ListQuery query;
  query.ns = target.ns;
  auto fields = parse_field_selector(*target.kind, call.param("fieldSelector"));
  if (!fields) {
    return std::move(fields).error();
  }
  auto labels = parse_label_selector(call.param("labelSelector"));
  if (!labels) {
    return std::move(labels).error();
  }
  auto limit = number_param<std::size_t>(call, "limit");
  if (!limit) {
    return std::move(limit).error();
  }
  query.selector = {.fields = std::move(*fields), .labels = std::move(*labels)};
  if (!target.name.empty()) {
    query.selector.fields.push_back({"metadata.name", target.name, Requirement::Op::kEquals});
  }
  query.limit = limit->value_or(0);
  query.continue_token = call.param("continue");
  return query;
}

void drop_named(Json& value, const std::vector<std::string>& names) {
  if (value.is_object()) {
    for (const std::string& name : names) {
      value.erase(name);
    }
  }
  if (value.is_structured()) {
    for (Json& child : value) {
      drop_named(child, names);
    }
  }
}

ApiResult<Json> parse_body(const Call& call) {
  const bool yaml = call.content_type.find("yaml") != std::string::npos;
  if (!nesting_is_sane(call.body)) {
    return ApiError::bad_request("the body is nested too deeply");
  }
  Json body = Json::parse(call.body, nullptr, false);
  if (!body.is_discarded()) {
    return body;
  }
  if (yaml) {
    auto documents = parse_yaml(call.body);
    if (documents && documents->size() == 1) {
      return std::move(documents->front().value);
    }
    return ApiError::bad_request("error decoding YAML: " +
                                 (documents ? "there must be one document" : documents.error().what()));
  }
  return ApiError::bad_request("the body is not valid JSON");
}

ApiResult<> check_strict(const Call& call, const Kind& kind, const Json& object) {
  if (call.param("fieldValidation") != "Strict") {
    return {};
  }
  std::string text;
  for (const FieldProblem& problem : check_fields(kind.name, object)) {
    if (problem.type == FieldProblem::Type::kUnknown) {
      text += (text.empty() ? "" : ", ") + std::string("unknown field \"") + problem.path + "\"";
    }
  }
  if (!text.empty()) {
    return ApiError::bad_request(std::string(kind.name) + " in version \"" + std::string(kind.version) +
                                 "\" cannot be handled as a " + std::string(kind.name) +
                                 ": strict decoding error: " + text);
  }
  return {};
}

ApiResult<Json> read_object(const Call& call, const Kind& kind, const std::vector<std::string>& drop_fields) {
  auto body = parse_body(call);
  if (!body) {
    return body;
  }
  if (!body->is_object()) {
    return ApiError::bad_request("the body must be a JSON object");
  }
  if (auto strict = check_strict(call, kind, *body); !strict) {
    return std::move(strict).error();
  }
  drop_named(*body, drop_fields);
  return body;
}

ApiError method_not_allowed() {
  return {.code = 405,
          .reason = "MethodNotAllowed",
          .message = "the server does not allow this method on the requested resource",
          .causes = {}};
}

ApiError path_not_found() {
  return {.code = 404,
          .reason = "NotFound",
          .message = "the server could not find the requested resource",
          .causes = {}};
}

ApiResult<Answer> wrap(ApiResult<Json> object, int status = 200) {
  if (!object) {
    return std::move(object).error();
  }
  return Answer{.status = status, .body = std::move(*object)};
}

Json list_body(const Kind& kind, std::vector<Json> items, std::uint64_t version) {
  for (Json& item : items) {
    // The items of a list of a built-in kind carry neither: the decoder knows them from the list.
    item.erase("kind");
    item.erase("apiVersion");
  }
  return {{"kind", std::string(kind.name) + "List"},
          {"apiVersion", kind.api_version()},
          {"metadata", {{"resourceVersion", std::to_string(version)}}},
          {"items", std::move(items)}};
}

ApiResult<Answer> list(Store& store, const Call& call, const Target& target) {
  auto query = list_query(call, target);
  if (!query) {
    return std::move(query).error();
  }
  auto found = store.list(*target.kind, *query);
  if (!found) {
    return std::move(found).error();
  }
  Json body = list_body(*target.kind, std::move(found->items), found->resource_version);
  if (!found->continue_token.empty()) {
    body["metadata"]["continue"] = found->continue_token;
    body["metadata"]["remainingItemCount"] = found->remaining;
  }
  return Answer{.status = 200, .body = std::move(body)};
}

ApiResult<DeleteOptions> delete_options(const Call& call) {
  DeleteOptions options;
  auto grace = number_param<std::int64_t>(call, "gracePeriodSeconds");
  if (!grace) {
    return std::move(grace).error();
  }
  options.grace_seconds = *grace;
  if (call.body.empty()) {
    return options;
  }
  auto body = parse_body(call);
  if (!body) {
    return std::move(body).error();
  }
  const Json& preconditions = value_at(*body, "preconditions");
  options.uid = text_at(preconditions, "uid");
  options.resource_version = text_at(preconditions, "resourceVersion");
  if (value_at(*body, "gracePeriodSeconds").is_number_integer()) {
    options.grace_seconds = (*body)["gracePeriodSeconds"].get<std::int64_t>();
  }
  return options;
}

ApiResult<Answer> remove(Store& store, const Call& call, const Target& target, const Access& access) {
  if (!target.sub.empty()) {
    return method_not_allowed();
  }
  if (!target.name.empty()) {
    auto options = delete_options(call);
    if (!options) {
      return std::move(options).error();
    }
    return wrap(store.remove(*target.kind, target.ns, target.name, *options, access.review));
  }
  auto query = list_query(call, target);
  if (!query) {
    return std::move(query).error();
  }
  auto removed = store.remove_all(*target.kind, *query, access.review);
  if (!removed) {
    return std::move(removed).error();
  }
  return Answer{.status = 200,
                .body = list_body(*target.kind, std::move(*removed), store.resource_version())};
}

ApiResult<Answer> create(Store& store, const Call& call, const Target& target, const Access& access) {
  if (!target.name.empty()) {
    return method_not_allowed();
  }
  auto object = read_object(call, *target.kind, access.drop_fields);
  if (!object) {
    return std::move(object).error();
  }
  return wrap(store.create(*target.kind, target.ns, std::move(*object), access.review), 201);
}

ApiResult<Answer> replace(Store& store, const Call& call, const Target& target, Part part,
                          const Access& access) {
  auto object = read_object(call, *target.kind, access.drop_fields);
  if (!object) {
    return std::move(object).error();
  }
  return wrap(store.update(*target.kind, target.ns, target.name, std::move(*object), part, access.review));
}

ApiResult<Answer> patch(Store& store, const Call& call, const Target& target, Part part,
                        const Access& access) {
  const std::string type = call.content_type.substr(0, call.content_type.find(';'));
  if (type == "application/json-patch+json") {
    auto body = parse_body(call);
    return body ? wrap(store.patch(*target.kind, target.ns, target.name, PatchType::kJson, *body, part))
                : ApiResult<Answer>(std::move(body).error());
  }
  auto object = read_object(call, *target.kind, access.drop_fields);
  if (!object) {
    return std::move(object).error();
  }
  if (type == "application/merge-patch+json") {
    return wrap(
        store.patch(*target.kind, target.ns, target.name, PatchType::kMerge, *object, part, access.review));
  }
  const Store::Apply how{.manager = call.param("fieldManager"), .force = truth(call.param("force"))};
  return wrap(
      store.apply(*target.kind, target.ns, target.name, std::move(*object), how, part, access.review));
}

ApiError unsupported_media(const std::string& type, const std::string& accepted) {
  return {.code = 415,
          .reason = "UnsupportedMediaType",
          .message = "the body of the request was in an unknown format (" + type +
                     ") - accepted media types include: " + accepted,
          .causes = {}};
}

ApiResult<> check_media(const Call& call) {
  if (!call.accept.empty() && call.accept.find("json") == std::string::npos &&
      call.accept.find("*/*") == std::string::npos &&
      call.accept.find("application/*") == std::string::npos) {
    return ApiError{.code = 406,
                    .reason = "NotAcceptable",
                    .message = "only the following media types are accepted: application/json",
                    .causes = {}};
  }
  const std::string type = call.content_type.substr(0, call.content_type.find(';'));
  if (call.method == "PATCH") {
    const std::vector<std::string_view> known{"application/json-patch+json", "application/merge-patch+json",
                                              "application/apply-patch+yaml"};
    if (std::ranges::find(known, type) == known.end()) {
      return unsupported_media(type,
                               "application/json-patch+json, application/merge-patch+json, "
                               "application/apply-patch+yaml");
    }
    return {};
  }
  const bool has_body =
      (call.method == "POST" || call.method == "PUT" || call.method == "DELETE") && !type.empty();
  if (has_body && type != "application/json" && !call.body.empty()) {
    return unsupported_media(type, "application/json");
  }
  if (call.body.size() > kMaxBody) {
    return ApiError{.code = 413,
                    .reason = "RequestEntityTooLarge",
                    .message = "Request entity too large: limit is 3145728",
                    .causes = {}};
  }
  return {};
}

ApiResult<Answer> on_object(Store& store, const Call& call, const Target& target, const Access& access) {
  if (!call.param("dryRun").empty()) {
    return ApiError::bad_request("dryRun: drydock cannot do a dry run; leave it out");
  }
  const bool status = target.sub == "status";
  if (!target.sub.empty() && (!status || !target.kind->has_status)) {
    return path_not_found();
  }
  const Part part = status ? Part::kStatus : Part::kSpec;
  if (call.method == "GET" || call.method == "HEAD") {
    return target.name.empty() ? list(store, call, target)
                               : wrap(store.get(*target.kind, target.ns, target.name));
  }
  if (target.kind->namespaced && target.ns.empty() && call.method != "DELETE") {
    return method_not_allowed();
  }
  if (call.method == "POST") {
    return create(store, call, target, access);
  }
  if (call.method == "DELETE") {
    return remove(store, call, target, access);
  }
  if (target.name.empty()) {
    return method_not_allowed();
  }
  if (call.method == "PUT") {
    return replace(store, call, target, part, access);
  }
  return call.method == "PATCH" ? patch(store, call, target, part, access)
                                : ApiResult<Answer>(method_not_allowed());
}

}  // namespace

std::string Call::param(const std::string& key) const {
  const auto it = query.find(key);
  return it == query.end() ? "" : it->second;
}

std::optional<Target> parse_path(std::string_view path) {
  auto parts = path_parts(path);
  std::string group;
  std::string version;
  if (parts.size() >= 3 && parts[0] == "api") {
    version = parts[1];
    parts.erase(parts.begin(), parts.begin() + 2);
  } else if (parts.size() >= 4 && parts[0] == "apis") {
    group = parts[1];
    version = parts[2];
    parts.erase(parts.begin(), parts.begin() + 3);
  } else {
    return std::nullopt;
  }
  Target target;
  if (parts.size() >= 3 && parts[0] == "namespaces" && find_plural(group, version, parts[2]) != nullptr) {
    target.ns = parts[1];
    parts.erase(parts.begin(), parts.begin() + 2);
  }
  target.kind = find_plural(group, version, parts[0]);
  if (target.kind == nullptr || parts.size() > 3 || (!target.kind->namespaced && !target.ns.empty())) {
    return std::nullopt;
  }
  target.name = parts.size() > 1 ? parts[1] : "";
  target.sub = parts.size() > 2 ? parts[2] : "";
  return target;
}

ApiResult<std::optional<WatchPlan>> plan_watch(const Call& call) {
  if (call.method != "GET" || !truth(call.param("watch"))) {
    return std::optional<WatchPlan>();
  }
  const auto target = parse_path(call.path);
  if (!target || !target->sub.empty()) {
    return path_not_found();
  }
  if (auto media = check_media(call); !media) {
    return std::move(media).error();
  }
  if (!call.param("sendInitialEvents").empty()) {
    return ApiError::invalid(
        "ListOptions.meta.k8s.io", "",
        {{.field = "sendInitialEvents",
          .message =
              "Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is "
              "enabled",
          .reason = "FieldValueForbidden"}});
  }
  auto query = list_query(call, *target);
  if (!query) {
    return std::move(query).error();
  }
  auto version = number_param<std::uint64_t>(call, "resourceVersion");
  if (!version) {
    return std::move(version).error();
  }
  auto timeout = number_param<std::int64_t>(call, "timeoutSeconds");
  if (!timeout) {
    return std::move(timeout).error();
  }
  WatchPlan plan{.target = *target,
                 .query = std::move(*query),
                 .resource_version = *version,
                 .bookmarks = truth(call.param("allowWatchBookmarks"))};
  plan.timeout = std::chrono::seconds(std::clamp<std::int64_t>(timeout->value_or(1800), 1, 86400));
  return std::optional(std::move(plan));
}

ApiResult<Answer> answer(Store& store, const Call& call, const Access& access) {
  if (auto media = check_media(call); !media) {
    return std::move(media).error();
  }
  if (call.method == "GET") {
    if (Json body = document(call.path); !body.is_null()) {
      return Answer{.status = 200, .body = std::move(body)};
    }
  }
  const auto target = parse_path(call.path);
  if (!target) {
    return path_not_found();
  }
  return on_object(store, call, *target, access);
}

}  // namespace drydock::rest
