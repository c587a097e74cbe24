// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/nic_holders.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <iterator>
#include <set>
#include <utility>

#include "fairlead/agent/holder_story.h"
#include "fairlead/core/log.h"
#include "fairlead/dra/claims/claim_store.h"
#include "fairlead/sys/files.h"

namespace fairlead::agent {
namespace {

using std::chrono::steady_clock;

/// Identifies the folder, regardless of the mount through which it is seen; empty: it does not exist.
std::string number_of(const std::string& folder) {
  struct stat info = {};
  return ::stat(folder.c_str(), &info) == 0 ? std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino)
                                            : std::string();
}

/// Whether a path still leads to the file that is open: a removed file keeps its locks.
bool is_file_at(int fd, const std::string& path) {
  struct stat open = {};
  struct stat there = {};
  return ::fstat(fd, &open) == 0 && ::lstat(path.c_str(), &there) == 0 && open.st_dev == there.st_dev &&
         open.st_ino == there.st_ino;
}

/// Whether the claim's record is quarantined as unreadable: the pod may still have the claim's devices.
Result<bool> is_in_quarantine(const std::string& state_dir, const std::string& uid) {
  FL_ASSIGN(const auto names, sys::list_dir(state_dir + "/quarantine"));
  return std::ranges::any_of(names, [&](const std::string& name) { return name.starts_with(uid + ".json"); });
}

}  // namespace

NicHolders::NicHolders(Options options)
    : options_([&] {
        if (!options.boot_id) {
          options.boot_id = dra::current_boot_id().value_or("");
        }
        return std::move(options);
      }()),
      index_(std::make_unique<HolderIndex>(folder(), options_.driver)) {}

Result<> NicHolders::open() const {
  const auto use = [&]() -> Result<> {
    FL_TRY(open_lock());
    if (::access(folder().c_str(), R_OK | W_OK | X_OK) != 0) {
      return Error::from_errno(errno, "write to " + folder());
    }
    return {};
  };
  auto opened = use();
  if (!opened && opened.error().sys_errno() == ENOENT) {
    opened = sys::make_dirs(folder(), 0700);
    opened = opened ? use() : std::move(opened);
  }
  if (!opened) {
    return Error(Code::kUnavailable,
                 "the folder in which the drivers of this node record which NICs they have cannot be used (" +
                     opened.error().what() + "); make it writable, in a container by a mount of the host's " +
                     kDefaultFolder + ", or name another one with --shared-dir, the same for all drivers");
  }
  return {};
}

// ---- entries ----

NicHolders::Entry NicHolders::entry_of(const NicClaim& claim, const NicUse& use) const {
  return {.nic = use.nic, .driver = options_.driver, .uid = claim.uid, .whole = use.whole};
}

Result<std::string> NicHolders::content(const NicClaim& claim, const NicUse& use) const {
  return to_json(HolderStory{.nic = use.nic,
                             .link = use.link,
                             .is_whole = use.whole,
                             .driver = options_.driver,
                             .uid = claim.uid,
                             .namespace_ = claim.namespace_,
                             .name = claim.name,
                             .state_dir = options_.state_dir,
                             .state_folder = number_of(options_.state_dir + "/claims"),
                             .boot_id = options_.boot_id.value_or("")});
}

/// True only if it is certain: the records are visible, and the claim's is not among them.
Result<bool> NicHolders::is_left_over(const Entry& entry) const {
  const std::string path = folder() + "/" + entry.file();
  FL_ASSIGN(const auto text, sys::read_file_if_exists(path));
  if (!text) {
    return true;
  }
  const auto story = parse_holder_story(*text);
  if (!story) {
    log::warn("cannot read which claim has a NIC; it counts as taken",
              {{"file", path}, {"error", story.error().what()}});
    return false;
  }
  const bool are_boots_known = !story->boot_id.empty() && !options_.boot_id.value_or("").empty();
  if (are_boots_known && story->boot_id != options_.boot_id) {
    return true;
  }
  const std::string records = story->state_dir + "/claims";
  if (story->state_folder.empty() || number_of(records) != story->state_folder) {
    return false;
  }
  struct stat info = {};
  if (::lstat((records + "/" + entry.uid + ".json").c_str(), &info) == 0 || errno != ENOENT) {
    return false;
  }
  // Looked for after the record: it is moved from there to here.
  FL_ASSIGN(const bool is_put_aside, is_in_quarantine(story->state_dir, entry.uid));
  return !is_put_aside;
}

