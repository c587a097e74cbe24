// SPDX-License-Identifier: Apache-2.0
#include "fairlead/core/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

#include "fairlead/core/utf8.h"

namespace fairlead::log {
namespace {

std::shared_ptr<spdlog::logger> make_logger() {
  auto logger =
      std::make_shared<spdlog::logger>("fairlead", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
  logger->flush_on(spdlog::level::debug);
  return logger;
}

spdlog::logger& logger() {
  // Never destroyed: threads may still log while the process ends.
  static auto* const instance = new std::shared_ptr<spdlog::logger>(make_logger());
  return **instance;
}

bool needs_quotes(std::string_view value) {
  return value.empty() || value.find_first_of(" \"=\n\t\r") != std::string_view::npos;
}

void append_value(std::string& line, std::string_view value) {
  const bool quotes = needs_quotes(value);
  if (quotes) {
    line += '"';
  }
  for (const char c : printable(value)) {
    if (c == '"') {
      line += '\\';
    }
    line += c;
  }
  if (quotes) {
    line += '"';
  }
}

void write(spdlog::level::level_enum level, std::string_view message, Fields fields) {
  if (!logger().should_log(level)) {
    return;
  }
  std::string line = printable(message);
  for (const Field& field : fields) {
    line += ' ';
    line += field.key();
    line += '=';
    append_value(line, field.value());
  }
  logger().log(level, spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace

std::optional<Level> parse_level(std::string_view word) {
  if (word == "debug") {
    return Level::kDebug;
  }
  if (word == "info") {
    return Level::kInfo;
  }
  if (word == "warn") {
    return Level::kWarn;
  }
  if (word == "error") {
    return Level::kError;
  }
  if (word == "off") {
    return Level::kOff;
  }
  return std::nullopt;
}

void set_level(Level level) {
  switch (level) {
    case Level::kDebug:
      logger().set_level(spdlog::level::debug);
      return;
    case Level::kInfo:
      logger().set_level(spdlog::level::info);
      return;
    case Level::kWarn:
      logger().set_level(spdlog::level::warn);
      return;
    case Level::kError:
      logger().set_level(spdlog::level::err);
      return;
    case Level::kOff:
      logger().set_level(spdlog::level::off);
      return;
  }
}

void debug(std::string_view message, Fields fields) { write(spdlog::level::debug, message, fields); }
void info(std::string_view message, Fields fields) { write(spdlog::level::info, message, fields); }
void warn(std::string_view message, Fields fields) { write(spdlog::level::warn, message, fields); }
void error(std::string_view message, Fields fields) { write(spdlog::level::err, message, fields); }

}  // namespace fairlead::log
