// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/ids.h"

#include <array>
#include <cstdint>
#include <ctime>
#include <random>
#include <string_view>

namespace drydock {
namespace {

std::uint32_t random_word() {
  thread_local std::random_device device;
  return device();
}

}  // namespace

std::string random_hex(std::size_t length) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out;
  for (std::size_t i = 0; i < length; ++i) {
    const std::uint32_t word = random_word();
    out.push_back(kHex[(word >> 4U) & 15U]);
    out.push_back(kHex[word & 15U]);
  }
  return out;
}

std::string new_uuid() {
  constexpr std::string_view kVariant = "89ab";
  std::string hex = random_hex(16);
  hex[12] = '4';
  hex[16] = kVariant[random_word() & 3U];
  return hex.substr(0, 8) + "-" + hex.substr(8, 4) + "-" + hex.substr(12, 4) + "-" + hex.substr(16, 4) + "-" +
         hex.substr(20);
}

std::string random_suffix(std::size_t length) {
  constexpr std::string_view kAlphabet = "bcdfghjklmnpqrstvwxz2456789";
  std::string out;
  for (std::size_t i = 0; i < length; ++i) {
    out.push_back(kAlphabet[random_word() % kAlphabet.size()]);
  }
  return out;
}

std::string now_rfc3339() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  (void)::gmtime_r(&now, &utc);
  std::array<char, 32> text{};
  const std::size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return {text.data(), size};
}

}  // namespace drydock
