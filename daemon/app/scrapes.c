#include "app/scrapes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "broker/exposition.h"
#include "net/http_request.h"
#include "net/watch.h"
#include "rpc/metrics.h"
#include "util/log.h"

struct scrape {
    struct list link; /* scrapes->all: who has waited longest for a request is the first */
    struct scrapes *scrapes;
    int fd;
    struct watch *watch;
    struct timer deadline;
    bool begun; /* some bytes of a request are there */
    bool last;  /* the connection ends with this answer */
    struct writer answer;
    size_t n_data;
    char data[HTTP_HEAD_MAX];
};

struct scrapes {
    struct loop *loop;
    const struct rpc_shared *shared;
    struct list all;
    size_t n;
};

static void end(struct scrape *scrape)
{
    struct scrapes *scrapes = scrape->scrapes;

    timers_stop(&scrapes->loop->timers, &scrape->deadline);
    watch_free(scrape->watch);
    close(scrape->fd);
    writer_deinit(&scrape->answer);
    list_remove(&scrape->link);
    scrapes->n--;
    free(scrape);
}

static void on_deadline(struct timer *timer)
{
    end(container_of(timer, struct scrape, deadline));
}

/* Returns 0 or -ENOMEM. */
static int allow(struct scrape *scrape, uint64_t ms)
{
    return timers_start(&scrape->scrapes->loop->timers, &scrape->deadline, ms, on_deadline);
}

/* ---- answers ---- */

static const char *reason_of(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case HTTP_E_BODY:
        return "Content Too Large";
    case HTTP_E_TOO_LARGE:
        return "Request Header Fields Too Large";
    case HTTP_E_VERSION:
        return "HTTP Version Not Supported";
    default:
        return "Bad Request";
    }
}

