// SPDX-License-Identifier: Apache-2.0
// Random names, ids and time stamps as Kubernetes writes them. Any thread may call.
#pragma once

#include <cstddef>
#include <string>

namespace drydock {

/// A version 4 UUID in lower case.
std::string new_uuid();
/// Random characters from the alphabet of generated names (no vowels, no 0, 1, 3).
std::string random_suffix(std::size_t length = 5);
/// `length` random bytes in hex, for a bearer token.
std::string random_hex(std::size_t length);
/// RFC 3339, UTC, whole seconds: "2026-01-02T03:04:05Z".
std::string now_rfc3339();

}  // namespace drydock
