#pragma once
/*
 * method: the handlers, one file for each family (method_*.c). A handler takes its request: it is
 * answered or parked when it returns.
 *
 * Threads: the request's io thread only.
 */
#include "rpc/request.h"

void method_tcp_connect(struct request *request);
void method_tcp_send(struct request *request);
void method_tcp_receive(struct request *request);
void method_tcp_close(struct request *request);
void method_tcp_block(struct request *request);
void method_tcp_get_my_addr(struct request *request);
void method_tcp_get_my_port(struct request *request);
void method_tcp_get_remote_addr(struct request *request);
void method_tcp_name2addr(struct request *request);
void method_tcp_addr2name(struct request *request);
void method_broker_hello(struct request *request);
void method_broker_list(struct request *request);
void method_broker_stats(struct request *request);
void method_broker_cancel(struct request *request);
void method_broker_errors(struct request *request);
void method_rpc_discover(struct request *request);

/* struct tls_facts in the shape of the result; strings are borrowed. */
struct proto_tls_facts method_tls_facts(const struct tls_facts *facts);

/* "[2001:db8::1]" -> "2001:db8::1"; everything else as it is. */
void method_strip_brackets(const char *hostname, char *host, size_t n_host);
