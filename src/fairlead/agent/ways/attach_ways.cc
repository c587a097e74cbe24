// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/ways/attach_ways.h"

#include <unistd.h>

#include <utility>

#include "fairlead/agent/ways/guard_server.h"
#include "fairlead/agent/ways/nri_events.h"
#include "fairlead/core/log.h"

namespace fairlead::agent {

using std::chrono::steady_clock;

struct AttachWays::Impl {
  Impl(AttachWaysOptions with, AttachService& attach_service)
      : options(std::move(with)), service(attach_service), events(service) {}

  std::string open_nri() const;

  const AttachWaysOptions options;
  AttachService& service;
  NriEvents events;
  std::unique_ptr<GuardServer> guard;
  std::unique_ptr<rpc::NriPlugin> nri;  // last: it calls `events`
};

AttachWays::AttachWays(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<AttachWays>> AttachWays::create(AttachWaysOptions options, AttachService& service) {
  auto impl = std::make_unique<Impl>(std::move(options), service);
  Impl* self = impl.get();
  FL_ASSIGN(self->guard,
            GuardServer::open({.path = self->options.guard_socket}, [self](const GuardCall& call) {
              return self->service.attach({.via = AttachVia::kGuard,
                                           .claim_uid = call.claim_uid,
                                           .netns = call.netns.get(),
                                           .sandbox = "",
                                           .container = call.container,
                                           .deadline = steady_clock::now() + self->options.guard_call_time});
            }));
  if (self->options.nri) {
    auto nri = *self->options.nri;
    nri.events = NriEvents::events();
    FL_ASSIGN(self->nri, rpc::NriPlugin::create(std::move(nri), self->events));
  }
  return std::unique_ptr<AttachWays>(new AttachWays(std::move(impl)));
}

AttachWays::~AttachWays() { close(); }

/// Connects to NRI; returns its state for the log line.
std::string AttachWays::Impl::open_nri() const {
  if (!nri) {
    return "off";
  }
  nri->start();
  if (::access(options.nri->socket.c_str(), F_OK) != 0) {
    return "no " + options.nri->socket + " yet, retrying";
  }
  const auto ready = nri->wait_ready(steady_clock::now() + options.nri_patience);
  return ready ? "connected" : "not connected yet, retrying: " + ready.error().what();
}

void AttachWays::open(const std::vector<dra::ClaimRecord>& records) {
  impl_->guard->serve();
  if (!impl_->nri) {
    impl_->service.reports().check_all(records);  // with NRI, done by the reconcile
  }
  for (const dra::ClaimRecord& record : records) {
    impl_->service.reports().waiting(record.claim.uid);
  }
  const std::string nri = impl_->open_nri();
  log::info("ready to attach", {{"guard", impl_->options.guard_socket}, {"nri", nri}});
}

void AttachWays::close() {
  impl_->service.wind_up(steady_clock::now() + impl_->options.close_time);
  impl_->events.closing();
  if (impl_->nri) {
    impl_->nri->stop();
  }
  impl_->events.stop();
  impl_->guard->stop();
  impl_->service.reports().stop();
}

}  // namespace fairlead::agent
