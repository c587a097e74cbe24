// SPDX-License-Identifier: Apache-2.0
// The rules of DeviceClass, ResourceClaim and Pod: pkg/apis/resource/validation and pkg/apis/core/validation.
#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <set>

#include "drydock/cluster/cel.h"
#include "drydock/cluster/field_check.h"

namespace drydock {
namespace {

constexpr std::size_t kMaxRequests = 32;
constexpr std::size_t kMaxParameters = 10 * 1024;

void check_selectors(FieldCheck& check, const Json& owner, const std::string& path) {
  const Json& selectors = value_at(owner, "selectors");
  if (selectors.size() > 32) {
    check.too_many(path + ".selectors", selectors.size(), 32);
  }
  for (std::size_t i = 0; i < selectors.size(); ++i) {
    const std::string at = item(path + ".selectors", i) + ".cel";
    if (!selectors[i].contains("cel")) {
      check.required(at);
      continue;
    }
    const std::string expression = text_at(selectors[i]["cel"], "expression");
    if (expression.empty()) {
      check.required(at + ".expression");
      continue;
    }
    if (expression.size() > kMaxParameters) {
      check.too_long(at + ".expression", kMaxParameters);
      continue;
    }
    const auto program = CelProgram::compile(expression);
    if (!program) {
      check.invalid(at + ".expression", expression, "compilation failed: " + program.error().what());
    }
  }
}

void check_opaque(FieldCheck& check, const Json& config, const std::string& path) {
  if (!config.contains("opaque")) {
    check.required(path, "exactly one of the configurations is required: `opaque`");
    return;
  }
  const Json& opaque = config["opaque"];
  check.driver_name(path + ".opaque.driver", text_at(opaque, "driver"));
  const Json& parameters = value_at(opaque, "parameters");
  const std::string at = path + ".opaque.parameters";
  if (parameters.is_null()) {
    check.required(at);
  } else if (!parameters.is_object()) {
    check.invalid(at, "<value omitted>", "must be a valid JSON object");
  } else if (parameters.dump(-1, ' ', false, Json::error_handler_t::replace).size() > kMaxParameters) {
    check.too_long(at, kMaxParameters);
  }
}

void check_request(FieldCheck& check, const Json& request, const std::string& path) {
  const std::string class_name = text_at(request, "deviceClassName");
  check.dns_subdomain(path + ".deviceClassName", class_name);
  check_selectors(check, request, path);
  const std::string mode = text_at(request, "allocationMode");
  if (mode == "All") {
    if (request.value("count", std::int64_t{0}) != 0) {
      check.invalid(path + ".count", request["count"], "must not be specified when allocationMode is 'All'");
    }
  } else if (mode == "ExactCount") {
    if (request.value("count", std::int64_t{0}) <= 0) {
      check.invalid(path + ".count", value_at(request, "count"), "must be greater than zero");
    }
  } else {
    check.unsupported(path + ".allocationMode", mode, {"All", "ExactCount"});
  }
  const Json& tolerations = value_at(request, "tolerations");
  for (std::size_t i = 0; i < tolerations.size(); ++i) {
    check_toleration(check, tolerations[i], item(path + ".tolerations", i));
  }
  for (const auto& [key, value] : value_at(value_at(request, "capacity"), "requests").items()) {
    check.qualified_name(path + ".capacity.requests[" + key + "]", key);
  }
}

void check_alternatives(FieldCheck& check, const Json& request, const std::string& path,
                        std::set<std::string>& names) {
  const Json& list = request["firstAvailable"];
  const std::string main = text_at(request, "name");
  if (list.size() > 8) {
    check.too_many(path + ".firstAvailable", list.size(), 8);
  }
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string at = item(path + ".firstAvailable", i);
    const std::string name = text_at(list[i], "name");
    check.dns_label(at + ".name", name);
    if (!names.insert(main + "/" + name).second) {
      check.duplicate(at + ".name", name);
    }
    check_request(check, list[i], at);
  }
}

/// The names that constraints and config may use: "main" and "main/sub".
std::set<std::string> check_requests(FieldCheck& check, const Json& devices, const std::string& path) {
  std::set<std::string> names;
  const Json& requests = value_at(devices, "requests");
  if (requests.size() > kMaxRequests) {
    check.too_many(path + ".requests", requests.size(), kMaxRequests);
  }
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const std::string at = item(path + ".requests", i);
    const Json& request = requests[i];
    check.dns_label(at + ".name", text_at(request, "name"));
    if (!names.insert(text_at(request, "name")).second) {
      check.duplicate(at + ".name", text_at(request, "name"));
    }
    const bool exactly = request.contains("exactly");
    const bool alternatives = !value_at(request, "firstAvailable").empty();
    if (exactly == alternatives) {
      const std::string why = "exactly one of `exactly` or `firstAvailable` is required";
      if (exactly) {
        check.invalid(at, text_at(request, "name"), why);
      } else {
        check.required(at, why);
      }
    }
    if (exactly) {
      check_request(check, request["exactly"], at + ".exactly");
    }
    if (alternatives) {
      check_alternatives(check, request, at, names);
    }
  }
  return names;
}

