# SPDX-License-Identifier: Apache-2.0
# The installed package: find_package(fairlead) gives fairlead::dra and what it stands on.
include_guard()
