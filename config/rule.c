#include "config/rule.h"

#include <arpa/inet.h>
#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

const char *config_read_verdict(const char *text, enum config_verdict *ret_verdict)
{
    static const char *const words[] = {
        [CONFIG_ALLOW] = "allow", [CONFIG_DENY] = "deny", [CONFIG_REPORT] = "report"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(words[i], text) == 0) {
            *ret_verdict = (enum config_verdict)i;
            return NULL;
        }
    return "is not a word of this option";
}

/* ---- names ---- */

/* Whether letters of other scripts make a name is found out where they become A-labels. */
static const char *check_labels(const char *name)
{
    size_t n_label = 0;
    for (const char *p = name; *p; p++) {
        bool dot = *p == '.';
        if (dot && n_label == 0)
            return "has an empty label";
        if (!dot && !is_letter(*p) && !is_digit(*p) && *p != '-' && *p != '_' &&
            (unsigned char)*p < 0x80)
            return *p == '*' ? "has a * elsewhere than in *. at its beginning"
                             : "has a character that no name of a host has";
        n_label = dot ? 0 : n_label + 1;
    }
    return NULL;
}

const char *config_read_pattern(const char *text, struct config_pattern *ret_pattern)
{
    struct config_pattern pattern = {0};
    struct in6_addr address;
    if (strcmp(text, "*") == 0)
        return "would be any host: leave the option out for that";
    pattern.below = strncmp(text, "*.", 2) == 0;
    const char *name = text + (pattern.below ? 2 : 0);
    size_t n = strlen(name);
    if (n > 0 && name[n - 1] == '.')
        n--;
    if (n == 0 || n > CONFIG_MAX_HOST)
        return "is no name of 1 to 253 bytes";
    memcpy(pattern.name, name, n);
    if (inet_pton(AF_INET, pattern.name, &address) == 1 || strchr(name, ':'))
        return "is an address, or has a port: these stand in addresses and ports";
    const char *wrong = check_labels(pattern.name);
    if (!wrong)
        *ret_pattern = pattern;
    return wrong;
}

/* ---- addresses ---- */

static const struct {
    const char *name;
    enum config_range_word word;
} range_words[] = {
    {"public", CONFIG_RANGE_PUBLIC},       {"private", CONFIG_RANGE_PRIVATE},
    {"loopback", CONFIG_RANGE_LOOPBACK},   {"link-local", CONFIG_RANGE_LINK_LOCAL},
    {"metadata", CONFIG_RANGE_METADATA},   {"own", CONFIG_RANGE_OWN},
    {"multicast", CONFIG_RANGE_MULTICAST},
};

/* text: n bytes */
static const char *read_address(const char *text, size_t n, bool *ret_v6,
                                struct in6_addr *ret_address)
{
    char copy[INET6_ADDRSTRLEN];
    struct in6_addr address = {0};
    if (n >= sizeof(copy))
        return "is no address";
    memcpy(copy, text, n);
    copy[n] = 0;
    *ret_v6 = strchr(copy, ':') != NULL;
    if (strchr(copy, '%'))
        return "has a zone, which cannot be given here";
    if (!*ret_v6 && inet_pton(AF_INET, copy, &address.s6_addr[12]) != 1)
        return "is no address";
    if (*ret_v6 && inet_pton(AF_INET6, copy, &address) != 1)
        return "is no address";
    if (*ret_v6 && IN6_IS_ADDR_V4MAPPED(&address))
        return "is an IPv4 address in the form of IPv6, and judged as what it is: write that";
    *ret_address = address;
    return NULL;
}

static const char *read_bits(const char *text, struct config_range *range)
{
    unsigned bits = 0, most = range->v6 ? 128 : 32;
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 3 || text[n] != 0 || (n > 1 && *text == '0'))
        return "has no number of bits behind its /";
    for (size_t i = 0; i < n; i++)
        bits = bits * 10 + (unsigned)(text[i] - '0');
    if (bits > most)
        return "has more bits behind its / than an address has";
    for (unsigned bit = bits + 128 - most; bit < 128; bit++) {
        uint8_t mask = (uint8_t)(0x80 >> bit % 8);
        if (range->first.s6_addr[bit / 8] & mask)
            return "has bits set behind those that its / leaves";
        range->last.s6_addr[bit / 8] |= mask;
    }
    return NULL;
}

const char *config_read_range(const char *text, struct config_range *ret_range)
{
    struct config_range range = {0};
    bool v6;
    for (size_t i = 0; i < sizeof(range_words) / sizeof(range_words[0]); i++)
        if (strcmp(range_words[i].name, text) == 0) {
            *ret_range = (struct config_range){.word = range_words[i].word};
            return NULL;
        }
    size_t n = strcspn(text, "/-");
    const char *wrong = read_address(text, n, &range.v6, &range.first);
    if (wrong)
        return wrong;
    range.last = range.first;
    if (text[n] == '/') {
        wrong = read_bits(text + n + 1, &range);
    } else if (text[n] == '-') {
        wrong = read_address(text + n + 1, strlen(text + n + 1), &v6, &range.last);
        if (!wrong && v6 != range.v6)
            wrong = "goes from one family to the other";
        if (!wrong && memcmp(&range.first, &range.last, sizeof(range.first)) > 0)
            wrong = "ends before it begins";
    }
    if (!wrong)
        *ret_range = range;
    return wrong;
}

/* ---- ports ---- */

/* Digits up to end (which is moved behind them); 0: none, or no port. */
static uint16_t read_number(const char **text)
{
    unsigned number = 0;
    size_t n = strspn(*text, "0123456789");
    if (n == 0 || n > 5 || **text == '0')
        return 0;
    for (size_t i = 0; i < n; i++)
        number = number * 10 + (unsigned)((*text)[i] - '0');
    *text += n;
    return number > 65535 ? 0 : (uint16_t)number;
}

static const char *read_service(const char *text, struct config_ports *ret_ports)
{
    bool letters = false;
    if (strlen(text) > CONFIG_MAX_SERVICE)
        return "is longer than the name of a service can be (32 bytes)";
    for (const char *p = text; *p; p++) {
        if (!is_letter(*p) && !is_digit(*p) && !strchr("-_+.", *p))
            return "is neither a number nor the name of a service";
        letters = letters || is_letter(*p);
    }
    if (!letters)
        return "is no port from 1 to 65535, nor FROM-TO";
    *ret_ports = (struct config_ports){0};
    memcpy(ret_ports->service, text, strlen(text) + 1);
    return NULL;
}

const char *config_read_ports(const char *text, struct config_ports *ret_ports)
{
    struct config_ports ports = {0};
    const char *p = text;
    if (text[strspn(text, "0123456789-")] != 0)
        return read_service(text, ret_ports);
    ports.first = ports.last = read_number(&p);
    if (ports.first && *p == '-') {
        p++;
        ports.last = read_number(&p);
    }
    if (ports.first == 0 || ports.last == 0 || *p != 0)
        return "is no port from 1 to 65535, nor FROM-TO";
    if (ports.first > ports.last)
        return "ends before it begins";
    *ret_ports = ports;
    return NULL;
}
