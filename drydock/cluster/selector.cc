// SPDX-License-Identifier: Apache-2.0
// Field and label selectors.
#include <algorithm>
#include <array>

#include "drydock/cluster/field_check.h"
#include "drydock/cluster/selector.h"

namespace drydock {
namespace {

std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') {
    text.remove_prefix(1);
  }
  while (!text.empty() && text.back() == ' ') {
    text.remove_suffix(1);
  }
  return text;
}

std::optional<Requirement> parse_one(std::string_view text) {
  using Op = Requirement::Op;
  for (const auto& [sign, op] : {std::pair{"!=", Op::kNotEquals}, {"==", Op::kEquals}, {"=", Op::kEquals}}) {
    const auto at = text.find(sign);
    if (at != std::string_view::npos) {
      return Requirement{.path = std::string(trim(text.substr(0, at))),
                         .value = std::string(trim(text.substr(at + std::string_view(sign).size()))),
                         .op = op};
    }
  }
  return std::nullopt;
}

bool field_known(const Kind& kind, std::string_view path) {
  if (path == "metadata.name" || (path == "metadata.namespace" && kind.namespaced)) {
    return true;
  }
  if (&kind == &kinds::kResourceSlice) {
    return path == "spec.nodeName" || path == "spec.driver" || path == "spec.pool.name";
  }
  if (&kind == &kinds::kPod) {
    return path == "spec.nodeName" || path == "status.phase" || path == "spec.restartPolicy" ||
           path == "spec.serviceAccountName";
  }
  if (&kind == &kinds::kEvent) {
    return path.starts_with("involvedObject.") || path == "reason" || path == "type" || path == "source";
  }
  return &kind == &kinds::kNamespace && path == "status.phase";
}

std::string field_value(const Json& object, std::string_view path) {
  const Json* at = &object;
  while (true) {
    const auto dot = path.find('.');
    at = &value_at(*at, path.substr(0, dot));
    if (dot == std::string_view::npos) {
      return at->is_string() ? at->get<std::string>() : "";
    }
    path.remove_prefix(dot + 1);
  }
}

bool matches_one(const Requirement& rule, bool present, const std::string& value) {
  switch (rule.op) {
    case Requirement::Op::kEquals:
      return present && value == rule.value;
    case Requirement::Op::kNotEquals:
      return !present || value != rule.value;
    case Requirement::Op::kExists:
      return present;
    case Requirement::Op::kNotExists:
      return !present;
  }
  return false;
}

template <class Take>
void for_each_term(std::string_view text, Take take) {
  while (!text.empty()) {
    const auto comma = text.find(',');
    if (const std::string_view term = trim(text.substr(0, comma)); !term.empty()) {
      take(term);
    }
    if (comma == std::string_view::npos) {
      return;
    }
    text.remove_prefix(comma + 1);
  }
}

}  // namespace

ApiResult<std::vector<Requirement>> parse_field_selector(const Kind& kind, std::string_view text) {
  std::vector<Requirement> rules;
  std::string problem;
  for_each_term(text, [&](std::string_view term) {
    auto rule = parse_one(term);
    if (!rule) {
      problem = "invalid selector: '" + std::string(text) + "'; can't understand '" + std::string(term) + "'";
    } else if (!field_known(kind, rule->path)) {
      problem = "field label not supported: " + rule->path;
    } else {
      rules.push_back(std::move(*rule));
    }
  });
  if (!problem.empty()) {
    return ApiError::bad_request(std::move(problem));
  }
  return rules;
}

ApiResult<std::vector<Requirement>> parse_label_selector(std::string_view text) {
  if (text.find('(') != std::string_view::npos) {
    return ApiError::bad_request("labelSelector: sets (in, notin) are not supported by drydock: " +
                                 std::string(text));
  }
  std::vector<Requirement> rules;
  for_each_term(text, [&](std::string_view term) {
    if (auto rule = parse_one(term)) {
      rules.push_back(std::move(*rule));
    } else if (term.front() == '!') {
      rules.push_back({std::string(term.substr(1)), "", Requirement::Op::kNotExists});
    } else {
      rules.push_back({std::string(term), "", Requirement::Op::kExists});
    }
  });
  return rules;
}

bool selects(const ListQuery& query, const Json& object) {
  const Json& metadata = value_at(object, "metadata");
  if (!query.ns.empty() && text_at(metadata, "namespace") != query.ns) {
    return false;
  }
  const Json& labels = value_at(metadata, "labels");
  return std::ranges::all_of(query.selector.fields,
                             [&](const Requirement& rule) {
                               return matches_one(rule, true, field_value(object, rule.path));
                             }) &&
         std::ranges::all_of(query.selector.labels, [&](const Requirement& rule) {
           return matches_one(rule, labels.contains(rule.path), text_at(labels, rule.path));
         });
}

}  // namespace drydock
