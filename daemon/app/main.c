/*
 * tcpbrokerd: the command line of the daemon (section 6 of PROTOCOL.md). Everything else is in
 * app.c.
 *
 * Exit status: 0 after a clean stop, 1 on failure, 2 on wrong usage or configuration.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/app.h"
#include "app/door_plan.h"
#include "app/profiles.h"
#include "app/settings.h"
#include "config/config.h"
#include "util/log_out.h"

#ifdef HAVE_JEMALLOC
/* jemalloc(3), TUNING: memory that a storm has left behind goes back to the system some seconds
 * later, by a thread of jemalloc's own, also when nothing happens any more. Buffers of 64 KiB,
 * which each read of a client or a TLS stream takes and gives back, are kept by each thread. */
extern const char *malloc_conf __attribute__((visibility("default")));
const char *malloc_conf =
    "background_thread:true,dirty_decay_ms:5000,muzzy_decay_ms:0,lg_tcache_max:17";
#endif

enum { STATUS_OK = 0, STATUS_FAILURE = 1, STATUS_USAGE = 2 };

static const char usage_text[] =
    "Usage: tcpbrokerd [OPTION ...]\n"
    "Connection broker: TCP and verified TLS for local programs over a Unix socket.\n"
    "\n"
    "  --config FILE              configuration (default: " CONFIG_DEFAULT_FILE
    ", which need not exist)\n"
    "  --socket PATH              listen here (default: $TCPBROKER_SOCKET, "
    "/run/tcpbroker/tcpbroker.sock for root and\n"
    "                             the system service, else "
    "$XDG_RUNTIME_DIR/tcpbroker/tcpbroker.sock)\n"
    "  --cacerts DIR              trust every certificate in the PEM files of DIR too; may be "
    "given more than once\n"
    "  --set SECTION.KEY=VALUE    set an option, stronger than the file; may be given more than "
    "once\n"
    "  --check-config FILE        say what is wrong with FILE and exit: 0 nothing, 2 something\n"
    "  --version                  print the version\n"
    "  --help                     print this\n"
    "\n"
    "Runs in the foreground and logs to standard error. SIGTERM and SIGINT stop it: running "
    "requests are finished\n"
    "within stop.drain_timeout; a second one ends them at once. See tcpbrokerd(8), "
    "tcpbroker.conf(5).\n";

struct arguments {
    const char *config, *check;
    struct app_options app;
    const char **sets, **cacerts;
    size_t n_sets, n_cacerts;
};

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"socket", required_argument, NULL, 's'},
    {"cacerts", required_argument, NULL, 'a'},
    {"set", required_argument, NULL, 'o'},
    {"check-config", required_argument, NULL, 'k'},
    {"version", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* Returns -1 to go on, else an exit status. */
static int parse(int argc, char **argv, struct arguments *arguments)
{
    int option;

    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (option) {
        case 'c':
            arguments->config = optarg;
            break;
        case 's':
            arguments->app.socket = optarg;
            break;
        case 'a':
            arguments->cacerts[arguments->n_cacerts++] = optarg;
            break;
        case 'o':
            arguments->sets[arguments->n_sets++] = optarg;
            break;
        case 'k':
            arguments->check = optarg;
            break;
        case 'v':
            printf("tcpbrokerd %s\n", TCPBROKER_VERSION);
            return STATUS_OK;
        case 'h':
            fputs(usage_text, stdout);
            return STATUS_OK;
        default:
            fputs("tcpbrokerd: see tcpbrokerd --help\n", stderr);
            return STATUS_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "tcpbrokerd: unexpected argument %s; see tcpbrokerd --help\n",
                argv[optind]);
        return STATUS_USAGE;
    }
    return -1;
}

static int load(struct arguments *arguments, struct config **ret_config)
{
    static struct config_report report;
    const char *path = arguments->check    ? arguments->check
                       : arguments->config ? arguments->config
                                           : CONFIG_DEFAULT_FILE;
    /* the service unit names the default file, which need not be there; a file that somebody chose
     * must */
    unsigned flags =
        !arguments->check && strcmp(path, CONFIG_DEFAULT_FILE) == 0 ? CONFIG_MAY_BE_ABSENT : 0;

    arguments->app.config = path;
    arguments->app.check = arguments->check != NULL;
    arguments->app.config_flags = flags;
    arguments->app.sets = arguments->sets;
    arguments->app.n_sets = arguments->n_sets;
    config_report_init(&report);
    int r = config_load(path, flags, arguments->sets, arguments->n_sets, &report, ret_config);
    if (r == 0)
        return STATUS_OK;
    if (r < 0) {
        fprintf(stderr, "tcpbrokerd: reading %s: %s\n", path, strerror(-r));
        return STATUS_FAILURE;
    }
    config_report_print(&report, stderr);
    return STATUS_USAGE;
}

/* What only the TLS library can judge, as a start would have it. */
static int check(const struct arguments *arguments, const struct config *config)
{
    struct rpc_snapshot *snapshot = NULL;
    struct door_plan *plan = NULL;
    const struct credentials none = {.n_profiles = 0};
    char reason[CONFIG_ERROR_SIZE];
    int status = settings_snapshot(config, &arguments->app, 1, &snapshot, reason, sizeof(reason));

    if (status == 0)
        status = door_plan_new(&plan, config, &snapshot->credentials, &arguments->app, reason,
                               sizeof(reason));
    door_plan_free(plan);
    /* a start would do, but a reload would not */
    if (status == 0 && profiles_lose(&none, &snapshot->credentials, reason, sizeof(reason)))
        status = STATUS_USAGE;
    size_t n_path = strlen(arguments->check);
    if (status && strncmp(reason, arguments->check, n_path) == 0 && reason[n_path] == ':')
        fprintf(stderr, "%s\n", reason); /* it tells the line, too */
    else if (status)
        fprintf(stderr, "%s: %s\n", arguments->check, reason);
    else
        printf("%s: no errors\n", arguments->check);
    rpc_snapshot_unref(snapshot);
    return status;
}

/* What is opened first must not become standard error: lines of the log would go to a peer. */
static void keep_standard_fds(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct config *config = NULL;
    sigset_t early;

    keep_standard_fds();
    log_out_open();
    /* A reload may be asked for before there is anybody to do it: it waits (app.c lets it in) */
    sigemptyset(&early);
    sigaddset(&early, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &early, NULL);
    arguments.sets = calloc((size_t)argc, sizeof(*arguments.sets));
    arguments.cacerts = calloc((size_t)argc, sizeof(*arguments.cacerts));
    int status =
        arguments.sets && arguments.cacerts ? parse(argc, argv, &arguments) : STATUS_FAILURE;
    if (!arguments.sets || !arguments.cacerts)
        fputs("tcpbrokerd: out of memory\n", stderr);
    if (status < 0)
        status = load(&arguments, &config);
    if (config && !arguments.check) {
        settings_set_log(config);
        arguments.app.cacerts = arguments.cacerts;
        arguments.app.n_cacerts = arguments.n_cacerts;
        status = app_run(&config, &arguments.app);
    } else if (config) {
        status = check(&arguments, config);
    }
    config_free(config);
    free(arguments.sets);
    free(arguments.cacerts);
    return status;
}
