#pragma once
/*
 * verify_hint: what to do about a certificate that was not accepted, in half a sentence.
 *
 * Threads: any; pure.
 */
#include "net/error.h"

/* error: of cause NET_TLS_VERIFY. A constant. */
const char *verify_hint(const struct net_error *error);
