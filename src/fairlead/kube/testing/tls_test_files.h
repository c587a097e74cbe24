// SPDX-License-Identifier: Apache-2.0
// Certificates for tests, made at run time.
#pragma once

#include <memory>
#include <string>

#include "fairlead/core/pinned.h"

namespace fairlead::kube::testing {

struct CertificateAndKey {
  std::string certificate, key;  // PEM
};

/// A certificate authority that lives for one test.
class TestCa : private Pinned {
 public:
  explicit TestCa(const std::string& name = "fairlead test CA");
  ~TestCa();

  [[nodiscard]] const std::string& certificate() const;
  /// `alternative_names` as OpenSSL writes them: "IP:127.0.0.1,DNS:localhost".
  [[nodiscard]] CertificateAndKey issue(const std::string& common_name,
                                        const std::string& alternative_names) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::kube::testing
