// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/socket.h"

#include <linux/rtnetlink.h>

#include <algorithm>
#include <cerrno>

#include "fairlead/sys/netlink/request_text.h"

namespace fairlead::netlink {
namespace {

std::string text_of_address(const Told& told) {
  const auto address = codec::read_address({.type = RTM_NEWADDR, .payload = told});
  return address ? address->prefix.to_string() : "that cannot be read";
}

}  // namespace

Result<std::vector<Address>> Socket::addresses(IfIndex link) {
  std::vector<Address> all;
  FL_TRY(dump(
      Batch::make("list addresses", codec::dump_addresses(link)), [&] { all.clear(); },
      [&](const codec::Message& message) {
        const auto address = codec::read_address(message);
        if (address && (!link.valid() || address->link == link)) {
          all.push_back(*address);
        }
      }));
  return all;
}

Result<> Socket::add_address(const NewAddress& address) {
  Batch batch;
  return run(std::move(batch.add_address(address)));
}

Result<> Socket::delete_address(IfIndex link, const IpPrefix& prefix) {
  Batch batch;
  return run(std::move(batch.delete_address({.link = link, .prefix = prefix})));
}

Result<std::vector<ToldAddress>> Socket::told_addresses(IfIndex link) {
  std::vector<ToldAddress> all;
  FL_TRY(dump(
      Batch::make("list addresses", codec::dump_addresses(link)), [&] { all.clear(); },
      [&](const codec::Message& message) {
        const auto address = codec::read_address(message);
        if (address && address->link == link) {
          all.push_back({.address = *address, .told = codec::told_address(message)});
        }
      }));
  return all;
}

Result<> Socket::put_address(IfIndex link, const Told& told) {
  const std::string what = "add address " + text_of_address(told) + " to " + text_of(link);
  Batch batch;
  batch.requests_.push_back(Batch::make(what, codec::put_address(link, told, codec::PutStep::kAdd), link));
  if (const auto added = run(std::move(batch)); !added) {
    if (added.error().sys_errno() != EEXIST) {
      return added;
    }
    FL_ASSIGN(const auto there, told_addresses(link));
    return std::ranges::any_of(there,
                               [&](const ToldAddress& one) { return codec::same_address(one.told, told); })
               ? Result<>()
               : added;
  }
  if (!codec::needs_finish(told)) {
    return {};
  }
  Batch last;
  last.requests_.push_back(Batch::make(what, codec::put_address(link, told, codec::PutStep::kFinish), link));
  return run(std::move(last));
}

Result<> Socket::delete_address(IfIndex link, const Told& told) {
  Batch batch;
  batch.requests_.push_back(Batch::make("delete address " + text_of_address(told) + " of " + text_of(link),
                                        codec::delete_told_address(link, told), link));
  batch.requests_.back().fine = {EADDRNOTAVAIL, ENODEV};
  return run(std::move(batch));
}

}  // namespace fairlead::netlink
