// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/config.h"
#include "fairlead/core/pinned.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <ostream>

namespace fairlead::kube {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// "-----BEGIN X-----\n" and "hello" in base64.
constexpr const char* kPemBase64 = "LS0tLS1CRUdJTiBYLS0tLS0K";
constexpr const char* kPem = "-----BEGIN X-----\n";

class ConfigTest : public ::testing::Test, private Pinned {
 public:
  ConfigTest() {
    std::string pattern = ::testing::TempDir() + "fairlead-config-XXXXXX";
    dir_ = ::mkdtemp(pattern.data());
    sources_.service_account_dir = dir_ + "/sa";
    sources_.environment = [this](const std::string& name) -> std::optional<std::string> {
      const auto it = environment_.find(name);
      return it == environment_.end() ? std::nullopt : std::optional(it->second);
    };
  }
  ~ConfigTest() override { std::filesystem::remove_all(dir_); }

 protected:
  std::string write(const std::string& name, const std::string& text) {
    const std::string path = dir_ + "/" + name;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path) << text;
    return path;
  }
  /// A kubeconfig with these lines in cluster and user.
  std::string kubeconfig(const std::string& cluster, const std::string& user) {
    return write("kubeconfig",
                 "apiVersion: v1\nkind: Config\ncurrent-context: dev\n"
                 "contexts:\n- name: dev\n  context: {cluster: c, user: u, namespace: ns}\n"
                 "clusters:\n- name: c\n  cluster: {" +
                     cluster +
                     "}\n"
                     "users:\n- name: u\n  user: {" +
                     user + "}\n");
  }

  std::string dir_;
  std::map<std::string, std::string> environment_;
  ConfigSources sources_;
};

TEST_F(ConfigTest, Kubeconfig_ReadsClusterAndUser) {
  const auto config =
      load_kubeconfig(kubeconfig("server: 'https://10.0.0.1:6443/', tls-server-name: api.example.com, "
                                 "proxy-url: 'http://proxy:3128', certificate-authority-data: " +
                                     std::string(kPemBase64),
                                 "token: secret, client-certificate: pki/c.crt, client-key: /abs/c.key"),
                      sources_);
  ASSERT_TRUE(config) << config.error().what();
  EXPECT_EQ(config->server, "https://10.0.0.1:6443");
  EXPECT_EQ(config->tls_server_name, "api.example.com");
  EXPECT_EQ(config->proxy_url, "http://proxy:3128");
  EXPECT_EQ(config->ca.text, kPem);
  EXPECT_EQ(config->token, "secret");
  EXPECT_EQ(config->client_certificate.path, dir_ + "/pki/c.crt");
  EXPECT_EQ(config->client_key.path, "/abs/c.key");
  EXPECT_EQ(config->namespace_, "ns");
  EXPECT_FALSE(config->insecure);
  EXPECT_EQ(config->origin, "kubeconfig " + dir_ + "/kubeconfig, context dev");
}

TEST_F(ConfigTest, Kubeconfig_DataWinsOverFile) {
  const auto config = load_kubeconfig(
      kubeconfig("server: 'https://h', certificate-authority: ca.crt, certificate-authority-data: " +
                     std::string(kPemBase64),
                 "tokenFile: ../t/token"),
      sources_);
  ASSERT_TRUE(config) << config.error().what();
  EXPECT_EQ(config->ca.path, "");
  EXPECT_EQ(config->ca.text, kPem);
  EXPECT_EQ(config->token_file, std::filesystem::path(dir_).parent_path().string() + "/t/token");
}

TEST_F(ConfigTest, Kubeconfig_InsecureAndPlainHttpOnlyWhenAllowed) {
  sources_.allow_insecure = true;
  const auto skip =
      load_kubeconfig(kubeconfig("server: 'https://h', insecure-skip-tls-verify: true", ""), sources_);
  ASSERT_TRUE(skip) << skip.error().what();
  EXPECT_TRUE(skip->insecure);
  const auto plain = load_kubeconfig(kubeconfig("server: 'http://127.0.0.1:8001'", ""), sources_);
  ASSERT_TRUE(plain) << plain.error().what();
  EXPECT_TRUE(plain->insecure);
}

