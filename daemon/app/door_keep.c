#include "app/door_keep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* FNV-1a, 64 bits: names of doors are the administrator's. */
static uint64_t hash(const char *text)
{
    uint64_t sum = 0xcbf29ce484222325;

    for (; *text; text++)
        sum = (sum ^ (unsigned char)*text) * 0x100000001b3;
    return sum;
}

bool door_keep_name(char *name, const char *listen, const struct unix_socket *file)
{
    name[0] = '\0';
    if (file && !unix_socket_is_there(file))
        return false;
    snprintf(name, DOOR_NAME_SIZE, "d-%llx-%llx-%llx", (unsigned long long)hash(listen),
             file ? (unsigned long long)file->device : 0,
             file ? (unsigned long long)file->inode : 0);
    return true;
}

static bool listens(int fd)
{
    int yes;
    socklen_t n = sizeof(yes);
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &n) == 0 && yes != 0;
}

int door_keep_take(struct restart *restart, const char *listen, bool is_tcp,
                   struct unix_socket *ret_file)
{
    struct unix_socket file = UNIX_SOCKET_INIT;
    char name[DOOR_NAME_SIZE];
    struct stat status;

    if (!is_tcp) {
        if (lstat(listen, &status) < 0 || !S_ISSOCK(status.st_mode))
            return -1;
        file.made = true;
        file.device = status.st_dev;
        file.inode = status.st_ino;
        file.path = strdup(listen);
    }
    int fd = -1;
    if (door_keep_name(name, listen, is_tcp ? NULL : &file))
        fd = restart_take_door(restart, name);
    if (fd >= 0 && (!restart_keeps(restart) || !listens(fd))) {
        store_drop(name);
        if (!listens(fd)) {
            close(fd);
            fd = -1;
        }
    }
    if (fd < 0) {
        free(file.path);
        return -1;
    }
    if (!is_tcp) {
        *ret_file = file;
        ret_file->fd = fd;
    }
    return fd;
}

bool door_keep_permits(const struct unix_socket *file, mode_t mode, gid_t group)
{
    struct stat status;

    return lstat(file->path, &status) == 0 && (status.st_mode & 07777) == mode &&
           (group == (gid_t)-1 || status.st_gid == group);
}
