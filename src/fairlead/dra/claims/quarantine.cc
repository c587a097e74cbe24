// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/claims/quarantine.h"

#include <cstdio>
#include <ctime>

#include "fairlead/sys/files.h"

namespace fairlead::dra {

void Quarantine::put(const std::string& uid, const std::string& file, const std::string& text,
                     const Error& why) {
  const std::string target = dir_ + "/" + uid + ".json." + std::to_string(std::time(nullptr));
  const bool moved = sys::make_dirs(dir_, 0750).has_value() && ::rename(file.c_str(), target.c_str()) == 0;
  {
    const Lock lock(mutex_);
    damaged_[uid] = {.text = text, .file = moved ? target : file, .why = why.what()};
  }
  if (on_put_) {
    on_put_(moved ? target : file, moved ? why : Error(why).with("cannot be moved to " + dir_));
  }
}

std::optional<Error> Quarantine::that_mentions(const std::string& pod_uid) const {
  const Lock lock(mutex_);
  for (const auto& [uid, record] : damaged_) {
    if (!pod_uid.empty() && record.text.find("\"" + pod_uid + "\"") != std::string::npos) {
      return Error(Code::kCorrupt, "the record of claim " + uid + ", which this pod uses, is damaged (" +
                                       record.why + ") and was quarantined as " + record.file +
                                       "; delete the pod, so that the claim is prepared again");
    }
  }
  return std::nullopt;
}

void Quarantine::forget(const std::string& uid) {
  const Lock lock(mutex_);
  damaged_.erase(uid);
}

}  // namespace fairlead::dra