TEST_F(ConfigTest, Kubeconfig_ContextCanBeChosen) {
  const std::string path = write("k", R"({"current-context": "a",
    "contexts": [{"name": "a", "context": {"cluster": "ca"}}, {"name": "b", "context": {"cluster": "cb"}}],
    "clusters": [{"name": "ca", "cluster": {"server": "https://a"}}, {"name": "cb", "cluster": {"server": "https://b"}}]})");
  EXPECT_EQ(load_kubeconfig(path, sources_)->server, "https://a");
  sources_.context = "b";
  EXPECT_EQ(load_kubeconfig(path, sources_)->server, "https://b");
  sources_.context = "x";
  EXPECT_THAT(load_kubeconfig(path, sources_).error().what(), HasSubstr("contexts has no entry named \"x\""));
}

struct RefusedCase {
  const char* name;
  const char* cluster;
  const char* user;
  Code code;
  const char* message;
};

// NOLINTNEXTLINE(readability-identifier-naming): gtest's name
void PrintTo(const RefusedCase& row, std::ostream* out) { *out << row.name; }

class Refused : public ConfigTest, public ::testing::WithParamInterface<RefusedCase> {};

TEST_P(Refused, NamesFileFieldAndReason) {
  const auto config = load_kubeconfig(kubeconfig(GetParam().cluster, GetParam().user), sources_);
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().code(), GetParam().code);
  EXPECT_THAT(config.error().what(), StartsWith("kubeconfig " + dir_ + "/kubeconfig: "));
  EXPECT_THAT(config.error().what(), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Table, Refused,
    ::testing::Values(
        RefusedCase{"no_server", "", "", Code::kInvalid, "clusters[c].cluster.server is missing"},
        RefusedCase{"odd_server", "server: '10.0.0.1:6443'", "", Code::kInvalid,
                    "clusters[c].cluster.server is \"10.0.0.1:6443\", not an address as https://host:6443"},
        RefusedCase{"plain_http", "server: 'http://h'", "", Code::kInvalid, "need https://"},
        RefusedCase{"insecure", "server: 'https://h', insecure-skip-tls-verify: true", "", Code::kInvalid,
                    "clusters[c].cluster.insecure-skip-tls-verify is true, which fairlead refuses"},
        RefusedCase{"odd_truth", "server: 'https://h', insecure-skip-tls-verify: maybe", "", Code::kInvalid,
                    "\"maybe\", not true or false"},
        RefusedCase{"odd_base64", "server: 'https://h', certificate-authority-data: '%%%'", "",
                    Code::kInvalid, "clusters[c].cluster.certificate-authority-data is not base64"},
        RefusedCase{"no_pem", "server: 'https://h', certificate-authority-data: aGVsbG8=", "", Code::kInvalid,
                    "holds no PEM block"},
        RefusedCase{"exec", "server: 'https://h'", "exec: {command: aws}", Code::kUnsupported,
                    "users[u].user.exec is not supported"},
        RefusedCase{"auth_provider", "server: 'https://h'", "auth-provider: {name: gcp}", Code::kUnsupported,
                    "users[u].user.auth-provider is not supported"},
        RefusedCase{"password", "server: 'https://h'", "username: admin", Code::kUnsupported,
                    "users[u].user.username is not supported"},
        RefusedCase{"no_key", "server: 'https://h'", "client-certificate: c.crt", Code::kInvalid,
                    "users[u].user.client-key is missing"},
        RefusedCase{"odd_token", "server: 'https://h'", "token: [1]", Code::kInvalid,
                    "users[u].user.token is not a string"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST_F(ConfigTest, Kubeconfig_BrokenFilesAreNamed) {
  EXPECT_THAT(load_kubeconfig(dir_ + "/none", sources_).error().what(), HasSubstr("open " + dir_ + "/none"));
  EXPECT_EQ(load_kubeconfig(dir_ + "/none", sources_).error().code(), Code::kNotFound);
  for (const char* text : {"", "- a", "just words", "a: [", "{current-context: x}",
                           "{current-context: x, contexts: 7}", "{current-context: {}}",
                           "{current-context: x, contexts: [7, {name: [x]}]}", "{contexts: [{name: x}]}"}) {
    const auto config = load_kubeconfig(write("broken", text), sources_);
    ASSERT_FALSE(config) << text;
    EXPECT_EQ(config.error().code(), Code::kInvalid) << text;
    EXPECT_THAT(config.error().what(), StartsWith("kubeconfig " + dir_ + "/broken")) << text;
  }
}

TEST_F(ConfigTest, InCluster_UsesTheServiceAccount) {
  write("sa/token", "t");
  write("sa/ca.crt", kPem);
  write("sa/namespace", "fairlead");
  environment_ = {{"KUBERNETES_SERVICE_HOST", "10.96.0.1"}, {"KUBERNETES_SERVICE_PORT", "443"}};
  const auto config = load_config(sources_);
  ASSERT_TRUE(config) << config.error().what();
  EXPECT_EQ(config->server, "https://10.96.0.1:443");
  EXPECT_EQ(config->ca.path, dir_ + "/sa/ca.crt");
  EXPECT_EQ(config->token_file, dir_ + "/sa/token");
  EXPECT_EQ(config->namespace_, "fairlead");
  environment_["KUBERNETES_SERVICE_HOST"] = "fd00::1";
  EXPECT_EQ(load_config(sources_)->server, "https://[fd00::1]:443");
}

TEST_F(ConfigTest, InCluster_WithoutTokenSaysWhy) {
  write("sa/ca.crt", kPem);
  environment_ = {{"KUBERNETES_SERVICE_HOST", "10.96.0.1"}, {"KUBERNETES_SERVICE_PORT", "443"}};
  const auto config = load_config(sources_);
  EXPECT_EQ(config.error().code(), Code::kNotFound);
  EXPECT_THAT(config.error().what(),
              HasSubstr(dir_ + "/sa/token is not there: is automountServiceAccountToken off"));
  environment_.erase("KUBERNETES_SERVICE_PORT");
  EXPECT_THAT(load_config(sources_).error().what(), HasSubstr("KUBERNETES_SERVICE_PORT is not set"));
}

TEST_F(ConfigTest, Order_FlagThenEnvironmentThenPodThenHome) {
  environment_["HOME"] = dir_;
  EXPECT_EQ(load_config(sources_).error().code(), Code::kNotFound);
  EXPECT_THAT(load_config(sources_).error().what(), HasSubstr(dir_ + "/.kube/config"));

  const auto minimal = [](const std::string& server) {
    return "{current-context: x, contexts: [{name: x, context: {cluster: c}}], clusters: [{name: c, cluster: "
           "{server: 'https://" +
           server + "'}}]}";
  };
  write(".kube/config", minimal("home"));
  EXPECT_EQ(load_config(sources_)->server, "https://home");
  write("sa/token", "t");
  write("sa/ca.crt", kPem);
  environment_["KUBERNETES_SERVICE_HOST"] = "pod";
  environment_["KUBERNETES_SERVICE_PORT"] = "1";
  EXPECT_EQ(load_config(sources_)->server, "https://pod:1");
  environment_["KUBECONFIG"] = write("env", minimal("env"));
  EXPECT_EQ(load_config(sources_)->server, "https://env");
  sources_.kubeconfig = write("flag", minimal("flag"));
  EXPECT_EQ(load_config(sources_)->server, "https://flag");
  sources_.kubeconfig.clear();
  environment_["KUBECONFIG"] = "/a:/b";
  EXPECT_EQ(load_config(sources_).error().code(), Code::kUnsupported);
}

}  // namespace
}  // namespace fairlead::kube
