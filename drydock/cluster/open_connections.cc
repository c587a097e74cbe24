// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/open_connections.h"

#include <sys/socket.h>

namespace drydock {

using fairlead::Lock;

int OpenConnections::slot() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, &OpenConnections::on_free);
  return index;
}

void OpenConnections::watch_over(SSL_CTX* context) {
  SSL_CTX_set_app_data(context, this);
  SSL_CTX_set_info_callback(context, &OpenConnections::on_info);
}

void OpenConnections::end_all() {
  const Lock lock(mutex_);
  ending_ = true;
  for (const auto& [ssl, socket] : sockets_) {
    (void)::shutdown(socket, SHUT_RDWR);
  }
}

void OpenConnections::welcome() {
  const Lock lock(mutex_);
  ending_ = false;
}

void OpenConnections::on_info(const SSL* ssl, int where, int /*value*/) {
  if ((where & SSL_CB_HANDSHAKE_START) == 0) {
    return;
  }
  auto* const self = static_cast<OpenConnections*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
  (void)SSL_set_ex_data(const_cast<SSL*>(ssl), slot(), self);  // OpenSSL's callback has no other form
  const Lock lock(self->mutex_);
  self->sockets_[ssl] = SSL_get_fd(ssl);
  if (self->ending_) {
    (void)::shutdown(SSL_get_fd(ssl), SHUT_RDWR);
  }
}

void OpenConnections::on_free(void* parent, void* self, CRYPTO_EX_DATA* /*data*/, int /*index*/,
                              long /*number*/, void* /*argument*/) {
  if (self != nullptr) {
    auto* const connections = static_cast<OpenConnections*>(self);
    const Lock lock(connections->mutex_);
    connections->sockets_.erase(static_cast<const SSL*>(parent));
  }
}

}  // namespace drydock