Result<UniqueFd> NicHolders::open_lock() const {
  return sys::open_file(lock_file(), O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
}

/// The holder may also be another instance of this driver; only one that is admitting a claim can be
/// identified.
Error NicHolders::held_by_another() const {
  const auto intents = index_->intents().value_or(std::vector<Entry>());
  const std::string who = intents.empty() ? "another fairlead agent of this node"
                                          : "the agent of the driver " + intents.front().driver;
  return Error(Code::kBusy, "the NIC cannot be given to the claim now: " + who +
                                " may have stopped while it holds " + lock_file() +
                                ", which takes it milliseconds; if this stays so, let its process go on or " +
                                "restart it (on the node `fuser " + lock_file() + "` names it)");
}

/// A wait blocks all claims of this driver, so it lasts no longer than a running agent may hold the lock.
Result<UniqueFd> NicHolders::lock(const dra::CallContext& context) const {
  const auto give_up = std::min(context.deadline, steady_clock::now() + options_.patience);
  FL_ASSIGN(UniqueFd fd, open_lock());
  // flock(2) has no timeout.
  for (std::chrono::milliseconds pause{1};; pause = std::min(pause * 2, std::chrono::milliseconds{20})) {
    const bool is_held = ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0;
    const int e = errno;
    if (!is_held && e != EWOULDBLOCK && e != EINTR) {
      return Error::from_errno(e, "lock " + lock_file());
    }
    const bool is_removed = !is_file_at(fd.get(), lock_file());
    if (is_held && !is_removed) {
      return fd;
    }
    if (context.cancelled.stop_requested()) {
      return Error(Code::kCancelled, "the caller went away");
    }
    if (steady_clock::now() >= give_up) {
      return held_by_another();
    }
    if (is_removed) {
      FL_TRY(open());  // the folder of the entries may have gone as well
      FL_ASSIGN(fd, open_lock());
      continue;
    }
    std::this_thread::sleep_for(pause);
  }
}

// ---- admission ----

/// Holds the lock; written intents have no effect until recorded().
class NicHolders::Intents final : public dra::Admission {
 public:
  Intents(std::string folder, std::string lock_file, UniqueFd lock)
      : folder_(std::move(folder)), lock_file_(std::move(lock_file)), lock_(std::move(lock)) {}
  ~Intents() override {
    for (const Entry& entry : entries_) {
      (void)sys::remove_file(folder_ + "/" + entry.intent_file());
    }
  }

  Result<> write(Entry entry, const std::string& text) {
    FL_TRY(sys::replace_file(folder_, entry.intent_file(), text));
    entries_.push_back(std::move(entry));
    return {};
  }

  /// Checks the lock after the entries are written: an agent that was admitted through a new lock sees them.
  Result<> recorded() override {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      const std::string to = folder_ + "/" + entries_[i].file();
      if (::rename((folder_ + "/" + entries_[i].intent_file()).c_str(), to.c_str()) != 0) {
        const int e = errno;
        take_back(i);
        return Error::from_errno(e, "rename to " + to);
      }
    }
    if (!is_file_at(lock_.get(), lock_file_)) {
      take_back(entries_.size());
      return Error(Code::kBusy, lock_file_ + " was removed while a claim with a NIC was recorded, so that " +
                                    "another driver may have been given the NIC; the claim is tried again");
    }
    entries_.clear();
    return {};
  }

 private:
  void take_back(std::size_t count) const {
    for (std::size_t i = 0; i < count; ++i) {
      (void)sys::remove_file(folder_ + "/" + entries_[i].file());
    }
  }

  const std::string folder_, lock_file_;
  UniqueFd lock_;  // freed last
  std::vector<Entry> entries_;
};

/// The lock is held.
Result<> NicHolders::refuse_what_others_have(const NicClaim& claim) const {
  FL_ASSIGN(const auto intents, index_->intents());
  for (const Entry& intent : intents) {
    FL_TRY(sys::remove_file(folder() + "/" + intent.intent_file()));
  }
  for (const NicUse& wanted : claim.uses) {
    // This driver's own claims are known from its records.
    FL_ASSIGN(const auto others, index_->others_against(wanted.nic, wanted.whole));
    for (const Entry& entry : others) {
      FL_ASSIGN(const bool left_over, is_left_over(entry));
      if (!left_over) {
        return held_by(entry, claim, wanted);
      }
      log::warn("removing an entry that assigns a NIC to a claim without record",
                {{"nic", entry.nic}, {"driver", entry.driver}, {"claim", entry.uid}});
      FL_TRY(sys::remove_file(folder() + "/" + entry.file()));
    }
  }
  return {};
}

/// The owner of the other claim is not disclosed to the author of this one.
Error NicHolders::held_by(const Entry& entry, const NicClaim& claim, const NicUse& wanted) {
  log::info("a claim needs a NIC that a claim of another driver has",
            {{"claim", claim.namespace_ + "/" + claim.name},
             {"uid", claim.uid},
             {"nic", entry.nic},
             {"driver", entry.driver},
             {"holder_uid", entry.uid}});
  return Error(Code::kBusy,
               "the NIC " + wanted.link + " (" + entry.nic + ") is in use by a claim of the driver " +
                   entry.driver +
                   (entry.whole ? ", which has it for itself" : ", which has an interface on it") +
                   "; it is free when that claim's last pod on this node is gone");
}

Result<std::unique_ptr<dra::Admission>> NicHolders::admit(const NicClaim& claim,
                                                          const dra::CallContext& context) const {
  if (claim.uses.empty()) {
    return nullptr;
  }
  FL_TRY(open());
  FL_ASSIGN(UniqueFd held, lock(context));
  FL_TRY(refuse_what_others_have(claim));
  auto intents = std::make_unique<Intents>(folder(), lock_file(), std::move(held));
  for (const NicUse& use : claim.uses) {
    FL_ASSIGN(const std::string text, content(claim, use));
    FL_TRY(intents->write(entry_of(claim, use), text));
  }
  return intents;
}

