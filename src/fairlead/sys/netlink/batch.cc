// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/batch.h"

#include <cerrno>
#include <utility>

#include "fairlead/sys/netlink/codec.h"
#include "fairlead/sys/netlink/request_text.h"

namespace fairlead::netlink {

Batch::Request Batch::make(std::string what, Result<std::vector<std::uint8_t>> bytes, IfIndex link) {
  Request request{.what = std::move(what), .link = link};
  if (bytes) {
    request.bytes = std::move(*bytes);
  } else {
    request.refused = std::move(bytes).error();
  }
  return request;
}

Batch& Batch::create_link(const NewLink& link) {
  Request request = make(text_of(link), codec::create_link(link));
  if (!link.alias.empty() || kinds::peer_to_set_up(link.kind) != nullptr) {
    request.refused = Error(Code::kInvalid,
                            "the kernel takes no alias and no veth peer that is up at birth: set them in a "
                            "request of their own");
  }
  requests_.push_back(std::move(request));
  return *this;
}

Batch& Batch::change_link(IfIndex link, const LinkChange& change) {
  requests_.push_back(make(text_of(link, change), codec::change_link(link, change), link));
  return *this;
}

Batch& Batch::add_altname(IfIndex link, const std::string& altname) {
  requests_.push_back(
      make("give " + text_of(link) + " the altname " + altname, codec::add_altname(link, altname), link));
  return *this;
}

Batch& Batch::delete_altname(IfIndex link, const std::string& altname) {
  requests_.push_back(make("take the altname " + altname + " from " + text_of(link),
                           codec::delete_altname(link, altname), link));
  requests_.back().fine = {ENOENT, ENODEV};
  return *this;
}

Batch& Batch::delete_link(IfIndex link) {
  requests_.push_back(make("delete " + text_of(link), codec::delete_link(link), link));
  requests_.back().fine = {ENODEV};
  return *this;
}

Batch& Batch::add_address(const NewAddress& address) {
  requests_.push_back(make("add address " + address.prefix.to_string() + " to " + text_of(address.link),
                           codec::add_address(address), address.link));
  requests_.back().wanted = address;
  return *this;
}

Batch& Batch::delete_address(const NewAddress& address) {
  requests_.push_back(make("delete address " + address.prefix.to_string() + " of " + text_of(address.link),
                           codec::delete_address(address), address.link));
  requests_.back().fine = {EADDRNOTAVAIL, ENODEV};
  return *this;
}

Batch& Batch::add_route(const NewRoute& route) {
  requests_.push_back(make("add route " + text_of(route), codec::add_route(route), route.link));
  requests_.back().wanted = route;
  return *this;
}

}  // namespace fairlead::netlink
