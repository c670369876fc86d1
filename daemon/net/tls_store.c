#include "net/tls_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "net/trust.h"
#include "util/log.h"

void tls_store_init(struct tls_store *store, X509_STORE *x509)
{
    *store = (struct tls_store){.x509 = x509, .crls_until = INT64_MAX};
}

void tls_store_deinit(struct tls_store *store)
{
    for (size_t i = 0; i < store->n_files; i++)
        free(store->files[i].path);
    free(store->files);
    store->files = NULL;
    store->n_files = 0;
}

size_t tls_store_count(const struct tls_store *store)
{
    return (size_t)sk_X509_OBJECT_num(X509_STORE_get0_objects(store->x509));
}

/* The first trouble is the one that is told. */
void tls_store_spoil(struct tls_store *store, enum net_trust state, const char *format, ...)
{
    va_list arguments;
    if (store->state != NET_TRUST_OK)
        return;
    store->state = state;
    va_start(arguments, format);
    vsnprintf(store->text, sizeof(store->text), format, arguments);
    va_end(arguments);
}

/* ---- files ---- */

/* What files are read for: takes what is in one, and tells how many there were. Returns 0 or
 * -ENOMEM. */
typedef int take_fn(struct tls_store *store, BIO *bio, const char *path, size_t *ret_n);

/* After reading from a PEM file gave nothing. */
enum pem_end { PEM_AT_END, PEM_DAMAGED, PEM_NO_MEMORY };

/* Empties the queue. Lack of memory may be anywhere in it: what failed for it adds its own. */
static bool lacked_memory(void)
{
    bool lacked = false;
    for (unsigned long code; (code = ERR_get_error());)
        lacked |= ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE;
    return lacked;
}

static enum pem_end why_pem_ended(void)
{
    bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (lacked_memory())
        return PEM_NO_MEMORY;
    return at_end ? PEM_AT_END : PEM_DAMAGED;
}

static int keep_file(struct tls_store *store, const char *path, size_t n, bool damaged)
{
    char *copy = strdup(path);
    struct tls_store_file *files =
        copy ? realloc(store->files, (store->n_files + 1) * sizeof(*files)) : NULL;
    if (!files) {
        free(copy);
        return -ENOMEM;
    }
    store->files = files;
    files[store->n_files++] = (struct tls_store_file){.path = copy, .n = n, .damaged = damaged};
    return 0;
}

static int take_certificates(struct tls_store *store, BIO *bio, const char *path, size_t *ret_n)
{
    for (*ret_n = 0;; (*ret_n)++) {
        ERR_clear_error();
        /* takes CERTIFICATE, X509 CERTIFICATE and TRUSTED CERTIFICATE, skips all else */
        X509 *certificate = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
        if (!certificate) {
            enum pem_end end = why_pem_ended();
            if (end == PEM_NO_MEMORY)
                return -ENOMEM;
            if (end == PEM_DAMAGED)
                log_warning("%s: certificate number %zu is damaged; it and what follows it in "
                            "this file is ignored",
                            path, *ret_n + 1);
            if (*ret_n == 0 && end == PEM_AT_END)
                log_warning("%s holds no PEM certificate; it is skipped", path);
            return keep_file(store, path, *ret_n, end == PEM_DAMAGED);
        }
        int r = X509_STORE_add_cert(store->x509, certificate);
        X509_free(certificate);
        if (r != 1)
            return -ENOMEM;
    }
}

/* Lists that OpenSSL takes for something else than they are. A delta counts as a complete one
 * there, and as the newest hides what its base revokes; so does one whose scope is damaged. Lists
 * of some reasons and indirect ones are passed over, although they may be those that revoke.
 * Returns what it is, or NULL: a list to be heeded, or no memory (in OpenSSL's queue). */
static const char *why_unfit(const X509_CRL *crl)
{
    int critical;
    const char *unfit = NULL;

    if (X509_CRL_get_ext_by_NID(crl, NID_delta_crl, -1) >= 0)
        return "has only what has changed since another one (delta)";
    ISSUING_DIST_POINT *scope =
        X509_CRL_get_ext_d2i(crl, NID_issuing_distribution_point, &critical, NULL);
    if (!scope)
        return critical == -1 ? NULL : "has a scope that cannot be read";
    if ((scope->onlyuser > 0) + (scope->onlyCA > 0) + (scope->onlyattr > 0) > 1)
        unfit = "has a scope that contradicts itself";
    else if (scope->indirectCRL > 0)
        unfit = "is for certificates of other issuers too (indirect)";
    else if (scope->onlysomereasons)
        unfit = "is for some reasons only";
    ISSUING_DIST_POINT_free(scope);
    return unfit;
}

