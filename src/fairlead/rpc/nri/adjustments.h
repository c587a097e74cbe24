// SPDX-License-Identifier: Apache-2.0
// The changes that several plugins make to one container, as one. Only for runtime.cc.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "fairlead/core/result.h"
#include "fairlead/rpc/nri/plugin.h"

namespace fairlead::rpc {

/// Two plugins must not set the same thing.
class NriAdjustments {
 public:
  /// `response`: the plugin's serialized CreateContainerResponse. kConflict: another plugin has set the same;
  /// kUnsupported: it asks to remove something; kCorrupt.
  Result<> add(const std::string& plugin, const std::string& response);
  NriAdjustment take() { return std::move(merged_); }

 private:
  using Map = std::map<std::string, std::string>;
  Result<> own(std::string_view what, const std::string& plugin, const std::string& key);
  Result<> add_map(std::string_view what, const std::string& plugin, const Map& from, Map& into);

  NriAdjustment merged_;
  Map owners_;  // what is set -> the plugin
};

}  // namespace fairlead::rpc
