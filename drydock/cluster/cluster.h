// SPDX-License-Identifier: Apache-2.0
// The stand-in control plane in one object: the store, the API server over HTTPS, the controllers (claims
// from templates, scheduling, allocation, clean-up) and the way in for manifests. The node
// half of drydock uses it directly; drivers use the kubeconfig.
//
//   FL_ASSIGN(const auto cluster, Cluster::start({.node_name = "drydock"}), "start the API server");
//   FL_ASSIGN(const auto applied, cluster->apply_manifests(text, "pod.yaml"));
//   for (const Json& pod : cluster->bound_pods()) { ... }
//
// Any thread may call.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "drydock/cluster/api_error.h"
#include "drydock/cluster/kinds.h"
#include "drydock/cluster/store.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"

namespace drydock {

class ApiServer;
class Controllers;

struct ClusterOptions {
  std::string node_name = "drydock";
  /// The Node's internal addresses, as its kubelet would write them. None: as before a cloud provider has.
  std::vector<std::string> node_addresses;
  /// A bookmark goes to every watch that allows them at least this often.
  std::chrono::milliseconds bookmark_interval{2000};
};

/// An object that apply_manifests made or changed.
struct AppliedObject {
  const Kind* kind = nullptr;
  std::string namespace_, name;  // namespace empty for cluster-scoped kinds
  enum class Outcome : std::uint8_t { kCreated, kConfigured, kUnchanged } outcome = Outcome::kCreated;
  std::string source;  // "pod.yaml, document 2"

  /// "pod/multi-nic-test created", as kubectl prints it.
  [[nodiscard]] std::string to_string() const;
};

/// The report of record_event about a pod.
struct EventText {
  bool warning = true;
  std::string reason;   // FailedPrepareDynamicResources, FailedScheduling, Started ...
  std::string message;  // one sentence
  std::string component = "drydock";
};

class Cluster : private fairlead::Pinned {
 public:
  /// Listens on 127.0.0.1, a free port, in the network namespace of the calling thread. Makes the Node
  /// (Ready, label kubernetes.io/hostname) and the namespaces default and kube-system.
  static fairlead::Result<std::unique_ptr<Cluster>> start(ClusterOptions options);
  /// Stops the controllers and the server; open watches end.
  ~Cluster();

  [[nodiscard]] const std::string& node_name() const { return options_.node_name; }
  /// The text of a kubeconfig with server, CA and token inside.
  [[nodiscard]] std::string kubeconfig() const;
  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] const std::string& token() const;   // bearer token
  [[nodiscard]] const std::string& ca_pem() const;  // for ca.crt of a service account folder
  Store& store() { return *store_; }
  ApiServer& api_server() { return *server_; }
  /// Loses all objects, as when etcd's data is lost, and makes the node and the namespaces again. Ends open
  /// watches.
  fairlead::Result<> lose_state();

  /// Applies every document of a YAML text in order; objects without namespace go to "default". Deployments,
  /// ReplicaSets, DaemonSets and Jobs become their pods (`<name>-0`, ...). All documents are parsed and
  /// checked against the known fields before the first is applied. kInvalid with one sentence that names
  /// file, document and field: `pod.yaml, document 4 (Pod "x"): spec.containers[0].imagee: unknown field, did
  /// you mean "image"?`
  fairlead::Result<std::vector<AppliedObject>> apply_manifests(std::string_view yaml, std::string_view file);
  /// Deletes in reverse order what was applied. Bound pods get a deletionTimestamp and go when the node calls
  /// finish_pod_deletion. What is gone already is no error.
  fairlead::Result<> delete_objects(std::span<const AppliedObject> objects);

  /// Pods whose spec.nodeName is this node, those being deleted included (metadata.deletionTimestamp).
  [[nodiscard]] std::vector<Json> bound_pods() const;
  /// nullopt if there is no such pod, or if it has another uid (empty uid: any).
  [[nodiscard]] std::optional<Json> pod(std::string_view ns, std::string_view name,
                                        std::string_view uid = "") const;
  /// Merges into the pod's status (phase, containerStatuses, podIPs...). No error when the pod is gone.
  fairlead::Result<> set_pod_status(std::string_view ns, std::string_view name, const Json& status);
  /// The node's last word: containers stopped, claims unprepared; the object goes.
  fairlead::Result<> finish_pod_deletion(std::string_view ns, std::string_view name, std::string_view uid);
  /// The claims of a pod in the order of spec.resourceClaims: the claim object for each entry, or nothing
  /// when it is not there (yet). The kubelet's rule: status.resourceClaimStatuses maps entries to generated
  /// claims.
  struct PodClaim {
    std::string entry;  // spec.resourceClaims[].name
    std::optional<Json> claim;
  };
  [[nodiscard]] std::vector<PodClaim> pod_claims(const Json& pod) const;

  /// An Event about an object (kind, metadata.name, .namespace and .uid are read). The same reason and
  /// message about the same object counts up instead of piling up.
  void record_event(const Json& object, const EventText& event);
  /// Events about an object by uid, oldest first.
  [[nodiscard]] std::vector<Json> events_of(std::string_view uid) const;

  /// Changes are numbered: take change_number(), look, then wait for a newer one. True when there is one,
  /// false at the deadline.
  [[nodiscard]] std::uint64_t change_number() const;
  [[nodiscard]] bool wait_for_change(std::uint64_t seen,
                                     std::chrono::steady_clock::time_point deadline) const;

 private:
  explicit Cluster(ClusterOptions options);
  ClusterOptions options_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<ApiServer> server_;
  std::unique_ptr<Controllers> controllers_;
};

}  // namespace drydock
