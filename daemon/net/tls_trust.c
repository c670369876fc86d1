#include "net/tls_internal.h"

#include <dirent.h>
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
#include <unistd.h>

#include "util/log.h"

struct trust {
    atomic_uint n_refs;
    SSL_CTX *context;
    enum net_trust state;
    char text[512];
    size_t n_folder_certificates;
};

SSL_CTX *trust_context(const struct trust *trust)
{
    return trust->context;
}

/* The first trouble is the one that is told. */
__attribute__((format(printf, 3, 4))) static void spoil(struct trust *trust, enum net_trust state,
                                                        const char *format, ...)
{
    va_list arguments;
    if (trust->state != NET_TRUST_OK)
        return;
    trust->state = state;
    va_start(arguments, format);
    vsnprintf(trust->text, sizeof(trust->text), format, arguments);
    va_end(arguments);
}

static size_t count_objects(const struct trust *trust)
{
    X509_STORE *store = SSL_CTX_get_cert_store(trust->context);
    return (size_t)sk_X509_OBJECT_num(X509_STORE_get0_objects(store));
}

/* ---- folders ---- */

/* Returns 0 with how many certificates were read, or -ENOMEM. */
static int read_certificates(struct trust *trust, BIO *bio, const char *path, size_t *ret_n)
{
    X509_STORE *store = SSL_CTX_get_cert_store(trust->context);

    for (*ret_n = 0;; (*ret_n)++) {
        ERR_clear_error();
        /* takes CERTIFICATE, X509 CERTIFICATE and TRUSTED CERTIFICATE, skips all else */
        X509 *certificate = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
        if (!certificate) {
            unsigned long code = ERR_peek_last_error();
            ERR_clear_error();
            if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE)
                return -ENOMEM;
            if (ERR_GET_REASON(code) != PEM_R_NO_START_LINE)
                log_warning("%s: certificate number %zu is damaged; it and what follows it in "
                            "this file is ignored",
                            path, *ret_n + 1);
            return 0;
        }
        int r = X509_STORE_add_cert(store, certificate);
        X509_free(certificate);
        if (r != 1)
            return -ENOMEM;
    }
}

static int load_file(struct trust *trust, int folder, const char *folder_path, const char *name,
                     size_t *total)
{
    struct stat what;
    char path[512];
    size_t n = 0;

    snprintf(path, sizeof(path), "%s/%s", folder_path, name);
    /* a fifo must not stop the daemon */
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        /* sockets and devices without a driver cannot be opened and are no certificates */
        if (errno == ENXIO || errno == ENODEV)
            return 0;
        spoil(trust, NET_TRUST_OPEN,
              "cannot open the certificate file %s: %s; make it readable "
              "for the daemon or remove it",
              path, strerror(errno));
        return 0;
    }
    if (fstat(fd, &what) < 0 || !S_ISREG(what.st_mode)) {
        close(fd);
        return 0;
    }
    FILE *file = fdopen(fd, "r");
    BIO *bio = file ? BIO_new_fp(file, BIO_CLOSE) : NULL;
    if (!bio) {
        if (file)
            fclose(file);
        else
            close(fd);
        return -ENOMEM;
    }
    int r = read_certificates(trust, bio, path, &n);
    if (r == 0 && ferror(file))
        spoil(trust, NET_TRUST_OPEN, "cannot read the certificate file %s", path);
    else if (r == 0 && n == 0)
        log_warning("%s holds no PEM certificate; it is skipped", path);
    *total += n;
    BIO_free(bio);
    return r;
}