void check_references(FieldCheck& check, const Json& owner, const std::string& path,
                      const std::set<std::string>& names) {
  const Json& requests = value_at(owner, "requests");
  if (requests.size() > kMaxRequests) {
    check.too_many(path + ".requests", requests.size(), kMaxRequests);
  }
  std::set<std::string> seen;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const auto name = requests[i].get<std::string>();
    if (!names.contains(name)) {
      check.invalid(
          item(path + ".requests", i), name,
          "must be the name of a request in the claim or the name of a request and a subrequest separated "
          "by '/'");
    }
    if (!seen.insert(name).second) {
      check.duplicate(item(path + ".requests", i), name);
    }
  }
}

void check_constraint(FieldCheck& check, const Json& constraint, const std::string& path,
                      const std::set<std::string>& names) {
  check_references(check, constraint, path, names);
  const bool match = constraint.contains("matchAttribute");
  const bool distinct = constraint.contains("distinctAttribute");
  if (match == distinct) {
    check.required(path, "exactly one of `matchAttribute` or `distinctAttribute` is required");
    return;
  }
  const char* key = match ? "matchAttribute" : "distinctAttribute";
  const std::string name = text_at(constraint, key);
  check.qualified_name(path + "." + key, name);
  if (!name.empty() && name.find('/') == std::string::npos) {
    check.invalid(path + "." + key, name,
                  "a fully qualified name must be a domain and a name separated by a slash");
  }
}

std::string device_key(const Json& entry) {
  return text_at(entry, "driver") + "/" + text_at(entry, "pool") + "/" + text_at(entry, "device") + "/" +
         text_at(entry, "shareID");
}

/// The canonical text of an interface address; empty if it is not an address.
std::string canonical_cidr(const std::string& text) {
  const auto slash = text.find('/');
  if (slash == std::string::npos) {
    return "";
  }
  const std::string address = text.substr(0, slash);
  int prefix = -1;
  const auto parsed = std::from_chars(text.data() + slash + 1, text.data() + text.size(), prefix);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) {
    return "";
  }
  std::array<unsigned char, 16> bytes{};
  std::array<char, INET6_ADDRSTRLEN> out{};
  const bool v4 = ::inet_pton(AF_INET, address.c_str(), bytes.data()) == 1;
  if (!v4 && ::inet_pton(AF_INET6, address.c_str(), bytes.data()) != 1) {
    return "";
  }
  if (prefix < 0 || prefix > (v4 ? 32 : 128)) {
    return "";
  }
  constexpr std::array<unsigned char, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (!v4 && prefix >= 96 && std::equal(kMapped.begin(), kMapped.end(), bytes.begin())) {
    (void)::inet_ntop(AF_INET, bytes.data() + 12, out.data(), out.size());
    return std::string(out.data()) + "/" + std::to_string(prefix - 96);
  }
  (void)::inet_ntop(v4 ? AF_INET : AF_INET6, bytes.data(), out.data(), out.size());
  return std::string(out.data()) + "/" + std::to_string(prefix);
}

