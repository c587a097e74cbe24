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
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/log.h"
#include "fairlead/core/result.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/dra/base/host.h"

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
  log::Level log_level = log::Level::kInfo;  // of the process, from Plugin::create() on

  /// Adds --driver-name --node-name --kubeconfig --registry-dir --plugin-dir --cdi-dir --state-dir --pod-uid
  /// --http-listen --kube-qps --log-level to a command line of CLI11, each with an environment variable
  /// (DRIVER_NAME, NODE_NAME, KUBECONFIG, REGISTRY_DIR, PLUGIN_DIR, CDI_DIR, STATE_DIR, POD_UID, HTTP_LISTEN,
  /// KUBE_QPS, LOG_LEVEL). What a field holds now is the flag's default. The program parses; this object must
  /// stay where it is until then. A value of another form is a CLI::ValidationError of the parsing.
  void add_flags(CLI::App& app);
  /// Sets plugin_dir and state_dir to the defaults above when they are empty. Plugin::create() does it too; a
  /// program that needs the folders before calls it first.
  void fill_defaults();
  /// kInvalid with one sentence for each broken rule. Plugin::create() calls it.
  [[nodiscard]] Result<> validate() const;
};

/// Makes the driver for the framework that will run it. The host outlives the driver; it may be stored, and
/// knows no claim before Driver::restored().
using MakeDriver = std::function<Result<std::unique_ptr<Driver>>(Host& host)>;

class Plugin : public Host {
 public:
  /// Fills empty options with their defaults, validates them, and makes the driver. Process-wide effects: sets
  /// the log level, blocks the signals of run(), ignores SIGPIPE unless a handler is set, and raises the soft
  /// limit of descriptors to the hard limit. Nothing else is changed yet.
  static Result<std::unique_ptr<Plugin>> create(PluginOptions options, const MakeDriver& make_driver);
  /// For a driver that does not call the framework; it must outlive the plugin.
  static Result<std::unique_ptr<Plugin>> create(PluginOptions options, Driver& driver);

  /// Restores records, finishes or undoes in-flight claims, rebuilds CDI files, then serves and registers.
  /// Does not wait for the API server or the kubelet.
  virtual Result<> start() = 0;
  /// Unregisters, finishes calls in flight, removes the sockets. Slices, records and CDI files are kept.
  /// Idempotent.
  virtual void stop() = 0;
  /// start(), wait for SIGTERM or SIGINT (a second one ends the process at once), stop(). The exit status for
  /// main(). Signals are blocked in create(), so that every thread inherits it: call create() before starting
  /// threads of your own.
  virtual int run() = 0;

  [[nodiscard]] virtual const PluginOptions& options() const = 0;
  /// /metrics as text. Any thread.
  [[nodiscard]] virtual std::string metrics_text() = 0;
};

}  // namespace fairlead::dra
