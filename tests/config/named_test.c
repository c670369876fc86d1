/* Sections with a name: heads, what is set and what is inherited, lists, --set, what must hold, and
 * that what is written is read the same. */
#include "support/test.h"

#include "config/option.h"

static struct config *config;
static struct config_report report;

static void begin(void)
{
    config_free(config);
    config = config_new_default();
    CHECK(config != NULL);
    config_report_init(&report);
}

static int parse(const char *text)
{
    begin();
    return config_parse(config, text, strlen(text), "x.conf", &report);
}

static void done(void)
{
    config = config_free(config);
}

static bool told(const char *error)
{
    if (report.n_errors != 1 || strcmp(report.errors[0], error) != 0)
        fprintf(stderr, "%zu errors, \"%s\", not \"%s\"\n", report.n_errors,
                report.n_errors ? report.errors[0] : "", error);
    return report.n_errors == 1 && strcmp(report.errors[0], error) == 0;
}

/* the only error is this one */
static bool refused(const char *text, const char *error)
{
    return parse(text) == CONFIG_E_INVALID && told(error);
}

static bool check_refused(const char *text, const char *error)
{
    return parse(text) == 0 && config_check(config, "x.conf", &report) == CONFIG_E_INVALID &&
           told(error);
}

static void check_list(const struct config_list *list, size_t n, const char *first,
                       const char *last)
{
    CHECK_INT(list->n, n);
    CHECK_STRING(list->items[0], first);
    CHECK_STRING(list->items[n - 1], last);
}

static char *written(void)
{
    char *text = NULL;
    size_t n;
    FILE *stream = open_memstream(&text, &n);
    CHECK(stream != NULL);
    config_write(config, stream);
    CHECK_INT(fclose(stream), 0);
    return text;
}

TEST(named, profiles)
{
    CHECK_INT(
        parse("[tls \"partner\"]\ntrust = folder\ncacerts = /x\nmin_version = 1.3\n"
              "ciphers = A:B\nsecurity_level = 3\nalpn = h2, http/1.1\ncrl=/a /b\n"
              "crl_check = chain\nktls = yes\nstrict = no\n"
              "pins = sha256:1dd4b98cc93ba211c3c88fbe1439965bb5976641893842266462aa08de914af4\n"
              "[tls]\nmin_version = 1.2\n[ tls\t\"B.b_-9\" ]\ntrust = both\n"),
        0);
    const struct config_tls_profile *profile = config_tls_profile(config, "partner");
    CHECK(profile != NULL);
    CHECK_STRING(profile->name, "partner");
    CHECK_INT(profile->trust, CONFIG_TRUST_FOLDER);
    CHECK_STRING(profile->cacerts, "/x");
    CHECK_INT(profile->min_version, CONFIG_TLS_1_3);
    CHECK_STRING(profile->ciphers, "A:B");
    CHECK_INT(profile->security_level, 3);
    check_list(&profile->alpn, 2, "h2", "http/1.1");
    check_list(&profile->crl, 2, "/a", "/b");
    CHECK_INT(profile->crl_check, CONFIG_CRL_CHAIN);
    CHECK_INT(profile->pins.n, 1);
    CHECK(profile->ktls && !config->tls_ktls && !config_tls_profile(config, "B.b_-9")->ktls);
    CHECK(!profile->strict && config->tls_strict && config_tls_profile(config, "B.b_-9")->strict);
    CHECK_INT(config->tls_min_version, CONFIG_TLS_1_2);
    CHECK(config_tls_profile_at(config, 0) == profile); /* in their order */
    CHECK_STRING(config_tls_profile_at(config, 1)->name, "B.b_-9");
    CHECK(config_tls_profile_at(config, 2) == NULL);
    CHECK(config_tls_profile(config, "b.b_-9") == NULL);
    CHECK(config_tls_profile(config, "default") == NULL);
    CHECK(config_identity_at(config, 0) == NULL);
    CHECK_INT(config_check(config, "x.conf", &report), 0);
    done();
}

