// SPDX-License-Identifier: Apache-2.0
// The TLS connections of a server that are open now. Inside drydock_cluster only.
#pragma once

#include <openssl/ssl.h>

#include <map>

#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"

namespace drydock {

/// The open connections, so that a stop can end idle ones: httplib would wait for them until their keep-alive
/// time is over. A connection is in here from the start of its handshake until its SSL object goes, which is
/// before its socket is closed: the descriptor cannot be another's.
class OpenConnections : private fairlead::Pinned {
 public:
  OpenConnections() = default;

  /// Of a server with this context; must outlive it.
  void watch_over(SSL_CTX* context);
  /// Ends those that there are, and at once those that come, until welcome().
  void end_all();
  void welcome();

 private:
  static int slot();
  static void on_info(const SSL* ssl, int where, int value);
  static void on_free(void* parent, void* self, CRYPTO_EX_DATA* data, int index, long number, void* argument);

  fairlead::Mutex mutex_;
  std::map<const SSL*, int> sockets_ FL_GUARDED_BY(mutex_);
  bool ending_ FL_GUARDED_BY(mutex_) = false;
};

}  // namespace drydock
