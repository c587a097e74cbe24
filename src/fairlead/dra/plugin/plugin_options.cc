// SPDX-License-Identifier: Apache-2.0
// Flags and rules of PluginOptions: the one file of the library that knows CLI11.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cctype>

#include "fairlead/core/log.h"
#include "fairlead/core/text.h"
#include "fairlead/dra/base/names.h"
#include "fairlead/dra/plugin/plugin.h"
#include "fairlead/formats/cdi.h"

namespace fairlead::dra {
namespace {

constexpr std::array kLevels = {"debug", "info", "warn", "error", "off"};

std::string word_of(log::Level level) {
  const auto* const found =
      std::ranges::find_if(kLevels, [level](const char* word) { return log::parse_level(word) == level; });
  return found == kLevels.end() ? "" : *found;
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

void PluginOptions::add_flags(CLI::App& app) {
  const auto add = [&app](const char* flag, auto& value, const char* variable, const char* help) {
    app.add_option(flag, value, help)->envname(variable)->capture_default_str();
  };
  add("--driver-name", driver_name, "DRIVER_NAME", "name of the DRA driver, a DNS subdomain");
  add("--node-name", node_name, "NODE_NAME", "name of this node's Node object");
  add("--kubeconfig", kubeconfig, "KUBECONFIG", "how to reach the API server; not needed inside a pod");
  add("--registry-dir", registry_dir, "REGISTRY_DIR", "where the kubelet looks for plugins");
  add("--plugin-dir", plugin_dir, "PLUGIN_DIR",
      "where the DRA socket goes (default: /var/lib/kubelet/plugins/<driver name>)");
  add("--cdi-dir", cdi_dir, "CDI_DIR", "where CDI files go");
  add("--state-dir", state_dir, "STATE_DIR", "where claim records go (default: /run/<driver name>)");
  add("--pod-uid", pod_uid, "POD_UID", "uid of the driver's pod, for rolling updates");
  add("--http-listen", http_listen, "HTTP_LISTEN",
      "where /metrics, /healthz and /readyz are served: address:port, unix:/path, or several with commas");
  add("--kube-qps", kube_qps, "KUBE_QPS", "requests per second to the API server");
  const auto set_log_level = [this](const std::string& word) {
    const auto level = log::parse_level(word);
    if (!level) {
      throw CLI::ValidationError("--log-level must be debug, info, warn, error or off, not " + quote(word));
    }
    log_level = *level;
  };
  app.add_option_function<std::string>("--log-level", set_log_level, "debug, info, warn, error or off")
      ->envname("LOG_LEVEL")
      ->default_str(word_of(log_level));
}

void PluginOptions::fill_defaults() {
  if (plugin_dir.empty()) {
    plugin_dir = "/var/lib/kubelet/plugins/" + driver_name;
  }
  if (state_dir.empty()) {
    state_dir = "/run/" + driver_name;
  }
}

Result<> PluginOptions::validate() const {
  Rules rules;
  rules.require(
      is_dns_subdomain(driver_name, 63) && std::isalpha(static_cast<unsigned char>(driver_name[0])) != 0 &&
          cdi::validate_kind(driver_name + "/claim"),
      "--driver-name must be a DNS subdomain of at most 63 bytes that starts with a letter, such as "
      "net.example.com, not " +
          quote(driver_name));
  rules.require(is_dns_subdomain(node_name),
                "--node-name must be the name of this node's Node object, not " + quote(node_name));
  rules.require(pod_uid.empty() || is_uid(pod_uid), "--pod-uid must be a pod's uid, not " + quote(pod_uid));
  const auto absolute = [&rules](const char* flag, const std::string& path) {
    rules.require(path.starts_with('/') && path.size() > 1 && path.find('\0') == std::string::npos,
                  std::string(flag) + " must be an absolute path, not " + quote(path));
  };
  absolute("--registry-dir", registry_dir);
  absolute("--cdi-dir", cdi_dir);
  if (!plugin_dir.empty()) {
    absolute("--plugin-dir", plugin_dir);
  }
  if (!state_dir.empty()) {
    absolute("--state-dir", state_dir);
  }
  rules.require(kube_qps > 0, "--kube-qps must be more than 0");
  rules.require(workers > 0, "the number of workers must be more than 0");
  rules.require(resync.count() > 0, "the resync interval must be more than 0");
  rules.require(call_budget.count() > 0, "the budget of a call must be more than 0");
  return rules.result();
}

}  // namespace fairlead::dra
