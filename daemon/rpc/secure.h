#pragma once
/*
 * secure: what a request says about TLS, checked and put into a dial.
 *
 * Threads: the request's io thread only.
 * Errors:  false: the request was answered with what is wrong, or *ret_fault tells.
 */
#include "rpc/credentials.h"
#include "rpc/request.h"

/* In the shape of results; strings are borrowed. */
struct proto_tls_facts secure_facts(const struct tls_facts *facts);
/* Count a handshake that is done. server: we were; a client need not show a certificate. */
void secure_count(const struct tls_facts *tls, bool server);

/* Without TLS such members would be passed over: whoever gives one expects more. */
struct secure_member {
    const char *name;
    bool given;
};
NODISCARD bool secure_unnamed(struct request *request, const struct secure_member *members,
                              size_t n);
/* The trust of a profile, of the configuration that is in force now; borrowed. NULL: *ret_fault. */
NODISCARD struct trust *secure_trust(const struct request *request, bool given, const char *profile,
                                     struct fault *ret_fault);
/* A member `profile` as dial->trust. */
NODISCARD bool secure_profile(struct request *request, bool given, const char *profile,
                              struct dial *dial);
/* A member `alpn`. */
NODISCARD bool secure_alpn(struct request *request, const struct proto_strings *alpn,
                           struct dial *dial);
/* A member `identity` as dial->identity, if the client may use it for that. */
NODISCARD bool secure_identity(const struct request *request, const char *identity,
                               const struct credentials_use *use, struct dial *dial,
                               struct fault *ret_fault);

/* What TCPAccept and TCPStartTLS say when we are the server. */
struct secure_server {
    bool has_identity, has_profile, min_tls13;
    const char *identity, *profile;
    int64_t client_certificate;       /* the word: none, optional, required */
    const struct proto_strings *alpn; /* NULL: not given */
};
NODISCARD bool secure_as_server(struct request *request, const struct secure_server *server,
                                struct dial *dial);
/* With verification: can the profile verify anything? Answers with the reason if not. */
NODISCARD bool secure_trust_usable(struct request *request, const struct dial *dial);