static int load_folder(struct trust *trust, const char *path, bool optional, size_t *ret_n)
{
    int r = 0;

    *ret_n = 0;
    DIR *folder = opendir(path);
    if (!folder) {
        if (errno == ENOMEM)
            return -ENOMEM;
        if (!(optional && errno == ENOENT))
            spoil(trust, NET_TRUST_FOLDER,
                  "cannot open the folder of certificates %s: %s; create it or make it readable "
                  "for the daemon",
                  path, strerror(errno));
        return 0;
    }
    for (bool first = true; r == 0; first = false) {
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (!entry) {
            if (errno)
                spoil(trust, first ? NET_TRUST_LIST : NET_TRUST_NEXT,
                      "cannot list the folder of certificates %s: %s", path, strerror(errno));
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            r = load_file(trust, dirfd(folder), path, entry->d_name, ret_n);
    }
    closedir(folder);
    return r;
}

/* ---- the system's store ---- */

static const char *from_environment(const char *variable, const char *otherwise)
{
    const char *value = secure_getenv(variable);
    return value && *value ? value : otherwise;
}

/* Certificates in a hashed folder are looked up when they are needed: "1a2b3c4d.0". */
static bool has_hashed_certificate(const char *path)
{
    bool found = false;
    const struct dirent *entry;

    DIR *folder = opendir(path);
    if (!folder)
        return false;
    while (!found && (entry = readdir(folder)))
        found = strspn(entry->d_name, "0123456789abcdef") == 8 && entry->d_name[8] == '.';
    closedir(folder);
    return found;
}

static bool system_folder_usable(void)
{
    char *folders =
        strdup(from_environment(X509_get_default_cert_dir_env(), X509_get_default_cert_dir()));
    char *position = NULL;
    bool found = false;

    if (!folders)
        return false;
    for (char *each = strtok_r(folders, ":", &position); each && !found;
         each = strtok_r(NULL, ":", &position))
        found = has_hashed_certificate(each);
    free(folders);
    return found;
}

/* OpenSSL takes default paths that do not exist without a word. */
static bool load_system_store(struct trust *trust)
{
    size_t before = count_objects(trust);
    ERR_clear_error();
    int r = SSL_CTX_set_default_verify_paths(trust->context);
    ERR_clear_error();
    return r == 1 && (count_objects(trust) > before || system_folder_usable());
}

/* ---- the snapshot ---- */

static int set_up_context(struct trust *trust, const struct trust_settings *settings,
                          char *error_text, size_t n_error_text)
{
    if (settings->security_level < 0 || settings->security_level > 5) {
        snprintf(error_text, n_error_text, "the TLS security level is 0 to 5, not %d",
                 settings->security_level);
        return -EINVAL;
    }
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    trust->context = context;
    if (!context)
        return -ENOMEM;
    SSL_CTX_set_security_level(context, settings->security_level);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context),
                                X509_V_FLAG_X509_STRICT | X509_V_FLAG_TRUSTED_FIRST);
    SSL_CTX_set_cert_verify_callback(context, tls_verify_chain, NULL);
    if (SSL_CTX_set_min_proto_version(context,
                                      settings->min_tls13 ? TLS1_3_VERSION : TLS1_2_VERSION) != 1)
        return -ENOMEM;
    if (settings->ciphers && *settings->ciphers &&
        SSL_CTX_set_cipher_list(context, settings->ciphers) != 1) {
        snprintf(error_text, n_error_text, "no cipher matches the list \"%s\"", settings->ciphers);
        return -EINVAL;
    }
    return 0;
}

static int load(struct trust *trust, const struct trust_settings *settings)
{
    bool has_folder = settings->cacerts && *settings->cacerts;
    size_t n;
    int r = has_folder ? load_folder(trust, settings->cacerts, settings->cacerts_optional, &n) : 0;
    for (size_t i = 0; r == 0 && i < settings->n_extra; i++) {
        r = load_folder(trust, settings->extra[i], false, &n);
        if (r == 0 && n == 0) /* somebody named it on purpose */
            spoil(trust, NET_TRUST_EMPTY,
                  "the folder %s holds no PEM certificate; put one into it or leave it out",
                  settings->extra[i]);
    }
    if (r)
        return r;
    trust->n_folder_certificates = count_objects(trust);
    bool has_system = settings->system_store && load_system_store(trust);
    if (trust->n_folder_certificates == 0 && !has_system) {
        if (settings->system_store)
            spoil(trust, NET_TRUST_BUNDLE,
                  "the system's certificates cannot be read (%s, %s); install ca-certificates or "
                  "put a PEM file into %s",
                  X509_get_default_cert_file(), X509_get_default_cert_dir(),
                  has_folder ? settings->cacerts : "a folder configured as cacerts");
        else
            spoil(trust, NET_TRUST_EMPTY,
                  "there is no certificate to verify with: put a PEM file into %s",
                  has_folder ? settings->cacerts : "a folder and configure it as cacerts");
    }
    return 0;
}

/* OpenSSL works out a certificate's extensions when they are first asked for and keeps them in it.
 * Done here once, the snapshot is immutable for the dial threads, and no handshake pays for it. */
static void settle(struct trust *trust)
{
    STACK_OF(X509_OBJECT) *objects =
        X509_STORE_get0_objects(SSL_CTX_get_cert_store(trust->context));

    for (int i = 0; i < sk_X509_OBJECT_num(objects); i++) {
        X509 *certificate = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));
        if (certificate)
            (void)X509_check_purpose(certificate, -1, 0);
    }
}

int trust_new(struct trust **ret_trust, const struct trust_settings *settings, char *error_text,
              size_t n_error_text)
{
    if (n_error_text > 0)
        error_text[0] = '\0';
    struct trust *trust = calloc(1, sizeof(*trust));
    if (!trust)
        return -ENOMEM;
    atomic_init(&trust->n_refs, 1);
    int r = set_up_context(trust, settings, error_text, n_error_text);
    if (r == 0)
        r = load(trust, settings);
    if (r == 0)
        settle(trust);
    ERR_clear_error();
    if (r) {
        trust_unref(trust);
        return r;
    }
    *ret_trust = trust;
    return 0;
}

struct trust *trust_ref(struct trust *trust)
{
    if (trust)
        atomic_fetch_add_explicit(&trust->n_refs, 1, memory_order_relaxed);
    return trust;
}

struct trust *trust_unref(struct trust *trust)
{
    if (!trust || atomic_fetch_sub_explicit(&trust->n_refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    SSL_CTX_free(trust->context);
    free(trust);
    return NULL;
}

enum net_trust trust_state(const struct trust *trust, const char **ret_text)
{
    if (ret_text)
        *ret_text = trust->text;
    return trust->state;
}

size_t trust_folder_certificates(const struct trust *trust)
{
    return trust->n_folder_certificates;
}
