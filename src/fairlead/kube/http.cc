// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/http.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"
#include "fairlead/kube/credentials.h"
#include "fairlead/kube/curl_handles.h"
#include "fairlead/kube/line_splitter.h"

#ifndef FAIRLEAD_VERSION
#error "the build sets FAIRLEAD_VERSION"
#endif

namespace fairlead::kube {
namespace {

using std::chrono::milliseconds;
using SteadyTime = std::chrono::steady_clock::time_point;

/// More than the agent's workers need at once; each idle one costs a socket and its TLS state.
constexpr std::size_t kMaxIdleConnections = 4;
/// Longer than this, servers and balancers have closed it anyway.
constexpr std::chrono::seconds kMaxIdleTime{90};
constexpr milliseconds kConnectTimeout{5'000};
/// What is kept of the body of an error answer to a stream.
constexpr std::size_t kMaxErrorBody = std::size_t{1} << 20;

/// A multi (it owns the TCP connection, and can be woken from another thread) and the one easy handle in it.
struct Connection {
  // The order matters: the easy handle goes first.
  std::unique_ptr<CURLM, CurlMultiDeleter> multi;
  std::unique_ptr<CURL, CurlEasyDeleter> easy;
  SteadyTime last_used;
};

/// What one exchange collects; curl's callback has a pointer to it.
struct Transfer {
  CURL* easy = nullptr;
  const StreamOptions* stream = nullptr;
  const Http::OnLine* on_line = nullptr;  // null: collect the body
  LineSplitter lines;
  std::string body;
  std::size_t max_body = 0;
  SteadyTime last_byte;
  bool answered = false;
  std::optional<Error> failure;  // why the callback stopped the transfer

  [[nodiscard]] bool streams() const {
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    return on_line != nullptr && status >= 200 && status < 300;
  }

  Result<> take(std::string_view piece) {
    if (streams()) {
      return lines.feed(piece, *on_line);
    }
    const std::size_t limit = on_line == nullptr ? max_body : kMaxErrorBody;
    if (body.size() + piece.size() > limit) {
      return Error(Code::kOverflow, "the answer is larger than " + std::to_string(limit) + " bytes");
    }
    body += piece;
    return {};
  }
};

std::size_t on_body(char* data, std::size_t size, std::size_t count, void* context) {
  auto& transfer = *static_cast<Transfer*>(context);
  const std::size_t bytes = size * count;
  transfer.last_byte = std::chrono::steady_clock::now();
  auto taken = transfer.take({data, bytes});
  if (!taken) {
    transfer.failure = std::move(taken).error();
    return bytes == 0 ? 1 : 0;  // another number than `bytes` stops the transfer
  }
  return bytes;
}

std::size_t on_header(char* data, std::size_t size, std::size_t count, void* context) {
  auto& transfer = *static_cast<Transfer*>(context);
  transfer.last_byte = std::chrono::steady_clock::now();
  transfer.answered = true;
  const bool end_of_headers = std::string_view(data, size * count) == "\r\n";
  if (end_of_headers && transfer.streams() && transfer.stream->on_open) {
    transfer.stream->on_open();
  }
  return size * count;
}

/// "https://" "[::1]" ":6443" "/prefix"
struct Address {
  std::string scheme, host, port, prefix;
};

Address split(const std::string& server) {
  const auto start = server.find("://") + 3;
  const auto slash = std::min(server.find('/', start), server.size());
  const std::string authority = server.substr(start, slash - start);
  const auto colon = authority.find(':', authority.starts_with('[') ? authority.find(']') : 0);
  const auto end = std::min(colon, authority.size());
  return {.scheme = server.substr(0, start),
          .host = authority.substr(0, end),
          .port = authority.substr(end),
          .prefix = server.substr(slash)};
}

Code code_of(CURLcode code) {
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
      return Code::kTimeout;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
      return Code::kDenied;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return Code::kInvalid;
    case CURLE_OUT_OF_MEMORY:
      return Code::kInternal;
    default:
      return Code::kUnavailable;
  }
}

Error with_origin(Error error, const ClientConfig& config) {
  return error.code() == Code::kDenied
             ? Error(Code::kDenied, error.what() + " (credentials from " + config.origin + ")")
             : std::move(error);
}

/// One request on one connection: its options, its callback data, and its time in the multi. Stays where it
/// is: curl has pointers into it.
class Exchange : private Pinned {
 public:
  Exchange(Connection& connection, const HttpRequest& request, const StreamOptions* stream,
           const Http::OnLine* on_line)
      : multi_(connection.multi.get()),
        easy_(connection.easy.get()),
        request_(request),
        stream_(stream),
        transfer_{.easy = connection.easy.get(),
                  .stream = stream,
                  .on_line = on_line,
                  .lines = LineSplitter(stream == nullptr ? 0 : stream->max_line),
                  .body = {},
                  .max_body = request.max_body,
                  .last_byte = {},
                  .answered = false,
                  .failure = {}} {}
  ~Exchange() {
    if (added_) {
      curl_multi_remove_handle(multi_, easy_);  // closes the connection unless the answer was read to its end
    }
    curl_easy_reset(easy_);  // forgets the pointers into this object
  }

