// SPDX-License-Identifier: Apache-2.0
// The content of an entry in the folder of nic_holders.h, beyond what its name says.
#pragma once

#include <string>

#include "fairlead/core/result.h"

namespace fairlead::agent {

struct HolderStory {
  std::string nic, link;
  bool is_whole = false;
  std::string driver;
  std::string uid, namespace_, name;    // of the claim
  std::string state_dir, state_folder;  // where the driver's records are, and which folder that is
  std::string boot_id;                  // empty: not known
};
Result<std::string> to_json(const HolderStory& story);
/// kCorrupt: not ours. Reads what tells whether the entry is left over: where the records are, and the boot.
Result<HolderStory> parse_holder_story(const std::string& text);

}  // namespace fairlead::agent
