// SPDX-License-Identifier: Apache-2.0
// What a write makes of an object, and what it may not contradict. Pure: for store.cc. Inside drydock_cluster only.
#pragma once

#include <string>
#include <string_view>

#include "drydock/cluster/api_error.h"
#include "drydock/cluster/kinds.h"
#include "drydock/cluster/store.h"

namespace drydock {

/// metadata.name; empty when absent.
std::string object_name(const Json& object);
/// The object without metadata and status.
Json spec_of(const Json& object);

/// 400: the kind, namespace or name (empty: any) in the object is not that of the URL.
ApiResult<> check_identity(const Kind& kind, std::string_view ns, std::string_view name, const Json& object);
/// 409: the UID or resourceVersion in the object is not that of the stored one.
ApiResult<> check_versions(const Kind& kind, std::string_view name, const Json& stored, const Json& object);
/// The first request with adminAccess, as a field path; empty when there is none.
std::string admin_request(const Kind& kind, const Json& object);

Json with_status_of(const Json& stored, const Json& object);
/// The object as written, with the server's own metadata and the status as stored.
Json with_spec_of(const Kind& kind, const Json& stored, Json object);

/// RFC 7386.
void merge_patch(Json& target, const Json& patch);
/// 400: a patch that does not apply.
ApiResult<Json> patched(const Json& stored, PatchType type, const Json& patch);

}  // namespace drydock
