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
void method_tcp_socket(struct request *request);
void method_tcp_bind(struct request *request);
void method_tcp_listen(struct request *request);
void method_tcp_accept(struct request *request);
void method_tcp_ping(struct request *request);
void method_tcp_attach(struct request *request);
void method_tcp_start_tls(struct request *request);
void method_tcp_transfer(struct request *request);
void method_tcp_offer(struct request *request);
void method_tcp_claim(struct request *request);
void method_session_open(struct request *request);
void method_session_join(struct request *request);
void method_session_close(struct request *request);
void method_session_set(struct request *request);
void method_broker_hello(struct request *request);
void method_broker_list(struct request *request);
void method_broker_stats(struct request *request);
void method_broker_users(struct request *request);
void method_broker_cancel(struct request *request);
void method_broker_errors(struct request *request);
void method_broker_metrics(struct request *request);
void method_broker_reload(struct request *request);
void method_policy_test(struct request *request);
void method_policy_show(struct request *request);
void method_broker_events(struct request *request);
void method_broker_close(struct request *request);
void method_broker_drain(struct request *request);
void method_broker_log(struct request *request);
void method_broker_doors(struct request *request);
void method_broker_pools(struct request *request);
void method_rpc_discover(struct request *request);

/* The word of a member `family` as AF_UNSPEC, AF_INET, AF_INET6. */
int method_family(int64_t word);
/* Make the request's job and send a look-up out, with the deadline that the request names (given),
 * its session has, or the configuration. Takes lookup (NULL: no memory for it); false: the
 * request was answered. */
bool method_look_up(struct request *request, struct lookup *lookup, bool given, int64_t given_ms,
                    void (*on_lookup)(struct request *request, struct lookup *lookup));
/* Could its answer have a descriptor? false: the request was answered. */
bool method_can_attach(struct request *request);
/* socket_attach(), counted and logged; the answer follows at once. */
NODISCARD int method_attach(struct request *request, struct socket *socket, int *ret_fd,
                            bool *ret_direct, struct tls_facts **ret_facts);
/* "[2001:db8::1]" -> "2001:db8::1"; everything else as it is. */
void method_strip_brackets(const char *hostname, char *host, size_t n_host);
