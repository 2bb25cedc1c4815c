// What the hand-written TLS programs share.
#pragma once
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cstdio>
#include <cstdlib>

[[noreturn]] inline void die_tls(const char* what) {
  fprintf(stderr, "%s: ", what);
  ERR_print_errors_fp(stderr);
  exit(1);
}
// Same settings as what the libraries in comparison make of a server: no certificate is asked for, tickets as OpenSSL's defaults have them.
// read_ahead takes a record, or several, with one recv instead of one for the header and one for the rest.
inline SSL_CTX* server_context(const char* chain, const char* key, bool release_buffers) {
  SSL_CTX* c = SSL_CTX_new(TLS_server_method());
  if (!c || SSL_CTX_use_certificate_chain_file(c, chain) != 1 || SSL_CTX_use_PrivateKey_file(c, key, SSL_FILETYPE_PEM) != 1) die_tls("server context");
  SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
  SSL_CTX_set_read_ahead(c, 1);
  SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | (release_buffers ? SSL_MODE_RELEASE_BUFFERS : 0));
  return c;
}
