#include "app/profiles.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "app/ids.h"
#include "config/value.h"
#include "net/hostname.h"
#include "util/log.h"

enum { EXPIRES_SOON_S = 14 * 86400, DAY_S = 86400 };

static int fail_memory(char *reason, size_t n_reason)
{
    snprintf(reason, n_reason, "out of memory");
    return 1;
}

/* ---- trust profiles ---- */

/* What differs between [tls] and a [tls "name"]. */
struct source {
    const char *name, *cacerts;
    bool system_store, min_tls13;
    const char *ciphers;
    int security_level;
    const struct config_list *crl;
    int crl_check;
    bool strict, ktls;
    const struct config_list *alpn, *pins; /* NULL: none */
};

static bool is_default_folder(const char *path)
{
    return strcmp(path, "/etc/tcpbroker/cacerts") == 0;
}

static int read_pins(const struct config_list *pins, uint8_t (**ret_pins)[TRUST_PIN_SIZE])
{
    if (!pins || pins->n == 0)
        return 0;
    *ret_pins = calloc(pins->n, sizeof(**ret_pins));
    if (!*ret_pins)
        return -ENOMEM;
    for (size_t i = 0; i < pins->n; i++)
        if (config_read_pin(pins->items[i], (*ret_pins)[i]))
            return -EINVAL; /* the configuration has been checked */
    return 0;
}

static int read_alpn(const struct config_list *alpn, unsigned char *wire, size_t *ret_n)
{
    *ret_n = 0;
    for (size_t i = 0; alpn && i < alpn->n; i++) {
        size_t n = strlen(alpn->items[i]);
        if (n == 0 || n > 255 || *ret_n + 1 + n > TRUST_ALPN_MAX)
            return -EINVAL;
        wire[(*ret_n)++] = (unsigned char)n;
        memcpy(wire + *ret_n, alpn->items[i], n);
        *ret_n += n;
    }
    return 0;
}

static int make_trust(const struct source *source, const struct config *config,
                      const struct app_options *options, struct trust_shared *shared,
                      struct trust **ret_trust, char *text, size_t n_text)
{
    static const enum trust_crl_check checks[] = {[CONFIG_CRL_OFF] = TRUST_CRL_OFF,
                                                  [CONFIG_CRL_LEAF] = TRUST_CRL_LEAF,
                                                  [CONFIG_CRL_CHAIN] = TRUST_CRL_CHAIN};
    unsigned char alpn[TRUST_ALPN_MAX];
    uint8_t(*pins)[TRUST_PIN_SIZE] = NULL;
    struct trust_settings settings = {
        .cacerts = source->cacerts,
        .extra = options ? options->cacerts : NULL,
        .n_extra = options ? options->n_cacerts : 0,
        /* the default folder need not exist; one that somebody has chosen must */
        .cacerts_optional = is_default_folder(source->cacerts),
        .system_store = source->system_store,
        .min_tls13 = source->min_tls13,
        .ciphers = source->ciphers,
        .security_level = source->security_level,
        .lenient = !source->strict,
        .crl_check = checks[source->crl_check],
        .crls = (const char *const *)source->crl->items,
        .n_crls = source->crl->n,
        .shared = shared,
        .n_pins = source->pins ? source->pins->n : 0,
        .alpn = alpn,
        .session_cache = (size_t)config->tls_session_cache,
        .session_time_ms = config->tls_session_time,
        .ktls = source->ktls,
    };
    int r = read_pins(source->pins, &pins);
    settings.pins = (const uint8_t(*)[TRUST_PIN_SIZE])pins;
    if (r == 0) {
        r = read_alpn(source->alpn, alpn, &settings.n_alpn);
        if (r)
            snprintf(text, n_text, "alpn has more than %d bytes", TRUST_ALPN_MAX);
    }
    if (r == 0)
        r = trust_new(ret_trust, &settings, text, n_text);
    free(pins);
    return r;
}

/* options: of the default profile; its folders are beside its own. */
static int add_profile(struct credentials *credentials, const struct source *source,
                       const struct config *config, const struct app_options *options,
                       struct trust_shared *shared, char *reason, size_t n_reason)
{
    struct credentials_profile *profile = &credentials->profiles[credentials->n_profiles];
    char text[512] = "";

