// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/claims/claim_service.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "fairlead/core/executor.h"
#include "fairlead/core/log.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/text.h"
#include "fairlead/core/timer.h"
#include "fairlead/dra/base/names.h"
#include "fairlead/dra/claims/claim_call.h"
#include "fairlead/dra/claims/claim_cdi.h"
#include "fairlead/dra/claims/claim_keys.h"
#include "fairlead/dra/claims/claim_prepare.h"
#include "fairlead/dra/claims/claim_restore.h"
#include "fairlead/dra/claims/claim_store.h"
#include "fairlead/dra/claims/claim_undo.h"
#include "fairlead/dra/claims/config_resolve.h"
#include "fairlead/dra/claims/pod_records.h"

namespace fairlead::dra {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t kWorkLane = 0;
constexpr std::size_t kFetchLane = 1;
/// The error "not ready in time" is returned this long before the caller's own deadline, and this long after
/// ours, so that a driver that keeps its deadline can return a more precise error.
constexpr milliseconds kAnswerMargin{500};
constexpr milliseconds kDriverMargin{400};

/// The claim and its pods, for reports; nullopt if the name now belongs to another claim.
std::optional<Claim> summary(const kube::ResourceClaim& claim, const ClaimRef& ref) {
  if (claim.meta.uid != ref.uid) {
    return std::nullopt;
  }
  return Claim{.namespace_ = ref.namespace_,
               .name = ref.name,
               .uid = ref.uid,
               .reserved_for = pods_of(claim),
               .devices = {}};
}

std::int64_t milliseconds_since(steady_clock::time_point start) {
  return std::chrono::duration_cast<milliseconds>(steady_clock::now() - start).count();
}

}  // namespace

class ClaimService::Impl {
 public:
  Impl(Options options, std::unique_ptr<ClaimStore> store, Driver& driver, ClaimSource& source,
       Metrics& metrics)
      : options_(std::move(options)),
        driver_(driver),
        source_(source),
        metrics_(metrics),
        store_(std::move(store)),
        pod_records_(*store_),
        undo_({.driver_name = options_.driver_name,
               .cdi_dir = options_.cdi_dir,
               .budget = options_.undo_budget,
               .retry_min = options_.retry_min,
               .undone = options_.hooks.unprepared},
              driver, *store_, executor_, timer_),
        prepare_({.driver_name = options_.driver_name,
                  .cdi_dir = options_.cdi_dir,
                  .preparing = options_.hooks.preparing},
                 driver, *store_, undo_),
        executor_({.lanes = {options_.workers, options_.fetchers}, .queue_limit = options_.queue_limit}) {}

  template <class Answer>
  void start_call(const std::vector<ClaimRef>& claims, const CallContext& context,
                  std::move_only_function<void(std::map<std::string, Answer>)> done, std::size_t lane,
                  void (Impl::*first_part)(Executor::Turn&, const std::shared_ptr<Job<Answer>>&));
  void first_part_of_prepare(Executor::Turn& turn, const std::shared_ptr<PrepareJob>& job);
  void first_part_of_unprepare(Executor::Turn& turn, const std::shared_ptr<UnprepareJob>& job);
  Result<> restore() {
    return restore_claims(
        {.driver_name = options_.driver_name, .state_dir = options_.state_dir, .cdi_dir = options_.cdi_dir},
        driver_, *store_, undo_);
  }
  void stop(milliseconds grace);

  ClaimStore& store() { return *store_; }
  PodRecords& pod_records() { return pod_records_; }
  Result<> update(const std::string& uid, steady_clock::time_point deadline,
                  const std::function<Result<std::string>(const ClaimRecord&)>& change);
  Result<bool> if_unknown(const std::string& uid, steady_clock::time_point deadline,
                          const std::function<void()>& action);

 private:
  Result<> read_claim(PrepareJob& job);
  Result<Claim> check_claim(const kube::ResourceClaim& claim, const ClaimRef& ref) const;
  template <class Answer>
  static void with_devices(Executor::Turn& turn, const std::shared_ptr<Job<Answer>>& job,
                           Executor::Keys devices, std::move_only_function<void(Result<> locked)> go_on);
  template <class Answer>
  void finish(Job<Answer>& job, Answer answer);
  void finish_prepare(PrepareJob& job, PrepareAnswer answer);

  const Options options_;
  Driver& driver_;
  ClaimSource& source_;
  Metrics& metrics_;
  std::unique_ptr<ClaimStore> store_;
  PodRecords pod_records_;
  ClaimUndo undo_;
  ClaimPrepare prepare_;
  std::stop_source stopping_;
  Timer timer_;
  Executor executor_;  // last: its tasks use all of the above
};

// ---- calls ----

