#pragma once
/*
 * passage: one connection of a local program through a door (a tunnel, SOCKS), until it is relayed:
 * what SOCKS asks for, the look-up, the dial. Then it is a socket, attached to the program's
 * connection, in a session of its own, and the passage is gone.
 *
 * Threads:   passage_post(): the control thread; the rest happens on its io thread.
 * Ownership: a passage owns the program's connection and its session, which lingers when they are
 * handed on (sessions_linger()). It frees itself when nothing of it is out any more.
 * Errors:    the program sees its connection closed, reset if it is TCP; SOCKS answers first. The
 * log has the error in full.
 * Limits:    those of the program's user, as for a client, and how many such connections he may
 * have; who comes by TCP is nobody in particular (ACCOUNT_NOBODY). The session's socket counts
 * towards limits.sockets; the time: connect.timeout or the
 * tunnel's own, socks.handshake_timeout before that.
 */
#include "rpc/io.h"
#include "rpc/route.h"

struct fault;

/* Who came: uid, gid (-1) and pid (0) of one who came by TCP are unknown. */
struct passage_peer {
    uid_t uid;
    gid_t gid;
    pid_t pid;
};

/* Takes the fd, and has entered the route (route_leave() is its own business then). Returns 0, or
 * -ENOMEM with nothing taken. */
NODISCARD int passage_post(struct io *io, struct route *route, int fd,
                           const struct passage_peer *peer);
/* The broker stops: who has not asked for anything yet is sent away. */
void passages_drain(struct io *io);
/* End the one that is reaching for what shall be that socket: it fails with that fault. False:
 * there is none. */
NODISCARD bool passages_end(struct io *io, const struct socket *socket, const struct fault *fault);
/* End all of them now. */
void passages_cut(struct io *io);
