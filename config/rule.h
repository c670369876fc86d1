#pragma once
/*
 * rule: what the texts in [rule "name"] mean: verdicts, patterns of names, ranges of addresses and
 * ports. As in config/value.h, the loader checks with the same functions.
 *
 * Threads:   any.
 * Ownership: everything is copied.
 * Errors:    NULL for a good text, else the reason, a constant that goes on behind the text.
 */
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "config/value.h"

enum config_verdict { CONFIG_ALLOW, CONFIG_DENY, CONFIG_REPORT };
const char *config_read_verdict(const char *text, enum config_verdict *ret_verdict);

/* name or *.name, as it was written: letters of any script */
struct config_pattern {
    char name[CONFIG_MAX_HOST + 1]; /* without *. */
    bool below;                     /* *.name: the names below name, but not name */
};
const char *config_read_pattern(const char *text, struct config_pattern *ret_pattern);

/* What a word stands for instead of numbers. */
enum config_range_word {
    CONFIG_RANGE_NUMBERS,
    CONFIG_RANGE_PUBLIC,
    CONFIG_RANGE_PRIVATE,
    CONFIG_RANGE_LOOPBACK,
    CONFIG_RANGE_LINK_LOCAL,
    CONFIG_RANGE_METADATA,
    CONFIG_RANGE_OWN,
    CONFIG_RANGE_MULTICAST,
};

/* Both ends belong to it, in the order of their bytes; an IPv4 address is the last four. */
struct config_range {
    enum config_range_word word;
    bool v6;
    struct in6_addr first, last;
};
const char *config_read_range(const char *text, struct config_range *ret_range);

struct config_ports {
    uint16_t first, last;                 /* 0: a name */
    char service[CONFIG_MAX_SERVICE + 1]; /* else "" */
};
const char *config_read_ports(const char *text, struct config_ports *ret_ports);
