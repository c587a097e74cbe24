// SPDX-License-Identifier: Apache-2.0
// Structured logging to stderr: a constant message and key=value fields, ISO time in UTC.
//   log::info("claim prepared", {{"claim", uid}, {"devices", count}});
// Libraries return errors and log at debug only; the caller that handles an error logs it, once. Any thread may log.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace fairlead::log {

enum class Level : std::uint8_t { kDebug, kInfo, kWarn, kError, kOff };

class Field {
 public:
  Field(std::string_view key, std::string_view value) : key_(key), value_(value) {}
  Field(std::string_view key, const std::string& value) : key_(key), value_(value) {}
  Field(std::string_view key, const char* value) : key_(key), value_(value) {}
  Field(std::string_view key, bool value) : key_(key), value_(value ? "true" : "false") {}
  template <std::integral T>
  Field(std::string_view key, T value) : key_(key), value_(std::to_string(value)) {}

  [[nodiscard]] std::string_view key() const { return key_; }
  [[nodiscard]] const std::string& value() const { return value_; }

 private:
  std::string_view key_;  // a literal at every call
  std::string value_;
};
using Fields = std::initializer_list<Field>;

/// "debug", "info", "warn", "error" or "off"; nullopt for another word.
std::optional<Level> parse_level(std::string_view word);
/// Default is info. Takes effect at once, for all threads.
void set_level(Level level);

void debug(std::string_view message, Fields fields = {});
void info(std::string_view message, Fields fields = {});
void warn(std::string_view message, Fields fields = {});
void error(std::string_view message, Fields fields = {});

}  // namespace fairlead::log
