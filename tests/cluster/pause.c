// SPDX-License-Identifier: Apache-2.0
// Does nothing, as process 1 should: waits, buries orphans, ends on SIGTERM. The sandboxes of the test cluster's pods run it, its
// node does, and test pods that only have to be there.
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

static void stop(int number) {
  (void)number;
  _exit(0);
}

static void bury(int number) {
  (void)number;
  while (waitpid(-1, NULL, WNOHANG) > 0) {
  }
}

int main(void) {
  signal(SIGTERM, stop);
  signal(SIGINT, stop);
  signal(SIGCHLD, bury);
  bury(0);
  for (;;) {
    pause();
  }
}
