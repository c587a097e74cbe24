// SPDX-License-Identifier: Apache-2.0
// An error as the Kubernetes API server returns it (metav1.Status), and the result type that carries it.
#pragma once

#include <expected>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace drydock {

using Json = nlohmann::json;

/// One entry of status.details.causes: why a field was refused.
struct Cause {
  std::string field;    // "spec.devices.requests[0].name"
  std::string message;  // "Invalid value: \"A\": must be a DNS label (...)"
  std::string reason;   // FieldValueInvalid, FieldValueRequired, ...
};

struct [[nodiscard]] ApiError {
  int code = 500;       // the HTTP status
  std::string reason;   // NotFound, AlreadyExists, Conflict, Invalid, Expired, BadRequest, ...
  std::string message;  // one sentence for a person
  std::vector<Cause> causes;
  int retry_after_seconds = 0;  // 0: none

  /// The metav1.Status object.
  [[nodiscard]] Json to_status() const;

  static ApiError bad_request(std::string message);
  static ApiError not_found(std::string_view resource, std::string_view name);
  static ApiError already_exists(std::string_view resource, std::string_view name);
  static ApiError conflict(std::string_view resource, std::string_view name, std::string_view why);
  static ApiError expired(std::string message);
  /// 422; the message names all causes.
  static ApiError invalid(std::string_view kind, std::string_view name, std::vector<Cause> causes);
};

template <class T = void>
class [[nodiscard]] ApiResult : public std::expected<T, ApiError> {
 public:
  using std::expected<T, ApiError>::expected;
  ApiResult(ApiError e)  // NOLINT(google-explicit-constructor): `return ApiError::...` is the idiom
      : std::expected<T, ApiError>(std::unexpect, std::move(e)) {}
};

}  // namespace drydock
