// SPDX-License-Identifier: Apache-2.0
// YAML as Kubernetes reads it (YAML 1.1 words: a plain yes, no, on, off, y, n is a bool), and the check of
// manifests against the known fields.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "drydock/cluster/api_error.h"
#include "drydock/cluster/kinds.h"
#include "fairlead/core/result.h"

namespace drydock {

struct YamlDocument {
  Json value;
  std::size_t number = 1;  // in the file, the first is 1
  /// Plain words that YAML 1.1 reads as bools, by path ("metadata.labels.zone" -> "no").
  std::map<std::string, std::string> bool_words;
};

/// Empty documents are left out. kInvalid: `document 2, line 14: key "name" is given twice`.
fairlead::Result<std::vector<YamlDocument>> parse_yaml(std::string_view text);
/// False for JSON text nested so deeply that only an attacker writes it.
bool nesting_is_sane(std::string_view json_text);

struct Manifest {
  const Kind* kind = nullptr;
  std::string ns;  // empty for cluster-scoped kinds
  Json object;
  std::string source;  // "pod.yaml, document 2 (Pod \"x\")"
};

/// All objects of a file, workloads already turned into their pods. kInvalid with one sentence.
fairlead::Result<std::vector<Manifest>> read_manifests(std::string_view yaml, std::string_view file);

}  // namespace drydock