TEST(named, identities)
{
    CHECK_INT(parse("[identity \"a\"]\ncertificate = /x.pem\n"
                    "[identity \"default\"]\ncertificate = cred:x.pem\nkey = cred:x.key\n"
                    "users = alice,1001 bob\ngroups = 0\ndestinations = *.example.com:443 ::1\n"),
              0);
    const struct config_identity *identity = config_identity(config, "a");
    CHECK(identity != NULL);
    CHECK_STRING(identity->certificate, "/x.pem");
    CHECK_STRING(identity->key, "");
    CHECK_INT(identity->users.n + identity->groups.n + identity->destinations.n, 0);
    identity = config_identity(config, "default"); /* reserved for profiles only */
    CHECK(identity != NULL);
    CHECK_STRING(identity->key, "cred:x.key");
    check_list(&identity->users, 3, "alice", "bob");
    check_list(&identity->groups, 1, "0", "0");
    check_list(&identity->destinations, 2, "*.example.com:443", "::1");
    CHECK_INT(config_check(config, "x.conf", &report), 0);
    done();
}

TEST(named, what_is_absent_or_empty_is_inherited)
{
    /* also when the plain section comes last */
    CHECK_INT(parse("[tls \"a\"]\n[tls \"b\"]\ncacerts =\nciphers =\n[tls \"c\"]\ncacerts = /c\n"
                    "ciphers = DEFAULT\nmin_version = 1.2\n"
                    "[tls]\ncacerts = /t\nciphers = T\nmin_version = 1.3\nsecurity_level = 4\n"),
              0);
    for (int i = 0; i < 2; i++) {
        const struct config_tls_profile *profile = config_tls_profile_at(config, (size_t)i);
        CHECK_STRING(profile->cacerts, "/t");
        CHECK_STRING(profile->ciphers, "T");
        CHECK_INT(profile->min_version, CONFIG_TLS_1_3);
        CHECK_INT(profile->security_level, 4);
        CHECK_INT(profile->trust, CONFIG_TRUST_BOTH);
        CHECK_INT(profile->crl_check, CONFIG_CRL_LEAF);
    }
    CHECK_STRING(config_tls_profile(config, "c")->cacerts, "/c");
    CHECK_STRING(config_tls_profile(config, "c")->ciphers, "DEFAULT");
    CHECK_INT(config_tls_profile(config, "c")->min_version, CONFIG_TLS_1_2);
    /* and what comes later still counts */
    CHECK_INT(config_set(config, "tls.cacerts=/u", &report), 0);
    CHECK_STRING(config_tls_profile(config, "a")->cacerts, "/u");
    CHECK_STRING(config_tls_profile(config, "c")->cacerts, "/c");
    CHECK_INT(config_set(config, "tls \"c\".cacerts=", &report), 0);
    CHECK_STRING(config_tls_profile(config, "c")->cacerts, "/u");
    done();
}

TEST(named, a_profile_trusts_no_more_than_tls_unless_told)
{
    CHECK_INT(parse("[tls]\nsystem_store = no\n[tls \"a\"]\n[tls \"b\"]\ncacerts = /b\n"
                    "[tls \"c\"]\ntrust = both\n"),
              0);
    CHECK_INT(config_tls_profile(config, "a")->trust, CONFIG_TRUST_FOLDER);
    CHECK_INT(config_tls_profile(config, "b")->trust, CONFIG_TRUST_FOLDER);
    CHECK_INT(config_tls_profile(config, "c")->trust, CONFIG_TRUST_BOTH);
    CHECK_INT(parse("[tls]\ncacerts =\n[tls \"a\"]\n[tls \"b\"]\ncacerts = /b\n"), 0);
    CHECK_INT(config_tls_profile(config, "a")->trust, CONFIG_TRUST_SYSTEM);
    CHECK_INT(config_tls_profile(config, "b")->trust, CONFIG_TRUST_BOTH);
    CHECK_INT(config_check(config, "x.conf", &report), 0);
    done();
}

TEST(named, heads)
{
    CHECK(refused("[tls \"x]\n",
                  "x.conf:1: the name has no closing quote; expected [section \"name\"]"));
    CHECK(refused("[tls \"x\"\n", "x.conf:1: the section has no end; expected [section \"name\"]"));
    CHECK(
        refused("[tls \"x\" y]\n", "x.conf:1: text behind the name; expected [section \"name\"]"));
    CHECK(refused("[tls \"x\"] # y\n",
                  "x.conf:1: text after the section; a comment must stand on a line of its own"));
    CHECK(refused("[tls partner]\n",
                  "x.conf:1: a name stands in quotes; expected [tls \"partner\"]"));
    CHECK(refused("[identity]\nusers = x\n",
                  "x.conf:1: [identity] needs a name; expected [identity \"name\"]"));
    CHECK(refused("[connect \"x\"]\n", "x.conf:1: [connect] takes no name; expected [connect]"));
    CHECK(refused("[tsl \"x\"]\n",
                  "x.conf:1: there is no section [tsl \"x\"]; did you mean [tls \"name\"]?"));
    CHECK(refused("[identitiy]\n",
                  "x.conf:1: there is no section [identitiy]; did you mean [identity \"name\"]?"));
    CHECK(
        refused("[tls \"default\"]\ntrust = x\n",
                "x.conf:1: [tls \"default\"] is the section [tls] itself; set its options there"));
    done();
}

