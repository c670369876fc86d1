#include "config/list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/report.h"
#include "config/rule.h"
#include "config/value.h"

/* ---- the kinds of items ---- */

static const char *check_protocol(const char *item)
{
    return strlen(item) > 255 ? "is longer than the name of a protocol can be (255 bytes)" : NULL;
}

static const char *check_path(const char *item)
{
    return *item == '/' ? NULL : "does not begin with /";
}

static const char *check_pin(const char *item)
{
    uint8_t hash[CONFIG_PIN_SIZE];
    return config_read_pin(item, hash);
}

static const char *check_id(const char *item)
{
    bool is_number;
    uint32_t id;
    return config_read_id(item, &is_number, &id);
}

static const char *check_destination(const char *item)
{
    struct config_destination destination;
    return config_read_destination(item, &destination);
}

static const char *check_door(const char *item)
{
    struct config_door door;
    return config_read_door(item, &door);
}

static const char *check_loopback(const char *item)
{
    struct config_door door;
    const char *wrong = config_read_door(item, &door);
    return !wrong && door.port == 0 ? "is neither 127.0.0.1:PORT nor [::1]:PORT" : wrong;
}

static const char *check_target(const char *item)
{
    struct config_target target;
    return config_read_target(item, &target);
}

static const char *check_host(const char *item)
{
    return config_check_host(item);
}

static const char *check_endpoint(const char *item)
{
    struct config_destination endpoint;
    return config_read_endpoint(item, &endpoint);
}

static const char *check_verdict(const char *item)
{
    enum config_verdict verdict;
    return config_read_verdict(item, &verdict);
}

static const char *check_pattern(const char *item)
{
    struct config_pattern pattern;
    return config_read_pattern(item, &pattern);
}

static const char *check_range(const char *item)
{
    struct config_range range;
    return config_read_range(item, &range);
}

static const char *check_ports(const char *item)
{
    struct config_ports ports;
    return config_read_ports(item, &ports);
}

/* What there is the daemon knows; here only what could be one. */
static const char *check_word(const char *item)
{
    return strlen(item) > CONFIG_MAX_NAME ? "is longer than a name can be (64 bytes)" : NULL;
}

static const struct list_kind kinds[] = {
    {"protocol", "names of protocols", check_protocol},
    {"path", "absolute paths", check_path},
    {"pin", "hashes (sha256/BASE64 or sha256:HEX)", check_pin},
    {"user", "users (names or numbers)", check_id},
    {"group", "groups (names or numbers)", check_id},
    {"destination", "destinations (a name, *.name or an address, each with :PORT or without)",
     check_destination},
    {"door", "an absolute path of at most 107 bytes, 127.0.0.1:PORT or [::1]:PORT", check_door},
    {"loopback", "127.0.0.1:PORT or [::1]:PORT", check_loopback},
    {"target", "HOST:PORT, with an IPv6 address in brackets; PORT may be the name of a service",
     check_target},
    {"host", "a name or an address of a host", check_host},
    {"endpoint", "a name or an address with :PORT", check_endpoint},
    {"verdict", "one of allow, deny, report", check_verdict},
    {"pattern", "names of hosts (a name or *.name)", check_pattern},
    {"range",
     "addresses (ADDRESS, ADDRESS/BITS, ADDRESS-ADDRESS, or public, private, loopback, link-local, "
     "metadata, own, multicast)",
     check_range},
    {"ports", "ports (a number, FROM-TO, or the name of a service)", check_ports},
    {"method", "names of methods", check_word},
    {"name", "names", check_word},
};

const struct list_kind *list_kind(const char *name)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}

/* ---- lists ---- */

void list_deinit(struct config_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->items[i]);
    free(list->items);
    list->items = NULL;
    list->n = 0;
}

void list_format(const struct config_list *list, char *text, size_t n_text)
{
    size_t used = 0;
    *text = 0;
    for (size_t i = 0; i < list->n && used < n_text; i++)
        used += (size_t)snprintf(text + used, n_text - used, "%s%s", i ? " " : "", list->items[i]);
}

static const char *skip_blanks(const char *text)
{
    return text + strspn(text, " \t");
}

static bool has(const struct config_list *list, const char *item)
{
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->items[i], item) == 0)
            return true;
    return false;
}

/* item: n bytes. 0, CONFIG_E_INVALID or -ENOMEM */
static int add(const struct list_kind *kind, const char *item, size_t n, size_t max,
               struct config_list *list, char *wrong)
{
    char *copy = strndup(item, n);
    if (!copy)
        return -ENOMEM;
    const char *reason = NULL;
    if (*copy == '"' || *copy == '\'')
        reason = "must stand without quotes";
    else if (*copy == '#' || *copy == ';')
        reason = "is a comment, which must stand on a line of its own";
    else if (has(list, copy))
        reason = "stands there twice";
    else
        reason = kind->check(copy);
    if (reason)
        snprintf(wrong, LIST_WRONG_SIZE, "has %.*s, which %s", report_cut(copy), copy, reason);
    else if (list->n == max)
        snprintf(wrong, LIST_WRONG_SIZE, "has too many items");
    else {
        list->items[list->n++] = copy;
        return 0;
    }
    free(copy);
    return CONFIG_E_INVALID;
}

/* items are NULL, or have room for max of them */
static int read_items(const struct list_kind *kind, const char *text, size_t max,
                      struct config_list *list, char *wrong)
{
    size_t n_text = 0;
    for (const char *item = skip_blanks(text); *item;) {
        size_t n = strcspn(item, ", \t");
        if (n == 0) {
            snprintf(wrong, LIST_WRONG_SIZE, "has a comma without an item before it");
            return CONFIG_E_INVALID;
        }
        int r = add(kind, item, n, max, list, wrong);
        if (r != 0)
            return r;
        n_text += n + (list->n > 1);
        item = skip_blanks(item + n);
        if (*item == ',') {
            item = skip_blanks(item + 1);
            if (*item == 0) {
                snprintf(wrong, LIST_WRONG_SIZE, "has a comma without an item behind it");
                return CONFIG_E_INVALID;
            }
        }
    }
    if (n_text > LIST_MAX_TEXT) {
        snprintf(wrong, LIST_WRONG_SIZE, "is too long (%zu bytes of %d)", n_text, LIST_MAX_TEXT);
        return CONFIG_E_INVALID;
    }
    return 0;
}

int list_read(const struct list_kind *kind, const char *text, size_t max, struct config_list *list,
              char *wrong)
{
    struct config_list made = {0};
    if (*skip_blanks(text)) {
        made.items = calloc(max, sizeof(*made.items));
        if (!made.items)
            return -ENOMEM;
    }
    int r = read_items(kind, text, max, &made, wrong);
    if (r != 0) {
        list_deinit(&made);
        return r;
    }
    list_deinit(list);
    *list = made;
    return 0;
}
