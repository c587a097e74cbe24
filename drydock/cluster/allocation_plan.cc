// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/allocation_plan.h"

#include <algorithm>
#include <utility>

#include "drydock/cluster/cel.h"
#include "drydock/cluster/field_check.h"
#include "drydock/cluster/object_write.h"

namespace drydock::allocation {
namespace {

using fairlead::Code;
using fairlead::Error;
using fairlead::Result;

/// Turns claims into plans: classes found, selectors compiled and run over every device.
class Planner {
 public:
  Planner(const AllocationInput& input, const DevicePools& pools) : input_(input), pools_(pools) {}

  Result<ClaimPlan> plan(const Json& claim) {
    ClaimPlan plan;
    plan.claim = &claim;
    const Json& devices = value_at(value_at(claim, "spec"), "devices");
    const Json& requests = value_at(devices, "requests");
    for (std::size_t i = 0; i < requests.size(); ++i) {
      FL_ASSIGN(Request request, read_request(requests[i], item("spec.devices.requests", i), plan));
      plan.requests.push_back(std::move(request));
    }
    for (const Json& entry : value_at(devices, "constraints")) {
      Constraint constraint;
      for (const Json& name : value_at(entry, "requests")) {
        constraint.requests.push_back(name.get<std::string>());
      }
      constraint.distinct = entry.contains("distinctAttribute");
      constraint.attribute = text_at(entry, constraint.distinct ? "distinctAttribute" : "matchAttribute");
      plan.constraints.push_back(std::move(constraint));
    }
    return plan;
  }

 private:
  struct Rule {
    std::string where;
    CelProgram program;
  };

  Result<Request> read_request(const Json& request, const std::string& path, const ClaimPlan& plan) {
    Request out;
    const std::string main = text_at(request, "name");
    if (request.contains("exactly")) {
      FL_ASSIGN(Alternative only, read_alternative(request["exactly"], main, path + ".exactly", plan));
      out.alternatives.push_back(std::move(only));
      return out;
    }
    const Json& list = value_at(request, "firstAvailable");
    for (std::size_t i = 0; i < list.size(); ++i) {
      const std::string name = main + "/" + text_at(list[i], "name");
      FL_ASSIGN(Alternative one, read_alternative(list[i], name, item(path + ".firstAvailable", i), plan));
      out.alternatives.push_back(std::move(one));
    }
    return out;
  }

  Result<Alternative> read_alternative(const Json& request, const std::string& name, const std::string& path,
                                       const ClaimPlan& plan) {
    Alternative out;
    out.name = name;
    out.request = &request;
    out.all = text_at(request, "allocationMode") == "All";
    out.admin = value_at(request, "adminAccess") == Json(true);
    out.count = out.all ? 0 : request.value("count", std::size_t{1});
    const std::string title = plan.title() + ", request " + in_quotes(name) + ": ";
    const std::string class_name = text_at(request, "deviceClassName");
    const auto it = std::ranges::find(input_.classes, class_name, object_name);
    if (it == input_.classes.end()) {
      return denied(title + "deviceclass " + in_quotes(class_name) + " not found");
    }
    out.device_class = &*it;
    FL_ASSIGN(const auto rules, compile(*out.device_class, request, path), plan.title());
    for (std::size_t i = 0; i < pools_.devices.size(); ++i) {
      FL_ASSIGN(const bool match, matches(rules, pools_.devices[i], title));
      if (match) {
        add(out, i);
      }
    }
    return out;
  }

  void add(Alternative& out, std::size_t index) {
    const PoolDevice& device = pools_.devices[index];
    ++out.matched;
    if (!out.admin && !tolerated(device, *out.request)) {
      return;
    }
    ++out.tolerable;
    if (auto amounts = amounts_for(device, *out.request)) {
      out.candidates.push_back({index, std::move(*amounts)});
    }
  }

  static Result<> compile_all(std::vector<Rule>& rules, const Json& selectors, const std::string& path) {
    for (std::size_t i = 0; i < selectors.size(); ++i) {
      const std::string where = item(path + ".selectors", i) + ".cel.expression";
      auto program = CelProgram::compile(text_at(value_at(selectors[i], "cel"), "expression"));
      if (!program) {
        return denied(where + ": " + program.error().what());
      }
      rules.push_back({where, std::move(*program)});
    }
    return {};
  }

  static Result<std::vector<Rule>> compile(const Json& device_class, const Json& request,
                                           const std::string& path) {
    std::vector<Rule> rules;
    FL_TRY(compile_all(rules, value_at(value_at(device_class, "spec"), "selectors"),
                       "deviceclass " + in_quotes(object_name(device_class)) + " spec"));
    FL_TRY(compile_all(rules, value_at(request, "selectors"), path));
    return rules;
  }

  /// A run-time error ends the whole allocation, as in the scheduler.
  static Result<bool> matches(const std::vector<Rule>& rules, const PoolDevice& device,
                              const std::string& title) {
    for (const Rule& rule : rules) {
      const auto match = rule.program.matches({.driver = device.id.driver, .device = *device.device});
      if (!match) {
        return denied(title + rule.where + ": on device " + device.id.driver + "/" + device.id.pool + "/" +
                      device.id.device + ": CEL runtime error: " + match.error().what());
      }
      if (!*match) {
        return false;
      }
    }
    return true;
  }

  const AllocationInput& input_;
  const DevicePools& pools_;
};

}  // namespace

std::string ClaimPlan::title() const {
  return "claim " + text_at((*claim)["metadata"], "namespace") + "/" + object_name(*claim);
}

Result<std::vector<ClaimPlan>> make_plans(const AllocationInput& input, const DevicePools& pools,
                                          std::span<const Json> claims) {
  std::vector<ClaimPlan> plans;
  Planner planner(input, pools);
  for (const Json& claim : claims) {
    FL_ASSIGN(ClaimPlan plan, planner.plan(claim));
    plans.push_back(std::move(plan));
  }
  return plans;
}

Error denied(const std::string& why) {
  return {Code::kUnavailable, "0/1 nodes are available: 1 cannot allocate all claims: " + why};
}

std::string in_quotes(std::string_view text) { return "\"" + std::string(text) + "\""; }

}  // namespace drydock::allocation
