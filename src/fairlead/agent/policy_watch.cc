// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/policy_watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <utility>

#include "fairlead/core/log.h"
#include "fairlead/sys/files.h"

namespace fairlead::agent {
namespace {

/// Until a folder that is not there can be watched.
constexpr std::chrono::milliseconds kWatchAgain{500};
constexpr const char* kCopy = "policy.yaml";

std::string folder_of(const std::string& file) {
  const auto parent = std::filesystem::path(file).parent_path();
  return parent.empty() ? "." : parent.string();
}

/// A file that is being written: its IN_CLOSE_WRITE comes.
bool is_regular(const std::string& path) {
  struct stat status = {};
  return ::lstat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

}  // namespace

Result<std::unique_ptr<PolicyWatch>> PolicyWatch::start(Options options, const devices::Registry& kinds) {
  UniqueFd events(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!events.valid()) {
    return Error::from_errno(errno, "make an inotify descriptor");
  }
  UniqueFd stop(::eventfd(0, EFD_CLOEXEC));
  if (!stop.valid()) {
    return Error::from_errno(errno, "make an eventfd");
  }
  return std::unique_ptr<PolicyWatch>(
      new PolicyWatch(std::move(options), std::move(events), std::move(stop), kinds));
}

PolicyWatch::PolicyWatch(Options options, UniqueFd events, UniqueFd stop, const devices::Registry& kinds)
    : options_(std::move(options)), events_(std::move(events)), stop_(std::move(stop)) {
  for (const fields::TypeFields& type : kinds.fields()) {
    for (const fields::KindFields& kind : type.kinds) {
      for (const fields::Field& field : kind.fields) {
        bounded_.insert(policy::key_of(field.bound));
      }
    }
  }
  if (options_.file.empty()) {
    put_in_force({});
    if (!options_.copy_dir.empty()) {
      (void)::unlink((options_.copy_dir + "/" + kCopy).c_str());  // of a file that does not count any more
    }
    return;
  }
  const bool is_watching = watch_folder();  // before load(), so that no change is missed
  load();
  if (!policy()) {
    use_copy();
  }
  thread_ = std::thread([this, is_watching] { run(is_watching); });
}

PolicyWatch::~PolicyWatch() {
  if (thread_.joinable()) {
    const std::uint64_t one = 1;
    (void)!::write(stop_.get(), &one, sizeof one);
    thread_.join();
  }
}

Result<std::shared_ptr<const policy::Policy>> PolicyWatch::policy() const {
  const Lock lock(mutex_);
  if (policy_ == nullptr) {
    return Error(Code::kUnavailable, "what claims may write on this node is not known: " +
                                         (problem_ ? problem_->what() : "the policy file was not read"));
  }
  return policy_;
}

Result<> PolicyWatch::ready() const {
  const Lock lock(mutex_);
  return problem_ ? Result<>(*problem_) : Result<>();
}

std::string PolicyWatch::metrics_text() const {
  if (options_.file.empty()) {
    return "";
  }
  const std::string name = "fairlead_policy_file_loads_total{driver=\"" + options_.driver + "\",result=\"";
  return "# HELP fairlead_policy_file_loads_total Contents of the policy file that were read, by result.\n"
         "# TYPE fairlead_policy_file_loads_total counter\n" +
         name + "accepted\"} " + std::to_string(accepted_) + "\n" + name + "refused\"} " +
         std::to_string(refused_) + "\n";
}

bool PolicyWatch::watch_folder() const {
  constexpr std::uint32_t kChanges = IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CLOSE_WRITE |
                                     IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
  return ::inotify_add_watch(events_.get(), folder_of(options_.file).c_str(), kChanges) >= 0;
}

void PolicyWatch::run(bool is_watching) {
  std::array<pollfd, 2> both = {{{.fd = events_.get(), .events = POLLIN, .revents = 0},
                                 {.fd = stop_.get(), .events = POLLIN, .revents = 0}}};
  while (true) {
    const int ready =
        ::poll(both.data(), both.size(), is_watching ? -1 : static_cast<int>(kWatchAgain.count()));
    if ((ready < 0 && errno != EINTR) || both[1].revents != 0) {
      return;
    }
    bool folder_gone = false;
    bool changed = read_events(folder_gone);
    if (is_watching && folder_gone) {
      is_watching = false;
    }
    if (!is_watching) {
      is_watching = watch_folder();
      changed = true;
    }
    if (changed) {
      load();
    }
  }
}

/// Whether the file may have changed. A ConfigMap's folder is changed by renaming a link beside the file.
bool PolicyWatch::read_events(bool& folder_gone) const {
  alignas(inotify_event) std::array<char, 4096>
      buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init): filled by read
  bool any = false;
  while (true) {
    const ssize_t size = ::read(events_.get(), buffer.data(), buffer.size());
    if (size <= 0) {
      return any;
    }
    for (std::size_t at = 0; at < static_cast<std::size_t>(size);) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
      const bool is_begun = (event->mask & IN_CREATE) != 0 && event->len > 0 &&
                            is_regular(folder_of(options_.file) + "/" + event->name);
      any = any || !is_begun;
      if ((event->mask & IN_MOVE_SELF) != 0) {
        (void)::inotify_rm_watch(events_.get(), event->wd);
      }
      folder_gone = folder_gone || (event->mask & (IN_IGNORED | IN_MOVE_SELF)) != 0;
      at += sizeof(inotify_event) + event->len;
    }
  }
}

