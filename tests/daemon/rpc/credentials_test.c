/* credentials: who may show which identity to whom. */
#include "rpc/credentials.h"

#include <errno.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/test.h"

/* An identity of that name, with a certificate made on the way. */
static struct identity *new_identity(const char *name)
{
    char path[] = "/tmp/tcpbroker-rpc-XXXXXX", text[256];
    struct identity *identity = NULL;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    FILE *file = fdopen(mkstemp(path), "w");

    CHECK(key && certificate && file);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    CHECK(X509_set_pubkey(certificate, key) == 1 && X509_sign(certificate, key, EVP_sha256()) > 0);
    CHECK(PEM_write_X509(file, certificate) == 1);
    CHECK(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1);
    fclose(file);
    CHECK_INT(identity_new(&identity, name, path, "", text, sizeof(text)), 0);
    unlink(path);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return identity;
}

/* One identity "i", for user 7 and group 60; destinations are the caller's. */
struct fixture {
    struct credentials credentials;
    struct credentials_identity identity;
    uid_t uids[1];
    gid_t gids[1];
};

static void set_up(struct fixture *fixture, struct credentials_destination *destinations, size_t n)
{
    *fixture = (struct fixture){.uids = {7}, .gids = {60}};
    fixture->identity = (struct credentials_identity){.identity = new_identity("i"),
                                                      .uids = fixture->uids,
                                                      .n_uids = 1,
                                                      .gids = fixture->gids,
                                                      .n_gids = 1,
                                                      .destinations = destinations,
                                                      .n_destinations = n};
    fixture->credentials.identities = &fixture->identity;
    fixture->credentials.n_identities = 1;
}

static void tear_down(struct fixture *fixture)
{
    identity_unref(fixture->identity.identity);
}

static int use(const struct fixture *fixture, const struct credentials_user *user,
               const struct credentials_use *wanted)
{
    struct identity *found = NULL;
    int r = credentials_use(&fixture->credentials, "i", user, wanted, &found);
    CHECK(found == (r == 0 ? fixture->identity.identity : NULL));
    return r;
}

TEST(credentials, of_the_other_end)
{
    static struct credentials_user user;
    gid_t groups[256];
    int pair[2], n = getgroups(256, groups);

    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    CHECK_INT(credentials_user_of(&user, pair[0]), 0);
    CHECK_INT(user.uid, geteuid());
    CHECK_INT(user.gids[0], getegid());
    CHECK_INT(user.n_gids, 1 + (n < 0 || n > 255 ? 0 : n));
    for (int i = 0; i < n && n <= 255; i++)
        CHECK_INT(user.gids[1 + i], groups[i]);
    close(pair[0]);
    close(pair[1]);
    CHECK_INT(credentials_user_of(&user, pair[0]), -EBADF);
}

TEST(credentials, nobody_unless_listed)
{
    static const struct {
        uid_t uid;
        gid_t gids[3];
        size_t n_gids;
        int wanted;
    } cases[] = {
        {7, {0}, 0, 0},
        {7, {1, 2}, 2, 0},
        {8, {60}, 1, 0},
        {8, {1, 2, 60}, 3, 0},
        {8, {1, 2, 60}, 2, CREDENTIALS_E_USER}, /* the third is not there */
        {0, {0}, 1, CREDENTIALS_E_USER},        /* root */
        {60, {7}, 1, CREDENTIALS_E_USER},
        {(uid_t)-1, {(gid_t)-1}, 1, CREDENTIALS_E_USER},
    };
    static const struct credentials_use wanted = {.host = "a.test", .verify = true};
    static struct credentials_user user;
    struct identity *found = NULL;
    struct fixture fixture;

    set_up(&fixture, NULL, 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        user.uid = cases[i].uid;
        memcpy(user.gids, cases[i].gids, sizeof(cases[i].gids));
        user.n_gids = cases[i].n_gids;
        CHECK_INT(use(&fixture, &user, &wanted), cases[i].wanted);
    }
    user.uid = 7;
    CHECK_INT(credentials_use(&fixture.credentials, "I", &user, &wanted, &found),
              CREDENTIALS_E_UNKNOWN);
    CHECK_INT(credentials_use(&fixture.credentials, "", &user, &wanted, &found),
              CREDENTIALS_E_UNKNOWN);
    fixture.identity.n_uids = fixture.identity.n_gids = 0;
    CHECK_INT(use(&fixture, &user, &wanted), CREDENTIALS_E_USER);
    tear_down(&fixture);
}

