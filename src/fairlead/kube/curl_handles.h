// SPDX-License-Identifier: Apache-2.0
// libcurl's handles, lists and options as owned values. Internal to kube.
#pragma once

#include <curl/curl.h>

#include <memory>
#include <string>

#include "fairlead/core/result.h"

namespace fairlead::kube {

struct CurlMultiDeleter {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};
struct CurlEasyDeleter {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};

/// Owns a curl_slist.
class CurlStrings {
 public:
  Result<> append(const std::string& line) {
    curl_slist* const longer = curl_slist_append(list_.get(), line.c_str());
    if (longer == nullptr) {
      return Error(Code::kInternal, "libcurl: no memory for a list");
    }
    (void)list_.release();  // NOLINT(bugprone-unused-return-value): it is part of the longer list
    list_.reset(longer);
    return {};
  }
  [[nodiscard]] curl_slist* get() const { return list_.get(); }

 private:
  struct Deleter {
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
  };
  std::unique_ptr<curl_slist, Deleter> list_;
};

/// Sets options one after the other and keeps the first failure, which is a bug or a curl without a feature.
class CurlOptions {
 public:
  explicit CurlOptions(CURL* easy) : easy_(easy) {}
  template <class T>
  CurlOptions& set(CURLoption option, T value) {
    if (code_ == CURLE_OK) {
      code_ = curl_easy_setopt(easy_, option, value);
      option_ = option;
    }
    return *this;
  }
  CurlOptions& set_blob(CURLoption option, const std::string& text) {
    if (text.empty()) {
      return *this;
    }
    // CURL_BLOB_COPY: curl only reads through the pointer.
    curl_blob blob = {.data = const_cast<char*>(text.data()), .len = text.size(), .flags = CURL_BLOB_COPY};
    return set(option, &blob);
  }
  [[nodiscard]] Result<> result() const {
    if (code_ == CURLE_OK) {
      return {};
    }
    return Error(Code::kUnsupported, "libcurl " + std::string(curl_version()) + " refuses option " +
                                         std::to_string(option_) + ": " + curl_easy_strerror(code_));
  }

 private:
  CURL* easy_;
  CURLcode code_ = CURLE_OK;
  CURLoption option_{};
};

}  // namespace fairlead::kube