void PolicyWatch::load() {
  auto text = sys::read_file(options_.file, policy::kMaxPolicyFile + 1);
  if (!text) {
    if (last_text_ || last_error_ != text.error().what()) {
      last_text_.reset();
      last_error_ = text.error().what();
      refuse(std::move(text).error().with("the policy file " + options_.file));
    }
    return;
  }
  if (last_text_ == *text) {
    return;
  }
  last_text_ = *text;
  last_error_.clear();
  auto file = policy::parse_policy_file(*text, options_.file);
  if (file) {
    accept(*std::move(file), *text);
  } else {
    refuse(file.error());
  }
}

void PolicyWatch::accept(policy::PolicyFile file, const std::string& text) {
  for (const std::string_view key : policy::keys_of(file.bounds)) {
    if (!bounded_.contains(key)) {
      log::warn("a bound of the policy file has no effect: this version has no field that it binds",
                {{"bound", "bounds." + std::string(key)}});
    }
  }
  log::info("the policy file is in force",
            {{"file", options_.file},
             {"level", std::string(to_string(file.level.value_or(options_.level)))},
             {"namespaces", file.namespaces.size()}});
  ++accepted_;
  put_in_force(std::move(file));
  if (!options_.copy_dir.empty()) {
    if (const auto copied = sys::replace_file(options_.copy_dir, kCopy, text); !copied) {
      log::warn("cannot keep a copy of the policy file; an agent that starts with a bad file has none then",
                {{"error", copied.error().what()}});
    }
  }
}

void PolicyWatch::put_in_force(policy::PolicyFile file) {
  auto policy =
      std::make_shared<const policy::Policy>(policy::Policy{.flag = options_.level, .file = std::move(file)});
  const Lock lock(mutex_);
  policy_ = std::move(policy);
  problem_.reset();
}

void PolicyWatch::refuse(const Error& error) {
  log::error("the policy file is bad; what was in force stays in force", {{"error", error.what()}});
  ++refused_;
  const Lock lock(mutex_);
  problem_ = error;
}

/// The file is bad at a start: what was in force before counts, and the agent is not ready.
void PolicyWatch::use_copy() {
  const std::string path = options_.copy_dir + "/" + kCopy;
  const auto text = options_.copy_dir.empty() ? Result<std::optional<std::string>>(std::nullopt)
                                              : sys::read_file_if_exists(path);
  auto file = text && *text ? policy::parse_policy_file(**text, path)
                            : Result<policy::PolicyFile>(Error(Code::kNotFound, "there is no copy"));
  if (!file) {
    log::error("no policy is in force; claims are not prepared until the policy file is good",
               {{"copy", file.error().what()}});
    return;
  }
  log::warn("the last good policy file is in force, from its copy", {{"copy", path}});
  const Lock lock(mutex_);
  policy_ = std::make_shared<const policy::Policy>(
      policy::Policy{.flag = options_.level, .file = *std::move(file)});
}

}  // namespace fairlead::agent