TEST(named, names)
{
    static const char *const bad[] = {"", " ", "a b", "a/b", "\xC3\xA4", "a]b", "a'", "a\tb"};
    char text[256], name[128];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(text, sizeof(text), "[tls \"%s\"]\ntrust = x\n", bad[i]);
        CHECK_INT(parse(text), CONFIG_E_INVALID);
        CHECK_INT(report.n_errors, 1);
        CHECK_INT(config->named[CONFIG_KIND_tls_profile].n, 0);
    }
    CHECK(refused("[tls \"a b\"]\n",
                  "x.conf:1: \"a b\" is no name for a section; expected 1 to 64 of "
                  "the characters A-Z, a-z, 0-9, _, . and -"));
    memset(name, 'x', sizeof(name));
    name[65] = 0;
    snprintf(text, sizeof(text), "[tls \"%s\"]\n", name);
    CHECK_INT(parse(text), CONFIG_E_INVALID);
    CHECK_INT(parse(text), CONFIG_E_INVALID);
    name[64] = 0;
    snprintf(text, sizeof(text), "[tls \"%s\"]\nmin_versoin = 1.3\n", name);
    CHECK_INT(parse(text), CONFIG_E_INVALID);
    CHECK(config_tls_profile(config, name) != NULL);
    CHECK(strstr(report.errors[0], "x\".min_version?") != NULL);
    done();
}

TEST(named, a_name_stands_once)
{
    CHECK(refused("[tls \"x\"]\ntrust = both\n[tls \"y\"]\ntrust = both\n[identity \"x\"]\n"
                  "[tls \"x\"]\ntrust = folder\n",
                  "x.conf:6: [tls \"x\"] was begun before, in line 1; expected it once"));
    CHECK_INT(config_tls_profile(config, "x")->trust, CONFIG_TRUST_BOTH);
    CHECK(refused("[tls \"x\"]\ntrust = both\n[tls]\n[tls \"y\"]\ntrust = both\ntrust = system\n",
                  "x.conf:6: tls \"y\".trust was set before, in line 5; expected it once"));
    done();
}

TEST(named, there_are_at_most_so_many)
{
    static char text[CONFIG_MAX_NAMED * 32 + 64];
    size_t used = 0;
    for (int i = 0; i <= CONFIG_MAX_NAMED; i++)
        used += (size_t)sprintf(text + used, "[tls \"%d\"]\ntrust = both\n", i);
    CHECK(refused(text, "x.conf:129: [tls \"64\"] is one too many; expected at most 64 of them"));
    CHECK_INT(config->named[CONFIG_KIND_tls_profile].n, CONFIG_MAX_NAMED);
    CHECK_INT(config_set(config, "tls \"65\".trust=both", &report), CONFIG_E_INVALID);
    CHECK_INT(config_set(config, "tls \"63\".trust=both", &report), 0);
    CHECK_INT(config_set(config, "identity \"65\".users=x", &report), 0);
    done();
}

