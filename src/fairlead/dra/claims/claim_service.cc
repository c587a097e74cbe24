// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/claims/claim_service.h"

#include <algorithm>
#include <exception>
#include <iterator>
#include <tuple>
#include <type_traits>
#include <utility>

#include "fairlead/core/executor.h"
#include "fairlead/core/fault.h"
#include "fairlead/core/log.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/text.h"
#include "fairlead/core/timer.h"
#include "fairlead/dra/base/names.h"
#include "fairlead/dra/claims/claim_cdi.h"
#include "fairlead/dra/claims/claim_store.h"
#include "fairlead/dra/claims/config_resolve.h"
#include "fairlead/sys/files.h"

namespace fairlead::dra {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using RecordPtr = ClaimStore::RecordPtr;
using IdentitiesPtr = std::shared_ptr<const std::vector<DeviceIdentity>>;

constexpr std::size_t kWorkLane = 0;
constexpr std::size_t kFetchLane = 1;
/// The error "not ready in time" is returned this long before the caller's own deadline, and this long after
/// ours, so that a driver that keeps its deadline can return a more precise error.
constexpr milliseconds kAnswerMargin{500};
constexpr milliseconds kDriverMargin{400};

/// Of the claims that are planned at one moment, each may come between once: as many as there are workers of
/// two instances.
constexpr int kPlanTries = 10;

/// What is kept of claims that are gone before it is thrown away.
constexpr std::size_t kSpareIdentities = 8;
const IdentitiesPtr kNoIdentities = std::make_shared<const std::vector<DeviceIdentity>>();

// ---- keys ----

std::string claim_key(const std::string& uid) { return "claim/" + uid; }

bool is_exclusive(const AllocatedDevice& device) { return device.share_id.empty() && !device.admin_access; }

void add_device_keys(const Claim& claim, Executor::Keys& keys) {
  for (const AllocatedDevice& device : claim.devices) {
    if (is_exclusive(device)) {
      keys.push_back("device/" + device.pool + "/" + device.device);
    }
  }
}

// ---- comparisons ----

bool same_devices(const Claim& a, const Claim& b) {
  return std::equal(a.devices.begin(), a.devices.end(), b.devices.begin(), b.devices.end(),
                    [](const AllocatedDevice& x, const AllocatedDevice& y) {
                      return x.request == y.request && x.pool == y.pool && x.device == y.device &&
                             x.share_id == y.share_id && x.admin_access == y.admin_access;
                    });
}

bool same_pods(const std::vector<Pod>& a, const std::vector<Pod>& b) {
  return std::ranges::equal(a, b, {}, &Pod::uid, &Pod::uid);
}

/// Two claims may have the same device only as monitors (adminAccess) or with different shares of it.
bool may_conflict(const AllocatedDevice& a, const AllocatedDevice& b) {
  return !a.admin_access && !b.admin_access &&
         (a.share_id.empty() || b.share_id.empty() || a.share_id == b.share_id);
}

bool same_name(const AllocatedDevice& a, const AllocatedDevice& b) {
  return a.pool == b.pool && a.device == b.device;
}

/// Goes into the events of the claim's pods: of another namespace's claim they learn that there is one.
Error conflict_error(const Claim& claim, const AllocatedDevice& device, const ClaimRecord& holder,
                     const AllocatedDevice& held) {
  const bool leaving = holder.state == ClaimState::kUnpreparing;
  const bool may_name = claim.namespace_ == holder.claim.namespace_;
  const std::string name = holder.claim.namespace_ + "/" + holder.claim.name;
  const std::string holder_name =
      may_name ? "claim " + name + " (uid " + holder.claim.uid + ")" : "another claim";
  const std::string other_name =
      same_name(device, held) ? std::string() : ", which was allocated it as " + held.device;
  if (!may_name) {
    log::info("a claim conflicts with a claim of another namespace",
              {{"claim", claim.namespace_ + "/" + claim.name},
               {"uid", claim.uid},
               {"device", device.pool + "/" + device.device},
               {"holder", name},
               {"holder_uid", holder.claim.uid}});
  }
  return Error(Code::kBusy, "device " + device.device + " of pool " + device.pool +
                                (leaving ? " is still being released by " : " is in use by ") + holder_name +
                                other_name + "; it is free when that claim's last pod on this node is gone");
}

std::vector<ServedDevice> served(std::string_view driver_name, const ClaimRecord& record) {
  std::vector<ServedDevice> devices;
  for (std::size_t i = 0; i < record.claim.devices.size(); ++i) {
    const AllocatedDevice& from = record.claim.devices[i];
    ServedDevice device{.request = from.main_request(),
                        .pool = from.pool,
                        .device = from.device,
                        .share_id = from.share_id,
                        .cdi_ids = {}};
    if (has_cdi_device(record, i)) {
      device.cdi_ids.push_back(cdi_id(driver_name, record, i));
    }
    devices.push_back(std::move(device));
  }
  return devices;
}

/// A driver's exceptions end here.
template <class F>
auto guarded(F call) -> decltype(call()) {
  try {
    return call();
  } catch (const std::exception& e) {
    return Error(Code::kInternal, std::string("the driver threw an exception: ") + e.what());
  } catch (...) {
    return Error(Code::kInternal, "the driver threw an exception");
  }
}

// ---- one kubelet call ----

/// Collects the results of one call and returns them once.
template <class Answer>
class Batch {
 public:
  using Answers = std::map<std::string, Answer>;
  using Done = std::move_only_function<void(Answers)>;

