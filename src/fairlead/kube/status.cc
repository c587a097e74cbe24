// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/status.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "fairlead/core/utf8.h"
#include "fairlead/kube/resources/claim_proto.h"

namespace fairlead::kube {
namespace {

using Json = nlohmann::json;

/// Of an error page that is no Status; enough to recognise a proxy.
constexpr std::size_t kMaxQuoted = 200;

std::string text_of(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string{};
}

/// A watch from a version that this server has not reached (it was restored from a backup, or is another one)
/// is answered with 504: for us the same as a version too old, list again.
bool version_too_large(const Json& status) {
  const auto details = status.find("details");
  if (details == status.end() || !details->is_object()) {
    return false;
  }
  const auto causes = details->find("causes");
  return causes != details->end() && causes->is_array() &&
         std::ranges::any_of(*causes, [](const Json& cause) {
           return cause.is_object() && text_of(cause, "reason") == "ResourceVersionTooLarge";
         });
}

Code code_of(int status, std::string_view reason) {
  switch (status) {
    case 400:
    case 405:
    case 406:
    case 413:
    case 415:
    case 422:
      return Code::kInvalid;
    case 401:
    case 403:
      return Code::kDenied;
    case 404:
      // Without the reason it is not the object that is missing: this server, or a proxy in front of it, does
      // not serve such a resource at all.
      return reason == "NotFound" ? Code::kNotFound : Code::kUnsupported;
    case 409:
      return reason == "AlreadyExists" ? Code::kExists : Code::kConflict;
    case 410:
      return Code::kGone;
    case 408:
    case 429:
      return Code::kUnavailable;
    default:
      return status >= 500 ? Code::kUnavailable : Code::kInternal;
  }
}

/// One line of UTF-8 without control characters: it goes into logs and events.
std::string one_line(std::string_view text, std::size_t limit) {
  std::string out = cut_utf8(std::string(text), limit);
  std::ranges::replace_if(out, [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
  return printable(out) + (text.size() > limit ? "..." : "");
}

/// "field: message; ..." of those causes whose field the message does not name.
std::string unnamed_causes(const Json& status, const std::string& message) {
  std::string out;
  const auto details = status.find("details");
  const Json causes =
      details != status.end() && details->is_object() ? details->value("causes", Json()) : Json();
  for (const Json& cause : causes.is_array() ? causes : Json::array()) {
    const std::string field = cause.is_object() ? text_of(cause, "field") : "";
    if (field.empty() || message.find(field) != std::string::npos) {
      continue;
    }
    out += (out.empty() ? "" : "; ") + field + ": " + text_of(cause, "message");
  }
  return out;
}

std::string sentence(const Json& status) {
  std::string message = text_of(status, "message");
  if (message.empty()) {
    message = text_of(status, "reason");
  }
  if (message.empty()) {
    message = "the API server gave no reason";
  }
  if (const std::string causes = unnamed_causes(status, message); !causes.empty()) {
    message += " (" + causes + ")";
  }
  return one_line(message, 4096);
}

Code code_of_status(int code, const Json& status) {
  return version_too_large(status) ? Code::kGone : code_of(code, text_of(status, "reason"));
}

bool is_status(const Json& object) { return object.is_object() && text_of(object, "kind") == "Status"; }

}  // namespace

Error error_of_status(int status, std::string_view body) {
  const std::string suffix = " (HTTP " + std::to_string(status) + ")";
  const Json object = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (is_status(object)) {
    return {code_of_status(status, object), sentence(object) + suffix};
  }
  if (const auto refusal = read_proto_status(body)) {  // in the form that the request asked for
    return {code_of(status, refusal->reason),
            sentence({{"message", refusal->message}, {"reason", refusal->reason}}) + suffix};
  }
  std::string what = "the API server answered";
  if (!body.empty()) {
    what += " \"" + one_line(body, kMaxQuoted) + "\"";
  }
  return {code_of(status, ""), what + suffix};
}

Error error_of_watch_event(std::string_view status_object) {
  const Json object = Json::parse(status_object, nullptr, /*allow_exceptions=*/false);
  if (!is_status(object)) {
    return {Code::kCorrupt, "watch: an ERROR event without a Status"};
  }
  const auto it = object.find("code");
  const int code = it != object.end() && it->is_number_integer() ? it->get<int>() : 500;
  return {code_of_status(code, object), "watch: " + sentence(object)};
}

}  // namespace fairlead::kube
