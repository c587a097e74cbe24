// SPDX-License-Identifier: Apache-2.0
#include "fairlead/formats/strict_json.h"

#include <algorithm>
#include <array>
#include <deque>
#include <set>
#include <unordered_map>
#include <utility>

#include "fairlead/formats/json_tree.h"

namespace fairlead::strict_json {
namespace {

using json_tree::Type;
using json_tree::Value;

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

/// Edits (insert, delete, replace, swap of neighbours) from one word to the other.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    d[i][0] = i;
  }
  for (std::size_t j = 0; j <= b.size(); ++j) {
    d[0][j] = j;
  }
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t cost = a[i - 1] == b[j - 1] ? 0 : 1;
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + cost});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
  }
  return d[a.size()][b.size()];
}

constexpr std::size_t kLongestWord = 40;  // longer names are hardly misspelled by accident

/// The word of `words` that `given` was probably meant to be; empty when none is near.
std::string nearest(std::string_view given, const std::vector<std::string>& words) {
  if (given.size() > kLongestWord) {
    return "";
  }
  std::string best;
  std::size_t best_distance = given.size() < 4 ? 2 : 3;  // below this
  for (const std::string& word : words) {
    if (const std::size_t distance = edit_distance(lower(given), lower(word)); distance < best_distance) {
      best = word;
      best_distance = distance;
    }
  }
  return best;
}

template <class Words>
std::string quoted_list(const Words& words) {
  std::string out;
  for (const auto& word : words) {
    out += (out.empty() ? "\"" : ", \"") + std::string(word) + "\"";
  }
  return out;
}

}  // namespace

/// What was asked of one object of the document.
struct Object::Node {
  const Value* value = nullptr;
  std::string path;
  mutable std::set<std::string, std::less<>> read;  // fields that were read
  mutable std::vector<std::string> asked;           // fields that were asked for, in order
  mutable bool rest_ignored = false;

  void note_asked(std::string_view key) const {
    if (std::ranges::find(asked, key) == asked.end()) {
      asked.emplace_back(key);
    }
  }
};

struct Document::State {
  Value root;
  std::deque<Object::Node> nodes;  // stable addresses
  std::unordered_map<const Value*, const Object::Node*> by_value;
  std::optional<Error> error;

  const Object::Node* node_of(const Value& value, std::string path) {
    if (const auto known = by_value.find(&value); known != by_value.end()) {
      return known->second;
    }
    Object::Node& node = nodes.emplace_back();
    node.value = &value;
    node.path = std::move(path);
    by_value.emplace(&value, &node);
    return &node;
  }
  void fail(const std::string& path, std::string_view why) {
    if (!error) {
      error = Error(Code::kInvalid, std::string(why)).with(path);
    }
  }
  /// Notes the wrong type of a field.
  void wrong(const std::string& path, std::string_view wanted, const Value& value) {
    fail(path, "must be " + std::string(wanted) + ", not " + json_tree::describe(value));
  }

  /// An error about the first field, in the document's order, that was not read.
  [[nodiscard]] std::optional<Error> unread(const Value& value) const;
  [[nodiscard]] std::optional<Error> unread_member(const Object::Node& node, std::size_t index) const;

  /// The member if it is there, as taken; null when absent or after an error.
  const Value* take(const Object::Node* node, std::string_view key) const {
    if (node == nullptr || error) {
      return nullptr;
    }
    node->note_asked(key);
    const Value* member = node->value->find(key);
    if (member != nullptr) {
      node->read.emplace(key);
    }
    return member;
  }
  /// As take, with an error when absent.
  const Value* take_required(const Object::Node* node, std::string_view key);
  /// As take; null with an error when it is not a list of at most `max_items`.
  const Value* take_list(const Object::Node* node, std::string_view key, std::size_t max_items);
};

std::optional<Error> Document::State::unread_member(const Object::Node& node, std::size_t index) const {
  const std::string& key = node.value->keys[index];
  if (node.read.contains(key)) {
    return unread(node.value->items[index]);
  }
  std::string why = "unknown field";
  if (const std::string meant = nearest(key, node.asked); !meant.empty()) {
    why += " (did you mean \"" + meant + "\"?)";
  } else if (!node.asked.empty()) {
    why += " (known here: " + quoted_list(node.asked) + ")";
  }
  return Error(Code::kInvalid, std::move(why)).with(json_tree::join_path(node.path, key));
}