    profile->name = strdup(source->name);
    if (!profile->name)
        return fail_memory(reason, n_reason);
    credentials->n_profiles++;
    int r = make_trust(source, config, options, shared, &profile->trust, text, sizeof(text));
    if (r == 0)
        return 0;
    if (options)
        snprintf(reason, n_reason, "cannot set up TLS: %s", text[0] ? text : strerror(-r));
    else
        snprintf(reason, n_reason, "[tls \"%s\"]: cannot set up TLS: %s", source->name,
                 text[0] ? text : strerror(-r));
    return r == -EINVAL ? 2 : 1;
}

static int load_profiles(struct credentials *credentials, const struct config *config,
                         const struct app_options *options, struct trust_shared *shared,
                         char *reason, size_t n_reason)
{
    const struct source plain = {
        .name = "default",
        .cacerts = config->tls_cacerts,
        .system_store = config->tls_system_store,
        .min_tls13 = config->tls_min_version == CONFIG_TLS_1_3,
        .ciphers = config->tls_ciphers,
        .security_level = (int)config->tls_security_level,
        .crl = &config->tls_crl,
        .crl_check = config->tls_crl_check,
        .strict = config->tls_strict,
        .ktls = config->tls_ktls,
    };
    credentials->profiles = calloc(1 + CONFIG_MAX_NAMED, sizeof(*credentials->profiles));
    if (!credentials->profiles)
        return fail_memory(reason, n_reason);
    int status = add_profile(credentials, &plain, config, options, shared, reason, n_reason);
    const struct config_tls_profile *profile;
    for (size_t i = 0; status == 0 && (profile = config_tls_profile_at(config, i)); i++) {
        const struct source named = {
            .name = profile->name,
            .cacerts = profile->trust == CONFIG_TRUST_SYSTEM ? "" : profile->cacerts,
            .system_store = profile->trust != CONFIG_TRUST_FOLDER,
            .min_tls13 = profile->min_version == CONFIG_TLS_1_3,
            .ciphers = profile->ciphers,
            .security_level = (int)profile->security_level,
            .crl = &profile->crl,
            .crl_check = profile->crl_check,
            .strict = profile->strict,
            .ktls = profile->ktls,
            .alpn = &profile->alpn,
            .pins = &profile->pins,
        };
        status = add_profile(credentials, &named, config, NULL, shared, reason, n_reason);
    }
    return status;
}

/* ---- identities ---- */

/* Numbers of the users or groups of a list. Whom the system does not know is nobody: passed over,
 * with a line in the log. */
static int read_ids(const struct config_list *list, const char *section, const char *kind,
                    int (*find)(const char *name, uint32_t *ret_id, bool *ret_known),
                    uint32_t **ret_ids, size_t *ret_n)
{
    if (list->n == 0)
        return 0;
    *ret_ids = calloc(list->n, sizeof(**ret_ids));
    if (!*ret_ids)
        return -ENOMEM;
    for (size_t i = 0; i < list->n; i++) {
        bool known = false;
        uint32_t id;
        if (config_read_id(list->items[i], &known, &id))
            return -EINVAL; /* the configuration has been checked */
        int r = known ? 0 : find(list->items[i], &id, &known);
        if (r)
            return r;
        if (known)
            (*ret_ids)[(*ret_n)++] = id;
        else
            log_warning("[%s]: there is no %s %s here; it is passed over", section, kind,
                        list->items[i]);
    }
    return 0;
}

static int read_destination(const char *text, struct credentials_destination *ret_destination)
{
    struct config_destination destination;

    if (config_read_destination(text, &destination))
        return -EINVAL; /* the configuration has been checked */
    ret_destination->below = destination.below;
    ret_destination->port = destination.port;
    if (destination.is_address) {
        int r = address_parse(&ret_destination->address, destination.host, 0);
        address_unmap(&ret_destination->address);
        return r ? -EINVAL : 0;
    }
    int r = hostname_wire(destination.host, ret_destination->host);
    size_t n = r ? 0 : strlen(ret_destination->host);
    if (n > 1 && ret_destination->host[n - 1] == '.')
        ret_destination->host[n - 1] = '\0';
    return r > 0 ? -EINVAL : r;
}

