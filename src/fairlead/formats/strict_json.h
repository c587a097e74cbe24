// SPDX-License-Identifier: Apache-2.0
// A strict reader for small JSON objects from untrusted authors (opaque parameters). It refuses errors that a
// lenient reader accepts: duplicate keys, unknown fields, wrong types, NUL in strings, nesting deeper than
// 16, more than 10 KiB, text after the end. Every error is one sentence that starts with the field's path:
// `netdev.mtu: must be a number from 68 to 65535, not "big"`.
//
//   FL_ASSIGN(const auto document, strict_json::Document::parse(text));
//   strict_json::Object in = document.root();
//   config.type = in.required_string("type");
//   strict_json::Object netdev = in.required_object("netdev");
//   config.mtu = netdev.optional_integer("mtu", 68, 65535);
//   FL_TRY(document.finish());   // the first error of any reader, or the first unread field
//
// Readers are sticky: after the first error every call returns an empty value and finish() returns that
// error. Use one document from one thread. The document must outlive its objects.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"

namespace fairlead::strict_json {

class Object;

/// Size limits of a document; the default is what the API server allows for opaque parameters.
struct Limits {
  std::size_t bytes = std::size_t{10} << 10;
  std::size_t depth = 16;
};

class Document {
 public:
  /// `path` is put in front of every field path ("" for none). kInvalid for text that is not a JSON object or
  /// exceeds a limit.
  static Result<Document> parse(std::string_view text, std::string path = "", Limits limits = {});
  Document(Document&&) noexcept;
  Document& operator=(Document&&) noexcept;
  Document(const Document&) = delete;
  Document& operator=(const Document&) = delete;
  ~Document();

  [[nodiscard]] Object root() const;
  /// kInvalid with the first error noted by any reader or fail(), else with the first field (document order)
  /// that was not read.
  [[nodiscard]] Result<> finish() const;

  struct State;

 private:
  explicit Document(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

class Object {
 public:
  [[nodiscard]] bool has(std::string_view key) const;
  std::string required_string(std::string_view key) const;
  std::optional<std::string> optional_string(std::string_view key) const;
  /// One of `words`, else an error that lists them.
  std::string required_word(std::string_view key, const std::vector<std::string_view>& words) const;
  std::optional<std::string> optional_word(std::string_view key,
                                           const std::vector<std::string_view>& words) const;
  std::optional<std::int64_t> optional_integer(std::string_view key, std::int64_t min,
                                               std::int64_t max) const;
  std::optional<bool> optional_bool(std::string_view key) const;
  /// Empty when absent.
  std::vector<std::string> optional_strings(std::string_view key, std::size_t max_items) const;
  std::vector<std::int64_t> optional_integers(std::string_view key, std::int64_t min, std::int64_t max,
                                              std::size_t max_items) const;
  /// An object whose values are all strings. Empty when absent.
  std::map<std::string, std::string> optional_string_map(std::string_view key, std::size_t max_items) const;
  Object required_object(std::string_view key) const;
  std::optional<Object> optional_object(std::string_view key) const;
  std::vector<Object> optional_objects(std::string_view key, std::size_t max_items) const;

  /// Notes the error "this field is required" if there is no field of that name.
  void require(std::string_view key) const;
  /// The names of all fields, in the document's order.
  [[nodiscard]] std::span<const std::string> keys() const;
  /// Whether any reader of the document has noted an error: then the values read must not be used.
  [[nodiscard]] bool failed() const;

  /// The full path of this object: "netdev.routes[1]".
  [[nodiscard]] std::string path() const;
  /// The full path of a field: "netdev.routes[1].dst".
  [[nodiscard]] std::string path_of(std::string_view key) const;
  /// Notes an error of the caller's own about a field: `netdev.mac: "x" is not a MAC address (six bytes as
  /// 02:00:00:00:00:01)`.
  void fail(std::string_view key, std::string_view why) const;
  /// The same about one item of a list: `netdev.addresses[1]: ...`.
  void fail_item(std::string_view key, std::size_t index, std::string_view why) const;
  /// The same about a position below a field: `below` is appended to its path, as "[1].gw".
  void fail_below(std::string_view key, std::string_view below, std::string_view why) const;
  /// Marks all fields as read: used before a better error about the whole object.
  void ignore_rest() const;

  struct Node;

 private:
  friend class Document;
  Object(const Node* node, Document::State* state) : node_(node), state_(state) {}
  const Node* node_;  // null after an error
  Document::State* state_;
};

}  // namespace fairlead::strict_json
