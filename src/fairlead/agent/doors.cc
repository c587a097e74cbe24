// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/doors.h"

#include <unistd.h>

#include <utility>

#include "fairlead/agent/guard_server.h"
#include "fairlead/agent/nri_door.h"
#include "fairlead/core/log.h"

namespace fairlead::agent {

using std::chrono::steady_clock;

struct Doors::Impl {
  Impl(DoorsOptions with, AttachService& attach_service)
      : options(std::move(with)), service(attach_service), door(service) {}

  std::string open_nri() const;

  const DoorsOptions options;
  AttachService& service;
  NriDoor door;
  std::unique_ptr<GuardServer> guard;
  std::unique_ptr<rpc::NriPlugin> nri;  // last: it calls the door
};

Doors::Doors(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<Doors>> Doors::create(DoorsOptions options, AttachService& service) {
  auto impl = std::make_unique<Impl>(std::move(options), service);
  Impl* self = impl.get();
  FL_ASSIGN(self->guard,
            GuardServer::open({.path = self->options.guard_socket}, [self](const GuardCall& call) {
              return self->service.attach({.door = Door::kGuard,
                                           .claim_uid = call.claim_uid,
                                           .netns = call.netns.get(),
                                           .sandbox = "",
                                           .container = call.container,
                                           .deadline = steady_clock::now() + self->options.guard_call_time});
            }));
  if (self->options.nri) {
    auto nri = *self->options.nri;
    nri.events = NriDoor::events();
    FL_ASSIGN(self->nri, rpc::NriPlugin::create(std::move(nri), self->door));
  }
  return std::unique_ptr<Doors>(new Doors(std::move(impl)));
}

Doors::~Doors() { close(); }

/// What to say about it.
std::string Doors::Impl::open_nri() const {
  if (!nri) {
    return "off";
  }
  nri->start();
  if (::access(options.nri->socket.c_str(), F_OK) != 0) {
    return "no " + options.nri->socket + " yet, trying on";
  }
  const auto ready = nri->wait_ready(steady_clock::now() + options.nri_patience);
  return ready ? "connected" : "not yet, trying on: " + ready.error().what();
}

void Doors::open(const std::vector<dra::ClaimRecord>& records) {
  impl_->guard->serve();
  if (!impl_->nri) {
    impl_->service.reports().check_all(records);  // with NRI the reconcile does it
  }
  for (const dra::ClaimRecord& record : records) {
    impl_->service.reports().waiting(record.claim.uid);
  }
  const std::string nri = impl_->open_nri();
  log::info("doors are open", {{"guard", impl_->options.guard_socket}, {"nri", nri}});
}

void Doors::close() {
  impl_->service.wind_up(steady_clock::now() + impl_->options.close_time);
  impl_->door.closing();
  if (impl_->nri) {
    impl_->nri->stop();
  }
  impl_->door.stop();
  impl_->guard->stop();
  impl_->service.reports().stop();
}

}  // namespace fairlead::agent
