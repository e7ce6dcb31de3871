/*
 * Keys, certificates and revocation lists: what Swift cannot reach because it is a macro, takes variable
 * arguments or needs a C callback. Ownership is as in OpenSSL's own functions: "new", "make" and "read"
 * results belong to the caller, everything else stays with its owner. No policy here; that is Swift's.
 */
#ifndef CULVERT_COPENSSL_X509_SHIM_H
#define CULVERT_COPENSSL_X509_SHIM_H

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string.h>

/* A memory BIO's content: its start, and its length in *length. Valid until the BIO changes. */
static inline const unsigned char *culvert_bio_content(BIO *bio, long *length)
{
    char *start = NULL;
    *length = BIO_get_mem_data(bio, &start);
    return (const unsigned char *)start;
}

/* How names are printed: RFC 4514 with control characters escaped and UTF-8 left as it is. */
static inline unsigned long culvert_name_flags(void)
{
    return XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB;
}

/* Answers every request for a passphrase with "none", so that nothing ever asks at the terminal. */
static inline int culvert_no_passphrase(char *buffer, int size, int writing, void *asked)
{
    (void)buffer, (void)size, (void)writing;
    if (asked != NULL)
        *(int *)asked = 1;
    return -1;
}

/* The first private key of a PEM text, or NULL; *encrypted says whether a passphrase was wanted. */
static inline EVP_PKEY *culvert_read_private_key(BIO *bio, int *encrypted)
{
    *encrypted = 0;
    return PEM_read_bio_PrivateKey(bio, NULL, culvert_no_passphrase, encrypted);
}

static inline EVP_PKEY *culvert_make_ec_key(const char *curve)
{
    return EVP_EC_gen(curve);
}

static inline EVP_PKEY *culvert_make_rsa_key(unsigned int bits)
{
    return EVP_RSA_gen(bits);
}

/* Whether a PEM text without a passphrase could be made: PKCS #8, unencrypted. */
static inline int culvert_write_private_key(BIO *bio, EVP_PKEY *key)
{
    return PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
}

/* Adds the extension that openssl.cnf would write as "nid = value". `issuer` may be `subject` itself. */
static inline int culvert_add_extension(X509 *subject, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, subject, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    int added = extension != NULL && X509_add_ext(subject, extension, -1);
    X509_EXTENSION_free(extension);
    return added;
}

/* Gives a revocation list the authority key identifier of `issuer` and no other. */
static inline int culvert_set_crl_authority(X509_CRL *crl, X509 *issuer)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, NULL, NULL, crl, 0);
    X509_EXTENSION *extension =
        X509V3_EXT_conf_nid(NULL, &context, NID_authority_key_identifier, "keyid:always");
    int old = X509_CRL_get_ext_by_NID(crl, NID_authority_key_identifier, -1);
    if (old >= 0)
        X509_EXTENSION_free(X509_CRL_delete_ext(crl, old));
    int added = extension != NULL && X509_CRL_add_ext(crl, extension, -1);
    X509_EXTENSION_free(extension);
    return added;
}

/* A growing list of subject alternative names. */
static inline GENERAL_NAMES *culvert_make_names(void)
{
    return GENERAL_NAMES_new();
}

/* Appends a name of type GEN_DNS (ASCII) or GEN_IPADD (4 or 16 bytes). */
static inline int culvert_append_name(GENERAL_NAMES *names, int type, const unsigned char *bytes, int length)
{
    ASN1_STRING *value = type == GEN_DNS ? ASN1_IA5STRING_new() : ASN1_OCTET_STRING_new();
    GENERAL_NAME *name = GENERAL_NAME_new();
    if (value == NULL || name == NULL || !ASN1_STRING_set(value, bytes, length)) {
        ASN1_STRING_free(value);
        GENERAL_NAME_free(name);
        return 0;
    }
    GENERAL_NAME_set0_value(name, type, value);
    if (!sk_GENERAL_NAME_push(names, name)) {
        GENERAL_NAME_free(name);
        return 0;
    }
    return 1;
}

static inline int culvert_add_names(X509 *certificate, GENERAL_NAMES *names)
{
    return X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT);
}

