// SPDX-License-Identifier: Apache-2.0
// A certificate authority of its own and one server certificate for 127.0.0.1, made in memory (ECDSA P-256).
#pragma once

#include <memory>
#include <string>

#include "fairlead/core/result.h"

namespace drydock {

struct TlsIdentity {
  std::string ca_pem;
  std::shared_ptr<void> certificate;  // X509*
  std::shared_ptr<void> key;          // EVP_PKEY*
};

fairlead::Result<TlsIdentity> make_tls_identity();
std::string base64(const std::string& data);

}  // namespace drydock
