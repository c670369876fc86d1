#include <stdlib.h>
#include <unistd.h>

#include "net/stream.h"
#include "net/tls_engine.h"

struct connection *connection_free(struct connection *connection)
{
    if (!connection)
        return NULL;
    tls_engine_free(connection->tls);
    free(connection->facts);
    free(connection->ahead);
    if (connection->fd >= 0)
        close(connection->fd);
    free(connection);
    return NULL;
}
