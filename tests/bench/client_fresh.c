#include "bench/client.h"
#include "bench/common.h"

#include <stdlib.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void run_once(const struct client *client, const char *program, const char *third)
{
    char path[4096];
    char port[8];
    if (snprintf(path, sizeof path, "%s/%s", client->fresh, program) >= (int)sizeof path)
        bench_die("%s is too long", client->fresh);
    snprintf(port, sizeof port, "%u", client->port);
    char *arguments[] = {path, strdup(client->address), port, strdup(third), NULL};
    pid_t pid;
    int status;
    if (posix_spawn(&pid, path, NULL, NULL, arguments, environ) != 0)
        bench_die("cannot start %s", path);
    if (waitpid(pid, &status, 0) != pid || status != 0)
        bench_die("%s failed", path);
    free(arguments[1]);
    free(arguments[3]);
}

static double round_of(const struct client *client, const char *program, const char *third)
{
    double start = bench_now_us();
    for (long i = 0; i < client->count; i++)
        run_once(client, program, third);
    return (bench_now_us() - start) / (double)client->count;
}

void client_fresh(const struct client *client, struct figures *figures)
{
    run_once(client, "bench_fresh_direct", client->ca_file);
    run_once(client, "bench_fresh_raw", client->broker_path);
    run_once(client, "bench_fresh_library", client->broker_path);
    for (int i = 0; i < client->rounds; i++) {
        figures->direct[i] = round_of(client, "bench_fresh_direct", client->ca_file);
        figures->broker[i] = round_of(client, "bench_fresh_raw", client->broker_path);
        figures->library[i] = round_of(client, "bench_fresh_library", client->broker_path);
    }
    figures->connections = 3 * (1 + client->rounds * client->count);
}
