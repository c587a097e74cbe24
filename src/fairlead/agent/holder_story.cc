// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/holder_story.h"

#include <nlohmann/json.hpp>

namespace fairlead::agent {
namespace {

using nlohmann::json;

constexpr int kVersion = 1;

}  // namespace

// Exceptions of the JSON library stay in this file.

Result<std::string> to_json(const HolderStory& story) {
  try {
    const json out = {{"version", kVersion},
                      {"nic", story.nic},
                      {"link", story.link},
                      {"use", story.is_whole ? "whole" : "shared"},
                      {"driver", story.driver},
                      {"claim", {{"uid", story.uid}, {"namespace", story.namespace_}, {"name", story.name}}},
                      {"stateDir", story.state_dir},
                      {"stateFolder", story.state_folder},
                      {"bootId", story.boot_id}};
    return out.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
  } catch (const json::exception& e) {
    return Error(Code::kInternal, e.what());
  }
}

Result<HolderStory> parse_holder_story(const std::string& text) {
  try {
    const json in = json::parse(text);
    const json& claim = in.at("claim");
    return HolderStory{.link = in.at("link"),
                       .namespace_ = claim.at("namespace"),
                       .name = claim.at("name"),
                       .state_dir = in.at("stateDir"),
                       .state_folder = in.at("stateFolder"),
                       .boot_id = in.at("bootId")};
  } catch (const json::exception& e) {
    return Error(Code::kCorrupt, e.what());
  }
}

}  // namespace fairlead::agent
