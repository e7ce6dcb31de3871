/*
 * The one door to libssl and libcrypto. Swift imports functions but no function-like macros, so the
 * wrappers for those stand in the two headers below as inline functions:
 *   dtls_shim.h   contexts, handshakes, the datagram BIO, record protection
 *   x509_shim.h   keys, certificates, revocation lists
 * No feature macro (_GNU_SOURCE and its kind) may be defined here: every clang module that Swift sees
 * together with this one has to agree on them.
 */
#ifndef CULVERT_COPENSSL_SHIM_H
#define CULVERT_COPENSSL_SHIM_H

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include "dtls_shim.h"
#include "x509_shim.h"

#endif
