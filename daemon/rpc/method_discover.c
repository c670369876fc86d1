/*
 * method_discover: rpc.discover.
 */
#include "proto/openrpc.h"
#include "rpc/method.h"

void method_rpc_discover(struct request *request)
{
    request_answer_raw(request, openrpc_write);
}
