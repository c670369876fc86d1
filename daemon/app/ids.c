#include "app/ids.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>

int ids_find_user(const char *name, uint32_t *ret_id, bool *ret_known)
{
    char buffer[16384];
    struct passwd entry, *found = NULL;

    if (getpwnam_r(name, &entry, buffer, sizeof(buffer), &found) == ENOMEM)
        return -ENOMEM;
    *ret_known = found != NULL;
    *ret_id = found ? found->pw_uid : 0;
    return 0;
}

int ids_find_group(const char *name, uint32_t *ret_id, bool *ret_known)
{
    size_t n_buffer = 262144; /* of a group with very many members */
    struct group entry, *found = NULL;

    char *buffer = malloc(n_buffer);
    if (!buffer)
        return -ENOMEM;
    int r = getgrnam_r(name, &entry, buffer, n_buffer, &found);
    *ret_known = found != NULL;
    *ret_id = found ? found->gr_gid : 0;
    free(buffer);
    return r == ENOMEM ? -ENOMEM : 0;
}
