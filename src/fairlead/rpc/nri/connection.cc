// SPDX-License-Identifier: Apache-2.0
#include "fairlead/rpc/nri/connection.h"

#include <utility>

#include "fairlead/rpc/nri/codec.h"

namespace fairlead::rpc {

NriConnection::NriConnection(UniqueFd socket, Options options)
    : ended_(std::move(options.ended)),
      plugin_({.send = [this](std::string_view message) { return mux_.send(kNriPluginService, message); },
               .handler = std::move(options.plugin)}),
      runtime_({.send = [this](std::string_view message) { return mux_.send(kNriRuntimeService, message); },
                .handler = std::move(options.runtime)}),
      mux_(std::move(socket),
           {.receive = [this](std::uint32_t to, std::string_view bytes) { return receive(to, bytes); },
            .closed =
                [this](const Error& why) {
                  close_services();
                  ended_(why);
                },
            .send_timeout = options.send_timeout}) {}

NriConnection::~NriConnection() {
  mux_.close();
  // A response may be on its way in another thread: no more of them before `mux_` goes.
  close_services();
}

Result<> NriConnection::receive(std::uint32_t to, std::string_view bytes) {
  switch (to) {
    case kNriPluginService:
      return plugin_.receive(bytes);
    case kNriRuntimeService:
      return runtime_.receive(bytes);
    default:
      return {};
  }
}

void NriConnection::close_services() {
  plugin_.close();
  runtime_.close();
}

Result<std::string> NriConnection::call_plugin(std::string_view method, std::string payload,
                                               std::chrono::steady_clock::time_point deadline) {
  return plugin_.call(kNriPluginServiceName, method, std::move(payload), deadline);
}

Result<std::string> NriConnection::call_runtime(std::string_view method, std::string payload,
                                                std::chrono::steady_clock::time_point deadline) {
  return runtime_.call(kNriRuntimeServiceName, method, std::move(payload), deadline);
}

}  // namespace fairlead::rpc
