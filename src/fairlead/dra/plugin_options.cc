// SPDX-License-Identifier: Apache-2.0
// Command line and rules of PluginOptions: the one file that knows CLI11.
#include <CLI/CLI.hpp>
#include <cctype>
#include <iostream>

#include "fairlead/core/log.h"
#include "fairlead/core/text.h"
#include "fairlead/dra/admin_http.h"
#include "fairlead/dra/names.h"
#include "fairlead/dra/plugin.h"
#include "fairlead/formats/cdi.h"

namespace fairlead::dra {
namespace {

void add_flags(CLI::App& app, PluginOptions& options, std::string& log_level) {
  const auto add = [&app](const char* flag, auto& value, const char* variable, const char* help) {
    app.add_option(flag, value, help)->envname(variable)->capture_default_str();
  };
  add("--driver-name", options.driver_name, "DRIVER_NAME", "name of the DRA driver, a DNS subdomain");
  add("--node-name", options.node_name, "NODE_NAME", "name of this node's Node object");
  add("--kubeconfig", options.kubeconfig, "KUBECONFIG",
      "how to reach the API server; not needed inside a pod");
  add("--registry-dir", options.registry_dir, "REGISTRY_DIR", "where the kubelet looks for plugins");
  add("--plugin-dir", options.plugin_dir, "PLUGIN_DIR",
      "where the DRA socket goes (default: /var/lib/kubelet/plugins/<driver name>)");
  add("--cdi-dir", options.cdi_dir, "CDI_DIR", "where CDI files go");
  add("--state-dir", options.state_dir, "STATE_DIR", "where claim records go (default: /run/<driver name>)");
  add("--pod-uid", options.pod_uid, "POD_UID", "uid of the driver's pod, for rolling updates");
  add("--http-listen", options.http_listen, "HTTP_LISTEN",
      "where /metrics, /healthz and /readyz are served: address:port, unix:/path, or several with commas");
  add("--kube-qps", options.kube_qps, "KUBE_QPS", "requests per second to the API server");
  add("--log-level", log_level, "LOG_LEVEL", "debug, info, warn, error or off");
}

/// Adds a sentence when `ok` is false.
class Rules {
 public:
  void require(bool ok, const std::string& sentence) {
    if (!ok) {
      text_ += (text_.empty() ? "" : "; ") + sentence;
    }
  }
  [[nodiscard]] Result<> result() const { return text_.empty() ? Result<>() : Error(Code::kInvalid, text_); }

 private:
  std::string text_;
};

}  // namespace

Result<PluginOptions> PluginOptions::from_args(int argc, const char* const* argv, PluginOptions defaults,
                                               const std::function<void(CLI::App&)>& more_flags) {
  PluginOptions options = std::move(defaults);
  std::string log_level = "info";
  std::string probe;
  try {
    CLI::App app;
    app.set_version_flag("--version", std::string(FAIRLEAD_VERSION));
    add_flags(app, options, log_level);
    app.add_option("--probe", probe,
                   "ask the running agent at the first address of --http-listen instead of being one: "
                   "healthz, readyz or "
                   "metrics; exit status 0 when all is well")
        ->check(CLI::IsMember({"healthz", "readyz", "metrics"}));
    if (more_flags) {
      more_flags(app);
    }
    try {
      app.parse(argc, argv);
    } catch (const CLI::Success& e) {  // --help, --version
      (void)app.exit(e, std::cout, std::cerr);
      return Error(Code::kCancelled, "only help was asked for");
    }
  } catch (const std::exception& e) {
    return Error(Code::kInvalid, std::string("command line: ") + e.what());
  }
  if (!probe.empty()) {
    FL_ASSIGN(const std::string answer, AdminHttp::ask(options.http_listen, "/" + probe));
    std::cout << answer << std::flush;
    return Error(Code::kCancelled, "only a question was asked");
  }
  const auto level = log::parse_level(log_level);
  if (!level) {
    return Error(Code::kInvalid,
                 "--log-level must be debug, info, warn, error or off, not " + quote(log_level));
  }
  log::set_level(*level);
  return options;
}

Result<> validate(const PluginOptions& options) {
  Rules rules;
  const std::string& driver = options.driver_name;
  rules.require(
      is_dns_subdomain(driver, 63) && std::isalpha(static_cast<unsigned char>(driver[0])) != 0 &&
          cdi::validate_kind(driver + "/claim"),
      "--driver-name must be a DNS subdomain of at most 63 bytes that starts with a letter, such as "
      "net.example.com, not " +
          quote(driver));
  rules.require(is_dns_subdomain(options.node_name),
                "--node-name must be the name of this node's Node object, not " + quote(options.node_name));
  rules.require(options.pod_uid.empty() || is_uid(options.pod_uid),
                "--pod-uid must be a pod's uid, not " + quote(options.pod_uid));
  const auto absolute = [&rules](const char* flag, const std::string& path) {
    rules.require(path.starts_with('/') && path.size() > 1 && path.find('\0') == std::string::npos,
                  std::string(flag) + " must be an absolute path, not " + quote(path));
  };
  absolute("--registry-dir", options.registry_dir);
  absolute("--cdi-dir", options.cdi_dir);
  if (!options.plugin_dir.empty()) {
    absolute("--plugin-dir", options.plugin_dir);
  }
  if (!options.state_dir.empty()) {
    absolute("--state-dir", options.state_dir);
  }
  rules.require(options.kube_qps > 0, "--kube-qps must be more than 0");
  rules.require(options.workers > 0, "the number of workers must be more than 0");
  rules.require(options.resync.count() > 0, "the resync interval must be more than 0");
  rules.require(options.call_budget.count() > 0, "the budget of a call must be more than 0");
  return rules.result();
}

}  // namespace fairlead::dra
