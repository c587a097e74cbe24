// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/memory.h"

#include <malloc.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <sstream>
#include <string>

#include "fairlead/sys/files.h"

namespace fairlead::sys {

void release_startup_code() {
  const auto maps = read_file("/proc/self/maps");
  if (!maps) {
    return;  // nothing is lost but memory
  }
  std::istringstream lines(*maps);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    char dash = 0;
    std::string mode;
    std::string offset;
    std::string device;
    std::string inode;
    words >> std::hex >> begin >> dash >> end >> mode >> offset >> device >> inode;
    if (words && mode == "r-xp" && inode != "0") {
      // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast,performance-no-int-to-ptr): an address as
      // text
      (void)::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
    }
  }
}

void use_one_heap() {
#ifdef __GLIBC__
  (void)::mallopt(M_ARENA_MAX, 1);
#endif
}

}  // namespace fairlead::sys
