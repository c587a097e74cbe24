// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <string>

#include "fairlead/core/result.h"

namespace fairlead::dra {

/// Calls a driver; its exceptions become errors.
template <class F>
auto guarded(F call) -> decltype(call()) {
  try {
    return call();
  } catch (const std::exception& e) {
    return Error(Code::kInternal, std::string("the driver threw an exception: ") + e.what());
  } catch (...) {
    return Error(Code::kInternal, "the driver threw an exception");
  }
}

}  // namespace fairlead::dra
