// SPDX-License-Identifier: Apache-2.0
// What a run says at its end: the drivers' costs and logs, the verdict, or all of it as JSON.
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "drydock/node/run.h"
#include "drydock/node/run_text.h"

namespace drydock {
namespace {

constexpr std::size_t kLogTail = 15;
constexpr std::size_t kWholeLog = 1'000'000;

std::string megabytes(long kib) {
  if (kib == 0) {
    return "?";  // it was gone before it could be asked
  }
  char buffer[32];
  (void)std::snprintf(buffer, sizeof buffer, "%.1f MiB", static_cast<double>(kib) / 1024);
  return buffer;
}

Json pod_json(const PodOutcome& pod) {
  Json containers = Json::array();
  bool succeeded = pod.phase != PodOutcome::Phase::kFailed && pod.phase != PodOutcome::Phase::kStarting;
  for (const auto& container : pod.containers) {
    containers.push_back({{"name", container.name},
                          {"ended", container.ended},
                          {"exitCode", container.exit_code},
                          {"restarts", container.restarts},
                          {"output", container.lines}});
  }
  return {{"namespace", pod.namespace_},
          {"name", pod.name},
          {"succeeded", succeeded},
          {"reason", pod.reason},
          {"containers", std::move(containers)}};
}

/// NRI plugins are known by their own names, which need not be those of the drivers.
void add_plugins(const std::vector<CallSummary>& calls, const std::map<std::size_t, std::string>& drivers,
                 Console::Table& table) {
  const auto is_driver = [&](const std::string& name) {
    return std::any_of(drivers.begin(), drivers.end(), [&](const auto& one) { return one.second == name; });
  };
  std::string last;
  for (const auto& call : calls) {
    if (is_driver(call.driver)) {
      continue;
    }
    table.rows.push_back({call.driver == last ? "" : "NRI " + call.driver, "", "", call.method,
                          std::to_string(call.count), std::to_string(call.failed), to_text(call.p50),
                          to_text(call.p99)});
    last = call.driver;
  }
}

}  // namespace

void Run::show_costs() {
  Console::Table table{.header = {"DRIVER", "CPU", "PEAK MEMORY", "CALL", "COUNT", "FAILED", "P50", "P99"},
                       .rows = {}};
  for (std::size_t i = 0; i < drivers_.size(); ++i) {
    const auto cost = cost_of(i);
    const auto name = driver_names_.contains(i) ? driver_names_[i] : "driver " + std::to_string(i + 1);
    std::vector<std::string> head = {name, to_text(cost.cpu), megabytes(cost.peak_resident_kib)};
    const auto before = table.rows.size();
    for (const auto& call : stats_.summary()) {
      if (call.driver != name) {
        continue;
      }
      auto row = table.rows.size() == before ? head : std::vector<std::string>{"", "", ""};
      for (const auto& cell : {call.method, std::to_string(call.count), std::to_string(call.failed),
                               to_text(call.p50), to_text(call.p99)}) {
        row.push_back(cell);
      }
      table.rows.push_back(std::move(row));
    }
    if (table.rows.size() == before) {
      table.rows.push_back(std::move(head));
    }
  }
  add_plugins(stats_.summary(), driver_names_, table);
  if (!table.rows.empty()) {
    console_.title("what the drivers cost");
    console_.table(table);
    console_.blank();
  }
}

void Run::print_json() {
  Json out = {{"succeeded", failures_.empty() && !interrupted_},
              {"interrupted", interrupted_},
              {"failures", failures_},
              {"leftOver", left_over_},
              {"pods", Json::array()},
              {"claims", Json::array()},
              {"drivers", Json::array()},
              {"calls", Json::array()},
              {"seconds", std::chrono::duration<double>(Steady::now() - begun_).count()}};
  if (kubelet_) {
    for (const auto& pod : kubelet_->outcomes()) {
      out["pods"].push_back(pod_json(pod));
    }
  }
  for (std::size_t i = 0; i < drivers_.size(); ++i) {
    const auto cost = cost_of(i);
    out["drivers"].push_back({{"command", drivers_[i].command()},
                              {"name", driver_names_.contains(i) ? driver_names_[i] : ""},
                              {"cpuMicroseconds", cost.cpu.count()},
                              {"restarts", revivals_.contains(i) ? revivals_[i].count : 0},
                              {"peakResidentKiB", cost.peak_resident_kib}});
  }
  for (const auto& call : stats_.summary()) {
    out["calls"].push_back({{"driver", call.driver},
                            {"method", call.method},
                            {"count", call.count},
                            {"failed", call.failed},
                            {"p50Microseconds", call.p50.count()},
                            {"p99Microseconds", call.p99.count()}});
  }
  for (const auto& claim : claims_) {
    out["claims"].push_back(claim);
  }
  const std::string text = out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  (void)std::fwrite(text.data(), 1, text.size(), stdout);
}

void Run::show_verdict() {
  const auto took = us(Steady::now() - begun_);
  if (interrupted_) {
    console_.fail("interrupted");
  } else if (failures_.empty()) {
    console_.step(plural(kubelet_->outcomes().size(), "pod") + " succeeded", took);
  } else {
    console_.fail("failed: " + failures_.front());
  }
}

/// --show-log: each line from the text on, without its prefix.
void Run::show_wanted_lines() {
  for (std::size_t i = 0; !options_.show_log.empty() && i < drivers_.size(); ++i) {
    const auto name = driver_names_.contains(i) ? driver_names_[i] : "driver " + std::to_string(i + 1);
    console_.title("log of " + name + ", lines with \"" + options_.show_log + "\"");
    for (const auto& line : drivers_[i].log_tail(kWholeLog)) {
      if (const auto at = line.find(options_.show_log); at != std::string::npos) {
        console_.output(name, line.substr(at));
      }
    }
  }
}

void Run::show_driver_logs() {
  if (failures_.empty() && !console_.verbose()) {
    show_wanted_lines();
    return;
  }
  for (std::size_t i = 0; i < drivers_.size(); ++i) {
    const auto lines = drivers_[i].log_tail(console_.verbose() ? kWholeLog : kLogTail);
    const auto name = driver_names_.contains(i) ? driver_names_[i] : "driver " + std::to_string(i + 1);
    console_.title("log of " + name + (console_.verbose() ? "" : ", its end"));
    if (lines.empty()) {
      console_.note("(empty)");
    }
    for (const auto& line : lines) {
      console_.output(name, line);
    }
  }
}

}  // namespace drydock
