// SPDX-License-Identifier: Apache-2.0
#include "fairlead/rpc/ttrpc.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "fairlead/core/log.h"
#include "fairlead/core/mutex.h"
#include "ttrpc.pb.h"

namespace fairlead::rpc {
namespace {

using TimePoint = std::chrono::steady_clock::time_point;

enum MessageType : std::uint8_t { kRequest = 1, kResponse = 2, kData = 3 };

/// Senders refuse messages over kTtrpcMaxBody, so a little more may come from a sender with another limit,
/// but not this much: the stream is out of step.
constexpr std::size_t kNoMessage = std::size_t{64} << 20;

struct Header {
  std::uint32_t length = 0;
  std::uint32_t stream = 0;
  std::uint8_t type = 0;
  std::uint8_t flags = 0;
};

std::uint32_t get_u32(std::string_view at) {
  std::uint32_t out = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    out = (out << 8U) | static_cast<std::uint8_t>(at[i]);
  }
  return out;
}

void put_u32(char* at, std::uint32_t value) {
  for (int i = 3; i >= 0; --i) {
    at[i] = static_cast<char>(value & 0xFFU);
    value >>= 8U;
  }
}

Header decode_header(std::string_view bytes) {
  return {.length = get_u32(bytes),
          .stream = get_u32(bytes.substr(4)),
          .type = static_cast<std::uint8_t>(bytes[8]),
          .flags = static_cast<std::uint8_t>(bytes[9])};
}

/// A message with room for its header; the stream's number is put in later.
template <class Body>
std::string encode(MessageType type, const Body& body) {
  std::string out(kTtrpcHeader, '\0');
  (void)body.AppendToString(&out);
  put_u32(out.data(), static_cast<std::uint32_t>(out.size() - kTtrpcHeader));
  out[8] = static_cast<char>(type);
  return out;
}

std::string too_large(std::size_t size) {
  return std::to_string(size) + " bytes; ttrpc allows " + std::to_string(kTtrpcMaxBody);
}

std::string encode_error(std::int32_t status, const std::string& text) {
  ttrpc::Response response;
  response.mutable_status()->set_code(status);
  response.mutable_status()->set_message(text);
  return encode(kResponse, response);
}

std::string encode_answer(Result<std::string> answer) {
  if (!answer) {
    return encode_error(to_grpc_status(answer.error().code()), answer.error().what());
  }
  ttrpc::Response response;
  response.set_payload(std::move(*answer));
  std::string out = encode(kResponse, response);
  if (const std::size_t size = out.size() - kTtrpcHeader; size > kTtrpcMaxBody) {
    return encode_error(to_grpc_status(Code::kBusy), "the answer has " + too_large(size));
  }
  return out;
}

std::int64_t timeout_of(TimePoint deadline) {
  if (deadline == TimePoint::max()) {
    return 0;
  }
  const auto left =
      std::chrono::duration_cast<std::chrono::nanoseconds>(deadline - std::chrono::steady_clock::now());
  return std::max<std::int64_t>(left.count(), 1);
}

TimePoint deadline_of(std::int64_t timeout_nano) {
  const auto now = std::chrono::steady_clock::now();
  if (timeout_nano <= 0 || std::chrono::nanoseconds(timeout_nano) > TimePoint::max() - now) {
    return TimePoint::max();
  }
  return now + std::chrono::nanoseconds(timeout_nano);
}

Result<std::string> decode_answer(const std::string& body) {
  ttrpc::Response response;
  if (!response.ParseFromString(body)) {
    return Error(Code::kCorrupt, "the answer is no ttrpc response");
  }
  if (response.status().code() != 0) {
    const Code code = from_grpc_status(response.status().code());
    // These three say what became of the connection; a caller may give it up for them.
    const bool ours = code == Code::kUnavailable || code == Code::kTimeout || code == Code::kCorrupt;
    return Error(ours ? Code::kInternal : code, response.status().message());
  }
  return std::move(*response.mutable_payload());
}

}  // namespace

std::int32_t to_grpc_status(Code code) {
  switch (code) {
    case Code::kInvalid:
      return 3;
    case Code::kNotFound:
      return 5;
    case Code::kExists:
      return 6;
    case Code::kConflict:
      return 10;
    case Code::kGone:
      return 11;
    case Code::kBusy:
    case Code::kOverflow:
      return 8;
    case Code::kDenied:
      return 7;
    case Code::kUnavailable:
      return 14;
    case Code::kTimeout:
      return 4;
    case Code::kCancelled:
      return 1;
    case Code::kCorrupt:
      return 15;
    case Code::kUnsupported:
      return 12;
    case Code::kInternal:
      return 13;
  }
  return 13;
}

