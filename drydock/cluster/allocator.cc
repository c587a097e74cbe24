// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/allocator.h"

#include <algorithm>
#include <memory>

#include "drydock/cluster/cel.h"
#include "drydock/cluster/device_pool.h"
#include "drydock/cluster/field_check.h"
#include "drydock/cluster/ids.h"

namespace drydock {
namespace {

using fairlead::Code;
using fairlead::Error;
using fairlead::Result;

/// A search longer than this is given up: the pod is tried again when something changes.
constexpr std::size_t kMaxSteps = 200'000;
constexpr std::size_t kMaxResults = 32;  // per claim

std::string in_quotes(std::string_view text) { return "\"" + std::string(text) + "\""; }
std::string name_of(const Json& object) { return text_at(value_at(object, "metadata"), "name"); }

struct Candidate {
  std::size_t device = 0;  // index in DevicePools::devices
  Amounts amounts;
};

/// One way to serve a request: the `exactly` of it, or one of its firstAvailable.
struct Alternative {
  std::string name;               // "main" or "main/sub"
  const Json* request = nullptr;  // ExactDeviceRequest or DeviceSubRequest
  const Json* device_class = nullptr;
  std::vector<Candidate> candidates;  // devices that match, free or not
  std::size_t matched = 0;            // by the selectors alone
  std::size_t tolerable = 0;          // of these, without a taint in the way
  bool all = false;
  bool admin = false;
  std::size_t count = 1;
};

struct Request {
  std::vector<Alternative> alternatives;
};

struct Constraint {
  std::vector<std::string> requests;  // empty: all
  std::string attribute;
  bool distinct = false;
};

struct ClaimPlan {
  const Json* claim = nullptr;
  std::vector<Request> requests;
  std::vector<Constraint> constraints;
  [[nodiscard]] std::string title() const {
    return "claim " + text_at((*claim)["metadata"], "namespace") + "/" + name_of(*claim);
  }
};

struct Choice {
  std::size_t claim = 0;
  const Alternative* alternative = nullptr;
  const Candidate* candidate = nullptr;
};

Error denied(const std::string& why) {
  return {Code::kUnavailable, "0/1 nodes are available: 1 cannot allocate all claims: " + why};
}

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
    const auto it = std::ranges::find(input_.classes, class_name, name_of);
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
                       "deviceclass " + in_quotes(name_of(device_class)) + " spec"));
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

class Search {
 public:
  Search(const DevicePools& pools, DeviceUsage usage, const std::vector<ClaimPlan>& plans)
      : pools_(pools), usage_(std::move(usage)), plans_(plans) {}

  bool run() { return place_request(0, 0); }
  [[nodiscard]] bool gave_up() const { return steps_ > kMaxSteps; }
  [[nodiscard]] const std::vector<Choice>& choices() const { return choices_; }

 private:
  bool place_request(std::size_t claim, std::size_t request) {
    if (claim == plans_.size()) {
      return true;
    }
    if (request == plans_[claim].requests.size()) {
      return place_request(claim + 1, 0);
    }
    return std::ranges::any_of(
        plans_[claim].requests[request].alternatives, [&](const Alternative& alternative) {
          return alternative.all ? place_all(claim, request, alternative)
                                 : place_some(claim, request, alternative, 0, alternative.count);
        });
  }

  /// Every matching device, at least one, and each must be free.
  bool place_all(std::size_t claim, std::size_t request, const Alternative& alternative) {
    const std::size_t before = choices_.size();
    bool fits = !alternative.candidates.empty() && alternative.candidates.size() == alternative.matched &&
                pools_.incomplete_pools.empty();
    for (std::size_t i = 0; fits && i < alternative.candidates.size(); ++i) {
      fits = take(claim, alternative, alternative.candidates[i]);
    }
    if (fits && place_request(claim, request + 1)) {
      return true;
    }
    while (choices_.size() > before) {
      give_back();
    }
    return false;
  }

  bool place_some(std::size_t claim, std::size_t request, const Alternative& alternative, std::size_t from,
                  std::size_t left) {
    if (left == 0) {
      return place_request(claim, request + 1);
    }
    for (std::size_t i = from; i < alternative.candidates.size() && !gave_up(); ++i) {
      const Candidate& candidate = alternative.candidates[i];
      if (!take(claim, alternative, candidate)) {
        continue;
      }
      // The devices of one request are alike: never try the same set in another order. A shared device may
      // serve the request twice.
      const std::size_t next = pools_.devices[candidate.device].shared ? i : i + 1;
      if (place_some(claim, request, alternative, next, left - 1)) {
        return true;
      }
      give_back();
    }
    return false;
  }

  bool take(std::size_t claim, const Alternative& alternative, const Candidate& candidate) {
    ++steps_;
    const PoolDevice& device = pools_.devices[candidate.device];
    const auto of_claim =
        std::ranges::count_if(choices_, [&](const Choice& choice) { return choice.claim == claim; });
    if (static_cast<std::size_t>(of_claim) >= kMaxResults || !constraints_hold(claim, alternative, device)) {
      return false;
    }
    if (!alternative.admin) {
      if (!usage_.is_free(device, candidate.amounts)) {
        return false;
      }
      usage_.take(device, candidate.amounts);
    }
    choices_.push_back({claim, &alternative, &candidate});
    return true;
  }

