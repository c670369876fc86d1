#include "net_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* As the daemon does: OpenSSL writes with write(2). */
__attribute__((constructor)) static void ignore_sigpipe(void)
{
    signal(SIGPIPE, SIG_IGN);
}

/* ---- loops ---- */

struct loop *fixture_loop(void)
{
    struct loop *loop;
    MUST(loop_new(&loop, "test", 0) == 0);
    return loop;
}

void fixture_loop_free(struct loop *loop)
{
    loop_free(loop);
}

static void on_too_late(struct timer *timer)
{
    (void)timer;
    fprintf(stderr, "nothing came for 20 seconds\n");
    abort();
}

void fixture_pump(struct loop *loop, const bool *done)
{
    struct timer limit = {0};
    uv_update_time(&loop->uv);
    MUST(timers_start(&loop->timers, &limit, 20000, on_too_late) == 0);
    while (!*done)
        uv_run(&loop->uv, UV_RUN_ONCE);
    timers_stop(&loop->timers, &limit);
}

void fixture_spin(struct loop *loop)
{
    uv_run(&loop->uv, UV_RUN_NOWAIT);
}

/* ---- processes ---- */

int fixture_child(int (*body)(void))
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    MUST(child >= 0);
    if (child == 0) {
        alarm(20);
        _exit(body());
    }
    while (waitpid(child, &status, 0) < 0)
        MUST(errno == EINTR);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- sockets ---- */

int fixture_listen(struct address *ret_address, int backlog)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(fd >= 0 && address_parse(ret_address, "127.0.0.1", 0) == 0);
    MUST(bind(fd, &ret_address->any, ret_address->n_bytes) == 0);
    MUST(listen(fd, backlog) == 0);
    MUST(getsockname(fd, &ret_address->any, &ret_address->n_bytes) == 0);
    return fd;
}

void fixture_pair(int *ret_a, int *ret_b)
{
    struct address address;
    int listener = fixture_listen(&address, 1);
    *ret_a = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(connect(*ret_a, &address.any, address.n_bytes) == 0);
    *ret_b = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    MUST(*ret_b >= 0 && fcntl(*ret_a, F_SETFL, O_NONBLOCK) == 0);
    close(listener);
}

struct connection *fixture_connection(int fd)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    MUST(connection);
    connection->fd = fd;
    MUST(address_of_socket(fd, &connection->local, &connection->remote) == 0);
    return connection;
}

/* ---- certificates ---- */

EVP_PKEY *fixture_key(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    MUST(key);
    return key;
}

static void add(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    MUST(extension && X509_add_ext(certificate, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

static X509 *begin(const char *name, EVP_PKEY *key, int days)
{
    static atomic_long serial = 1;
    X509 *certificate = X509_new();
    MUST(certificate && X509_set_version(certificate, X509_VERSION_3) == 1);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), atomic_fetch_add(&serial, 1));
    X509_gmtime_adj(X509_getm_notBefore(certificate), -86400L * 400);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 86400L * days);
    MUST(X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8,
                                    (const unsigned char *)name, -1, -1, 0) == 1);
    MUST(X509_set_pubkey(certificate, key) == 1);
    return certificate;
}

void fixture_ca_init(struct fixture_ca *ca, const char *name)
{
    ca->key = fixture_key();
    ca->certificate = begin(name, ca->key, 3650);
    MUST(X509_set_issuer_name(ca->certificate, X509_get_subject_name(ca->certificate)) == 1);
    add(ca->certificate, ca->certificate, NID_basic_constraints, "critical,CA:TRUE");
    add(ca->certificate, ca->certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
    add(ca->certificate, ca->certificate, NID_subject_key_identifier, "hash");
    MUST(X509_sign(ca->certificate, ca->key, EVP_sha256()) > 0);
}

void fixture_ca_deinit(struct fixture_ca *ca)
{
    EVP_PKEY_free(ca->key);
    X509_free(ca->certificate);
}

X509 *fixture_issue(const struct fixture_ca *ca, EVP_PKEY *key, const char *names, int days)
{
    X509 *certificate = begin("server.test", key, days);
    MUST(X509_set_issuer_name(certificate, X509_get_subject_name(ca->certificate)) == 1);
    add(certificate, ca->certificate, NID_subject_key_identifier, "hash");
    add(certificate, ca->certificate, NID_authority_key_identifier, "keyid:always");
    add(certificate, ca->certificate, NID_ext_key_usage, "serverAuth");
    if (*names)
        add(certificate, ca->certificate, NID_subject_alt_name, names);
    MUST(X509_sign(certificate, ca->key, EVP_sha256()) > 0);
    return certificate;
}

/* ---- folders ---- */

void fixture_write(const char *folder, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    MUST(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

void fixture_write_pem(const char *folder, const char *name, const X509 *certificate)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "a");
    MUST(file && PEM_write_X509(file, certificate) == 1 && fclose(file) == 0);
}

void fixture_folder(char path[64], const X509 *certificate)
{
    strcpy(path, "/tmp/tcpbroker-net-XXXXXX");
    MUST(mkdtemp(path));
    if (certificate)
        fixture_write_pem(path, "any name at all", certificate);
}

void fixture_remove(const char *path)
{
    const struct dirent *entry;
    DIR *folder = opendir(path);
    MUST(folder);
    while ((entry = readdir(folder)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            unlinkat(dirfd(folder), entry->d_name, 0) < 0)
            MUST(unlinkat(dirfd(folder), entry->d_name, AT_REMOVEDIR) == 0);
    closedir(folder);
    MUST(rmdir(path) == 0);
}

struct trust *fixture_trust(const char *folder)
{
    const struct trust_settings settings = {.cacerts = folder, .security_level = 2};
    struct trust *trust;
    char text[256];
    MUST(trust_new(&trust, &settings, text, sizeof(text)) == 0);
    return trust;
}

/* ---- the server ---- */

static void *serve_thread(void *argument)
{
    struct fixture_server *server = argument;
    for (int i = 0; i < server->n_connections; i++) {
        int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
        MUST(fd >= 0);
        struct timeval limit = {.tv_sec = 10};
        MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0);
        SSL *ssl = SSL_new(server->context);
        MUST(ssl && SSL_set_fd(ssl, fd) == 1);
        if (SSL_accept(ssl) == 1 && server->serve)
            server->serve(server, ssl, fd);
        SSL_free(ssl);
        close(fd);
        ERR_clear_error();
    }
    return NULL;
}

/* Takes the first protocol the client offers. */
static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *n_out,
                       const unsigned char *in, unsigned n_in, void *argument)
{
    (void)ssl;
    (void)argument;
    MUST(n_in > 1);
    *out = in + 1;
    *n_out = in[0];
    return SSL_TLSEXT_ERR_OK;
}