template <class Answer>
void ClaimService::Impl::start_call(const std::vector<ClaimRef>& claims, const CallContext& context,
                                    std::move_only_function<void(std::map<std::string, Answer>)> done,
                                    std::size_t lane,
                                    void (Impl::*first_part)(Executor::Turn&,
                                                             const std::shared_ptr<Job<Answer>>&)) {
  if (claims.empty()) {
    done({});
    return;
  }
  std::map<std::string, const ClaimRef*> by_uid;
  std::vector<std::string> uids;
  for (const ClaimRef& ref : claims) {
    if (by_uid.emplace(ref.uid, &ref).second) {  // a uid that comes twice gets one answer
      uids.push_back(ref.uid);
    }
  }
  const auto now = steady_clock::now();
  auto until = now + options_.call_budget;
  if (context.deadline < until + kAnswerMargin) {
    until = std::max(context.deadline - kAnswerMargin, now + (context.deadline - now) / 2);
  }
  auto batch = std::make_shared<Batch<Answer>>(uids, timer_, std::move(done));
  const Error late(Code::kTimeout,
                   "not done after " +
                       std::to_string(std::chrono::ceil<std::chrono::seconds>(until - now).count()) +
                       " s; the work continues, and the next try gets its result");
  batch->set_timer(timer_.at(until + kDriverMargin, [batch, late] { batch->expire(late); }));
  for (const std::string& uid : uids) {
    const ClaimRef& ref = *by_uid[uid];
    if (auto valid = validate(ref); !valid) {
      batch->answer(uid, std::move(valid).error());
      continue;
    }
    auto job = std::make_shared<Job<Answer>>(ref, until, context.cancelled, stopping_.get_token(), batch);
    auto taken = executor_.submit(
        {claim_key(uid)}, [this, job, first_part](Executor::Turn& turn) { (this->*first_part)(turn, job); },
        lane);
    if (!taken) {
      finish(*job, Answer(std::move(taken).error()));
    }
  }
}

template <class Answer>
void ClaimService::Impl::finish(Job<Answer>& job, Answer answer) {
  constexpr bool kPrepare = std::is_same_v<Answer, PrepareAnswer>;
  job.keys.reset();
  metrics_.claim_finished(kPrepare ? Metrics::Call::kPrepare : Metrics::Call::kUnprepare,
                          answer ? std::nullopt : std::optional<Code>(answer.error().code()),
                          steady_clock::now() - job.started);
  const std::string name = job.ref.namespace_ + "/" + job.ref.name;
  if (answer) {
    log::info(kPrepare ? "claim prepared" : "claim unprepared", {{"claim", name},
                                                                 {"uid", job.ref.uid},
                                                                 {"known", job.existing != nullptr},
                                                                 {"ms", milliseconds_since(job.started)}});
  } else {
    log::warn(kPrepare ? "claim not prepared" : "claim not unprepared",
              {{"claim", name}, {"uid", job.ref.uid}, {"error", answer.error().what()}});
  }
  job.batch->answer(job.ref.uid, std::move(answer));
}

/// Goes on as soon as no other claim of this process or of another instance is at work on these devices.
template <class Answer>
void ClaimService::Impl::with_devices(Executor::Turn& turn, const std::shared_ptr<Job<Answer>>& job,
                                      Executor::Keys devices,
                                      std::move_only_function<void(Result<> locked)> go_on) {
  auto locks = devices;
  turn.then(
      std::move(devices),
      [job, locks = std::move(locks), go_on = std::move(go_on)](Executor::Turn& /*turn*/) mutable {
        go_on(job->keys->add(std::move(locks), job->context.deadline, job->context.cancelled));
      },
      kWorkLane);
}

// ---- prepare ----

void ClaimService::Impl::finish_prepare(PrepareJob& job, PrepareAnswer answer) {
  if (!answer && job.seen && options_.hooks.prepare_failed) {
    options_.hooks.prepare_failed(*job.seen, answer.error());
  }
  finish(job, std::move(answer));
}

void ClaimService::Impl::first_part_of_prepare(Executor::Turn& turn, const std::shared_ptr<PrepareJob>& job) {
  if (auto read = read_claim(*job); !read) {
    finish_prepare(*job, std::move(read).error());
    return;
  }
  Executor::Keys keys;
  if (job->claim) {
    add_device_keys(*job->claim, keys);
  }
  if (job->existing) {
    add_device_keys(job->existing->claim, keys);
  }
  with_devices(turn, job, std::move(keys), [this, job](Result<> locked) {
    finish_prepare(*job, locked ? prepare_.prepare(*job) : PrepareAnswer(std::move(locked).error()));
  });
}