TEST(named, keys_and_values)
{
    CHECK(refused(
        "[tls \"x\"]\nmin_versoin = 1.3\n",
        "x.conf:2: there is no tls \"x\".min_versoin; did you mean tls \"x\".min_version?"));
    CHECK(refused("[tls \"x\"]\nsystem_store = no\n",
                  "x.conf:2: there is no tls \"x\".system_store; did you mean tls.system_store?"));
    CHECK(refused("[tls]\npins = x\n",
                  "x.conf:2: there is no tls.pins; did you mean tls \"name\".pins?"));
    CHECK(refused("[identity \"x\"]\nqqqqqqqq = x\n",
                  "x.conf:2: there is no identity \"x\".qqqqqqqq; [identity \"name\"] has "
                  "certificate, key, users, groups, destinations"));
    CHECK(refused("pins = x\n",
                  "x.conf:1: pins stands before any section; it belongs to [tls \"name\"]"));
    CHECK(refused("[tls \"x\"]\nmin_version = 1.1\n",
                  "x.conf:2: tls \"x\".min_version: \"1.1\" is not a word of this option; expected "
                  "one of 1.2, 1.3"));
    CHECK(refused("[tls \"x\"]\nmin_version =\n",
                  "x.conf:2: tls \"x\".min_version needs a value: one of 1.2, 1.3"));
    CHECK(refused("[identity \"x\"]\nkey = x.pem\n",
                  "x.conf:2: identity \"x\".key: \"x.pem\" begins neither with / nor with cred:; "
                  "expected an absolute path or cred:NAME of 1 to 4095 bytes, or nothing (it is in "
                  "the certificate's file)"));
    CHECK(refused("[identity \"x\"]\nusers = alice, 12ab\n",
                  "x.conf:2: identity \"x\".users: \"alice, 12ab\" has 12ab, which begins with a "
                  "digit but is no number; expected 1 to 64 users (names or numbers), or nothing "
                  "(nobody by name)"));
    CHECK(refused("[tls \"x\"]\npins = sha256/AAAA\n",
                  "x.conf:2: tls \"x\".pins: \"sha256/AAAA\" has sha256/AAAA, which has not the 44 "
                  "characters of a SHA-256 in base64; expected 1 to 32 hashes (sha256/BASE64 or "
                  "sha256:HEX), or nothing (any key)"));
    done();
}

TEST(named, lists)
{
    static const struct {
        const char *value, *error; /* NULL: it is "a b" */
    } values[] = {
        {"a b", NULL},
        {"a,b", NULL},
        {"a , b", NULL},
        {" a\t \tb ", NULL},
        {",a b", "has a comma without an item before it"},
        {"a,,b", "has a comma without an item before it"},
        {"a b,", "has a comma without an item behind it"},
        {"a b a", "has a, which stands there twice"},
        {"a 'b'", "has 'b', which must stand without quotes"},
        {"a # b", "has #, which is a comment"},
        {"a ;b", "has ;b, which is a comment"},
        {"a *", "has *, which has a character that is not allowed in a name"},
    };
    char text[128];
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        snprintf(text, sizeof(text), "[identity \"x\"]\nusers = %s\n", values[i].value);
        CHECK_INT(parse(text), values[i].error ? CONFIG_E_INVALID : 0);
        if (values[i].error)
            CHECK(strstr(report.errors[0], values[i].error) != NULL);
        else
            check_list(&config_identity(config, "x")->users, 2, "a", "b");
    }
    done();
}

TEST(named, a_list_fits_a_line)
{
    static char text[CONFIG_MAX_LINE + 128];
    size_t used = (size_t)sprintf(text, "[identity \"x\"]\nusers=");
    for (int i = 0; i < 16; i++)
        used += (size_t)sprintf(text + used, "%s%0250d", i ? "," : "u", i);
    strcat(text, "\n");
    CHECK_INT(parse(text), CONFIG_E_INVALID);
    strcpy(text, "[identity \"x\"]\nusers=");
    used = strlen(text);
    for (int i = 0; i < 16; i++)
        used += (size_t)sprintf(text + used, "%su%0248d", i ? "," : "", i);
    strcpy(text + used, "\n");
    CHECK_INT(parse(text), 0); /* 3999 bytes */
    char *first = written();
    CHECK_INT(parse(first), 0);
    CHECK_INT(config_identity(config, "x")->users.n, 16);
    strcpy(text + used, "u,u\n");
    CHECK_INT(parse(text), CONFIG_E_INVALID);
    CHECK(strstr(report.errors[0], "is too long") != NULL);
    free(first);
    done();
}

