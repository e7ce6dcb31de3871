#ifndef CULVERT_COPENSSL_X509_SHIM_H
#define CULVERT_COPENSSL_X509_SHIM_H

#include <openssl/x509.h>

#endif
