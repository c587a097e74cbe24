// SPDX-License-Identifier: Apache-2.0
// The part of the Common Expression Language that device selectors use (KEP-4381;
// dynamic-resource-allocation/cel): literals, operators, the ternary, in, has(), optional access (.?x, [?x],
// orValue), the macros all, exists, exists_one, filter, map and cel.bind, string functions, quantity() and
// semver() with their methods, and the variable `device` (driver, attributes, capacity,
// allowMultipleAllocations). An unknown attribute domain is an empty map; a missing attribute is a run-time
// error, as in Kubernetes.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "drydock/cluster/api_error.h"
#include "fairlead/core/result.h"

namespace drydock {

namespace cel {
struct Node;
}

/// One device of a ResourceSlice, as selectors see it. Borrows.
struct CelDevice {
  std::string_view driver;
  const Json& device;
};

/// A compiled selector: immutable, cheap to copy. Any thread may use it.
class CelProgram {
 public:
  /// kInvalid: `column 12: unexpected "&"`.
  static fairlead::Result<CelProgram> compile(std::string_view expression);
  /// kInvalid for a run-time error: `no such key: numaNode`.
  [[nodiscard]] fairlead::Result<bool> matches(const CelDevice& device) const;

 private:
  explicit CelProgram(std::shared_ptr<const cel::Node> root) : root_(std::move(root)) {}
  std::shared_ptr<const cel::Node> root_;
};

}  // namespace drydock