  Result<> prepare(const ClientConfig& config, const CredentialSet& credential);
  Result<HttpResponse> run();

 private:
  Result<> set_headers(const CredentialSet& credential);
  Result<> set_address(const ClientConfig& config);
  Result<> set_transfer();
  Result<> set_tls(const ClientConfig& config, const CredentialSet& credential);
  Result<> transfer_all();
  [[nodiscard]] SteadyTime deadline() const;
  [[nodiscard]] Error timeout_error() const;
  [[nodiscard]] Error transport_error(CURLcode code) const;
  [[nodiscard]] CURLcode completion() const;

  CURLM* const multi_;
  CURL* const easy_;
  const HttpRequest& request_;
  const StreamOptions* const stream_;
  const SteadyTime start_ = std::chrono::steady_clock::now();
  Transfer transfer_;
  std::vector<std::string> header_lines_;
  CurlStrings headers_, connect_to_;
  std::array<char, CURL_ERROR_SIZE> error_text_{};
  bool added_ = false;
};

Result<> Exchange::prepare(const ClientConfig& config, const CredentialSet& credential) {
  curl_easy_reset(easy_);  // options only: the connection stays in the multi
  FL_TRY(set_address(config));
  FL_TRY(set_headers(credential));
  FL_TRY(set_transfer());
  return set_tls(config, credential);
}

Result<> Exchange::set_address(const ClientConfig& config) {
  CurlOptions setter(easy_);
  setter.set(CURLOPT_PROTOCOLS_STR, config.insecure ? "https,http" : "https");
  if (!config.proxy_url.empty()) {
    setter.set(CURLOPT_PROXY, config.proxy_url.c_str());
  }
  if (config.tls_server_name.empty()) {
    return setter.set(CURLOPT_URL, (config.server + request_.target).c_str()).result();
  }
  // The host of the URL is what curl sends as SNI and verifies; the connection goes to the real address.
  const Address address = split(config.server);
  header_lines_.push_back("Host: " + address.host + address.port);
  FL_TRY(connect_to_.append("::" + address.host + (address.port.empty() ? ":443" : address.port)));
  return setter
      .set(
          CURLOPT_URL,
          (address.scheme + config.tls_server_name + address.port + address.prefix + request_.target).c_str())
      .set(CURLOPT_CONNECT_TO, connect_to_.get())
      .result();
}

Result<> Exchange::set_headers(const CredentialSet& credential) {
  header_lines_.push_back("Accept: " + request_.accept);
  header_lines_.emplace_back("Expect:");  // no round trip before a large body
  if (!request_.body.empty()) {
    header_lines_.push_back("Content-Type: " + request_.content_type);
  }
  if (!credential.token.empty()) {
    header_lines_.push_back("Authorization: Bearer " + credential.token);
  }
  for (const std::string& line : header_lines_) {
    FL_TRY(headers_.append(line));
  }
  return CurlOptions(easy_)
      .set(CURLOPT_HTTPHEADER, headers_.get())
      .set(CURLOPT_USERAGENT, "fairlead/" FAIRLEAD_VERSION)
      .result();
}

Result<> Exchange::set_transfer() {
  CurlOptions setter(easy_);
  setter.set(CURLOPT_HTTP_VERSION, long{CURL_HTTP_VERSION_1_1})
      .set(CURLOPT_PATH_AS_IS, 1L)
      .set(CURLOPT_NOSIGNAL, 1L)
      // A name lookup that hangs must not hold up a stop: its thread ends by itself.
      .set(CURLOPT_QUICK_EXIT, 1L)
      // A server that vanished without a word is found out long before a watch counts as silent.
      .set(CURLOPT_TCP_KEEPALIVE, 1L)
      .set(CURLOPT_TCP_KEEPIDLE, 15L)
      .set(CURLOPT_TCP_KEEPINTVL, 5L)
      .set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(kConnectTimeout.count()))
      .set(CURLOPT_WRITEFUNCTION, &on_body)
      .set(CURLOPT_WRITEDATA, static_cast<void*>(&transfer_))
      .set(CURLOPT_HEADERFUNCTION, &on_header)
      .set(CURLOPT_HEADERDATA, static_cast<void*>(&transfer_))
      .set(CURLOPT_ERRORBUFFER, error_text_.data());
  const bool sends = request_.method == "POST" || request_.method == "PUT" || request_.method == "PATCH";
  if (sends || !request_.body.empty()) {
    setter.set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()))
        .set(CURLOPT_POSTFIELDS, request_.body.c_str());
  }
  if (request_.method == "HEAD") {
    setter.set(CURLOPT_NOBODY, 1L);
  }
  return setter.set(CURLOPT_CUSTOMREQUEST, request_.method.c_str()).result();
}

