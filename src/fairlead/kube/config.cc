// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/config.h"

#include <yaml-cpp/yaml.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <utility>

#include "fairlead/sys/files.h"

namespace fairlead::kube {
namespace {

/// A CA bundle or a key is a few KiB, a kubeconfig with many clusters some hundred.
constexpr std::size_t kMaxKubeconfig = std::size_t{4} << 20;

std::string environment_of(const ConfigSources& sources, const std::string& name) {
  if (sources.environment) {
    return sources.environment(name).value_or("");
  }
  const char* value = ::getenv(name.c_str());  // NOLINT(concurrency-mt-unsafe): setenv is never called here
  return value == nullptr ? "" : value;
}

std::optional<std::uint32_t> base64_digit(char c) {
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const auto at = kAlphabet.find(c);
  return at == std::string_view::npos ? std::nullopt : std::optional(static_cast<std::uint32_t>(at));
}

/// RFC 4648 section 4; line breaks are skipped, as YAML block texts have them.
std::optional<std::string> decode_base64(std::string_view text) {
  std::string out;
  std::uint32_t bits = 0;
  int count = 0;
  std::size_t padding = 0;
  for (const char c : text) {
    if (c == '\n' || c == '\r' || c == ' ') {
      continue;
    }
    if (c == '=') {
      ++padding;
      continue;
    }
    const auto digit = base64_digit(c);
    if (!digit || padding > 0) {
      return std::nullopt;
    }
    bits = (bits << 6U) | *digit;
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>((bits >> static_cast<unsigned>(count)) & 0xFFU);
    }
  }
  return count == 6 || padding > 2 ? std::nullopt : std::optional(std::move(out));
}

/// One kubeconfig file while it is read. Errors read: kubeconfig <path>: <field>: <why>.
class Kubeconfig {
 public:
  static Result<Kubeconfig> open(const std::string& path) {
    FL_ASSIGN(const std::string text, sys::read_file(path, kMaxKubeconfig), "kubeconfig");
    Kubeconfig file(path);
    try {
      file.root_ = YAML::Load(text);
    } catch (const YAML::Exception& e) {
      return Error(Code::kInvalid, "kubeconfig " + path + " is not YAML: " + e.what());
    }
    if (!file.root_.IsMap()) {
      return Error(Code::kInvalid, "kubeconfig " + path + " is empty or not a YAML mapping");
    }
    return file;
  }

  [[nodiscard]] Error error(std::string_view field, std::string_view why, Code code = Code::kInvalid) const {
    std::string what = "kubeconfig " + path_ + ": ";
    what.append(field).append(" ").append(why);
    return {code, std::move(what)};
  }

  [[nodiscard]] Result<std::string> current_context() const { return text(root_, "", "current-context"); }

  /// The mapping `body` ("cluster") of the entry of `list` ("clusters") with this name.
  [[nodiscard]] Result<YAML::Node> named(const std::string& list, const std::string& name,
                                         const std::string& body) const {
    const YAML::Node entries = root_[list];
    if (!entries.IsDefined() || !entries.IsSequence()) {
      return error(list, "is missing or not a list");
    }
    for (const YAML::Node& entry : entries) {
      if (!entry.IsMap() || !entry["name"].IsDefined() || entry["name"].Scalar() != name) {
        continue;
      }
      YAML::Node inner = entry[body];
      if (inner.IsDefined() && inner.IsMap()) {
        return inner;
      }
      if (!inner.IsDefined() || inner.IsNull()) {
        return YAML::Node(YAML::NodeType::Map);
      }
      return error(body + " of \"" + name + "\" in " + list, "is not a mapping");
    }
    return error(list, "has no entry named \"" + name + "\"");
  }

  /// A scalar field as text; empty when absent.
  [[nodiscard]] Result<std::string> text(const YAML::Node& node, const std::string& where,
                                         const std::string& key) const {
    const YAML::Node value = node[key];
    if (!value.IsDefined() || value.IsNull()) {
      return std::string{};
    }
    if (!value.IsScalar()) {
      return error(field_of(where, key), "is not a string");
    }
    return value.Scalar();
  }

  [[nodiscard]] Result<bool> truth(const YAML::Node& node, const std::string& where,
                                   const std::string& key) const {
    FL_ASSIGN(const std::string word, text(node, where, key));
    if (word == "true") {
      return true;
    }
    if (word.empty() || word == "false") {
      return false;
    }
    return error(field_of(where, key), "is \"" + word + "\", not true or false");
  }

