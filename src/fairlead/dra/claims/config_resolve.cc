// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/claims/config_resolve.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace fairlead::dra {
namespace {

std::string_view main_part(std::string_view request) { return request.substr(0, request.find('/')); }

/// "main" covers "main" and "main/sub"; "main/sub" covers itself.
bool covers(std::string_view wanted, std::string_view request) {
  return wanted == request || wanted == main_part(request);
}

bool applies(const kube::AllocationConfig& entry, std::string_view request) {
  return entry.requests.empty() || std::ranges::any_of(entry.requests, [&](const std::string& wanted) {
           return covers(wanted, request);
         });
}

std::string quoted_list(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) {
    out += (out.empty() ? "\"" : ", \"") + word + "\"";
  }
  return out;
}

Result<> check_requests(const kube::ResourceClaim& claim, const kube::AllocationConfig& entry,
                        std::size_t index) {
  for (std::size_t j = 0; j < entry.requests.size(); ++j) {
    const std::string& wanted = entry.requests[j];
    if (!std::ranges::any_of(claim.request_names,
                             [&](const std::string& name) { return covers(wanted, name); })) {
      return Error(Code::kInvalid, "status.allocation.devices.config[" + std::to_string(index) +
                                       "].requests[" + std::to_string(j) + "]: the claim has no request \"" +
                                       wanted + "\" (it has " + quoted_list(claim.request_names) + ")");
    }
  }
  return {};
}

/// The classes of the allocated requests that the entry is for; "" for a request whose class is not known.
std::vector<std::string> allocated_classes(const kube::ResourceClaim& claim,
                                           const kube::AllocationConfig& entry) {
  std::set<std::string> names;
  for (const kube::AllocationResult& result : claim.allocation->results) {
    if (applies(entry, result.request)) {
      const auto found = claim.request_classes.find(result.request);
      names.insert(found == claim.request_classes.end() ? "" : found->second);
    }
  }
  return {names.begin(), names.end()};
}

/// The class that a class's entry is from; empty: it may be one of several.
std::string class_of(const kube::ResourceClaim& claim, const kube::AllocationConfig& entry) {
  const auto names = allocated_classes(claim, entry);
  return names.size() == 1 ? names.front() : std::string();
}

/// A newer allocator names no requests where the claim's entry names all that the claim has.
bool is_same(const kube::AllocationConfig& wrote, const kube::AllocationConfig& allocated) {
  return (allocated.requests.empty() || wrote.requests == allocated.requests) &&
         wrote.driver == allocated.driver && wrote.parameters == allocated.parameters;
}

/// Finds the origin of each entry of the allocation, one after the other: where its author wrote it.
class Origins {
 public:
  explicit Origins(const kube::ResourceClaim& claim) : claim_(&claim) {}

  std::string next(const kube::AllocationConfig& entry) {
    return entry.from_class ? next_of_class(entry) : next_of_claim(entry);
  }

 private:
  /// All entries of a class are adjacent, for all its requests at once or for one after the other.
  std::string next_of_class(const kube::AllocationConfig& entry) {
    const std::string name = class_of(*claim_, entry);
    const std::size_t index = class_entries_[{name, entry.requests}]++;
    return "config[" + std::to_string(index) + "] of " +
           (name.empty() ? "the DeviceClass" : "DeviceClass " + name);
  }

  /// The allocator leaves out entries for sub-requests that were not taken, and repeats one that names
  /// several requests for each of them.
  std::string next_of_claim(const kube::AllocationConfig& entry) {
    const auto& wrote = claim_->config;
    const auto from = wrote.begin() + static_cast<std::ptrdiff_t>(std::min(claim_entries_, wrote.size()));
    const auto found =
        std::find_if(from, wrote.end(), [&](const auto& config) { return is_same(config, entry); });
    const bool is_repeated =
        claim_entries_ > 0 && claim_entries_ <= wrote.size() && is_same(wrote[claim_entries_ - 1], entry);
    if (found != wrote.end()) {
      claim_entries_ = static_cast<std::size_t>(found - wrote.begin()) + 1;
    } else if (!is_repeated) {
      ++claim_entries_;  // a claim that was changed since cannot be; count
    }
    return "config[" + std::to_string(claim_entries_ - 1) + "] of the claim";
  }

  const kube::ResourceClaim* claim_;
  std::map<std::pair<std::string, std::vector<std::string>>, std::size_t> class_entries_;
  std::size_t claim_entries_ = 0;
};