Result<> Exchange::set_tls(const ClientConfig& config, const CredentialSet& credential) {
  CurlOptions setter(easy_);
  if (!credential.ca.empty()) {
    // This CA alone: not the system's bundle and folder, which curl would trust too (and load, some MiB).
    setter.set(CURLOPT_CAINFO, static_cast<const char*>(nullptr))
        .set(CURLOPT_CAPATH, static_cast<const char*>(nullptr))
        .set_blob(CURLOPT_CAINFO_BLOB, credential.ca);
  }
  return setter.set(CURLOPT_SSL_VERIFYPEER, config.insecure ? 0L : 1L)
      .set(CURLOPT_SSL_VERIFYHOST, config.insecure ? 0L : 2L)
      .set(CURLOPT_SSLVERSION, long{CURL_SSLVERSION_TLSv1_2})
      .set_blob(CURLOPT_SSLCERT_BLOB, credential.certificate)
      .set_blob(CURLOPT_SSLKEY_BLOB, credential.key)
      .result();
}

Result<HttpResponse> Exchange::run() {
  if (const CURLMcode code = curl_multi_add_handle(multi_, easy_); code != CURLM_OK) {
    return Error(Code::kInternal, std::string("libcurl: ") + curl_multi_strerror(code));
  }
  added_ = true;
  FL_TRY(transfer_all());
  if (const CURLcode code = completion(); code != CURLE_OK) {
    return transfer_.failure ? *transfer_.failure : transport_error(code);
  }
  if (transfer_.streams()) {
    FL_TRY(transfer_.lines.finish(*transfer_.on_line));
  }
  HttpResponse response{.status = 0, .body = std::move(transfer_.body), .retry_after = {}};
  long status = 0;
  curl_off_t retry_after = 0;
  curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(easy_, CURLINFO_RETRY_AFTER, &retry_after);
  response.status = static_cast<int>(status);
  if (retry_after > 0) {
    response.retry_after = std::chrono::seconds(std::min<curl_off_t>(retry_after, 24L * 3600));
  }
  return response;
}

/// Until curl is done with it, the deadline passes or the caller stops it.
Result<> Exchange::transfer_all() {
  const std::stop_callback wake(request_.stop, [this] { curl_multi_wakeup(multi_); });
  for (;;) {
    int running = 0;
    if (const CURLMcode code = curl_multi_perform(multi_, &running); code != CURLM_OK) {
      return Error(Code::kInternal, std::string("libcurl: ") + curl_multi_strerror(code));
    }
    if (running == 0) {
      return {};
    }
    if (request_.stop.stop_requested()) {
      return Error(Code::kCancelled, "the request was cancelled");
    }
    const auto left = std::chrono::ceil<milliseconds>(deadline() - std::chrono::steady_clock::now());
    if (left.count() <= 0) {
      return timeout_error();
    }
    const auto wait = std::min(left, milliseconds(60'000));
    if (const CURLMcode code = curl_multi_poll(multi_, nullptr, 0, static_cast<int>(wait.count()), nullptr);
        code != CURLM_OK) {
      return Error(Code::kInternal, std::string("libcurl: ") + curl_multi_strerror(code));
    }
  }
}

SteadyTime Exchange::deadline() const {
  const bool streaming = stream_ != nullptr && transfer_.answered;
  return streaming ? transfer_.last_byte + stream_->idle_timeout : start_ + request_.timeout;
}

Error Exchange::timeout_error() const {
  if (stream_ != nullptr && transfer_.answered) {
    return {Code::kTimeout, "nothing came for " + std::to_string(stream_->idle_timeout.count()) +
                                " ms, the connection is dead"};
  }
  return {Code::kTimeout, "no complete answer within " + std::to_string(request_.timeout.count()) + " ms"};
}

CURLcode Exchange::completion() const {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg == CURLMSG_DONE && message->easy_handle == easy_) {
      return message->data.result;
    }
  }
  return CURLE_AGAIN;  // cannot be: nothing runs any more
}