static int read_destinations(const struct config_list *list, struct credentials_identity *identity)
{
    if (list->n == 0)
        return 0;
    identity->destinations = calloc(list->n, sizeof(*identity->destinations));
    if (!identity->destinations)
        return -ENOMEM;
    for (size_t i = 0; i < list->n; i++) {
        int r = read_destination(list->items[i], &identity->destinations[i]);
        if (r)
            return r;
        identity->n_destinations++;
    }
    return 0;
}

static int find_file(const char *option, char *path, size_t n_path, char *text, size_t n_text)
{
    const char *wrong = config_file_path(option, path, n_path);
    if (!wrong)
        return 0;
    snprintf(text, n_text, "%s %s", option, wrong);
    return -EINVAL;
}

static int read_identity(const struct config_identity *config,
                         struct credentials_identity *identity, char *text, size_t n_text)
{
    char certificate[4096], key[4096] = "";

    char section[CONFIG_MAX_NAME + 16];

    snprintf(section, sizeof(section), "identity \"%s\"", config->name);
    int r = find_file(config->certificate, certificate, sizeof(certificate), text, n_text);
    if (r == 0 && *config->key)
        r = find_file(config->key, key, sizeof(key), text, n_text);
    if (r == 0)
        r = identity_new(&identity->identity, config->name, certificate, key, text, n_text);
    if (r == 0)
        r = read_ids(&config->users, section, "user", ids_find_user, &identity->uids,
                     &identity->n_uids);
    if (r == 0)
        r = read_ids(&config->groups, section, "group", ids_find_group, &identity->gids,
                     &identity->n_gids);
    if (r == 0)
        r = read_destinations(&config->destinations, identity);
    return r;
}

/* systemd gives credentials to the service only: who checks a configuration by hand has none. */
static bool out_of_sight(const struct config_identity *identity, const struct app_options *options)
{
    return options->check && !getenv("CREDENTIALS_DIRECTORY") &&
           (strncmp(identity->certificate, "cred:", 5) == 0 ||
            strncmp(identity->key, "cred:", 5) == 0);
}

static int load_identities(struct credentials *credentials, const struct config *config,
                           const struct app_options *options, char *reason, size_t n_reason)
{
    const struct config_identity *identity;
    char text[512];

    credentials->identities = calloc(CONFIG_MAX_NAMED, sizeof(*credentials->identities));
    if (!credentials->identities)
        return fail_memory(reason, n_reason);
    for (size_t i = 0; (identity = config_identity_at(config, i)); i++) {
        text[0] = '\0';
        if (out_of_sight(identity, options)) {
            fprintf(stderr, "[identity \"%s\"]: credentials of systemd cannot be looked at here\n",
                    identity->name);
            continue;
        }
        int r = read_identity(identity, &credentials->identities[credentials->n_identities++], text,
                              sizeof(text));
        if (r == 0)
            continue;
        snprintf(reason, n_reason, "[identity \"%s\"]: %s", identity->name,
                 text[0] ? text : strerror(-r));
        return r == -EINVAL ? 2 : 1;
    }
    return 0;
}

/* ---- administrators ---- */

static int load_admins(struct credentials_admins *admins, const struct config *config, char *reason,
                       size_t n_reason)
{
    uint32_t gid = 0;
    int r = 0;

    snprintf(admins->group, sizeof(admins->group), "%s", config->admin_group);
    if (*admins->group && config_read_id(admins->group, &admins->has_gid, &gid) == 0 &&
        !admins->has_gid)
        r = ids_find_group(admins->group, &gid, &admins->has_gid);
    admins->gid = gid;
    if (r == 0)
        r = read_ids(&config->admin_users, "admin", "user", ids_find_user, &admins->uids,
                     &admins->n_uids);
    if (r == 0)
        return 0;
    snprintf(reason, n_reason, "[admin]: %s", strerror(-r));
    return 1;
}

/* ---- all of it ---- */

