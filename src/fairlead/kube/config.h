// SPDX-License-Identifier: Apache-2.0
// Where the API server is and how to authenticate: from a pod's service account or a kubeconfig file.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "fairlead/core/result.h"

namespace fairlead::kube {

/// A file, or PEM text that came with the kubeconfig; both empty: none. Files are read again when they
/// change.
struct PemSource {
  std::string path;
  std::string text;
  [[nodiscard]] bool empty() const { return path.empty() && text.empty(); }
};

/// Everything needed to talk to one API server. Values only; http.h reads the files that are named here.
struct ClientConfig {
  std::string server;           // "https://10.0.0.1:6443", no trailing slash
  std::string tls_server_name;  // verify the certificate for this name instead of the server's; empty: no
  PemSource ca;                 // empty: the CAs of the system
  PemSource client_certificate;
  PemSource client_key;
  std::string token;       // fixed token
  std::string token_file;  // wins over `token`; read again after at most 60 s, and at once after a 401
  /// Do not verify the server; plain http too. Never set by load_config() unless it was allowed.
  bool insecure = false;
  std::string proxy_url;   // empty: $HTTPS_PROXY and $NO_PROXY
  std::string namespace_;  // of the context or the service account; may be empty
  std::string origin;      // "kubeconfig /etc/k/config, context dev": for the start log and for errors
};

/// Where load_config() looks. The defaults are those of a real process; tests redirect them.
struct ConfigSources {
  std::string kubeconfig;  // a flag's value; empty: not given
  std::string context;     // empty: the file's current-context
  bool allow_insecure = false;
  std::string service_account_dir = "/var/run/secrets/kubernetes.io/serviceaccount";
  std::function<std::optional<std::string>(const std::string& name)> environment;  // null: ::getenv
};

/// Looks for, in this order: `kubeconfig`; $KUBECONFIG (one file); the pod's service account if
/// KUBERNETES_SERVICE_HOST is set; $HOME/.kube/config. kInvalid names file and field, kNotFound lists the
/// places searched, kUnsupported for exec and auth-provider plugins.
Result<ClientConfig> load_config(const ConfigSources& sources = {});

/// The service account of this pod: KUBERNETES_SERVICE_HOST and _PORT, `ca.crt` and `token`.
Result<ClientConfig> load_in_cluster_config(const ConfigSources& sources = {});

/// One kubeconfig file. Relative paths in it are relative to its folder.
Result<ClientConfig> load_kubeconfig(const std::string& path, const ConfigSources& sources = {});

}  // namespace fairlead::kube
