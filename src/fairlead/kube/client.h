// SPDX-License-Identifier: Apache-2.0
// Client: the requests a DRA driver makes of the API server, typed.
//
// Errors by code: kNotFound 404, kExists 409 AlreadyExists, kConflict other 409, kGone 410, kInvalid 400 and
// 422 (the sentence names the field paths), kDenied 401, 403 and a server whose
// certificate is not trusted, kUnavailable 429, 5xx and transport (only
// after the retries), kTimeout, kCancelled, kCorrupt for an answer that is not what it should be.
//
// Requests that are safe to repeat are repeated inside the call's deadline, with jittered back-off and the
// server's Retry-After (429 without one: a second): GET, PUT, DELETE and apply after 429, 5xx and transport
// errors, POST after 429 only.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fairlead/core/clock.h"
#include "fairlead/core/result.h"
#include "fairlead/kube/api.h"
#include "fairlead/kube/api_codec.h"
#include "fairlead/kube/config.h"

namespace fairlead::kube {

/// How long a call may take, all retries together, and who may cancel it.
struct CallOptions {
  std::chrono::milliseconds timeout = std::chrono::seconds(10);
  std::stop_token stop;
  /// 1 for callers that have a back-off of their own. A server's Retry-After is waited for all the same.
  int max_tries = 10;
  /// For callers that have nothing better to do than to wait for the server until the timeout.
  static constexpr int kAnyTries = 1'000'000;
  /// For Client::request: an answer of any status is a success, once it would not be tried again. So that a
  /// refusal by the server is not taken for one of its certificate, which has the same code.
  bool any_status = false;
  /// false: at once, whatever ClientOptions::qps says, and not counted there. For what a pod's start waits for.
  bool limited = true;
};

/// One HTTP exchange, for metrics.
struct RequestRecord {
  std::string_view verb;      // get, list, watch, create, update, patch, delete
  std::string_view resource;  // "resourceslices"
  int code = 0;               // HTTP status; 0: no answer
  double seconds = 0;
};

/// Called from the thread that made the request, after each exchange (a watch: when it ends). Must be quick.
using RequestObserver = std::function<void(const RequestRecord&)>;

struct ClientOptions {
  /// Requests per second over time and at once, all threads together; retries count, and watches, when they
  /// start. Calls with CallOptions::limited = false do not.
  double qps = 20;
  int burst = 40;
  RequestObserver observer;
  Clock* clock = &real_clock();  // of the QPS limit and the back-off
};

/// Own-node objects only: both fields are required.
struct SliceSelector {
  std::string driver;
  std::string node_name;
};

/// A request of any kind: tools, tests and resources without a typed call.
struct RawRequest {
  std::string method = "GET";
  std::string path;                                        // "/api/v1/nodes/n1"
  std::vector<std::pair<std::string, std::string>> query;  // not yet percent-encoded
  std::string body;
  std::string content_type = "application/json";
  std::string accept = "application/json";
};

struct RawResponse {
  int status = 0;
  std::string body;
};

/// Streams of newline-delimited JSON: the reflector's transport.
struct WatchRequest {
  std::string path;
  std::vector<std::pair<std::string, std::string>> query;
  /// The connection counts as dead when no byte came for this long.
  std::chrono::milliseconds idle_timeout = std::chrono::seconds(90);
  std::size_t max_line = std::size_t{4} << 20;
  /// Called when the server has accepted the watch, before the first line. May be null.
  std::function<void()> on_open;
};

/// Thread-safe; every call blocks its caller. Idle connections are kept and used again, a few at most.
class Client {
 public:
  /// Reads certificates and token, connects to nobody.
  static Result<std::unique_ptr<Client>> open(ClientConfig config, ClientOptions options = {});
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  Client(Client&&) = delete;
  Client& operator=(Client&&) = delete;
  ~Client();

  Result<ResourceClaim> get_claim(const std::string& namespace_, const std::string& name,
                                  const CallOptions& call = {});
  /// The uid of the Node object, for owner references.
  Result<std::string> get_node_uid(const std::string& name, const CallOptions& call = {});
  /// The Node's internal addresses, as texts; none is possible.
  Result<std::vector<std::string>> get_node_addresses(const std::string& name, const CallOptions& call = {});

  /// POST, with meta.name or meta.generate_name (another random suffix is tried when the server's draw was
  /// taken). Gives what the server stored: compare it with what was sent to see dropped fields.
  Result<ResourceSlice> create_slice(const ResourceSlice& slice, const CallOptions& call = {});
  /// PUT with meta.resource_version, which must be set. kConflict: it changed meanwhile. kNotFound: it is
  /// gone.
  Result<ResourceSlice> update_slice(const ResourceSlice& slice, const CallOptions& call = {});
  /// DELETE of exactly this object: meta.uid and, when set, meta.resource_version are preconditions. Success
  /// when it is gone, or when another object has its name by now; kConflict when it changed.
  Result<> delete_slice(const ObjectMeta& meta, const CallOptions& call = {});
  /// All pages. Starts over when a page's continue token expired (410).
  Result<ListOf<ResourceSlice>> list_slices(const SliceSelector& selector, const CallOptions& call = {});

  /// Server-side apply with force to the claim's status; `devices` are all entries of this field manager
  /// (by convention the driver's name), none clears. kConflict when the claim was replaced by one of another
  /// uid.
  Result<> apply_claim_status(const ObjectMeta& claim, const std::vector<DeviceStatus>& devices,
                              const std::string& field_manager, const CallOptions& call = {});

  /// The same by reading and replacing the claim in protobuf (claim_proto.h says why): for claims of which
  /// apply_claim_status() says kInvalid and names status.allocation. kNotFound also when another claim has
  /// the name by now; kConflict: somebody else wrote in between, try again.
  Result<> replace_claim_status(const ObjectMeta& claim, const std::vector<DeviceStatus>& devices,
                                const std::string& driver, const CallOptions& call = {});

  /// POST. kExists: an event has this name already.
  Result<> create_event(const Event& event, const CallOptions& call = {});
  /// Writes count and last_seen of the event of this name. kNotFound: it is gone (the API server keeps events
  /// for an hour).
  Result<> patch_event(const Event& event, const CallOptions& call = {});

  /// What stands in the claim's status.devices now, entries of all drivers.
  Result<ClaimStatus> get_claim_status(const std::string& namespace_, const std::string& name,
                                       const CallOptions& call = {});

  /// Any request; HTTP errors become Errors as above, success is 2xx. `call.timeout` bounds it with retries.
  Result<RawResponse> request(const RawRequest& request, const CallOptions& call = {});

  /// Blocks and hands each line, without its newline, to `on_line` until the server ends the stream
  /// (success), something fails, `on_line` returns an error (which is returned), or `stop`. Not retried; but
  /// after a 429 or 503 the server's Retry-After (a minute at most) is waited for before the error is
  /// returned.
  Result<> watch(const WatchRequest& request, const std::function<Result<>(std::string_view line)>& on_line,
                 const std::stop_token& stop);

 private:
  struct Impl;
  explicit Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Path of the collection, or of one slice.
std::string slice_path(std::string_view name = {});
std::string claim_path(std::string_view namespace_, std::string_view name);
std::string event_path(std::string_view namespace_, std::string_view name = {});
/// "spec.driver=<driver>,spec.nodeName=<node>"
std::string field_selector(const SliceSelector& selector);

}  // namespace fairlead::kube