Result<> ClaimService::Impl::read_claim(PrepareJob& job) {
  FL_TRY(job.check_alive());
  FL_ASSIGN(job.keys, store_->lock({claim_key(job.ref.uid)}, job.context.deadline, job.context.cancelled));
  FL_ASSIGN(job.existing, store_->read(job.ref.uid));
  const bool prepared = job.existing && job.existing->state == ClaimState::kPrepared;
  auto timeout = std::chrono::duration_cast<milliseconds>(job.context.deadline - steady_clock::now());
  if (prepared) {
    timeout = std::min(timeout, options_.recheck_timeout);
  }
  const auto fetched = source_.get_claim(job.ref.namespace_, job.ref.name, timeout, job.context.cancelled);
  if (fetched) {
    job.seen = summary(*fetched, job.ref);
    job.reported = std::ranges::find(fetched->reporting_drivers, options_.driver_name) !=
                   fetched->reporting_drivers.end();
    FL_ASSIGN(job.claim, check_claim(*fetched, job.ref));
    return {};
  }
  const Code code = fetched.error().code();
  if (prepared && (code == Code::kUnavailable || code == Code::kTimeout)) {
    return {};  // the record has the result
  }
  return Error(fetched.error()).with("read claim " + job.ref.namespace_ + "/" + job.ref.name);
}

Result<Claim> ClaimService::Impl::check_claim(const kube::ResourceClaim& claim, const ClaimRef& ref) const {
  const std::string name = "claim " + ref.namespace_ + "/" + ref.name;
  if (claim.meta.uid != ref.uid) {
    return Error(Code::kConflict, name + " has uid " + claim.meta.uid + " by now, not " + ref.uid +
                                      ": it was deleted and made again");
  }
  if (!claim.allocation) {
    return Error(Code::kInvalid, name + " is not allocated (status.allocation is missing)");
  }
  if (!claim.allocation->node_name.empty() && claim.allocation->node_name != options_.node_name) {
    return Error(Code::kInvalid, name + " is allocated for node " + claim.allocation->node_name +
                                     "; this is node " + options_.node_name);
  }
  FL_ASSIGN(Claim resolved, resolve_config(claim, options_.driver_name));
  resolved.namespace_ = ref.namespace_;
  resolved.name = ref.name;
  resolved.uid = ref.uid;
  return resolved;
}

// ---- unprepare ----

void ClaimService::Impl::first_part_of_unprepare(Executor::Turn& turn,
                                                 const std::shared_ptr<UnprepareJob>& job) {
  auto read = [&]() -> Result<> {
    FL_TRY(job->check_alive());
    FL_ASSIGN(job->keys,
              store_->lock({claim_key(job->ref.uid)}, job->context.deadline, job->context.cancelled));
    FL_ASSIGN(job->existing, store_->read(job->ref.uid));
    return {};
  }();
  if (!read) {
    finish(*job, std::move(read));
    return;
  }
  if (!job->existing) {
    store_->forget_put_aside(job->ref.uid);
    finish(*job, remove_cdi_file(options_.cdi_dir, options_.driver_name, job->ref.uid));
    return;
  }
  Executor::Keys keys;
  add_device_keys(job->existing->claim, keys);
  with_devices(turn, job, std::move(keys), [this, job](Result<> locked) {
    finish(*job, locked ? undo_.undo(*job->existing, job->context) : std::move(locked));
  });
}

// ---- start and stop ----

void ClaimService::Impl::stop(milliseconds grace) {
  timer_.at(steady_clock::now() + grace, [this] { stopping_.request_stop(); });
  executor_.stop();
  timer_.stop();
}

Result<> ClaimService::Impl::update(const std::string& uid, steady_clock::time_point deadline,
                                    const std::function<Result<std::string>(const ClaimRecord&)>& change) {
  if (!is_uid(uid)) {
    return Error(Code::kNotFound, "no claim has the uid " + quote(uid));
  }
  FL_ASSIGN(const auto hold, executor_.acquire({claim_key(uid)}, deadline), "wait for claim " + uid);
  FL_ASSIGN(const auto keys, store_->lock({claim_key(uid)}, deadline));
  FL_ASSIGN(const auto current, store_->read(uid));
  if (!current) {
    return Error(Code::kNotFound, "no claim with uid " + uid + " is prepared here");
  }
  ClaimRecord record = *current;
  FL_ASSIGN(record.prepared.state, change(*current));
  return store_->write(record);
}

Result<bool> ClaimService::Impl::if_unknown(const std::string& uid, steady_clock::time_point deadline,
                                            const std::function<void()>& action) {
  if (is_uid(uid)) {
    FL_ASSIGN(const auto hold, executor_.acquire({claim_key(uid)}, deadline), "wait for claim " + uid);
    FL_ASSIGN(const auto keys, store_->lock({claim_key(uid)}, deadline));
    FL_ASSIGN(const auto record, store_->read(uid));
    if (record) {
      return false;
    }
    action();
    return true;
  }
  action();  // no claim can have it
  return true;
}