int profiles_load(struct credentials *credentials, const struct config *config,
                  const struct app_options *options, char *reason, size_t n_reason)
{
    struct trust_shared *shared = NULL;

    if (trust_shared_new(&shared))
        return fail_memory(reason, n_reason);
    int status = load_profiles(credentials, config, options, shared, reason, n_reason);
    trust_shared_free(shared);
    if (status == 0)
        status = load_identities(credentials, config, options, reason, n_reason);
    return status ? status : load_admins(&credentials->admins, config, reason, n_reason);
}

bool profiles_lose(const struct credentials *old, const struct credentials *new, char *reason,
                   size_t n_reason)
{
    for (size_t i = 0; i < new->n_profiles; i++) {
        const struct credentials_profile *is = &new->profiles[i];
        const struct trust *was = credentials_trust(old, is->name);
        const char *why, *of = i > 0 ? " of the profile " : "", *name = i > 0 ? is->name : "";
        char text[512];
        if (was && trust_state(was, NULL) != NET_TRUST_OK)
            continue;
        if (trust_state(is->trust, &why) != NET_TRUST_OK) {
            snprintf(reason, n_reason, "verified TLS connections%s%s would be refused: %s", of,
                     name, why);
            return true;
        }
        if (trust_loses(is->trust, was, text, sizeof(text))) {
            snprintf(reason, n_reason, "verified TLS connections%s%s might be refused: %s", of,
                     name, text);
            return true;
        }
    }
    return false;
}

static void log_identity(const struct identity *identity)
{
    int64_t left = identity_not_after(identity) - (int64_t)time(NULL);
    char when[24];
    const struct log_field fields[] = {{TAG_IDENTITY, identity_name(identity)},
                                       {TAG_EXPIRES, when}};

    if (left >= EXPIRES_SOON_S)
        return;
    snprintf(when, sizeof(when), "%lld", (long long)identity_not_after(identity));
    if (left < 0)
        log_event(LOG_WARNING_, EVENT_EXPIRES, fields, 2,
                  "the certificate of the identity %s has expired; peers will refuse it",
                  identity_name(identity));
    else
        log_event(LOG_WARNING_, EVENT_EXPIRES, fields, 2,
                  "the certificate of the identity %s expires in %lld days",
                  identity_name(identity), (long long)left / DAY_S);
}

static void log_lists(const struct credentials_profile *profile)
{
    int64_t until = trust_crls_until(profile->trust);
    char when[24];
    const struct log_field fields[] = {{TAG_PROFILE, profile->name}, {TAG_EXPIRES, when}};

    if (until >= (int64_t)time(NULL))
        return;
    snprintf(when, sizeof(when), "%lld", (long long)until);
    log_event(LOG_WARNING_, EVENT_EXPIRES, fields, 2,
              "profile %s: a revocation list is out of date; without a newer one, what it covers "
              "is refused",
              profile->name);
}

static void log_profile(const struct credentials_profile *profile, bool is_default)
{
    const struct trust *trust = profile->trust;
    const char *why;

    if (trust_state(trust, &why) != NET_TRUST_OK)
        log_error("verified TLS connections%s%s will be refused: %s",
                  is_default ? "" : " of the profile ", is_default ? "" : profile->name, why);
    else
        log_info("profile %s trusts: %s%zu certificates from folders; %zu revocation lists",
                 profile->name, trust_uses_system(trust) ? "the system's store, " : "",
                 trust_folder_certificates(trust), trust_crls(trust));
}

void profiles_log_expiry(const struct credentials *credentials)
{
    for (size_t i = 0; i < credentials->n_profiles; i++)
        log_lists(&credentials->profiles[i]);
    for (size_t i = 0; i < credentials->n_identities; i++)
        log_identity(credentials->identities[i].identity);
}

void profiles_log(const struct credentials *credentials)
{
    for (size_t i = 0; i < credentials->n_profiles; i++)
        log_profile(&credentials->profiles[i], i == 0);
    if (*credentials->admins.group && !credentials->admins.has_gid)
        log_info("there is no group %s (admin.group): nobody administers the broker as its member",
                 credentials->admins.group);
    profiles_log_expiry(credentials);
}
