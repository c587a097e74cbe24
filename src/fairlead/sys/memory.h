// SPDX-License-Identifier: Apache-2.0
// What a long-running process may give back.
#pragma once

namespace fairlead::sys {

/// Unmaps the pages of program code that are resident now: most of them served start-up only (flags, TLS and
/// gRPC initialisation, dynamic linking) and would count as resident for ever. Code that runs again is mapped
/// again from the page cache. Only read-only executable file mappings are touched, which hold no data
/// (madvise(2), MADV_DONTNEED). Any thread.
void release_startup_code();

/// One heap for all threads. glibc gives up to eight per processor to threads that allocate at the same time
/// (gRPC alone has dozens), and each keeps what its busiest moment took. To be called before the first
/// thread.
void use_one_heap();

}  // namespace fairlead::sys
