// SPDX-License-Identifier: Apache-2.0
// Which claim has which device: an index of the claim records by the devices' names and identities. A check looks at the
// claims that have one of the wanted devices, not at all claims.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/dra/base/driver.h"

namespace fairlead::dra {

/// One thread at a time.
class DeviceHolders {
 public:
  using Identities = std::vector<DeviceIdentity>;  // one for each device
  /// Reads a record's identities from the driver.
  using Identify = std::function<Result<Identities>(const ClaimRecord&)>;

  explicit DeviceHolders(Identify identify) : identify_(std::move(identify)) {}

  /// Brings the index up to date.
  Result<> update(const RecordSource& records);
  /// Whether the claim may have its devices. kBusy: another one has one of them.
  Result<> check(const ClaimRecord& record);

 private:
  /// The claims that have a device, by its share; without a share: exclusively.
  using Shares = std::map<std::string, std::set<std::string>>;
  using Places = std::map<std::string, Shares>;  // by the device's name or key
  struct Holder {
    RecordPtr record;
    Identities identities;  // empty: not known, or they do not matter
  };

  void add(const RecordPtr& record);
  void remove(const std::string& uid);
  /// The driver reads a record for this, so each is read once, when an identity matters.
  Result<> identify_waiting();

  const Identify identify_;
  std::uint64_t generation_ = 0;
  std::map<std::string, Holder> holders_;  // by the claim's uid
  Places by_name_, by_key_;
  /// Claims with a device of their own whose identities are not known. Without a key, the driver may know one the next
  /// time.
  std::set<std::string> waiting_;
};

}  // namespace fairlead::dra
