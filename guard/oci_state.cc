// SPDX-License-Identifier: Apache-2.0
#include "guard/oci_state.h"

#include <cstddef>

namespace guard {
namespace {

constexpr int kMaxDepth = 64;
constexpr std::size_t kMaxPidDigits = 10;
constexpr std::size_t kMaxId = 512;

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  OciState read() {
    OciState state;
    if (!take('{')) {
      return state;
    }
    if (!take('}')) {
      do {
        if (!read_member(state)) {
          return {};
        }
      } while (take(','));
      if (!take('}')) {
        return {};
      }
    }
    skip_space();
    state.valid = text_.empty() && state.pid > 0;
    return state;
  }

 private:
  void skip_space() {
    while (!text_.empty() && (text_[0] == ' ' || text_[0] == '\t' || text_[0] == '\n' || text_[0] == '\r')) {
      text_.remove_prefix(1);
    }
  }

  bool take(char c) {
    skip_space();
    if (text_.empty() || text_[0] != c) {
      return false;
    }
    text_.remove_prefix(1);
    return true;
  }

  struct String {
    bool ok = false;
    bool has_escapes = false;
    std::string_view raw;
  };

  String read_string() {
    if (!take('"')) {
      return {};
    }
    String result;
    for (std::size_t i = 0; i < text_.size(); ++i) {
      if (text_[i] == '\\') {
        result.has_escapes = true;
        ++i;
      } else if (text_[i] == '"') {
        result.ok = true;
        result.raw = text_.substr(0, i);
        text_.remove_prefix(i + 1);
        return result;
      }
    }
    return {};
  }

  bool read_member(OciState& state) {
    const String key = read_string();
    if (!key.ok || !take(':')) {
      return false;
    }
    if (key.raw == "pid") {
      return read_pid(state.pid);
    }
    if (key.raw == "id") {
      const String id = read_string();
      state.id = id.has_escapes || id.raw.size() > kMaxId ? std::string_view() : id.raw;
      return id.ok;
    }
    return skip_value(0);
  }

  bool read_pid(long& pid) {
    skip_space();
    std::size_t digits = 0;
    long value = 0;
    while (digits < text_.size() && text_[digits] >= '0' && text_[digits] <= '9' && digits <= kMaxPidDigits) {
      value = (value * 10) + (text_[digits] - '0');
      ++digits;
    }
    text_.remove_prefix(digits);
    const bool ends = text_.empty() || text_[0] == ',' || text_[0] == '}' || text_[0] == ' ' ||
                      text_[0] == '\n' || text_[0] == '\t' || text_[0] == '\r';
    pid = value;
    return digits > 0 && digits <= kMaxPidDigits && ends;
  }

  bool skip_value(int depth) {  // NOLINT(misc-no-recursion): bounded by kMaxDepth
    skip_space();
    if (text_.empty() || depth > kMaxDepth) {
      return false;
    }
    if (text_[0] == '"') {
      return read_string().ok;
    }
    if (text_[0] == '{' || text_[0] == '[') {
      return skip_container(depth);
    }
    const std::size_t end = text_.find_first_of(",}] \t\r\n");
    if (end == 0 || end == std::string_view::npos) {
      return false;
    }
    text_.remove_prefix(end);
    return true;
  }

  bool skip_container(int depth) {  // NOLINT(misc-no-recursion): bounded by kMaxDepth
    const bool is_object = text_[0] == '{';
    const char close = is_object ? '}' : ']';
    text_.remove_prefix(1);
    if (take(close)) {
      return true;
    }
    do {
      if (is_object && (!read_string().ok || !take(':'))) {
        return false;
      }
      if (!skip_value(depth + 1)) {
        return false;
      }
    } while (take(','));
    return take(close);
  }

  std::string_view text_;
};

}  // namespace

OciState parse_oci_state(std::string_view json) { return Scanner(json).read(); }

}  // namespace guard
