/*
 * check_print: the result of check as a table for people. Names come from whoever answered: all
 * text goes through print_line(), which leaves no control character in it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/check.h"
#include "cli/talk.h"

enum { LABEL_COLUMNS = 13, NAMES_SHOWN = 12, ERRNO_MAX = 133 };

static const char red[] = "31", green[] = "32", yellow[] = "33";

static bool has_colours(void)
{
    const char *term = getenv("TERM"), *no_colour = getenv("NO_COLOR"); /* no-color.org */
    return isatty(STDOUT_FILENO) && !(no_colour && *no_colour) && term && strcmp(term, "dumb") != 0;
}

/* label: the first column, "" for a further line; colour: of the label, or NULL. */
__attribute__((format(printf, 3, 4))) static void print_line(const char *label, const char *colour,
                                                             const char *format, ...)
{
    char text[2 * CHECK_TEXT_MAX];
    int n_label = (int)strlen(label);
    va_list list;

    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    talk_clean(text);
    if (colour && has_colours())
        printf("\033[%sm%s\033[0m", colour, label);
    else
        printf("%s", label);
    printf("%*s%s\n", n_label < LABEL_COLUMNS ? LABEL_COLUMNS - n_label : 1, "", text);
}

/* "Connection refused" for ECONNREFUSED. */
static const char *errno_words(const char *name)
{
    for (int i = 1; i <= ERRNO_MAX; i++) {
        const char *each = strerrorname_np(i);
        if (each && strcmp(each, name) == 0)
            return strerrordesc_np(i);
    }
    return "failed";
}

static void print_attempt(const struct check *check, const char *label,
                          const struct proto_attempt *attempt, int columns)
{
    const char *address = attempt->address;
    int64_t ms = attempt->ms;

    if (strcmp(attempt->error, "connected") == 0)
        print_line(label, NULL, "%-*s  connected in %" PRId64 " ms", columns, address, ms);
    else if (strcmp(attempt->error, "pending") == 0)
        print_line(label, NULL, "%-*s  %s after %" PRId64 " ms", columns, address,
                   check->result ? "given up, another was faster," : "no answer", ms);
    else
        print_line(label, NULL, "%-*s  %s (%s) after %" PRId64 " ms", columns, address,
                   errno_words(attempt->error), attempt->error, ms);
}

static const struct proto_attempt *attempt_at(const struct check *check, const char *address)
{
    const struct proto_attempt *attempt = check->attempts.items;
    for (size_t i = 0; i < check->attempts.n_items; i++)
        if (strcmp(attempt[i].address, address) == 0)
            return &attempt[i];
    return NULL;
}

static void print_addresses(const struct check *check)
{
    size_t columns = 0;

    for (size_t i = 0; i < check->addresses.n_items; i++)
        if (strlen(check->addresses.items[i]) > columns)
            columns = strlen(check->addresses.items[i]);
    for (size_t i = 0; i < check->addresses.n_items; i++) {
        const char *address = check->addresses.items[i], *label = i ? "" : "addresses";
        const struct proto_attempt *attempt = attempt_at(check, address);
        if (attempt)
            print_attempt(check, label, attempt, (int)columns);
        else
            print_line(label, NULL, "%-*s  not tried", (int)columns, address);
    }
}

static void print_times(const struct check *check)
{
    const struct proto_timing *us = &check->result->timing_us;
    char handshake[64] = "";

    if (check->tls)
        snprintf(handshake, sizeof(handshake), ", handshake %.1f ms", (double)us->handshake / 1000);
    print_line("times", NULL, "look-up %.1f ms, connect %.1f ms%s, in all %.1f ms",
               (double)us->resolve / 1000, (double)us->connect / 1000, handshake,
               (double)us->total / 1000);
}