  /// A path, taken relative to the kubeconfig's folder; empty when absent.
  [[nodiscard]] Result<std::string> path(const YAML::Node& node, const std::string& where,
                                         const std::string& key) const {
    FL_ASSIGN(std::string value, text(node, where, key));
    if (value.empty() || value.front() == '/') {
      return value;
    }
    return (std::filesystem::path(path_).parent_path() / value).lexically_normal().string();
  }

  /// `<key>-data` (base64) wins over `<key>` (a file), as in client-go.
  [[nodiscard]] Result<PemSource> pem(const YAML::Node& node, const std::string& where,
                                      const std::string& key) const {
    FL_ASSIGN(const std::string data, text(node, where, key + "-data"));
    if (data.empty()) {
      FL_ASSIGN(std::string file, path(node, where, key));
      return PemSource{.path = std::move(file), .text = {}};
    }
    auto decoded = decode_base64(data);
    if (!decoded) {
      return error(field_of(where, key + "-data"), "is not base64");
    }
    if (decoded->find("-----BEGIN ") == std::string::npos) {
      return error(field_of(where, key + "-data"),
                   "holds no PEM block (-----BEGIN ...) after base64 decoding");
    }
    return PemSource{.path = {}, .text = *std::move(decoded)};
  }

  static std::string field_of(const std::string& where, const std::string& key) {
    return where.empty() ? key : where + "." + key;
  }

 private:
  explicit Kubeconfig(std::string path) : path_(std::move(path)) {}
  std::string path_;
  YAML::Node root_;
};

Result<> check_server(const Kubeconfig& file, const std::string& field, ClientConfig& config,
                      const ConfigSources& sources) {
  if (config.server.empty()) {
    return file.error(field, "is missing: it must be the API server's address, as https://host:6443");
  }
  while (config.server.ends_with('/')) {
    config.server.pop_back();
  }
  if (config.server.starts_with("http://")) {
    if (!sources.allow_insecure) {
      return file.error(field, "is " + config.server +
                                   ", but tokens and claims need https:// (plain http must be allowed "
                                   "explicitly)");
    }
    config.insecure = true;
    return {};
  }
  if (!config.server.starts_with("https://") || config.server.size() == std::string_view("https://").size()) {
    return file.error(field, "is \"" + config.server + "\", not an address as https://host:6443");
  }
  return {};
}

Result<> read_cluster(const Kubeconfig& file, const std::string& name, const ConfigSources& sources,
                      ClientConfig& config) {
  const std::string where = "clusters[" + name + "].cluster";
  FL_ASSIGN(const YAML::Node cluster, file.named("clusters", name, "cluster"));
  FL_ASSIGN(config.server, file.text(cluster, where, "server"));
  FL_ASSIGN(config.tls_server_name, file.text(cluster, where, "tls-server-name"));
  FL_ASSIGN(config.proxy_url, file.text(cluster, where, "proxy-url"));
  FL_ASSIGN(config.ca, file.pem(cluster, where, "certificate-authority"));
  FL_ASSIGN(config.insecure, file.truth(cluster, where, "insecure-skip-tls-verify"));
  if (config.insecure && !sources.allow_insecure) {
    return file.error(where + ".insecure-skip-tls-verify",
                      "is true, which fairlead refuses: give certificate-authority-data instead (an "
                      "unverified server must be allowed explicitly)");
  }
  return check_server(file, where + ".server", config, sources);
}

Result<> refuse_plugins(const Kubeconfig& file, const YAML::Node& user, const std::string& where) {
  for (const char* key : {"exec", "auth-provider"}) {
    if (user[key].IsDefined()) {
      return file.error(where + "." + key,
                        "is not supported (no credential plugin is run): use a token, tokenFile or "
                        "client-certificate",
                        Code::kUnsupported);
    }
  }
  for (const char* key : {"username", "password", "as"}) {
    if (user[key].IsDefined()) {
      return file.error(where + "." + key, "is not supported: use a token, tokenFile or client-certificate",
                        Code::kUnsupported);
    }
  }
  return {};
}

Result<> read_user(const Kubeconfig& file, const std::string& name, ClientConfig& config) {
  const std::string where = "users[" + name + "].user";
  FL_ASSIGN(const YAML::Node user, file.named("users", name, "user"));
  FL_TRY(refuse_plugins(file, user, where));
  FL_ASSIGN(config.token, file.text(user, where, "token"));
  FL_ASSIGN(config.token_file, file.path(user, where, "tokenFile"));
  FL_ASSIGN(config.client_certificate, file.pem(user, where, "client-certificate"));
  FL_ASSIGN(config.client_key, file.pem(user, where, "client-key"));
  if (config.client_certificate.empty() != config.client_key.empty()) {
    const char* missing = config.client_key.empty() ? "client-key" : "client-certificate";
    return file.error(where + "." + missing, "is missing: certificate and key go together");
  }
  return {};
}

Result<ClientConfig> read_kubeconfig(const std::string& path, const ConfigSources& sources) {
  FL_ASSIGN(const Kubeconfig file, Kubeconfig::open(path));
  std::string context = sources.context;
  if (context.empty()) {
    FL_ASSIGN(context, file.current_context());
  }
  if (context.empty()) {
    return file.error("current-context", "is missing or empty, and no context was given");
  }
  const std::string where = "contexts[" + context + "].context";
  FL_ASSIGN(const YAML::Node entry, file.named("contexts", context, "context"));
  FL_ASSIGN(const std::string cluster, file.text(entry, where, "cluster"));
  FL_ASSIGN(const std::string user, file.text(entry, where, "user"));

  ClientConfig config;
  config.origin = "kubeconfig " + path + ", context " + context;
  FL_ASSIGN(config.namespace_, file.text(entry, where, "namespace"));
  if (cluster.empty()) {
    return file.error(where + ".cluster", "is missing");
  }
  FL_TRY(read_cluster(file, cluster, sources, config));
  if (!user.empty()) {
    FL_TRY(read_user(file, user, config));
  }
  return config;
}

}  // namespace

