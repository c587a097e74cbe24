// SPDX-License-Identifier: Apache-2.0
#include "fairlead/core/result.h"

namespace fairlead {

std::string_view to_string(Code code) {
  switch (code) {
    case Code::kInvalid:
      return "invalid";
    case Code::kNotFound:
      return "not-found";
    case Code::kExists:
      return "exists";
    case Code::kConflict:
      return "conflict";
    case Code::kGone:
      return "gone";
    case Code::kBusy:
      return "busy";
    case Code::kDenied:
      return "denied";
    case Code::kUnavailable:
      return "unavailable";
    case Code::kTimeout:
      return "timeout";
    case Code::kCancelled:
      return "cancelled";
    case Code::kCorrupt:
      return "corrupt";
    case Code::kOverflow:
      return "overflow";
    case Code::kUnsupported:
      return "unsupported";
    case Code::kInternal:
      return "internal";
  }
  return "internal";
}

namespace {

Code code_of_errno(int e) {
  switch (e) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
    case ESRCH:
      return Code::kNotFound;
    case EEXIST:
    case EADDRINUSE:
      return Code::kExists;
    case EBUSY:
      return Code::kBusy;
    case EPERM:
    case EACCES:
      return Code::kDenied;
    case EINVAL:
    case EADDRNOTAVAIL:
    case ERANGE:
    case ENAMETOOLONG:
      return Code::kInvalid;
    case ENOBUFS:
      return Code::kOverflow;
    case EOPNOTSUPP:
    case ENOSYS:
    case EAFNOSUPPORT:
      return Code::kUnsupported;
    case ETIMEDOUT:
      return Code::kTimeout;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case EAGAIN:
      return Code::kUnavailable;
    default:
      return Code::kInternal;
  }
}

}  // namespace

Error Error::from_errno(int e, std::string_view what) {
  return {code_of_errno(e), std::string(what) + ": " + std::generic_category().message(e), e};
}

}  // namespace fairlead
