#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "net/identity.h"
#include "net/tls_internal.h"
#include "util/log.h"

struct identity {
    atomic_uint n_refs;
    X509 *certificate;
    STACK_OF(X509) * chain; /* without it */
    EVP_PKEY *key;
    int64_t not_after;
    char name[];
};

/* What reading a file has found out. */
struct reading {
    const char *path;
    bool secret; /* it holds the key */
    char *text;  /* where the reason goes */
    size_t n_text;
};

__attribute__((format(printf, 2, 3))) static int spoil(const struct reading *reading,
                                                       const char *format, ...)
{
    va_list arguments;
    int n = snprintf(reading->text, reading->n_text, "%s: ", reading->path);

    if (n > 0 && (size_t)n < reading->n_text) {
        va_start(arguments, format);
        vsnprintf(reading->text + n, reading->n_text - (size_t)n, format, arguments);
        va_end(arguments);
    }
    return -EINVAL;
}

static bool lacked_memory(void)
{
    bool lacked = false;
    for (unsigned long code; (code = ERR_get_error());)
        lacked |= ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE;
    return lacked;
}

static int open_file(const struct reading *reading, BIO **ret_bio)
{
    struct stat what;
    /* a fifo must not stop the daemon */
    int fd = open(reading->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return spoil(reading, "cannot be opened: %s", strerror(errno));
    if (fstat(fd, &what) < 0) {
        int error = errno;
        close(fd);
        return spoil(reading, "cannot be looked at: %s", strerror(error));
    }
    if (!S_ISREG(what.st_mode)) {
        close(fd);
        return spoil(reading, "is not a file");
    }
    if (reading->secret && what.st_mode & S_IROTH)
        log_warning("%s holds a private key and every user may read it; make it readable for the "
                    "daemon only (chmod o-r)",
                    reading->path);
    FILE *file = fdopen(fd, "r");
    *ret_bio = file ? BIO_new_fp(file, BIO_CLOSE) : NULL;
    if (*ret_bio)
        return 0;
    if (file)
        fclose(file);
    else
        close(fd);
    return -ENOMEM;
}

/* There is nobody who could type it. */
static int no_passphrase(char *buffer, int size, int writing, void *asked)
{
    (void)buffer;
    (void)size;
    (void)writing;
    *(bool *)asked = true;
    return -1;
}

static int read_key(struct identity *identity, const struct reading *reading)
{
    BIO *bio = NULL;
    bool asked = false;
    int r = open_file(reading, &bio);

    if (r)
        return r;
    ERR_clear_error();
    identity->key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked);
    BIO_free(bio);
    if (lacked_memory())
        return -ENOMEM;
    if (asked)
        return spoil(reading, "the key has a passphrase, and there is nobody to type it; store it "
                              "without one (openssl pkey), readable for the daemon only");
    if (!identity->key)
        return spoil(reading, "holds no private key in PEM");
    return 0;
}

static int add_certificate(struct identity *identity, X509 **certificate,
                           const struct reading *reading)
{
    if (!identity->certificate) {
        identity->certificate = *certificate;
        *certificate = NULL;
        return 0;
    }
    if (sk_X509_num(identity->chain) == IDENTITY_MAX_CHAIN)
        return spoil(reading, "holds more than %d certificates", IDENTITY_MAX_CHAIN + 1);
    if (sk_X509_push(identity->chain, *certificate) <= 0)
        return -ENOMEM;
    *certificate = NULL;
    return 0;
}

static int read_certificates(struct identity *identity, const struct reading *reading)
{
    BIO *bio = NULL;
    int r = open_file(reading, &bio);

    while (r == 0) {
        ERR_clear_error();
        X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (certificate) {
            r = add_certificate(identity, &certificate, reading);
            X509_free(certificate);
            continue;
        }
        bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
        if (lacked_memory())
            r = -ENOMEM;
        else if (!at_end)
            r = spoil(reading, "certificate number %d is damaged",
                      (identity->certificate ? 1 : 0) + sk_X509_num(identity->chain) + 1);
        else if (!identity->certificate)
            r = spoil(reading, "holds no certificate in PEM");
        else
            break;
    }
    BIO_free(bio);
    return r;
}

/* The time as OpenSSL has it, in seconds since the epoch. */
static int64_t epoch_of(const ASN1_TIME *when)
{
    struct tm tm;
    return ASN1_TIME_to_tm(when, &tm) == 1 ? timegm(&tm) : 0;
}

static int fill(struct identity *identity, const char *certificate, const char *key, char *text,
                size_t n_text)
{
    const struct reading of_certificate = {certificate, false, text, n_text};
    const struct reading of_key = {*key ? key : certificate, true, text, n_text};

    identity->chain = sk_X509_new_null();
    int r = identity->chain ? read_certificates(identity, &of_certificate) : -ENOMEM;
    if (r == 0)
        r = read_key(identity, &of_key);
    if (r)
        return r;
    if (X509_check_private_key(identity->certificate, identity->key) != 1)
        return lacked_memory()
                   ? -ENOMEM
                   : spoil(&of_key, "the key is not that of the first certificate in %s",
                           certificate);
    /* what OpenSSL works out when it is first asked for; done here, the snapshot is immutable */
    (void)X509_check_purpose(identity->certificate, -1, 0);
    for (int i = 0; i < sk_X509_num(identity->chain); i++)
        (void)X509_check_purpose(sk_X509_value(identity->chain, i), -1, 0);
    identity->not_after = epoch_of(X509_get0_notAfter(identity->certificate));
    return 0;
}

int identity_new(struct identity **ret_identity, const char *name, const char *certificate,
                 const char *key, char *error_text, size_t n_error_text)
{
    if (n_error_text > 0)
        error_text[0] = '\0';
    size_t n_name = strlen(name) + 1;
    struct identity *identity = calloc(1, sizeof(*identity) + n_name);
    if (!identity)
        return -ENOMEM;
    atomic_init(&identity->n_refs, 1);
    memcpy(identity->name, name, n_name);
    int r = fill(identity, certificate, key, error_text, n_error_text);
    ERR_clear_error();
    if (r) {
        identity_unref(identity);
        return r;
    }
    *ret_identity = identity;
    return 0;
}

struct identity *identity_ref(struct identity *identity)
{
    if (identity)
        atomic_fetch_add_explicit(&identity->n_refs, 1, memory_order_relaxed);
    return identity;
}

struct identity *identity_unref(struct identity *identity)
{
    if (!identity || atomic_fetch_sub_explicit(&identity->n_refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    X509_free(identity->certificate);
    sk_X509_pop_free(identity->chain, X509_free);
    EVP_PKEY_free(identity->key);
    free(identity);
    return NULL;
}

const char *identity_name(const struct identity *identity)
{
    return identity->name;
}

int64_t identity_not_after(const struct identity *identity)
{
    return identity->not_after;
}

int identity_present(const struct identity *identity, SSL *ssl)
{
    ERR_clear_error();
    if (SSL_use_cert_and_key(ssl, identity->certificate, identity->key, identity->chain, 1) == 1)
        return 0;
    return lacked_memory() ? -ENOMEM : -EINVAL;
}