  Batch(std::vector<std::string> uids, Timer& timer, Done done)
      : timer_(timer), waiting_(std::move(uids)), done_(std::move(done)) {}

  void set_timer(Timer::Id id) {
    const Lock lock(mutex_);
    timer_id_ = id;
  }

  void answer(const std::string& uid, Answer answer) {
    const Lock lock(mutex_);
    const auto found = std::find(waiting_.begin(), waiting_.end(), uid);
    if (found == waiting_.end()) {
      return;  // too late: expired
    }
    waiting_.erase(found);
    answers_.emplace(uid, std::move(answer));
    if (waiting_.empty()) {
      timer_.cancel(timer_id_);
      send();
    }
  }

  void expire(const Error& error) {
    const Lock lock(mutex_);
    if (waiting_.empty()) {
      return;
    }
    for (const std::string& uid : std::exchange(waiting_, {})) {
      answers_.emplace(uid, error);
    }
    send();
  }

 private:
  void send() FL_REQUIRES(mutex_) { std::exchange(done_, nullptr)(std::move(answers_)); }

  Timer& timer_;
  Mutex mutex_;
  std::vector<std::string> waiting_ FL_GUARDED_BY(mutex_);
  Answers answers_ FL_GUARDED_BY(mutex_);
  Done done_ FL_GUARDED_BY(mutex_);
  Timer::Id timer_id_ FL_GUARDED_BY(mutex_) = 0;
};

Result<> is_in_time(const CallContext& context) {
  if (context.cancelled.stop_requested()) {
    return Error(Code::kCancelled, "the kubelet's call ended before the claim's turn came");
  }
  if (steady_clock::now() >= context.deadline) {
    return Error(Code::kTimeout, "the claim's turn did not come in time; the kubelet will try again");
  }
  return {};
}

/// A claim's part of a call.
template <class Answer>
struct Job {
  Job(ClaimRef which, steady_clock::time_point until, const std::stop_token& caller,
      const std::stop_token& service, std::shared_ptr<Batch<Answer>> whole)
      : ref(std::move(which)),
        batch(std::move(whole)),
        by_caller(caller, [this] { source.request_stop(); }),
        by_service(service, [this] { source.request_stop(); }) {
    context.deadline = until;
    context.cancelled = source.get_token();
  }

  [[nodiscard]] Result<> check_alive() const { return is_in_time(context); }

  ClaimRef ref;
  CallContext context;
  steady_clock::time_point started = steady_clock::now();
  std::shared_ptr<Batch<Answer>> batch;
  std::stop_source source;
  std::stop_callback<std::function<void()>> by_caller, by_service;

  std::optional<ClaimStore::Keys> keys;
  RecordPtr existing;  // what the record says, read under the claim's key
  // Prepare: what the API server says. `seen`, without devices, is there also when the rest is not in order.
  std::optional<Claim> claim, seen;
  bool reported = false;  // and whether its status has entries of ours
};

using PrepareAnswer = Result<std::vector<ServedDevice>>;
using PrepareJob = Job<PrepareAnswer>;
using UnprepareJob = Job<Result<>>;

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
        executor_({.lanes = {options_.workers, options_.fetchers}, .queue_limit = options_.queue_limit}) {}