static int add_crl(struct tls_store *store, X509_CRL *crl, const char *path, size_t number)
{
    const char *unfit = why_unfit(crl);

    if (lacked_memory())
        return -ENOMEM;
    if (unfit) {
        tls_store_spoil(store, NET_TRUST_OPEN,
                        "%s: revocation list number %zu %s; put the complete list of the issuer "
                        "there instead",
                        path, number, unfit);
        return 0;
    }
    if (X509_STORE_add_crl(store->x509, crl) != 1)
        return -ENOMEM;
    store->n_crls++;
    return 0;
}

/* A list that cannot be read might be the one that revokes: it is never ignored. */
static int take_crls(struct tls_store *store, BIO *bio, const char *path, size_t *ret_n)
{
    for (*ret_n = 0;; (*ret_n)++) {
        ERR_clear_error();
        X509_CRL *crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL);
        if (!crl) {
            enum pem_end end = why_pem_ended();
            if (end == PEM_NO_MEMORY)
                return -ENOMEM;
            if (end == PEM_DAMAGED)
                tls_store_spoil(store, NET_TRUST_OPEN, "%s: revocation list number %zu is damaged",
                                path, *ret_n + 1);
            else if (*ret_n == 0)
                tls_store_spoil(store, NET_TRUST_OPEN,
                                "%s holds no revocation list in PEM (openssl crl -inform DER "
                                "converts others)",
                                path);
            return 0;
        }
        int r = add_crl(store, crl, path, *ret_n + 1);
        X509_CRL_free(crl);
        if (r)
            return r;
    }
}

static int read_file(struct tls_store *store, int folder, const char *name, const char *path,
                     const char *kind, take_fn *take, size_t *ret_n)
{
    struct stat what;

    *ret_n = 0;
    /* a fifo must not stop the daemon */
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        /* sockets and devices without a driver cannot be opened and are no certificates */
        if (errno != ENXIO && errno != ENODEV)
            tls_store_spoil(store, NET_TRUST_OPEN,
                            "cannot open the %s file %s: %s; make it readable for the daemon or "
                            "%s",
                            kind, path, strerror(errno),
                            folder == AT_FDCWD ? "do not name it" : "remove it");
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
    int r = take(store, bio, path, ret_n);
    if (r == 0 && ferror(file))
        tls_store_spoil(store, NET_TRUST_OPEN, "cannot read the %s file %s", kind, path);
    BIO_free(bio);
    return r;
}

/* ---- folders ---- */

