// SPDX-License-Identifier: Apache-2.0
#include "fairlead/core/fault.h"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "fairlead/core/log.h"

namespace fairlead {

namespace {

/// Takes "first" and the separator off the front of "first<separator>rest" and returns "first"; without a
/// separator it takes and returns all of the text.
std::string_view take_word(std::string_view& text, char separator) {
  const auto end = text.find(separator);
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return word;
}

std::optional<Fault> parse_fault(std::string_view text) {
  Fault fault;
  fault.point = take_word(text, ':');
  const std::string_view what = take_word(text, ':');
  if (fault.point.empty() || (what != "kill" && what != "freeze")) {
    return std::nullopt;
  }
  fault.signal = what == "kill" ? SIGKILL : SIGSTOP;
  if (text.empty()) {
    return fault;
  }
  constexpr std::string_view kOnce = "once=/";
  if (!text.starts_with(kOnce)) {
    return std::nullopt;
  }
  fault.once = text.substr(kOnce.size() - 1);
  return fault;
}

}  // namespace

Result<std::vector<Fault>> parse_faults(std::string_view list) {
  std::vector<Fault> faults;
  while (!list.empty()) {
    const std::string_view entry = take_word(list, ',');
    auto fault = parse_fault(entry);
    if (!fault) {
      return Error(Code::kInvalid, "FAIRLEAD_FAULT: \"" + std::string(entry) +
                                       "\" is not <point>:kill or <point>:freeze, with :once=/path or not");
    }
    faults.push_back(*std::move(fault));
  }
  return faults;
}

#ifdef FAIRLEAD_FAULTS

namespace {

/// The file is made before the signal, by the first one to get here: all processes and threads share it.
bool is_first(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) {
    return false;
  }
  ::close(fd);
  return true;
}

const std::vector<Fault>& wanted_faults() {
  static const std::vector<Fault> wanted = [] {
    const char* value = std::getenv("FAIRLEAD_FAULT");  // NOLINT(concurrency-mt-unsafe): never set here
    auto faults = parse_faults(value != nullptr ? value : "");
    if (!faults) {
      log::error("no faults", {{"error", faults.error().what()}});
      return std::vector<Fault>();
    }
    return *std::move(faults);
  }();
  return wanted;
}

}  // namespace

void fault_point(std::string_view name) {
  for (const Fault& fault : wanted_faults()) {
    if (fault.point == name && (fault.once.empty() || is_first(fault.once))) {
      (void)::kill(::getpid(), fault.signal);  // the whole process, not this thread
    }
  }
}

bool fault_points_enabled() { return true; }

#else

void fault_point(std::string_view /*name*/) {}

bool fault_points_enabled() { return false; }

#endif

}  // namespace fairlead