static struct credentials_destination address_of(const char *text, uint16_t port)
{
    struct credentials_destination destination = {.port = port};
    CHECK_INT(address_parse(&destination.address, text, 0), 0);
    address_unmap(&destination.address);
    return destination;
}

TEST(credentials, to_whom)
{
    enum { NAME = 1, BELOW = 2, ADDRESS4 = 4, ADDRESS6 = 8, WITH_PORT = 16 };
    static const struct {
        const char *host, *server_name;
        uint16_t port;
        int allowed_by; /* each of the destinations alone */
    } cases[] = {
        {"a.test", NULL, 443, NAME | WITH_PORT},
        {"A.Test.", NULL, 443, NAME | WITH_PORT},
        {"a.test", NULL, 0, NAME | WITH_PORT}, /* the port is not known yet */
        {"a.test", NULL, 80, NAME},
        {"b.test", NULL, 443, 0},
        {"aa.test", NULL, 443, 0},
        {"x.a.test", NULL, 443, BELOW},
        {"x.y.a.test", NULL, 443, BELOW},
        {".a.test", NULL, 443, 0},
        {"xa.test", NULL, 443, 0},
        {"192.0.2.1", NULL, 443, ADDRESS4},
        {"::ffff:192.0.2.1", NULL, 443, ADDRESS4},
        {"192.0.2.2", NULL, 443, 0},
        {"192.0.2.1.", NULL, 443, 0},
        {"2001:db8::1", NULL, 443, ADDRESS6},
        {"[2001:DB8:0::1]", NULL, 443, ADDRESS6},
        {"2001:db8::2", NULL, 443, 0},
        {"a.test", "a.test", 443, NAME | WITH_PORT},
        {"a.test", "x.a.test", 443, 0},
        {"x.a.test", "y.a.test", 443, BELOW},
        {"192.0.2.1", "a.test", 443, 0},
        {"a.test", "192.0.2.1", 443, 0},
        {"a.test", "", 443, 0},
        {"", NULL, 443, 0},
        {".", NULL, 443, 0},
        {"*.a.test", NULL, 443, BELOW}, /* and nobody can prove to be that */
        {"a.test/", NULL, 443, 0},
    };
    static const struct credentials_user user = {.uid = 7};
    struct credentials_destination destinations[] = {
        {.host = "a.test"},           {.host = "a.test", .below = true}, address_of("192.0.2.1", 0),
        address_of("2001:db8::1", 0), {.host = "a.test", .port = 443},
    };
    struct fixture fixture;

    set_up(&fixture, destinations, 1);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct credentials_use wanted = {.host = cases[i].host,
                                               .server_name = cases[i].server_name,
                                               .port = cases[i].port,
                                               .verify = true};
        for (int k = 0; k < 5; k++) {
            bool allowed = cases[i].allowed_by >> k & 1;
            fixture.identity.destinations = &destinations[k];
            int r = use(&fixture, &user, &wanted);
            if (r != (allowed ? 0 : CREDENTIALS_E_DESTINATION))
                fprintf(stderr, "%s for destination %d\n", cases[i].host, k);
            CHECK_INT(r, allowed ? 0 : CREDENTIALS_E_DESTINATION);
        }
    }
    tear_down(&fixture);
}

TEST(credentials, together_the_destinations_allow_what_each_alone_does_not)
{
    static const struct credentials_user user = {.uid = 7};
    static const struct credentials_use wanted = {
        .host = "192.0.2.1", .server_name = "a.test", .port = 443, .verify = true};
    struct credentials_destination destinations[] = {address_of("192.0.2.1", 443),
                                                     {.host = "a.test", .port = 443}};
    struct fixture fixture;

    set_up(&fixture, destinations, 2);
    CHECK_INT(use(&fixture, &user, &wanted), 0);
    destinations[1].port = 444;
    CHECK_INT(use(&fixture, &user, &wanted), CREDENTIALS_E_DESTINATION);
    tear_down(&fixture);
}

