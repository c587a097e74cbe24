// SPDX-License-Identifier: Apache-2.0
// A DRA driver for drydock's own tests, made of raw gRPC and HTTP so that it shares no code with what it
// tests. It publishes devices that set an environment variable, and misbehaves on request.
#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <httplib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "dra_v1.grpc.pb.h"
#include "dra_v1beta1.grpc.pb.h"
#include "pluginregistration.grpc.pb.h"

namespace {

namespace fs = std::filesystem;
namespace v1 = k8s::io::kubelet::pkg::apis::dra::v1;
namespace v1beta1 = k8s::io::kubelet::pkg::apis::dra::v1beta1;
using nlohmann::json;

struct Options {
  std::string name = "test.example.com";
  std::vector<std::string> versions = {"v1.DRAPlugin", "v1beta1.DRAPlugin"};
  std::string prepare_error;  // answered by the first `prepare_failures` calls
  int prepare_failures = 1000;
  std::string hook;        // script for a createRuntime hook
  std::string net_device;  // host interface for CDI netDevices
  std::string type = "DRAPlugin";
  int devices = 2;
  bool omit_answers = false;
  bool publish = true;
  bool register_ = true;
  bool leave_files = false;  // Unprepare forgets the CDI file
  bool ignore_sigterm = false;
  std::vector<std::string> write;  // files to try to write
  bool show_limits = false;        // what the kernel lets this process do
};

std::string variable(const char* name) {
  const char* value =
      std::getenv(name);  // NOLINT(concurrency-mt-unsafe): set before the start, never changed
  return value == nullptr ? "" : value;
}

std::string read_file(const std::string& path) {
  std::ifstream in(path);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

/// Every line reaches the log even if the process is killed next.
void say(const std::string& text) {
  (void)std::puts(text.c_str());
  (void)std::fflush(stdout);
}

class Devices {
 public:
  explicit Devices(Options options) : options_(std::move(options)) {}

  /// One at a time: two pods that share a claim may ask for it at the same moment.
  std::string prepare(const std::string& uid, const std::string& name) {
    const std::lock_guard lock(mutex_);
    say("prepare " + name);
    if (!options_.prepare_error.empty() && calls_++ < options_.prepare_failures) {
      return options_.prepare_error;
    }
    json edits = {{"env", {"CLAIM=" + name, "UID_" + options_.name.substr(0, 4) + "=" + uid}}};
    std::string version = "0.5.0";
    if (!options_.hook.empty()) {
      edits["hooks"] = {{{"hookName", "createRuntime"},
                         {"path", "/bin/sh"},
                         {"args", {"sh", "-c", options_.hook}},
                         {"env", {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}}}};
    }
    if (!options_.net_device.empty()) {
      edits["netDevices"] = {{{"hostInterfaceName", options_.net_device}, {"name", "moved0"}}};
      version = "1.1.0";
    }
    const json spec = {{"cdiVersion", version},
                       {"kind", options_.name + "/thing"},
                       {"devices", {{{"name", uid}, {"containerEdits", edits}}}}};
    const std::string path = file(uid);
    std::ofstream(path + ".tmp") << spec.dump();
    fs::rename(path + ".tmp", path);
    return "";
  }
  void unprepare(const std::string& uid, const std::string& name) {
    const std::lock_guard lock(mutex_);
    say("unprepare " + name);
    std::error_code ignored;
    if (!options_.leave_files) {
      fs::remove(file(uid), ignored);
    }
  }
  [[nodiscard]] const Options& options() const { return options_; }

 private:
  [[nodiscard]] std::string file(const std::string& uid) const {
    return variable("CDI_DIR") + "/" + options_.name + "_" + uid + ".json";
  }
  const Options options_;
  std::mutex mutex_;
  int calls_ = 0;
};

/// v1 and v1beta1 differ in their packages only.
template <class Base, class PrepareRequest, class PrepareResponse, class UnprepareRequest,
          class UnprepareResponse>
class Service final : public Base {
 public:
  explicit Service(Devices& devices) : devices_(devices) {}
  // NOLINTBEGIN(readability-identifier-naming): gRPC's names
  grpc::Status NodePrepareResources(grpc::ServerContext*, const PrepareRequest* request,
                                    PrepareResponse* response) override {
    for (const auto& claim : request->claims()) {
      if (devices_.options().omit_answers) {
        continue;
      }
      auto& answer = (*response->mutable_claims())[claim.uid()];
      answer.set_error(devices_.prepare(claim.uid(), claim.name()));
      auto* device = answer.add_devices();
      device->set_pool_name(variable("NODE_NAME"));
      device->set_device_name("thing-0");
      device->add_cdi_device_ids(devices_.options().name + "/thing=" + claim.uid());
    }
    return grpc::Status::OK;
  }
  grpc::Status NodeUnprepareResources(grpc::ServerContext*, const UnprepareRequest* request,
                                      UnprepareResponse* response) override {
    for (const auto& claim : request->claims()) {
      devices_.unprepare(claim.uid(), claim.name());
      (*response->mutable_claims())[claim.uid()];
    }
    return grpc::Status::OK;
  }
  // NOLINTEND(readability-identifier-naming)
 private:
  Devices& devices_;
};
using ServiceV1 =
    Service<v1::DRAPlugin::Service, v1::NodePrepareResourcesRequest, v1::NodePrepareResourcesResponse,
            v1::NodeUnprepareResourcesRequest, v1::NodeUnprepareResourcesResponse>;
using ServiceV1beta1 = Service<v1beta1::DRAPlugin::Service, v1beta1::NodePrepareResourcesRequest,
                               v1beta1::NodePrepareResourcesResponse, v1beta1::NodeUnprepareResourcesRequest,
                               v1beta1::NodeUnprepareResourcesResponse>;

class Registration final : public pluginregistration::Registration::Service {
 public:
  Registration(Options options, std::string endpoint)
      : options_(std::move(options)), endpoint_(std::move(endpoint)) {}
  // NOLINTBEGIN(readability-identifier-naming): gRPC's names
  grpc::Status GetInfo(grpc::ServerContext*, const pluginregistration::InfoRequest*,
                       pluginregistration::PluginInfo* info) override {
    info->set_type(options_.type);
    info->set_name(options_.name);
    info->set_endpoint(endpoint_);
    for (const auto& version : options_.versions) {
      info->add_supported_versions(version);
    }
    return grpc::Status::OK;
  }
  grpc::Status NotifyRegistrationStatus(grpc::ServerContext*,
                                        const pluginregistration::RegistrationStatus* status,
                                        pluginregistration::RegistrationStatusResponse*) override {
    say(status->plugin_registered() ? "registered" : "refused: " + status->error());
    return grpc::Status::OK;
  }
  // NOLINTEND(readability-identifier-naming)
 private:
  const Options options_;
  const std::string endpoint_;
};

bool publish(const Options& options) {
  const std::string account = "/var/run/secrets/kubernetes.io/serviceaccount/";
  httplib::SSLClient client(variable("KUBERNETES_SERVICE_HOST"),
                            std::stoi(variable("KUBERNETES_SERVICE_PORT")));
  client.set_ca_cert_path((account + "ca.crt").c_str());
  client.set_bearer_token_auth(read_file(account + "token"));
  json devices = json::array();
  for (int i = 0; i < options.devices; ++i) {
    devices.push_back({{"name", "thing-" + std::to_string(i)}, {"attributes", {{"size", {{"int", i}}}}}});
  }
  const auto node = variable("NODE_NAME");
  const json slice = {{"apiVersion", "resource.k8s.io/v1"},
                      {"kind", "ResourceSlice"},
                      {"metadata", {{"generateName", node + "-" + options.name + "-"}}},
                      {"spec",
                       {{"driver", options.name},
                        {"nodeName", node},
                        {"pool", {{"name", node}, {"generation", 1}, {"resourceSliceCount", 1}}},
                        {"devices", devices}}}};
  const auto answer =
      client.Post("/apis/resource.k8s.io/v1/resourceslices", slice.dump(), "application/json");
  if (!answer || answer->status != 201) {
    say("not published: " + (answer ? answer->body : httplib::to_string(answer.error())));
    return false;
  }
  say("published");
  return true;
}

std::string word_for(int error) { return error == 0 ? "fine" : ::strerrorname_np(error); }

/// "try write /x: EROFS"; a file that can be written keeps what it has.
void try_writes(const std::vector<std::string>& paths) {
  for (const auto& path : paths) {
    const bool there = ::access(path.c_str(), F_OK) == 0;
    const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC | (there ? 0 : O_CREAT), 0644);
    say("try write " + path + ": " + word_for(fd < 0 ? errno : 0));
    if (fd >= 0) {
      ::close(fd);
    }
  }
}

void show_limits() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("CapEff") || line.starts_with("CapBnd") || line.starts_with("Seccomp:") ||
        line.starts_with("NoNewPrivs")) {
      std::replace(line.begin(), line.end(), '\t', ' ');
      say("try " + line);
    }
  }
  say("try pid " + std::to_string(::getpid()));
  // A process may compare itself with itself, but kcmp(2) is not in the container engines' default profile.
  const long compared = ::syscall(SYS_kcmp, ::getpid(), ::getpid(), 1 /* KCMP_VM */, 0, 0);
  say("try kcmp: " + word_for(compared < 0 ? errno : 0));
}