Code from_grpc_status(std::int32_t status) {
  static constexpr auto kCodes = std::to_array<Code>(
      {Code::kInternal, Code::kCancelled, Code::kInternal, Code::kInvalid, Code::kTimeout, Code::kNotFound,
       Code::kExists, Code::kDenied, Code::kBusy, Code::kBusy, Code::kConflict, Code::kGone,
       Code::kUnsupported, Code::kInternal, Code::kUnavailable, Code::kCorrupt, Code::kDenied});
  return status >= 0 && std::cmp_less(status, kCodes.size()) ? kCodes.at(static_cast<std::size_t>(status))
                                                             : Code::kInternal;
}

struct Ttrpc::Impl : std::enable_shared_from_this<Impl> {
  explicit Impl(Options given) : options(std::move(given)) {}

  Result<std::string> call(std::string message, TimePoint deadline);
  Result<> send_request(std::string& message, std::uint32_t& stream);
  bool answer(std::uint32_t stream, Result<std::string> result);
  bool send_answer(std::uint32_t stream, std::string message);
  void close();

  Result<> receive(std::string_view bytes);
  std::size_t take(std::string& into, std::size_t want, std::string_view bytes) const;
  Result<> begin(const Header& got);
  void finish();
  void request();
  void reject(std::int32_t status, const std::string& text);
  void respond(Result<std::string> result);

  const Options options;

  Mutex send_mutex;  // taken before `mutex`; stream numbers go out in order
  Mutex mutex;
  ConditionVariable answered;
  bool closed FL_GUARDED_BY(mutex) = false;
  std::uint32_t next_stream FL_GUARDED_BY(mutex) = 1;
  std::unordered_map<std::uint32_t, std::optional<Result<std::string>>> calls FL_GUARDED_BY(mutex);
  std::set<std::uint32_t> serving FL_GUARDED_BY(mutex);

  // Of the thread in receive().
  std::string head, body;
  Header header;
  std::optional<std::size_t> skip;  // remaining bytes of an ignored body
  std::uint32_t last_stream = 0;
};

// ---- calling ----------------------------------------------------------------------------------------------

Result<> Ttrpc::Impl::send_request(std::string& message, std::uint32_t& stream) {
  // One lock from the number to the wire: the other side refuses numbers that do not grow.
  const Lock sending(send_mutex);
  {
    const Lock lock(mutex);
    if (closed || next_stream > std::numeric_limits<std::uint32_t>::max() - 2) {
      return Error(Code::kUnavailable, closed ? "the connection is closed" : "stream numbers are used up");
    }
    stream = std::exchange(next_stream, next_stream + 2);
    calls.emplace(stream, std::nullopt);
  }
  put_u32(message.data() + 4, stream);
  return options.send(message);
}

Result<std::string> Ttrpc::Impl::call(std::string message, TimePoint deadline) {
  std::uint32_t stream = 0;
  const auto sent = send_request(message, stream);
  message = {};
  const Lock lock(mutex);
  if (!sent) {
    calls.erase(stream);
    return Error(Code::kUnavailable, sent.error().what(), sent.error().sys_errno());
  }
  const auto call = calls.find(stream);  // only this function erases it
  while (!call->second && !closed) {
    if (deadline == TimePoint::max()) {
      answered.wait(mutex);
    } else if (answered.wait_until(mutex, deadline) == std::cv_status::timeout) {
      break;
    }
  }
  std::optional<Result<std::string>> out = std::move(call->second);
  calls.erase(call);
  if (out) {
    return std::move(*out);
  }
  return closed ? Error(Code::kUnavailable, "the connection was closed before the answer")
                : Error(Code::kTimeout, "no answer in time");
}

void Ttrpc::Impl::respond(Result<std::string> result) {
  const Lock lock(mutex);
  const auto call = calls.find(header.stream);
  if (call == calls.end() || call->second) {
    log::debug("ttrpc response without a waiting call ignored", {{"stream", header.stream}});
    return;
  }
  call->second = std::move(result);
  answered.notify_all();
}

// ---- serving ----------------------------------------------------------------------------------------------

bool Ttrpc::Impl::send_answer(std::uint32_t stream, std::string message) {
  put_u32(message.data() + 4, stream);
  const Lock sending(send_mutex);
  {
    const Lock lock(mutex);
    if (closed) {
      return false;
    }
  }
  const auto sent = options.send(message);
  if (!sent) {
    log::debug("ttrpc answer not sent", {{"stream", stream}, {"error", sent.error().what()}});
  }
  return sent.has_value();
}

bool Ttrpc::Impl::answer(std::uint32_t stream, Result<std::string> result) {
  {
    const Lock lock(mutex);
    if (serving.erase(stream) == 0) {
      return false;
    }
  }
  return send_answer(stream, encode_answer(std::move(result)));
}

void Ttrpc::Impl::reject(std::int32_t status, const std::string& text) {
  (void)send_answer(header.stream, encode_error(status, text));
}

