// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/claims/stale_claims.h"

#include <optional>
#include <set>
#include <utility>

#include "fairlead/core/log.h"

namespace fairlead::dra {

StaleClaims::StaleClaims(Options options, ClaimSource& source, Calls calls)
    : options_(options),
      source_(&source),
      calls_(std::move(calls)),
      worker_(
          [this](const std::stop_token& stop) {
            check(stop);
            return std::optional(options_.clock->now() + options_.period);
          },
          {.clock = options.clock}) {}

StaleClaims::~StaleClaims() { stop(); }

void StaleClaims::start() { worker_.start(options_.clock->now() + options_.period); }

void StaleClaims::stop() { worker_.stop(); }

StaleClaims::Seen StaleClaims::look_up(const ClaimRecord& record, const std::stop_token& stop) {
  const auto claim =
      source_->get_claim(record.claim.namespace_, record.claim.name, options_.get_timeout, stop);
  if (claim) {
    return claim->meta.uid == record.claim.uid ? Seen::kThere : Seen::kGone;
  }
  return claim.error().code() == Code::kNotFound ? Seen::kGone : Seen::kNotKnown;
}

bool StaleClaims::deal_with(const ClaimRecord& record) {
  Gone& gone = gone_[record.claim.uid];
  // The instance that began to undo it had decided that the claim is unused.
  const ClaimUse use = record.state == ClaimState::kUnpreparing ? ClaimUse{.kind = ClaimUse::Kind::kUnused}
                                                                : calls_.use_of(record);
  const std::string name = record.claim.namespace_ + "/" + record.claim.name;
  switch (use.kind) {
    case ClaimUse::Kind::kInUse:
      return false;  // when the pod ends, so does this
    case ClaimUse::Kind::kUnknown:
      if (!std::exchange(gone.told, true)) {
        const std::string sentence = "the claim " + name + " (" + record.claim.uid +
                                     ") is gone from the API server, but what it was given on this node "
                                     "is not taken back, because its pod may still run: " +
                                     use.why;
        log::warn("a record has no claim any more, and is kept", {{"claim", name}, {"why", use.why}});
        calls_.tell(record, sentence);
      }
      return true;
    case ClaimUse::Kind::kUnused:
      break;
  }
  const auto undone = calls_.undo(record);
  if (!undone) {
    log::warn("a record has no claim any more, and cannot be undone yet",
              {{"claim", name}, {"uid", record.claim.uid}, {"error", undone.error().what()}});
    return false;
  }
  log::info("a record had no claim any more, and was undone", {{"claim", name}, {"uid", record.claim.uid}});
  gone_.erase(record.claim.uid);
  return false;
}

void StaleClaims::check(const std::stop_token& stop) {
  const auto records = calls_.records();
  if (!records) {
    return;  // reported when they are read for the kubelet
  }
  std::set<std::string> known;
  for (const ClaimRecord& record : *records) {
    known.insert(record.claim.uid);
  }
  std::erase_if(gone_, [&](const auto& entry) { return !known.contains(entry.first); });
  std::size_t left_over = 0;
  for (const ClaimRecord& record : *records) {
    if (stop.stop_requested()) {
      return;
    }
    if (record.state == ClaimState::kPreparing) {
      continue;  // a prepare is in progress
    }
    switch (look_up(record, stop)) {
      case Seen::kNotKnown:
        return;  // the API server is away, or does not let us see: then nothing is known of any claim
      case Seen::kThere:
        gone_.erase(record.claim.uid);
        continue;
      case Seen::kGone:
        break;
    }
    const auto now = options_.clock->now();
    const auto [seen, first_time] = gone_.try_emplace(record.claim.uid, Gone{.since = now});
    if (!first_time && now - seen->second.since >= options_.period) {
      left_over += deal_with(record) ? 1 : 0;
    }
  }
  calls_.count(left_over);
}

}  // namespace fairlead::dra