// ---- the public face ----

Result<> validate(const ClaimRef& claim) {
  if (!is_uid(claim.uid)) {
    return Error(Code::kInvalid,
                 "claim uid " + quote(claim.uid) +
                     " must be 1 to 63 letters, digits and \"-\", as the API server makes them");
  }
  if (!is_dns_label(claim.namespace_)) {
    return Error(Code::kInvalid,
                 "claim namespace " + quote(claim.namespace_) +
                     " must be a DNS label (at most 63 lower-case letters, digits and \"-\")");
  }
  if (!is_dns_subdomain(claim.name)) {
    return Error(Code::kInvalid,
                 "claim name " + quote(claim.name) +
                     " must be a DNS subdomain (at most 253 lower-case letters, digits, \"-\" and \".\")");
  }
  return {};
}

ClaimService::ClaimService(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

ClaimService::~ClaimService() { stop(); }

Result<std::unique_ptr<ClaimService>> ClaimService::open(Options options, Driver& driver, ClaimSource& source,
                                                         Metrics& metrics) {
  FL_ASSIGN(auto store,
            ClaimStore::open({.state_dir = options.state_dir,
                              .boot_id = options.boot_id,
                              .on_quarantine =
                                  [&metrics](const std::string& path, const Error& why) {
                                    metrics.record_quarantined();
                                    log::error(
                                        "a claim record is unreadable and was quarantined; its devices "
                                        "may be left over on this node",
                                        {{"file", path}, {"error", why.what()}});
                                  },
                              .on_unreadable =
                                  [&metrics](const std::string& path, const Error& why) {
                                    metrics.record_unreadable();
                                    log::error("claim records cannot be read; using their last known content",
                                               {{"path", path}, {"error", why.what()}});
                                  }}),
            "open the claim records");
  return std::unique_ptr<ClaimService>(new ClaimService(
      std::make_unique<Impl>(std::move(options), std::move(store), driver, source, metrics)));
}

Result<> ClaimService::restore() { return impl_->restore(); }

void ClaimService::prepare(const std::vector<ClaimRef>& claims, const CallContext& context,
                           std::move_only_function<void(PrepareAnswers)> done) {
  impl_->start_call<PrepareAnswer>(claims, context, std::move(done), kFetchLane,
                                   &Impl::first_part_of_prepare);
}

void ClaimService::unprepare(const std::vector<ClaimRef>& claims, const CallContext& context,
                             std::move_only_function<void(UnprepareAnswers)> done) {
  impl_->start_call<Result<>>(claims, context, std::move(done), kWorkLane, &Impl::first_part_of_unprepare);
}

void ClaimService::stop(std::chrono::milliseconds grace) { impl_->stop(grace); }

std::optional<ClaimRecord> ClaimService::find(const std::string& claim_uid) const {
  if (!is_uid(claim_uid)) {
    return std::nullopt;
  }
  const auto record = impl_->store().read(claim_uid);
  return record && *record ? std::optional<ClaimRecord>(**record) : std::nullopt;
}

Result<std::vector<RecordPtr>> ClaimService::shared_records() const {
  FL_ASSIGN(auto all, impl_->store().read_all(), "read the claim records");
  return std::move(all.records);
}

Result<RecordChanges> ClaimService::changes_since(std::uint64_t generation) const {
  FL_ASSIGN(auto changes, impl_->store().changes_since(generation), "read the claim records");
  return changes;
}

Result<std::vector<ClaimRecord>> ClaimService::records() const {
  FL_ASSIGN(const auto all, shared_records());
  std::vector<ClaimRecord> copies;
  for (const RecordPtr& record : all) {
    copies.push_back(*record);
  }
  return copies;
}

Result<std::vector<ClaimRecord>> ClaimService::records_of_pod(const std::string& pod_uid) const {
  FL_ASSIGN(const auto found, impl_->pod_records().of(pod_uid), "read the claim records");
  if (const auto damaged = impl_->store().put_aside_that_mentions(pod_uid)) {
    return *damaged;
  }
  std::vector<ClaimRecord> copies;
  copies.reserve(found.size());
  for (const RecordPtr& record : found) {
    copies.push_back(*record);
  }
  return copies;
}

Result<> ClaimService::update(const std::string& claim_uid, std::chrono::steady_clock::time_point deadline,
                              const std::function<Result<std::string>(const ClaimRecord&)>& change) {
  return impl_->update(claim_uid, deadline, change);
}

Result<bool> ClaimService::if_unknown(const std::string& claim_uid,
                                      std::chrono::steady_clock::time_point deadline,
                                      const std::function<void()>& action) {
  return impl_->if_unknown(claim_uid, deadline, action);
}

}  // namespace fairlead::dra
