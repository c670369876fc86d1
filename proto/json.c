#include <errno.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "proto/json.h"
#include "proto/json_scan.h"
#include "proto/text.h"

/* cJSON uses the low ten bits of its type. Set: the number is not whole, or beyond +-2^53. */
#define TYPE_NOT_WHOLE (1 << 16)

/* Objects up to this size are checked for duplicates pairwise, without memory. */
#define PAIRWISE_MAX 16

#define ARENA_BLOCK 1024

static const cJSON *node(const struct json *json)
{
    return (const cJSON *)(const void *)json;
}

static const struct json *value(const cJSON *item)
{
    return (const struct json *)(const void *)item;
}

/* ---- duplicates ---- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int duplicate_pairwise(const cJSON *object, const char **ret_name)
{
    for (const cJSON *a = object->child; a; a = a->next)
        for (const cJSON *b = a->next; b; b = b->next)
            if (a->string[0] == b->string[0] && strcmp(a->string, b->string) == 0) {
                *ret_name = b->string;
                return JSON_E_DUPLICATE;
            }
    return 0;
}

static int duplicate_here(const cJSON *object, const char **ret_name)
{
    const char **names;
    size_t n = 0;
    int r = 0;

    for (const cJSON *item = object->child; item; item = item->next)
        n++;
    if (n <= PAIRWISE_MAX)
        return duplicate_pairwise(object, ret_name);
    names = malloc(n * sizeof(*names));
    if (!names)
        return -ENOMEM;
    n = 0;
    for (const cJSON *item = object->child; item; item = item->next)
        names[n++] = item->string;
    qsort(names, n, sizeof(*names), compare_names);
    for (size_t i = 1; i < n && r == 0; i++)
        if (strcmp(names[i - 1], names[i]) == 0) {
            *ret_name = names[i];
            r = JSON_E_DUPLICATE;
        }
    free(names);
    return r;
}

/* Recursion is bounded by the depth that json_scan() allowed. */
int json_duplicate(const struct json *json, bool deep, const char **ret_name)
{
    const cJSON *container = node(json);
    int r = 0;

    if (cJSON_IsObject(container))
        r = duplicate_here(container, ret_name);
    if (!deep || !(cJSON_IsObject(container) || cJSON_IsArray(container)))
        return r;
    for (const cJSON *item = container->child; item && r == 0; item = item->next)
        if (item->child)
            r = json_duplicate(value(item), true, ret_name);
    return r;
}

/* ---- reading ---- */

/* Numbers stand in the tree in the order of the text: go through both and mark those that are not
 * whole. */
static void mark_numbers(cJSON *item, const char *text, size_t n, size_t *at)
{
    for (; item; item = item->next) {
        if (cJSON_IsNumber(item)) {
            const char *number;
            size_t n_number;
            int64_t whole;
            if (json_scan_number(text, n, at, &number, &n_number) &&
                !json_scan_whole(number, n_number, &whole))
                item->type |= TYPE_NOT_WHOLE;
        } else if (item->child) {
            mark_numbers(item->child, text, n, at);
        }
    }
}

int json_parse_unchecked(struct json **ret_json, const char *text, size_t n, size_t max_depth,
                         struct json_fault *fault)
{
    bool odd_numbers;
    size_t at = 0;
    cJSON *tree;
    int r;

    *ret_json = NULL;
    fault->member[0] = '\0';
    r = json_scan(text, n, max_depth, &odd_numbers, fault);
    if (r != 0)
        return r;
    tree = cJSON_ParseWithLengthOpts(text, n, NULL, 0);
    if (!tree)
        return -ENOMEM;
    if (odd_numbers)
        mark_numbers(tree, text, n, &at);
    *ret_json = (struct json *)(void *)tree;
    return 0;
}

