// SPDX-License-Identifier: Apache-2.0
// Credentials: CA, client certificate and token of a ClientConfig, read again when their files change.
// Internal to kube.
#pragma once

#include <sys/stat.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "fairlead/core/clock.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/result.h"
#include "fairlead/kube/config.h"

namespace fairlead::kube {

/// The credentials of one request: immutable, shared by concurrent requests.
struct CredentialSet {
  std::string ca, certificate, key;  // PEM
  std::string token;
};

/// Thread-safe.
class Credentials {
 public:
  /// A token file is read again when this old: kubelet rotates at 80 % of an hour or so (as in client-go).
  static constexpr std::chrono::seconds kTokenAge{60};

  /// Reads all files once, to report errors early.
  static Result<std::unique_ptr<Credentials>> open(const ClientConfig& config, Clock& clock);

  /// The current credentials. PEM files are checked every time (a stat) and read if they changed. If a file
  /// cannot be read, the last good content stays in use.
  std::shared_ptr<const CredentialSet> get();
  /// The server refused `used.token`: reads the token file now. True if there is another token to try.
  bool refresh_token(const CredentialSet& used);

 private:
  /// Identity of a file's content, as far as stat(2) shows.
  struct Stamp {
    dev_t device = 0;
    ino_t inode = 0;
    off_t size = 0;
    std::int64_t mtime_ns = 0;
    bool operator==(const Stamp&) const = default;
  };
  struct Watched {
    PemSource source;
    std::optional<Stamp> stamp;
  };

  Credentials(const ClientConfig& config, Clock& clock);
  Result<> load_all() FL_REQUIRES(mutex_);
  static std::optional<Stamp> stamp_of(const std::string& path);
  /// The new text if there is one.
  static Result<std::optional<std::string>> reread(Watched& watched);
  Result<std::string> read_token() const;

  const std::string token_file_;
  Clock& clock_;
  Mutex mutex_;
  Watched ca_ FL_GUARDED_BY(mutex_), certificate_ FL_GUARDED_BY(mutex_), key_ FL_GUARDED_BY(mutex_);
  Clock::TimePoint token_read_ FL_GUARDED_BY(mutex_);
  std::shared_ptr<const CredentialSet> current_ FL_GUARDED_BY(mutex_);
};

}  // namespace fairlead::kube
