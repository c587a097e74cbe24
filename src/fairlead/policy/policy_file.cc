// SPDX-License-Identifier: Apache-2.0
#include "fairlead/policy/policy_file.h"

#include <algorithm>
#include <vector>

#include "fairlead/core/text.h"
#include "fairlead/policy/yaml_tree.h"

namespace fairlead::policy {
namespace {

using Kind = YamlNode::Kind;

std::string_view word_for(const YamlNode& node) {
  switch (node.kind) {
    case Kind::kNull:
      return "nothing";
    case Kind::kScalar:
      return node.is_string ? "a string" : "a number or truth value";
    case Kind::kList:
      return "a list";
    case Kind::kMap:
      return "an object";
  }
  return "";
}

class Reader {
 public:
  explicit Reader(std::string_view file) : file_(file) {}

  Result<PolicyFile> read(const YamlNode& root) const {
    if (root.kind == Kind::kNull) {
      return at(1, "", "the file is empty; it needs apiVersion and kind at least");
    }
    FL_TRY(expect_map(root, ""));
    FL_TRY(only(root, "", {"apiVersion", "kind", "level", "namespaces", "bounds"}));
    FL_TRY(expect_word(root, "apiVersion", kApiVersion));
    FL_TRY(expect_word(root, "kind", "PolicyConfiguration"));
    PolicyFile file;
    if (const YamlNode* level = root.find("level")) {
      FL_ASSIGN(file.level, read_level(*level, "level"));
    }
    if (const YamlNode* namespaces = root.find("namespaces")) {
      FL_TRY(read_namespaces(*namespaces, file));
    }
    if (const YamlNode* bounds = root.find("bounds")) {
      FL_TRY(read_bounds(*bounds, file.bounds));
    }
    return file;
  }

 private:
  [[nodiscard]] Error at(std::size_t line, const std::string& path, const std::string& why) const {
    return {Code::kInvalid,
            file_ + ":" + std::to_string(line) + ": " + (path.empty() ? "" : path + ": ") + why};
  }

  [[nodiscard]] Result<> expect_map(const YamlNode& node, const std::string& path) const {
    if (node.kind != Kind::kMap) {
      return at(node.line, path, "must be an object, not " + std::string(word_for(node)));
    }
    return {};
  }

  [[nodiscard]] Result<std::string> read_string(const YamlNode& node, const std::string& path) const {
    if (node.kind != Kind::kScalar || !node.is_string) {
      return at(node.line, path,
                "must be a string, not " + std::string(word_for(node)) +
                    (node.kind == Kind::kScalar ? "; put quotes around it" : ""));
    }
    return node.text;
  }

  [[nodiscard]] Result<> only(const YamlNode& map, const std::string& path,
                              const std::vector<std::string_view>& keys) const {
    for (const auto& member : map.members) {
      if (std::ranges::find(keys, member.key) == keys.end()) {
        std::string known;
        for (const std::string_view key : keys) {
          known += (known.empty() ? "" : ", ") + std::string(key);
        }
        return at(member.line, below(path, member.key),
                  "this version does not know this field (it knows " + known + ")");
      }
    }
    return {};
  }

  [[nodiscard]] Result<> expect_word(const YamlNode& root, const std::string& key,
                                     std::string_view word) const {
    const YamlNode* node = root.find(key);
    if (node == nullptr) {
      return at(root.line, key, "this field is required: " + std::string(word));
    }
    FL_ASSIGN(const std::string text, read_string(*node, key));
    if (text != word) {
      return at(node->line, key, "must be " + std::string(word) + ", not " + quoted(text));
    }
    return {};
  }

  [[nodiscard]] Result<Level> read_level(const YamlNode& node, const std::string& path) const {
    FL_ASSIGN(const std::string word, read_string(node, path));
    const auto level = parse_level(word);
    if (!level) {
      return at(node.line, path, "must be restricted, baseline or privileged, not " + quoted(word));
    }
    return *level;
  }

  [[nodiscard]] Result<> read_namespaces(const YamlNode& node, PolicyFile& file) const {
    FL_TRY(expect_map(node, "namespaces"));
    for (const auto& member : node.members) {
      const std::string path = below("namespaces", member.key);
      if (!is_dns_label(member.key)) {
        return at(member.line, path,
                  quoted(member.key) + " cannot be the name of a namespace; names are exact");
      }
      FL_TRY(expect_map(member.value, path));
      FL_TRY(only(member.value, path, {"level"}));
      const YamlNode* level = member.value.find("level");
      if (level == nullptr) {
        return at(member.line, path + ".level", "this field is required");
      }
      FL_ASSIGN(file.namespaces[member.key], read_level(*level, path + ".level"));
    }
    return {};
  }

  [[nodiscard]] Result<> read_bounds(const YamlNode& node, Bounds& bounds) const {
    FL_TRY(expect_map(node, "bounds"));
    FL_TRY(only(node, "bounds", {kBoundKeys.begin(), kBoundKeys.end()}));
    for (const auto& member : node.members) {
      const std::string path = below("bounds", member.key);
      const YamlNode& list = member.value;
      if (list.kind != Kind::kList) {
        return at(list.line, path, "must be a list, not " + std::string(word_for(list)));
      }
      if (list.items.size() > kMaxBoundItems) {
        return at(list.line, path, "must have at most " + std::to_string(kMaxBoundItems) + " items");
      }
      std::vector<std::string> items;
      for (const YamlNode& item : list.items) {
        FL_ASSIGN(items.emplace_back(), read_string(item, item_of(path, items.size())));
      }
      if (const auto bad = set_bound(bounds, member.key, items)) {
        return at(list.items[bad->at].line, item_of(path, bad->at), bad->why);
      }
    }
    return {};
  }

  static std::string below(const std::string& path, const std::string& key) {
    return path.empty() ? key : path + "." + key;
  }
  static std::string item_of(const std::string& path, std::size_t index) {
    return path + "[" + std::to_string(index) + "]";
  }

  std::string file_;
};

}  // namespace

Result<PolicyFile> parse_policy_file(std::string_view text, std::string_view file_name) {
  if (text.size() > kMaxPolicyFile) {
    return Error(Code::kInvalid, std::string(file_name) + ":1: the file has " + std::to_string(text.size()) +
                                     " bytes; at most " + std::to_string(kMaxPolicyFile) + " are read");
  }
  FL_ASSIGN(const YamlNode root, parse_yaml(text, file_name));
  return Reader(file_name).read(root);
}

Level Policy::level_of(std::string_view claim_namespace) const {
  const auto found = file.namespaces.find(claim_namespace);
  return found != file.namespaces.end() ? found->second : file.level.value_or(flag);
}

}  // namespace fairlead::policy