int json_parse(struct json **ret_json, const char *text, size_t n, size_t max_depth,
               struct json_fault *fault)
{
    const char *name = "";
    int r = json_parse_unchecked(ret_json, text, n, max_depth, fault);
    if (r != 0)
        return r;
    r = json_duplicate(*ret_json, true, &name);
    if (r == JSON_E_DUPLICATE) {
        fault->position = 0;
        text_cut(fault->member, sizeof(fault->member), name);
        snprintf(fault->text, sizeof(fault->text), "a member is given twice");
    }
    if (r != 0)
        *ret_json = json_free(*ret_json);
    return r;
}

struct json *json_free(struct json *json)
{
    cJSON_Delete((cJSON *)(void *)json);
    return NULL;
}

/* ---- the tree ---- */

enum json_type json_type(const struct json *json)
{
    switch (node(json)->type & 0xFF) {
    case cJSON_True:
    case cJSON_False:
        return JSON_BOOL;
    case cJSON_Number:
        return JSON_NUMBER;
    case cJSON_String:
        return JSON_STRING;
    case cJSON_Array:
        return JSON_ARRAY;
    case cJSON_Object:
        return JSON_OBJECT;
    default:
        return JSON_NULL;
    }
}

bool json_bool(const struct json *json)
{
    return cJSON_IsTrue(node(json));
}

double json_number(const struct json *json)
{
    return cJSON_IsNumber(node(json)) ? node(json)->valuedouble : 0;
}

bool json_integer(const struct json *json, int64_t *ret_value)
{
    const cJSON *item = node(json);
    if (!cJSON_IsNumber(item) || (item->type & TYPE_NOT_WHOLE))
        return false;
    *ret_value = (int64_t)item->valuedouble;
    return true;
}

const char *json_string(const struct json *json)
{
    return cJSON_IsString(node(json)) ? node(json)->valuestring : NULL;
}

size_t json_length(const struct json *json)
{
    size_t n = 0;
    for (const cJSON *item = node(json)->child; item; item = item->next)
        n++;
    return n;
}

const struct json *json_first(const struct json *json)
{
    return value(node(json)->child);
}

const struct json *json_next(const struct json *json)
{
    return value(node(json)->next);
}

const char *json_key(const struct json *json)
{
    return node(json)->string;
}

const struct json *json_member(const struct json *json, const char *key)
{
    if (!cJSON_IsObject(node(json)))
        return NULL;
    return value(cJSON_GetObjectItemCaseSensitive(node(json), key));
}

/* ---- UTF-8 ---- */

bool json_utf8_valid(const char *text, size_t n, size_t *ret_valid, bool *ret_incomplete)
{
    size_t at = 0;

    *ret_incomplete = false;
    while (at < n) {
        size_t length;
        while (at + 8 <= n) {
            uint64_t word = text_load(text + at);
            if ((word & TEXT_HIGHS) | text_has_zero(word))
                break;
            at += 8;
        }
        if (at == n || text[at] == '\0')
            break;
        length = text_character(text + at, n - at, ret_incomplete);
        if (length == 0)
            break;
        at += length;
    }
    *ret_valid = at;
    return at == n;
}

/* ---- arena ---- */

struct block {
    struct block *next;
    size_t used, size;
    alignas(max_align_t) char data[];
};

void *json_arena_alloc(struct json_arena *arena, size_t n)
{
    struct block *block = arena->blocks;
    void *memory;

    if (n > SIZE_MAX / 2)
        return NULL;
    n = (n + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
    if (!block || block->size - block->used < n) {
        size_t size = n > ARENA_BLOCK ? n : ARENA_BLOCK;
        block = malloc(sizeof(*block) + size);
        if (!block)
            return NULL;
        block->next = arena->blocks;
        block->used = 0;
        block->size = size;
        arena->blocks = block;
    }
    memory = block->data + block->used;
    block->used += n;
    return memory;
}

void json_arena_deinit(struct json_arena *arena)
{
    struct block *block = arena->blocks;
    while (block) {
        struct block *next = block->next;
        free(block);
        block = next;
    }
    arena->blocks = NULL;
}
