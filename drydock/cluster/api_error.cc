// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/api_error.h"

namespace drydock {
namespace {

std::string in_quotes(std::string_view text) { return "\"" + std::string(text) + "\""; }

}  // namespace

Json ApiError::to_status() const {
  Json status = {{"kind", "Status"},    {"apiVersion", "v1"}, {"metadata", Json::object()},
                 {"status", "Failure"}, {"message", message}, {"reason", reason},
                 {"code", code}};
  Json details = Json::object();
  for (const Cause& cause : causes) {
    details["causes"].push_back(
        {{"reason", cause.reason}, {"message", cause.message}, {"field", cause.field}});
  }
  if (retry_after_seconds > 0) {
    details["retryAfterSeconds"] = retry_after_seconds;
  }
  if (!details.empty()) {
    status["details"] = std::move(details);
  }
  return status;
}

ApiError ApiError::bad_request(std::string message) {
  return {.code = 400, .reason = "BadRequest", .message = std::move(message), .causes = {}};
}

ApiError ApiError::not_found(std::string_view resource, std::string_view name) {
  return {.code = 404,
          .reason = "NotFound",
          .message = std::string(resource) + " " + in_quotes(name) + " not found",
          .causes = {}};
}

ApiError ApiError::already_exists(std::string_view resource, std::string_view name) {
  return {.code = 409,
          .reason = "AlreadyExists",
          .message = std::string(resource) + " " + in_quotes(name) + " already exists",
          .causes = {}};
}

ApiError ApiError::conflict(std::string_view resource, std::string_view name, std::string_view why) {
  return {.code = 409,
          .reason = "Conflict",
          .message = "Operation cannot be fulfilled on " + std::string(resource) + " " + in_quotes(name) +
                     ": " + std::string(why),
          .causes = {}};
}

ApiError ApiError::expired(std::string message) {
  return {.code = 410, .reason = "Expired", .message = std::move(message), .causes = {}};
}

ApiError ApiError::invalid(std::string_view kind, std::string_view name, std::vector<Cause> causes) {
  std::string text;
  for (const Cause& cause : causes) {
    text += (text.empty() ? "" : ", ") + cause.field + ": " + cause.message;
  }
  if (causes.size() > 1) {
    text = "[" + text + "]";
  }
  return {.code = 422,
          .reason = "Invalid",
          .message = std::string(kind) + " " + in_quotes(name) + " is invalid: " + text,
          .causes = std::move(causes)};
}

}  // namespace drydock