static void print_tls(const struct check *check)
{
    if (!check->version)
        return;
    print_line("TLS", NULL, "%s%s%s%s%s", check->version, check->cipher ? ", " : "",
               check->cipher ? check->cipher : "", check->alpn ? ", ALPN " : "",
               check->alpn ? check->alpn : "");
}

/* When it ends, or begins; a table must not hide which it is. */
static void validity(const struct check *check, const struct proto_certificate *certificate,
                     char *text, size_t n_text)
{
    time_t from = check_time(certificate->not_before), until = check_time(certificate->not_after);
    char days[64];

    if (from == -1 || until == -1) {
        snprintf(text, n_text, "with a validity that cannot be read");
        return;
    }
    bool early = check->now < from;
    check_days(check, early ? from : until, days, sizeof(days));
    snprintf(text, n_text, "%s %.10s, %s",
             early                ? "not valid before"
             : check->now > until ? "expired"
                                  : "expires",
             early ? certificate->not_before : certificate->not_after, days);
}

static void print_certificate(const struct check *check,
                              const struct proto_certificate *certificate, const char *label)
{
    char text[CHECK_TEXT_MAX], number[24] = "-";

    if (certificate->has_depth)
        snprintf(number, sizeof(number), "%" PRId64, certificate->depth);
    print_line(label, NULL, "%-2s %s%s", number,
               *certificate->subject ? certificate->subject : "(no subject)",
               certificate->trusted && certificate->sent ? "  (sent, and in the broker's store)"
               : certificate->trusted                    ? "  (from the broker's store)"
               : certificate->has_depth                  ? ""
                                                         : "  (sent, but not needed)");
    if (certificate->has_names) {
        check_names(certificate, NAMES_SHOWN, text, sizeof(text));
        print_line("", NULL, "   for %s", *text ? text : "no name at all");
    }
    validity(check, certificate, text, sizeof(text));
    print_line("", NULL, "   %s, %s, %s", certificate->key, certificate->signature, text);
    if (certificate->self_signed && !certificate->trusted)
        print_line("", NULL, "   self-signed, SHA-256 %s", certificate->sha256);
}

static void print_chain(const struct check *check)
{
    const struct proto_certificate *certificate = check->chain.items;

    for (size_t i = 0; i < check->chain.n_items; i++)
        print_certificate(check, &certificate[i], i ? "" : "certificates");
    if (check->chain_more > 0)
        print_line("", NULL, "and %" PRId64 " more", check->chain_more);
}

static void print_findings(const struct check *check)
{
    for (size_t i = 0; i < check->n_findings; i++) {
        const struct check_finding *finding = &check->findings[i];
        print_line(finding->is_error ? "problem" : "warning", finding->is_error ? red : yellow,
                   "%s", finding->what);
        if (finding->remedy[0])
            print_line("  remedy", NULL, "%s", finding->remedy);
    }
}

void check_print(const struct check *check)
{
    static const char *const words[] = {
        [EXIT_ERROR] = "failed",
        [EXIT_POLICY] = "failed: the policy forbids it",
        [EXIT_RESOLVE] = "failed at the look-up of the name",
        [EXIT_CONNECT] = "failed at connecting",
        [EXIT_TLS] = "failed at TLS",
        [EXIT_TIMEOUT] = "failed: out of time",
    };

    print_line("target", NULL, "%s port %s%s%s%s", check->host, check->port,
               check->tls ? ", TLS" : "",
               check->tls && strcmp(check->name, check->host) != 0 ? " with " : "",
               check->tls && strcmp(check->name, check->host) != 0 ? check->name : "");
    print_addresses(check);
    if (check->result)
        print_times(check);
    print_tls(check);
    print_chain(check);
    print_findings(check);
    if (check->status == EXIT_OK)
        print_line("result", green, "ok%s",
                   !check->tls     ? ""
                   : check->verify ? ", the certificate is verified"
                                   : ", but the certificate is not verified");
    else
        print_line("result", red, "%s", words[check->status] ? words[check->status] : "failed");
}