/* RFC 9110 section 6.6.1; in the C locale, as the daemon sets none. */
static void write_date(char *text, size_t n_text)
{
    time_t now = time(NULL);
    struct tm parts;

    gmtime_r(&now, &parts);
    (void)strftime(text, n_text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
}

/* The bodies of all answers but the metrics are their reason. */
static void answer(struct scrape *scrape, int status, bool with_body, bool last)
{
    struct writer body = WRITER_INIT;
    char head[512], date[64];

    if (status == 200) {
        metrics_write(&body, scrape->scrapes->shared);
    } else {
        writer_raw(&body, reason_of(status), strlen(reason_of(status)));
        writer_raw(&body, "\n", 1);
    }
    write_date(date, sizeof(date));
    int n =
        snprintf(head, sizeof(head),
                 "HTTP/1.1 %d %s\r\nDate: %s\r\nServer: tcpbroker\r\nContent-Type: %s\r\n"
                 "Content-Length: %zu\r\n%s%s\r\n",
                 status, reason_of(status), date,
                 status == 200 ? EXPOSITION_CONTENT_TYPE : "text/plain; charset=utf-8", body.n_data,
                 status == 405 ? "Allow: GET, HEAD\r\n" : "", last ? "Connection: close\r\n" : "");
    writer_raw(&scrape->answer, head, (size_t)n);
    if (with_body)
        writer_raw(&scrape->answer, body.data, body.n_data);
    if (writer_failed(&body)) /* nobody shall take half of it for the whole */
        scrape->answer.failed = true;
    writer_deinit(&body);
    scrape->last = last;
}

static int status_of(const struct http_request *request)
{
    static const char path[] = "/metrics";

    if (request->n_path != sizeof(path) - 1 || memcmp(request->path, path, request->n_path) != 0)
        return 404;
    return request->method == HTTP_OTHER ? 405 : 200;
}

/* No request is under way any more: it is the newest of those that wait. */
static int rest(struct scrape *scrape)
{
    scrape->begun = false;
    list_remove(&scrape->link);
    list_append(&scrape->scrapes->all, &scrape->link);
    return allow(scrape, SCRAPES_IDLE_MS);
}

/* The next request among what has come. Returns 1: it was answered; 0: there is none; or -errno. */
static int take_request(struct scrape *scrape)
{
    struct http_request request;
    int r = http_request_parse(scrape->data, scrape->n_data, &request);

    if (r == HTTP_E_MORE)
        return scrape->begun && scrape->n_data == 0 ? rest(scrape) : 0;
    if (r) {
        scrape->n_data = 0;
        answer(scrape, r, true, true);
    } else {
        answer(scrape, status_of(&request), request.method != HTTP_HEAD, !request.keep_alive);
        scrape->n_data -= request.n_bytes;
        memmove(scrape->data, scrape->data + request.n_bytes, scrape->n_data);
    }
    r = allow(scrape, SCRAPES_TIME_MS);
    return r ? r : 1;
}

/* ---- bytes ---- */

/* Returns 0: all is sent; 1: it goes on when there is room again; < 0: the connection is of no use
 * any more. */
static int send_answer(struct scrape *scrape)
{
    while (scrape->answer.n_data > 0) {
        ssize_t n = send(scrape->fd, scrape->answer.data, scrape->answer.n_data,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return 1;
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            writer_consume(&scrape->answer, (size_t)n);
    }
    writer_deinit(&scrape->answer);
    scrape->answer = WRITER_INIT;
    return 0;
}

/* What is unread would make the close a reset, which can overtake the answer. */
static void end_orderly(struct scrape *scrape)
{
    (void)shutdown(scrape->fd, SHUT_WR);
    (void)recv(scrape->fd, scrape->data, sizeof(scrape->data), MSG_DONTWAIT);
    end(scrape);
}

/* One answer for each round of the loop. The scrape may be gone after that. */
static void go_on(struct scrape *scrape)
{
    int r = writer_failed(&scrape->answer) ? -ENOMEM : send_answer(scrape);

    if (r == 0 && scrape->last) {
        end_orderly(scrape);
        return;
    }
    if (r == 0)
        r = take_request(scrape);
    if (r >= 0)
        r = watch_set(scrape->watch, r > 0 ? WATCH_WRITABLE : WATCH_READABLE);
    if (r < 0)
        end(scrape);
}

static void take_bytes(struct scrape *scrape)
{
    ssize_t n = recv(scrape->fd, scrape->data + scrape->n_data,
                     sizeof(scrape->data) - scrape->n_data, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (n <= 0) {
        end(scrape);
        return;
    }
    scrape->n_data += (size_t)n;
    if (!scrape->begun) {
        scrape->begun = true;
        if (allow(scrape, SCRAPES_TIME_MS)) {
            end(scrape);
            return;
        }
    }
    go_on(scrape);
}

static void on_event(void *context, unsigned events)
{
    struct scrape *scrape = context;

    ASSERT_OWNER(scrape->scrapes->loop);
    if (events & WATCH_WRITABLE)
        go_on(scrape);
    else
        take_bytes(scrape);
}

/* ---- connections ---- */

/* Prometheus must not be kept out by who does nothing. */
static void make_room(struct scrapes *scrapes)
{
    list_for_each (link, &scrapes->all) {
        struct scrape *each = container_of(link, struct scrape, link);
        if (!each->begun) {
            end(each);
            return;
        }
    }
    end(container_of(list_first(&scrapes->all), struct scrape, link));
}

void scrapes_serve(struct scrapes *scrapes, int fd)
{
    ASSERT_OWNER(scrapes->loop);
    if (scrapes->n == SCRAPES_MAX)
        make_room(scrapes);
    struct scrape *scrape = calloc(1, sizeof(*scrape));
    if (!scrape) {
        close(fd);
        return;
    }
    scrape->scrapes = scrapes;
    scrape->fd = fd;
    scrape->answer = WRITER_INIT;
    list_append(&scrapes->all, &scrape->link);
    scrapes->n++;
    int r = watch_new(&scrape->watch, scrapes->loop, fd, on_event, scrape);
    if (r == 0)
        r = watch_set(scrape->watch, WATCH_READABLE);
    if (r == 0)
        r = allow(scrape, SCRAPES_IDLE_MS);
    if (r) {
        log_debug("metrics: a connection could not be served: %s", strerror(-r));
        end(scrape);
    }
}

int scrapes_new(struct scrapes **ret_scrapes, struct loop *loop, const struct rpc_shared *shared)
{
    struct scrapes *scrapes = calloc(1, sizeof(*scrapes));
    if (!scrapes)
        return -ENOMEM;
    scrapes->loop = loop;
    scrapes->shared = shared;
    list_init(&scrapes->all);
    *ret_scrapes = scrapes;
    return 0;
}

struct scrapes *scrapes_free(struct scrapes *scrapes)
{
    if (!scrapes)
        return NULL;
    list_for_each_safe (link, &scrapes->all)
        end(container_of(link, struct scrape, link));
    free(scrapes);
    return NULL;
}
