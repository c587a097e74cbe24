// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/manifest.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <set>
#include <sstream>

#include "drydock/cluster/field_check.h"
#include "drydock/cluster/schema.h"

namespace drydock {
namespace {

using fairlead::Code;
using fairlead::Error;
using fairlead::Result;

constexpr int kMaxDepth = 100;
constexpr std::size_t kMaxNodes = 200'000;  // aliases count each time they are used

std::string in_quotes(std::string_view text) { return "\"" + std::string(text) + "\""; }

bool one_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::ranges::find(words, word) != words.end();
}

std::optional<bool> yaml_bool(std::string_view word) {
  if (one_of(word, {"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})) {
    return true;
  }
  if (one_of(word, {"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"})) {
    return false;
  }
  return std::nullopt;
}

/// 12, 0x1f, 0b1, 0o17 and (YAML 1.1) 017; underscores may stand between digits.
std::optional<Json> yaml_integer(std::string_view word) {
  std::string text;
  std::ranges::copy_if(word, std::back_inserter(text), [](char c) { return c != '_'; });
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) {
    text.erase(0, 1);
  }
  int base = 10;
  std::size_t skip = 0;
  if (text.starts_with("0x")) {
    base = 16;
    skip = 2;
  } else if (text.starts_with("0b")) {
    base = 2;
    skip = 2;
  } else if (text.starts_with("0o")) {
    base = 8;
    skip = 2;
  } else if (text.size() > 1 && text[0] == '0') {
    base = 8;
    skip = 1;
  }
  if (text.size() == skip || text[skip] < '0' || text[skip] > 'f') {
    return std::nullopt;
  }
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data() + skip, end, value, base);
  if (parsed.ec != std::errc() || parsed.ptr != end) {
    return std::nullopt;
  }
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (value > kMax) {
    return negative ? std::nullopt : std::optional(Json(value));
  }
  return Json(negative ? -static_cast<std::int64_t>(value) : static_cast<std::int64_t>(value));
}

std::optional<Json> yaml_float(std::string_view word) {
  const bool plausible =
      !word.empty() && word.find_first_not_of("+-.0123456789eE") == std::string_view::npos &&
      word.find_first_of("0123456789") != std::string_view::npos && word[0] != 'e' && word[0] != 'E';
  if (!plausible) {
    return std::nullopt;
  }
  const std::string_view text = word[0] == '+' ? word.substr(1) : word;
  double value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || !std::isfinite(value)) {
    return std::nullopt;
  }
  return Json(value);
}

/// One YAML document into JSON.
class Converter {
 public:
  explicit Converter(YamlDocument& out) : out_(out) {}

  Result<Json> convert(const YAML::Node& node, const std::string& path, int depth) {
    if (depth > kMaxDepth || ++nodes_ > kMaxNodes) {
      return at(node, "nested too deeply or too large");
    }
    switch (node.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null:
        return Json();
      case YAML::NodeType::Scalar:
        return scalar(node, path);
      case YAML::NodeType::Sequence:
        return sequence(node, path, depth);
      case YAML::NodeType::Map:
        return map(node, path, depth);
    }
    return Json();
  }

 private:
  [[nodiscard]] Error at(const YAML::Node& node, const std::string& what) const {
    return {Code::kInvalid, "document " + std::to_string(out_.number) + ", line " +
                                std::to_string(node.Mark().line + 1) + ": " + what};
  }

  Result<Json> scalar(const YAML::Node& node, const std::string& path) {
    const std::string& word = node.Scalar();
    const std::string& tag = node.Tag();
    if (tag != "?" &&
        !tag.empty()) {  // quoted ("!") or an explicit tag: a string, !!int and the like are not used
      return Json(word);
    }
    if (one_of(word, {"", "~", "null", "Null", "NULL"})) {
      return Json();
    }
    if (const auto truth = yaml_bool(word)) {
      if (word != "true" && word != "false") {
        out_.bool_words[path] = word;
      }
      return Json(*truth);
    }
    if (auto integer = yaml_integer(word)) {
      return std::move(*integer);
    }
    if (auto real = yaml_float(word)) {
      return std::move(*real);
    }
    return Json(word);
  }

  Result<Json> sequence(const YAML::Node& node, const std::string& path, int depth) {
    Json list = Json::array();
    for (std::size_t i = 0; i < node.size(); ++i) {
      FL_ASSIGN(Json value, convert(node[i], path + "." + std::to_string(i), depth + 1));
      list.push_back(std::move(value));
    }
    return list;
  }

