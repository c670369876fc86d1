#include "rpc/user_search.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GROUPS_MAX = sizeof(((struct user_search *)0)->gids) / sizeof(gid_t) };

static void find(struct user_search *search, char *buffer, size_t n_buffer)
{
    struct passwd entry, *found = NULL;
    int r = search->is_number ? getpwuid_r(search->uid, &entry, buffer, n_buffer, &found)
                              : getpwnam_r(search->name, &entry, buffer, n_buffer, &found);

    if (!found) {
        search->failed = r == ENOMEM ? r : search->is_number ? 0 : -1;
        return;
    }
    search->uid = found->pw_uid;
    search->n_gids = GROUPS_MAX;
    if (getgrouplist(found->pw_name, found->pw_gid, search->gids, &search->n_gids) < 0) {
        search->n_gids = GROUPS_MAX;
        search->more_gids = true;
    }
}

static void on_work(uv_work_t *work)
{
    enum { BUFFER_BYTES = 65536 };
    struct user_search *search = work->data;
    char *buffer = malloc(BUFFER_BYTES);

    if (buffer)
        find(search, buffer, BUFFER_BYTES);
    else
        search->failed = ENOMEM;
    free(buffer);
}

static void on_back(uv_work_t *work, int status)
{
    struct user_search *search = work->data;
    struct io *home = search->home;

    ASSERT_OWNER(home->loop);
    ASSERT(status == 0); /* it is never cancelled */
    search->on_found(search);
    home->n_away--;
    io_check_drained(home);
}

bool user_search_number(const char *text, uid_t *ret_uid)
{
    unsigned long long number = strtoull(text, NULL, 10);

    if (!*text || strspn(text, "0123456789") != strlen(text) || strlen(text) > 10 ||
        number >= UINT32_MAX)
        return false;
    *ret_uid = (uid_t)number;
    return true;
}

void user_search_begin(struct user_search *search, struct io *io, const char *user)
{
    search->home = io;
    search->work.data = search;
    search->is_number = user_search_number(user, &search->uid);
    snprintf(search->name, sizeof(search->name), "%s", user);
    io->n_away++;
    int r = uv_queue_work(&io->loop->uv, &search->work, on_work, on_back);
    ASSERT(r == 0); /* only without a function to call */
}
