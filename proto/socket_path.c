#include "proto/socket_path.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_socket(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

static const char *variable(const char *name)
{
    const char *value = secure_getenv(name);
    return value && *value ? value : NULL;
}

int socket_path_find(enum socket_path_role role, char **ret_path)
{
    const char *explicit_path = variable(SOCKET_PATH_VARIABLE);
    const char *runtime_dir = geteuid() == 0 ? NULL : variable("XDG_RUNTIME_DIR");
    char *path = NULL;

    if (explicit_path) {
        path = strdup(explicit_path);
    } else if (runtime_dir) {
        if (asprintf(&path, "%s/tcpbroker/tcpbroker.sock", runtime_dir) < 0)
            return -ENOMEM;
        if (role == SOCKET_PATH_CLIENT && !is_socket(path)) {
            free(path);
            path = strdup(SOCKET_PATH_SYSTEM);
        }
    } else {
        path = strdup(SOCKET_PATH_SYSTEM);
    }
    if (!path)
        return -ENOMEM;
    *ret_path = path;
    return 0;
}

int socket_path_address(const char *path, struct sockaddr_un *ret_address, socklen_t *ret_n)
{
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof(ret_address->sun_path))
        return SOCKET_PATH_E_TOO_LONG;
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(ret_address->sun_path, path, n + 1);
    *ret_n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
    return 0;
}
