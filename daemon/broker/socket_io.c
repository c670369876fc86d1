/*
 * socket_io: sending and receiving on a socket (see socket.h).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/session.h"
#include "broker/socket.h"
#include "broker/socket_internal.h"
#include "broker/stats.h"

/* A TLS record holds at most so much (RFC 8446 section 5.1). */
enum { TLS_RECORD_MAX = 16384 };
/* Rounds of reading or writing per event, so that one busy socket does not starve the others of its
 * loop. */
enum { ROUNDS_MAX = 8 };

/* ---- sending
 * --------------------------------------------------------------------------------------------------
 */

void socket_end_sends(struct socket *socket, enum socket_outcome outcome)
{
    for (struct list *link; (link = list_pop(&socket->sends));) {
        struct socket_send *send = container_of(link, struct socket_send, link);
        send->on_done(send, outcome);
    }
}

/* Write until all of it is out. Returns 0, STREAM_E_AGAIN or STREAM_E_FAILED. */
static int write_some(struct socket *socket, const char *data, size_t n, size_t *n_done)
{
    while (*n_done < n) {
        size_t n_now;
        socket_note_move(socket);
        int r = stream_write(socket->stream, data + *n_done, n - *n_done, &n_now);
        if (r) {
            socket->n_attempt = r == STREAM_E_AGAIN ? n - *n_done : 0;
            return r;
        }
        *n_done += n_now;
        socket->bytes_out += n_now;
        (void)stats_add(bytes_out, (int64_t)n_now);
        if (*n_done < n) {
            /* less than asked for means that it would block now: asking again would only cost a
             * call */
            socket->n_attempt = n - *n_done;
            return STREAM_E_AGAIN;
        }
    }
    socket->n_attempt = 0;
    return 0;
}

static int write_carry(struct socket *socket)
{
    if (!socket->carry)
        return 0;
    int r = write_some(socket, socket->carry, socket->n_carry, &socket->n_carried);
    if (r == 0) {
        free(socket->carry);
        socket->carry = NULL;
    }
    return r;
}

bool socket_pump_sends(struct socket *socket)
{
    int r = write_carry(socket);
    while (r == 0 && !list_empty(&socket->sends)) {
        struct socket_send *send =
            container_of(list_first(&socket->sends), struct socket_send, link);
        r = write_some(socket, send->data, send->n_data, &send->n_sent);
        if (r == 0) {
            list_remove(&send->link);
            send->on_done(send, SOCKET_OK);
        }
    }
    if (r == STREAM_E_FAILED)
        return socket_fail(socket, stream_error(socket->stream));
    return r == 0 ? socket_proceed_close(socket) : false;
}

enum socket_outcome socket_send(struct socket *socket, struct socket_send *send)
{
    ASSERT_OWNER(socket->room->loop);
    send->n_sent = 0;
    if (socket->state <= SOCKET_CONNECTING)
        return SOCKET_E_NOT_CONNECTED;
    if (socket->state == SOCKET_FAILED)
        return SOCKET_E_FAILED;
    if (socket_is_attached(socket))
        return SOCKET_E_ATTACHED;
    if (socket->state == SOCKET_CLOSING)
        return SOCKET_E_CLOSING;
    if (socket->state == SOCKET_SECURING)
        return SOCKET_E_BUSY;
    if (socket->sending != SENDING_OPEN)
        return SOCKET_E_SHUT_DOWN;
    /* a secure socket always sends as if blocking */
    bool at_once = socket->non_blocking && !stream_tls(socket->stream);
    bool waiting = !list_empty(&socket->sends) || socket->carry;
    int r = waiting ? STREAM_E_AGAIN : write_some(socket, send->data, send->n_data, &send->n_sent);
    if (r == 0)
        return SOCKET_OK;
    if (r == STREAM_E_FAILED) {
        (void)socket_fail(socket, stream_error(socket->stream)); /* not closing: it stays */
        return SOCKET_E_FAILED;
    }
    if (at_once)
        return send->n_sent > 0 || send->n_data == 0 ? SOCKET_OK : SOCKET_E_AGAIN;
    list_append(&socket->sends, &send->link);
    socket_update_interest(socket);
    return SOCKET_E_PARKED;
}

