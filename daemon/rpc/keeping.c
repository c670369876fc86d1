#include "rpc/keeping.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "broker/socket_keep.h"
#include "rpc/sessions.h"
#include "util/log.h"

int keeping_new(struct keeping **ret_keeping, struct io *io, void (*done)(struct mail *))
{
    struct keeping *keeping = calloc(1, sizeof(*keeping));
    if (!keeping)
        return -ENOMEM;
    keeping->io = io;
    keeping->done.deliver = done;
    kept_init(&keeping->kept);
    *ret_keeping = keeping;
    return 0;
}

struct keeping *keeping_free(struct keeping *keeping)
{
    if (!keeping)
        return NULL;
    kept_deinit(&keeping->kept);
    free(keeping);
    return NULL;
}

static void post_done(struct keeping *keeping)
{
    loop_post(keeping->io->shared->control, &keeping->done);
}

/* ---- out ---- */

static void leave_sockets(struct session *session, struct kept_session *kept)
{
    struct kept_socket *out;
    struct socket *socket;

    for (size_t i = 0; (socket = map_next(&session->sockets, &i, NULL)); i = 0) {
        uint32_t number = socket->number;
        if (socket_leave(session, socket, &out)) {
            log_warning("socket %u does not outlive the restart: out of memory", number);
            session_socket_free(session, socket, false);
        } else if (out) {
            list_append(&kept->sockets, &out->link);
        }
    }
}

static void leave(struct keeping *keeping, struct session *session)
{
    struct kept_session *kept = malloc(sizeof(*kept));

    if (!kept) {
        log_warning("session %llu does not outlive the restart: out of memory",
                    (unsigned long long)session->id);
        struct socket *socket;
        for (size_t i = 0; (socket = map_next(&session->sockets, &i, NULL)); i = 0)
            session_socket_free(session, socket, false);
        return;
    }
    session_describe(session, kept);
    leave_sockets(session, kept);
    list_append(&keeping->kept.sessions, &kept->link);
}

static void on_leave(struct mail *mail)
{
    struct keeping *keeping = container_of(mail, struct keeping, mail);
    struct io *io = keeping->io;
    struct session *session;

    ASSERT_OWNER(io->loop);
    ASSERT(io->state == IO_DRAINED);
    for (size_t i = 0; (session = map_next(&io->sessions, &i, NULL)); i = 0) {
        leave(keeping, session);
        sessions_left(session);
    }
    post_done(keeping);
}

void keeping_post_leave(struct keeping *keeping)
{
    keeping->mail.deliver = on_leave;
    loop_post(keeping->io->loop, &keeping->mail);
}

/* ---- in ---- */

/* r: what socket_return() gave. */
static void lose_socket(struct keeping *keeping, struct kept_socket *socket, int r)
{
    log_warning("socket %u did not outlive the restart: %s", socket->number,
                r == TABLE_E_FULL ? "limits.sockets is lower than before" : strerror(-r));
    keeping->n_lost += socket->kind != KEPT_LOST; /* that one is counted already */
    socket->item = keep_item_drop(socket->item);
    kept_socket_free(socket);
}

static void come_in(struct keeping *keeping, struct kept_session *kept)
{
    struct session *session;
    int r = sessions_return(keeping->io, kept, &session);

    if (r == 0)
        keeping->n_sessions++;
    else
        log_warning("session %llu did not outlive the restart: %s", (unsigned long long)kept->id,
                    strerror(-r));
    for (struct list *link; (link = list_pop(&kept->sockets));) {
        struct kept_socket *socket = container_of(link, struct kept_socket, link);
        bool lost = socket->kind == KEPT_LOST;
        int r_socket = r ? r : socket_return(session, &socket);
        if (r_socket)
            lose_socket(keeping, socket, r_socket);
        else if (!lost)
            keeping->n_sockets++;
    }
}

static void on_return(struct mail *mail)
{
    struct keeping *keeping = container_of(mail, struct keeping, mail);

    ASSERT_OWNER(keeping->io->loop);
    for (struct list *link; (link = list_pop(&keeping->kept.sessions));) {
        struct kept_session *kept = container_of(link, struct kept_session, link);
        come_in(keeping, kept);
        kept_session_free(kept);
    }
    post_done(keeping);
}

void keeping_post_return(struct keeping *keeping)
{
    keeping->mail.deliver = on_return;
    loop_post(keeping->io->loop, &keeping->mail);
}