  template <class Answer>
  void start_call(const std::vector<ClaimRef>& claims, const CallContext& context,
                  std::move_only_function<void(std::map<std::string, Answer>)> done, std::size_t lane,
                  void (Impl::*first_part)(Executor::Turn&, const std::shared_ptr<Job<Answer>>&));
  void first_part_of_prepare(Executor::Turn& turn, const std::shared_ptr<PrepareJob>& job);
  void first_part_of_unprepare(Executor::Turn& turn, const std::shared_ptr<UnprepareJob>& job);
  Result<> restore();
  void stop(milliseconds grace);

  ClaimStore& store() { return *store_; }
  Result<> update(const std::string& uid, steady_clock::time_point deadline,
                  const std::function<Result<std::string>(const ClaimRecord&)>& change);
  Result<bool> if_unknown(const std::string& uid, steady_clock::time_point deadline,
                          const std::function<void()>& action);

 private:
  Result<> read_claim(PrepareJob& job);
  Result<Claim> check_claim(const kube::ResourceClaim& claim, const ClaimRef& ref) const;
  PrepareAnswer second_part_of_prepare(PrepareJob& job);
  Result<> note_pods(const PrepareJob& job);
  PrepareAnswer prepare_anew(const PrepareJob& job);
  Result<> plan_and_admit(ClaimRecord& record, const CallContext& context);
  Result<> admit(const ClaimRecord& record, const CallContext& context);
  Result<IdentitiesPtr> known_identities_of(const RecordPtr& record) FL_REQUIRES(admission_);
  Result<> carry_out(ClaimRecord& record, const CallContext& context);
  Result<> undo(ClaimRecord record, const CallContext& context);
  CallContext undo_context() const;
  void schedule_retry(const std::string& uid, unsigned attempt);
  void retry_undo(Executor::Turn& turn, const std::string& uid, unsigned attempt);
  template <class Answer>
  void finish(Job<Answer>& job, Answer answer);
  void finish_prepare(PrepareJob& job, PrepareAnswer answer);
  void restore_one(const ClaimRecord& record);
  void remove_orphan_cdi_files();

