#pragma once
/*
 * credentials: what a snapshot of the configuration knows by name: trust profiles, and identities
 * with who may show them to whom (nobody may, unless listed); and who administers the broker.
 *
 * Threads:   made by one thread, then immutable as the snapshot that it is in.
 * Ownership: credentials_deinit() drops the references and frees the lists.
 * Errors:    CREDENTIALS_E_*; -ENOMEM.
 */
#include <sys/types.h>

#include "net/address.h"
#include "net/identity.h"
#include "net/trust.h"

enum {
    CREDENTIALS_E_UNKNOWN = 1, /* there is no identity of that name */
    CREDENTIALS_E_USER,        /* the asking user is not among those who may show it */
    CREDENTIALS_E_DESTINATION, /* not to that host and port */
    CREDENTIALS_E_UNVERIFIED,  /* it has destinations, and without verification nobody knows which
                                  one the peer is */
};

/* To whom an identity may be shown. */
struct credentials_destination {
    char host[256]; /* in small letters, A-labels, no dot at the end; "": address */
    bool below;     /* the names below host, not host itself */
    struct address address;
    uint16_t port; /* 0: any */
};

struct credentials_identity {
    struct identity *identity; /* a reference */
    uid_t *uids;
    gid_t *gids;
    struct credentials_destination *destinations; /* none: any */
    size_t n_uids, n_gids, n_destinations;
};

struct credentials_profile {
    char *name;          /* "default": that of the plain section */
    struct trust *trust; /* a reference */
};

/* Who administers the broker beside root and the user it runs as. */
struct credentials_admins {
    char group[40]; /* as it was configured; "": none */
    bool has_gid;   /* there is such a group */
    gid_t gid;
    uid_t *uids;
    size_t n_uids;
};

struct credentials {
    struct credentials_profile *profiles; /* the first is the default one */
    size_t n_profiles;
    struct credentials_identity *identities;
    size_t n_identities;
    struct credentials_admins admins;
};

void credentials_deinit(struct credentials *credentials);

/* NULL: there is none. Borrowed. */
struct trust *credentials_trust(const struct credentials *credentials, const char *profile);

/* Who asks: the user at the other end of a client's connection, with all his groups. */
struct credentials_user {
    uid_t uid;
    gid_t gids[256];
    size_t n_gids;
    bool more_gids;
};
/* Returns 0 or -errno. With more groups than fit only the first is there, and more_gids. */
NODISCARD int credentials_user_of(struct credentials_user *ret_user, int fd);

/* own: the user that the broker runs as. */
bool credentials_administers(const struct credentials_admins *admins,
                             const struct credentials_user *user, uid_t own);

/*
 * What a connection is for. host: as the caller gave it, name or literal; server_name: whom the
 * certificate must be for when that is another name, else NULL. An identity with destinations is
 * for connecting only: as server, or on a connection that came in (host NULL), it is refused.
 */
struct credentials_use {
    const char *host;
    const char *server_name;
    uint16_t port; /* 0: not known yet, any will do */
    bool verify;
};

/* Returns 0 with a borrowed identity, CREDENTIALS_E_*, or -ENOMEM. */
NODISCARD int credentials_use(const struct credentials *credentials, const char *identity,
                              const struct credentials_user *user,
                              const struct credentials_use *use, struct identity **ret_identity);
/* The same for whoever the configuration lets use it otherwise: no user is asked for. */
NODISCARD int credentials_grant(const struct credentials *credentials, const char *identity,
                                const struct credentials_use *use, struct identity **ret_identity);