int serve(const Options& options) {
  try_writes(options.write);
  if (options.show_limits) {
    show_limits();
  }
  sigset_t endings;
  sigemptyset(&endings);
  sigaddset(&endings, SIGTERM);
  sigprocmask(SIG_BLOCK, &endings, nullptr);
  const std::string folder = variable("PLUGINS_DIR") + "/" + options.name;
  fs::create_directories(folder);
  const std::string endpoint = folder + "/dra.sock";
  const std::string registration_socket = variable("REGISTRY_DIR") + "/" + options.name + "-reg.sock";
  std::error_code ignored;
  fs::remove(endpoint, ignored);
  fs::remove(registration_socket, ignored);
  Devices devices(options);
  ServiceV1 service_v1(devices);
  ServiceV1beta1 service_v1beta1(devices);
  grpc::ServerBuilder builder;
  builder.AddListeningPort("unix:" + endpoint, grpc::InsecureServerCredentials());
  builder.RegisterService(&service_v1);
  builder.RegisterService(&service_v1beta1);
  const auto server = builder.BuildAndStart();
  if (options.publish && !publish(options)) {
    return 1;
  }
  Registration registration(options, endpoint);
  std::unique_ptr<grpc::Server> registration_server;
  if (options.register_) {
    grpc::ServerBuilder registration_builder;
    registration_builder.AddListeningPort("unix:" + registration_socket, grpc::InsecureServerCredentials());
    registration_builder.RegisterService(&registration);
    registration_server = registration_builder.BuildAndStart();
  }
  int signal = 0;
  do {
    sigwait(&endings, &signal);
  } while (options.ignore_sigterm);
  fs::remove(registration_socket, ignored);
  server->Shutdown();
  fs::remove(endpoint, ignored);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("a DRA driver for tests");
  app.add_option("--name", options.name);
  app.add_option("--versions", options.versions)->delimiter(',');
  app.add_option("--prepare-error", options.prepare_error);
  app.add_option("--prepare-failures", options.prepare_failures);
  app.add_option("--hook", options.hook);
  app.add_option("--net-device", options.net_device);
  app.add_option("--type", options.type);
  app.add_option("--devices", options.devices);
  app.add_flag("--omit-answers", options.omit_answers);
  app.add_flag("!--no-publish", options.publish);
  app.add_flag("!--no-register", options.register_);
  app.add_flag("--leave-files", options.leave_files);
  app.add_flag("--ignore-sigterm", options.ignore_sigterm);
  app.add_option("--write", options.write)->delimiter(',');
  app.add_flag("--show-limits", options.show_limits);
  CLI11_PARSE(app, argc, argv);
  return serve(options);
}
