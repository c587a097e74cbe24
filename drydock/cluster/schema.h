// SPDX-License-Identifier: Apache-2.0
// The fields of the objects that drydock knows, as one table (schema.cc). It serves the strict reading of
// manifests (unknown field, did you mean ...), the API server's dropping of unknown fields, its type errors
// and the canonical text of quantities.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "drydock/cluster/api_error.h"

namespace drydock {

struct FieldProblem {
  enum class Type : std::uint8_t { kUnknown, kWrongType } type = Type::kUnknown;
  std::string path;     // "spec.containers[0].imagee"
  std::string message;  // "unknown field, did you mean \"image\"?"
};

/// `type` is a kind or a struct of the table, such as "Pod" or "Deployment".
bool schema_knows(std::string_view type);
/// Every unknown field and every value of a wrong type, in document order.
std::vector<FieldProblem> check_fields(std::string_view type, const Json& object);
/// What the API server does to what it takes in: drops unknown fields and nulls, writes quantities
/// canonically. Answers the first value of a wrong type.
std::optional<FieldProblem> normalise_fields(std::string_view type, Json& object);

/// The word of `words` nearest to `word`, when it is near enough to be what was meant.
std::optional<std::string> nearest_word(std::string_view word, const std::vector<std::string_view>& words);
/// "a string", "an object": for messages about a value.
std::string_view describe_type(const Json& value);

}  // namespace drydock
