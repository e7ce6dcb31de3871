/*
 * Contexts, handshakes, the datagram BIO and record protection: what Swift cannot reach because it is a
 * macro or wants OSSL_PARAM arrays. Nothing here owns memory, keeps state or decides anything.
 */
#ifndef CULVERT_COPENSSL_DTLS_SHIM_H
#define CULVERT_COPENSSL_DTLS_SHIM_H

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <string.h>
#include <sys/time.h>

/* Options of SSL_CTX_set_options, which are macros over a macro. */
static const uint64_t culvert_op_no_query_mtu = SSL_OP_NO_QUERY_MTU;
static const uint64_t culvert_op_no_ticket = SSL_OP_NO_TICKET;
static const uint64_t culvert_op_no_compression = SSL_OP_NO_COMPRESSION;
static const uint64_t culvert_op_no_renegotiation = SSL_OP_NO_RENEGOTIATION;
static const uint64_t culvert_op_server_preference = SSL_OP_CIPHER_SERVER_PREFERENCE;
static const uint64_t culvert_op_prioritize_chacha = SSL_OP_PRIORITIZE_CHACHA;

/* Contexts */

static inline int culvert_pin_dtls12(SSL_CTX *context)
{
    return SSL_CTX_set_min_proto_version(context, DTLS1_2_VERSION)
        && SSL_CTX_set_max_proto_version(context, DTLS1_2_VERSION);
}

static inline int culvert_set_groups(SSL_CTX *context, const char *list)
{
    return (int)SSL_CTX_set1_groups_list(context, list);
}

static inline void culvert_set_max_cert_list(SSL_CTX *context, long bytes)
{
    SSL_CTX_set_max_cert_list(context, bytes);
}

static inline void culvert_disable_session_cache(SSL_CTX *context)
{
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
}

/* The chain that is shown is the one that was set, and not made up from what is trusted. */
static inline void culvert_disable_chain_building(SSL_CTX *context)
{
    SSL_CTX_set_mode(context, SSL_MODE_NO_AUTO_CHAIN);
}

static inline int culvert_add_chain_certificate(SSL_CTX *context, X509 *certificate)
{
    return (int)SSL_CTX_add1_chain_cert(context, certificate);
}

static inline int culvert_cipher_count(const STACK_OF(SSL_CIPHER) *ciphers)
{
    return ciphers == NULL ? 0 : sk_SSL_CIPHER_num(ciphers);
}

static inline const SSL_CIPHER *culvert_cipher_at(const STACK_OF(SSL_CIPHER) *ciphers, int index)
{
    return sk_SSL_CIPHER_value(ciphers, index);
}

/* Handshakes */

static inline void culvert_set_owner(SSL *ssl, void *owner)
{
    SSL_set_app_data(ssl, owner);
}

static inline void *culvert_owner(const SSL *ssl)
{
    return SSL_get_app_data(ssl);
}

static inline int culvert_set_server_name(SSL *ssl, const char *name)
{
    return (int)SSL_set_tlsext_host_name(ssl, name);
}

typedef int (*culvert_name_judge)(SSL *ssl, int *alert, void *argument);

/* Without a callback, libssl forgets the name when the session is resumed. */
static inline void culvert_judge_server_names(SSL_CTX *context, culvert_name_judge judge)
{
    SSL_CTX_set_tlsext_servername_callback(context, judge);
}

/* The most bytes of plaintext in a record that the client has asked for (RFC 6066 section 4), or 0. */
static inline int culvert_max_fragment_length(const SSL *ssl)
{
    const SSL_SESSION *session = SSL_get_session(ssl);
    uint8_t code = session ? SSL_SESSION_get_max_fragment_length(session) : 0;
    return code >= TLSEXT_max_fragment_length_512 && code <= TLSEXT_max_fragment_length_4096 ? 256 << code : 0;
}

static inline int culvert_set_mtu(SSL *ssl, long bytes)
{
    return (int)SSL_set_mtu(ssl, bytes);
}

/* Microseconds until the retransmission timer runs out, or -1 when it is not running. */
static inline int64_t culvert_timer(SSL *ssl)
{
    struct timeval left;
    if (DTLSv1_get_timeout(ssl, &left) != 1)
        return -1;
    return (int64_t)left.tv_sec * 1000000 + left.tv_usec;
}

static inline int culvert_handle_timer(SSL *ssl)
{
    return (int)DTLSv1_handle_timeout(ssl);
}

static inline int culvert_has_extended_master_secret(SSL *ssl)
{
    return SSL_get_extms_support(ssl) == 1;
}