Error Exchange::transport_error(CURLcode code) const {
  std::string why = error_text_.data();
  if (why.empty()) {
    why = curl_easy_strerror(code);
  }
  return {code_of(code), code == CURLE_SSL_CONNECT_ERROR ? "TLS with the server failed: " + why : why};
}

}  // namespace

struct Http::Impl {
  Impl(ClientConfig given, std::unique_ptr<Credentials> read)
      : config(std::move(given)), credentials(std::move(read)) {}

  Result<Connection> acquire();
  void release(Connection connection);
  Result<HttpResponse> exchange(const HttpRequest& request, const StreamOptions* stream,
                                const OnLine* on_line, const CredentialSet& credential);
  Result<HttpResponse> exchange_with_token(const HttpRequest& request, const StreamOptions* stream,
                                           const OnLine* on_line);

  const ClientConfig config;
  const std::unique_ptr<Credentials> credentials;
  Mutex mutex;
  std::vector<Connection> idle FL_GUARDED_BY(mutex);  // newest last
};

Result<Connection> Http::Impl::acquire() {
  std::vector<Connection> stale;  // closed when the lock is gone
  {
    const Lock lock(mutex);
    const auto oldest = std::chrono::steady_clock::now() - kMaxIdleTime;
    while (!idle.empty() && idle.front().last_used < oldest) {
      stale.push_back(std::move(idle.front()));
      idle.erase(idle.begin());
    }
    if (!idle.empty()) {
      Connection connection = std::move(idle.back());
      idle.pop_back();
      return connection;
    }
  }
  Connection connection;
  connection.multi.reset(curl_multi_init());
  connection.easy.reset(curl_easy_init());
  if (connection.multi == nullptr || connection.easy == nullptr ||
      curl_multi_setopt(connection.multi.get(), CURLMOPT_MAXCONNECTS, 1L) != CURLM_OK) {
    return Error(Code::kInternal, "libcurl gives no handle");
  }
  return connection;
}

void Http::Impl::release(Connection connection) {
  connection.last_used = std::chrono::steady_clock::now();
  const Lock lock(mutex);
  if (idle.size() < kMaxIdleConnections) {
    idle.push_back(std::move(connection));
  }
}

Result<HttpResponse> Http::Impl::exchange(const HttpRequest& request, const StreamOptions* stream,
                                          const OnLine* on_line, const CredentialSet& credential) {
  FL_ASSIGN(Connection connection, acquire());
  auto response = [&]() -> Result<HttpResponse> {
    Exchange exchange(connection, request, stream, on_line);
    FL_TRY(exchange.prepare(config, credential));
    return exchange.run();
  }();
  release(std::move(connection));
  return response;
}

Result<HttpResponse> Http::Impl::exchange_with_token(const HttpRequest& request, const StreamOptions* stream,
                                                     const OnLine* on_line) {
  const auto used = credentials->get();
  auto response = exchange(request, stream, on_line, *used);
  if (response && response->status == 401 && credentials->refresh_token(*used)) {
    response = exchange(request, stream, on_line, *credentials->get());
  }
  if (!response) {
    return with_origin(std::move(response).error(), config);
  }
  return response;
}

Result<std::unique_ptr<Http>> Http::open(ClientConfig config, Clock& clock) {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (initialised != CURLE_OK) {
    return Error(Code::kInternal, std::string("libcurl: ") + curl_easy_strerror(initialised));
  }
  FL_ASSIGN(auto credentials, Credentials::open(config, clock));
  return std::unique_ptr<Http>(new Http(std::make_unique<Impl>(std::move(config), std::move(credentials))));
}

Http::Http(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Http::~Http() = default;

Result<HttpResponse> Http::perform(const HttpRequest& request) {
  return impl_->exchange_with_token(request, nullptr, nullptr);
}

Result<HttpResponse> Http::stream(const HttpRequest& request, const StreamOptions& options,
                                  const OnLine& on_line) {
  return impl_->exchange_with_token(request, &options, &on_line);
}

const std::string& Http::server() const { return impl_->config.server; }

std::string percent_encode(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  constexpr std::string_view kUnreserved =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  std::string out;
  for (const char c : text) {
    if (kUnreserved.find(c) != std::string_view::npos) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += kHex[byte >> 4U];
    out += kHex[byte & 15U];
  }
  return out;
}

}  // namespace fairlead::kube
