/* tls_store: revocation lists from files and folders; what is kept of the first trouble. Which list
 * leads to which verdict is in tests/support/revocation_cases.py. */
#include "net/tls_store.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <time.h>

#include "net/trust.h"
#include "net_fixture.h"
#include "support/test.h"

/* Add a list to a file; hours: until it is out of date, 0: never. delta: it says that it has only
 * what has changed. */
static void write_list(const char *path, const struct fixture_ca *ca, long hours, bool delta)
{
    FILE *file = fopen(path, "a");
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *time = X509_gmtime_adj(NULL, -3600);
    MUST(file && crl && time && X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1);
    MUST(X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->certificate)) == 1);
    MUST(X509_CRL_set1_lastUpdate(crl, time) == 1);
    if (hours)
        MUST(X509_gmtime_adj(time, 3600 * hours) && X509_CRL_set1_nextUpdate(crl, time) == 1);
    if (delta) {
        ASN1_INTEGER *number = ASN1_INTEGER_new();
        MUST(number && ASN1_INTEGER_set(number, 1) == 1 &&
             X509_CRL_add1_ext_i2d(crl, NID_delta_crl, number, 1, 0) == 1);
        ASN1_INTEGER_free(number);
    }
    MUST(X509_CRL_sign(crl, ca->key, EVP_sha256()) > 0);
    MUST(PEM_write_X509_CRL(file, crl) == 1 && fclose(file) == 0);
    ASN1_TIME_free(time);
    X509_CRL_free(crl);
}

struct files {
    struct fixture_ca ca;
    char folder[64], path[128];
    struct tls_store store;
};

static void set_up(struct files *files)
{
    fixture_ca_init(&files->ca, "CA");
    fixture_folder(files->folder, NULL);
    snprintf(files->path, sizeof(files->path), "%s/list", files->folder);
    tls_store_init(&files->store, X509_STORE_new());
}

static void tear_down(struct files *files)
{
    X509_STORE_free(files->store.x509);
    fixture_remove(files->folder);
    fixture_ca_deinit(&files->ca);
}

static void begin_anew(struct files *files)
{
    X509_STORE_free(files->store.x509);
    tls_store_init(&files->store, X509_STORE_new());
}

static void check_left(const struct tls_store *store, int64_t hours)
{
    int64_t left = store->crls_until - (int64_t)time(NULL);
    CHECK(left > hours * 3600 - 60 && left <= hours * 3600);
}

TEST(tls_store, the_first_trouble_is_told)
{
    struct tls_store store;
    tls_store_init(&store, NULL);
    CHECK_INT(store.state, NET_TRUST_OK);
    CHECK_STRING(store.text, "");
    tls_store_spoil(&store, NET_TRUST_OPEN, "%s %d", "number", 1);
    tls_store_spoil(&store, NET_TRUST_EMPTY, "number 2");
    CHECK_INT(store.state, NET_TRUST_OPEN);
    CHECK_STRING(store.text, "number 1");
}

TEST(tls_store, lists_of_a_file_and_of_a_folder)
{
    struct files files;
    set_up(&files);
    write_list(files.path, &files.ca, 48, false);
    write_list(files.path, &files.ca, 24, false);
    write_list(files.path, &files.ca, -24, false);
    CHECK_INT(tls_store_crls(&files.store, files.path, NULL), 0);
    CHECK_INT(files.store.state, NET_TRUST_OK);
    CHECK_INT(files.store.n_crls, 3);
    CHECK_INT(tls_store_count(&files.store), 3);
    check_left(&files.store, 48);
    begin_anew(&files);
    CHECK_INT(tls_store_crls(&files.store, files.folder, NULL), 0);
    CHECK_INT(files.store.state, NET_TRUST_OK);
    CHECK_INT(files.store.n_crls, 3);
    tear_down(&files);
}

/* Which lists two stores have in common: they are the same ones, not copies. */
TEST(tls_store, lists_that_are_shared)
{
    struct files files;
    struct trust_shared *shared = NULL;
    struct tls_store other, third;

    set_up(&files);
    write_list(files.path, &files.ca, 48, false);
    write_list(files.path, &files.ca, 24, true);
    tls_store_init(&other, X509_STORE_new());
    tls_store_init(&third, X509_STORE_new());
    CHECK_INT(trust_shared_new(&shared), 0);
    CHECK_INT(tls_store_crls(&files.store, files.path, shared), 0);
    MUST(unlink(files.path) == 0); /* all are of one state of the files */
    CHECK_INT(tls_store_crls(&other, files.path, shared), 0);
    CHECK_INT(tls_store_crls(&third, files.path, NULL), 0);
    trust_shared_free(shared);
    CHECK_INT(other.state, NET_TRUST_OPEN);
    CHECK_STRING(other.text, files.store.text);
    CHECK(strstr(other.text, "list number 2 has only what has changed") != NULL);
    CHECK(strstr(third.text, "cannot open") != NULL);
    CHECK_INT(other.n_crls, 1);
    CHECK(other.crls_until == files.store.crls_until && other.crls_until < INT64_MAX);
    X509_OBJECT *one = sk_X509_OBJECT_value(X509_STORE_get0_objects(files.store.x509), 0);
    X509_OBJECT *same = sk_X509_OBJECT_value(X509_STORE_get0_objects(other.x509), 0);
    CHECK(X509_OBJECT_get0_X509_CRL(one) == X509_OBJECT_get0_X509_CRL(same));
    X509_STORE_free(other.x509);
    X509_STORE_free(third.x509);
    tear_down(&files);
}

