#include "rpc/settings.h"

#include <stdlib.h>

struct rpc_snapshot *rpc_snapshot_ref(struct rpc_snapshot *snapshot)
{
    atomic_fetch_add_explicit(&snapshot->references, 1, memory_order_relaxed);
    return snapshot;
}

struct rpc_snapshot *rpc_snapshot_unref(struct rpc_snapshot *snapshot)
{
    if (!snapshot || atomic_fetch_sub_explicit(&snapshot->references, 1, memory_order_acq_rel) > 1)
        return NULL;
    policy_free(snapshot->policy);
    pools_deinit(&snapshot->pools);
    credentials_deinit(&snapshot->credentials);
    free(snapshot);
    return NULL;
}
