#ifndef CULVERT_COPENSSL_DTLS_SHIM_H
#define CULVERT_COPENSSL_DTLS_SHIM_H

#include <openssl/ssl.h>

#endif
