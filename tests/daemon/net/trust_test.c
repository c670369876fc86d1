#include "net/trust.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net_fixture.h"
#include "support/test.h"

static struct trust *make(const struct trust_settings *settings)
{
    struct trust *trust;
    char text[256];
    CHECK_INT(trust_new(&trust, settings, text, sizeof(text)), 0);
    return trust;
}

static void check_state(const struct trust_settings *settings, enum net_trust wanted,
                        const char *mentions)
{
    const char *text;
    struct trust *trust = make(settings);
    CHECK_INT(trust_state(trust, &text), wanted);
    if (!strstr(text, mentions))
        fprintf(stderr, "\"%s\" does not mention %s\n", text, mentions);
    CHECK(strstr(text, mentions) != NULL);
    trust_unref(trust);
}

TEST(trust, folder_with_all_kinds_of_files)
{
    char folder[64], path[128];
    struct fixture_ca a, b;
    const char *text;
    fixture_ca_init(&a, "A");
    fixture_ca_init(&b, "B");
    fixture_folder(folder, a.certificate);
    fixture_write_pem(folder, "two.pem", a.certificate); /* the same once more */
    fixture_write_pem(folder, "two.pem", b.certificate);
    fixture_write(folder, "README", "no certificate in here\n");
    fixture_write(folder, "empty", "");
    fixture_write(folder, "damaged.pem",
                  "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    snprintf(path, sizeof(path), "%s/sub", folder);
    CHECK_INT(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/pipe", folder);
    CHECK_INT(mkfifo(path, 0600), 0); /* opening it must not hang */
    struct trust *trust = make(&(struct trust_settings){.cacerts = folder, .security_level = 2});
    CHECK_INT(trust_state(trust, &text), NET_TRUST_OK);
    CHECK_STRING(text, "");
    CHECK_INT(trust_folder_certificates(trust), 2);
    CHECK(trust_ref(trust) == trust);
    CHECK(!trust_unref(trust));
    CHECK_INT(trust_folder_certificates(trust), 2); /* one reference is left */
    trust_unref(trust);
    fixture_remove(folder);
    fixture_ca_deinit(&a);
    fixture_ca_deinit(&b);
}

TEST(trust, states)
{
    char empty[64], full[64], path[128];
    struct fixture_ca ca;
    fixture_ca_init(&ca, "CA");
    fixture_folder(empty, NULL);
    fixture_folder(full, ca.certificate);
    const char *const extra_empty[] = {empty}, *const extra_none[] = {"/nowhere"},
                      *const extra_full[] = {full};

    check_state(&(struct trust_settings){.security_level = 2}, NET_TRUST_EMPTY, "cacerts");
    check_state(&(struct trust_settings){.cacerts = empty}, NET_TRUST_EMPTY, empty);
    check_state(&(struct trust_settings){.cacerts = "/nowhere"}, NET_TRUST_FOLDER, "/nowhere");
    check_state(&(struct trust_settings){.cacerts = "/nowhere", .cacerts_optional = true},
                NET_TRUST_EMPTY, "/nowhere");
    check_state(&(struct trust_settings){.cacerts = full}, NET_TRUST_OK, "");
    check_state(&(struct trust_settings){.cacerts = full, .extra = extra_empty, .n_extra = 1},
                NET_TRUST_EMPTY, empty);
    check_state(&(struct trust_settings){.cacerts = full, .extra = extra_none, .n_extra = 1},
                NET_TRUST_FOLDER, "/nowhere");
    check_state(&(struct trust_settings){.extra = extra_full, .n_extra = 1}, NET_TRUST_OK, "");

    /* a link to nothing is a file that cannot be opened, for root too */
    snprintf(path, sizeof(path), "%s/dangling.pem", full);
    CHECK_INT(symlink("/nowhere/at/all", path), 0);
    check_state(&(struct trust_settings){.cacerts = full}, NET_TRUST_OPEN, "dangling.pem");

    fixture_remove(empty);
    fixture_remove(full);
    fixture_ca_deinit(&ca);
}

TEST(trust, system_store_elsewhere)
{
    char folder[64], file[128];
    struct fixture_ca ca;
    fixture_ca_init(&ca, "CA");
    fixture_folder(folder, NULL);
    fixture_write_pem(folder, "bundle", ca.certificate);
    snprintf(file, sizeof(file), "%s/bundle", folder);
    setenv("SSL_CERT_DIR", "/nowhere", 1);
    setenv("SSL_CERT_FILE", "/nowhere/bundle", 1);
    check_state(&(struct trust_settings){.system_store = true}, NET_TRUST_BUNDLE,
                "ca-certificates");
    check_state(&(struct trust_settings){.system_store = true, .cacerts = folder}, NET_TRUST_OK,
                "");
    setenv("SSL_CERT_FILE", file, 1);
    check_state(&(struct trust_settings){.system_store = true}, NET_TRUST_OK, "");
    unsetenv("SSL_CERT_FILE");
    setenv("SSL_CERT_DIR", folder, 1);
    fixture_write_pem(folder, "0a1b2c3d.0", ca.certificate);
    check_state(&(struct trust_settings){.system_store = true}, NET_TRUST_OK, "");
    unsetenv("SSL_CERT_DIR");
    fixture_remove(folder);
    fixture_ca_deinit(&ca);
}

TEST(trust, invalid_settings)
{
    struct trust *trust = NULL;
    char text[256];
    CHECK_INT(trust_new(&trust, &(struct trust_settings){.security_level = 6}, text, sizeof(text)),
              -EINVAL);
    CHECK(strstr(text, "0 to 5") != NULL);
    CHECK_INT(trust_new(&trust, &(struct trust_settings){.ciphers = "nonsense"}, text, 256),
              -EINVAL);
    CHECK(strstr(text, "nonsense") != NULL);
    CHECK(!trust);
}
