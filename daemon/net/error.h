#pragma once
/*
 * error: why something with the network did not work, as a value: which stage, which cause, what
 * the parts said. No wire codes here; rpc/fault.c translates.
 *
 * Threads:   any; a struct net_error belongs to the job it is in.
 * Ownership: plain data, no pointers.
 */
#include <stdbool.h>
#include <stdint.h>

#include "net/address.h"

enum net_stage { NET_STAGE_RESOLVE, NET_STAGE_CONNECT, NET_STAGE_TLS, NET_STAGE_IO };

enum net_cause {
    NET_OK = 0,
    NET_SYSTEM,         /* sys_errno; library, when a parameter is at fault (EINVAL) */
    NET_TIMED_OUT,      /* the deadline passed in that stage */
    NET_CANCELLED,      /* somebody asked to stop */
    NET_TLS_HANDSHAKE,  /* library, alert */
    NET_TLS_VERIFY,     /* verify_code, verify_depth, subject, issuer */
    NET_TLS_IO,         /* truncated or damaged after the handshake; library */
    NET_TRUST_UNUSABLE, /* trust_code says how; library */
};

/* Why a trust profile cannot verify anything; the order of the Omnis numbers -1024..-1029. */
enum net_trust {
    NET_TRUST_OK = 0,
    NET_TRUST_FOLDER, /* the folder cannot be opened */
    NET_TRUST_BUNDLE, /* the system's store cannot be read */
    NET_TRUST_LIST,   /* the folder cannot be listed */
    NET_TRUST_EMPTY,  /* no certificate anywhere */
    NET_TRUST_NEXT,   /* listing the folder failed half-way */
    NET_TRUST_OPEN,   /* a file in it cannot be opened */
};

enum { NET_ATTEMPTS_MAX = 16, NET_ATTEMPT_CONNECTED = -1 };

struct net_attempt {
    struct address address;
    int sys_errno; /* 0: it was still pending; NET_ATTEMPT_CONNECTED: this one won */
    bool untried;  /* it has refused before, and is left alone now (net/backoff.h) */
    int64_t ms;
};

struct net_error {
    enum net_stage stage;
    enum net_cause cause;
    int sys_errno;
    enum net_trust trust;
    long verify_code; /* X509_V_ERR_* */
    int verify_depth;
    bool of_client; /* the certificate was a client's: we are the server */
    char verify_text[128];
    char subject[256];
    char issuer[256];
    char names[256];   /* what a certificate is for that is not for the name asked for, or "" */
    char alert[64];    /* description of the alert the peer sent, or "" */
    char library[256]; /* OpenSSL's words, or "" */
    unsigned n_attempts;
    /* every address is left alone until then (loop_clock_us()), having refused so often; 0: no */
    int64_t retry_at_us;
    unsigned n_refused;
    bool backed_off; /* and so none was tried this time */
    struct net_attempt attempts[NET_ATTEMPTS_MAX];
};
