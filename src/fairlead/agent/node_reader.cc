// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/node_reader.h"

#include <algorithm>

#include "fairlead/core/log.h"

namespace fairlead::agent {

NodeReader::NodeReader(NodeReaderOptions options)
    : options_(std::move(options)),
      retry_(options_.retry_min),
      worker_([this](const std::stop_token& stop) { return read(stop); }) {
  worker_.start();
}

Result<> NodeReader::read_once(const std::stop_token& stop) const {
  FL_ASSIGN(const auto texts, options_.read(stop));
  if (texts.empty()) {
    // With an external cloud provider a Node has none until that has found it; the default route alone would
    // give away the link that gets the address.
    return Error(Code::kUnavailable,
                 "it has no address of type InternalIP in status.addresses (yet); the kubelet's --node-ip or "
                 "the cloud provider gives it one");
  }
  std::vector<netlink::IpAddress> addresses;
  for (const std::string& text : texts) {
    FL_ASSIGN(const auto address, netlink::IpAddress::parse(text), "status.addresses");
    addresses.push_back(address);
  }
  if (options_.memory->set_addresses(std::move(addresses))) {
    std::string all;
    for (const std::string& text : texts) {
      all += (all.empty() ? "" : ",") + text;
    }
    log::info("the Node's own addresses are known", {{"addresses", all}});
    options_.changed();
  }
  return {};
}

std::optional<Worker::TimePoint> NodeReader::read(const std::stop_token& stop) {
  const auto done = read_once(stop);
  if (stop.stop_requested()) {
    return std::nullopt;
  }
  if (!done && options_.memory->set_problem("the Node's own addresses are unknown: " + done.error().what())) {
    log::warn("no NIC is offered until the Node object says what the node's own address is",
              {{"error", done.error().what()}});
    options_.changed();
  }
  {
    const Lock lock(mutex_);
    has_answer_ = true;
    answered_.notify_all();
  }
  const auto pause = done ? options_.again : retry_;
  retry_ = done ? options_.retry_min : std::min(retry_ * 2, options_.retry_max);
  return std::chrono::steady_clock::now() + pause;
}

void NodeReader::wait_first(std::chrono::milliseconds at_most) {
  const Lock lock(mutex_);
  (void)answered_.wait_for(mutex_, at_most, [this] { return has_answer_; });
}

}  // namespace fairlead::agent
