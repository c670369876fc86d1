#include "rpc/secure.h"

#include <stdio.h>
#include <string.h>

#include "broker/stats.h"

static bool fail_param(struct request *request, const char *param, const char *expected)
{
    struct fault fault;
    fault_param(&fault, request_name(request), param, expected);
    request_fail(request, &fault);
    return false;
}

void secure_count(const struct tls_facts *tls, bool server)
{
    stats_count(handshakes_ok);
    if (tls->resumed)
        stats_count(handshakes_resumed);
    if (!tls->verified && !server)
        stats_count(tls_unverified);
}

struct proto_tls_facts secure_facts(const struct tls_facts *facts)
{
    return (struct proto_tls_facts){
        .version = facts->version,
        .cipher = facts->cipher,
        .has_alpn = facts->alpn[0] != '\0',
        .alpn = facts->alpn,
        .has_server_name = facts->server_name[0] != '\0',
        .server_name = facts->server_name,
        .verified = facts->verified,
        .resumed = facts->resumed,
        .has_peer = facts->has_peer,
        .peer = {.subject = facts->subject,
                 .issuer = facts->issuer,
                 .not_after = facts->not_after,
                 .sha256 = facts->sha256},
    };
}

bool secure_unnamed(struct request *request, const struct secure_member *members, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (members[i].given)
            return fail_param(request, members[i].name, "nothing, or secure true with it");
    return true;
}

struct trust *secure_trust(const struct request *request, bool given, const char *profile,
                           struct fault *ret_fault)
{
    const struct credentials *credentials = &request->client->io->snapshot->credentials;
    struct trust *trust = credentials_trust(credentials, given ? profile : "default");

    if (!trust)
        fault_param(ret_fault, request_name(request), "profile",
                    "the name of a section [tls \"name\"] of the broker's configuration, or "
                    "default");
    return trust;
}

bool secure_profile(struct request *request, bool given, const char *profile, struct dial *dial)
{
    struct fault fault;
    struct trust *trust = secure_trust(request, given, profile, &fault);

    if (!trust) {
        request_fail(request, &fault);
        return false;
    }
    dial->trust = trust_ref(trust);
    return true;
}

bool secure_alpn(struct request *request, const struct proto_strings *alpn, struct dial *dial)
{
    for (size_t i = 0; i < alpn->n_items; i++) {
        size_t n = strlen(alpn->items[i]);
        if (n == 0 || n > 255 || dial->n_alpn + 1 + n > sizeof(dial->alpn))
            return fail_param(
                request, "alpn",
                "protocol names of 1..255 bytes, at most 256 bytes in all with one more for each");
        dial->alpn[dial->n_alpn++] = (unsigned char)n;
        memcpy(dial->alpn + dial->n_alpn, alpn->items[i], n);
        dial->n_alpn += n;
    }
    return true;
}

/* What the policy of an identity forbids. */
static void forbid(const struct request *request, const char *identity,
                   const struct credentials_use *use, bool server, int why, struct fault *ret_fault)
{
    const char *what = request_name(request);

    if (why == CREDENTIALS_E_USER)
        fault_set(ret_fault, WIRE_EACCES,
                  "%s: user %u may not use the identity %s; its section of the broker's "
                  "configuration lists who may (users, groups)",
                  what, (unsigned)request->client->uid, identity);
    else if (why == CREDENTIALS_E_UNVERIFIED)
        fault_set(ret_fault, WIRE_EACCES,
                  "%s: the identity %s is for certain destinations, and with verify false nobody "
                  "knows who the peer is",
                  what, identity);
    else if (!use->host && !server)
        fault_set(ret_fault, WIRE_EACCES,
                  "%s: the identity %s is for connecting to certain destinations, and an accepted "
                  "connection has none: whoever connects chooses what it looks like",
                  what, identity);
    else if (!use->host)
        fault_set(ret_fault, WIRE_EACCES,
                  "%s: the identity %s is for connecting to certain destinations, not for serving",
                  what, identity);
    else
        fault_set(ret_fault, WIRE_EACCES,
                  "%s: the identity %s may not be shown to %s%s%s; its section of the broker's "
                  "configuration lists its destinations",
                  what, identity, use->host, use->server_name ? " as " : "",
                  use->server_name ? use->server_name : "");
    ret_fault->stage = STAGE_POLICY;
}

bool secure_identity(const struct request *request, const char *identity,
                     const struct credentials_use *use, struct dial *dial, struct fault *ret_fault)
{
    const struct credentials *credentials = &request->client->io->snapshot->credentials;
    struct credentials_user user;
    struct identity *found = NULL;

    int r = credentials_user_of(&user, request->client->fd);
    if (r == 0)
        r = credentials_use(credentials, identity, &user, use, &found);
    if (r == CREDENTIALS_E_UNKNOWN)
        fault_param(ret_fault, request_name(request), "identity",
                    "the name of a section [identity \"name\"] of the broker's configuration");
    else if (r > 0)
        forbid(request, identity, use, dial->server, r, ret_fault);
    else if (r < 0)
        fault_errno(ret_fault, STAGE_BROKER, -r, request_name(request));
    if (r)
        return false;
    identity_unref(dial->identity);
    dial->identity = identity_ref(found);
    return true;
}

bool secure_trust_usable(struct request *request, const struct dial *dial)
{
    const char *words = NULL;
    struct net_error unusable = {.stage = NET_STAGE_TLS, .cause = NET_TRUST_UNUSABLE};
    struct fault fault;

    unusable.trust = trust_state(dial->trust, &words);
    if (!dial->verify || unusable.trust == NET_TRUST_OK)
        return true;
    snprintf(unusable.library, sizeof(unusable.library), "%s", words);
    fault_net(&fault, &unusable, request_name(request));
    request_fail(request, &fault);
    return false;
}

bool secure_as_server(struct request *request, const struct secure_server *server,
                      struct dial *dial)
{
    static const struct credentials_use serving = {.host = NULL};
    struct fault fault;

    dial->secure = dial->server = true;
    dial->min_tls13 = server->min_tls13;
    dial->verify = server->client_certificate > 0;
    dial->anonymous = server->client_certificate == 1;
    if (!server->has_identity)
        return fail_param(request, "identity",
                          "the name of a section [identity \"name\"] of the broker's "
                          "configuration: a server must have a certificate");
    if (!secure_identity(request, server->identity, &serving, dial, &fault)) {
        request_fail(request, &fault);
        return false;
    }
    return secure_profile(request, server->has_profile, server->profile, dial) &&
           (!server->alpn || secure_alpn(request, server->alpn, dial)) &&
           secure_trust_usable(request, dial);
}
