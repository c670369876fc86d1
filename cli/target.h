#pragma once
/*
 * target: what connect and ssh-proxy have in common: their options, and the connection they ask
 * for.
 *
 * Threads:   the main thread.
 * Ownership: the parameters point into the command line.
 * Errors:    an exit status; told.
 */
#include "cli/verb.h"

#define TARGET_OPTIONS                                                                             \
    {"tls", NULL, "TLS, certificate and name verified", 0},                                        \
        {"no-verify", NULL, "TLS with whoever answers: encrypted, but nobody knows with whom", 0}, \
        {"server-name", "NAME", "name for SNI and verification instead of HOST", 0},               \
        {"profile", "NAME",                                                                        \
         "whom to trust: the section [tls \"NAME\"] of the broker's configuration", 0},            \
        {"identity", "NAME", "the client certificate to show: its section [identity \"NAME\"]",    \
         0},                                                                                       \
        {"family", "FAMILY", "any, ipv4 or ipv6: which addresses to use", 0},                      \
        {"timeout", "SECONDS", "deadline for look-up, connect and handshake together", 0},         \
    {                                                                                              \
        "verbose", NULL, "tell on standard error what was connected to", 'v'                       \
    }

/* The words are HOST and PORT. Returns 0 or an exit status. */
int target_params(const struct cli *cli, const struct cli_verb *verb,
                  struct tcpb_tcp_connect_params *ret_params);
/* Tell the facts on standard error, when that is wanted. */
void target_tell(const struct cli *cli, const struct cli_verb *verb,
                 const struct tcpb_tcp_connect_result *result, const char *json);