  Result<Json> map(const YAML::Node& node, const std::string& path, int depth) {
    Json object = Json::object();
    Json merged = Json::object();
    for (const auto& entry : node) {
      if (!entry.first.IsScalar()) {
        return at(entry.first, "a key must be a plain word");
      }
      // A key is always text, whatever word it is (on: is "on" here; Kubernetes' reader makes it "true").
      const std::string& key = entry.first.Scalar();
      if (object.contains(key)) {
        return at(entry.first, "key " + in_quotes(key) + " is given twice");
      }
      FL_ASSIGN(Json value, convert(entry.second, join(path, key), depth + 1));
      if (key == "<<" && entry.first.Tag() == "?") {
        merge(merged, value);
      } else {
        object[key] = std::move(value);
      }
    }
    merged.update(object);
    return merged;
  }

  static std::string join(std::string path, const std::string& key) {
    path += path.empty() ? "" : ".";
    return path += key;
  }

  static void merge(Json& into, const Json& value) {
    if (value.is_object()) {
      into.update(value);
      return;
    }
    for (const Json& one : value) {
      if (one.is_object()) {
        into.update(one);
      }
    }
  }

  YamlDocument& out_;
  std::size_t nodes_ = 0;
};

/// "a[0][b]" and "a.0.b" are the same place.
std::string plain_path(std::string_view path) {
  std::string out;
  for (const char c : path) {
    if (c != ']') {
      out.push_back(c == '[' ? '.' : c);
    }
  }
  return out;
}

std::string bool_hint(const YamlDocument& document, const std::string& path) {
  const auto it = document.bool_words.find(plain_path(path));
  if (it == document.bool_words.end()) {
    return "";
  }
  return "; YAML reads the plain word " + it->second + " as a bool, write " + in_quotes(it->second) +
         " in quotes";
}

constexpr std::array<std::string_view, 4> kWorkloads{"Deployment", "ReplicaSet", "DaemonSet", "Job"};

bool is_workload(std::string_view version, std::string_view kind) {
  return std::ranges::find(kWorkloads, kind) != kWorkloads.end() &&
         version == (kind == "Job" ? "batch/v1" : "apps/v1");
}

std::string unknown_kind(const std::string& version, const std::string& kind) {
  std::vector<std::string_view> words(kWorkloads.begin(), kWorkloads.end());
  for (const Kind* known : all_kinds()) {
    if (known->name == kind) {
      return "kind " + kind + " is in " + known->api_version() + ", not " +
             (version.empty() ? "(no apiVersion)" : version);
    }
    words.push_back(known->name);
  }
  if (std::ranges::find(words, kind) != words.end()) {
    return "kind " + kind + " is in " + (kind == "Job" ? "batch/v1" : "apps/v1") + ", not " + version;
  }
  if (const auto nearest = nearest_word(kind, words)) {
    return "kind: unknown kind " + in_quotes(kind) + ", did you mean " + in_quotes(*nearest) + "?";
  }
  return "kind " + kind + " (" + version +
         ") is not supported by drydock; it accepts Pod, Deployment, ReplicaSet, DaemonSet, Job, "
         "ResourceClaim, ResourceClaimTemplate, DeviceClass, ResourceSlice, Namespace, ConfigMap, "
         "ServiceAccount, Node and RBAC kinds";
}

class Reader {
 public:
  explicit Reader(std::string_view file) : file_(file) {}

  Result<> read(const YamlDocument& document, const Json& object) {
    std::string where = std::string(file_) + ", document " + std::to_string(document.number);
    if (!object.is_object()) {
      return Error(Code::kInvalid, where + ": must be an object, not " + std::string(describe_type(object)));
    }
    const std::string kind = text_at(object, "kind");
    const std::string version = text_at(object, "apiVersion");
    if (kind.empty()) {
      return Error(Code::kInvalid, where + ": kind: Required value");
    }
    if (kind == "List" && version == "v1") {
      return read_list(document, object);
    }
    const std::string name = text_at(value_at(object, "metadata"), "name");
    where += " (" + kind + (name.empty() ? "" : " " + in_quotes(name)) + ")";
    const Kind* known = find_kind(version, kind);
    if (known == nullptr && !is_workload(version, kind)) {
      return Error(Code::kInvalid, where + ": " + unknown_kind(version, kind));
    }
    for (const FieldProblem& problem : check_fields(kind, object)) {
      return Error(Code::kInvalid,
                   where + ": " + problem.path + ": " + problem.message + bool_hint(document, problem.path));
    }
    if (known != nullptr) {
      add(*known, object, where);
      return {};
    }
    return expand(kind, object, where);
  }
  std::vector<Manifest> manifests;

