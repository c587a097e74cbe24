// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/node_reader.h"

#include <algorithm>

#include "fairlead/core/log.h"

namespace fairlead::agent {

NodeReader::NodeReader(NodeReaderOptions options)
    : options_(std::move(options)), thread_([this](const std::stop_token& stop) { run(stop); }) {}

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

void NodeReader::run(const std::stop_token& stop) {
  auto wait = options_.retry_min;
  while (!stop.stop_requested()) {
    const auto done = read_once(stop);
    if (stop.stop_requested()) {
      return;
    }
    if (!done &&
        options_.memory->set_problem("the Node's own addresses are unknown: " + done.error().what())) {
      log::warn("no NIC is offered until the Node object says what the node's own address is",
                {{"error", done.error().what()}});
      options_.changed();
    }
    const Lock lock(mutex_);
    has_answer_ = true;
    answered_.notify_all();
    (void)answered_.wait_for(mutex_, stop, done ? options_.again : wait, [] { return false; });
    wait = done ? options_.retry_min : std::min(wait * 2, options_.retry_max);
  }
}

void NodeReader::wait_first(std::chrono::milliseconds at_most) {
  const Lock lock(mutex_);
  (void)answered_.wait_for(mutex_, at_most, [this] { return has_answer_; });
}

}  // namespace fairlead::agent
