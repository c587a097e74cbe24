// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/offers.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace fairlead::devices {
namespace {

bool holds(const HeldDevice& device, const Offer& offer) {
  if (!device.plan.key.empty()) {
    return device.plan.key == (offer.identity.key.empty() ? offer.device.name : offer.identity.key);
  }
  return device.name == offer.device.name ||
         std::ranges::find(offer.former_names, device.name) != offer.former_names.end();
}

}  // namespace

std::vector<dra::Device> published_devices(Offers offers, std::span<const HeldDevice> held) {
  std::vector<const HeldDevice*> holders;
  for (const HeldDevice& device : held) {
    holders.push_back(&device);
  }
  std::vector<dra::Device> devices;
  for (Offer& offer : offers.devices) {
    const auto holder =
        std::ranges::find_if(holders, [&](const HeldDevice* device) { return holds(*device, offer); });
    if (holder == holders.end() && offer.withheld) {
      continue;
    }
    devices.push_back(std::move(offer.device));
    if (holder != holders.end()) {
      devices.back().name = (*holder)->name;
      holders.erase(holder);  // it has no second one
    }
  }
  std::ranges::stable_sort(devices, {}, [](const dra::Device& device) {
    return std::tuple<bool, const std::string&>(!device.allow_multiple_allocations, device.name);
  });
  // One name, one device: a link that has only its name, and the name of one that is away.
  const auto [first, last] = std::ranges::unique(devices, {}, &dra::Device::name);
  devices.erase(first, last);
  return devices;
}

}  // namespace fairlead::devices
