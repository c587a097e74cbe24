// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/plugin/plugin.h"

#include <grpcpp/impl/codegen/service_type.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <future>
#include <utility>

#include "fairlead/core/log.h"
#include "fairlead/dra/base/metrics.h"
#include "fairlead/dra/base/names.h"
#include "fairlead/dra/claims/claim_api.h"
#include "fairlead/dra/claims/claim_service.h"
#include "fairlead/dra/claims/stale_claims.h"
#include "fairlead/dra/plugin/dead_sockets.h"
#include "fairlead/dra/reports/claim_reporter.h"
#include "fairlead/dra/reports/pod_events.h"
#include "fairlead/dra/serve/admin_http.h"
#include "fairlead/dra/serve/kubelet_services.h"
#include "fairlead/dra/slices/slice_publisher.h"
#include "fairlead/kube/client.h"
#include "fairlead/kube/config.h"
#include "fairlead/kube/resource.h"
#include "fairlead/kube/resources/node.h"
#include "fairlead/rpc/grpc_server.h"
#include "fairlead/sys/memory.h"
#include "fairlead/sys/process.h"

namespace fairlead::dra {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// For responses still being sent when a server stops: its calls have been drained before.
constexpr milliseconds kFlushTime{200};
/// SIGTERM to SIGKILL is 30 s for a pod. This much is for Driver::stopping() and the calls in flight together
/// (then they are cancelled); the rest is for what they do about it, the last writes, and the program's own
/// end.
constexpr milliseconds kDrainTime{18'000};
constexpr milliseconds kProbeTimeout{2'000};
/// After this time the slices are listed although the watch has not begun: the response may say why it
/// cannot.
constexpr milliseconds kFirstSync{3'000};

sigset_t ending_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

Result<std::vector<ClaimRecord>> not_open() {
  return Error(Code::kUnavailable, "the claim records are not open");
}

/// Pools without a name are the node's own.
Result<std::vector<Pool>> discover(Driver& driver, const std::string& node_name) {
  try {
    auto pools = driver.discover();
    if (pools) {
      for (Pool& pool : *pools) {
        pool.name = pool.name.empty() ? node_name : pool.name;
      }
    }
    return pools;
  } catch (const std::exception& e) {
    return Error(Code::kInternal, std::string("the driver threw an exception: ") + e.what());
  }
}

std::vector<DeviceIdentity> identities(const Driver& driver, const ClaimRecord& record) {
  try {
    return driver.identities(record);
  } catch (const std::exception& e) {
    log::error("the driver threw an exception when asked for the identities of a claim's devices",
               {{"uid", record.claim.uid}, {"error", e.what()}});
    return {};
  }
}

class PluginImpl final : public Plugin {
 public:
  PluginImpl(PluginOptions with, SocketPaths sockets)
      : options_(std::move(with)),
        paths_(std::move(sockets)),
        metrics_(options_.driver_name, FAIRLEAD_VERSION) {}
  ~PluginImpl() override {
    end();
    own_driver_.reset();  // its threads call us
  }

  Result<> make_driver(const MakeDriver& make) {
    FL_ASSIGN(own_driver_, make(*this));
    driver_ = own_driver_.get();
    return {};
  }
  void use_driver(Driver& driver) { driver_ = &driver; }

  Result<> start() override;
  void stop() override { end(); }
  int run() override;
  [[nodiscard]] const PluginOptions& options() const override { return options_; }
  [[nodiscard]] std::string metrics_text() override;

  [[nodiscard]] std::optional<ClaimRecord> find(const std::string& claim_uid) const override {
    return claims_ ? claims_->find(claim_uid) : std::nullopt;
  }
  [[nodiscard]] Result<std::vector<ClaimRecord>> records() const override {
    return claims_ ? claims_->records() : not_open();
  }
  [[nodiscard]] Result<std::vector<RecordPtr>> shared_records() const override {
    return claims_ ? claims_->shared_records() : Result<std::vector<RecordPtr>>(not_open().error());
  }
  [[nodiscard]] Result<RecordChanges> changes_since(std::uint64_t generation) const override {
    return claims_ ? claims_->changes_since(generation) : Result<RecordChanges>(not_open().error());
  }
  [[nodiscard]] Result<std::vector<ClaimRecord>> records_of_pod(const std::string& pod_uid) const override {
    return claims_ ? claims_->records_of_pod(pod_uid) : not_open();
  }
  Result<> update(const std::string& claim_uid, TimePoint deadline, const Change& change) override {
    if (!claims_) {
      return Error(Code::kNotFound, "no claim with uid " + claim_uid + " is prepared here");
    }
    return claims_->update(claim_uid, deadline, change);
  }
  Result<bool> if_unknown(const std::string& claim_uid, TimePoint deadline,
                          const std::function<void()>& action) override {
    return claims_ ? claims_->if_unknown(claim_uid, deadline, action) : not_open().error();
  }
  void report(const std::string& claim_uid, std::vector<DeviceReport> reports) override {
    if (reporter_) {
      reporter_->report(claim_uid, std::move(reports));
    }
  }
  void pod_event(const std::string& claim_uid, const std::string& reason, const std::string& message,
                 const std::optional<Pod>& pod) override;
  void operation_finished(std::string_view operation, std::string_view via, std::optional<Code> error,
                          std::chrono::duration<double> took) override {
    metrics_.operation_finished(operation, via, error, took);
  }
  Result<std::vector<std::string>> node_addresses(std::stop_token stop) override {
    if (!client_) {
      return Error(Code::kUnavailable, "the plugin has not started");
    }
    FL_ASSIGN(auto node, kube::Resource<kube::Node>(*client_).get(
                             {.namespace_ = {}, .name = options_.node_name}, {.stop = std::move(stop)}));
    return std::move(node.internal_addresses);
  }
  void republish() override {
    if (publisher_) {
      publisher_->republish();
    }
  }

 private:
  Result<> begin();
  void end();
  Result<> open_client();
  void make_tellers();
  void on_prepare_failed(const Claim& claim, const Error& error);
  Result<> open_claims();
  void watch_stale_claims();
  Result<> undo(const ClaimRecord& record);
  Result<> serve_admin();
  Result<> serve_kubelet();
  void on_registration(bool registered, const std::string& error);
  [[nodiscard]] Result<> health() const;
  [[nodiscard]] Result<> ready() const;

  const PluginOptions options_;
  const SocketPaths paths_;
  Metrics metrics_;
  std::unique_ptr<Driver> own_driver_;
  Driver* driver_ = nullptr;  // from create() on
  std::atomic<bool> registered_{false};
  bool stopping_ = false;
  // The members below are made by start() in this order and destroyed in reverse.
  std::unique_ptr<kube::Client> client_;
  std::unique_ptr<ClaimSource> claim_source_, background_source_;
  std::unique_ptr<SliceApi> slice_api_;
  std::unique_ptr<ClaimStatusApi> status_api_;
  std::unique_ptr<ClaimReporter> reporter_;
  std::unique_ptr<EventApi> event_api_;
  std::unique_ptr<PodEvents> events_;
  std::unique_ptr<ClaimService> claims_;
  std::unique_ptr<StaleClaims> stale_claims_;
  std::unique_ptr<SlicePublisher> publisher_;
  std::unique_ptr<AdminHttp> admin_;
  std::vector<std::unique_ptr<grpc::Service>> services_;
  std::unique_ptr<rpc::GrpcServer> dra_server_;
  std::unique_ptr<rpc::GrpcServer> registration_server_;
};

Result<> PluginImpl::open_client() {
  FL_ASSIGN(auto config,
            kube::load_config({.kubeconfig = options_.kubeconfig, .context = {}, .environment = {}}));
  log::info("API server", {{"server", config.server}, {"from", config.origin}});
  kube::ClientOptions client_options;
  client_options.qps = options_.kube_qps;
  client_options.burst = std::max(1, static_cast<int>(2 * options_.kube_qps));
  client_options.observer = [this](const kube::RequestRecord& record) {
    metrics_.kube_request(record.verb, record.resource, record.code, Metrics::Seconds(record.seconds));
  };
  FL_ASSIGN(client_, kube::Client::open(std::move(config), std::move(client_options)));
  claim_source_ = make_claim_source(*client_, Urgency::kAPodWaits);
  background_source_ = make_claim_source(*client_, Urgency::kBackground);
  slice_api_ = make_slice_api(*client_, options_.driver_name, options_.node_name);
  return {};
}

/// Before the claims, whose hooks and restored drivers use them.
void PluginImpl::make_tellers() {
  status_api_ = make_claim_status_api(*client_, options_.driver_name);
  ClaimReporter::Options reporter_options;
  reporter_options.driver_name = options_.driver_name;
  reporter_options.identities = [this](const ClaimRecord& record) { return identities(*driver_, record); };
  reporter_ = std::make_unique<ClaimReporter>(
      std::move(reporter_options), *status_api_,
      [this](const std::string& uid) { return claims_->find(uid); }, metrics_);
  event_api_ = make_event_api(*client_);
  EventBook::Options event_options;
  event_options.component = options_.driver_name;
  event_options.host = options_.node_name;
  events_ = std::make_unique<PodEvents>(std::move(event_options), *event_api_, metrics_);
}

void PluginImpl::pod_event(const std::string& claim_uid, const std::string& reason,
                           const std::string& message, const std::optional<Pod>& pod) {
  auto record = find(claim_uid);
  if (record) {
    if (pod) {
      record->claim.reserved_for = {*pod};
    }
    events_->tell(record->claim, reason, message);
  }
}

void PluginImpl::on_prepare_failed(const Claim& claim, const Error& error) {
  if (is_for_the_author(error.code())) {
    events_->tell(claim, "FailedPrepareClaim", "claim " + claim.name + ": " + error.what());
  }
}

Result<> PluginImpl::open_claims() {
  ClaimService::Options claim_options;
  claim_options.driver_name = options_.driver_name;
  claim_options.node_name = options_.node_name;
  claim_options.state_dir = options_.state_dir;
  claim_options.cdi_dir = options_.cdi_dir;
  claim_options.call_budget = options_.call_budget;
  claim_options.workers = options_.workers;
  claim_options.hooks.preparing = [this](const std::string& uid) { reporter_->preparing(uid); };
  claim_options.hooks.prepare_failed = [this](const Claim& claim, const Error& error) {
    on_prepare_failed(claim, error);
  };
  claim_options.hooks.unprepared = [this](const std::string& uid) { reporter_->unprepared(uid); };
  FL_ASSIGN(claims_, ClaimService::open(std::move(claim_options), *driver_, *claim_source_, metrics_));
  return claims_->restore();
}

/// As the kubelet would have it unprepared.
Result<> PluginImpl::undo(const ClaimRecord& record) {
  const ClaimRef claim{
      .namespace_ = record.claim.namespace_, .name = record.claim.name, .uid = record.claim.uid};
  auto promise = std::make_shared<std::promise<UnprepareAnswers>>();
  auto answers = promise->get_future();
  claims_->unprepare({claim}, {.deadline = steady_clock::now() + options_.call_budget, .cancelled = {}},
                     [promise](UnprepareAnswers given) { promise->set_value(std::move(given)); });
  const UnprepareAnswers given = answers.get();
  const auto answer = given.find(claim.uid);
  return answer == given.end() ? Result<>(Error(Code::kInternal, "no result")) : answer->second;
}

void PluginImpl::watch_stale_claims() {
  stale_claims_ = std::make_unique<StaleClaims>(
      StaleClaims::Options{}, *background_source_,
      StaleClaims::Calls{.records = [this] { return claims_->records(); },
                         .use_of = [this](const ClaimRecord& record) { return driver_->use_of(record); },
                         .undo = [this](const ClaimRecord& record) { return undo(record); },
                         .tell =
                             [this](const ClaimRecord& record, const std::string& sentence) {
                               events_->tell(record.claim, "ClaimLeftOver", sentence);
                             },
                         .count = [this](std::size_t count) { metrics_.set_claims_left_over(count); }});
  stale_claims_->start();
}

Result<> PluginImpl::serve_admin() {
  if (options_.http_listen.empty()) {
    return {};
  }
  FL_ASSIGN(admin_,
            AdminHttp::start(options_.http_listen,
                             {.metrics = [this] { return metrics_text(); },
                              .health = [this] { return health(); },
                              .ready = [this] { return ready(); }},
                             options_.pod_uid.empty() ? AdminHttp::Port::kOurs : AdminHttp::Port::kShared));
  return {};
}

Result<> PluginImpl::serve_kubelet() {
  services_.push_back(make_dra_v1_service(*claims_));
  services_.push_back(make_dra_v1beta1_service(*claims_));
  FL_ASSIGN(dra_server_, rpc::GrpcServer::start(paths_.dra, {services_[0].get(), services_[1].get()}));
  services_.push_back(
      make_registration_service({.driver_name = options_.driver_name,
                                 .endpoint = paths_.dra,
                                 .on_status = [this](bool registered, const std::string& error) {
                                   on_registration(registered, error);
                                 }}));
  FL_ASSIGN(registration_server_, rpc::GrpcServer::start(paths_.registration, {services_[2].get()}));
  return {};
}

Result<> PluginImpl::start() {
  auto started = begin();
  if (!started) {
    end();
  }
  return started;
}

Result<> PluginImpl::begin() {
  const auto begin = steady_clock::now();
  FL_TRY(open_client());
  make_tellers();
  publisher_ = std::make_unique<SlicePublisher>(
      PublisherOptions{.driver_name = options_.driver_name,
                       .node_name = options_.node_name,
                       .resync = options_.resync,
                       .state_dir = options_.state_dir,
                       .first_sync = kFirstSync},
      *slice_api_, [this] { return discover(*driver_, options_.node_name); }, metrics_);
  FL_TRY(open_claims());
  reporter_->start();
  events_->start();
  FL_TRY(serve_admin());
  remove_dead_sockets(options_.driver_name, options_.registry_dir, options_.plugin_dir);
  FL_TRY(serve_kubelet());
  publisher_->start();
  watch_stale_claims();
  log::info("serving",
            {{"driver", options_.driver_name},
             {"node", options_.node_name},
             {"socket", paths_.registration},
             {"ms", std::chrono::duration_cast<milliseconds>(steady_clock::now() - begin).count()}});
  return {};
}

void PluginImpl::end() {
  const auto until = steady_clock::now() + kDrainTime;
  if (claims_ && !std::exchange(stopping_, true)) {
    driver_->stopping();
  }
  if (registration_server_) {
    registration_server_->stop(kFlushTime);
  }
  if (claims_) {
    claims_->stop(
        std::max(milliseconds(0), std::chrono::duration_cast<milliseconds>(until - steady_clock::now())));
  }
  if (stale_claims_) {
    stale_claims_->stop();  // an unprepare that it waited for is over by now
  }
  if (dra_server_) {
    dra_server_->stop(kFlushTime);
  }
  if (reporter_) {
    reporter_->stop();
    events_->stop();
  }
  if (publisher_) {
    publisher_->stop();
  }
  admin_.reset();
}

int PluginImpl::run() {
  if (const auto started = start(); !started) {
    log::error("cannot start", {{"error", started.error().what()}});
    return 1;
  }
  const sigset_t signals = ending_signals();
  // Once everything has started: most of the code that is resident now will not run again.
  constexpr timespec kStartUp = {.tv_sec = 2, .tv_nsec = 0};
  int signal = sigtimedwait(&signals, nullptr, &kStartUp);
  if (signal < 0) {
    sys::release_startup_code();
    while (sigwait(&signals, &signal) != 0) {
    }
  }
  log::info("stopping", {{"signal", signal}});
  // From here on a second signal does what it does to any process.
  (void)::signal(SIGTERM, SIG_DFL);
  (void)::signal(SIGINT, SIG_DFL);
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  stop();
  return 0;
}

void PluginImpl::on_registration(bool registered, const std::string& error) {
  metrics_.registration_finished(registered);
  metrics_.set_registered(registered);
  registered_ = registered;
  if (!registered) {
    log::error("the kubelet refused the registration and will try again", {{"error", error}});
    return;
  }
  log::info("registered with the kubelet", {{"driver", options_.driver_name}});
  publisher_->check_now();  // a kubelet that has just started wipes the node's slices
}

Result<> PluginImpl::health() const { return probe_sockets(paths_.registration, paths_.dra, kProbeTimeout); }

Result<> PluginImpl::ready() const {
  if (!registered_) {
    return Error(Code::kUnavailable,
                 "the kubelet has not registered the driver yet; it looks for " + paths_.registration);
  }
  FL_TRY(publisher_->ready());
  return driver_->ready();
}

std::string PluginImpl::metrics_text() {
  // Without a result the gauge keeps its last value.
  if (const auto records = shared_records()) {
    metrics_.set_claims_prepared(static_cast<std::size_t>(std::ranges::count_if(
        *records, [](const RecordPtr& record) { return record->state == ClaimState::kPrepared; })));
  }
  return metrics_.text() + driver_->metrics_text();
}

}  // namespace

// ---- the public face ----

namespace {

Result<std::unique_ptr<PluginImpl>> prepare_process(PluginOptions options) {
  options.fill_defaults();
  FL_TRY(options.validate());
  log::set_level(options.log_level);
  FL_ASSIGN(auto paths,
            socket_paths(options.registry_dir, options.plugin_dir, options.driver_name, options.pod_uid));
  const sigset_t signals = ending_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  sys::ignore_broken_pipes();
  log::debug("descriptors", {{"limit", sys::raise_descriptor_limit()}});
  return std::make_unique<PluginImpl>(std::move(options), std::move(paths));
}

}  // namespace

Result<std::unique_ptr<Plugin>> Plugin::create(PluginOptions options, const MakeDriver& make_driver) {
  FL_ASSIGN(auto plugin, prepare_process(std::move(options)));
  FL_TRY(plugin->make_driver(make_driver));
  return plugin;
}

Result<std::unique_ptr<Plugin>> Plugin::create(PluginOptions options, Driver& driver) {
  FL_ASSIGN(auto plugin, prepare_process(std::move(options)));
  plugin->use_driver(driver);
  return plugin;
}

}  // namespace fairlead::dra