void socket_withdraw_send(struct socket *socket, struct socket_send *send)
{
    ASSERT_OWNER(socket->room->loop);
    bool first = list_first(&socket->sends) == &send->link;
    list_remove(&send->link);
    if (first && socket->n_attempt > 0 && !socket->carry && stream_tls(socket->stream)) {
        /* OpenSSL has encrypted these already and insists on sending them (SSL_write(3), "must be
         * repeated") */
        size_t n = socket->n_attempt < TLS_RECORD_MAX ? socket->n_attempt : TLS_RECORD_MAX;
        socket->carry = malloc(n);
        if (!socket->carry) {
            if (socket->state != SOCKET_FAILED)
                (void)socket_fail_memory(socket);
            return;
        }
        memcpy(socket->carry, send->data + send->n_sent, n);
        socket->n_carry = n;
        socket->n_carried = 0;
        send->n_sent += n;
    }
    socket_update_interest(socket);
}

/* ---- receiving
 * ------------------------------------------------------------------------------------------------
 */

void socket_drop_buffer(struct socket *socket)
{
    free(socket->buffer);
    socket->buffer = NULL;
    socket->start = socket->end = socket->capacity = 0;
}

/* How many bytes may lie here unread. */
static size_t buffer_limit(const struct socket *socket)
{
    size_t limit = socket->room->receive_buffer;
    if (socket->receive && receive_room(&socket->receive->wish) > limit)
        limit = receive_room(&socket->receive->wish);
    return limit;
}

bool socket_wants_read(const struct socket *socket)
{
    if (socket->receiving == RECEIVING_ENDED)
        return false;
    switch (socket->state) {
    case SOCKET_OPEN:
        return socket->end - socket->start < buffer_limit(socket);
    case SOCKET_CLOSING:
        return true;
    default:
        return false;
    }
}

/* Room for n more bytes behind those that are there. */
static int make_room(struct socket *socket, size_t n)
{
    size_t n_used = socket->end - socket->start;

    if (socket->capacity - socket->end >= n)
        return 0;
    if (socket->start > 0) {
        memmove(socket->buffer, socket->buffer + socket->start, n_used);
        socket->start = 0;
        socket->end = n_used;
    }
    if (socket->capacity - n_used >= n)
        return 0;
    size_t capacity = socket->capacity ? socket->capacity : 1024;
    while (capacity < n_used + n)
        capacity *= 2;
    char *buffer = realloc(socket->buffer, capacity);
    if (!buffer)
        return -ENOMEM;
    socket->buffer = buffer;
    socket->capacity = capacity;
    return 0;
}

void socket_consume(struct socket *socket, size_t n)
{
    ASSERT_OWNER(socket->room->loop);
    if (socket->view) {
        ASSERT(n <= socket->n_view);
        socket->view += n;
        socket->n_view -= n;
        return; /* noted when it was read */
    }
    ASSERT(n <= socket->end - socket->start);
    socket->start += n;
    if (socket->start == socket->end)
        socket_drop_buffer(socket);
    socket_note_move(socket);
    socket_note(socket);
    if (socket->state == SOCKET_OPEN)
        socket_update_interest(socket);
}

/* What the bytes at hand mean for a wish. SOCKET_E_PARKED: it must wait. */
static enum socket_outcome judge(struct socket *socket, struct socket_receive *receive)
{
    const char *data = socket->view ? socket->view : socket->buffer + socket->start;
    size_t n = socket->view ? socket->n_view : socket->end - socket->start;
    bool failed = socket->state == SOCKET_FAILED;
    /* after a failure only what is wholly there is given: what the failure cut off must not look
     * like an end */
    switch (receive_decide(&receive->wish, n ? data : "", n, socket->receiving == RECEIVING_ENDED,
                           &receive->n_data)) {
    case RECEIVE_TAKE:
        receive->data = data;
        return SOCKET_OK;
    case RECEIVE_END:
        return SOCKET_E_END;
    case RECEIVE_NOT_UTF8:
        return SOCKET_E_NOT_UTF8;
    case RECEIVE_NUL:
        return SOCKET_E_NUL;
    case RECEIVE_NO_ROOM:
        return SOCKET_E_NO_ROOM;
    case RECEIVE_WAIT:
        break;
    }
    return failed ? SOCKET_E_FAILED : SOCKET_E_PARKED;
}

void socket_end_receive(struct socket *socket, enum socket_outcome outcome)
{
    struct socket_receive *receive = socket->receive;
    if (!receive)
        return;
    socket->receive = NULL;
    receive->on_done(receive, outcome);
}

void socket_poke(struct socket *socket)
{
    ASSERT_OWNER(socket->room->loop);
    struct socket_receive *receive = socket->receive;
    if (!receive || socket->quiet || (receive->held_up && *receive->held_up))
        return;
    enum socket_outcome outcome = judge(socket, socket->receive);
    if (outcome != SOCKET_E_PARKED)
        socket_end_receive(socket, outcome);
}

