// SPDX-License-Identifier: Apache-2.0
// What the parameters of a device amount to, once it is decided who may write which of them (policy/policy.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fairlead/formats/fields.h"

namespace fairlead::devices {

class Kind;

/// Which links that are the node's own may be a parent, in a mode that leaves the node its traffic.
enum class OwnParents : std::uint8_t {
  kNone,
  kAsWritten,  // the one that is written: a class sets it, or a list of the admin has it by its name
  kAny,        // level privileged
};

struct Resolved {
  const Kind* kind = nullptr;                  // nullptr: there are no parameters
  fields::Values values = fields::Values({});  // of Kind::fields(), each with its path
  OwnParents own_parents = OwnParents::kNone;
  /// Of a kind whose plans have parts: each with its name, as Kind::parts() has it.
  std::vector<Resolved> parts = {};
  std::string part = {};
};

}  // namespace fairlead::devices
