// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/base/names.h"

#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <vector>

#include "fairlead/sys/unix_socket.h"

namespace fairlead::dra {
namespace {

/// The first `bytes` bytes of the text's SHA-256 in base64url without padding.
std::string short_hash(std::string_view text, std::size_t bytes) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  const std::vector<unsigned char> data(text.begin(), text.end());
  SHA256(data.data(), data.size(), digest.data());
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string out;
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (std::size_t i = 0; i < bytes; ++i) {
    bits = (bits << 8U) | digest.at(i);
    for (count += 8; count >= 6; count -= 6) {
      out += kAlphabet[(bits >> (count - 6)) & 0x3FU];
    }
  }
  if (count > 0) {
    out += kAlphabet[(bits << (6 - count)) & 0x3FU];
  }
  return out;
}

/// The first of `names` that fits.
Result<std::string> fitting(const std::string& dir, const std::vector<std::string>& names) {
  const std::string begin = dir + "/";
  for (const std::string& name : names) {
    if (begin.size() + name.size() <= sys::kMaxSocketPath) {
      return begin + name;
    }
  }
  return Error(Code::kInvalid, "folder " + dir +
                                   " is too long for a socket in it: a socket's path has at most " +
                                   std::to_string(sys::kMaxSocketPath) + " bytes, and " + names.back() +
                                   " needs " + std::to_string(names.back().size() + 1));
}

}  // namespace

std::string quote(std::string_view text) {
  std::string out(text.substr(0, 80));
  std::ranges::replace_if(out, [](unsigned char c) { return c < 0x20 || c >= 0x7f; }, '?');
  return "\"" + out + (text.size() > 80 ? "...\"" : "\"");
}

Result<SocketPaths> socket_paths(const std::string& registry_dir, const std::string& plugin_dir,
                                 const std::string& driver_name, const std::string& pod_uid) {
  const std::string both = std::string(driver_name) + '\0' + pod_uid;
  std::vector<std::string> registration;
  std::vector<std::string> dra;
  if (pod_uid.empty()) {
    registration = {driver_name + "-reg.sock"};
    dra = {"dra.sock"};
  } else {
    registration = {driver_name + "-" + pod_uid + "-reg.sock",
                    driver_name + "-" + short_hash(pod_uid, 8) + "-reg.sock"};
    dra = {"dra-" + pod_uid + ".sock", "dra-" + short_hash(pod_uid, 8) + ".sock"};
  }
  registration.push_back("dra-" + short_hash(both, 16) + "-reg.sock");
  SocketPaths paths;
  FL_ASSIGN(paths.registration, fitting(registry_dir, registration), "registration");
  FL_ASSIGN(paths.dra, fitting(plugin_dir, dra), "DRA service");
  return paths;
}

}  // namespace fairlead::dra