  const Options options_;
  Driver& driver_;
  ClaimSource& source_;
  Metrics& metrics_;
  std::unique_ptr<ClaimStore> store_;
  Mutex admission_;  // one admission at a time
  struct KnownIdentities {
    RecordPtr record;
    IdentitiesPtr identities;
  };
  std::map<std::string, KnownIdentities> known_identities_ FL_GUARDED_BY(admission_);  // by the claim's uid
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
  auto locks = keys;
  turn.then(
      std::move(keys),
      [this, job, locks](Executor::Turn& /*turn*/) mutable {
        auto locked = job->keys->add(std::move(locks), job->context.deadline, job->context.cancelled);
        finish_prepare(*job,
                       locked ? second_part_of_prepare(*job) : PrepareAnswer(std::move(locked).error()));
      },
      kWorkLane);
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

PrepareAnswer ClaimService::Impl::second_part_of_prepare(PrepareJob& job) {
  FL_TRY(job.check_alive());
  if (job.existing) {
    if (job.existing->state == ClaimState::kPrepared &&
        (!job.claim || same_devices(job.existing->claim, *job.claim))) {
      FL_TRY(write_cdi_file(options_.cdi_dir, options_.driver_name, *job.existing));
      FL_TRY(note_pods(job));
      return served(options_.driver_name, *job.existing);
    }
    // A prepare that was cut off, an undo that failed, or another allocation than the one we prepared (the
    // kubelet lost its state and never told us to unprepare).
    FL_TRY(undo(*job.existing, job.context), "undo what was prepared before");
  }
  return prepare_anew(job);
}

/// A kubelet that lost its state prepares for other pods what was prepared before.
Result<> ClaimService::Impl::note_pods(const PrepareJob& job) {
  if (!job.claim || same_pods(job.claim->reserved_for, job.existing->claim.reserved_for)) {
    return {};
  }
  ClaimRecord record = *job.existing;
  record.claim.reserved_for = job.claim->reserved_for;
  return store_->write(record);
}

PrepareAnswer ClaimService::Impl::prepare_anew(const PrepareJob& job) {
  const Claim& claim = *job.claim;
  const CallContext& context = job.context;
  ClaimRecord record;
  record.claim = claim;
  FL_TRY(plan_and_admit(record, context));
  fault_point("after-intent");
  if (options_.hooks.preparing && !job.reported) {
    options_.hooks.preparing(claim.uid);
  }
  auto done = carry_out(record, context);
  if (done) {
    return served(options_.driver_name, record);
  }
  Error error = std::move(done).error();
  if (auto undone = undo(record, undo_context()); !undone) {
    schedule_retry(record.claim.uid, 0);
    return Error(
        error.code(),
        error.what() + " (undoing it failed too and will be tried again: " + undone.error().what() + ")",
        error.sys_errno());
  }
  return error;
}

namespace {

/// One for each device.
Result<std::vector<DeviceIdentity>> identities_of(const Driver& driver, const ClaimRecord& record) {
  FL_ASSIGN(auto identities,
            guarded([&]() -> Result<std::vector<DeviceIdentity>> { return driver.identities(record); }));
  identities.resize(record.claim.devices.size());
  return identities;
}

bool has_key(const std::vector<DeviceIdentity>& identities) {
  return std::ranges::any_of(identities, [](const DeviceIdentity& each) { return !each.key.empty(); });
}

/// `theirs` is empty when none of the identities matters.
Result<> check_apart(const ClaimRecord& record, const std::vector<DeviceIdentity>& identities,
                     const ClaimRecord& other, const std::vector<DeviceIdentity>& theirs) {
  for (std::size_t i = 0; i < record.claim.devices.size(); ++i) {
    for (std::size_t j = 0; j < other.claim.devices.size(); ++j) {
      const AllocatedDevice& device = record.claim.devices[i];
      const bool same = same_name(device, other.claim.devices[j]) ||
                        (!theirs.empty() && !identities[i].key.empty() && identities[i].key == theirs[j].key);
      if (same && may_conflict(device, other.claim.devices[j])) {
        return conflict_error(record.claim, device, other, other.claim.devices[j]);
      }
    }
  }
  return {};
}

}  // namespace

/// Claims are planned side by side, by threads and by two instances: one that was planned at the same moment
/// and admitted first may have what this plan says. Then the plan is made once more, and sees the other.
Result<> ClaimService::Impl::plan_and_admit(ClaimRecord& record, const CallContext& context) {
  for (int tries = 1;; ++tries) {
    FL_ASSIGN(record.plan, guarded([&] { return driver_.plan(record.claim); }));
    record.plan_for_previous = driver_.plan_for_previous(record.plan);
    auto admitted = admit(record, context);
    if (admitted || admitted.error().code() != Code::kConflict || tries == kPlanTries) {
      return admitted;
    }
    FL_TRY(is_in_time(context));
  }
}

/// A driver reads a record for this, so each is read once.
Result<IdentitiesPtr> ClaimService::Impl::known_identities_of(const RecordPtr& record) {
  const auto known = known_identities_.find(record->claim.uid);
  if (known != known_identities_.end() && known->second.record == record) {
    return known->second.identities;
  }
  FL_ASSIGN(auto read, identities_of(driver_, *record));
  const auto identities = std::make_shared<const std::vector<DeviceIdentity>>(std::move(read));
  if (has_key(*identities)) {  // without one, the driver may know it the next time
    known_identities_[record->claim.uid] = {.record = record, .identities = identities};
  }
  return identities;
}

/// No other claim may have the devices; from here on they are this claim's. For all threads and instances,
/// the check and the intent are one atomic step.
Result<> ClaimService::Impl::admit(const ClaimRecord& record, const CallContext& context) {
  const Lock lock(admission_);
  FL_ASSIGN(const auto keys, store_->lock({"admission"}, context.deadline, context.cancelled));
  // Of a record that cannot be read now, what it said last counts; of one that never could, that the
  // scheduler allocates a device once.
  FL_ASSIGN(const auto others, store_->read_all());
  FL_ASSIGN(const auto identities, identities_of(driver_, record));
  const bool has_keys = has_key(identities);
  for (const RecordPtr& other : others.records) {
    if (other->claim.uid != record.claim.uid) {
      const bool matters = has_keys && std::ranges::any_of(other->claim.devices, is_exclusive);
      FL_ASSIGN(const auto theirs,
                matters ? known_identities_of(other) : Result<IdentitiesPtr>(kNoIdentities));
      FL_TRY(check_apart(record, identities, *other, *theirs));
    }
  }
  if (known_identities_.size() > others.records.size() + kSpareIdentities) {
    known_identities_.clear();  // of claims that are gone
  }
  FL_ASSIGN(const auto admission, guarded([&] { return driver_.begin_admission(record, *store_, context); }));
  fault_point("after-admission");
  FL_TRY(store_->write(record));
  fault_point("after-admission-record");
  if (!admission) {
    return {};
  }
  auto known = guarded([&] { return admission->recorded(); });
  if (!known) {
    // Nothing was done for the claim yet. Should the record stay, the next call or start undoes it.
    (void)store_->remove(record.claim.uid);
  }
  return known;
}

Result<> ClaimService::Impl::carry_out(ClaimRecord& record, const CallContext& context) {
  FL_ASSIGN(record.prepared, guarded([&] { return driver_.prepare(record.claim, record.plan, context); }));
  fault_point("after-prepare");
  if (record.prepared.device_edits.size() != record.claim.devices.size()) {
    return Error(Code::kInternal, "the driver prepared " + std::to_string(record.claim.devices.size()) +
                                      " devices and gave container edits for " +
                                      std::to_string(record.prepared.device_edits.size()));
  }
  FL_TRY(write_cdi_file(options_.cdi_dir, options_.driver_name, record));
  fault_point("after-cdi");
  record.state = ClaimState::kPrepared;
  FL_TRY(store_->write(record));
  fault_point("after-record");
  return {};
}

// ---- undo and unprepare ----

CallContext ClaimService::Impl::undo_context() const {
  // Not the caller's: that one may be what ended the prepare.
  return {.deadline = steady_clock::now() + options_.undo_budget, .cancelled = {}};
}

Result<> ClaimService::Impl::undo(ClaimRecord record, const CallContext& context) {
  if (record.state != ClaimState::kUnpreparing) {
    record.state = ClaimState::kUnpreparing;
    if (auto written = store_->write(record); !written) {
      // A full disk must not keep a pod from ending. The kubelet has no result yet and will try again.
      log::warn("cannot record that a claim is being unprepared, ignoring",
                {{"uid", record.claim.uid}, {"error", written.error().what()}});
    }
  }
  fault_point("before-unprepare-effect");
  FL_TRY(guarded([&] { return driver_.unprepare(record, context); }));
  fault_point("after-unprepare-effect");
  FL_TRY(remove_cdi_file(options_.cdi_dir, options_.driver_name, record.claim.uid));
  fault_point("after-cdi-removed");
  FL_TRY(store_->remove(record.claim.uid));
  fault_point("after-record-removed");
  if (options_.hooks.unprepared) {
    options_.hooks.unprepared(record.claim.uid);
  }
  return {};
}

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
  auto locks = keys;
  turn.then(
      std::move(keys),
      [this, job, locks](Executor::Turn& /*turn*/) mutable {
        auto locked = job->keys->add(std::move(locks), job->context.deadline, job->context.cancelled);
        finish(*job, locked ? undo(*job->existing, job->context) : std::move(locked));
      },
      kWorkLane);
}

