#pragma once
/*
 * join: the durable session that $TCPBROKER_SESSION names, for commands that go on with what
 * others began.
 *
 * Threads:   the main thread.
 * Ownership: the token stays the environment's.
 * Errors:    an exit status; told, without the token: who reads it has the session.
 */
#include "cli/verb.h"

/* The token, or NULL; an empty variable is as good as none. */
const char *join_token(void);

/* Make the connection, over which nothing was asked yet, one of that session's. Nothing is done
 * without a token. Returns EXIT_OK or what talk_exit() says. */
int join_session(struct cli *cli, struct tcpb *broker);
/* Connect, and join when that is wished. *broker is the caller's to close also on failure. */
int join_open(struct cli *cli, bool joined, struct tcpb **ret_broker);
