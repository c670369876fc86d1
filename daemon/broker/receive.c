#include "broker/receive.h"

#include <string.h>

#include "proto/json.h"

/* The end of the delimiter within the first n bytes, or 0. */
static size_t find_delimiter(struct receive_wish *wish, const char *data, size_t n)
{
    if (n >= wish->n_until && wish->scanned < n) {
        const char *hit =
            memmem(data + wish->scanned, n - wish->scanned, wish->until, wish->n_until);
        if (hit)
            return (size_t)(hit - data) + wish->n_until;
        wish->scanned = n - wish->n_until + 1;
    }
    return 0;
}

/* How many bytes the wish is for, as bytes; 0: wait. */
static size_t measure(struct receive_wish *wish, const char *data, size_t n, bool ended)
{
    if (wish->exact)
        return n >= wish->exact ? wish->exact : ended ? n : 0;
    size_t most = n < wish->max_bytes ? n : wish->max_bytes;
    if (wish->n_until) {
        size_t end = find_delimiter(wish, data, most);
        if (end)
            return end;
        return most == wish->max_bytes || ended ? most : 0;
    }
    return most;
}

static enum receive_verdict check_text(const char *data, size_t n, size_t n_take, bool ended,
                                       size_t *ret_n)
{
    size_t valid;
    bool incomplete;

    if (memchr(data, '\0', n_take))
        return RECEIVE_NUL;
    if (json_utf8_valid(data, n_take, &valid, &incomplete) || (incomplete && valid > 0)) {
        *ret_n = valid;
        return RECEIVE_TAKE;
    }
    if (!incomplete)
        return RECEIVE_NOT_UTF8;
    /* only the beginning of one character: is there more of it than may be taken, will there be? */
    if (n > n_take)
        return RECEIVE_NO_ROOM;
    return ended ? RECEIVE_NOT_UTF8 : RECEIVE_WAIT;
}

enum receive_verdict receive_decide(struct receive_wish *wish, const char *data, size_t n,
                                    bool ended, size_t *ret_n)
{
    if (n == 0)
        return ended ? RECEIVE_END : RECEIVE_WAIT;
    size_t n_take = measure(wish, data, n, ended);
    if (n_take == 0)
        return RECEIVE_WAIT;
    if (!wish->utf8) {
        *ret_n = n_take;
        return RECEIVE_TAKE;
    }
    enum receive_verdict verdict = check_text(data, n, n_take, ended, ret_n);
    /* exactly so many bytes, or none: not the whole characters among them only */
    if (verdict == RECEIVE_TAKE && wish->exact && *ret_n < n_take && n_take == wish->exact)
        return RECEIVE_NO_ROOM;
    /* a character that is cut by the wish itself will not become whole by waiting */
    if (verdict == RECEIVE_WAIT && n_take == (wish->exact ? wish->exact : wish->max_bytes))
        return RECEIVE_NO_ROOM;
    return verdict;
}

size_t receive_room(const struct receive_wish *wish)
{
    return wish->exact ? wish->exact : wish->max_bytes;
}
