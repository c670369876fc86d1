#include "proto/socket_path.h"

#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/test.h"

static void check_path(enum socket_path_role role, const char *wanted)
{
    char *path = NULL;
    CHECK_INT(socket_path_find(role, &path), 0);
    CHECK_STRING(path, wanted);
    free(path);
}

TEST(socket_path, variable_wins)
{
    setenv("XDG_RUNTIME_DIR", "/nowhere", 1);
    setenv("TCPBROKER_SOCKET", "/tmp/x.sock", 1);
    check_path(SOCKET_PATH_SERVER, "/tmp/x.sock");
    check_path(SOCKET_PATH_CLIENT, "/tmp/x.sock");
    unsetenv("TCPBROKER_SOCKET");
}

TEST(socket_path, empty_variable_is_none)
{
    setenv("TCPBROKER_SOCKET", "", 1);
    unsetenv("XDG_RUNTIME_DIR");
    check_path(SOCKET_PATH_SERVER, SOCKET_PATH_SYSTEM);
    check_path(SOCKET_PATH_CLIENT, SOCKET_PATH_SYSTEM);
    unsetenv("TCPBROKER_SOCKET");
}

TEST(socket_path, user_or_system)
{
    char dir[] = "/tmp/socket_path_XXXXXX", sub[256], file[512];
    CHECK(mkdtemp(dir) != NULL);
    snprintf(sub, sizeof(sub), "%s/tcpbroker", dir);
    snprintf(file, sizeof(file), "%s/tcpbroker.sock", sub);
    unsetenv("TCPBROKER_SOCKET");
    setenv("XDG_RUNTIME_DIR", dir, 1);
    bool root = geteuid() == 0;
    check_path(SOCKET_PATH_SERVER, root ? SOCKET_PATH_SYSTEM : file);
    check_path(SOCKET_PATH_CLIENT, SOCKET_PATH_SYSTEM); /* no socket there yet */

    struct sockaddr_un address;
    socklen_t n;
    CHECK_INT(mkdir(sub, 0700), 0);
    CHECK_INT(socket_path_address(file, &address, &n), 0);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(bind(fd, (struct sockaddr *)&address, n), 0);
    check_path(SOCKET_PATH_CLIENT, root ? SOCKET_PATH_SYSTEM : file);
    close(fd);
    unlink(file);
    rmdir(sub);
    rmdir(dir);
    unsetenv("XDG_RUNTIME_DIR");
}

TEST(socket_path, length_of_an_address)
{
    char path[109];
    struct sockaddr_un address;
    socklen_t n;
    memset(path, 'a', sizeof(path));
    path[108] = 0;
    CHECK_INT(socket_path_address(path, &address, &n), SOCKET_PATH_E_TOO_LONG);
    path[107] = 0;
    CHECK_INT(socket_path_address(path, &address, &n), 0);
    CHECK_STRING(address.sun_path, path);
    CHECK_INT(n, offsetof(struct sockaddr_un, sun_path) + 108);
    CHECK_INT(socket_path_address("", &address, &n), SOCKET_PATH_E_TOO_LONG);
}
