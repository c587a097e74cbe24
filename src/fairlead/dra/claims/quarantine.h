// SPDX-License-Identifier: Apache-2.0
// Claim records that are damaged: moved out of the way, and remembered for the pods that need them.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"

namespace fairlead::dra {

/// Any thread.
class Quarantine : private Pinned {
 public:
  /// `on_put` is called for each file, with the path where it is now and the reason; it may be null.
  Quarantine(std::string dir, std::function<void(const std::string& path, const Error& why)> on_put)
      : dir_(std::move(dir)), on_put_(std::move(on_put)) {}

  /// Moves the claim's file there; if it cannot be moved, it stays. `text` is its content.
  void put(const std::string& uid, const std::string& file, const std::string& text, const Error& why);
  /// An error describing a record that mentions the pod; nullopt: there is none, or it is too damaged to
  /// mention any pod.
  [[nodiscard]] std::optional<Error> that_mentions(const std::string& pod_uid) const;
  /// The claim was prepared or unprepared since: its damaged record does not affect any pod any more.
  void forget(const std::string& uid);

 private:
  struct Damaged {
    std::string text;
    std::string file;
    std::string why;
  };

  const std::string dir_;
  const std::function<void(const std::string& path, const Error& why)> on_put_;
  mutable Mutex mutex_;
  std::map<std::string, Damaged> damaged_ FL_GUARDED_BY(mutex_);  // by the claim's uid
};

}  // namespace fairlead::dra