/* The handshake a certificate is being verified for. */
static inline SSL *culvert_verifying_ssl(X509_STORE_CTX *context)
{
    return (SSL *)X509_STORE_CTX_get_ex_data(context, SSL_get_ex_data_X509_STORE_CTX_idx());
}

/* The datagram BIO */

static inline void culvert_nothing_to_read(BIO *bio)
{
    BIO_set_retry_read(bio);
}

static inline void culvert_clear_retry(BIO *bio)
{
    BIO_clear_retry_flags(bio);
}

/* Keys and records */

/* The PRF of TLS 1.2 (RFC 5246 section 5) with the label and the two randoms as its seed. */
static inline int culvert_tls_prf(EVP_KDF_CTX *context, const char *digest, const unsigned char *secret,
    size_t secret_length, const char *label, const unsigned char *first, const unsigned char *second,
    size_t random_length, unsigned char *output, size_t output_length)
{
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SECRET, (void *)secret, secret_length),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, (void *)label, strlen(label)),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, (void *)first, random_length),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, (void *)second, random_length),
        OSSL_PARAM_construct_end(),
    };
    return EVP_KDF_derive(context, output, output_length, parameters);
}

static inline int culvert_init_hmac_sha256(EVP_MAC_CTX *context, const unsigned char *key, size_t length)
{
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_init(context, key, length, parameters);
}

/* The HMAC of a message under the key that was set before. */
static inline int culvert_hmac(EVP_MAC_CTX *context, const void *message, size_t length, unsigned char tag[32])
{
    size_t written = 0;
    return EVP_MAC_init(context, NULL, 0, NULL) && EVP_MAC_update(context, (const unsigned char *)message, length)
        && EVP_MAC_final(context, tag, &written, 32);
}

/* Sets the whole nonce that AES-GCM seals the next record with; it then counts up by itself. */
static inline int culvert_set_gcm_nonce(EVP_CIPHER_CTX *context, const unsigned char nonce[12])
{
    return EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_IV_FIXED, -1, (void *)nonce);
}

/*
 * Seals or opens the content of one record in place: explicit nonce, text and tag, `length` bytes in all.
 * The additional data (RFC 6347 section 4.1.2.1, RFC 5246 section 6.2.3.3) announces `text_length`, from
 * which OpenSSL subtracts the explicit nonce and, when opening, the tag. The parameter is set directly
 * because EVP_CTRL_AEAD_TLS1_AAD would also ask for the tag's length, at half again the time.
 */
static inline int culvert_protect(EVP_CIPHER_CTX *context, uint64_t number, uint8_t type, uint16_t version,
    uint16_t text_length, void *content, unsigned int length)
{
    unsigned char additional_data[13];
    for (int index = 0; index < 8; index++)
        additional_data[index] = (unsigned char)(number >> (56 - 8 * index));
    additional_data[8] = type;
    additional_data[9] = (unsigned char)(version >> 8);
    additional_data[10] = (unsigned char)version;
    additional_data[11] = (unsigned char)(text_length >> 8);
    additional_data[12] = (unsigned char)text_length;
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TLS1_AAD, additional_data, sizeof additional_data),
        OSSL_PARAM_construct_end(),
    };
    return EVP_CIPHER_CTX_set_params(context, parameters)
        && EVP_Cipher(context, (unsigned char *)content, (const unsigned char *)content, length) >= 0;
}

/// A hello extension of one byte, in ClientHello and ServerHello: 1 on success. `byte` has to outlive the context;
/// `read` gets what the peer sent.
typedef int (*culvert_extension_reader)(SSL *ssl, unsigned int type, unsigned int context, const unsigned char *data,
                                        size_t length, X509 *certificate, size_t index, int *alert, void *argument);

static inline int culvert_add_byte_from(SSL *ssl, unsigned int type, unsigned int context, const unsigned char **data,
                                        size_t *length, X509 *certificate, size_t index, int *alert, void *argument)
{
    (void)ssl, (void)type, (void)context, (void)certificate, (void)index, (void)alert;
    *data = (const unsigned char *)argument;
    *length = 1;
    return 1;
}

static inline int culvert_add_byte_extension(SSL_CTX *context, unsigned int type, const unsigned char *byte,
                                             culvert_extension_reader read)
{
    return SSL_CTX_add_custom_ext(context, type, SSL_EXT_CLIENT_HELLO | SSL_EXT_TLS1_2_SERVER_HELLO,
                                  culvert_add_byte_from, NULL, (void *)byte, read, NULL);
}

#endif
