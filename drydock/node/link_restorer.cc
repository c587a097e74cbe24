// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/link_restorer.h"

#include <net/if.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

#include "drydock/node/link_search.h"
#include "fairlead/core/text.h"

namespace drydock {
namespace {

namespace netlink = fairlead::netlink;
namespace sys = fairlead::sys;
using fairlead::Code;
using fairlead::Error;
using fairlead::joined;
using fairlead::Result;
using Steady = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kLookAgain(20);
// Routes of IPv6 wait for duplicate address detection of their preferred source.
constexpr std::chrono::seconds kRoutePatience(4);

}  // namespace

Result<> LinkRestorer::restore(const LinkRecord& record, IfIndex index, bool at_home) {
  FL_ASSIGN(const auto now, socket_.link(index));
  if (!now) {
    return Error(Code::kNotFound, "it is gone again");
  }
  if (at_home) {
    drop_altnames(record.link, *now);
    restore_name(record.link, *now);
  }
  restore_link(record.link, *now);
  restore_altnames(record.link, *now);
  restore_settings(record, index, sys::LinkIs::kDown);
  note(messages_.set_flags(index, netlink::kSettableFlags | IFF_UP, record.link.flags));
  if (record.link.is_up()) {
    restore_settings(record, index, sys::LinkIs::kUp);
  }
  if (const auto there = messages_.addresses(index); !there) {
    note(there.error());
  } else {
    for (const auto& one : missing(record.addresses, *there)) {
      note(messages_.add(one, index, !at_home));
    }
  }
  if (at_home) {
    restore_routes(record.routes, index);
  }
  FL_TRY(verify(record, index));
  return problems_.empty() ? Result<>() : Error(Code::kInternal, joined(problems_));
}

void LinkRestorer::note(const Result<>& done) {
  if (!done) {
    note(done.error());
  }
}

/// A driver of the kernel may accept a change and do nothing.
Result<> LinkRestorer::verify(const LinkRecord& record, IfIndex index) {
  FL_ASSIGN(const auto now, socket_.link(index));
  FL_ASSIGN(const auto addresses, messages_.addresses(index));
  if (!now) {
    return Error(Code::kNotFound, "it is gone again");
  }
  for (auto& difference : differences(record.link, *now)) {
    problems_.push_back(std::move(difference));
  }
  for (const auto& address : missing(record.addresses, addresses)) {
    problems_.push_back("its address " + destination(address) + " is not there");
  }
  return {};
}

void LinkRestorer::restore_link(const Link& wanted, const Link& now) {
  if (now.mac != wanted.mac) {
    // Few drivers take another address while the link is up.
    note(socket_.set_down(now.index));
    note(socket_.change_link(now.index, {.mac = wanted.mac}));
  }
  if (now.mtu != wanted.mtu) {
    note(socket_.change_link(now.index, {.mtu = wanted.mtu}));
  }
  if (now.alias != wanted.alias) {
    note(socket_.change_link(now.index, {.alias = wanted.alias}));
  }
  if (now.group != wanted.group) {
    note(socket_.change_link(now.index, {.group = wanted.group}));
  }
  if (now.tx_queue_len != wanted.tx_queue_len) {
    note(socket_.change_link(now.index, {.tx_queue_len = wanted.tx_queue_len}));
  }
  if (now.mode != wanted.mode || now.limits != wanted.limits) {
    note(socket_.change_link(now.index, {.mode = wanted.mode, .limits = wanted.limits}));
  }
}

/// Under the name that it has: its own may belong to another link now.
void LinkRestorer::restore_settings(const LinkRecord& record, IfIndex index, sys::LinkIs link) {
  const auto now = socket_.link(index);
  if (!now || !*now) {
    return;
  }
  for (const auto& [path, error] : sys::restore_link_settings(socket_, (*now)->name, link, record.settings)) {
    problems_.push_back("its setting " + path + ": " + error.what());
  }
}

void LinkRestorer::drop_altnames(const Link& wanted, const Link& now) {
  for (const auto& name : now.altnames) {
    if (std::ranges::find(wanted.altnames, name) == wanted.altnames.end()) {
      note(socket_.delete_altname(now.index, name));
    }
  }
}

void LinkRestorer::restore_name(const Link& wanted, const Link& now) {
  if (now.name == wanted.name) {
    return;
  }
  note(socket_.set_down(now.index));  // a link that is up can be renamed from Linux 6.2 on
  const auto renamed = socket_.rename(now.index, wanted.name);
  if (!renamed && renamed.error().sys_errno() == EEXIST) {
    problems_.push_back("the name " + wanted.name + " belongs to another link now");
    // The name that it has may be another lent link's, which waits for it.
    if (!now.name.starts_with("dev")) {
      const auto other = free_name(wanted.name, socket_);
      note(other ? socket_.rename(now.index, *other) : Result<>(other.error()));
    }
  } else {
    note(renamed);
  }
}

void LinkRestorer::restore_altnames(const Link& wanted, const Link& now) {
  for (const auto& name : wanted.altnames) {
    if (std::ranges::find(now.altnames, name) == now.altnames.end()) {
      note(socket_.add_altname(now.index, name));
    }
  }
}

void LinkRestorer::restore_routes(const std::vector<LinkMessage>& wanted, IfIndex index) {
  const auto deadline = Steady::now() + kRoutePatience;
  while (true) {
    const auto there = messages_.routes(index);
    if (!there) {
      return note(there.error());
    }
    Result<> done;
    for (const auto& route : missing(wanted, *there)) {
      if (auto added = messages_.add(route, index, false); !added && done) {
        done = std::move(added);
      }
    }
    if (done || Steady::now() > deadline) {
      return note(done);
    }
    std::this_thread::sleep_for(kLookAgain);
  }
}

}  // namespace drydock
