// SPDX-License-Identifier: Apache-2.0
// JsonReader: reads a JSON document field by field, as Kubernetes requires of clients of its API: unknown
// fields are ignored, null and absent fields are empty, so that a newer server never breaks an older client.
// A field that is present must have the right type. (StrictJson is the reader for text that users write.)
//
//   auto node = read_json(text, "Node", [](const JsonReader& in) {
//     return Node{.name = in.object("metadata").string("name"), .unschedulable = in.object("spec").boolean("unschedulable")};
//   });
//
// The first field of a wrong type makes the whole document kCorrupt, with the field's path: "Node: spec.unschedulable
// is not true or false". The readers return empty values from there on, so that the code that uses them has no branches
// for errors. Pure; one document belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fairlead/core/result.h"

namespace fairlead {

/// One object of a JsonDocument, valid as long as the document.
class JsonReader {
 public:
  /// Whether the object is present in the document.
  [[nodiscard]] bool present() const { return node_ != nullptr; }
  /// Whether the field is present, with another value than null.
  [[nodiscard]] bool has(const std::string& key) const { return find(key) != nullptr; }

  [[nodiscard]] std::string string(const std::string& key) const;
  [[nodiscard]] bool boolean(const std::string& key) const;
  /// Exact over the whole range of int64; numbers outside of it and fractions are of a wrong type.
  [[nodiscard]] std::int64_t integer(const std::string& key, std::int64_t absent = 0) const;
  /// A Kubernetes quantity: a string, or a bare number, which the API server accepts too.
  [[nodiscard]] std::string quantity(const std::string& key) const;
  [[nodiscard]] std::optional<std::string> optional_quantity(const std::string& key) const;
  /// The value of any type as JSON text, without spaces and with sorted keys. For the text as it was written see
  /// json_text.h.
  [[nodiscard]] std::string text(const std::string& key) const;

  /// A reader that is not present() when the field is absent.
  [[nodiscard]] JsonReader object(const std::string& key) const;
  /// The elements of an array of objects.
  [[nodiscard]] std::vector<JsonReader> objects(const std::string& key) const;
  [[nodiscard]] std::vector<std::string> strings(const std::string& key) const;
  /// The members of an object whose values are objects.
  [[nodiscard]] std::vector<std::pair<std::string, JsonReader>> members(const std::string& key) const;
  /// The members of an object whose values are strings, or quantities.
  [[nodiscard]] std::map<std::string, std::string> string_map(const std::string& key) const;
  [[nodiscard]] std::map<std::string, std::string> quantity_map(const std::string& key) const;

 private:
  friend class JsonDocument;
  /// `error` is shared by all readers of a document.
  JsonReader(const void* node, std::string path, std::string* error);

  [[nodiscard]] const void* find(const std::string& key) const;
  [[nodiscard]] const void* array(const std::string& key) const;
  [[nodiscard]] std::string path_of(const std::string& key) const;
  void fail(const std::string& key, const char* expected) const;

  const void* node_;  // an nlohmann::json, whose header stays in the .cc file
  std::string path_;
  std::string* error_;
};

class JsonDocument {
 public:
  /// `what` is the document's name in errors: "ResourceClaim". kCorrupt: the text is not JSON.
  static Result<JsonDocument> parse(std::string_view text, std::string_view what);
  JsonDocument(JsonDocument&&) noexcept;
  JsonDocument& operator=(JsonDocument&&) noexcept;
  JsonDocument(const JsonDocument&) = delete;
  JsonDocument& operator=(const JsonDocument&) = delete;
  ~JsonDocument();

  [[nodiscard]] JsonReader root() const;
  /// kCorrupt when a field that was read so far has a wrong type.
  [[nodiscard]] Result<> check() const;

 private:
  struct Impl;
  explicit JsonDocument(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// parse(), `read(root())`, check().
template <class Read>
auto read_json(std::string_view text, std::string_view what, Read&& read)
    -> Result<decltype(read(std::declval<const JsonReader&>()))> {
  FL_ASSIGN(const JsonDocument document, JsonDocument::parse(text, what));
  auto value = read(document.root());
  FL_TRY(document.check());
  return value;
}

}  // namespace fairlead