struct OwnConfig {
  const kube::AllocationConfig* entry;
  SharedText parameters;
  std::string origin;
  std::vector<std::string> classes;
};

/// Our entries of `all`, class before claim whatever order the server had; a stable sort keeps the order of each.
Result<std::vector<OwnConfig>> own_config(const kube::ResourceClaim& claim,
                                          const std::vector<kube::AllocationConfig>& all,
                                          std::string_view driver) {
  std::vector<OwnConfig> own;
  Origins origins(claim);
  std::map<std::string_view, SharedText> texts;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    std::string origin = origins.next(all[i]);
    if (all[i].driver != driver) {
      continue;
    }
    FL_TRY(check_requests(claim, all[i], i));
    const auto [text, is_new] = texts.try_emplace(all[i].parameters, all[i].parameters);
    bytes += is_new ? all[i].parameters.size() : 0;
    own.push_back(
        {.entry = &all[i],
         .parameters = text->second,
         .origin = std::move(origin),
         .classes = all[i].from_class ? allocated_classes(claim, all[i]) : std::vector<std::string>()});
  }
  if (bytes > kMaxParameters) {
    return Error(Code::kInvalid, "status.allocation.devices.config: " + std::to_string(bytes) +
                                     " bytes of parameters for the driver \"" + std::string(driver) +
                                     "\"; at most " + std::to_string(kMaxParameters) +
                                     " are taken for one claim");
  }
  std::ranges::stable_partition(own, [](const OwnConfig& config) { return config.entry->from_class; });
  return own;
}

std::string reported_data(const kube::ResourceClaim& claim, const kube::AllocationResult& result) {
  const auto found = std::ranges::find_if(claim.reported, [&](const auto& entry) {
    return entry.driver == result.driver && entry.pool == result.pool && entry.device == result.device &&
           entry.share_id == result.share_id;
  });
  return found == claim.reported.end() ? std::string() : found->data;
}

AllocatedDevice allocated_device(const kube::AllocationResult& result, const std::vector<OwnConfig>& own) {
  AllocatedDevice device{.request = result.request,
                         .pool = result.pool,
                         .device = result.device,
                         .share_id = result.share_id,
                         .admin_access = result.admin_access,
                         .consumed_capacity = result.consumed_capacity,
                         .config = {}};
  for (const OwnConfig& config : own) {
    if (applies(*config.entry, result.request)) {
      device.config.push_back({.from_class = config.entry->from_class,
                               .parameters = config.parameters,
                               .path = config.origin + ": opaque.parameters",
                               .classes = config.classes});
    }
  }
  return device;
}

}  // namespace

Result<Claim> resolve_config(const kube::ResourceClaim& claim, std::string_view driver_name) {
  if (!claim.allocation) {
    return Error(Code::kInvalid, "status.allocation: the claim is not allocated");
  }
  FL_ASSIGN(const auto own, own_config(claim, claim.allocation->config, driver_name));
  Claim out{.namespace_ = claim.meta.namespace_,
            .name = claim.meta.name,
            .uid = claim.meta.uid,
            .reserved_for = pods_of(claim),
            .devices = {},
            .pod_claim_name = claim.meta.name};
  // Kubernetes' own, on claims that it makes from a template (resource/v1 PodResourceClaimAnnotation).
  const auto pods_name = claim.meta.annotations.find("resource.kubernetes.io/pod-claim-name");
  if (pods_name != claim.meta.annotations.end() && !pods_name->second.empty()) {
    out.pod_claim_name = pods_name->second;
  }
  for (const kube::AllocationResult& result : claim.allocation->results) {
    if (result.driver == driver_name) {
      out.devices.push_back(allocated_device(result, own));
      out.devices.back().reported = reported_data(claim, result);
    }
  }
  if (out.devices.empty()) {
    return Error(Code::kInvalid, "status.allocation.devices.results: no device of the driver \"" +
                                     std::string(driver_name) + "\" is allocated to the claim");
  }
  return out;
}

std::vector<Pod> pods_of(const kube::ResourceClaim& claim) {
  std::vector<Pod> pods;
  for (const kube::ClaimConsumer& consumer : claim.reserved_for) {
    if (consumer.api_group.empty() && consumer.resource == "pods") {
      pods.push_back({.name = consumer.name, .uid = consumer.uid});
    }
  }
  return pods;
}

}  // namespace fairlead::dra