/* Keep what a delivery from the scratch buffer left over. */
static int keep_view(struct socket *socket)
{
    const char *view = socket->view;
    size_t n = socket->n_view;

    socket->view = NULL;
    socket->n_view = 0;
    if (n == 0)
        return 0;
    int r = make_room(socket, n);
    if (r)
        return r;
    memcpy(socket->buffer + socket->end, view, n);
    socket->end += n;
    return 0;
}

/* One read; deliver: offer the bytes to the parked receive. Returns 0, STREAM_E_*, or -ENOMEM
 * (bytes were lost). */
static int read_once(struct socket *socket, bool deliver, bool *ret_more)
{
    bool via_scratch = socket->start == socket->end || socket->state == SOCKET_CLOSING;
    size_t room = via_scratch ? socket->room->n_scratch
                              : buffer_limit(socket) - (socket->end - socket->start),
           n;

    if (!via_scratch) {
        /* in steps: a wish for much does not mean that much comes */
        if (room > 65536)
            room = 65536;
        if (make_room(socket, room))
            return -ENOMEM;
    }
    socket_note_move(socket);
    int r =
        stream_read(socket->stream,
                    via_scratch ? socket->room->scratch : socket->buffer + socket->end, room, &n);
    if (r)
        return r;
    *ret_more = n == room || stream_pending(socket->stream);
    socket->bytes_in += n;
    (void)stats_add(bytes_in, (int64_t)n);
    if (socket->state == SOCKET_CLOSING) {
        socket->close->n_discarded += n;
        return 0;
    }
    if (!via_scratch) {
        socket->end += n;
        if (deliver)
            socket_poke(socket);
        return 0;
    }
    socket->view = socket->room->scratch;
    socket->n_view = n;
    if (deliver)
        socket_poke(socket);
    return keep_view(socket);
}

bool socket_pump_reads(struct socket *socket)
{
    bool more = true;

    for (unsigned i = 0;
         (i < ROUNDS_MAX || stream_pending(socket->stream)) && more && socket_wants_read(socket);
         i++) {
        int r = read_once(socket, true, &more);
        switch (r) {
        case 0:
            break;
        case STREAM_E_AGAIN:
            return false;
        case STREAM_E_END:
            socket_set_receiving(socket, RECEIVING_ENDED);
            if (socket->state == SOCKET_CLOSING)
                return socket_proceed_close(socket);
            socket_poke(socket);
            return false;
        case STREAM_E_FAILED:
            return socket_fail(socket, stream_error(socket->stream));
        default:
            return socket_fail_memory(socket);
        }
    }
    return false;
}

/* Fetch what is there without delivering: for a receive that is just being asked for. */
static void fill(struct socket *socket)
{
    bool more = true;

    while (more && socket_wants_read(socket)) {
        int r = read_once(socket, false, &more);
        if (r == 0)
            continue;
        if (r == STREAM_E_END)
            socket_set_receiving(socket, RECEIVING_ENDED);
        else if (r == STREAM_E_FAILED)
            (void)socket_fail(socket, stream_error(socket->stream)); /* not closing: it stays */
        else if (r < 0)
            (void)socket_fail_memory(socket);
        return;
    }
}

enum socket_outcome socket_receive(struct socket *socket, struct socket_receive *receive)
{
    ASSERT_OWNER(socket->room->loop);
    if (socket->state <= SOCKET_CONNECTING)
        return SOCKET_E_NOT_CONNECTED;
    if (socket_is_attached(socket))
        return SOCKET_E_ATTACHED;
    if (socket->state == SOCKET_CLOSING)
        return SOCKET_E_CLOSING;
    if (socket->receive || socket->state == SOCKET_SECURING)
        return SOCKET_E_BUSY;
    enum socket_outcome outcome = judge(socket, receive);
    if (outcome != SOCKET_E_PARKED)
        return outcome;
    if (socket->non_blocking || stream_pending(socket->stream)) {
        struct socket_receive *const parked = receive;
        socket->receive = parked; /* so that the buffer may grow to what it needs */
        socket->quiet = true;     /* and nothing is delivered from inside here */
        fill(socket);
        socket->quiet = false;
        socket->receive = NULL;
        outcome = judge(socket, receive);
        socket_update_interest(socket);
        if (outcome != SOCKET_E_PARKED)
            return outcome;
        if (socket->non_blocking)
            return SOCKET_E_AGAIN;
    }
    socket->receive = receive;
    socket_update_interest(socket);
    return SOCKET_E_PARKED;
}

void socket_withdraw_receive(struct socket *socket, struct socket_receive *receive)
{
    ASSERT_OWNER(socket->room->loop);
    ASSERT(socket->receive == receive);
    socket->receive = NULL;
    socket_update_interest(socket);
}