/* The subject alternative names, or NULL when there are none or they cannot be read. */
static inline GENERAL_NAMES *culvert_read_names(const X509 *certificate)
{
    return (GENERAL_NAMES *)X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
}

static inline void culvert_free_names(GENERAL_NAMES *names)
{
    GENERAL_NAMES_free(names);
}

static inline int culvert_name_count(const GENERAL_NAMES *names)
{
    return names == NULL ? 0 : sk_GENERAL_NAME_num(names);
}

/* The value of a name when its type is `type`, GEN_DNS or GEN_IPADD; NULL otherwise. */
static inline const ASN1_STRING *culvert_name_at(const GENERAL_NAMES *names, int index, int type)
{
    int actual = 0;
    const void *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, index), &actual);
    return actual == type ? (const ASN1_STRING *)value : NULL;
}

/* Gives a certificate a serial number of 128 random bits, never zero (RFC 5280 §4.1.2.2). */
static inline int culvert_set_random_serial(X509 *certificate)
{
    BIGNUM *number = BN_new();
    int set = 0;
    while (number != NULL && BN_rand(number, 128, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY)) {
        if (BN_is_zero(number))
            continue;
        set = BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != NULL;
        break;
    }
    BN_free(number);
    return set;
}

/* A serial number from hexadecimal digits, or NULL. */
static inline ASN1_INTEGER *culvert_make_serial(const char *digits)
{
    BIGNUM *number = NULL;
    ASN1_INTEGER *serial = NULL;
    /* BN_hex2bn takes a leading minus, stops at the first character it does not know and makes nothing of "". */
    if (BN_hex2bn(&number, digits) == (int)strlen(digits) && number != NULL && !BN_is_negative(number))
        serial = BN_to_ASN1_INTEGER(number, NULL);
    BN_free(number);
    return serial;
}

/* Upper-case hexadecimal digits of a serial number, to be freed by culvert_free_text. */
static inline char *culvert_serial_text(const ASN1_INTEGER *serial)
{
    BIGNUM *number = ASN1_INTEGER_to_BN(serial, NULL);
    char *text = number == NULL ? NULL : BN_bn2hex(number);
    BN_free(number);
    return text;
}

static inline void culvert_free_text(char *text)
{
    OPENSSL_free(text);
}

static inline void culvert_free_bytes(unsigned char *bytes)
{
    OPENSSL_free(bytes);
}

/* The revocation list's number (RFC 5280 §5.2.3), or -1 when it has none that fits. */
static inline long culvert_crl_number(const X509_CRL *crl)
{
    ASN1_INTEGER *number = (ASN1_INTEGER *)X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
    long value = number == NULL ? -1 : ASN1_INTEGER_get(number);
    ASN1_INTEGER_free(number);
    return value;
}

/* Replaces the revocation list's number. */
static inline int culvert_set_crl_number(X509_CRL *crl, long value)
{
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    int set = number != NULL && ASN1_INTEGER_set(number, value)
        && X509_CRL_add1_ext_i2d(crl, NID_crl_number, number, 0, X509V3_ADD_REPLACE);
    ASN1_INTEGER_free(number);
    return set;
}

static inline int culvert_crl_count(X509_CRL *crl)
{
    return sk_X509_REVOKED_num(X509_CRL_get_REVOKED(crl));
}

/* Adds an entry; `reason` is an RFC 5280 §5.3.1 code, or negative for none. */
static inline int culvert_crl_add(X509_CRL *crl, const ASN1_INTEGER *serial, const ASN1_TIME *when, int reason)
{
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_ENUMERATED *code = NULL;
    int ready = entry != NULL && X509_REVOKED_set_serialNumber(entry, (ASN1_INTEGER *)serial)
        && X509_REVOKED_set_revocationDate(entry, (ASN1_TIME *)when);
    if (ready && reason >= 0) {
        code = ASN1_ENUMERATED_new();
        ready = code != NULL && ASN1_ENUMERATED_set(code, reason)
            && X509_REVOKED_add1_ext_i2d(entry, NID_crl_reason, code, 0, X509V3_ADD_DEFAULT);
        ASN1_ENUMERATED_free(code);
    }
    if (ready && X509_CRL_add0_revoked(crl, entry))
        return 1;
    X509_REVOKED_free(entry);
    return 0;
}

#endif