void check_network_data(FieldCheck& check, const Json& data, const std::string& path) {
  if (text_at(data, "interfaceName").size() > 256) {
    check.too_long(path + ".interfaceName", 256);
  }
  if (text_at(data, "hardwareAddress").size() > 128) {
    check.too_long(path + ".hardwareAddress", 128);
  }
  const Json& ips = value_at(data, "ips");
  if (ips.size() > 16) {
    check.too_many(path + ".ips", ips.size(), 16);
  }
  std::set<std::string> seen;
  for (std::size_t i = 0; i < ips.size(); ++i) {
    const auto text = ips[i].get<std::string>();
    const std::string canonical = canonical_cidr(text);
    if (canonical.empty()) {
      check.invalid(item(path + ".ips", i), text,
                    "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)");
    } else if (canonical != text) {
      check.invalid(item(path + ".ips", i), text, "must be in canonical form (\"" + canonical + "\")");
    }
    if (!seen.insert(text).second) {
      check.duplicate(item(path + ".ips", i), text);
    }
  }
}

void check_condition(FieldCheck& check, const Json& condition, const std::string& path) {
  check.label_name(path + ".type", text_at(condition, "type"));
  check.one_of(path + ".status", text_at(condition, "status"), {"False", "True", "Unknown"});
  for (const char* key : {"reason", "lastTransitionTime"}) {
    if (text_at(condition, key).empty()) {
      check.required(path + "." + key);
    }
  }
}

void check_device_status(FieldCheck& check, const Json& entry, const std::string& path) {
  check.driver_name(path + ".driver", text_at(entry, "driver"));
  check.dns_label(path + ".device", text_at(entry, "device"));
  const Json& conditions = value_at(entry, "conditions");
  if (conditions.size() > 8) {
    check.too_many(path + ".conditions", conditions.size(), 8);
  }
  std::set<std::string> types;
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    check_condition(check, conditions[i], item(path + ".conditions", i));
    if (!types.insert(text_at(conditions[i], "type")).second) {
      check.duplicate(item(path + ".conditions", i) + ".type", text_at(conditions[i], "type"));
    }
  }
  const Json& data = value_at(entry, "data");
  if (!data.is_null() && !data.is_object()) {
    check.invalid(path + ".data", "<value omitted>", "must be a valid JSON object");
  } else if (data.is_object() &&
             data.dump(-1, ' ', false, Json::error_handler_t::replace).size() > kMaxParameters) {
    check.too_long(path + ".data", kMaxParameters);
  }
  check_network_data(check, value_at(entry, "networkData"), path + ".networkData");
}

void check_reserved_for(FieldCheck& check, const Json& status) {
  const Json& reserved = value_at(status, "reservedFor");
  if (reserved.size() > 256) {
    check.too_many("status.reservedFor", reserved.size(), 256);
  }
  if (!reserved.empty() && !status.contains("allocation")) {
    check.forbidden("status.reservedFor", "may not be specified when `allocated` is not set");
  }
  std::set<std::string> uids;
  for (std::size_t i = 0; i < reserved.size(); ++i) {
    const std::string at = item("status.reservedFor", i);
    for (const char* key : {"resource", "name", "uid"}) {
      if (text_at(reserved[i], key).empty()) {
        check.required(at + "." + key);
      }
    }
    if (!uids.insert(text_at(reserved[i], "uid")).second) {
      check.duplicate(at + ".uid", text_at(reserved[i], "uid"));
    }
  }
}

void check_pod_claims(FieldCheck& check, const Json& spec, std::set<std::string>& names) {
  const Json& claims = value_at(spec, "resourceClaims");
  for (std::size_t i = 0; i < claims.size(); ++i) {
    const std::string at = item("spec.resourceClaims", i);
    const std::string name = text_at(claims[i], "name");
    check.dns_label(at + ".name", name);
    if (!names.insert(name).second) {
      check.duplicate(at + ".name", name);
    }
    const std::string claim = text_at(claims[i], "resourceClaimName");
    const std::string from_template = text_at(claims[i], "resourceClaimTemplateName");
    if (claim.empty() == from_template.empty()) {
      check.invalid(
          at, claims[i],
          claim.empty()
              ? "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
              : "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified");
    }
  }
}

void check_container(FieldCheck& check, const Json& container, const std::string& path,
                     const std::set<std::string>& claims) {
  check.dns_label(path + ".name", text_at(container, "name"));
  if (text_at(container, "image").empty()) {
    check.required(path + ".image");
  }
  const Json& uses = value_at(value_at(container, "resources"), "claims");
  for (std::size_t i = 0; i < uses.size(); ++i) {
    const std::string at = item(path + ".resources.claims", i);
    const std::string name = text_at(uses[i], "name");
    if (name.empty()) {
      check.required(at + ".name");
    } else if (!claims.contains(name)) {
      check.causes.push_back({at, "Not found: \"" + name + "\"", "FieldValueNotFound"});
    }
  }
  const Json& environment = value_at(container, "env");
  for (std::size_t i = 0; i < environment.size(); ++i) {
    if (text_at(environment[i], "name").empty()) {
      check.required(item(path + ".env", i) + ".name");
    }
  }
}

}  // namespace

