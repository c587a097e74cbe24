// SPDX-License-Identifier: Apache-2.0
#include "fairlead/formats/json_reader.h"

#include <limits>
#include <nlohmann/json.hpp>

namespace fairlead {
namespace {

using Json = nlohmann::json;

const Json& json_of(const void* node) { return *static_cast<const Json*>(node); }

bool fits_int64(const Json& value) {
  if (!value.is_number_integer()) {
    return false;
  }
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  return !value.is_number_unsigned() || value.get<std::uint64_t>() <= kMax;
}

}  // namespace

JsonReader::JsonReader(const void* node, std::string path, std::string* error)
    : node_(node), path_(std::move(path)), error_(error) {
  if (node_ != nullptr && !json_of(node_).is_object()) {
    fail("", "an object");
    node_ = nullptr;
  }
}

std::string JsonReader::path_of(const std::string& key) const {
  return path_.empty() || key.empty() ? path_ + key : path_ + "." + key;
}

void JsonReader::fail(const std::string& key, const char* expected) const {
  if (error_->empty()) {
    const std::string path = path_of(key);
    *error_ = (path.empty() ? "the document" : path) + " is not " + expected;
  }
}

const void* JsonReader::find(const std::string& key) const {
  if (node_ == nullptr) {
    return nullptr;
  }
  const Json& object = json_of(node_);
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

const void* JsonReader::array(const std::string& key) const {
  const void* const found = find(key);
  if (found != nullptr && !json_of(found).is_array()) {
    fail(key, "an array");
    return nullptr;
  }
  return found;
}

std::string JsonReader::string(const std::string& key) const {
  const void* const found = find(key);
  if (found == nullptr) {
    return {};
  }
  if (!json_of(found).is_string()) {
    fail(key, "a string");
    return {};
  }
  return json_of(found).get<std::string>();
}

bool JsonReader::boolean(const std::string& key) const {
  const void* const found = find(key);
  if (found == nullptr) {
    return false;
  }
  if (!json_of(found).is_boolean()) {
    fail(key, "true or false");
    return false;
  }
  return json_of(found).get<bool>();
}

std::int64_t JsonReader::integer(const std::string& key, std::int64_t absent) const {
  const void* const found = find(key);
  if (found == nullptr) {
    return absent;
  }
  if (!fits_int64(json_of(found))) {
    fail(key, "a 64-bit integer");
    return absent;
  }
  return json_of(found).get<std::int64_t>();
}

std::string JsonReader::quantity(const std::string& key) const {
  const void* const found = find(key);
  return found != nullptr && json_of(found).is_number() ? json_of(found).dump() : string(key);
}

std::optional<std::string> JsonReader::optional_quantity(const std::string& key) const {
  return has(key) ? std::optional(quantity(key)) : std::nullopt;
}

std::string JsonReader::text(const std::string& key) const {
  const void* const found = find(key);
  return found == nullptr ? std::string()
                          : json_of(found).dump(-1, ' ', false, Json::error_handler_t::replace);
}

JsonReader JsonReader::object(const std::string& key) const { return {find(key), path_of(key), error_}; }

std::vector<JsonReader> JsonReader::objects(const std::string& key) const {
  std::vector<JsonReader> readers;
  if (const void* const found = array(key); found != nullptr) {
    const Json& items = json_of(found);
    readers.reserve(items.size());
    for (std::size_t i = 0; i < items.size(); ++i) {
      readers.push_back(JsonReader(&items[i], path_of(key) + "[" + std::to_string(i) + "]", error_));
    }
  }
  return readers;
}

std::vector<std::string> JsonReader::strings(const std::string& key) const {
  std::vector<std::string> texts;
  if (const void* const found = array(key); found != nullptr) {
    for (const Json& item : json_of(found)) {
      if (!item.is_string()) {
        fail(key, "an array of strings");
        return {};
      }
      texts.push_back(item.get<std::string>());
    }
  }
  return texts;
}

std::vector<std::pair<std::string, JsonReader>> JsonReader::members(const std::string& key) const {
  std::vector<std::pair<std::string, JsonReader>> found;
  if (const JsonReader inner = object(key); inner.present()) {
    for (const auto& [name, value] : json_of(inner.node_).items()) {
      found.emplace_back(name, JsonReader(&value, inner.path_of(name), error_));
    }
  }
  return found;
}

std::map<std::string, std::string> JsonReader::string_map(const std::string& key) const {
  std::map<std::string, std::string> found;
  if (const JsonReader inner = object(key); inner.present()) {
    for (const auto& [name, value] : json_of(inner.node_).items()) {
      found.emplace(name, inner.string(name));
    }
  }
  return found;
}

std::map<std::string, std::string> JsonReader::quantity_map(const std::string& key) const {
  std::map<std::string, std::string> found;
  if (const JsonReader inner = object(key); inner.present()) {
    for (const auto& [name, value] : json_of(inner.node_).items()) {
      found.emplace(name, inner.quantity(name));
    }
  }
  return found;
}

struct JsonDocument::Impl {
  Json json;
  std::string what;
  std::string error;  // of the first field of a wrong type
};

JsonDocument::JsonDocument(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
JsonDocument::JsonDocument(JsonDocument&&) noexcept = default;
JsonDocument& JsonDocument::operator=(JsonDocument&&) noexcept = default;
JsonDocument::~JsonDocument() = default;

Result<JsonDocument> JsonDocument::parse(std::string_view text, std::string_view what) {
  auto impl =
      std::make_unique<Impl>(Json::parse(text, nullptr, /*allow_exceptions=*/false), std::string(what));
  if (impl->json.is_discarded()) {
    return Error(Code::kCorrupt,
                 impl->what + ": this is not JSON (" + std::to_string(text.size()) + " bytes)");
  }
  return JsonDocument(std::move(impl));
}

JsonReader JsonDocument::root() const { return {&impl_->json, "", &impl_->error}; }

Result<> JsonDocument::check() const {
  return impl_->error.empty() ? Result<>{}
                              : Result<>(Error(Code::kCorrupt, impl_->what + ": " + impl_->error));
}

}  // namespace fairlead
