#pragma once
/*
 * doors: the sockets beside the broker's own where unmodified programs come in: tunnels and SOCKS.
 * Listening and dealing out to the io threads, where a connection goes on as a passage. The doors
 * of [metrics] are the same, but their connections stay on the control thread (app/scrapes.h).
 *
 * A change has two halves: doors_prepare() does all that can fail, and can be taken back;
 * doors_commit() cannot fail. A door that listens where the new one shall keeps its socket, and who
 * waits there; the connections that have come in are no business of the doors any more.
 *
 * Threads:   the control thread only.
 * Ownership: owns fds and socket files.
 * Errors:    an exit status, 1 (failure), with the reason in words.
 * Limits:    DOORS_MAX; socks.clients connections by SOCKS at once.
 */
#include "app/door_plan.h"
#include "app/restart.h"
#include "loop/loop.h"
#include "rpc/settings.h"

struct doors;

NODISCARD int doors_new(struct doors **ret_doors, struct loop *loop, struct rpc_shared *shared,
                        struct restart *restart);
struct doors *doors_free(struct doors *doors);

/* Open what is to be opened; nothing is accepted there yet. Takes *plan when it returns 0. */
NODISCARD int doors_prepare(struct doors *doors, struct door_plan **plan, char *reason,
                            size_t n_reason);
/* After that: the new doors instead of the old ones. */
void doors_commit(struct doors *doors);
/* Broker.Drain, or its end: who comes in is turned away. */
void doors_refuse(struct doors *doors, bool refuse);
/* An rpc_doors' mail: they are written down, and it goes back. */
void doors_deliver(struct doors *doors, struct mail *mail);
/* Close all of them; those that the store keeps listen on there. No change has an effect after
 * that. */
void doors_stop(struct doors *doors);