static int read_folder(struct tls_store *store, DIR *folder, const char *path, const char *kind,
                       take_fn *take, size_t *ret_n)
{
    char file[512];
    size_t n;
    int r = 0;

    *ret_n = 0;
    for (bool first = true; r == 0; first = false) {
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (!entry) {
            if (errno)
                tls_store_spoil(store, first ? NET_TRUST_LIST : NET_TRUST_NEXT,
                                "cannot list the folder of %ss %s: %s", kind, path,
                                strerror(errno));
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
        r = read_file(store, dirfd(folder), entry->d_name, file, kind, take, &n);
        *ret_n += n;
    }
    return r;
}

int tls_store_folder(struct tls_store *store, const char *path, bool optional, size_t *ret_n)
{
    *ret_n = 0;
    DIR *folder = opendir(path);
    if (!folder) {
        if (errno == ENOMEM)
            return -ENOMEM;
        if (!(optional && errno == ENOENT))
            tls_store_spoil(store, NET_TRUST_FOLDER,
                            "cannot open the folder of certificates %s: %s; create it or make it "
                            "readable for the daemon",
                            path, strerror(errno));
        return 0;
    }
    int r = read_folder(store, folder, path, "certificate", take_certificates, ret_n);
    closedir(folder);
    return r;
}

static const struct tls_store_file *find_file(const struct tls_store *store, const char *path)
{
    for (size_t i = 0; store && i < store->n_files; i++)
        if (strcmp(store->files[i].path, path) == 0)
            return &store->files[i];
    return NULL;
}

bool tls_store_loses(const struct tls_store *store, const struct tls_store *old, char *text,
                     size_t n_text)
{
    for (size_t i = 0; i < store->n_files; i++) {
        const struct tls_store_file *is = &store->files[i], *was = find_file(old, is->path);
        if (is->damaged && !(was && was->damaged && was->n <= is->n)) {
            snprintf(
                text, n_text,
                "certificate number %zu of %s is damaged; put a sound file there, or remove it",
                is->n + 1, is->path);
            return true;
        }
        if (is->n == 0 && was && was->n > 0) {
            snprintf(text, n_text,
                     "%s had a certificate and has none any more; put a sound file there, or "
                     "remove it",
                     is->path);
            return true;
        }
    }
    return false;
}

static int read_crls(struct tls_store *store, const char *path)
{
    size_t n;

    DIR *folder = opendir(path);
    if (!folder) {
        if (errno == ENOMEM)
            return -ENOMEM;
        int r = read_file(store, AT_FDCWD, path, path, "revocation list", take_crls, &n);
        if (r == 0 && n == 0)
            tls_store_spoil(store, NET_TRUST_OPEN, "%s is no revocation list", path);
        return r ? r : tls_store_find_until(store);
    }
    int r = read_folder(store, folder, path, "revocation list", take_crls, &n);
    closedir(folder);
    if (r == 0 && n == 0)
        tls_store_spoil(store, NET_TRUST_EMPTY,
                        "the folder %s holds no revocation list; put one into it, or do not name "
                        "it as crl",
                        path);
    return r ? r : tls_store_find_until(store);
}

/* ---- what lacked memory ---- */

/* What OpenSSL keeps beside a key, its strength among it, may be missing, too (it is 0 then, and
 * the key "too weak"); and that who signed a certificate is who it is for (a chain would have no
 * end).
 */
static bool is_whole(X509 *certificate)
{
    const EVP_PKEY *key = X509_get0_pubkey(certificate);
    uint32_t flags = X509_get_extension_flags(certificate);

    return key && EVP_PKEY_get_security_bits(key) > 0 && !(flags & EXFLAG_INVALID) &&
           (!(flags & EXFLAG_SI) || (flags & EXFLAG_SS));
}

int tls_store_check_whole(X509 *certificate)
{
    if (is_whole(certificate))
        return 0;
    X509 *again = X509_dup(certificate);
    bool lacked = !again || is_whole(again);
    X509_free(again);
    return lacked ? -ENOMEM : 0;
}

/* ---- lists that are shared ---- */

struct trust_shared {
    struct tls_store_shared *first;
};

/* What reading a path gave, be it good or bad. */
struct tls_store_shared {
    struct tls_store_shared *next;
    char *path;
    struct tls_store store; /* with an X509_STORE of its own */
};

int trust_shared_new(struct trust_shared **ret_shared)
{
    *ret_shared = calloc(1, sizeof(**ret_shared));
    return *ret_shared ? 0 : -ENOMEM;
}

static void free_shared(struct tls_store_shared *each)
{
    X509_STORE_free(each->store.x509);
    free(each->path);
    free(each);
}

struct trust_shared *trust_shared_free(struct trust_shared *shared)
{
    for (struct tls_store_shared *each; shared && (each = shared->first);) {
        shared->first = each->next;
        free_shared(each);
    }
    free(shared);
    return NULL;
}

static int share(struct trust_shared *shared, const char *path, struct tls_store_shared **ret_each)
{
    struct tls_store_shared *each = shared->first;

    while (each && strcmp(each->path, path) != 0)
        each = each->next;
    *ret_each = each;
    if (each)
        return 0;
    each = calloc(1, sizeof(*each));
    if (!each)
        return -ENOMEM;
    each->path = strdup(path);
    tls_store_init(&each->store, X509_STORE_new());
    int r = each->path && each->store.x509 ? read_crls(&each->store, path) : -ENOMEM;
    if (r) {
        free_shared(each);
        return r;
    }
    each->next = shared->first;
    shared->first = *ret_each = each;
    return 0;
}

int tls_store_crls(struct tls_store *store, const char *path, struct trust_shared *shared)
{
    struct tls_store_shared *each;

    if (!shared)
        return read_crls(store, path);
    int r = share(shared, path, &each);
    if (r)
        return r;
    STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(each->store.x509);
    for (int i = 0; i < sk_X509_OBJECT_num(objects); i++) /* the lists are counted, not copied */
        if (X509_STORE_add_crl(store->x509,
                               X509_OBJECT_get0_X509_CRL(sk_X509_OBJECT_value(objects, i))) != 1)
            return -ENOMEM;
    store->n_crls += each->store.n_crls;
    if (each->store.state != NET_TRUST_OK)
        tls_store_spoil(store, each->store.state, "%s", each->store.text);
    return tls_store_find_until(store);
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
bool tls_store_system(struct tls_store *store)
{
    size_t before = tls_store_count(store);
    ERR_clear_error();
    int r = X509_STORE_set_default_paths(store->x509);
    ERR_clear_error();
    return r == 1 && (tls_store_count(store) > before || system_folder_usable());
}