TEST(named, set)
{
    begin();
    CHECK_INT(config_set(config, "tls \"x\".min_version=1.3", &report), 0);
    CHECK_INT(config_set(config, " tls  \"x\" . trust = both ", &report), 0);
    CHECK_INT(config_tls_profile(config, "x")->min_version, CONFIG_TLS_1_3);
    CHECK_INT(config_tls_profile(config, "x")->trust, CONFIG_TRUST_BOTH);
    CHECK_INT(config->named[CONFIG_KIND_tls_profile].n, 1);
    CHECK_INT(config_set(config, "tls \"x\".trust=system", &report), 0); /* the last one counts */
    CHECK_INT(config_tls_profile(config, "x")->trust, CONFIG_TRUST_SYSTEM);
    CHECK_INT(report.n_errors, 0);
    static const char *const bad[][2] = {
        {"tls \"x.trust=both", "--set tls \"x.trust=both: expected section \"name\".key=value"},
        {"tls \"x\"=both", "--set tls \"x\"=both: expected section \"name\".key=value"},
        {"tls \"x\"trust=both", "--set tls \"x\"trust=both: expected section \"name\".key=value"},
        {"tls.x.trust=both",
         "--set tls.x.trust=both: a name stands in quotes; expected section \"name\".key=value"},
        {"identity.users=x",
         "--set identity.users=x: [identity] needs a name; expected [identity \"name\"]"},
        {"tls \"default\".trust=both", "--set tls \"default\".trust=both: [tls \"default\"] is the "
                                       "section [tls] itself; set its options there"},
        {"tls \"x\".trsut=both", "--set tls \"x\".trsut=both: there is no tls \"x\".trsut; did you "
                                 "mean tls \"x\".trust?"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        config_report_init(&report);
        CHECK_INT(config_set(config, bad[i][0], &report), CONFIG_E_INVALID);
        CHECK(told(bad[i][1]));
    }
    done();
}

TEST(named, set_completes_a_file)
{
    static const char *const sets[] = {"identity \"x\".certificate=/x.pem",
                                       "identity \"x\".users=alice"};
    CHECK_INT(config_load(NULL, 0, sets, 2, &report, &config), 0);
    CHECK_STRING(config_identity(config, "x")->certificate, "/x.pem");
    done();
    CHECK_INT(config_load(NULL, 0, sets + 1, 1, &report, &config), CONFIG_E_INVALID);
    CHECK(told("--set: [identity \"x\"] has no certificate; expected an absolute path or cred:NAME "
               "of 1 to 4095 bytes"));
}

TEST(named, what_must_hold)
{
    CHECK(check_refused("\n[identity \"x\"]\nusers = alice\n",
                        "x.conf:2: [identity \"x\"] has no certificate; expected an absolute path "
                        "or cred:NAME of 1 to 4095 bytes"));
    CHECK(check_refused("[tls]\ncacerts =\n[tls \"x\"]\ntrust = folder\n",
                        "x.conf:3: [tls \"x\"] trusts a folder only, but has none: set cacerts "
                        "there or in [tls]"));
    CHECK(check_refused("[tls \"x\"]\ntrust = system\ncacerts = /x\n",
                        "x.conf:1: [tls \"x\"] has cacerts, but its trust is system, which leaves "
                        "that folder out; expected trust = folder or both, or no cacerts"));
    CHECK(check_refused("[tls \"x\"]\ncrl_check = leaf\n",
                        "x.conf:1: [tls \"x\"] has crl_check, but no crl to look into; set both or "
                        "none"));
    CHECK_INT(parse("[tls \"x\"]\ncrl_check = off\n[tls \"y\"]\ntrust = system\n"), 0);
    CHECK_INT(config_check(config, "x.conf", &report), 0);
    /* every one is told, and what is wrong with the plain ones beside them */
    CHECK_INT(parse("[tls]\ncacerts =\nsystem_store = no\n[identity \"x\"]\n[identity \"y\"]\n"),
              0);
    CHECK_INT(config_check(config, "x.conf", &report), CONFIG_E_INVALID);
    CHECK_INT(report.n_errors, 3);
    done();
}

TEST(named, what_is_written_is_read_the_same)
{
    CHECK_INT(parse("[tls \"b\"]\nalpn=h2,http/1.1\ncacerts=/x y\n[identity \"i\"]\nusers=a 1,b\n"
                    "certificate=cred:c\n[tls \"a\"]\n[tls]\nmin_version=1.3\n[tls \"c\"]\n"
                    "ciphers=\nalpn=\nsecurity_level=1\n"),
              0);
    char *first = written();
    CHECK(strstr(first, "\n[tls \"b\"]\ncacerts = /x y\nalpn = h2 http/1.1\n\n[tls \"a\"]\n\n"
                        "[tls \"c\"]\nsecurity_level = 1\nalpn =\n\n"
                        "[identity \"i\"]\ncertificate = cred:c\nusers = a 1 b\n\n") != NULL);
    CHECK_INT(parse(first), 0);
    CHECK_STRING(config_tls_profile_at(config, 1)->name, "a");
    CHECK_INT(config_tls_profile_at(config, 1)->min_version, CONFIG_TLS_1_3);
    check_list(&config_identity(config, "i")->users, 3, "a", "b");
    char *second = written();
    CHECK_STRING(second, first);
    /* only what was set is written: what is inherited goes on following [tls] */
    CHECK_INT(config_set(config, "tls.min_version=1.2", &report), 0);
    CHECK_INT(config_tls_profile(config, "a")->min_version, CONFIG_TLS_1_2);
    free(first);
    free(second);
    done();
}

TEST(named, a_value_as_long_as_a_line_is_written_into_one)
{
    static char text[CONFIG_MAX_LINE + 64];
    strcpy(text, "[tls]\ncacerts=");
    size_t n = strlen(text), n_value = CONFIG_MAX_LINE - strlen("cacerts=");
    memset(text + n, 'x', n_value);
    text[n] = '/';
    strcpy(text + n + n_value, "\n[tls \"x\"]\n");
    CHECK_INT(parse(text), 0);
    char *first = written();
    CHECK_INT(parse(first), 0);
    CHECK_INT(strlen(config_tls_profile(config, "x")->cacerts), n_value);
    free(first);
    done();
}

/* ---- tunnels ---- */

static bool wrong(const char *text, const char *error)
{
    CHECK_INT(parse(text), 0);
    CHECK_INT(config_check(config, "x.conf", &report), CONFIG_E_INVALID);
    bool same = report.n_errors == 1 && strcmp(report.errors[0], error) == 0;
    if (!same)
        fprintf(stderr, "\"%s\", not \"%s\"\n", report.errors[0], error);
    return same;
}

#define DB "listen = /a\nconnect = db:5432\n"

TEST(named, tunnels)
{
    CHECK_INT(
        parse("[tunnel \"db\"]\n" DB "[tunnel \"all\"]\nlisten = [::1]:5432\n"
              "connect = [::1]:postgresql\nsecure = yes\nverify = no\nserver_name = x.example\n"
              "profile = p\nidentity = i\nalpn = a, b\ntimeout = 5s\nmode = 0600\n"
              "[tls \"p\"]\n[identity \"i\"]\ncertificate = /x\n"),
        0);
    const struct config_tunnel *tunnel = config_tunnel(config, "db");
    CHECK(tunnel != NULL);
    CHECK(tunnel->secure && tunnel->verify);
    CHECK_INT(tunnel->mode, 0660);
    CHECK_INT(tunnel->timeout, 0);
    CHECK_STRING(tunnel->group, "");
    tunnel = config_tunnel(config, "all");
    CHECK(tunnel != NULL);
    CHECK(!tunnel->verify);
    CHECK_INT(tunnel->timeout, 5000);
    check_list(&tunnel->alpn, 2, "a", "b");
    CHECK_INT(config_check(config, "x.conf", &report), 0);
    done();
}

TEST(named, tunnels_that_lead_nowhere)
{
    CHECK(refused("[tunnel \"a\"]\nlisten = 0.0.0.0:80\n",
                  "x.conf:2: tunnel \"a\".listen: \"0.0.0.0:80\" is neither an absolute path nor a "
                  "port of a loopback address; nobody outside this host may come in here; expected "
                  "an absolute path of at most 107 bytes, 127.0.0.1:PORT or [::1]:PORT"));
    CHECK(wrong("[tls]\n[tunnel \"a\"]\n" DB "profile = p\n",
                "x.conf:2: [tunnel \"a\"] has profile = p, but there is no [tls \"p\"]"));
    CHECK(wrong("[tunnel \"a\"]\n" DB "profile = default\nidentity = i\n",
                "x.conf:1: [tunnel \"a\"] has identity = i, but there is no [identity \"i\"]"));
    CHECK(wrong("[tunnel \"a\"]\n" DB "secure = no\nserver_name = x\n",
                "x.conf:1: [tunnel \"a\"] has secure = no, and a profile, identity, server_name or "
                "alpn, which only TLS has a use for"));
    CHECK(wrong("[tunnel \"a\"]\n" DB "\n[tunnel \"b\"]\n" DB,
                "x.conf:5: [tunnel \"b\"] listens on /a, and so does [tunnel \"a\"]"));
    CHECK(wrong("[socks]\nsocket = /a\n[tunnel \"a\"]\n" DB,
                "x.conf:3: [tunnel \"a\"] listens on /a, and so does [socks]"));
    CHECK(wrong("[tunnel \"a\"]\nlisten = /a\n",
                "x.conf:1: [tunnel \"a\"] has no connect; expected HOST:PORT, with an IPv6 address "
                "in brackets; PORT may be the name of a service"));
    done();
}
