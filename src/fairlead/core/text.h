// SPDX-License-Identifier: Apache-2.0
// Small text functions, and the rules for Kubernetes' names. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace fairlead {

/// The text between double quotes, unchanged.
std::string quoted(std::string_view text);
/// "a macvlan", "an ipvlan": by the first letter.
std::string with_article(std::string_view noun);
std::string joined(const std::vector<std::string>& words, std::string_view between = ", ");

/// RFC 1123 label, lower case: at most 63 letters, digits and "-", which neither begins nor ends it
/// (IsDNS1123Label of k8s.io/apimachinery/pkg/util/validation).
bool is_dns_label(std::string_view text);
/// Such parts joined by dots, at most `limit` bytes in all; a part has no limit of its own (IsDNS1123Subdomain).
bool is_dns_subdomain(std::string_view text, std::size_t limit = 253);
/// A Kubernetes UID: 1 to 63 letters, digits and "-", which does not begin it; never a path.
bool is_uid(std::string_view text);

}  // namespace fairlead
