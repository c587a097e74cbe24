// SPDX-License-Identifier: Apache-2.0
// The CDI file of a prepared claim: <cdi_dir>/<driver>-claim_<claim uid>.json, kind "<driver>/claim", devices
// "claim-<claim uid>-<n>" where n is the device's place in the claim.
#pragma once

#include <string>
#include <string_view>

#include "fairlead/core/result.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/formats/cdi.h"

namespace fairlead::dra {

std::string cdi_file_name(std::string_view driver_name, std::string_view claim_uid);
/// The claim uid in a file name of ours, else empty.
std::string claim_uid_of_cdi_file(std::string_view driver_name, std::string_view file_name);

/// Whether device `index` of the record needs a CDI device: it has edits of its own, or the claim has.
bool has_cdi_device(const ClaimRecord& record, std::size_t index);
/// "<driver>/claim=claim-<uid>-<index>"
std::string cdi_id(std::string_view driver_name, const ClaimRecord& record, std::size_t index);

/// Writes the claim's file, or removes it when no device needs one. The same content is not written again.
Result<> write_cdi_file(const std::string& cdi_dir, std::string_view driver_name, const ClaimRecord& record);
Result<> remove_cdi_file(const std::string& cdi_dir, std::string_view driver_name,
                         std::string_view claim_uid);

}  // namespace fairlead::dra
