// SPDX-License-Identifier: Apache-2.0
// Return memory that a long-running process no longer needs.
#pragma once

namespace fairlead::sys {

/// Unmaps the resident pages of program code: most of them were used during start-up only (flags, TLS and
/// gRPC initialisation, dynamic linking) and would count as resident forever. Code that runs again is mapped
/// again from the page cache. Only read-only executable file mappings are affected, which hold no data
/// (madvise(2), MADV_DONTNEED). Any thread.
void release_startup_code();

/// One heap for all threads. glibc gives up to eight per processor to threads that allocate at the same time
/// (gRPC alone has dozens), and each heap keeps the memory of its peak. Must be called before the first
/// thread is started.
void use_one_heap();

}  // namespace fairlead::sys