std::optional<Error> Document::State::unread(const Value& value) const {
  if (value.type == Type::kArray) {
    for (const Value& item : value.items) {
      if (auto found = unread(item)) {
        return found;
      }
    }
    return std::nullopt;
  }
  const auto known = by_value.find(&value);
  if (value.type != Type::kObject || known == by_value.end() || known->second->rest_ignored) {
    return std::nullopt;
  }
  for (std::size_t i = 0; i < value.items.size(); ++i) {
    if (auto found = unread_member(*known->second, i)) {
      return found;
    }
  }
  return std::nullopt;
}

const Value* Document::State::take_required(const Object::Node* node, std::string_view key) {
  const Value* member = take(node, key);
  if (member != nullptr || node == nullptr || error) {
    return member;
  }
  std::string why = "this field is required";
  for (const std::string& other : node->value->keys) {
    if (!node->read.contains(other) && nearest(other, {std::string(key)}) == key) {
      why += " (there is " + json_tree::quote(other) + ": a misspelling?)";
      break;
    }
  }
  fail(json_tree::join_path(node->path, key), why);
  return nullptr;
}

const Value* Document::State::take_list(const Object::Node* node, std::string_view key,
                                        std::size_t max_items) {
  const Value* member = take(node, key);
  if (member == nullptr) {
    return nullptr;
  }
  const std::string path = json_tree::join_path(node->path, key);
  if (member->type != Type::kArray) {
    wrong(path, "a list", *member);
    return nullptr;
  }
  if (member->items.size() > max_items) {
    fail(path, "has " + std::to_string(member->items.size()) + " items, at most " +
                   std::to_string(max_items) + " are allowed");
    return nullptr;
  }
  return member;
}

Document::Document(std::unique_ptr<State> state) : state_(std::move(state)) {}
Document::Document(Document&&) noexcept = default;
Document& Document::operator=(Document&&) noexcept = default;
Document::~Document() = default;

Result<Document> Document::parse(std::string_view text, std::string path, Limits limits) {
  FL_ASSIGN(auto root, json_tree::parse(text, path, {.bytes = limits.bytes, .depth = limits.depth}));
  if (root.type != Type::kObject) {
    return Error(Code::kInvalid, "must be a JSON object, not " + json_tree::describe(root)).with(path);
  }
  auto state = std::make_unique<State>();
  state->root = std::move(root);
  (void)state->node_of(state->root, std::move(path));
  return Document(std::move(state));
}

Object Document::root() const {
  return {state_->error ? nullptr : state_->by_value.at(&state_->root), state_.get()};
}

Result<> Document::finish() const {
  if (const auto& noted = state_->error) {
    return *noted;
  }
  if (auto error = state_->unread(state_->root)) {
    return *std::move(error);
  }
  return {};
}

bool Object::has(std::string_view key) const {
  if (node_ == nullptr || state_->error) {
    return false;
  }
  node_->note_asked(key);
  return node_->value->find(key) != nullptr;
}

namespace {

/// A whole number in [min, max], or nothing with an error noted.
std::optional<std::int64_t> integer_in(Document::State& state, const std::string& path, const Value& value,
                                       std::int64_t min, std::int64_t max) {
  if (value.type == Type::kInteger && value.integer >= min && value.integer <= max) {
    return value.integer;
  }
  state.wrong(path, "a whole number from " + std::to_string(min) + " to " + std::to_string(max), value);
  return std::nullopt;
}

std::optional<std::string> string_of(Document::State& state, const std::string& path, const Value* value) {
  if (value == nullptr) {
    return std::nullopt;
  }
  if (value->type != Type::kString) {
    state.wrong(path, "a string", *value);
    return std::nullopt;
  }
  return value->text;
}

std::optional<std::string> word_of(Document::State& state, const std::string& path, const Value* value,
                                   const std::vector<std::string_view>& words) {
  if (value == nullptr) {
    return std::nullopt;
  }
  if (value->type == Type::kString && std::ranges::find(words, value->text) != words.end()) {
    return value->text;
  }
  state.wrong(path, (words.size() == 1 ? "" : "one of ") + quoted_list(words), *value);
  return std::nullopt;
}

}  // namespace

std::string Object::required_string(std::string_view key) const {
  const Value* value = state_->take_required(node_, key);
  return value == nullptr ? "" : string_of(*state_, path_of(key), value).value_or("");
}

std::optional<std::string> Object::optional_string(std::string_view key) const {
  const Value* value = state_->take(node_, key);
  return value == nullptr ? std::nullopt : string_of(*state_, path_of(key), value);
}

std::string Object::required_word(std::string_view key, const std::vector<std::string_view>& words) const {
  const Value* value = state_->take_required(node_, key);
  return value == nullptr ? "" : word_of(*state_, path_of(key), value, words).value_or("");
}