  void give_back() {
    const Choice choice = choices_.back();
    choices_.pop_back();
    if (!choice.alternative->admin) {
      usage_.give_back(pools_.devices[choice.candidate->device], choice.candidate->amounts);
    }
  }

  static bool concerns(const Constraint& constraint, const Alternative& alternative) {
    const std::string main = alternative.name.substr(0, alternative.name.find('/'));
    return constraint.requests.empty() ||
           std::ranges::any_of(constraint.requests, [&](const std::string& name) {
             return name == main || name == alternative.name;
           });
  }

  [[nodiscard]] bool constraints_hold(std::size_t claim, const Alternative& alternative,
                                      const PoolDevice& device) const {
    return std::ranges::all_of(plans_[claim].constraints, [&](const Constraint& constraint) {
      return !concerns(constraint, alternative) || fits(constraint, claim, device);
    });
  }

  [[nodiscard]] bool fits(const Constraint& constraint, std::size_t claim, const PoolDevice& device) const {
    const Json& value = attribute_of(device, constraint.attribute);
    if (value.is_null()) {
      return false;
    }
    return std::ranges::all_of(choices_, [&](const Choice& other) {
      if (other.claim != claim || !concerns(constraint, *other.alternative)) {
        return true;
      }
      const bool same = attribute_of(pools_.devices[other.candidate->device], constraint.attribute) == value;
      return same != constraint.distinct;
    });
  }

  const DevicePools& pools_;
  DeviceUsage usage_;
  const std::vector<ClaimPlan>& plans_;
  std::vector<Choice> choices_;
  std::size_t steps_ = 0;
};

std::string plural(std::size_t count) {
  return std::to_string(count) + (count == 1 ? " device" : " devices");
}

std::string selector_text(const Alternative& alternative) {
  std::string text;
  for (const Json& selector : value_at(*alternative.request, "selectors")) {
    text += text.empty() ? " and selector `" : "` and `";
    text += text_at(value_at(selector, "cel"), "expression");
  }
  return text.empty() ? text : text + "`";
}

/// Says why one alternative alone cannot be had; empty when it could be.
std::string explain(const Alternative& alternative, const DevicePools& pools, const DeviceUsage& usage,
                    const std::string& node) {
  DeviceUsage scratch = usage;
  std::size_t free = 0;
  for (const Candidate& candidate : alternative.candidates) {
    const PoolDevice& device = pools.devices[candidate.device];
    while (free < std::max<std::size_t>(alternative.count, alternative.candidates.size()) &&
           (alternative.admin || scratch.is_free(device, candidate.amounts))) {
      ++free;
      scratch.take(device, candidate.amounts);
      if (!device.shared || alternative.admin) {
        break;
      }
    }
  }
  const std::size_t needed =
      alternative.all ? std::max<std::size_t>(1, alternative.matched) : alternative.count;
  if (free >= needed) {
    return "";
  }
  std::string text =
      (alternative.all ? "all matching devices are" : plural(needed) + (needed == 1 ? " is" : " are")) +
      std::string(" needed, but ") + std::to_string(alternative.matched) + " of " +
      plural(pools.devices.size()) + " on node " + node + " match deviceclass " +
      in_quotes(name_of(*alternative.device_class)) + selector_text(alternative);
  if (alternative.tolerable < alternative.matched) {
    text += ", " + std::to_string(alternative.matched - alternative.tolerable) + " of them tainted";
  }
  if (alternative.candidates.size() < alternative.tolerable) {
    text += ", " + std::to_string(alternative.tolerable - alternative.candidates.size()) +
            " of them without the requested capacity";
  }
  if (!alternative.candidates.empty()) {
    text += ", and " + std::to_string(free) + " can be had now (the rest is in use)";
  }
  return text;
}

std::string explain_constraints(const ClaimPlan& plan) {
  std::string text;
  for (const Constraint& constraint : plan.constraints) {
    text += (text.empty() ? "" : ", ") +
            std::string(constraint.distinct ? "distinctAttribute " : "matchAttribute ") +
            in_quotes(constraint.attribute);
  }
  return text;
}

Error explain_all(const std::vector<ClaimPlan>& plans, const DevicePools& pools, const DeviceUsage& usage,
                  const std::string& node) {
  std::string updating;
  for (const std::string& pool : pools.incomplete_pools) {
    updating += "; pool " + pool + " is being updated and not used";
  }
  for (const ClaimPlan& plan : plans) {
    for (const Request& request : plan.requests) {
      std::string why;
      bool possible = false;
      for (const Alternative& alternative : request.alternatives) {
        const std::string one = explain(alternative, pools, usage, node);
        possible = possible || one.empty();
        why += why.empty() ? "request " : "; request ";
        why += in_quotes(alternative.name) + ": " + one;
      }
      if (!possible) {
        return denied(plan.title() + ", " + why + updating);
      }
    }
  }
  std::string names;
  for (const ClaimPlan& plan : plans) {
    const std::string constraints = explain_constraints(plan);
    names += names.empty() ? "" : ", ";
    names += plan.title();
    names += constraints.empty() ? "" : " (" + constraints + ")";
  }
  return denied(names + ": each request alone could be served, but not all together" + updating);
}

