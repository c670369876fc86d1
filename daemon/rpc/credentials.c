#include "rpc/credentials.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net/hostname.h"

void credentials_deinit(struct credentials *credentials)
{
    for (size_t i = 0; i < credentials->n_profiles; i++) {
        trust_unref(credentials->profiles[i].trust);
        free(credentials->profiles[i].name);
    }
    for (size_t i = 0; i < credentials->n_identities; i++) {
        struct credentials_identity *identity = &credentials->identities[i];
        identity_unref(identity->identity);
        free(identity->uids);
        free(identity->gids);
        free(identity->destinations);
    }
    free(credentials->profiles);
    free(credentials->identities);
    free(credentials->admins.uids);
    *credentials = (struct credentials){.n_profiles = 0};
}

struct trust *credentials_trust(const struct credentials *credentials, const char *profile)
{
    for (size_t i = 0; i < credentials->n_profiles; i++)
        if (strcmp(credentials->profiles[i].name, profile) == 0)
            return credentials->profiles[i].trust;
    return NULL;
}

/* ---- who ---- */

int credentials_user_of(struct credentials_user *ret_user, int fd)
{
    struct ucred peer;
    socklen_t n_peer = sizeof(peer);
    socklen_t n_groups = sizeof(ret_user->gids) - sizeof(ret_user->gids[0]);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n_peer) < 0)
        return -errno;
    ret_user->uid = peer.uid;
    ret_user->gids[0] = peer.gid;
    ret_user->n_gids = 1;
    ret_user->more_gids = false;
    /* socket(7); ERANGE (more groups than fit) leaves the first one, which is what we know then */
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, &ret_user->gids[1], &n_groups) == 0)
        ret_user->n_gids += n_groups / sizeof(ret_user->gids[0]);
    else
        ret_user->more_gids = true;
    return 0;
}

static bool is_listed(const struct credentials_identity *identity,
                      const struct credentials_user *user)
{
    for (size_t i = 0; i < identity->n_uids; i++)
        if (identity->uids[i] == user->uid)
            return true;
    for (size_t i = 0; i < identity->n_gids; i++)
        for (size_t k = 0; k < user->n_gids; k++)
            if (identity->gids[i] == user->gids[k])
                return true;
    return false;
}

bool credentials_administers(const struct credentials_admins *admins,
                             const struct credentials_user *user, uid_t own)
{
    if (user->uid == 0 || user->uid == own)
        return true;
    for (size_t i = 0; i < admins->n_uids; i++)
        if (admins->uids[i] == user->uid)
            return true;
    for (size_t i = 0; admins->has_gid && i < user->n_gids; i++)
        if (user->gids[i] == admins->gid)
            return true;
    return false;
}

/* ---- to whom ---- */

/* A host as it is compared: an address, or A-labels in small letters without the root's dot. */
struct host {
    struct address address; /* n_bytes 0: a name */
    char name[HOSTNAME_WIRE_MAX];
};

/* Returns 0, -ENOMEM, or HOSTNAME_E_*: no host at all. */
static int read_host(struct host *ret_host, const char *text)
{
    if (address_parse(&ret_host->address, text, 0) == 0) {
        address_unmap(&ret_host->address);
        return 0;
    }
    ret_host->address.n_bytes = 0;
    int r = hostname_wire(text, ret_host->name);
    size_t n = r ? 0 : strlen(ret_host->name);
    if (n > 1 && ret_host->name[n - 1] == '.')
        ret_host->name[n - 1] = '\0';
    return r;
}

static bool is_below(const char *name, const char *domain)
{
    size_t n_name = strlen(name), n_domain = strlen(domain);
    return n_name > n_domain + 1 && name[n_name - n_domain - 1] == '.' &&
           strcmp(name + n_name - n_domain, domain) == 0;
}

static bool matches(const struct credentials_destination *destination, const struct host *host,
                    uint16_t port)
{
    if (destination->port && port && destination->port != port)
        return false;
    if (!destination->host[0])
        return host->address.n_bytes && address_equal(&destination->address, &host->address);
    if (host->address.n_bytes)
        return false;
    return destination->below ? is_below(host->name, destination->host)
                              : strcmp(host->name, destination->host) == 0;
}

static int check_host(const struct credentials_identity *identity, const char *text, uint16_t port)
{
    struct host host;
    int r = read_host(&host, text);

    if (r)
        return r < 0 ? r : CREDENTIALS_E_DESTINATION;
    for (size_t i = 0; i < identity->n_destinations; i++)
        if (matches(&identity->destinations[i], &host, port))
            return 0;
    return CREDENTIALS_E_DESTINATION;
}

static int check_use(const struct credentials_identity *identity, const struct credentials_use *use)
{
    if (identity->n_destinations == 0)
        return 0;
    if (!use->host)
        return CREDENTIALS_E_DESTINATION;
    if (!use->verify)
        return CREDENTIALS_E_UNVERIFIED;
    int r = check_host(identity, use->host, use->port);
    /* another name would have the certificate of another host accepted here */
    return r || !use->server_name ? r : check_host(identity, use->server_name, use->port);
}

int credentials_grant(const struct credentials *credentials, const char *name,
                      const struct credentials_use *use, struct identity **ret_identity)
{
    return credentials_use(credentials, name, NULL, use, ret_identity);
}

int credentials_use(const struct credentials *credentials, const char *name,
                    const struct credentials_user *user, const struct credentials_use *use,
                    struct identity **ret_identity)
{
    for (size_t i = 0; i < credentials->n_identities; i++) {
        const struct credentials_identity *each = &credentials->identities[i];
        if (strcmp(identity_name(each->identity), name) != 0)
            continue;
        int r = !user || is_listed(each, user) ? check_use(each, use) : CREDENTIALS_E_USER;
        if (r == 0)
            *ret_identity = each->identity;
        return r;
    }
    return CREDENTIALS_E_UNKNOWN;
}