std::optional<std::string> Object::optional_word(std::string_view key,
                                                 const std::vector<std::string_view>& words) const {
  const Value* value = state_->take(node_, key);
  return value == nullptr ? std::nullopt : word_of(*state_, path_of(key), value, words);
}

std::optional<std::int64_t> Object::optional_integer(std::string_view key, std::int64_t min,
                                                     std::int64_t max) const {
  const Value* value = state_->take(node_, key);
  return value == nullptr ? std::nullopt : integer_in(*state_, path_of(key), *value, min, max);
}

std::optional<bool> Object::optional_bool(std::string_view key) const {
  const Value* value = state_->take(node_, key);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (value->type != Type::kBool) {
    state_->wrong(path_of(key), "true or false", *value);
    return std::nullopt;
  }
  return value->boolean;
}

std::vector<std::string> Object::optional_strings(std::string_view key, std::size_t max_items) const {
  const Value* list = state_->take_list(node_, key, max_items);
  std::vector<std::string> out;
  for (std::size_t i = 0; list != nullptr && i < list->items.size(); ++i) {
    auto item = string_of(*state_, json_tree::join_path(path_of(key), i), &list->items[i]);
    if (!item) {
      return {};
    }
    out.push_back(*std::move(item));
  }
  return out;
}

std::vector<std::int64_t> Object::optional_integers(std::string_view key, std::int64_t min, std::int64_t max,
                                                    std::size_t max_items) const {
  const Value* list = state_->take_list(node_, key, max_items);
  std::vector<std::int64_t> out;
  for (std::size_t i = 0; list != nullptr && i < list->items.size(); ++i) {
    const auto item = integer_in(*state_, json_tree::join_path(path_of(key), i), list->items[i], min, max);
    if (!item) {
      return {};
    }
    out.push_back(*item);
  }
  return out;
}

std::map<std::string, std::string> Object::optional_string_map(std::string_view key,
                                                               std::size_t max_items) const {
  const auto object = optional_object(key);
  std::map<std::string, std::string> out;
  if (!object) {
    return out;
  }
  const Value& value = *object->node_->value;
  if (value.items.size() > max_items) {
    fail(key, "has " + std::to_string(value.items.size()) + " entries, at most " + std::to_string(max_items) +
                  " are allowed");
    return out;
  }
  for (const std::string& name : value.keys) {
    out[name] = object->required_string(name);
  }
  return out;
}

Object Object::required_object(std::string_view key) const {
  if (state_->take_required(node_, key) == nullptr) {
    return {nullptr, state_};
  }
  return optional_object(key).value_or(Object{nullptr, state_});
}

std::optional<Object> Object::optional_object(std::string_view key) const {
  const Value* value = state_->take(node_, key);
  if (value == nullptr) {
    return std::nullopt;
  }
  if (value->type != Type::kObject) {
    state_->wrong(path_of(key), "an object", *value);
    return std::nullopt;
  }
  return Object{state_->node_of(*value, path_of(key)), state_};
}

std::vector<Object> Object::optional_objects(std::string_view key, std::size_t max_items) const {
  const Value* list = state_->take_list(node_, key, max_items);
  std::vector<Object> out;
  for (std::size_t i = 0; list != nullptr && i < list->items.size(); ++i) {
    const std::string path = json_tree::join_path(path_of(key), i);
    if (list->items[i].type != Type::kObject) {
      state_->wrong(path, "an object", list->items[i]);
      return {};
    }
    out.push_back(Object{state_->node_of(list->items[i], path), state_});
  }
  return out;
}

std::string Object::path_of(std::string_view key) const {
  return node_ == nullptr ? std::string(key) : json_tree::join_path(node_->path, key);
}

void Object::require(std::string_view key) const { (void)state_->take_required(node_, key); }

std::span<const std::string> Object::keys() const {
  return node_ == nullptr ? std::span<const std::string>() : std::span(node_->value->keys);
}

bool Object::failed() const { return state_->error.has_value(); }

std::string Object::path() const { return node_ == nullptr ? "" : node_->path; }

void Object::fail_item(std::string_view key, std::size_t index, std::string_view why) const {
  fail_below(key, "[" + std::to_string(index) + "]", why);
}

void Object::fail_below(std::string_view key, std::string_view below, std::string_view why) const {
  if (node_ != nullptr) {
    state_->fail(path_of(key) + std::string(below), why);
  }
}

void Object::fail(std::string_view key, std::string_view why) const { state_->fail(path_of(key), why); }

void Object::ignore_rest() const {
  if (node_ != nullptr) {
    node_->rest_ignored = true;
  }
}

}  // namespace fairlead::strict_json
