// SPDX-License-Identifier: Apache-2.0
// Why a claim may not have what it asks for, in the words of its author.
#pragma once

#include <cstdint>
#include <string>

#include "fairlead/formats/fields.h"
#include "fairlead/policy/level.h"

namespace fairlead::policy {

struct Refusal {
  enum class Reason : std::uint8_t {
    kUncertainClass,  // an entry may be of a class other than the device's
    kKind,            // the choice of type and kind
    kFixed,           // differs from what the class sets
    kNotOpen,         // neither the level nor a FieldPolicy allows it
    kOutsideOpening,  // bounds of a FieldPolicy
    kOutsideNode,     // bounds of the policy file
  };
  Reason reason = Reason::kNotOpen;
  std::string path;   // "config[0] of the claim: opaque.parameters.netdev.master"; of kUncertainClass empty
  std::string field;  // native: "netdev.master"; of kUncertainClass empty
  Level level = Level::kRestricted;
  std::string why;
  std::string what_would_allow;

  /// path + ": " + why + "; " + what_would_allow
  [[nodiscard]] std::string sentence() const;
};

/// A value as a sentence has it: "\"eth0\"", "7", a list with at most four items; empty: it is too large for that.
std::string text_of(const fields::Value& value);

}  // namespace fairlead::policy
