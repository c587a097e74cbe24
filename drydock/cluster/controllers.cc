// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/controllers.h"

#include <algorithm>
#include <chrono>
#include <set>

#include "drydock/cluster/allocator.h"
#include "drydock/cluster/cluster.h"
#include "drydock/cluster/field_check.h"
#include "drydock/cluster/ids.h"
#include "drydock/cluster/object_write.h"

namespace drydock {
namespace {

using fairlead::Lock;

constexpr std::string_view kPodClaimName = "resource.kubernetes.io/pod-claim-name";
/// Keeps an allocated claim from going while a node may still use it.
constexpr std::string_view kFinalizer = "resource.kubernetes.io/delete-protection";
constexpr std::chrono::milliseconds kStopCheck{100};

std::string namespace_of(const Json& object) { return text_at(value_at(object, "metadata"), "namespace"); }
std::string uid_of(const Json& object) { return text_at(value_at(object, "metadata"), "uid"); }
std::string in_quotes(std::string_view text) { return "\"" + std::string(text) + "\""; }

bool is_deleted(const Json& object) { return value_at(object, "metadata").contains("deletionTimestamp"); }

bool is_done(const Json& pod) {
  const std::string phase = text_at(value_at(pod, "status"), "phase");
  return phase == "Succeeded" || phase == "Failed";
}

/// The pod that owns a claim made from a template; null when there is none by that uid.
const Json* find_by_uid(const std::vector<Json>& objects, std::string_view uid) {
  const auto it = std::ranges::find(objects, uid, uid_of);
  return it == objects.end() ? nullptr : &*it;
}

Json owner_reference(const Json& pod) {
  return {{"apiVersion", "v1"}, {"kind", "Pod"},      {"name", object_name(pod)},
          {"uid", uid_of(pod)}, {"controller", true}, {"blockOwnerDeletion", true}};
}

bool owned_by(const Json& object, const Json& owner) {
  const Json& owners = value_at(value_at(object, "metadata"), "ownerReferences");
  return std::ranges::any_of(owners,
                             [&](const Json& entry) { return text_at(entry, "uid") == uid_of(owner); });
}

void set_condition(Json& pod, const Json& condition) {
  Json& conditions = pod["status"]["conditions"];
  if (!conditions.is_array()) {
    conditions = Json::array();
  }
  for (Json& existing : conditions) {
    if (existing["type"] == condition["type"]) {
      existing = condition;
      return;
    }
  }
  conditions.push_back(condition);
}

Json consumer(const Json& pod) {
  return {{"resource", "pods"}, {"name", object_name(pod)}, {"uid", uid_of(pod)}};
}

void reserve(Json& claim, const Json& pod) {
  Json& reserved = claim["status"]["reservedFor"];
  if (!reserved.is_array()) {
    reserved = Json::array();
  }
  const bool there =
      std::ranges::any_of(reserved, [&](const Json& entry) { return text_at(entry, "uid") == uid_of(pod); });
  if (!there) {
    reserved.push_back(consumer(pod));
  }
}

bool has_finalizer(const Json& claim) {
  const Json& finalizers = value_at(value_at(claim, "metadata"), "finalizers");
  return std::ranges::find(finalizers, Json(kFinalizer)) != finalizers.end();
}

bool drop_finalizer(Json& claim) {
  if (!has_finalizer(claim)) {
    return false;
  }
  Json kept = Json::array();
  for (const Json& finalizer : claim["metadata"]["finalizers"]) {
    if (finalizer != kFinalizer) {
      kept.push_back(finalizer);
    }
  }
  claim["metadata"]["finalizers"] = std::move(kept);
  return true;
}

Json consumers_still_there(const Json& claim, const std::vector<Json>& pods) {
  Json kept = Json::array();
  for (const Json& entry : value_at(value_at(claim, "status"), "reservedFor")) {
    const Json* pod =
        text_at(entry, "resource") == "pods" ? find_by_uid(pods, text_at(entry, "uid")) : nullptr;
    const bool foreign = text_at(entry, "resource") != "pods";
    if (foreign || (pod != nullptr && !is_done(*pod))) {
      kept.push_back(entry);
    }
  }
  return kept;
}

bool selector_matches(const Json& pod, const Json& node) {
  const Json& labels = value_at(value_at(node, "metadata"), "labels");
  const Json& wanted = value_at(value_at(pod, "spec"), "nodeSelector");
  return std::ranges::all_of(
      wanted.items(), [&](const auto& entry) { return value_at(labels, entry.key()) == entry.value(); });
}

}  // namespace

std::string claim_name_of(const Json& pod, const Json& entry) {
  std::string direct = text_at(entry, "resourceClaimName");
  if (!direct.empty()) {
    return direct;
  }
  for (const Json& status : value_at(value_at(pod, "status"), "resourceClaimStatuses")) {
    if (text_at(status, "name") == text_at(entry, "name")) {
      return text_at(status, "resourceClaimName");
    }
  }
  return "";
}

void write_event(Store& store, const Json& object, const EventText& event) {
  const std::string ns = namespace_of(object).empty() ? "default" : namespace_of(object);
  const Selector about{
      .fields = {{.path = "involvedObject.uid", .value = uid_of(object), .op = Requirement::Op::kEquals}},
      .labels = {}};
  for (const Json& known : store.all(kinds::kEvent, about)) {
    if (text_at(known, "reason") == event.reason && text_at(known, "message") == event.message) {
      (void)store.modify(kinds::kEvent, ns, object_name(known), Part::kSpec, [](Json& stored) {
        stored["count"] = stored.value("count", std::int64_t{1}) + 1;
        stored["lastTimestamp"] = now_rfc3339();
        return true;
      });
      return;
    }
  }
  const std::string now = now_rfc3339();
  const Json involved = {{"apiVersion", text_at(object, "apiVersion")},
                         {"kind", text_at(object, "kind")},
                         {"name", object_name(object)},
                         {"namespace", namespace_of(object)},
                         {"uid", uid_of(object)}};
  (void)store.create(kinds::kEvent, ns,
                     {{"metadata", {{"name", object_name(object) + "." + random_hex(8)}}},
                      {"involvedObject", involved},
                      {"reason", event.reason},
                      {"message", event.message},
                      {"type", event.warning ? "Warning" : "Normal"},
                      {"source", {{"component", event.component}}},
                      {"reportingComponent", event.component},
                      {"firstTimestamp", now},
                      {"lastTimestamp", now},
                      {"count", 1}});
}

Controllers::Controllers(Store& store, std::string node_name)
    : store_(store), node_name_(std::move(node_name)), thread_([this] { run(); }) {}

Controllers::~Controllers() {
  {
    const Lock lock(mutex_);
    stopping_ = true;
  }
  thread_.join();
}

void Controllers::run() {
  std::uint64_t seen = 0;
  while (true) {
    {
      const Lock lock(mutex_);
      if (stopping_) {
        return;
      }
    }
    if (!store_.wait_newer(seen, Clock::now() + kStopCheck)) {
      continue;
    }
    seen = store_.resource_version();
    reconcile();
  }
}

void Controllers::reconcile() {
  for (const Json& pod : store_.all(kinds::kPod)) {
    if (!is_deleted(pod) && !is_done(pod)) {
      make_claims(pod);
    }
  }
  release_claims(store_.all(kinds::kPod));
  std::vector<Json> pods = store_.all(kinds::kPod);
  std::ranges::stable_sort(pods, {},
                           [](const Json& pod) { return text_at(pod["metadata"], "creationTimestamp"); });
  for (const Json& pod : pods) {
    const bool bound = !text_at(value_at(pod, "spec"), "nodeName").empty();
    if (!bound && !is_deleted(pod) && !is_done(pod)) {
      schedule(pod);
    }
  }
  collect_garbage();
}

void Controllers::make_claims(const Json& pod) {
  for (const Json& entry : value_at(value_at(pod, "spec"), "resourceClaims")) {
    if (claim_name_of(pod, entry).empty() && !make_claim(pod, entry)) {
      return;
    }
  }
}

bool Controllers::make_claim(const Json& pod, const Json& entry) {
  const std::string ns = namespace_of(pod);
  const std::string from = text_at(entry, "resourceClaimTemplateName");
  const auto found = store_.get(kinds::kResourceClaimTemplate, ns, from);
  if (!found) {
    unschedulable(pod, "pod claim " + in_quotes(text_at(entry, "name")) + ": resourceclaimtemplate " +
                           in_quotes(from) + " not found in namespace " + ns);
    return false;
  }
  Json metadata = value_at((*found)["spec"], "metadata");
  if (!metadata.is_object()) {
    metadata = Json::object();
  }
  metadata["generateName"] = object_name(pod) + "-" + text_at(entry, "name") + "-";
  metadata["annotations"][std::string(kPodClaimName)] = text_at(entry, "name");
  metadata["ownerReferences"] = Json::array({owner_reference(pod)});
  const auto claim =
      store_.create(kinds::kResourceClaim, ns, {{"metadata", metadata}, {"spec", (*found)["spec"]["spec"]}});
  if (!claim) {
    unschedulable(pod, "pod claim " + in_quotes(text_at(entry, "name")) + ": " + claim.error().message);
    return false;
  }
  const auto noted = store_.modify(kinds::kPod, ns, object_name(pod), Part::kStatus, [&](Json& stored) {
    if (uid_of(stored) != uid_of(pod)) {
      return false;
    }
    stored["status"]["resourceClaimStatuses"].push_back(
        {{"name", text_at(entry, "name")}, {"resourceClaimName", object_name(*claim)}});
    return true;
  });
  return noted.has_value();
}

void Controllers::schedule(const Json& pod) {
  const auto node = store_.get(kinds::kNode, "", node_name_);
  if (!node) {
    return;
  }
  if (!selector_matches(pod, *node)) {
    unschedulable(pod, "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.");
    return;
  }
  std::vector<Json> claims;
  std::vector<Json> pending;
  for (const Json& entry : value_at(pod["spec"], "resourceClaims")) {
    const std::string name = claim_name_of(pod, entry);
    if (name.empty()) {
      return;  // make_claim said why
    }
    auto claim = store_.get(kinds::kResourceClaim, namespace_of(pod), name);
    if (!claim || is_deleted(*claim)) {
      unschedulable(pod, "0/1 nodes are available: resourceclaim " + in_quotes(name) +
                             (claim ? " is being deleted" : " not found"));
      return;
    }
    if (!value_at(value_at(*claim, "status"), "allocation").is_object()) {
      pending.push_back(*claim);
    }
    claims.push_back(std::move(*claim));
  }
  std::vector<Json> allocations;
  if (!pending.empty()) {
    auto found = allocate({.node = *node,
                           .slices = store_.all(kinds::kResourceSlice),
                           .classes = store_.all(kinds::kDeviceClass),
                           .claims = store_.all(kinds::kResourceClaim)},
                          pending);
    if (!found) {
      unschedulable(pod, found.error().what());
      return;
    }
    allocations = std::move(*found);
  }
  bind(pod, claims, allocations);
}

void Controllers::bind(const Json& pod, const std::vector<Json>& claims,
                       const std::vector<Json>& allocations) {
  std::size_t next = 0;
  const std::string ns = namespace_of(pod);
  std::set<std::string> done;
  for (const Json& claim : claims) {
    const bool fresh = !value_at(value_at(claim, "status"), "allocation").is_object();
    const Json allocation = fresh ? allocations[next++] : Json();
    if (!done.insert(uid_of(claim)).second) {
      continue;  // two entries of the pod may name one claim
    }
    (void)store_.modify(kinds::kResourceClaim, ns, object_name(claim), Part::kSpec, [](Json& stored) {
      const bool add = !has_finalizer(stored);
      if (add) {
        stored["metadata"]["finalizers"].push_back(kFinalizer);
      }
      return add;
    });
    const auto written =
        store_.modify(kinds::kResourceClaim, ns, object_name(claim), Part::kStatus, [&](Json& stored) {
          if (fresh) {
            stored["status"]["allocation"] = allocation;
          }
          reserve(stored, pod);
          return true;
        });
    if (!written) {
      unschedulable(pod, "0/1 nodes are available: " + written.error().message);
      return;
    }
  }
  const auto bound = store_.modify(kinds::kPod, ns, object_name(pod), Part::kSpec, [&](Json& stored) {
    if (uid_of(stored) != uid_of(pod) || is_deleted(stored)) {
      return false;
    }
    stored["spec"]["nodeName"] = node_name_;
    return true;
  });
  if (!bound) {
    return;
  }
  last_reason_.erase(uid_of(pod));
  (void)store_.modify(kinds::kPod, ns, object_name(pod), Part::kStatus, [](Json& stored) {
    set_condition(stored,
                  {{"type", "PodScheduled"}, {"status", "True"}, {"lastTransitionTime", now_rfc3339()}});
    return true;
  });
  write_event(store_, *bound,
              {.warning = false,
               .reason = "Scheduled",
               .message = "Successfully assigned " + ns + "/" + object_name(pod) + " to " + node_name_,
               .component = "default-scheduler"});
}

void Controllers::unschedulable(const Json& pod, const std::string& why) {
  std::string& last = last_reason_[uid_of(pod)];
  if (last == why) {
    return;  // reported already: a pod is tried again at every change
  }
  last = why;
  write_event(
      store_, pod,
      {.warning = true, .reason = "FailedScheduling", .message = why, .component = "default-scheduler"});
  (void)store_.modify(kinds::kPod, namespace_of(pod), object_name(pod), Part::kStatus, [&](Json& stored) {
    set_condition(stored, {{"type", "PodScheduled"},
                           {"status", "False"},
                           {"reason", "Unschedulable"},
                           {"message", why},
                           {"lastTransitionTime", now_rfc3339()}});
    return true;
  });
}

void Controllers::release_claims(const std::vector<Json>& pods) {
  for (const Json& claim : store_.all(kinds::kResourceClaim)) {
    release(claim, pods);
  }
  std::erase_if(last_reason_, [&](const auto& entry) { return find_by_uid(pods, entry.first) == nullptr; });
}

void Controllers::release(const Json& claim, const std::vector<Json>& pods) {
  const std::string ns = namespace_of(claim);
  const std::string name = object_name(claim);
  const Json& status = value_at(claim, "status");
  const Json kept = consumers_still_there(claim, pods);
  const bool shrinks = kept.size() != value_at(status, "reservedFor").size();
  const bool allocated = status.contains("allocation");
  if (shrinks || (kept.empty() && allocated)) {
    (void)store_.modify(kinds::kResourceClaim, ns, name, Part::kStatus, [&](Json& stored) {
      if (uid_of(stored) != uid_of(claim)) {
        return false;
      }
      const Json now_kept = consumers_still_there(stored, pods);
      stored["status"]["reservedFor"] = now_kept;
      if (now_kept.empty()) {
        stored["status"] = Json::object();
      }
      return true;
    });
  }
  if (kept.empty()) {
    (void)store_.modify(kinds::kResourceClaim, ns, name, Part::kSpec, [&](Json& stored) {
      return !value_at(value_at(stored, "status"), "allocation").is_object() && drop_finalizer(stored);
    });
  }
  const bool generated = value_at(value_at(claim["metadata"], "annotations"), kPodClaimName).is_string();
  const auto owner = std::ranges::find_if(pods, [&](const Json& pod) { return owned_by(claim, pod); });
  if (generated && kept.empty() && (owner == pods.end() || is_done(*owner))) {
    (void)store_.remove(kinds::kResourceClaim, ns, name,
                        {.uid = uid_of(claim), .resource_version = "", .grace_seconds = {}});
  }
}

void Controllers::collect_garbage() {
  std::set<std::string> uids;
  std::set<std::string> namespaces;
  std::vector<std::pair<const Kind*, Json>> suspects;
  for (const Kind* kind : all_kinds()) {
    for (Json& object : store_.all(*kind)) {
      uids.insert(uid_of(object));
      if (kind == &kinds::kNamespace) {
        namespaces.insert(object_name(object));
      }
      const bool owned = !value_at(object["metadata"], "ownerReferences").empty();
      if (owned || kind->namespaced) {
        suspects.emplace_back(kind, std::move(object));
      }
    }
  }
  for (const auto& [kind, object] : suspects) {
    const Json& owners = value_at(object["metadata"], "ownerReferences");
    const bool orphan = !owners.empty() && std::ranges::all_of(owners, [&](const Json& owner) {
      return find_kind(text_at(owner, "apiVersion"), text_at(owner, "kind")) != nullptr &&
             !uids.contains(text_at(owner, "uid"));
    });
    const bool homeless = kind->namespaced && !namespaces.contains(namespace_of(object));
    if ((orphan || homeless) && !is_deleted(object)) {
      (void)store_.remove(*kind, namespace_of(object), object_name(object),
                          {.uid = uid_of(object), .resource_version = "", .grace_seconds = {}});
    }
  }
}

}  // namespace drydock