void check_toleration(FieldCheck& check, const Json& toleration, const std::string& path) {
  const std::string op = text_at(toleration, "operator");
  if (!op.empty()) {
    check.one_of(path + ".operator", op, {"Equal", "Exists"});
  }
  if (text_at(toleration, "key").empty() && op != "Exists") {
    check.invalid(
        path + ".operator", op,
        "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
  }
  const std::string effect = text_at(toleration, "effect");
  if (!effect.empty()) {
    check.one_of(path + ".effect", effect, {"NoExecute", "NoSchedule"});
  }
}

void check_device_class(FieldCheck& check, const Json& object) {
  const Json& spec = value_at(object, "spec");
  check_selectors(check, spec, "spec");
  const Json& config = value_at(spec, "config");
  if (config.size() > 32) {
    check.too_many("spec.config", config.size(), 32);
  }
  for (std::size_t i = 0; i < config.size(); ++i) {
    check_opaque(check, config[i], item("spec.config", i));
  }
}

void check_claim_spec(FieldCheck& check, const Json& spec, const std::string& path) {
  const Json& devices = value_at(spec, "devices");
  const std::string at = path + ".devices";
  const std::set<std::string> names = check_requests(check, devices, at);
  const Json& constraints = value_at(devices, "constraints");
  if (constraints.size() > 32) {
    check.too_many(at + ".constraints", constraints.size(), 32);
  }
  for (std::size_t i = 0; i < constraints.size(); ++i) {
    check_constraint(check, constraints[i], item(at + ".constraints", i), names);
  }
  const Json& config = value_at(devices, "config");
  if (config.size() > 32) {
    check.too_many(at + ".config", config.size(), 32);
  }
  for (std::size_t i = 0; i < config.size(); ++i) {
    check_references(check, config[i], item(at + ".config", i), names);
    check_opaque(check, config[i], item(at + ".config", i));
  }
}

void check_claim_status(FieldCheck& check, const Json& before, const Json& after) {
  const Json& old_status = value_at(before, "status");
  const Json& status = value_at(after, "status");
  check_reserved_for(check, status);
  const Json& allocation = value_at(status, "allocation");
  const Json& old_allocation = value_at(old_status, "allocation");
  if (!old_allocation.is_null() && !allocation.is_null() && old_allocation != allocation) {
    check.invalid("status.allocation", "<value omitted>", "field is immutable");
  }
  std::set<std::string> allocated;
  for (const Json& result : value_at(value_at(allocation, "devices"), "results")) {
    allocated.insert(device_key(result));
  }
  const Json& devices = value_at(status, "devices");
  std::set<std::string> seen;
  for (std::size_t i = 0; i < devices.size(); ++i) {
    const std::string at = item("status.devices", i);
    const std::string key = device_key(devices[i]);
    if (!allocated.contains(key)) {
      check.invalid(at, key, "must be an allocated device in the claim");
    }
    if (!seen.insert(key).second) {
      check.duplicate(at, key);
    }
    check_device_status(check, devices[i], at);
  }
}

void check_pod(FieldCheck& check, const Json& pod) {
  const Json& spec = value_at(pod, "spec");
  std::set<std::string> claims;
  check_pod_claims(check, spec, claims);
  if (value_at(spec, "containers").empty()) {
    check.required("spec.containers");
  }
  std::set<std::string> names;
  for (const char* list : {"initContainers", "containers"}) {
    const Json& containers = value_at(spec, list);
    for (std::size_t i = 0; i < containers.size(); ++i) {
      const std::string at = item(std::string("spec.") + list, i);
      check_container(check, containers[i], at, claims);
      if (!names.insert(text_at(containers[i], "name")).second) {
        check.duplicate(at + ".name", text_at(containers[i], "name"));
      }
    }
  }
  const std::string policy = text_at(spec, "restartPolicy");
  check.one_of("spec.restartPolicy", policy, {"Always", "OnFailure", "Never"});
}

}  // namespace drydock