void Ttrpc::Impl::request() {
  if (header.flags != 0) {
    reject(12, "this server takes no streams");
    return;
  }
  ttrpc::Request got;
  if (!got.ParseFromString(body)) {
    reject(3, "the message is no ttrpc request");
    return;
  }
  const std::uint32_t stream = header.stream;
  {
    const Lock lock(mutex);
    serving.insert(stream);
  }
  options.handler({.service = std::move(*got.mutable_service()),
                   .method = std::move(*got.mutable_method()),
                   .payload = std::move(*got.mutable_payload()),
                   .deadline = deadline_of(got.timeout_nano())},
                  [self = shared_from_this(), stream](Result<std::string> result) {
                    return self->answer(stream, std::move(result));
                  });
}

// ---- both -------------------------------------------------------------------------------------------------

/// A header is complete. Decides whether its body is wanted.
Result<> Ttrpc::Impl::begin(const Header& got) {
  header = got;
  if (got.length > kNoMessage) {
    return Error(Code::kCorrupt, "a ttrpc message of " + std::to_string(got.length) +
                                     " bytes is announced: the stream is out of step");
  }
  const bool fresh = got.stream % 2 == 1 && got.stream > last_stream;
  const bool to_us = got.type == kRequest && options.handler != nullptr;
  if (to_us && fresh) {
    last_stream = got.stream;
  }
  if (got.length > kTtrpcMaxBody) {
    skip = got.length;
    if (got.type == kRequest || got.type == kData) {
      if (options.handler != nullptr) {
        reject(8, "the message has " + too_large(got.length));
      }
    } else if (got.type == kResponse) {
      respond(Error(Code::kCorrupt, "the answer has " + too_large(got.length)));
    }
    return {};
  }
  if (to_us && !fresh) {
    skip = got.length;
    reject(3, got.stream % 2 == 0 ? "stream " + std::to_string(got.stream) + " has an even number"
                                  : "stream " + std::to_string(got.stream) + " was used before");
  }
  return {};
}

/// A message is complete that begin() wanted.
void Ttrpc::Impl::finish() {
  switch (header.type) {
    case kRequest:
      if (options.handler != nullptr) {
        request();
      }
      break;
    case kResponse:
      respond(decode_answer(body));
      break;
    case kData:
      respond(Error(Code::kCorrupt, "the answer is a stream, and none was asked for"));
      if (options.handler != nullptr) {
        reject(3, "there is no stream " + std::to_string(header.stream));
      }
      break;
    default:  // as the Go implementation: ignored
      break;
  }
}

/// Moves what is there into `into` until it has `want` bytes; returns how much that was.
std::size_t Ttrpc::Impl::take(std::string& into, std::size_t want, std::string_view bytes) const {
  const std::size_t n = std::min(want - into.size(), bytes.size());
  into.append(bytes.substr(0, n));
  return n;
}

Result<> Ttrpc::Impl::receive(std::string_view bytes) {
  // Messages without a body, or with one that is skipped, end with their header: hence no test of `bytes`
  // first.
  while (true) {
    if (skip) {
      const std::size_t n = std::min(*skip, bytes.size());
      *skip -= n;
      bytes.remove_prefix(n);
      if (*skip > 0) {
        return {};
      }
      skip.reset();
      head.clear();
    }
    if (head.size() < kTtrpcHeader) {
      bytes.remove_prefix(take(head, kTtrpcHeader, bytes));
      if (head.size() < kTtrpcHeader) {
        return {};
      }
      FL_TRY(begin(decode_header(head)));
      continue;
    }
    bytes.remove_prefix(take(body, header.length, bytes));
    if (body.size() < header.length) {
      return {};
    }
    finish();
    head.clear();
    body = {};
  }
}

void Ttrpc::Impl::close() {
  {
    const Lock lock(mutex);
    closed = true;
    serving.clear();
    answered.notify_all();
  }
  const Lock sending(send_mutex);
}

Ttrpc::Ttrpc(Options options) : impl_(std::make_shared<Impl>(std::move(options))) {}

Ttrpc::~Ttrpc() { close(); }

Result<> Ttrpc::receive(std::string_view bytes) { return impl_->receive(bytes); }

void Ttrpc::close() { impl_->close(); }

Result<std::string> Ttrpc::call(std::string_view service, std::string_view method, std::string payload,
                                TimePoint deadline) {
  if (deadline <= std::chrono::steady_clock::now()) {
    return Error(Code::kTimeout, "no time left for the call");
  }
  ttrpc::Request request;
  request.set_service(std::string(service));
  request.set_method(std::string(method));
  request.set_payload(std::move(payload));
  request.set_timeout_nano(timeout_of(deadline));
  std::string message = encode(kRequest, request);
  if (const std::size_t size = message.size() - kTtrpcHeader; size > kTtrpcMaxBody) {
    return Error(Code::kInvalid, "the message has " + too_large(size));
  }
  const auto keep = impl_;  // the endpoint may go while this waits
  return keep->call(std::move(message), deadline);
}

}  // namespace fairlead::rpc