/// The lock is held.
Result<bool> NicHolders::is_taken(const NicUse& use) const {
  FL_ASSIGN(const auto others, index_->others_against(use.nic, use.whole));
  for (const Entry& entry : others) {
    FL_ASSIGN(const bool left_over, is_left_over(entry));
    if (!left_over) {
      return true;
    }
  }
  return false;
}

Result<std::vector<std::string>> NicHolders::lost(const NicClaim& claim,
                                                  const dra::CallContext& context) const {
  std::vector<std::string> nics;
  if (claim.uses.empty()) {
    return nics;
  }
  FL_TRY(open());
  FL_ASSIGN(const auto own, index_->own_of(claim.uid));
  std::vector<NicUse> missing;
  std::ranges::copy_if(claim.uses, std::back_inserter(missing), [&](const NicUse& use) {
    const std::string file = entry_of(claim, use).file();
    return std::ranges::none_of(own,
                                [&](const Entry& entry) { return !entry.is_intent && entry.file() == file; });
  });
  if (missing.empty()) {
    return nics;
  }
  FL_ASSIGN(const UniqueFd held, lock(context));
  for (const NicUse& use : missing) {
    FL_ASSIGN(const bool taken, is_taken(use));
    if (taken) {
      log::info("a NIC of a claim that is undone now belongs to another driver; leaving it unchanged",
                {{"nic", use.nic}, {"claim", claim.uid}});
      nics.push_back(use.nic);
      continue;
    }
    FL_ASSIGN(const std::string text, content(claim, use));
    FL_TRY(sys::replace_file(folder(), entry_of(claim, use).file(), text));
  }
  return nics;
}

Result<> NicHolders::forget(const std::string& claim_uid) const {
  FL_ASSIGN(const auto own, index_->own_of(claim_uid));
  for (const Entry& entry : own) {
    FL_TRY(sys::remove_file(folder() + "/" + entry.current_file()));
  }
  return {};
}

// ---- repair, and what is offered ----

Result<bool> NicHolders::needs_repair(const std::vector<NicClaim>& claims) const {
  FL_ASSIGN(const auto present, index_->own());
  std::set<std::string> own;
  for (const Entry& entry : present) {
    if (!entry.is_intent) {
      own.insert(entry.file());
    }
  }
  for (const NicClaim& claim : claims) {
    for (const NicUse& use : claim.uses) {
      if (own.erase(entry_of(claim, use).file()) == 0 && claim.is_prepared) {
        return true;
      }
    }
  }
  for (const Entry& entry : present) {
    if (own.contains(entry.file())) {
      FL_ASSIGN(const bool is_put_aside, is_in_quarantine(options_.state_dir, entry.uid));
      if (!is_put_aside) {
        return true;
      }
    }
  }
  return false;
}

Result<> NicHolders::repair(const std::function<Result<std::vector<NicClaim>>()>& claims) const {
  FL_TRY(open());
  FL_ASSIGN(const UniqueFd held, lock({}));
  FL_ASSIGN(const auto own, index_->own());
  FL_ASSIGN(const auto recorded, claims());
  std::set<std::string> left_over;
  for (const Entry& entry : own) {
    FL_ASSIGN(const bool is_put_aside, is_in_quarantine(options_.state_dir, entry.uid));
    if (entry.is_intent || !is_put_aside) {
      left_over.insert(entry.current_file());
    }
  }
  for (const NicClaim& claim : recorded) {
    for (const NicUse& use : claim.uses) {
      const Entry wanted = entry_of(claim, use);
      if (left_over.erase(wanted.file()) != 0 || !claim.is_prepared) {
        continue;
      }
      FL_ASSIGN(const auto others, index_->others_against(use.nic, use.whole));
      if (!others.empty()) {
        log::error("a NIC has been given to claims of two drivers; delete the pod of one",
                   {{"nic", use.nic},
                    {"claim", claim.namespace_ + "/" + claim.name},
                    {"other_driver", others.front().driver},
                    {"other_claim", others.front().uid}});
      }
      FL_ASSIGN(const std::string text, content(claim, use));
      FL_TRY(sys::replace_file(folder(), wanted.file(), text));
    }
  }
  for (const std::string& file : left_over) {
    FL_TRY(sys::remove_file(folder() + "/" + file));
  }
  sys::remove_old_temporaries(folder(), "");
  return {};
}

Result<std::vector<NicHolders::Holder>> NicHolders::of_others() const {
  // One of many that share a NIC is enough. What is left over is removed when a claim asks for the NIC.
  FL_ASSIGN(const auto others, index_->others_once([this](const Entry& entry) {
    const auto left_over = is_left_over(entry);
    return !left_over || !*left_over;
  }));
  std::vector<Holder> holders;
  holders.reserve(others.size());
  for (const Entry& entry : others) {
    holders.push_back({.nic = entry.nic, .driver = entry.driver, .whole = entry.whole});
  }
  return holders;
}

}  // namespace fairlead::agent
