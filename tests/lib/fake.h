#pragma once
/*
 * fake: a daemon of a few lines for the tests of the library. It listens on a socket of its own in
 * /tmp, takes one client and runs the given function in a thread.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/tcpbroker.h"
#include "proto/socket_path.h"
#include "support/test.h"

struct fake {
    char dir[64], path[108];
    int listener;
    pthread_t thread;
    void (*serve)(int fd, struct fake *fake);
    void *userdata;
};

__attribute__((unused)) static void *fake_run(void *userdata)
{
    struct fake *fake = userdata;
    int fd = accept(fake->listener, NULL, NULL);
    if (fd >= 0) {
        fake->serve(fd, fake);
        close(fd);
    }
    return NULL;
}

__attribute__((unused)) static void fake_start(struct fake *fake, void (*serve)(int, struct fake *),
                                               void *userdata)
{
    struct sockaddr_un address;
    socklen_t n;
    strcpy(fake->dir, "/tmp/tcpb_fake_XXXXXX");
    CHECK(mkdtemp(fake->dir) != NULL);
    snprintf(fake->path, sizeof(fake->path), "%s/s", fake->dir);
    fake->serve = serve;
    fake->userdata = userdata;
    fake->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_INT(socket_path_address(fake->path, &address, &n), 0);
    CHECK_INT(bind(fake->listener, (struct sockaddr *)&address, n), 0);
    CHECK_INT(listen(fake->listener, 8), 0);
    CHECK_INT(pthread_create(&fake->thread, NULL, fake_run, fake), 0);
}

__attribute__((unused)) static void fake_stop(struct fake *fake)
{
    pthread_join(fake->thread, NULL);
    close(fake->listener);
    unlink(fake->path);
    rmdir(fake->dir);
}

__attribute__((unused)) static struct tcpb *fake_open(struct fake *fake)
{
    struct tcpb *broker = NULL;
    struct tcpb_error error;
    CHECK_INT(tcpb_open(&broker, fake->path, &error), 0);
    return broker;
}

/* The id in a request line of the library. */
__attribute__((unused)) static long long fake_id(const char *line)
{
    const char *p = strstr(line, "\"id\":");
    return p ? atoll(p + 5) : -1;
}

/* Write all; false when the client is gone. */
__attribute__((unused)) static bool fake_write(int fd, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, data, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        data += sent;
        n -= (size_t)sent;
    }
    return true;
}

__attribute__((unused)) static void fake_answer(int fd, long long id, const char *result)
{
    char head[64];
    snprintf(head, sizeof(head), "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"result\":", id);
    (void)(fake_write(fd, head, strlen(head)) && fake_write(fd, result, strlen(result)) &&
           fake_write(fd, "}\n", 2));
}

/* The next line, by the byte: slow and simple. false: the client is gone. */
__attribute__((unused)) static bool fake_line(FILE *in, char **line, size_t *n)
{
    return getline(line, n, in) > 0;
}