TEST(credentials, unverified_and_serving)
{
    static const struct credentials_user user = {.uid = 7}, other = {.uid = 8};
    static const struct credentials_use unverified = {.host = "a.test", .port = 443},
                                        serving = {.host = NULL},
                                        elsewhere = {.host = "b.test", .port = 443};
    struct credentials_destination destinations[] = {{.host = "a.test"}};
    struct fixture fixture;

    set_up(&fixture, destinations, 1);
    CHECK_INT(use(&fixture, &user, &unverified), CREDENTIALS_E_UNVERIFIED);
    CHECK_INT(use(&fixture, &user, &elsewhere), CREDENTIALS_E_UNVERIFIED);
    CHECK_INT(use(&fixture, &user, &serving), CREDENTIALS_E_DESTINATION);
    CHECK_INT(use(&fixture, &other, &unverified), CREDENTIALS_E_USER);
    fixture.identity.n_destinations = 0;
    CHECK_INT(use(&fixture, &user, &unverified), 0);
    CHECK_INT(use(&fixture, &user, &serving), 0);
    CHECK_INT(use(&fixture, &other, &serving), CREDENTIALS_E_USER);
    tear_down(&fixture);
}

TEST(credentials, profiles_and_the_end)
{
    static const char *const names[] = {"default", "p"};
    const struct trust_settings settings = {.security_level = 2};
    struct credentials credentials = {.n_profiles = 0};
    char text[256];

    CHECK(!credentials_trust(&credentials, "default"));
    credentials_deinit(&credentials); /* nothing in it */
    credentials.profiles = calloc(2, sizeof(*credentials.profiles));
    CHECK(credentials.profiles);
    for (size_t i = 0; i < 2; i++) {
        credentials.profiles[i].name = strdup(names[i]);
        credentials.n_profiles++;
        if (i == 0) /* the second is half made */
            CHECK_INT(trust_new(&credentials.profiles[i].trust, &settings, text, sizeof(text)), 0);
    }
    credentials.identities = calloc(2, sizeof(*credentials.identities));
    CHECK(credentials.identities);
    credentials.identities[0].identity = new_identity("i");
    credentials.n_identities = 2; /* so is this one */
    CHECK(credentials_trust(&credentials, "default") == credentials.profiles[0].trust);
    CHECK(!credentials_trust(&credentials, "Default"));
    CHECK(!credentials_trust(&credentials, ""));
    credentials_deinit(&credentials);
    CHECK_INT(credentials.n_profiles, 0);
    CHECK(!credentials.profiles && !credentials.identities);
}

TEST(credentials, administrators)
{
    enum { OWN = 900 };
    uid_t uids[] = {7, 8};
    const struct credentials_admins nobody = {.group = ""},
                                    some = {.has_gid = true, .gid = 50, .uids = uids, .n_uids = 2},
                                    unknown = {.group = "gone", .gid = 50};
    const struct {
        struct credentials_user user;
        bool nobody, some;
    } cases[] = {
        {{.uid = 0}, true, true},
        {{.uid = OWN}, true, true},
        {{.uid = 7}, false, true},
        {{.uid = 8, .gids = {1}, .n_gids = 1}, false, true},
        {{.uid = 9}, false, false},
        {{.uid = 50}, false, false},                              /* the number of the group */
        {{.uid = 9, .gids = {50}, .n_gids = 1}, false, true},     /* as the first */
        {{.uid = 9, .gids = {1, 50}, .n_gids = 2}, false, true},  /* as another */
        {{.uid = 9, .gids = {1, 50}, .n_gids = 1}, false, false}, /* that he has not */
        {{.uid = 9, .gids = {7, 0, OWN}, .n_gids = 3}, false, false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CHECK_INT(credentials_administers(&nobody, &cases[i].user, OWN), cases[i].nobody);
        CHECK_INT(credentials_administers(&some, &cases[i].user, OWN), cases[i].some);
        CHECK_INT(credentials_administers(&unknown, &cases[i].user, OWN), cases[i].nobody);
    }
}
