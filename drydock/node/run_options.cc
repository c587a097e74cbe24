// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/run_options.h"

#include <charconv>
#include <filesystem>
#include <utility>

namespace drydock {

using fairlead::Code;
using fairlead::Error;
using fairlead::Result;

Result<std::chrono::milliseconds> parse_duration(const std::string& text) {
  static const std::map<std::string, long, std::less<>> kUnits = {
      {"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}};
  double value = 0;
  const auto [rest, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  const auto unit = kUnits.find(std::string(rest, text.data() + text.size()));
  if (failed != std::errc() || unit == kUnits.end() || value < 0 || value > 1e6) {
    return Error(Code::kInvalid, "\"" + text + "\" is not a duration (500ms, 5s, 2m, 1h)");
  }
  return std::chrono::milliseconds(static_cast<long>(value * static_cast<double>(unit->second)));
}

Result<std::pair<std::string, std::string>> parse_image(const std::string& text) {
  const auto equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
    return Error(Code::kInvalid, "\"" + text + "\" is not NAME=FOLDER");
  }
  std::error_code failed;
  const auto path = std::filesystem::canonical(text.substr(equals + 1), failed);
  if (failed || !std::filesystem::is_directory(path, failed)) {
    return Error(Code::kInvalid,
                 text.substr(equals + 1) + " is not a folder (a root file system or an OCI layout)");
  }
  return std::pair(text.substr(0, equals), path.string());
}

}  // namespace drydock
