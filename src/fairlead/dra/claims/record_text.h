// SPDX-License-Identifier: Apache-2.0
// The text of a claim's record, as its file has it: {"version": 1, "crc32": "...", "record": {...}}. The checksum is of
// the record's text.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "fairlead/core/result.h"
#include "fairlead/dra/base/driver.h"

namespace fairlead::dra {

/// "preparing", "prepared", "unpreparing".
std::string_view to_string(ClaimState state);

/// The maximum size of a record's text. Typical records have a few KiB; the parameters of a claim can be 1
/// MiB (config_resolve.h), and a driver's plan and state for them about as much.
inline constexpr std::size_t kMaxRecord = std::size_t{8} << 20;

/// Converts a record to the text of its file and back. `boot_id` is the boot in which it was written.
/// kInvalid: text that is not UTF-8, a plan that begins as a JSON object and is none, or more than kMaxRecord.
Result<std::string> encode_record(const ClaimRecord& record, std::string_view boot_id);
/// The same, if is_canonical_object(record.plan) is known.
Result<std::string> encode_record(const ClaimRecord& record, std::string_view boot_id, bool plan_is_object);
struct DecodedRecord {
  ClaimRecord record;
  std::string boot_id;
};
/// kCorrupt: damaged; kUnsupported: written by a newer version. Unknown fields are skipped.
Result<DecodedRecord> decode_record(std::string_view text);

}  // namespace fairlead::dra
