#pragma once
/*
 * check: what the broker has told about one attempt to connect (TCPConnect with explain), and what
 * it means for somebody who wants the connection to work. check.c asks, check_advice.c and
 * check_verify.c judge, check_print.c shows.
 *
 * Threads:   the main thread.
 * Ownership: everything points into the decoded answers and argv, which check.c keeps.
 * Errors:    none; what is missing is not shown.
 * Limits:    CHECK_FINDINGS_MAX findings, the first ones count most.
 */
#include <time.h>

#include "cli/verb.h"
#include "proto/methods.h"

enum { CHECK_FINDINGS_MAX = 24, CHECK_WARN_DAYS = 14, CHECK_TEXT_MAX = 1024 };

struct check_finding {
    bool is_error; /* else a warning */
    char what[CHECK_TEXT_MAX];
    char remedy[CHECK_TEXT_MAX]; /* "": none */
};

struct check {
    const char *host, *port;
    const char *name;    /* to be verified */
    const char *profile; /* NULL: none named */
    bool tls, verify, min_tls13, family, offers_alpn;
    time_t now;
    int status; /* the exit status */
    /* at least one of both; both: it was connected, and what came then was an error */
    const struct proto_tcp_connect_result *result;
    const struct proto_error_object *error;
    /* of whichever has it */
    struct proto_strings addresses;
    struct proto_objects attempts;
    struct proto_objects chain;
    int64_t chain_more;
    const char *version, *cipher, *alpn;     /* NULL: not agreed, or not known */
    const struct proto_tls_failure *failure; /* what TLS had to complain about, or NULL */

    struct check_finding findings[CHECK_FINDINGS_MAX];
    size_t n_findings;
};

/* Fill the findings. */
void check_advise(struct check *check);
/* Of them: what verification has found wrong (check->failure); certificates that expire soon. */
void check_verify(struct check *check, bool is_error);
void check_expiry(struct check *check);
/* One more, to be filled with these. */
struct check_finding *check_add(struct check *check, bool is_error);
__attribute__((format(printf, 2, 3))) void check_what(struct check_finding *finding,
                                                      const char *format, ...);
__attribute__((format(printf, 2, 3))) void check_remedy(struct check_finding *finding,
                                                        const char *format, ...);

/* "the broker's cacerts folder", or the one of the profile that was named. */
void check_folder(const struct check *check, char *text, size_t n_text);

/* For people, on standard output. */
void check_print(const struct check *check);

/* The times of certificates (RFC 3339). Returns -1 when it is none. */
time_t check_time(const char *text);
/* Whole days from now: "in 37 days", "today", "1 day ago". */
void check_days(const struct check *check, time_t when, char *text, size_t n_text);
/* The certificate at that depth of the chain, or NULL. */
const struct proto_certificate *check_certificate(const struct check *check, int64_t depth);
/* "a, b, c and 7 more", at most n_most of them. */
void check_names(const struct proto_certificate *certificate, size_t n_most, char *text,
                 size_t n_text);
