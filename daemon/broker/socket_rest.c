#include "broker/socket_rest.h"

#include "broker/session.h"
#include "broker/socket_internal.h"
#include "broker/socket_keep.h"
#include "broker/socket_move.h"

void socket_set_shelf(struct socket *socket, struct shelf *shelf, int64_t made_ms)
{
    ASSERT_OWNER(socket->room->loop);
    ASSERT(!socket->shelf);
    socket->shelf = shelf_ref(shelf);
    socket->made_ms = made_ms;
}

static bool is_quiet(const struct socket *socket)
{
    return socket->state == SOCKET_OPEN && socket->sending == SENDING_OPEN &&
           socket->receiving == RECEIVING_OPEN && socket_idle(socket) == SOCKET_OK &&
           !socket->carry && socket->start == socket->end;
}

/* What is there but unread, an end too, is found by reading. */
static bool is_at_rest(struct socket *socket)
{
    if (!is_quiet(socket))
        return false;
    bool gone = socket_pump_reads(socket);
    ASSERT(!gone); /* no close is under way */
    socket_update_interest(socket);
    return is_quiet(socket) && !stream_pending(socket->stream);
}

enum rest_outcome socket_rest(struct socket *socket, uid_t uid, struct shelf_now now)
{
    struct shelf_tag tag = {
        .uid = uid, .used = true, .made_ms = socket->made_ms, .until_s = INT64_MAX};

    ASSERT_OWNER(socket->room->loop);
    /* TCPStartTLS makes another connection of it */
    if (!socket->shelf || !socket->stream ||
        shelf_settings(socket->shelf)->secure != (stream_tls(socket->stream) != NULL) ||
        !shelf_has_place(socket->shelf, &tag, now) || !is_at_rest(socket))
        return REST_NOT;
    socket_unkeep(socket, UNKEEP_LEAVES);
    int r = stream_export(&socket->stream, &socket->connection);
    ASSERT(r == 0);
    record_ends(socket, RECORD_END_POOLED);
    record_close(socket, socket->room->events);
    tag.until_s = warm_until(socket->connection);
    bool kept = shelf_put(socket->shelf, &socket->connection, &tag, now);
    socket->connection = warm_retire(socket->connection); /* or what had to make room */
    return kept ? REST_DONE : REST_LATE;
}