void fixture_server_start(struct fixture_server *server, const struct fixture_ca *ca,
                          const char *names, int days, int max_version, int n_connections,
                          void (*serve)(struct fixture_server *server, SSL *ssl, int fd))
{
    EVP_PKEY *key = fixture_key();
    X509 *certificate = fixture_issue(ca, key, names, days);
    *server = (struct fixture_server){.n_connections = n_connections, .serve = serve};
    server->listener = fixture_listen(&server->address, 64);
    server->context = SSL_CTX_new(TLS_server_method());
    MUST(server->context && SSL_CTX_use_certificate(server->context, certificate) == 1);
    MUST(SSL_CTX_use_PrivateKey(server->context, key) == 1);
    MUST(SSL_CTX_set_max_proto_version(server->context, max_version) == 1);
    SSL_CTX_set_alpn_select_cb(server->context, select_alpn, NULL);
    X509_free(certificate);
    EVP_PKEY_free(key);
    MUST(pthread_create(&server->thread, NULL, serve_thread, server) == 0);
}

void fixture_server_join(struct fixture_server *server)
{
    pthread_join(server->thread, NULL);
    close(server->listener);
    SSL_CTX_free(server->context);
}

/* ---- dialing ---- */

struct dialers *fixture_dialers(unsigned n_threads)
{
    const struct dial_settings settings = {
        .stagger_ms = 50, .tcp = {.nodelay = true, .keepalive_ms = 60000, .keepalive_probes = 3}};
    struct dialers *dialers;
    MUST(dialers_new(&dialers, n_threads, &settings) == 0);
    return dialers;
}

void fixture_dialers_free(struct dialers *dialers)
{
    dialers_stop(dialers);
    dialers_free(dialers);
}

struct fixture_dial {
    struct dial dial;
    struct fixture_job *job;
};

static void on_done(struct mail *mail)
{
    struct dial *dial = container_of(mail, struct dial, done);
    struct fixture_job *job = container_of(dial, struct fixture_dial, dial)->job;
    job->dial = dial;
    job->done = true;
    job->n_done++;
}

void fixture_job_init(struct fixture_job *job, struct loop *reply_to,
                      const struct address *addresses, size_t n, int64_t timeout_ms)
{
    struct fixture_dial *dial = calloc(1, sizeof(*dial));
    MUST(dial);
    *job = (struct fixture_job){.dial = &dial->dial};
    dial->job = job;
    dial->dial.done.deliver = on_done;
    dial->dial.reply_to = reply_to;
    dial->dial.addresses = calloc(n + 1, sizeof(*addresses));
    MUST(dial->dial.addresses);
    for (size_t i = 0; i < n; i++)
        dial->dial.addresses[i] = addresses[i];
    dial->dial.n_addresses = n;
    dial->dial.deadline_us = loop_clock_us() + timeout_ms * 1000;
}

void fixture_job_secure(struct fixture_job *job, struct trust *trust, const char *server_name,
                        bool verify)
{
    job->dial->secure = true;
    job->dial->verify = verify;
    job->dial->trust = trust_ref(trust);
    snprintf(job->dial->server_name, sizeof(job->dial->server_name), "%s", server_name);
}

void fixture_job_post(struct fixture_job *job, struct dialers *dialers)
{
    struct dial *moved = job->dial;
    dialer_post(dialers, &moved);
    MUST(!moved);
}

void fixture_job_run(struct fixture_job *job, struct dialers *dialers)
{
    struct loop *reply_to = job->dial->reply_to;
    fixture_job_post(job, dialers);
    fixture_pump(reply_to, &job->done);
}