/* an issuer is without a list when its newest one is out of date; the first issuer counts */
TEST(tls_store, an_old_list_beside_a_newer_one)
{
    struct files files;
    struct fixture_ca other;
    set_up(&files);
    fixture_ca_init(&other, "other CA");
    write_list(files.path, &files.ca, -24, false);
    write_list(files.path, &other, 12, false);
    write_list(files.path, &files.ca, 48, false);
    write_list(files.path, &other, -48, false);
    CHECK_INT(tls_store_crls(&files.store, files.path, NULL), 0);
    check_left(&files.store, 12);
    write_list(files.path, &other, 72, false);
    begin_anew(&files);
    CHECK_INT(tls_store_crls(&files.store, files.path, NULL), 0);
    check_left(&files.store, 48);
    write_list(files.path, &files.ca, 0, false); /* for ever */
    begin_anew(&files);
    CHECK_INT(tls_store_crls(&files.store, files.folder, NULL), 0);
    check_left(&files.store, 72);
    fixture_ca_deinit(&other);
    tear_down(&files);
}

TEST(tls_store, without_an_end)
{
    struct files files;
    set_up(&files);
    write_list(files.path, &files.ca, 0, false);
    CHECK_INT(tls_store_crls(&files.store, files.path, NULL), 0);
    CHECK(files.store.crls_until == INT64_MAX);
    tear_down(&files);
}

TEST(tls_store, a_delta_spoils)
{
    struct files files;
    set_up(&files);
    write_list(files.path, &files.ca, 24, false);
    write_list(files.path, &files.ca, 24, true);
    CHECK_INT(tls_store_crls(&files.store, files.path, NULL), 0);
    CHECK_INT(files.store.state, NET_TRUST_OPEN);
    CHECK(strstr(files.store.text, "list number 2 has only what has changed") != NULL);
    CHECK_INT(files.store.n_crls, 1);
    tear_down(&files);
}

static void check_bad(struct files *files, const char *path, enum net_trust state,
                      const char *words)
{
    begin_anew(files);
    CHECK_INT(tls_store_crls(&files->store, path, NULL), 0);
    CHECK_INT(files->store.state, state);
    if (!strstr(files->store.text, words))
        fprintf(stderr, "\"%s\" does not mention %s\n", files->store.text, words);
    CHECK(strstr(files->store.text, words) != NULL);
}

TEST(tls_store, what_is_no_list)
{
    char path[192];
    struct files files;
    set_up(&files);
    check_bad(&files, files.folder, NET_TRUST_EMPTY, files.folder);
    check_bad(&files, "/nowhere", NET_TRUST_OPEN, "do not name it");
    check_bad(&files, "/dev/null", NET_TRUST_OPEN, "/dev/null is no revocation list");
    MUST(mkfifo(files.path, 0600) == 0); /* opening it must not hang */
    check_bad(&files, files.path, NET_TRUST_OPEN, "is no revocation list");
    check_bad(&files, files.folder, NET_TRUST_EMPTY, files.folder);
    snprintf(path, sizeof(path), "%s/sub", files.folder);
    MUST(mkdir(path, 0700) == 0);
    check_bad(&files, files.folder, NET_TRUST_EMPTY, files.folder);
    fixture_write(files.folder, "README", "no list in here\n");
    check_bad(&files, files.folder, NET_TRUST_OPEN, "README holds no revocation list in PEM");
    tear_down(&files);
}

TEST(tls_store, of_a_trust_snapshot)
{
    struct files files;
    struct trust *trust;
    char text[256];
    const char *words, *const lists[] = {files.path};
    set_up(&files);
    fixture_write_pem(files.folder, "ca", files.ca.certificate);
    struct trust_settings settings = {.cacerts = files.folder,
                                      .security_level = 2,
                                      .crls = lists,
                                      .n_crls = 1,
                                      .crl_check = TRUST_CRL_LEAF};
    CHECK_INT(trust_new(&trust, &settings, text, sizeof(text)), 0);
    CHECK_INT(trust_state(trust, &words), NET_TRUST_OPEN); /* there is none yet */
    CHECK_INT(trust_folder_certificates(trust), 1);
    trust_unref(trust);
    write_list(files.path, &files.ca, -24, false);
    CHECK_INT(trust_new(&trust, &settings, text, sizeof(text)), 0);
    CHECK_INT(trust_state(trust, &words), NET_TRUST_OK); /* verification says what is wrong */
    CHECK_INT(trust_crls(trust), 1);
    CHECK(trust_crls_until(trust) < (int64_t)time(NULL));
    trust_unref(trust);
    settings.crl_check = TRUST_CRL_OFF; /* the file is not even read */
    CHECK_INT(trust_new(&trust, &settings, text, sizeof(text)), 0);
    CHECK_INT(trust_crls(trust), 0);
    CHECK(trust_crls_until(trust) == INT64_MAX);
    trust_unref(trust);
    tear_down(&files);
}