Json result_of(const Choice& choice, const DevicePools& pools) {
  const PoolDevice& device = pools.devices[choice.candidate->device];
  Json result = {{"request", choice.alternative->name},
                 {"driver", device.id.driver},
                 {"pool", device.id.pool},
                 {"device", device.id.device}};
  if (choice.alternative->admin) {
    result["adminAccess"] = true;
  }
  if (choice.alternative->request->contains("tolerations")) {
    result["tolerations"] = (*choice.alternative->request)["tolerations"];
  }
  for (const char* key : {"bindingConditions", "bindingFailureConditions"}) {
    if (device.device->contains(key)) {
      result[key] = (*device.device)[key];
    }
  }
  if (device.shared) {
    result["shareID"] = new_uuid();
    for (const auto& [key, amount] : choice.candidate->amounts) {
      result["consumedCapacity"][key] = amount.to_string();
    }
  }
  return result;
}

/// The alternatives that were chosen, in the order of the requests.
std::vector<const Alternative*> chosen_alternatives(const std::vector<Choice>& choices, std::size_t claim) {
  std::vector<const Alternative*> chosen;
  for (const Choice& choice : choices) {
    if (choice.claim == claim && std::ranges::find(chosen, choice.alternative) == chosen.end()) {
      chosen.push_back(choice.alternative);
    }
  }
  return chosen;
}

bool is_relevant(const Json& config, const std::vector<const Alternative*>& chosen) {
  const Json& requests = value_at(config, "requests");
  return requests.empty() || std::ranges::any_of(requests, [&](const Json& entry) {
           const auto name = entry.get<std::string>();
           return std::ranges::any_of(chosen, [&](const Alternative* alternative) {
             return alternative->name == name || alternative->name.starts_with(name + "/");
           });
         });
}

Json config_of(const Json& claim, const std::vector<const Alternative*>& chosen) {
  Json config = Json::array();
  for (const Alternative* alternative : chosen) {
    for (const Json& entry : value_at(value_at(*alternative->device_class, "spec"), "config")) {
      config.push_back(
          {{"source", "FromClass"}, {"requests", {alternative->name}}, {"opaque", entry["opaque"]}});
    }
  }
  for (const Json& entry : value_at(claim["spec"]["devices"], "config")) {
    if (!is_relevant(entry, chosen)) {
      continue;
    }
    Json out = {{"source", "FromClaim"}, {"opaque", entry["opaque"]}};
    if (entry.contains("requests")) {
      out["requests"] = entry["requests"];
    }
    config.push_back(std::move(out));
  }
  return config;
}

Json allocation_of(const ClaimPlan& plan, std::size_t index, const std::vector<Choice>& choices,
                   const DevicePools& pools, const std::string& node) {
  Json results = Json::array();
  bool bound_to_node = false;
  for (const Choice& choice : choices) {
    if (choice.claim == index) {
      results.push_back(result_of(choice, pools));
      bound_to_node = bound_to_node || !pools.devices[choice.candidate->device].on_every_node;
    }
  }
  Json allocation = {{"devices", {{"results", std::move(results)}}}, {"allocationTimestamp", now_rfc3339()}};
  Json config = config_of(*plan.claim, chosen_alternatives(choices, index));
  if (!config.empty()) {
    allocation["devices"]["config"] = std::move(config);
  }
  if (bound_to_node) {
    const Json field = {{"key", "metadata.name"}, {"operator", "In"}, {"values", Json::array({node})}};
    const Json term = {{"matchFields", Json::array({field})}};
    allocation["nodeSelector"]["nodeSelectorTerms"] = Json::array({term});
  }
  return allocation;
}

}  // namespace

Result<std::vector<Json>> allocate(const AllocationInput& input, std::span<const Json> wanted) {
  const DevicePools pools = gather_devices(input);
  const DeviceUsage usage(input.claims);
  const std::string node = name_of(input.node);
  std::vector<ClaimPlan> plans;
  Planner planner(input, pools);
  for (const Json& claim : wanted) {
    FL_ASSIGN(ClaimPlan plan, planner.plan(claim));
    plans.push_back(std::move(plan));
  }
  Search search(pools, usage, plans);
  if (!search.run()) {
    return search.gave_up()
               ? denied("the search for devices was given up after " + std::to_string(kMaxSteps) + " steps")
               : explain_all(plans, pools, usage, node);
  }
  std::vector<Json> allocations;
  allocations.reserve(plans.size());
  for (std::size_t i = 0; i < plans.size(); ++i) {
    allocations.push_back(allocation_of(plans[i], i, search.choices(), pools, node));
  }
  return allocations;
}

}  // namespace drydock
