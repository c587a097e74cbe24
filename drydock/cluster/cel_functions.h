// SPDX-License-Identifier: Apache-2.0
// The operators, functions and methods of the expression language on values that are known. Inside drydock_cluster
// only.
#pragma once

#include <string>
#include <vector>

#include "drydock/cluster/cel_value.h"

namespace drydock::cel {

/// "<", "<=", ">", ">=".
fairlead::Result<Value> ordered(const std::string& sign, const Value& left, const Value& right);
/// left in right
fairlead::Result<Value> contained(const Value& left, const Value& right);
/// "+", "-", "*", "/", "%".
fairlead::Result<Value> arithmetic(const std::string& sign, const Value& left, const Value& right);

/// int, double, string, isQuantity, quantity, isSemver, semver.
fairlead::Result<Value> convert(const std::string& name, const Value& value);
fairlead::Result<Value> size(const Value& value);
fairlead::Result<Value> matches(const Value& text, const Value& pattern);

/// target.name(arguments): the number of arguments was checked (check()).
fairlead::Result<Value> optional_method(const std::string& name, const Value& target,
                                        const std::vector<Value>& arguments);
fairlead::Result<Value> string_method(const std::string& name, const std::string& text,
                                      const std::vector<Value>& arguments);
/// Of quantities and semantic versions.
fairlead::Result<Value> ordered_method(const std::string& name, const Value& target,
                                       const std::vector<Value>& arguments);

}  // namespace drydock::cel