Result<ClientConfig> load_kubeconfig(const std::string& path, const ConfigSources& sources) {
  try {
    return read_kubeconfig(path, sources);
  } catch (const YAML::Exception& e) {
    return Error(Code::kInvalid, "kubeconfig " + path + ": " + e.what());
  }
}

Result<ClientConfig> load_in_cluster_config(const ConfigSources& sources) {
  const std::string host = environment_of(sources, "KUBERNETES_SERVICE_HOST");
  const std::string port = environment_of(sources, "KUBERNETES_SERVICE_PORT");
  if (host.empty() || port.empty()) {
    return Error(Code::kNotFound, std::string("in-cluster configuration: ") +
                                      (host.empty() ? "KUBERNETES_SERVICE_HOST" : "KUBERNETES_SERVICE_PORT") +
                                      " is not set, so this is no pod; give a kubeconfig");
  }
  const std::string& dir = sources.service_account_dir;
  ClientConfig config;
  const bool is_ipv6 = host.find(':') != std::string::npos && !host.starts_with('[');
  config.server = "https://" + (is_ipv6 ? "[" + host + "]" : host) + ":" + port;
  config.ca.path = dir + "/ca.crt";
  config.token_file = dir + "/token";
  config.origin = "in-cluster service account " + dir;
  for (const std::string& path : {config.ca.path, config.token_file}) {
    FL_ASSIGN(const auto text, sys::read_file_if_exists(path), "in-cluster configuration");
    if (!text || text->empty()) {
      return Error(Code::kNotFound, "in-cluster configuration: " + path +
                                        (text ? " is empty" : " is not there") +
                                        ": is automountServiceAccountToken off for this pod?");
    }
  }
  FL_ASSIGN(const auto name_space, sys::read_file_if_exists(dir + "/namespace"), "in-cluster configuration");
  config.namespace_ = name_space.value_or("");
  return config;
}

Result<ClientConfig> load_config(const ConfigSources& sources) {
  if (!sources.kubeconfig.empty()) {
    return load_kubeconfig(sources.kubeconfig, sources);
  }
  if (const std::string path = environment_of(sources, "KUBECONFIG"); !path.empty()) {
    if (path.find(':') != std::string::npos) {
      return Error(Code::kUnsupported, "$KUBECONFIG names several files (" + path +
                                           "): fairlead reads one, give it as kubeconfig");
    }
    FL_ASSIGN(auto config, load_kubeconfig(path, sources), "$KUBECONFIG");
    return config;
  }
  if (!environment_of(sources, "KUBERNETES_SERVICE_HOST").empty()) {
    return load_in_cluster_config(sources);
  }
  const std::string home = environment_of(sources, "HOME");
  const std::string path = home + "/.kube/config";
  FL_ASSIGN(const auto text, sys::read_file_if_exists(path), "default kubeconfig");
  if (home.empty() || !text) {
    return Error(Code::kNotFound,
                 "no API server is configured: no kubeconfig was given, KUBECONFIG and "
                 "KUBERNETES_SERVICE_HOST are not set, and there is no " +
                     (home.empty() ? "~/.kube/config" : path));
  }
  return load_kubeconfig(path, sources);
}

}  // namespace fairlead::kube
