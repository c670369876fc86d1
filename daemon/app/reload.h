#pragma once
/*
 * reload: configuration and certificates read again while the daemon runs: by SIGHUP or
 * Broker.Reload. What is new is built whole on a worker thread first; when anything is wrong with
 * it, nothing changes. Then each io thread changes over, and only when all have is it done: what is
 * asked for after that is answered under the new configuration.
 *
 * Threads:   the control thread only; io threads post rpc_reload mails to reload_deliver().
 * Ownership: the configuration it was given is replaced by the one it loads; it owns both.
 * Errors:    -ENOMEM from reload_init(); what is wrong with a new configuration is logged and told
 * to who asked.
 * Limits:    one at a time; who asks meanwhile gets one more after it.
 */
#include "app/app.h"
#include "app/doors.h"
#include "app/status.h"
#include "rpc/io.h"

struct reload;

NODISCARD int reload_new(struct reload **ret_reload, struct loop *control,
                         struct rpc_shared *shared, const struct app_options *options,
                         struct config **config, struct doors *doors, struct status *status,
                         void (*on_idle)(void *context), void *context);
struct reload *reload_free(struct reload *reload); /* idle only */
void reload_ask(struct reload *reload);            /* SIGHUP */
/* An rpc_reload's mail on the control thread. */
void reload_deliver(struct reload *reload, struct mail *mail);
/* The daemon stops: no more begin; on_idle is called when the one that runs has ended. */
void reload_stop(struct reload *reload);
bool reload_busy(const struct reload *reload);