void ClaimService::Impl::schedule_retry(const std::string& uid, unsigned attempt) {
  const auto pause =
      std::min<milliseconds>(options_.retry_min * (1U << std::min(attempt, 10U)), milliseconds(60'000));
  timer_.at(steady_clock::now() + pause, [this, uid, attempt] {
    // Refused when stopping or too busy: the next start, or the kubelet's next call for the claim, does it.
    (void)executor_.submit({claim_key(uid)},
                           [this, uid, attempt](Executor::Turn& turn) { retry_undo(turn, uid, attempt); });
  });
}

void ClaimService::Impl::retry_undo(Executor::Turn& turn, const std::string& uid, unsigned attempt) {
  auto keys = store_->lock({claim_key(uid)}, undo_context().deadline);
  auto record = keys ? store_->read(uid) : Result<RecordPtr>(keys.error());
  if (!record) {
    schedule_retry(uid, attempt + 1);
    return;
  }
  if (!*record || (*record)->state != ClaimState::kUnpreparing) {
    return;  // another thread or instance did it
  }
  Executor::Keys devices;
  add_device_keys((*record)->claim, devices);
  auto held = std::make_shared<ClaimStore::Keys>(std::move(*keys));
  auto locks = devices;
  turn.then(std::move(devices), [=, this, record = *record](Executor::Turn& /*turn*/) {
    const auto context = undo_context();
    auto undone = held->add(locks, context.deadline, {});
    if (undone) {
      undone = undo(*record, context);
    }
    if (undone) {
      log::info("claim unprepared after another try", {{"uid", uid}});
      return;
    }
    log::warn("claim still not unprepared, trying again", {{"uid", uid}, {"error", undone.error().what()}});
    schedule_retry(uid, attempt + 1);
  });
}

// ---- start and stop ----

void ClaimService::Impl::restore_one(const ClaimRecord& record) {
  const std::string& uid = record.claim.uid;
  const auto fields = [&](const Error& error) {
    log::warn("cannot restore a claim; leaving it unchanged", {{"uid", uid}, {"error", error.what()}});
  };
  // Not waiting: another running instance holds the key and is working on this claim.
  const auto now = steady_clock::now();
  std::vector<std::string> device_keys;
  add_device_keys(record.claim, device_keys);
  auto keys = store_->lock({claim_key(uid)}, now);
  if (!keys) {
    fields(keys.error());
    return;
  }
  if (auto more = keys->add(device_keys, now, {}); !more) {
    fields(more.error());
    return;
  }
  const auto current = store_->read(uid);  // it may have changed before we had the key
  if (!current) {
    fields(current.error());
    return;
  }
  if (!*current) {
    return;
  }
  if ((*current)->state == ClaimState::kPrepared) {
    if (auto written = write_cdi_file(options_.cdi_dir, options_.driver_name, **current); !written) {
      fields(written.error());
    }
    return;
  }
  if (auto undone = undo(**current, undo_context()); !undone) {
    log::warn("cannot undo a claim that was in flight, trying again",
              {{"uid", uid}, {"state", to_string((*current)->state)}, {"error", undone.error().what()}});
    schedule_retry(uid, 0);
    return;
  }
  log::info("claim that was in flight undone", {{"uid", uid}, {"state", to_string((*current)->state)}});
}

void ClaimService::Impl::remove_orphan_cdi_files() {
  sys::remove_old_temporaries(options_.cdi_dir, options_.driver_name + "-claim_");
  sys::remove_old_temporaries(options_.state_dir + "/claims", "");
  const auto names = sys::list_dir(options_.cdi_dir);
  if (!names) {
    log::warn("cannot look for old CDI files, ignoring", {{"error", names.error().what()}});
    return;
  }
  for (const std::string& name : *names) {
    const std::string uid = claim_uid_of_cdi_file(options_.driver_name, name);
    if (!is_uid(uid)) {
      continue;
    }
    // A record comes before its CDI file and goes after it, so a file without a record is left over.
    const auto keys = store_->lock({claim_key(uid)}, steady_clock::now());
    const auto record = keys ? store_->read(uid) : Result<RecordPtr>(keys.error());
    if (record && !*record) {
      (void)remove_cdi_file(options_.cdi_dir, options_.driver_name, uid);
      log::info("CDI file without a claim removed", {{"file", name}});
    }
  }
}

Result<> ClaimService::Impl::restore() {
  FL_ASSIGN(const auto dropped, store_->drop_records_of_other_boots());
  for (const ClaimRecord& record : dropped) {
    log::info("claim of another boot dropped", {{"uid", record.claim.uid}});
    if (const auto removed = remove_cdi_file(options_.cdi_dir, options_.driver_name, record.claim.uid);
        !removed) {
      log::warn("cannot remove the CDI file of a claim of another boot",
                {{"uid", record.claim.uid}, {"error", removed.error().what()}});
    }
  }
  FL_ASSIGN(const auto found, store_->read_all());
  for (const RecordPtr& record : found.records) {
    restore_one(*record);
  }
  remove_orphan_cdi_files();
  FL_ASSIGN(const auto left, store_->read_all());
  std::vector<ClaimRecord> records;
  for (const RecordPtr& record : left.records) {
    records.push_back(*record);
  }
  return guarded([&]() -> Result<> {
    driver_.restored(records);
    return {};
  });
}

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
  FL_ASSIGN(const auto all, impl_->store().read_all(), "read the claim records");
  if (const auto damaged = impl_->store().put_aside_that_mentions(pod_uid)) {
    return *damaged;
  }
  std::vector<RecordPtr> found;
  std::ranges::copy_if(all.records, std::back_inserter(found), [&](const RecordPtr& record) {
    const auto& pods = record->claim.reserved_for;
    return std::ranges::find(pods, pod_uid, &Pod::uid) != pods.end();
  });
  std::ranges::sort(found, {}, [](const RecordPtr& record) {
    return std::tie(record->claim.namespace_, record->claim.name, record->claim.uid);
  });
  std::vector<ClaimRecord> copies;
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
