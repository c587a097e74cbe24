// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/cluster.h"

#include <algorithm>
#include <ranges>

#include "drydock/cluster/api_server.h"
#include "drydock/cluster/controllers.h"
#include "drydock/cluster/field_check.h"
#include "drydock/cluster/ids.h"
#include "drydock/cluster/manifest.h"
#include "drydock/cluster/object_write.h"

namespace drydock {
namespace {

using fairlead::Code;
using fairlead::Error;
using fairlead::Result;

constexpr const char* kManager = "drydock";

std::string namespace_of(const Json& object) { return text_at(value_at(object, "metadata"), "namespace"); }
std::string uid_of(const Json& object) { return text_at(value_at(object, "metadata"), "uid"); }

Code code_of(const ApiError& error) {
  switch (error.code) {
    case 404:
      return Code::kNotFound;
    case 409:
      return error.reason == "AlreadyExists" ? Code::kExists : Code::kConflict;
    case 400:
    case 422:
      return Code::kInvalid;
    default:
      return Code::kInternal;
  }
}

/// A 422 as one sentence: the field first.
Error to_error(const ApiError& error, const std::string& where) {
  std::string text = error.message;
  if (error.reason == "Invalid" && !error.causes.empty()) {
    text = error.causes.front().field + ": " + error.causes.front().message;
    if (error.causes.size() > 1) {
      text += " (and " + std::to_string(error.causes.size() - 1) + " more)";
    }
  }
  return {code_of(error), where + ": " + text};
}

Json node_object(const ClusterOptions& options) {
  const std::string now = now_rfc3339();
  const std::string& name = options.node_name;
  Json node = {
      {"metadata",
       {{"name", name}, {"labels", {{"kubernetes.io/hostname", name}, {"kubernetes.io/os", "linux"}}}}},
      {"status",
       {{"conditions",
         {{{"type", "Ready"},
           {"status", "True"},
           {"reason", "KubeletReady"},
           {"message", "drydock is posting ready status"},
           {"lastHeartbeatTime", now},
           {"lastTransitionTime", now}}}}}}};
  Json addresses = Json::array();
  for (const std::string& address : options.node_addresses) {
    addresses.push_back({{"type", "InternalIP"}, {"address", address}});
  }
  if (!addresses.empty()) {
    addresses.push_back({{"type", "Hostname"}, {"address", name}});
    node["status"]["addresses"] = std::move(addresses);
  }
  return node;
}

ApiResult<> make_basics(Store& store, const ClusterOptions& options) {
  for (const char* name : {"default", "kube-system"}) {
    if (auto made = store.create(kinds::kNamespace, "", {{"metadata", {{"name", name}}}}); !made) {
      return std::move(made).error();
    }
  }
  if (auto made = store.create(kinds::kNode, "", node_object(options)); !made) {
    return std::move(made).error();
  }
  return {};
}

}  // namespace

std::string AppliedObject::to_string() const {
  std::string text(kind->name);
  std::ranges::transform(text, text.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (!kind->group.empty()) {
    text += "." + std::string(kind->group);
  }
  text += "/" + name;
  switch (outcome) {
    case Outcome::kCreated:
      return text + " created";
    case Outcome::kConfigured:
      return text + " configured";
    case Outcome::kUnchanged:
      return text + " unchanged";
  }
  return text;
}

Cluster::Cluster(ClusterOptions options) : options_(std::move(options)), store_(std::make_unique<Store>()) {}

Cluster::~Cluster() {
  controllers_.reset();
  if (server_) {
    server_->stop();
  }
}

Result<std::unique_ptr<Cluster>> Cluster::start(ClusterOptions options) {
  std::unique_ptr<Cluster> cluster(new Cluster(std::move(options)));
  if (const auto made = make_basics(*cluster->store_, cluster->options_); !made) {
    return to_error(made.error(), "make the node " + cluster->node_name());
  }
  cluster->server_ = std::make_unique<ApiServer>(
      *cluster->store_, ApiServer::Options{.bookmark_interval = cluster->options_.bookmark_interval});
  FL_TRY(cluster->server_->start(), "start the API server");
  cluster->controllers_ = std::make_unique<Controllers>(*cluster->store_, cluster->node_name());
  return cluster;
}

Result<> Cluster::lose_state() {
  controllers_.reset();
  const bool was_running = server_->running();
  server_->stop();
  store_->forget_everything();
  if (const auto made = make_basics(*store_, options_); !made) {
    return to_error(made.error(), "make the node " + node_name());
  }
  if (was_running) {
    FL_TRY(server_->start(), "start the API server");
  }
  controllers_ = std::make_unique<Controllers>(*store_, node_name());
  return {};
}

std::string Cluster::kubeconfig() const { return server_->kubeconfig(); }
std::uint16_t Cluster::port() const { return server_->port(); }
const std::string& Cluster::token() const { return server_->token(); }
const std::string& Cluster::ca_pem() const { return server_->ca_pem(); }

Result<std::vector<AppliedObject>> Cluster::apply_manifests(std::string_view yaml, std::string_view file) {
  FL_ASSIGN(std::vector<Manifest> manifests, read_manifests(yaml, file));
  std::vector<AppliedObject> applied;
  for (Manifest& manifest : manifests) {
    const Kind& kind = *manifest.kind;
    AppliedObject done{.kind = &kind,
                       .namespace_ = manifest.ns,
                       .name = object_name(manifest.object),
                       .outcome = AppliedObject::Outcome::kCreated,
                       .source = manifest.source};
    const auto before = store_->get(kind, manifest.ns, done.name);
    auto after = done.name.empty() ? store_->create(kind, manifest.ns, std::move(manifest.object))
                                   : store_->apply(kind, manifest.ns, done.name, std::move(manifest.object),
                                                   {.manager = kManager, .force = true});
    if (!after) {
      return to_error(after.error(), manifest.source);
    }
    done.name = object_name(*after);
    if (before) {
      const bool same = (*before)["metadata"]["resourceVersion"] == (*after)["metadata"]["resourceVersion"];
      done.outcome = same ? AppliedObject::Outcome::kUnchanged : AppliedObject::Outcome::kConfigured;
    }
    applied.push_back(std::move(done));
  }
  return applied;
}

Result<> Cluster::delete_objects(std::span<const AppliedObject> objects) {
  for (const auto& object : std::ranges::reverse_view(objects)) {
    const auto removed = store_->remove(*object.kind, object.namespace_, object.name);
    if (!removed && removed.error().code != 404) {
      return to_error(removed.error(), "delete " + std::string(object.kind->name) + " " + object.name);
    }
  }
  return {};
}

std::vector<Json> Cluster::bound_pods() const {
  return store_->all(
      kinds::kPod,
      {.fields = {{.path = "spec.nodeName", .value = node_name(), .op = Requirement::Op::kEquals}},
       .labels = {}});
}

std::optional<Json> Cluster::pod(std::string_view ns, std::string_view name, std::string_view uid) const {
  auto found = store_->get(kinds::kPod, ns, name);
  if (!found || (!uid.empty() && uid_of(*found) != uid)) {
    return std::nullopt;
  }
  return std::move(*found);
}

Result<> Cluster::set_pod_status(std::string_view ns, std::string_view name, const Json& status) {
  const auto written =
      store_->patch(kinds::kPod, ns, name, PatchType::kMerge, {{"status", status}}, Part::kStatus);
  if (!written && written.error().code != 404) {
    return to_error(written.error(), "status of pod " + std::string(name));
  }
  return {};
}

Result<> Cluster::finish_pod_deletion(std::string_view ns, std::string_view name, std::string_view uid) {
  const auto removed = store_->remove(kinds::kPod, ns, name,
                                      {.uid = std::string(uid), .resource_version = "", .grace_seconds = 0});
  if (!removed && removed.error().code != 404 && removed.error().code != 409) {
    return to_error(removed.error(), "delete pod " + std::string(name));
  }
  return {};
}

std::vector<Cluster::PodClaim> Cluster::pod_claims(const Json& pod) const {
  std::vector<PodClaim> claims;
  for (const Json& entry : value_at(value_at(pod, "spec"), "resourceClaims")) {
    PodClaim one{.entry = text_at(entry, "name"), .claim = std::nullopt};
    const std::string name = claim_name_of(pod, entry);
    if (!name.empty()) {
      if (auto claim = store_->get(kinds::kResourceClaim, namespace_of(pod), name)) {
        one.claim = std::move(*claim);
      }
    }
    claims.push_back(std::move(one));
  }
  return claims;
}

void Cluster::record_event(const Json& object, const EventText& event) {
  write_event(*store_, object, event);
}

std::vector<Json> Cluster::events_of(std::string_view uid) const {
  auto events = store_->all(
      kinds::kEvent,
      {.fields = {{.path = "involvedObject.uid", .value = std::string(uid), .op = Requirement::Op::kEquals}},
       .labels = {}});
  std::ranges::stable_sort(events, {}, [](const Json& event) {
    return std::stoull(text_at(event["metadata"], "resourceVersion"));
  });
  return events;
}

std::uint64_t Cluster::change_number() const { return store_->resource_version(); }

bool Cluster::wait_for_change(std::uint64_t seen, std::chrono::steady_clock::time_point deadline) const {
  return store_->wait_newer(seen, deadline);
}

}  // namespace drydock
