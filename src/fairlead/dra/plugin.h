// SPDX-License-Identifier: Apache-2.0
// dra::Plugin runs a Driver as a DRA plugin of the kubelet. See driver.h for the author's side and
// docs/drivers.md for a tour.
//
// Paths (ARCHITECTURE.md draws them):
//   <registry_dir>/<driver>[-<pod uid>]-reg.sock   registration, appears last
//   <plugin_dir>/dra[-<pod uid>].sock              the DRA service
//   <cdi_dir>/<driver>-claim_<claim uid>.json      one CDI file per prepared claim
//   <state_dir>/claims/<claim uid>.json            one record per claim; <state_dir>/quarantine/ what could
//   not be read
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/dra/driver.h"

namespace CLI {
class App;
}  // namespace CLI

namespace fairlead::dra {

struct PluginOptions {
  std::string driver_name;  // DNS subdomain, at most 63 bytes; also the CDI vendor
  std::string node_name;    // the Node object's name
  std::string kubeconfig;   // empty: in-cluster
  std::string registry_dir = "/var/lib/kubelet/plugins_registry";
  std::string plugin_dir;  // empty: /var/lib/kubelet/plugins/<driver_name>
  std::string cdi_dir = "/var/run/cdi";
  std::string state_dir;  // empty: /run/<driver_name>
  std::string pod_uid;    // set: socket names carry it, so that two instances can overlap in a rolling update
  // "127.0.0.1:9095" or "unix:/path", or several with commas: serves /metrics, /healthz, /readyz; empty: not
  // served. With pod_uid two instances may have the same port.
  std::string http_listen;
  double kube_qps = 20;              // requests per second to the API server, bursts of twice that
  std::chrono::seconds resync{600};  // discover() and a full slice comparison at least this often
  std::chrono::milliseconds call_budget{40'000};  // work on one Prepare; the kubelet gives up after 45 s
  unsigned workers = 4;

  /// Reads --driver-name --node-name --kubeconfig --registry-dir --plugin-dir --cdi-dir --state-dir --pod-uid
  /// --http-listen --probe --kube-qps
  /// --log-level, each with an environment variable (DRIVER_NAME, NODE_NAME, KUBECONFIG, REGISTRY_DIR,
  /// PLUGIN_DIR, CDI_DIR, STATE_DIR, POD_UID, HTTP_LISTEN, KUBE_QPS, LOG_LEVEL). `defaults` holds what the
  /// program itself presets. For --help, --version and an answered --probe it prints and answers
  /// kCancelled; for a wrong flag kInvalid with one sentence. `more_flags` may add the program's own flags to
  /// the same command line (CLI11) before it is read.
  static Result<PluginOptions> from_args(int argc, const char* const* argv, PluginOptions defaults,
                                         const std::function<void(CLI::App&)>& more_flags = {});
};

/// Gives plugin_dir and state_dir what stands beside them above, when they are empty. Plugin::create() does
/// it too; a program that needs the folders before calls it first.
void fill_defaults(PluginOptions& options);
/// One sentence per broken rule, or nothing.
Result<> validate(const PluginOptions& options);

class Plugin {
 public:
  /// The driver must outlive the plugin. Fills empty options with their defaults and validates them. Of the
  /// process it blocks the signals of run(), ignores SIGPIPE unless somebody handles it, and raises the limit
  /// of descriptors to the hard one; nothing else is touched yet.
  static Result<std::unique_ptr<Plugin>> create(PluginOptions options, Driver& driver);
  Plugin(const Plugin&) = delete;
  Plugin& operator=(const Plugin&) = delete;
  Plugin(Plugin&&) = delete;
  Plugin& operator=(Plugin&&) = delete;
  ~Plugin();

  /// Restores records, finishes or undoes what was in flight, rebuilds CDI files, then serves and registers.
  /// Does not wait for the API server nor the kubelet.
  Result<> start();
  /// Unregisters, finishes calls in flight, removes the sockets. Slices, records and CDI files stay.
  /// Idempotent.
  void stop();
  /// start(), wait for SIGTERM or SIGINT (a second one ends the process at once), stop(). The exit status for
  /// main(). Signals are blocked in create(), so that every thread inherits it: call create() before starting
  /// threads of your own.
  int run();

  /// Something changed: discover() again soon. Any thread; calls in quick succession become one.
  void republish();

  [[nodiscard]] const PluginOptions& options() const;
  /// A copy of the record, if the claim is known. Any thread.
  [[nodiscard]] std::optional<ClaimRecord> find(const std::string& claim_uid) const;
  /// All records; one whose file cannot be read at the moment is as it was read last. An error never stands
  /// for "none": kUnavailable before they are open (start()), otherwise what kept them from being read. Any
  /// thread.
  [[nodiscard]] Result<std::vector<ClaimRecord>> records() const;
  /// The records of the claims that are reserved for this pod, in the order of the claims' names. Cheap: for
  /// a pod's start. Errors as of records(), and kCorrupt when a damaged record was the pod's. Any thread.
  [[nodiscard]] Result<std::vector<ClaimRecord>> records_of_pod(const std::string& pod_uid) const;
  /// What people see of the claim: one entry per device of its record, in that order; none removes what was
  /// reported before. Written to the claim's status within a second when it differs from what stands there,
  /// tried again for as long as the claim is prepared; only the newest report of a claim counts. Report what
  /// is true now again after a restart: what stands there already is not written again. Never blocks; any
  /// thread, also from Driver calls.
  void report(const std::string& claim_uid, std::vector<DeviceReport> reports);
  /// Tells the authors of the claim's pods what they can mend: a Warning at each pod the claim is reserved
  /// for, or at `pod` alone (of the claim's namespace; it need not be reserved). `reason` is one
  /// CamelCase word. The same thing again counts up in the same Event. Never blocks on the API server; any
  /// thread. A failed prepare needs none: the plugin tells of those itself.
  void pod_event(const std::string& claim_uid, const std::string& reason, const std::string& message,
                 const std::optional<Pod>& pod = std::nullopt);
  /// For /metrics: one piece of the driver's own work, such as "attach" via "nri". Few different words: each
  /// pair is a time series. Any thread.
  void operation_finished(std::string_view operation, std::string_view via, std::optional<Code> error,
                          std::chrono::duration<double> took);
  /// Runs `change` with the claim's record while no prepare, unprepare or other change of this claim runs
  /// (waits until `deadline`), and keeps the text it returns as the record's Prepared::state, on disk before
  /// this returns. kNotFound when the claim is not known.
  Result<> update(const std::string& claim_uid, std::chrono::steady_clock::time_point deadline,
                  const std::function<Result<std::string>(const ClaimRecord&)>& change);
  /// Runs `action` if no claim of this uid has a record, while no instance of the driver on this node begins,
  /// changes or ends it; whether it ran. kTimeout: somebody is at work on it until `deadline`. For what a
  /// driver finds of a claim that it does not know: another instance may just be making it. Any thread, also
  /// from Driver::restored(), not from other Driver calls.
  Result<bool> if_unknown(const std::string& claim_uid, std::chrono::steady_clock::time_point deadline,
                          const std::function<void()>& action);
  /// /metrics as text. Any thread.
  [[nodiscard]] std::string metrics_text() const;

  class Impl;

 private:
  explicit Plugin(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::dra
