// SPDX-License-Identifier: Apache-2.0
// Result<T> and Error: how every fallible function of fairlead reports failure.
//
// An Error carries a code to branch on, one sentence for a person, and the errno if there was one.
// Context is added on the way up ("prepare claim X: create link data0: File exists"), so the whole
// story is in one line. "Absent" is not an error: use Result<std::optional<T>>.
#pragma once

#include <cerrno>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace fairlead {

enum class Code : std::uint8_t {
  kInvalid,      // the caller's input is wrong; trying again does not help
  kNotFound,     // a thing that must be there is not
  kExists,       // a thing that must not be there is
  kConflict,     // it changed since it was read (HTTP 409 Conflict)
  kGone,         // the version asked for is too old (HTTP 410)
  kBusy,         // in use by something else
  kDenied,       // not permitted
  kUnavailable,  // the other side cannot be reached now; trying again may help
  kTimeout,      // the deadline passed
  kCancelled,    // the caller went away
  kCorrupt,      // stored or received data is damaged
  kOverflow,     // events were lost; read everything again
  kUnsupported,  // this kernel, runtime or version cannot do it
  kInternal,     // everything else
};

/// The name of a code in lower case, for logs and metric labels: "not-found".
std::string_view to_string(Code code);

class [[nodiscard]] Error {
 public:
  Error(Code code, std::string what, int sys_errno = 0)
      : code_(code), errno_(sys_errno), what_(std::move(what)) {}

  /// `e` is a parameter, not read from errno here: capture it on the failing line.
  static Error from_errno(int e, std::string_view what);

  /// Puts outer context in front: Error("b").with("a") reads "a: b". Empty context adds nothing.
  [[nodiscard]] Error with(std::string_view context) && {
    if (!context.empty()) {
      what_.insert(0, std::string(context) + ": ");
    }
    return std::move(*this);
  }

  [[nodiscard]] Code code() const { return code_; }
  [[nodiscard]] int sys_errno() const { return errno_; }
  [[nodiscard]] const std::string& what() const { return what_; }

 private:
  Code code_;
  int errno_;
  std::string what_;
};

/// std::expected with class-level [[nodiscard]], which an alias template cannot carry.
template <class T = void>
class [[nodiscard]] Result : public std::expected<T, Error> {
 public:
  using std::expected<T, Error>::expected;
  Result(Error e)  // NOLINT(google-explicit-constructor): `return Error{...}` is the idiom
      : std::expected<T, Error>(std::unexpect, std::move(e)) {}
};

}  // namespace fairlead

#define FL_CONCAT_INNER(a, b) a##b
#define FL_CONCAT(a, b) FL_CONCAT_INNER(a, b)

// NOLINTBEGIN(bugprone-macro-parentheses): `lhs` is a declaration, the context may be a concatenation
/// FL_TRY(call()) or FL_TRY(call(), "context"): returns the error, with the context in front, if there is one.
#define FL_TRY(expr, ...)                                                 \
  do {                                                                    \
    if (auto fl_result = (expr); !fl_result) {                            \
      return std::move(fl_result).error() __VA_OPT__(.with(__VA_ARGS__)); \
    }                                                                     \
  } while (false)

#define FL_ASSIGN_INNER(tmp, lhs, expr, ...)                      \
  auto tmp = (expr);                                              \
  if (!tmp) {                                                     \
    return std::move(tmp).error() __VA_OPT__(.with(__VA_ARGS__)); \
  }                                                               \
  lhs = std::move(*tmp)
/// FL_ASSIGN(const auto x, call()) or FL_ASSIGN(const auto x, call(), "context"): x is the value, or the error is
/// returned, with the context in front.
#define FL_ASSIGN(lhs, expr, ...) \
  FL_ASSIGN_INNER(FL_CONCAT(fl_try_, __COUNTER__), lhs, expr __VA_OPT__(, ) __VA_ARGS__)
// NOLINTEND(bugprone-macro-parentheses)
