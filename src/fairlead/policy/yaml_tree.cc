// SPDX-License-Identifier: Apache-2.0
#include "fairlead/policy/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <sstream>

#include "fairlead/core/text.h"

namespace fairlead::policy {
namespace {

/// A plain scalar that some YAML reader takes for something else than a string.
bool looks_like_another_type(std::string_view text) {
  constexpr std::array<std::string_view, 9> kWords = {"null", "~",  "true", "false", "yes",
                                                      "no",   "on", "off",  ""};
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  if (std::ranges::find(kWords, lower) != kWords.end() || lower == "y" || lower == "n") {
    return true;
  }
  const std::string_view unsigned_part =
      lower.starts_with('-') || lower.starts_with('+') ? std::string_view(lower).substr(1) : lower;
  if (unsigned_part == ".inf" || unsigned_part == ".nan") {
    return true;
  }
  if (unsigned_part.starts_with("0x")) {
    return unsigned_part.size() > 2 &&
           unsigned_part.find_first_not_of("0123456789abcdef_", 2) == std::string_view::npos;
  }
  const bool has_digit = unsigned_part.find_first_of("0123456789") != std::string_view::npos;
  return has_digit && unsigned_part.find_first_not_of("0123456789._e+-o:") == std::string_view::npos &&
         unsigned_part.find('-') == std::string_view::npos && !unsigned_part.starts_with('e') &&
         !unsigned_part.starts_with('o') && !unsigned_part.starts_with(':');
}

/// The first thing that is refused; later events are only counted.
class Builder final : public YAML::EventHandler {
 public:
  struct Problem {
    std::size_t line;
    std::string why;
  };
  std::optional<Problem> problem;
  YamlNode root;

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) {
      fail(mark, "there is a second document; one file has one");
    }
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    refuse_anchor(mark, anchor);
    add({.kind = YamlNode::Kind::kNull, .line = line_of(mark)});
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override {
    fail(mark, "aliases (*name) are not supported; write the value again");
    add({.line = line_of(mark)});
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    refuse_anchor(mark, anchor);
    refuse_tag(mark, tag);
    add({.kind = YamlNode::Kind::kScalar,
         .line = line_of(mark),
         .text = value,
         .is_string = tag == "!" || !looks_like_another_type(value)});
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    begin(mark, tag, anchor, YamlNode::Kind::kList);
  }
  void OnSequenceEnd() override { end(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    begin(mark, tag, anchor, YamlNode::Kind::kMap);
  }
  void OnMapEnd() override { end(); }

 private:
  /// A list or map that is being read.
  struct Open {
    YamlNode node;
    std::optional<YamlNode> key = std::nullopt;  // of a map: read, and its value is not
    std::set<std::string> keys = {};
  };

  static std::size_t line_of(const YAML::Mark& mark) { return static_cast<std::size_t>(mark.line) + 1; }
  void fail(const YAML::Mark& mark, std::string why) { fail(line_of(mark), std::move(why)); }
  void fail(std::size_t line, std::string why) {
    if (!problem) {
      problem = Problem{line, std::move(why)};
    }
  }
  void refuse_anchor(const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) {
      fail(mark, "anchors (&name) are not supported; remove it");
    }
  }
  void refuse_tag(const YAML::Mark& mark, const std::string& tag) {
    if (!tag.empty() && tag != "?" && tag != "!") {  // "!": quoted
      fail(mark, "tags (!name) are not supported; remove it");
    }
  }

  void begin(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YamlNode::Kind kind) {
    refuse_anchor(mark, anchor);
    refuse_tag(mark, tag);
    open_.push_back({.node = {.kind = kind, .line = line_of(mark)}});
  }
  void end() {
    YamlNode node = std::move(open_.back().node);
    open_.pop_back();
    add(std::move(node));
  }

  void add(YamlNode node) {
    if (problem) {
      return;
    }
    if (open_.empty()) {
      root = std::move(node);
      return;
    }
    Open& open = open_.back();
    if (open.node.kind == YamlNode::Kind::kList) {
      open.node.items.push_back(std::move(node));
    } else if (!open.key) {
      add_key(open, std::move(node));
    } else {
      if (node.kind == YamlNode::Kind::kNull) {
        node.line = open.key->line;  // yaml-cpp has where the next thing begins
      }
      open.node.members.push_back({std::move(open.key->text), open.key->line, std::move(node)});
      open.key.reset();
    }
  }
  void add_key(Open& open, YamlNode key) {
    if (key.kind != YamlNode::Kind::kScalar) {
      fail(key.line, "a key must be a word");
    } else if (!open.keys.insert(key.text).second) {
      fail(key.line, "the key " + quoted(key.text) + " is there twice");
    }
    open.key = std::move(key);
  }

  std::vector<Open> open_;
  int documents_ = 0;
};

}  // namespace

const YamlNode* YamlNode::find(std::string_view key) const {
  const auto found = std::ranges::find(members, key, &Member::key);
  return found == members.end() ? nullptr : &found->value;
}

Result<YamlNode> parse_yaml(std::string_view text, std::string_view file_name) {
  const auto refused = [&](std::size_t line, const std::string& why) {
    return Error(Code::kInvalid, std::string(file_name) + ":" + std::to_string(line) + ": " + why);
  };
  if (const auto zero = text.find('\0'); zero != std::string_view::npos) {
    return refused(1 + static_cast<std::size_t>(std::ranges::count(text.substr(0, zero), '\n')),
                   "there is a NUL byte");
  }
  Builder builder;
  try {
    std::istringstream in{std::string(text)};
    YAML::Parser parser(in);
    while (!builder.problem && parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& e) {
    return refused(e.mark.is_null() ? 1 : static_cast<std::size_t>(e.mark.line) + 1,
                   "this is not YAML: " + e.msg);
  }
  if (builder.problem) {
    return refused(builder.problem->line, builder.problem->why);
  }
  return std::move(builder.root);
}

}  // namespace fairlead::policy
