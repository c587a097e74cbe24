// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/testing/tls_test_files.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <array>
#include <cstdio>
#include <cstdlib>

namespace fairlead::kube::testing {
namespace {

struct Free {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(BIO* bio) const { BIO_free_all(bio); }
  void operator()(X509_EXTENSION* extension) const { X509_EXTENSION_free(extension); }
};
using Key = std::unique_ptr<EVP_PKEY, Free>;
using Certificate = std::unique_ptr<X509, Free>;

void must(bool ok) {
  if (!ok) {
    (void)std::fputs("making a test certificate failed\n", stderr);
    std::abort();
  }
}

Key make_key() {
  Key key(EVP_EC_gen("P-256"));
  must(key != nullptr);
  return key;
}

void add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, Free> extension(
      X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  must(extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1);
}

/// Without signature and extensions.
Certificate make_certificate(const std::string& common_name, EVP_PKEY* key) {
  Certificate certificate(X509_new());
  must(certificate != nullptr && X509_set_version(certificate.get(), X509_VERSION_3) == 1);
  std::array<unsigned char, 8> serial{};
  must(RAND_bytes(serial.data(), static_cast<int>(serial.size())) == 1);
  std::uint64_t number = 0;
  for (const unsigned char byte : serial) {
    number = (number << 8U) | byte;
  }
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate.get()), number >> 1U);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 24L * 3600);
  X509_set_pubkey(certificate.get(), key);
  must(X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_UTF8,
                                  reinterpret_cast<const unsigned char*>(common_name.c_str()), -1, -1,
                                  0) == 1);
  return certificate;
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

std::string pem_of(X509* certificate) {
  const std::unique_ptr<BIO, Free> bio(BIO_new(BIO_s_mem()));
  must(PEM_write_bio_X509(bio.get(), certificate) == 1);
  return text_of(bio.get());
}

std::string pem_of(EVP_PKEY* key) {
  const std::unique_ptr<BIO, Free> bio(BIO_new(BIO_s_mem()));
  must(PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
  return text_of(bio.get());
}

}  // namespace

struct TestCa::Impl {
  Key key = make_key();
  Certificate certificate;
  std::string pem;
};

TestCa::TestCa(const std::string& name) : impl_(std::make_unique<Impl>()) {
  impl_->certificate = make_certificate(name, impl_->key.get());
  X509* const own = impl_->certificate.get();
  X509_set_issuer_name(own, X509_get_subject_name(own));
  add_extension(own, own, NID_basic_constraints, "critical,CA:TRUE");
  add_extension(own, own, NID_key_usage, "critical,keyCertSign");
  add_extension(own, own, NID_subject_key_identifier, "hash");
  must(X509_sign(own, impl_->key.get(), EVP_sha256()) > 0);
  impl_->pem = pem_of(own);
}

TestCa::~TestCa() = default;

const std::string& TestCa::certificate() const { return impl_->pem; }

CertificateAndKey TestCa::issue(const std::string& common_name, const std::string& alternative_names) const {
  const Key key = make_key();
  const Certificate certificate = make_certificate(common_name, key.get());
  X509* const own = certificate.get();
  X509_set_issuer_name(own, X509_get_subject_name(impl_->certificate.get()));
  add_extension(own, impl_->certificate.get(), NID_ext_key_usage, "serverAuth,clientAuth");
  if (!alternative_names.empty()) {
    add_extension(own, impl_->certificate.get(), NID_subject_alt_name, alternative_names);
  }
  must(X509_sign(own, impl_->key.get(), EVP_sha256()) > 0);
  return {.certificate = pem_of(own), .key = pem_of(key.get())};
}

}  // namespace fairlead::kube::testing
