// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "fairlead/dra/claims/claim_service.h"

namespace fairlead::kube {
class Client;
}  // namespace fairlead::kube

namespace fairlead::dra {

/// A claim that is being prepared has a waiting pod: its request never queues after our own status and slice
/// writes.
enum class Urgency : std::uint8_t { kAPodWaits, kBackground };

/// ClaimSource on a real API server. `client` must outlive it.
std::unique_ptr<ClaimSource> make_claim_source(kube::Client& client, Urgency urgency);

}  // namespace fairlead::dra
