// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cstdint>

namespace drydock {
namespace {

using fairlead::Code;
using fairlead::Error;
using fairlead::Result;
using Key = std::shared_ptr<EVP_PKEY>;
using Certificate = std::shared_ptr<X509>;

constexpr long kValidSeconds = 365L * 24 * 3600;
constexpr long kClockSkewSeconds = 3600;

Error failed(const std::string& step) {
  std::array<char, 256> text{};
  ::ERR_error_string_n(::ERR_get_error(), text.data(), text.size());
  return {Code::kInternal, step + ": " + text.data()};
}

Result<Key> new_key() {
  Key key(EVP_EC_gen("P-256"), &EVP_PKEY_free);
  if (!key) {
    return failed("make a P-256 key");
  }
  return key;
}

bool add_extension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context{};
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> extension(
      X509V3_EXT_conf_nid(nullptr, &context, nid, value), &X509_EXTENSION_free);
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool set_random_serial(X509* certificate) {
  std::array<unsigned char, 8> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) {
    return false;
  }
  std::uint64_t serial = 0;
  for (const unsigned char byte : bytes) {
    serial = (serial << 8U) | byte;
  }
  return ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1U) == 1;
}

Result<Certificate> new_certificate(const char* name, EVP_PKEY* key) {
  Certificate certificate(X509_new(), &X509_free);
  X509* const x = certificate.get();
  if (x == nullptr || X509_set_version(x, X509_VERSION_3) != 1 || !set_random_serial(x)) {
    return failed("make a certificate");
  }
  X509_gmtime_adj(X509_getm_notBefore(x), -kClockSkewSeconds);
  X509_gmtime_adj(X509_getm_notAfter(x), kValidSeconds);
  std::array<unsigned char, 64> text{};
  const std::string_view view(name);
  std::ranges::copy(view, text.begin());
  if (X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8, text.data(),
                                 static_cast<int>(view.size()), -1, 0) != 1 ||
      X509_set_pubkey(x, key) != 1) {
    return failed("fill in a certificate");
  }
  return certificate;
}

Result<Certificate> sign_ca(EVP_PKEY* key) {
  FL_ASSIGN(const Certificate ca, new_certificate("drydock-ca", key));
  X509* const x = ca.get();
  if (X509_set_issuer_name(x, X509_get_subject_name(x)) != 1 ||
      !add_extension(x, x, NID_basic_constraints, "critical,CA:TRUE") ||
      !add_extension(x, x, NID_key_usage, "critical,keyCertSign,cRLSign") ||
      !add_extension(x, x, NID_subject_key_identifier, "hash") || X509_sign(x, key, EVP_sha256()) == 0) {
    return failed("sign the CA certificate");
  }
  return ca;
}

Result<Certificate> sign_server(EVP_PKEY* key, X509* ca, EVP_PKEY* ca_key) {
  FL_ASSIGN(const Certificate server, new_certificate("drydock-apiserver", key));
  X509* const x = server.get();
  if (X509_set_issuer_name(x, X509_get_subject_name(ca)) != 1 ||
      !add_extension(x, ca, NID_basic_constraints, "critical,CA:FALSE") ||
      !add_extension(x, ca, NID_key_usage, "critical,digitalSignature") ||
      !add_extension(x, ca, NID_ext_key_usage, "serverAuth") ||
      !add_extension(x, ca, NID_authority_key_identifier, "keyid") ||
      !add_extension(x, ca, NID_subject_alt_name, "IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc") ||
      X509_sign(x, ca_key, EVP_sha256()) == 0) {
    return failed("sign the server certificate");
  }
  return server;
}

Result<std::string> to_pem(X509* certificate) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> memory(BIO_new(BIO_s_mem()), &BIO_free);
  if (!memory || PEM_write_bio_X509(memory.get(), certificate) != 1) {
    return failed("write the CA certificate");
  }
  char* data = nullptr;
  const long size = BIO_get_mem_data(memory.get(), &data);
  return std::string(data, static_cast<std::size_t>(size));
}

}  // namespace

Result<TlsIdentity> make_tls_identity() {
  FL_ASSIGN(const Key ca_key, new_key());
  FL_ASSIGN(const Key server_key, new_key());
  FL_ASSIGN(const Certificate ca, sign_ca(ca_key.get()));
  FL_ASSIGN(const Certificate server, sign_server(server_key.get(), ca.get(), ca_key.get()));
  FL_ASSIGN(std::string pem, to_pem(ca.get()));
  return TlsIdentity{.ca_pem = std::move(pem), .certificate = server, .key = server_key};
}

std::string base64(const std::string& data) {
  std::string in = data;
  std::string out(4 * ((data.size() + 2) / 3) + 1, '\0');
  std::basic_string<unsigned char> bytes(in.begin(), in.end());
  std::basic_string<unsigned char> encoded(out.size(), 0);
  const int size = EVP_EncodeBlock(encoded.data(), bytes.data(), static_cast<int>(bytes.size()));
  return {encoded.begin(), encoded.begin() + size};
}

}  // namespace drydock