 private:
  Result<> read_list(const YamlDocument& document, const Json& object) {
    for (const Json& one : value_at(object, "items")) {
      FL_TRY(read(document, one));
    }
    return {};
  }

  void add(const Kind& kind, Json object, const std::string& where) {
    std::string ns;
    if (kind.namespaced) {
      ns = text_at(value_at(object, "metadata"), "namespace");
      ns = ns.empty() ? "default" : ns;
      object["metadata"]["namespace"] = ns;
    }
    manifests.push_back({&kind, std::move(ns), std::move(object), where});
  }

  /// One pod a replica, named <workload>-<number>: a stand-in for the workload's controller.
  Result<> expand(const std::string& kind, const Json& object, const std::string& where) {
    const Json& spec = value_at(object, "spec");
    const Json& pod_template = value_at(spec, "template");
    const std::string name = text_at(value_at(object, "metadata"), "name");
    if (name.empty() || !pod_template.is_object()) {
      return Error(Code::kInvalid,
                   where + (name.empty() ? ": metadata.name" : ": spec.template") + ": Required value");
    }
    const char* const count_key = kind == "Job" ? "completions" : "replicas";
    const Json& count = value_at(spec, count_key);
    const std::int64_t replicas = kind == "DaemonSet" || count.is_null() ? 1 : count.get<std::int64_t>();
    if (replicas < 0 || replicas > 1000) {
      return Error(Code::kInvalid, where + ": spec." + count_key + ": must be from 0 to 1000, not " +
                                       std::to_string(replicas));
    }
    for (std::int64_t i = 0; i < replicas; ++i) {
      Json pod = {{"apiVersion", "v1"},
                  {"kind", "Pod"},
                  {"metadata", value_at(pod_template, "metadata")},
                  {"spec", value_at(pod_template, "spec")}};
      if (!pod["metadata"].is_object()) {
        pod["metadata"] = Json::object();
      }
      pod["metadata"]["name"] = name + "-" + std::to_string(i);
      if (const std::string ns = text_at(value_at(object, "metadata"), "namespace"); !ns.empty()) {
        pod["metadata"]["namespace"] = ns;
      }
      add(kinds::kPod, std::move(pod), where);
    }
    return {};
  }

  std::string_view file_;
};

}  // namespace

Result<std::vector<YamlDocument>> parse_yaml(std::string_view text) {
  std::vector<YamlDocument> documents;
  try {
    std::size_t number = 0;
    for (const YAML::Node& node : YAML::LoadAll(std::string(text))) {
      YamlDocument document;
      document.number = ++number;
      FL_ASSIGN(document.value, Converter(document).convert(node, "", 0));
      if (!document.value.is_null()) {
        documents.push_back(std::move(document));
      }
    }
  } catch (const YAML::Exception& problem) {
    return Error(Code::kInvalid, "line " + std::to_string(problem.mark.line + 1) + ", column " +
                                     std::to_string(problem.mark.column + 1) + ": " + problem.msg);
  }
  return documents;
}

bool nesting_is_sane(std::string_view json_text) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < json_text.size(); ++i) {
    const char c = json_text[i];
    if (in_string) {
      i += c == '\\' ? 1U : 0U;
      in_string = c != '"';
      continue;
    }
    in_string = c == '"';
    depth += c == '{' || c == '[' ? 1 : 0;
    depth -= c == '}' || c == ']' ? 1 : 0;
    if (depth > kMaxDepth) {
      return false;
    }
  }
  return true;
}

Result<std::vector<Manifest>> read_manifests(std::string_view yaml, std::string_view file) {
  FL_ASSIGN(const std::vector<YamlDocument> documents, parse_yaml(yaml), std::string(file));
  Reader reader(file);
  for (const YamlDocument& document : documents) {
    FL_TRY(reader.read(document, document.value));
  }
  return std::move(reader.manifests);
}

}  // namespace drydock
