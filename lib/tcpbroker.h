#ifndef TCPBROKER_H
#define TCPBROKER_H
/*
 * tcpbroker.h: the client library of tcpbroker, the connection broker. See libtcpbroker(3).
 *
 * A struct tcpb is one connection to the daemon (one session: its sockets are closed when it ends).
 * Over it go requests; each gets exactly one answer. Three ways, which may be mixed freely:
 *
 *   typed       tcpb_tcp_connect(broker, &params, &reply, &result, &error) and its siblings at the
 * end of this file JSON        tcpb_call(broker, "TCPConnect", "{\"hostname\":…}", &reply, &error)
 *   event loop  tcpb_submit() with a callback; poll tcpb_get_fd(), then tcpb_process()
 *
 * Threads:   every function may be called from any thread at any time, on one connection too, but
 * for tcpb_close() (the last call) and a reply (one thread at a time). Blocking calls of many
 * threads share one connection: one of the waiting threads reads and hands out the others' answers.
 * Not for signal handlers. After fork() the child must not use its parent's connection
 * (TCPB_LOCAL_FORKED); it may, and should, tcpb_close() it, which does not disturb the parent. Do
 * not fork while another thread is inside tcpb_open() or tcpb_close(). Ownership: what a function
 * gives in ret_x belongs to the caller. Strings inside a result live as long as its reply.
 *            Functions that free take NULL and return NULL.
 * Errors:    functions return 0, or the code that they also put into *error (which may be NULL).
 * Codes from the daemon are negative (TCPB_E_…), codes of this library positive (TCPB_LOCAL_…).
 * Outputs are written on success only. Signals:   no SIGPIPE is ever raised, EINTR is handled
 * inside, all descriptors are close-on-exec. Limits:    an answer of at most 64 MiB. Requests are
 * limited by the daemon (Broker.Hello tells: bytes of a line, requests in flight).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

struct tcpb;       /* a connection to the daemon */
struct tcpb_reply; /* an answer */

/* What this library itself has to complain about. */
enum tcpb_local_code {
    TCPB_LOCAL_NO_DAEMON =
        1, /* nobody listens at the socket: is tcpbroker.socket enabled, tcpbrokerd running? */
    TCPB_LOCAL_NO_ACCESS = 2, /* the socket may not be used: is the user in the group tcpbroker? */
    TCPB_LOCAL_LOST = 3,      /* the connection ended; what was running is undone, open another */
    TCPB_LOCAL_PROTOCOL = 4,  /* the answer was not understood */
    TCPB_LOCAL_MEMORY = 5,    /* out of memory */
    TCPB_LOCAL_ARGUMENT = 6,  /* an argument is wrong; nothing was sent */
    TCPB_LOCAL_FORKED = 7,    /* the connection belongs to the parent process */
    TCPB_LOCAL_SYSTEM = 8,    /* a system call failed; sys_errno tells which way */
    TCPB_LOCAL_CLOSED = 9,    /* told to callbacks of requests still running at tcpb_close() */
};

struct tcpb_error {
    int32_t code;            /* 0: none; < 0: TCPB_E_…; > 0: TCPB_LOCAL_… */
    int32_t sys_errno;       /* TCPB_LOCAL_…: the system's errno, or 0 */
    bool retryable;          /* could the same request succeed later */
    uint32_t retry_after_ms; /* but not sooner than in so many milliseconds; 0: nobody knows. (It
                              * stands where there was padding: the struct is as it was.) */
    int64_t sent;            /* bytes a failed TCPSend did send; -1: does not apply */
    char symbol[64];         /* "ECONNREFUSED", …; "NO_DAEMON", … for TCPB_LOCAL_… */
    char
        stage[16]; /* request, policy, resolve, connect, tls, io, broker; client for TCPB_LOCAL_… */
    char param[128];    /* the parameter that is wrong, or "" */
    char message[1024]; /* a sentence for a person: what failed and what to do */
};

/* ---- connection ---- */

/*
 * Connect to the daemon. path: its socket; NULL: $TCPBROKER_SOCKET; else
 * /run/tcpbroker/tcpbroker.sock for root, else $XDG_RUNTIME_DIR/tcpbroker/tcpbroker.sock when it
 * exists, else the former.
 */
int tcpb_open(struct tcpb **ret_broker, const char *path, struct tcpb_error *error);

/*
 * End the session; the daemon closes its sockets. No other thread may be using the connection.
 * Callbacks of requests still running are called with TCPB_LOCAL_CLOSED (not in a forked child).
 */
struct tcpb *tcpb_close(struct tcpb *broker);

/* ---- blocking calls ---- */

/*
 * Ask and wait for the answer. params: JSON text of an object or array, or NULL. Methods that take
 * a `thread` are given this thread's label (tcpb_thread_label()) unless params has one. There is no
 * time limit but the daemon's; when the daemon dies, all waiting calls end with TCPB_LOCAL_LOST.
 * Not a cancellation point (pthreads(7)).
 */
int tcpb_call(struct tcpb *broker, const char *method, const char *params,
              struct tcpb_reply **ret_reply, struct tcpb_error *error);

/*
 * The same, but an error answered by the daemon is a reply too: 0 is returned and
 * tcpb_reply_failed() is true. For programs that pass answers on.
 */
int tcpb_exchange(struct tcpb *broker, const char *method, const char *params,
                  struct tcpb_reply **ret_reply, struct tcpb_error *error);

/* The result as JSON text; of a failed one the JSON-RPC error object. Lives as long as the reply.
 */
const char *tcpb_reply_json(const struct tcpb_reply *reply);
/* Did the daemon answer with an error? *error (may be NULL) is filled then. */
bool tcpb_reply_failed(const struct tcpb_reply *reply, struct tcpb_error *error);
/*
 * The result as the struct of its method (const struct tcpb_tcp_connect_result * for TCPConnect,
 * …); NULL when the reply is an error, the method is not in this header, the result does not fit
 * it, or memory is short. Lives as long as the reply.
 */
const void *tcpb_reply_result(struct tcpb_reply *reply);
/*
 * The descriptor that came with the reply (TCPAttach, TCPConnect with attach): the caller's from
 * now on. -1: there is none, or it was taken. One that nobody takes is closed with its reply.
 */
int tcpb_reply_take_fd(struct tcpb_reply *reply);
struct tcpb_reply *tcpb_reply_free(struct tcpb_reply *reply);

/*
 * This thread's label, "<pid>.<n>": unique in the process, never reused, another one after fork().
 * Lives as long as the thread (until fork() in the child).
 */
const char *tcpb_thread_label(void);

/* ---- streams as descriptors ---- */

struct tcpb_tcp_connect_params;
struct tcpb_tcp_connect_result;

/*
 * TCPAttach: have the bytes of a socket as a descriptor instead of by TCPSend and TCPReceive. It is
 * a connected stream socket, blocking and close-on-exec, and the caller's to read, write, shut down
 * (SHUT_WR is the half close) and close; it works on when *broker is closed. ret_direct (may be
 * NULL): true: it is the connection itself, and the number is gone; false: the daemon passes the
 * bytes on, and TCPReceive on the number tells after the end of file whether the stream was cut
 * off. The calling thread must own the socket. On failure the socket is as it was, but for
 * TCPB_LOCAL_SYSTEM (no descriptor was left in this process, sys_errno EMFILE): then it is lost.
 */
int tcpb_attach(struct tcpb *broker, int64_t socket, int *ret_fd, bool *ret_direct,
                struct tcpb_error *error);
/*
 * TCPConnect with attach: connect, and have that descriptor, in one round trip. params->attach need
 * not be set. Without TLS the daemon keeps nothing of the connection. ret_reply and ret_result as
 * for the typed functions: the facts of the connection.
 */
int tcpb_connect_attach(struct tcpb *broker, const struct tcpb_tcp_connect_params *params,
                        int *ret_fd, struct tcpb_reply **ret_reply,
                        const struct tcpb_tcp_connect_result **ret_result,
                        struct tcpb_error *error);

/* ---- event loops ---- */

/*
 * How a submitted request ended. Exactly one of reply and error is not NULL; both belong to the
 * library and die when the callback returns. Called by tcpb_process() (or tcpb_close()), never by
 * tcpb_submit() and never with a lock held: it may call every function of this header but
 * tcpb_close().
 */
typedef void (*tcpb_callback)(struct tcpb *broker, int64_t id, struct tcpb_reply *reply,
                              const struct tcpb_error *error, void *userdata);

/*
 * Ask and do not wait. Sends what the socket takes at once; the rest goes out in tcpb_process() (or
 * by any thread that waits in a call). ret_id (may be NULL): the request's id, for Broker.Cancel.
 * The callback is called once unless an error is returned. `thread` is filled in as for
 * tcpb_call(), with the label of the submitting thread.
 */
int tcpb_submit(struct tcpb *broker, const char *method, const char *params, tcpb_callback callback,
                void *userdata, int64_t *ret_id, struct tcpb_error *error);

/*
 * A descriptor to poll for tcpb_get_events(), and nothing else: do not read, write or close it. It
 * never changes. It becomes ready when tcpb_process() has something to do, also for answers that a
 * blocking call of another thread happened to read, and stays ready when the connection is lost.
 * -1: it could not be made (no descriptors left).
 */
int tcpb_get_fd(struct tcpb *broker);
/* What to poll for: POLLIN bits (poll(2)); they never change. */
int tcpb_get_events(struct tcpb *broker);
/*
 * Write, read and call callbacks, without waiting. Returns 0, or the code of the error that ended
 * the connection (after all callbacks were called): close it then. One thread at a time gets the
 * callbacks of one process call; several threads may call it.
 */
int tcpb_process(struct tcpb *broker, struct tcpb_error *error);

/* ---- events ---- */

struct tcpb_event;

/*
 * What has happened to a connection, once Broker.Events was asked for (tcpb_broker_events()). json:
 * all of it as the daemon has written it. Both die when the callback returns. Called by
 * tcpb_process() only, and as freely as a tcpb_callback.
 */
typedef void (*tcpb_event_callback)(struct tcpb *broker, const struct tcpb_event *event,
                                    const char *json, void *userdata);
/*
 * Call this for every event from now on; NULL: events are ignored, as they are without this
 * function. Events that a blocking call reads wait for tcpb_process(), 4096 of them at most; how
 * many more there were tells an event of class lost.
 */
int tcpb_on_event(struct tcpb *broker, tcpb_event_callback callback, void *userdata,
                  struct tcpb_error *error);

/* "0.1.0" */
const char *tcpb_version(void);

/* ---- values in parameters and results ---- */

struct tcpb_bytes {
    const char *data; /* n_bytes; text is not NUL-terminated */
    size_t n_bytes;
};

struct tcpb_strings {
    const char *const *items;
    size_t n_items;
};

struct tcpb_objects {
    const void *items; /* n_items structs, as the member's comment says */
    size_t n_items;
};

/* A thread label: the text, or when that is NULL the number. */
struct tcpb_thread {
    const char *text;
    int64_t number;
};

enum tcpb_id_kind { TCPB_ID_ABSENT = 0, TCPB_ID_NULL, TCPB_ID_INTEGER, TCPB_ID_STRING };

/* The id of a request. */
struct tcpb_id {
    enum tcpb_id_kind kind;
    int64_t number;   /* TCPB_ID_INTEGER */
    const char *text; /* TCPB_ID_STRING */
};

/*
 * ---- methods ----
 * Params: zero the struct, set members; optional ones count only with their has_ member. Times are
 * milliseconds. Results: optional members are there when has_ says so. Either of ret_reply and
 * ret_result may be NULL, but a result needs its reply.
 */
/* generated from proto/methods.def and proto/errors.def: begin */
/* ---- error codes ---- */

enum {
    /* the line is not valid JSON in valid UTF-8 */
    TCPB_E_PARSE_ERROR = -32700,
    /* the message is not a JSON-RPC 2.0 request */
    TCPB_E_INVALID_REQUEST = -32600,
    /* there is no such method */
    TCPB_E_METHOD_NOT_FOUND = -32601,
    /* a parameter is missing, unknown, given twice or of the wrong type */
    TCPB_E_INVALID_PARAMS = -32602,
    /* something failed inside the broker; its log tells more */
    TCPB_E_INTERNAL = -32603,
    /* no echo came in time */
    TCPB_E_PING_TIMEOUT = -1,
    /* the option of TCPClose is 0 (complete), 1 (partial) or 2 (abort) */
    TCPB_E_BAD_CLOSE_OPTION = -517,
    /* the kernel does not let the broker send ICMP echo (net.ipv4.ping_group_range) */
    TCPB_E_PING_NEEDS_PRIV = -1012,
    /* the socket speaks TLS already */
    TCPB_E_ALREADY_SECURE = -1015,
    /* TLS 1.2 has no half close; use option 0 or 2 */
    TCPB_E_TLS_NO_PARTIAL_CLOSE = -1018,
    /* the folder of CA certificates cannot be used */
    TCPB_E_CA_FOLDER = -1024,
    /* the system's CA certificates cannot be read */
    TCPB_E_CA_BUNDLE = -1025,
    /* the folder of CA certificates cannot be listed */
    TCPB_E_CA_LIST = -1026,
    /* there is no CA certificate to verify with, or no revocation list where there should be
     * some */
    TCPB_E_CA_EMPTY = -1027,
    /* reading the folder of CA certificates failed half-way */
    TCPB_E_CA_NEXT = -1028,
    /* a file of CA certificates or revocation lists cannot be opened or used */
    TCPB_E_CA_OPEN = -1029,
    /* the TLS handshake failed */
    TCPB_E_TLS_HANDSHAKE = -1031,
    /* the request was cancelled */
    TCPB_E_EINTR = -10004,
    /* not permitted */
    TCPB_E_EACCES = -10013,
    /* not possible in the socket's present state */
    TCPB_E_EINVAL = -10022,
    /* a limit of sockets is reached; close some, or raise the option named in data.limit */
    TCPB_E_EMFILE = -10024,
    /* the socket is non-blocking and nothing can be done at once */
    TCPB_E_EWOULDBLOCK = -10035,
    /* there is no such socket (never was, or closed) */
    TCPB_E_ENOTSOCK = -10038,
    /* the address family is not available here */
    TCPB_E_EAFNOSUPPORT = -10047,
    /* the local address is in use */
    TCPB_E_EADDRINUSE = -10048,
    /* the local address is not one of this host */
    TCPB_E_EADDRNOTAVAIL = -10049,
    /* the network is down */
    TCPB_E_ENETDOWN = -10050,
    /* there is no route to that network */
    TCPB_E_ENETUNREACH = -10051,
    /* the connection was aborted on this side */
    TCPB_E_ECONNABORTED = -10053,
    /* the peer reset the connection */
    TCPB_E_ECONNRESET = -10054,
    /* out of memory or of buffers; nothing was done */
    TCPB_E_ENOBUFS = -10055,
    /* the socket is not connected */
    TCPB_E_ENOTCONN = -10057,
    /* sending was ended by TCPClose before */
    TCPB_E_ESHUTDOWN = -10058,
    /* the deadline passed */
    TCPB_E_ETIMEDOUT = -10060,
    /* nothing listens at that address and port */
    TCPB_E_ECONNREFUSED = -10061,
    /* the host is down */
    TCPB_E_EHOSTDOWN = -10064,
    /* there is no route to that host */
    TCPB_E_EHOSTUNREACH = -10065,
    /* there is no such host */
    TCPB_E_HOST_NOT_FOUND = -11001,
    /* the name server did not answer; try again */
    TCPB_E_TRY_AGAIN = -11002,
    /* the resolver failed for good */
    TCPB_E_NO_RECOVERY = -11003,
    /* the name has no address of the wanted family */
    TCPB_E_NO_DATA = -11004,
    /* the socket belongs to another thread or session */
    TCPB_E_NOT_OWNER = -33001,
    /* a request of that kind is already running on the socket */
    TCPB_E_BUSY = -33002,
    /* the socket's stream was handed out as a file descriptor */
    TCPB_E_ATTACHED = -33003,
    /* a limit of requests or bytes is reached; data.limit names the option */
    TCPB_E_LIMIT = -33004,
    /* the broker is shutting down */
    TCPB_E_SHUTTING_DOWN = -33005,
    /* the token is wrong, used or expired */
    TCPB_E_BAD_TOKEN = -33006,
    /* the server's certificate was not accepted */
    TCPB_E_TLS_VERIFY = -33010,
    /* the TLS stream was cut off or damaged */
    TCPB_E_TLS_IO = -33011,
    /* there is no such service name */
    TCPB_E_UNKNOWN_SERVICE = -33012,
};

/* ---- what goes in and what comes out; has_x: the optional member x is there ---- */

struct tcpb_timing {
    /* microseconds for the look-up; 0 for an address */
    int64_t resolve;
    /* microseconds from the first SYN to the connection used */
    int64_t connect;
    /* microseconds for the TLS handshake; 0 when plain */
    int64_t handshake;
    /* microseconds from request to answer */
    int64_t total;
};

struct tcpb_tls_peer {
    /* subject of the peer's certificate (RFC 2253) */
    const char *subject;
    /* its issuer (RFC 2253) */
    const char *issuer;
    /* end of its validity (RFC 3339, UTC) */
    const char *not_after;
    /* SHA-256 of the certificate (hex) */
    const char *sha256;
};

struct tcpb_certificate {
    /* its subject (RFC 2253) */
    const char *subject;
    /* its issuer (RFC 2253) */
    const char *issuer;
    /* begin of its validity (RFC 3339, UTC) */
    const char *not_before;
    /* end of its validity (RFC 3339, UTC) */
    const char *not_after;
    /* SHA-256 of the certificate (hex) */
    const char *sha256;
    /* kind and size of its key: RSA 2048, EC P-256, ED25519 */
    const char *key;
    /* how its issuer signed it: sha256WithRSAEncryption, ... */
    const char *signature;
    /* the server's certificate: the names and addresses it is for */
    bool has_names;
    struct tcpb_strings names;
    /* how many more it has than names tells */
    bool has_names_more;
    int64_t names_more;
    /* true: it has issued itself */
    bool self_signed;
    /* true: the server has sent it; false: it is from the broker's store */
    bool sent;
    /* true: it is in the broker's store */
    bool trusted;
    /* its place in the chain, 0 is the server's own; absent: the server has sent it for nothing */
    bool has_depth;
    int64_t depth;
};

struct tcpb_tls_failure {
    /* OpenSSL's X509_V_ERR_ number */
    bool has_verify_code;
    int64_t verify_code;
    /* its text */
    bool has_verify_text;
    const char *verify_text;
    /* where in the chain: 0 is the server's own certificate */
    bool has_depth;
    int64_t depth;
    /* subject of the certificate at that depth */
    bool has_subject;
    const char *subject;
    /* its issuer */
    bool has_issuer;
    const char *issuer;
    /* the alert the peer sent */
    bool has_alert;
    const char *alert;
    /* the TLS library's own words */
    bool has_library;
    const char *library;
    /* explain: the version of TLS */
    bool has_version;
    const char *version;
    /* explain: the cipher suite's name */
    bool has_cipher;
    const char *cipher;
    /* explain: the protocol agreed by ALPN */
    bool has_alpn;
    const char *alpn;
    /* explain: the certificates, from the server's own upwards; struct tcpb_certificate */
    bool has_chain;
    struct tcpb_objects chain;
    /* explain: how many more there are than chain tells */
    bool has_chain_more;
    int64_t chain_more;
};

struct tcpb_tls_facts {
    /* TLSv1.2 or TLSv1.3 */
    const char *version;
    /* the cipher suite's name */
    const char *cipher;
    /* the protocol agreed by ALPN (RFC 7301) */
    bool has_alpn;
    const char *alpn;
    /* the name the client sent as SNI; none for an address */
    bool has_server_name;
    const char *server_name;
    /* the peer's certificate was; false: encrypted, but nobody knows with whom */
    bool verified;
    /* true: an earlier session was resumed */
    bool resumed;
    /* the peer's certificate */
    bool has_peer;
    struct tcpb_tls_peer peer;
    /* explain: the certificates, from the server's own upwards; struct tcpb_certificate */
    bool has_chain;
    struct tcpb_objects chain;
    /* explain: how many more there are than chain tells */
    bool has_chain_more;
    int64_t chain_more;
    /* explain, verify false: why the certificate would not have been accepted */
    bool has_refusal;
    struct tcpb_tls_failure refusal;
};

struct tcpb_socket_row {
    /* its number */
    int64_t socket;
    /* unbound, bound, listening; connecting, connected, securing, half_closed, peer_closed,
     * ended, attached, closing, failed; offered */
    const char *state;
    /* the owner thread; absent: the session's unnamed thread */
    bool has_owner;
    struct tcpb_thread owner;
    /* the session it belongs to */
    int64_t session;
    /* user id of that session's client; -1: unknown, it came to a tunnel or SOCKS by TCP */
    int64_t uid;
    /* process id of the client that began the session; 0: unknown, as above */
    int64_t pid;
    /* tunnel NAME or socks, when it relays a connection that came there */
    bool has_door;
    const char *door;
    /* the host as it was asked for */
    bool has_hostname;
    const char *hostname;
    /* the peer's address */
    bool has_remote_address;
    const char *remote_address;
    /* the peer's port */
    bool has_remote_port;
    int64_t remote_port;
    /* our address */
    bool has_local_address;
    const char *local_address;
    /* our port */
    bool has_local_port;
    int64_t local_port;
    /* TLS */
    bool secure;
    /* TLS and the certificate was verified */
    bool verified;
    /* bytes received from the peer (payload) */
    int64_t bytes_in;
    /* bytes sent to the peer (payload) */
    int64_t bytes_out;
    /* milliseconds since it was asked for */
    int64_t age_ms;
};

struct tcpb_user_row {
    /* user id; -1: all who came to a tunnel or SOCKS by TCP */
    int64_t uid;
    /* connections to the broker */
    int64_t clients;
    /* connections to tunnels and SOCKS */
    int64_t passages;
    /* sockets, those on offer too */
    int64_t sockets;
    /* running requests */
    int64_t requests;
    /* bytes of running requests, of lines not complete yet, and of unread answers */
    int64_t held_bytes;
    /* look-ups that run or wait, those that nobody waits for any more too */
    int64_t lookups;
    /* pings under way */
    int64_t pings;
    /* sockets on offer and durable sessions */
    int64_t tokens;
    /* TCPConnect, and connections by doors, since the user came */
    int64_t connects;
    /* what a limit has refused since the user came */
    int64_t refused;
};

struct tcpb_door_row {
    /* tunnel NAME or socks */
    const char *name;
    /* where programs come in: a path, or address:port */
    const char *listen;
    /* a tunnel: the host that it leads to */
    bool has_hostname;
    const char *hostname;
    /* a tunnel: its port */
    bool has_port;
    int64_t port;
    /* TLS */
    bool secure;
    /* TLS, and the certificate is verified */
    bool verify;
    /* programs connected by it now */
    int64_t connections;
    /* such programs so far */
    int64_t connections_total;
    /* of these, that reached nobody */
    int64_t failed;
};

struct tcpb_pool_row {
    /* its name */
    const char *name;
    /* the host that its connections lead to */
    const char *hostname;
    /* the port */
    int64_t port;
    /* TLS */
    bool secure;
    /* TLS, and the certificate is verified */
    bool verify;
    /* well; failing: none can be made; ending: the peer ends them unused; spoken: it speaks
     * first, so none is kept */
    const char *state;
    /* connections that are ready */
    int64_t idle;
    /* how many are made ahead (an identity: for each user) */
    int64_t min_idle;
    /* how many rest at most */
    int64_t max_idle;
    /* TCPConnect that were given one, since the last reload */
    int64_t taken;
    /* TCPConnect that found none, since then */
    int64_t missed;
    /* of those ready: ended or spoken on by the peer, since then */
    int64_t stale;
    /* more are made in so many milliseconds; absent: none is missing */
    bool has_refill_ms;
    int64_t refill_ms;
};

struct tcpb_error_row {
    /* the number on the wire */
    int64_t code;
    /* the stable name */
    const char *symbol;
    /* the stage it usually comes from */
    const char *stage;
    /* could the same request succeed later */
    bool retryable;
    /* what it means */
    const char *text;
};

struct tcpb_policy_rule {
    /* its name */
    const char *name;
    /* allow, deny or report */
    const char *verdict;
    /* as they are written; empty: it fits everything */
    const char *conditions;
    /* the line of the file where it begins; absent: it came by --set */
    bool has_line;
    int64_t line;
    /* how often it has decided since the configuration was loaded */
    int64_t hits;
};

struct tcpb_policy_address {
    /* the address */
    const char *address;
    /* what kind of address it is: public, private, loopback, link-local, metadata, ... */
    const char *scope;
    /* allow, deny or report */
    const char *verdict;
    /* the rule that decides; absent: none, so the preset does */
    bool has_rule;
    const char *rule;
    /* the line of the file where it begins */
    bool has_line;
    int64_t line;
    /* the address in it that is denied, when that is another one */
    bool has_form;
    const char *form;
};

struct tcpb_limits {
    /* bytes of a line */
    int64_t line;
    /* depth of nested arrays and objects */
    int64_t nesting;
    /* requests in flight per connection */
    int64_t requests;
    /* bytes of unread answers per connection */
    int64_t unread_answers;
    /* bytes of running requests per session */
    int64_t held_bytes;
    /* sockets of the whole daemon */
    int64_t sockets;
    /* sockets per session */
    int64_t sockets_per_session;
    /* durable sessions of the whole daemon */
    int64_t durable_sessions;
    /* bytes read ahead per socket */
    int64_t receive_buffer;
    /* names of the whole daemon that may wait to be looked up */
    int64_t lookups;
    /* connections to the broker per user */
    int64_t clients_per_user;
    /* connections to tunnels and SOCKS per user */
    int64_t passages_per_user;
    /* sockets per user */
    int64_t sockets_per_user;
    /* requests in flight per user */
    int64_t requests_per_user;
    /* bytes of running requests and unread answers per user */
    int64_t held_bytes_per_user;
    /* look-ups that run or wait per user */
    int64_t lookups_per_user;
    /* pings under way per user */
    int64_t pings_per_user;
    /* sockets on offer and durable sessions per user */
    int64_t tokens_per_user;
    /* TCPConnect per user and second; 0: any number */
    int64_t connects_per_second;
    /* TCPConnect at once per user, after none */
    int64_t connects_burst;
    /* TCPPing per user and second; 0: any number */
    int64_t pings_per_second;
    /* TCPPing at once per user, after none */
    int64_t pings_burst;
};

struct tcpb_attempt {
    /* the address tried */
    const char *address;
    /* what came of it: errno name, pending or connected */
    const char *error;
    /* milliseconds it took */
    int64_t ms;
    /* false: it keeps refusing and is left alone for now; error is what it said last */
    bool has_tried;
    bool tried;
};

struct tcpb_error_data {
    /* the stable name of the code */
    const char *symbol;
    /* request, policy, resolve, connect, tls, io or broker */
    const char *stage;
    /* could the same request succeed later */
    bool retryable;
    /* the system's error name */
    bool has_sys_errno;
    const char *sys_errno;
    /* the resolver's error name */
    bool has_gai;
    const char *gai;
    /* each address tried; struct tcpb_attempt */
    bool has_attempts;
    struct tcpb_objects attempts;
    /* explain: the addresses, as the resolver gave them */
    bool has_addresses;
    struct tcpb_strings addresses;
    /* every address is left alone for so long; or there were too many in a second */
    bool has_retry_after_ms;
    int64_t retry_after_ms;
    /* the same as a time (RFC 3339, UTC) */
    bool has_until;
    const char *until;
    /* what TLS had to say */
    bool has_tls;
    struct tcpb_tls_failure tls;
    /* the option whose limit was reached */
    bool has_limit;
    const char *limit;
    /* its value */
    bool has_limit_value;
    int64_t limit_value;
    /* the rule of the policy that denies it */
    bool has_rule;
    const char *rule;
    /* the file that it stands in */
    bool has_file;
    const char *file;
    /* the line where it begins */
    bool has_line;
    int64_t line;
    /* policy.preset, when no rule but that denies it */
    bool has_preset;
    const char *preset;
    /* the thread that owns the socket (same session only) */
    bool has_owner;
    struct tcpb_thread owner;
    /* the member that is wrong */
    bool has_param;
    const char *param;
    /* what would be right */
    bool has_expected;
    const char *expected;
    /* bytes that did go out before the failure */
    bool has_sent;
    int64_t sent;
    /* byte of the line where reading it failed */
    bool has_position;
    int64_t position;
};

struct tcpb_error_object {
    /* always negative */
    int64_t code;
    /* a sentence a person can act on */
    const char *message;
    /* the same for programs */
    bool has_data;
    struct tcpb_error_data data;
};

struct tcpb_event {
    /* its class: open, close, fail, deny, listen, limit; or lost */
    const char *event;
    /* when (RFC 3339, UTC, milliseconds) */
    const char *time;
    /* connect, accept, tunnel, socks or listen; absent: another request that was denied */
    bool has_kind;
    const char *kind;
    /* the socket's number; absent: there is none */
    bool has_socket;
    int64_t socket;
    /* the session it belongs to; with offer_expired: that has offered it */
    bool has_session;
    int64_t session;
    /* user id of that session's client; -1: unknown, as in Broker.List */
    bool has_uid;
    int64_t uid;
    /* its process id; 0: unknown */
    bool has_pid;
    int64_t pid;
    /* the name it gave in Broker.Hello, cut to 64 bytes */
    bool has_client;
    const char *client;
    /* trace of the TCPConnect */
    bool has_trace;
    const char *trace;
    /* tunnel NAME or socks, when it came there */
    bool has_door;
    const char *door;
    /* the host as it was asked for */
    bool has_hostname;
    const char *hostname;
    /* fail and deny: the port as it was asked for */
    bool has_port;
    const char *port;
    /* the peer's address; of a name, the one that was chosen */
    bool has_remote_address;
    const char *remote_address;
    /* the peer's port */
    bool has_remote_port;
    int64_t remote_port;
    /* our address */
    bool has_local_address;
    const char *local_address;
    /* our port */
    bool has_local_port;
    int64_t local_port;
    /* the version of TLS; absent: plain. With it come verified and resumed */
    bool has_tls;
    const char *tls;
    /* the peer's certificate was verified */
    bool has_verified;
    bool verified;
    /* an earlier TLS session was resumed */
    bool has_resumed;
    bool resumed;
    /* the identity that was there to be shown */
    bool has_identity;
    const char *identity;
    /* true: a pool had the connection ready */
    bool has_pooled;
    bool pooled;
    /* close: relay or direct, when the stream was handed out */
    bool has_attached;
    const char *attached;
    /* open of connect, tunnel, socks: where the time went */
    bool has_timing_us;
    struct tcpb_timing timing_us;
    /* close: bytes received from the peer; unknown when handed_out */
    bool has_bytes_in;
    int64_t bytes_in;
    /* close: bytes sent to the peer */
    bool has_bytes_out;
    int64_t bytes_out;
    /* close, fail, deny: milliseconds since it was asked for */
    bool has_duration_ms;
    int64_t duration_ms;
    /* close: why it has ended, a word of the table */
    bool has_reason;
    const char *reason;
    /* fail, deny, limit: as data.stage of the error */
    bool has_stage;
    const char *stage;
    /* fail, deny, limit: the code of the error that was answered */
    bool has_code;
    int64_t code;
    /* its symbol */
    bool has_symbol;
    const char *symbol;
    /* its message; close: what the connection failed with */
    bool has_message;
    const char *message;
    /* limit: the option whose limit was reached */
    bool has_limit;
    const char *limit;
    /* limit: its value */
    bool has_limit_value;
    int64_t limit_value;
    /* limit: how many like it were not told since the one before */
    bool has_more;
    int64_t more;
    /* lost: how many events were not told, as those before were not read */
    bool has_lost;
    int64_t lost;
};

/* TCPConnect: connect, with or without TLS, in one step */
struct tcpb_tcp_connect_params {
    char unused_;
    /* name, IPv4 or IPv6 address (host name or address of 1..253 bytes, without blanks) */
    const char *hostname;
    /* port number or service name (integer 1..65535 or a service name) */
    const char *port;
    /* TLS (true or false; absent: false) */
    bool has_secure;
    bool secure;
    /* check the server's certificate and name (true or false; absent: true) */
    bool has_verify;
    bool verify;
    /* deadline for look-up, connect and handshake together; absent: that of Session.Set, else
     * connect.timeout (milliseconds 0..86400000) */
    bool has_timeout_ms;
    int64_t timeout_ms;
    /* which addresses to use (0 any, 1 ipv4, 2 ipv6; absent: 0) */
    bool has_family;
    int64_t family;
    /* address to connect from (string of 1..64 bytes) */
    bool has_local_address;
    const char *local_address;
    /* name for SNI and verification instead of hostname (host name or address of 1..253 bytes,
     * without blanks) */
    bool has_server_name;
    const char *server_name;
    /* protocols to offer by ALPN, the best first (list of 1..16 strings of 1..255 bytes) */
    bool has_alpn;
    struct tcpb_strings alpn;
    /* oldest TLS version to accept (0 1.2, 1 1.3; absent: 0) */
    bool has_min_tls;
    int64_t min_tls;
    /* trust profile, a [tls "name"] of the configuration; absent: default, which is [tls]
     * (string of 1..64 bytes) */
    bool has_profile;
    const char *profile;
    /* client certificate to show when asked, an [identity "name"] of the configuration (string
     * of 1..64 bytes) */
    bool has_identity;
    const char *identity;
    /* hand out the byte stream at once, as TCPAttach does; a plain connection then has no
     * number (true or false; absent: false) */
    bool has_attach;
    bool attach;
    /* tell more, also when it fails: addresses, attempts, the chain of certificates (true or
     * false; absent: false) */
    bool has_explain;
    bool explain;
    /* printable ASCII for the log and events, that this connection be found by (string of 1..64
     * bytes) */
    bool has_trace;
    const char *trace;
    /* the thread that will own the socket (string of 1..64 bytes or an integer) */
    bool has_thread;
    struct tcpb_thread thread;
};

struct tcpb_tcp_connect_result {
    char unused_;
    /* the socket's number; absent when direct */
    bool has_socket;
    int64_t socket;
    /* the peer's address */
    const char *remote_address;
    /* the peer's port */
    int64_t remote_port;
    /* our address */
    const char *local_address;
    /* our port */
    int64_t local_port;
    /* true: a pool had it ready; absent: it was made for this request */
    bool has_pooled;
    bool pooled;
    /* where the time went */
    struct tcpb_timing timing_us;
    /* secure only */
    bool has_tls;
    struct tcpb_tls_facts tls;
    /* with attach: descriptors that come with this line */
    bool has_fds;
    int64_t fds;
    /* with attach: as in TCPAttach */
    bool has_direct;
    bool direct;
    /* with attach and secure: broker, or kernel: the descriptor is the connection itself */
    bool has_encrypted_by;
    const char *encrypted_by;
    /* explain: the addresses, as the resolver gave them */
    bool has_addresses;
    struct tcpb_strings addresses;
    /* explain: each address tried; struct tcpb_attempt */
    bool has_attempts;
    struct tcpb_objects attempts;
};

/* TCPSend: send text or bytes */
struct tcpb_tcp_send_params {
    char unused_;
    /* the socket's number (integer 1..2147483647) */
    int64_t socket;
    /* text, sent as its UTF-8 bytes; or data_base64 (text) */
    bool has_data;
    struct tcpb_bytes data;
    /* bytes, instead of data (RFC 4648, padded) (base64 (RFC 4648, padded)) */
    bool has_data_base64;
    struct tcpb_bytes data_base64;
    /* deadline; absent: that of Session.Set, else none (milliseconds 0..86400000) */
    bool has_timeout_ms;
    int64_t timeout_ms;
    /* the asking thread (string of 1..64 bytes or an integer) */
    bool has_thread;
    struct tcpb_thread thread;
};

struct tcpb_tcp_send_result {
    char unused_;
    /* bytes the operating system took */
    int64_t sent;
};

/* TCPReceive: receive text or bytes */
struct tcpb_tcp_receive_params {
    char unused_;
    /* the socket's number (integer 1..2147483647) */
    int64_t socket;
    /* take at most so many bytes (integer 1..524288; absent: 65536) */
    bool has_max_bytes;
    int64_t max_bytes;
    /* wait for exactly so many bytes (integer 1..524288) */
    bool has_exact;
    int64_t exact;
    /* wait for this delimiter and take it along (text of 1..256 bytes) */
    bool has_until;
    struct tcpb_bytes until;
    /* deadline, by which nothing is lost; absent: that of Session.Set, else none (milliseconds
     * 0..86400000) */
    bool has_timeout_ms;
    int64_t timeout_ms;
    /* how the answer carries the bytes (0 utf8, 1 base64; absent: 0) */
    bool has_encoding;
    int64_t encoding;
    /* the asking thread (string of 1..64 bytes or an integer) */
    bool has_thread;
    struct tcpb_thread thread;
};

struct tcpb_tcp_receive_result {
    char unused_;
    /* bytes; 0 with closed: the peer's orderly end */
    int64_t received;
    /* with encoding utf8 */
    bool has_data;
    struct tcpb_bytes data;
    /* with encoding base64 */
    bool has_data_base64;
    struct tcpb_bytes data_base64;
    /* true: nothing more will come */
    bool has_closed;
    bool closed;
};

/* TCPClose: close: complete, partial or abort */
struct tcpb_tcp_close_params {
    char unused_;
    /* the socket's number (integer 1..2147483647) */
    int64_t socket;
    /* 0 complete, 1 partial (end sending only), 2 abort (integer -2147483648..2147483647;
     * absent: 0) */
    bool has_option;
    int64_t option;
    /* deadline, at which a complete close becomes an abort; absent: that of Session.Set, else
     * none but io.close_timeout (milliseconds 0..86400000) */
    bool has_timeout_ms;
    int64_t timeout_ms;
    /* with option 0: the protocol is at rest, so a pool may keep the connection for this user
     * (true or false; absent: false) */
    bool has_reuse;
    bool reuse;
    /* the asking thread (string of 1..64 bytes or an integer) */
    bool has_thread;
    struct tcpb_thread thread;
};

struct tcpb_tcp_close_result {
    char unused_;
    /* always 0 */
    int64_t status;
    /* bytes read and thrown away */
    int64_t discarded;
    /* with reuse: a pool keeps it; false: it was closed */
    bool has_reused;
    bool reused;
};

/* TCPBlock: set blocking or non-blocking mode */
struct tcpb_tcp_block_params {
    char unused_;
    /* the socket's number (integer 1..2147483647) */
    int64_t socket;
    /* 0 blocking, else non-blocking (integer -2147483648..2147483647) */
    int64_t option;
    /* the asking thread (string of 1..64 bytes or an integer) */
    bool has_thread;
    struct tcpb_thread thread;
};

struct tcpb_tcp_block_result {
    char unused_;
    /* always 0 */
    int64_t status;
};

/* TCPSocket: make a socket to bind and listen with */
struct tcpb_tcp_socket_params {
    char unused_;
    /* which addresses it will serve (0 any, 1 ipv4, 2 ipv6; absent: 0) */
    bool has_family;
    int64_t family;
    /* the thread that will own the socket (string of 1..64 bytes or an integer) */
    bool has_thread;
    struct tcpb_thread thread;
};

struct tcpb_tcp_socket_result {
    char unused_;
    /* the socket's number */
    int64_t socket;
};

/* TCPBind: bind a socket to a port */
struct tcpb_tcp_bind_params {
    char unused_;
    /* the socket's number (integer 1..2147483647) */
    int64_t socket;
    /* port number or service name; 0: any free one (integer 0..65535 or a service name) */
    const char *port;
    /* local address; absent: all of the socket's family (string of 1..64 bytes) */
    bool has_address;
    const char *address;
    /* deadline for the look-up of a service name; absent: that of Session.Set, else
     * connect.lookup_timeout (milliseconds 0..86400000) */
    bool has_timeout_ms;
    int64_t timeout_ms;
    /* the asking thread (string of 1..64 bytes or an integer) */
    bool has_thread;
    struct tcpb_thread thread;
};

struct tcpb_tcp_bind_result {
    char unused_;
    /* always 0 */
    int64_t status;
    /* the address bound */
    const char *address;
    /* the port bound */
    int64_t port;
};

/* TCPListen: start to take connections */
struct tcpb_tcp_listen_params {
    char unused_;
    /* the socket's number (integer 1..2147483647) */
    int64_t socket;
    /* connections that may wait to be accepted (integer 1..65535; absent: 128) */
    bool has_backlog;
    int64_t backlog;
    /* the asking thread (string of 1..64 bytes or an integer) */
    bool has_thread;
    struct tcpb_thread thread;
};

struct tcpb_tcp_listen_result {
    char unused_;
    /* always 0 */
    int64_t status;
};

/* TCPAccept: take a waiting connection */
struct tcpb_tcp_accept_params {
    char unused_;
    /* the listening socket's number (integer 1..2147483647) */
    int64_t socket;
    /* deadline; absent: that of Session.Set, else none (milliseconds 0..86400000) */
    bool has_timeout_ms;
    int64_t timeout_ms;
    /* TLS, as server: the answer comes after the handshake, which has connect.timeout (true or
     * false; absent: false) */
    bool has_secure;
    bool secure;
    /* certificate to show, an [identity "name"] of the configuration; with secure it must be
     * there (string of 1..64 bytes) */
    bool has_identity;
    const char *identity;
    /* ask the client for a certificate, and verify it by the trust profile (0 none, 1 optional,
     * 2 required; absent: 0) */
    bool has_client_certificate;
    int64_t client_certificate;
    /* trust profile, a [tls "name"] of the configuration; absent: default, which is [tls]
     * (string of 1..64 bytes) */
    bool has_profile;
    const char *profile;
    /* protocols to choose from by ALPN, the best first; who offers others only is refused (list
     * of 1..16 strings of 1..255 bytes) */
    bool has_alpn;
    struct tcpb_strings alpn;
    /* oldest TLS version to accept (0 1.2, 1 1.3; absent: 0) */
    bool has_min_tls;
    int64_t min_tls;
    /* the asking thread, which will own the new socket (string of 1..64 bytes or an integer) */
    bool has_thread;
    struct tcpb_thread thread;
};

struct tcpb_tcp_accept_result {
    char unused_;
    /* the new socket's number */
    int64_t socket;
    /* the peer's address */
    const char *remote_address;
    /* the peer's port */
    int64_t remote_port;
    /* our address */
    const char *local_address;
    /* our port */
    int64_t local_port;
    /* as in TCPConnect; with secure only */
    bool has_tls;
    struct tcpb_tls_facts tls;
};

/* TCPGetMyAddr: the local address of a socket or of this host */
struct tcpb_tcp_get_my_addr_params {
    char unused_;
    /* the socket's number; 0: this host's address (integer 0..2147483647; absent: 0) */
    bool has_socket;
    int64_t socket;
    /* without a socket: the IPv6 address (true or false; absent: false) */
    bool has_ipv6;
    bool ipv6;
    /* deadline for the look-up; absent: that of Session.Set, else connect.lookup_timeout
     * (milliseconds 0..86400000) */
    bool has_timeout_ms;
    int64_t timeout_ms;
    /* the asking thread (string of 1..64 bytes or an integer) */
    bool has_thread;
    struct tcpb_thread thread;
};

struct tcpb_tcp_get_my_addr_result {
    char unused_;
    /* the address */
    const char *address;
};

/* TCPGetMyPort: the local port of a socket */
struct tcpb_tcp_get_my_port_params {
    char unused_;
    /* the socket's number (integer 1..2147483647) */
    int64_t socket;
    /* the asking thread (string of 1..64 bytes or an integer) */
    bool has_thread;
    struct tcpb_thread thread;
};

struct tcpb_tcp_get_my_port_result {
    char unused_;
    /* the port */
    int64_t port;
};

/* TCPGetRemoteAddr: the peer's address */
struct tcpb_tcp_get_remote_addr_params {
    char unused_;
    /* the socket's number (integer 1..2147483647) */
    int64_t socket;
    /* the asking thread (string of 1..64 bytes or an integer) */
    bool has_thread;
    struct tcpb_thread thread;
};

struct tcpb_tcp_get_remote_addr_result {
    char unused_;
    /* the peer's address */
    const char *address;
    /* the peer's port */
    int64_t port;
};

/* TCPName2Addr: the addresses of a name */
struct tcpb_tcp_name2addr_params {
    char unused_;
    /* the name (host name or address of 1..253 bytes, without blanks) */
    const char *hostname;
    /* IPv6 addresses instead of IPv4 (true or false; absent: false) */
    bool has_ipv6;
    bool ipv6;
    /* deadline; absent: that of Session.Set, else connect.lookup_timeout (milliseconds
     * 0..86400000) */
    bool has_timeout_ms;
    int64_t timeout_ms;
};

struct tcpb_tcp_name2addr_result {
    char unused_;
    /* the first address */
    const char *address;
    /* all of that family, in the resolver's order */
    struct tcpb_strings addresses;
};

/* TCPAddr2Name: the name of an address */
struct tcpb_tcp_addr2name_params {
    char unused_;
    /* IPv4 or IPv6 address (string of 1..64 bytes) */
    const char *address;
    /* deadline; absent: that of Session.Set, else connect.lookup_timeout (milliseconds
     * 0..86400000) */
    bool has_timeout_ms;
    int64_t timeout_ms;
};

struct tcpb_tcp_addr2name_result {
    char unused_;
    /* its name */
    const char *hostname;
};

/* TCPPing: ICMP echo */
struct tcpb_tcp_ping_params {
    char unused_;
    /* name or address (host name or address of 1..253 bytes, without blanks) */
    const char *hostname;
    /* bytes of payload (integer 1..16384; absent: 256) */
    bool has_size;
    int64_t size;
    /* milliseconds to wait, look-up included (milliseconds 0..86400000; absent: 3000) */
    bool has_timeout;
    int64_t timeout;
};

struct tcpb_tcp_ping_result {
    char unused_;
    /* round trip time, with fractions */
    double milliseconds;
    /* the address that answered */
    const char *address;
};

/* TCPAttach: hand out the byte stream as a file descriptor */
struct tcpb_tcp_attach_params {
    char unused_;
    /* the socket's number (integer 1..2147483647) */
    int64_t socket;
    /* the asking thread (string of 1..64 bytes or an integer) */
    bool has_thread;
    struct tcpb_thread thread;
};

struct tcpb_tcp_attach_result {
    char unused_;
    /* descriptors that come with this line */
    int64_t fds;
    /* true: the connected socket itself */
    bool direct;
};

/* TCPStartTLS: turn a plain socket into TLS */
struct tcpb_tcp_start_tls_params {
    char unused_;
    /* the socket's number (integer 1..2147483647) */
    int64_t socket;
    /* check the server's certificate and name (true or false; absent: true) */
    bool has_verify;
    bool verify;
    /* name for SNI and verification; absent: the hostname of TCPConnect (host name or address
     * of 1..253 bytes, without blanks) */
    bool has_server_name;
    const char *server_name;
    /* protocols to offer by ALPN (list of 1..16 strings of 1..255 bytes) */
    bool has_alpn;
    struct tcpb_strings alpn;
    /* oldest TLS version to accept (0 1.2, 1 1.3; absent: 0) */
    bool has_min_tls;
    int64_t min_tls;
    /* trust profile, as in TCPConnect (string of 1..64 bytes) */
    bool has_profile;
    const char *profile;
    /* certificate to show, as in TCPConnect; as server it must be there (string of 1..64 bytes) */
    bool has_identity;
    const char *identity;
    /* be the server of the handshake; verify has no meaning then, server_name must not be there
     * (true or false; absent: false) */
    bool has_server;
    bool server;
    /* as server: ask the client for a certificate, and verify it by the trust profile (0 none,
     * 1 optional, 2 required; absent: 0) */
    bool has_client_certificate;
    int64_t client_certificate;
    /* deadline for the handshake; absent: that of Session.Set, else connect.timeout
     * (milliseconds 0..86400000) */
    bool has_timeout_ms;
    int64_t timeout_ms;
    /* tell the chain of certificates, also when it fails (true or false; absent: false) */
    bool has_explain;
    bool explain;
    /* the asking thread (string of 1..64 bytes or an integer) */
    bool has_thread;
    struct tcpb_thread thread;
};

struct tcpb_tcp_start_tls_result {
    char unused_;
    /* as in TCPConnect */
    struct tcpb_tls_facts tls;
};

/* TCPTransfer: give a socket to another thread of the session */
struct tcpb_tcp_transfer_params {
    char unused_;
    /* the socket's number (integer 1..2147483647) */
    int64_t socket;
    /* the thread that gets it (string of 1..64 bytes or an integer) */
    struct tcpb_thread to;
    /* the asking thread (string of 1..64 bytes or an integer) */
    bool has_thread;
    struct tcpb_thread thread;
};

struct tcpb_tcp_transfer_result {
    char unused_;
    /* always 0 */
    int64_t status;
};

/* TCPOffer: offer a socket to any session of the same user */
struct tcpb_tcp_offer_params {
    char unused_;
    /* the socket's number (integer 1..2147483647) */
    int64_t socket;
    /* closed when nobody has claimed it by then (milliseconds 1..86400000; absent: 30000) */
    bool has_timeout_ms;
    int64_t timeout_ms;
    /* the asking thread (string of 1..64 bytes or an integer) */
    bool has_thread;
    struct tcpb_thread thread;
};

struct tcpb_tcp_offer_result {
    char unused_;
    /* who has it may claim the socket, once */
    const char *token;
};

/* TCPClaim: take an offered socket */
struct tcpb_tcp_claim_params {
    char unused_;
    /* what TCPOffer gave (string of 1..64 bytes) */
    const char *token;
    /* the thread that will own the socket (string of 1..64 bytes or an integer) */
    bool has_thread;
    struct tcpb_thread thread;
};

struct tcpb_tcp_claim_result {
    char unused_;
    /* the socket's number */
    int64_t socket;
    /* the peer's address; connected only */
    bool has_remote_address;
    const char *remote_address;
    /* the peer's port; connected only */
    bool has_remote_port;
    int64_t remote_port;
    /* our address; connected or bound only */
    bool has_local_address;
    const char *local_address;
    /* our port; connected or bound only */
    bool has_local_port;
    int64_t local_port;
    /* secure only */
    bool has_tls;
    struct tcpb_tls_facts tls;
};

/* Broker.Hello: who is there, what can it do */
struct tcpb_broker_hello_params {
    char unused_;
    /* name of the program, for the log (string of 0..128 bytes) */
    bool has_client;
    const char *client;
    /* version of the protocol it speaks (integer 1..2147483647; absent: 1) */
    bool has_protocol;
    int64_t protocol;
};

struct tcpb_broker_hello_result {
    char unused_;
    /* tcpbroker */
    const char *server;
    /* version of the daemon */
    const char *version;
    /* version of the protocol */
    int64_t protocol;
    /* number of the session, as in the log */
    int64_t session;
    /* the caller's user id, as the kernel tells it */
    int64_t uid;
    /* each is an option of the configuration */
    struct tcpb_limits limits;
    /* the methods that work */
    struct tcpb_strings methods;
};

/* Broker.List: the session's sockets; for an administrator all */
struct tcpb_broker_list_params {
    char unused_;
    /* true: those of all sessions, for an administrator only; false: the session's; absent: as
     * much as the caller may see (true or false) */
    bool has_all;
    bool all;
    /* those of all sessions of that user; everybody may ask for his own. -1: of whom nobody
     * knows (integer from -1) */
    bool has_uid;
    int64_t uid;
    /* only those in that state (0 unbound, 1 bound, 2 listening, 3 connecting, 4 connected, 5
     * securing, 6 half_closed, 7 peer_closed, 8 ended, 9 attached, 10 closing, 11 failed, 12
     * offered) */
    bool has_state;
    int64_t state;
};

struct tcpb_broker_list_result {
    char unused_;
    /* one each; struct tcpb_socket_row */
    struct tcpb_objects sockets;
};

/* Broker.Stats: counters and gauges */
struct tcpb_broker_stats_params {
    char unused_;
};

struct tcpb_broker_stats_result {
    char unused_;
    /* milliseconds since the daemon was started */
    int64_t uptime_ms;
    /* client connections */
    int64_t clients;
    /* client connections so far */
    int64_t clients_total;
    /* clients turned away by listen.clients */
    int64_t clients_refused;
    /* sockets in the table */
    int64_t sockets;
    /* sockets so far */
    int64_t sockets_total;
    /* requests in flight */
    int64_t requests_running;
    /* requests so far, notifications included */
    int64_t requests_total;
    /* requests answered with an error */
    int64_t requests_failed;
    /* lines that were no valid message */
    int64_t lines_refused;
    /* TCPConnect that gave a socket */
    int64_t connects_ok;
    /* TCPConnect that did not */
    int64_t connects_failed;
    /* of these, not tried: every address keeps refusing (connect.backoff_after) */
    int64_t connects_backed_off;
    /* of these, by their deadline */
    int64_t connects_timed_out;
    /* streams handed out by TCPAttach, or TCPConnect with attach */
    int64_t attached;
    /* connections of local programs to tunnels */
    int64_t tunnel_connections;
    /* such connections so far */
    int64_t tunnel_connections_total;
    /* of these, that reached nobody */
    int64_t tunnels_failed;
    /* connections of local programs to the SOCKS door */
    int64_t socks_connections;
    /* such connections so far */
    int64_t socks_connections_total;
    /* of these, that reached nobody */
    int64_t socks_failed;
    /* programs turned away there (socks.clients) */
    int64_t socks_refused;
    /* connections given out by TCPAccept */
    int64_t accepts;
    /* TLS handshakes completed */
    int64_t handshakes_ok;
    /* of these, those that resumed an earlier session */
    int64_t handshakes_resumed;
    /* TLS handshakes failed, verification included */
    int64_t handshakes_failed;
    /* TLS connections made with verify: false */
    int64_t tls_unverified;
    /* connections ready in pools */
    int64_t pool_idle;
    /* TCPConnect that were given one */
    int64_t pool_taken;
    /* TCPConnect that had a pool, but it had none to give */
    int64_t pool_missed;
    /* of those ready: their peer had ended them, or spoken, so they were thrown away */
    int64_t pool_stale;
    /* connections made ahead */
    int64_t pool_made;
    /* attempts at that which failed */
    int64_t pool_failed;
    /* connections given back by TCPClose with reuse */
    int64_t pool_reused;
    /* look-ups made */
    int64_t lookups;
    /* look-ups running or waiting for a thread */
    int64_t lookups_running;
    /* look-ups that waited for one that ran already for somebody else */
    int64_t lookups_shared;
    /* look-ups answered from the cache */
    int64_t lookups_cached;
    /* of these, by: there is no such name */
    int64_t lookups_cached_negative;
    /* payload bytes received from peers */
    int64_t bytes_in;
    /* payload bytes sent to peers */
    int64_t bytes_out;
    /* TCPPing that were answered by an echo */
    int64_t pings;
    /* sockets that wait to be claimed */
    int64_t offers;
    /* sockets closed because nobody claimed them in time */
    int64_t offers_expired;
    /* sessions that outlive their connections */
    int64_t sessions_durable;
    /* durable sessions ended because nobody came back in time */
    int64_t leases_expired;
    /* requests and connections of local programs that the policy denied */
    int64_t policy_denied;
    /* of those that passed: a rule with the verdict report let them */
    int64_t policy_reported;
    /* requests cancelled by Broker.Cancel */
    int64_t cancelled;
    /* requests refused because another thread owns the socket */
    int64_t not_owner;
    /* 1: an administrator drains the broker (Broker.Drain) */
    int64_t draining;
    /* connections that are told of events (Broker.Events) */
    int64_t event_listeners;
    /* events that one of them was not told, as it or the broker was too busy */
    int64_t events_lost;
    /* requests refused by a limit */
    int64_t limit_refused;
    /* of these, by limits.requests */
    int64_t refused_requests;
    /* of these, by limits.held_bytes */
    int64_t refused_held_bytes;
    /* of these, by limits.sockets */
    int64_t refused_sockets;
    /* of these, by limits.sockets_per_session */
    int64_t refused_sockets_per_session;
    /* of these, by limits.durable_sessions */
    int64_t refused_durable_sessions;
    /* of these, by limits.lookups */
    int64_t refused_lookups;
    /* of these, by limits.sockets_per_user */
    int64_t refused_sockets_per_user;
    /* of these, by limits.requests_per_user */
    int64_t refused_requests_per_user;
    /* of these, and lines refused, by limits.held_bytes_per_user */
    int64_t refused_held_bytes_per_user;
    /* of these, by limits.connects_per_second */
    int64_t refused_connects_per_second;
    /* of these, by limits.lookups_per_user */
    int64_t refused_lookups_per_user;
    /* of these, by limits.pings_per_user */
    int64_t refused_pings_per_user;
    /* of these, by limits.pings_per_second */
    int64_t refused_pings_per_second;
    /* of these, by limits.tokens_per_user */
    int64_t refused_tokens_per_user;
    /* clients turned away by limits.clients_per_user */
    int64_t refused_clients_per_user;
    /* programs turned away at a door by limits.passages_per_user */
    int64_t refused_passages_per_user;
    /* lines of the log that the journal did not take */
    int64_t log_lost;
};

/* Broker.Users: what each user has; for who is no administrator: himself */
struct tcpb_broker_users_params {
    char unused_;
};

struct tcpb_broker_users_result {
    char unused_;
    /* one each, by uid; struct tcpb_user_row */
    struct tcpb_objects users;
};

/* Broker.Metrics: counters, gauges and histograms for Prometheus */
struct tcpb_broker_metrics_params {
    char unused_;
};

struct tcpb_broker_metrics_result {
    char unused_;
    /* what a scrape would get: Prometheus' text format, version 0.0.4 */
    const char *text;
};

/* Broker.Cancel: cancel a running request */
struct tcpb_broker_cancel_params {
    char unused_;
    /* the id of the request, on this connection (string of at most 256 bytes, integer or null) */
    struct tcpb_id id;
};

struct tcpb_broker_cancel_result {
    char unused_;
    /* false: no such request is running */
    bool cancelled;
};

/* Broker.Errors: the table of error codes */
struct tcpb_broker_errors_params {
    char unused_;
};

struct tcpb_broker_errors_result {
    char unused_;
    /* one each; struct tcpb_error_row */
    struct tcpb_objects errors;
};

/* Broker.Reload: read configuration and certificates again */
struct tcpb_broker_reload_params {
    char unused_;
};

struct tcpb_broker_reload_result {
    char unused_;
    /* what was read again */
    struct tcpb_strings reloaded;
    /* true: some of what has changed needs a restart */
    bool restart_needed;
};

/* Policy.Test: what the policy says to a request, without making it */
struct tcpb_policy_test_params {
    char unused_;
    /* name or address of the other side; of TCPBind and TCPListen the local address (host name
     * or address of 1..253 bytes, without blanks) */
    bool has_hostname;
    const char *hostname;
    /* its port, or the local one (integer 1..65535 or a service name) */
    bool has_port;
    const char *port;
    /* TLS (true or false; absent: false) */
    bool has_secure;
    bool secure;
    /* as in TCPConnect (true or false; absent: true) */
    bool has_verify;
    bool verify;
    /* the client certificate that would be presented (string of 1..64 bytes) */
    bool has_identity;
    const char *identity;
    /* the method; absent: TCPConnect (string of 1..64 bytes) */
    bool has_method;
    const char *method;
    /* name or number of the user who would ask; another one than oneself: administrators only
     * (string of 1..255 bytes) */
    bool has_user;
    const char *user;
    /* deadline for the look-up; absent: that of Session.Set, else connect.lookup_timeout
     * (milliseconds 0..86400000) */
    bool has_timeout_ms;
    int64_t timeout_ms;
};

struct tcpb_policy_test_result {
    char unused_;
    /* allow, deny or report; allow and report also when only some of the addresses are denied */
    const char *verdict;
    /* policy.preset */
    const char *preset;
    /* the number of the user */
    int64_t uid;
    /* false: the name was not looked up; it is denied whatever it leads to, or there is none */
    bool looked_up;
    /* the rule that decides; absent: none, so the preset does */
    bool has_rule;
    const char *rule;
    /* the file that it stands in */
    bool has_file;
    const char *file;
    /* the line where it begins */
    bool has_line;
    int64_t line;
    /* each address, as the resolver gave them; struct tcpb_policy_address */
    struct tcpb_objects addresses;
};

/* Policy.Show: the policy in force */
struct tcpb_policy_show_params {
    char unused_;
};

struct tcpb_policy_show_result {
    char unused_;
    /* policy.preset: open, internet or intranet */
    const char *preset;
    /* how often it has denied since the configuration was loaded */
    int64_t preset_hits;
    /* the file that the rules stand in */
    bool has_file;
    const char *file;
    /* in the order in which they are asked; struct tcpb_policy_rule */
    struct tcpb_objects rules;
};

/* Broker.Events: be told what happens to connections, from now on */
struct tcpb_broker_events_params {
    char unused_;
    /* which events: open, close, fail, deny, listen, limit; absent: all (list of 1..16 strings
     * of 1..255 bytes) */
    bool has_classes;
    struct tcpb_strings classes;
    /* of that user only; another one's: root or an administrator only; absent: the caller's own
     * (integer 0..4294967295) */
    bool has_uid;
    int64_t uid;
    /* of all users: root or an administrator only (true or false; absent: false) */
    bool has_all;
    bool all;
    /* true: no more; nothing else may stand beside it (true or false; absent: false) */
    bool has_off;
    bool off;
};

struct tcpb_broker_events_result {
    char unused_;
    /* what will be told; empty: nothing */
    struct tcpb_strings classes;
};

/* Broker.Close: close any socket of anybody */
struct tcpb_broker_close_params {
    char unused_;
    /* the socket's number (integer 1..2147483647) */
    int64_t socket;
    /* 0 complete, 2 abort, as in TCPClose (integer -2147483648..2147483647; absent: 2) */
    bool has_option;
    int64_t option;
};

struct tcpb_broker_close_result {
    char unused_;
    /* always 0 */
    int64_t status;
    /* true: a complete close has begun, and io.close_timeout bounds it; false: the number is
     * gone */
    bool closing;
    /* the session it belonged to */
    int64_t session;
    /* that session's user id, as in Broker.List */
    int64_t uid;
    /* its process id, as in Broker.List */
    int64_t pid;
};

/* Broker.Drain: no new sockets; when the last one is closed, stop */
struct tcpb_broker_drain_params {
    char unused_;
    /* stop then, whatever is still open; absent: wait for the last one (milliseconds
     * 0..2592000000) */
    bool has_timeout_ms;
    int64_t timeout_ms;
    /* false: do not stop, stay drained until told otherwise (true or false; absent: true) */
    bool has_stop;
    bool stop;
    /* true: go on as if nothing had been said; the others have no meaning (true or false;
     * absent: false) */
    bool has_off;
    bool off;
};

struct tcpb_broker_drain_result {
    char unused_;
    /* what holds now */
    bool draining;
    /* how many there are still, of everybody */
    int64_t sockets;
};

/* Broker.Log: the log's level, until the next reload */
struct tcpb_broker_log_params {
    char unused_;
    /* least important lines to be written from now on; absent: as it is (0 error, 1 warning, 2
     * notice, 3 info, 4 debug) */
    bool has_level;
    int64_t level;
};

struct tcpb_broker_log_result {
    char unused_;
    /* what holds now */
    const char *level;
    /* what held before */
    const char *before;
};

/* Broker.Doors: the tunnels and the SOCKS doors */
struct tcpb_broker_doors_params {
    char unused_;
};

struct tcpb_broker_doors_result {
    char unused_;
    /* one each; struct tcpb_door_row */
    struct tcpb_objects doors;
};

/* Broker.Pools: the pools of connections made ahead */
struct tcpb_broker_pools_params {
    char unused_;
};

struct tcpb_broker_pools_result {
    char unused_;
    /* one each; struct tcpb_pool_row */
    struct tcpb_objects pools;
};

/* rpc.discover: an OpenRPC document of all this */
struct tcpb_rpc_discover_params {
    char unused_;
};

struct tcpb_rpc_discover_result {
    char unused_;
    /* version of OpenRPC; the other members are those of the document */
    const char *openrpc;
};

/* Session.Open: make the session outlive its connections */
struct tcpb_session_open_params {
    char unused_;
    /* how long it lives after its last connection has ended (milliseconds 1..604800000) */
    int64_t lease_ms;
};

struct tcpb_session_open_result {
    char unused_;
    /* who has it may join, same user only */
    const char *token;
    /* number of the session, as in the log */
    int64_t session;
};

/* Session.Join: belong to a durable session from now on */
struct tcpb_session_join_params {
    char unused_;
    /* what Session.Open gave (string of 1..64 bytes) */
    const char *token;
};

struct tcpb_session_join_result {
    char unused_;
    /* the session's sockets; struct tcpb_socket_row */
    struct tcpb_objects sockets;
    /* number of the session, as in the log */
    int64_t session;
};

/* Session.Close: end the durable session and close its sockets */
struct tcpb_session_close_params {
    char unused_;
};

struct tcpb_session_close_result {
    char unused_;
    /* always 0 */
    int64_t status;
};

/* Session.Set: deadlines for requests of the session that name none */
struct tcpb_session_set_params {
    char unused_;
    /* true: first forget what was set before (true or false; absent: false) */
    bool has_reset;
    bool reset;
    /* of TCPConnect and TCPStartTLS (milliseconds 0..86400000) */
    bool has_connect_timeout_ms;
    int64_t connect_timeout_ms;
    /* of TCPName2Addr, TCPAddr2Name, TCPGetMyAddr, and of TCPBind by a service name
     * (milliseconds 0..86400000) */
    bool has_lookup_timeout_ms;
    int64_t lookup_timeout_ms;
    /* of TCPSend (milliseconds 0..86400000) */
    bool has_send_timeout_ms;
    int64_t send_timeout_ms;
    /* of TCPReceive (milliseconds 0..86400000) */
    bool has_receive_timeout_ms;
    int64_t receive_timeout_ms;
    /* of TCPAccept (milliseconds 0..86400000) */
    bool has_accept_timeout_ms;
    int64_t accept_timeout_ms;
    /* of TCPClose (milliseconds 0..86400000) */
    bool has_close_timeout_ms;
    int64_t close_timeout_ms;
};

struct tcpb_session_set_result {
    char unused_;
    /* what is in force now */
    int64_t connect_timeout_ms;
    /* what is in force now */
    int64_t lookup_timeout_ms;
    /* what is in force now; absent: no deadline */
    bool has_send_timeout_ms;
    int64_t send_timeout_ms;
    /* what is in force now; absent: no deadline */
    bool has_receive_timeout_ms;
    int64_t receive_timeout_ms;
    /* what is in force now; absent: no deadline */
    bool has_accept_timeout_ms;
    int64_t accept_timeout_ms;
    /* what is in force now; absent: none but io.close_timeout */
    bool has_close_timeout_ms;
    int64_t close_timeout_ms;
};

/* ---- one function a method ---- */

/* TCPConnect: connect, with or without TLS, in one step. */
int tcpb_tcp_connect(struct tcpb *broker, const struct tcpb_tcp_connect_params *params,
                     struct tcpb_reply **ret_reply,
                     const struct tcpb_tcp_connect_result **ret_result, struct tcpb_error *error);

/* TCPSend: send text or bytes. */
int tcpb_tcp_send(struct tcpb *broker, const struct tcpb_tcp_send_params *params,
                  struct tcpb_reply **ret_reply, const struct tcpb_tcp_send_result **ret_result,
                  struct tcpb_error *error);

/* TCPReceive: receive text or bytes. */
int tcpb_tcp_receive(struct tcpb *broker, const struct tcpb_tcp_receive_params *params,
                     struct tcpb_reply **ret_reply,
                     const struct tcpb_tcp_receive_result **ret_result, struct tcpb_error *error);

/* TCPClose: close: complete, partial or abort. */
int tcpb_tcp_close(struct tcpb *broker, const struct tcpb_tcp_close_params *params,
                   struct tcpb_reply **ret_reply, const struct tcpb_tcp_close_result **ret_result,
                   struct tcpb_error *error);

/* TCPBlock: set blocking or non-blocking mode. */
int tcpb_tcp_block(struct tcpb *broker, const struct tcpb_tcp_block_params *params,
                   struct tcpb_reply **ret_reply, const struct tcpb_tcp_block_result **ret_result,
                   struct tcpb_error *error);

/* TCPSocket: make a socket to bind and listen with. */
int tcpb_tcp_socket(struct tcpb *broker, const struct tcpb_tcp_socket_params *params,
                    struct tcpb_reply **ret_reply, const struct tcpb_tcp_socket_result **ret_result,
                    struct tcpb_error *error);

/* TCPBind: bind a socket to a port. */
int tcpb_tcp_bind(struct tcpb *broker, const struct tcpb_tcp_bind_params *params,
                  struct tcpb_reply **ret_reply, const struct tcpb_tcp_bind_result **ret_result,
                  struct tcpb_error *error);

/* TCPListen: start to take connections. */
int tcpb_tcp_listen(struct tcpb *broker, const struct tcpb_tcp_listen_params *params,
                    struct tcpb_reply **ret_reply, const struct tcpb_tcp_listen_result **ret_result,
                    struct tcpb_error *error);

/* TCPAccept: take a waiting connection. */
int tcpb_tcp_accept(struct tcpb *broker, const struct tcpb_tcp_accept_params *params,
                    struct tcpb_reply **ret_reply, const struct tcpb_tcp_accept_result **ret_result,
                    struct tcpb_error *error);

/* TCPGetMyAddr: the local address of a socket or of this host. */
int tcpb_tcp_get_my_addr(struct tcpb *broker, const struct tcpb_tcp_get_my_addr_params *params,
                         struct tcpb_reply **ret_reply,
                         const struct tcpb_tcp_get_my_addr_result **ret_result,
                         struct tcpb_error *error);

/* TCPGetMyPort: the local port of a socket. */
int tcpb_tcp_get_my_port(struct tcpb *broker, const struct tcpb_tcp_get_my_port_params *params,
                         struct tcpb_reply **ret_reply,
                         const struct tcpb_tcp_get_my_port_result **ret_result,
                         struct tcpb_error *error);

/* TCPGetRemoteAddr: the peer's address. */
int tcpb_tcp_get_remote_addr(struct tcpb *broker,
                             const struct tcpb_tcp_get_remote_addr_params *params,
                             struct tcpb_reply **ret_reply,
                             const struct tcpb_tcp_get_remote_addr_result **ret_result,
                             struct tcpb_error *error);

/* TCPName2Addr: the addresses of a name. */
int tcpb_tcp_name2addr(struct tcpb *broker, const struct tcpb_tcp_name2addr_params *params,
                       struct tcpb_reply **ret_reply,
                       const struct tcpb_tcp_name2addr_result **ret_result,
                       struct tcpb_error *error);

/* TCPAddr2Name: the name of an address. */
int tcpb_tcp_addr2name(struct tcpb *broker, const struct tcpb_tcp_addr2name_params *params,
                       struct tcpb_reply **ret_reply,
                       const struct tcpb_tcp_addr2name_result **ret_result,
                       struct tcpb_error *error);

/* TCPPing: ICMP echo. */
int tcpb_tcp_ping(struct tcpb *broker, const struct tcpb_tcp_ping_params *params,
                  struct tcpb_reply **ret_reply, const struct tcpb_tcp_ping_result **ret_result,
                  struct tcpb_error *error);

/* TCPAttach: hand out the byte stream as a file descriptor. */
int tcpb_tcp_attach(struct tcpb *broker, const struct tcpb_tcp_attach_params *params,
                    struct tcpb_reply **ret_reply, const struct tcpb_tcp_attach_result **ret_result,
                    struct tcpb_error *error);

/* TCPStartTLS: turn a plain socket into TLS. */
int tcpb_tcp_start_tls(struct tcpb *broker, const struct tcpb_tcp_start_tls_params *params,
                       struct tcpb_reply **ret_reply,
                       const struct tcpb_tcp_start_tls_result **ret_result,
                       struct tcpb_error *error);

/* TCPTransfer: give a socket to another thread of the session. */
int tcpb_tcp_transfer(struct tcpb *broker, const struct tcpb_tcp_transfer_params *params,
                      struct tcpb_reply **ret_reply,
                      const struct tcpb_tcp_transfer_result **ret_result, struct tcpb_error *error);

/* TCPOffer: offer a socket to any session of the same user. */
int tcpb_tcp_offer(struct tcpb *broker, const struct tcpb_tcp_offer_params *params,
                   struct tcpb_reply **ret_reply, const struct tcpb_tcp_offer_result **ret_result,
                   struct tcpb_error *error);

/* TCPClaim: take an offered socket. */
int tcpb_tcp_claim(struct tcpb *broker, const struct tcpb_tcp_claim_params *params,
                   struct tcpb_reply **ret_reply, const struct tcpb_tcp_claim_result **ret_result,
                   struct tcpb_error *error);

/* Broker.Hello: who is there, what can it do. */
int tcpb_broker_hello(struct tcpb *broker, const struct tcpb_broker_hello_params *params,
                      struct tcpb_reply **ret_reply,
                      const struct tcpb_broker_hello_result **ret_result, struct tcpb_error *error);

/* Broker.List: the session's sockets; for an administrator all. */
int tcpb_broker_list(struct tcpb *broker, const struct tcpb_broker_list_params *params,
                     struct tcpb_reply **ret_reply,
                     const struct tcpb_broker_list_result **ret_result, struct tcpb_error *error);

/* Broker.Stats: counters and gauges. */
int tcpb_broker_stats(struct tcpb *broker, const struct tcpb_broker_stats_params *params,
                      struct tcpb_reply **ret_reply,
                      const struct tcpb_broker_stats_result **ret_result, struct tcpb_error *error);

/* Broker.Users: what each user has; for who is no administrator: himself. */
int tcpb_broker_users(struct tcpb *broker, const struct tcpb_broker_users_params *params,
                      struct tcpb_reply **ret_reply,
                      const struct tcpb_broker_users_result **ret_result, struct tcpb_error *error);

/* Broker.Metrics: counters, gauges and histograms for Prometheus. */
int tcpb_broker_metrics(struct tcpb *broker, const struct tcpb_broker_metrics_params *params,
                        struct tcpb_reply **ret_reply,
                        const struct tcpb_broker_metrics_result **ret_result,
                        struct tcpb_error *error);

/* Broker.Cancel: cancel a running request. */
int tcpb_broker_cancel(struct tcpb *broker, const struct tcpb_broker_cancel_params *params,
                       struct tcpb_reply **ret_reply,
                       const struct tcpb_broker_cancel_result **ret_result,
                       struct tcpb_error *error);

/* Broker.Errors: the table of error codes. */
int tcpb_broker_errors(struct tcpb *broker, const struct tcpb_broker_errors_params *params,
                       struct tcpb_reply **ret_reply,
                       const struct tcpb_broker_errors_result **ret_result,
                       struct tcpb_error *error);

/* Broker.Reload: read configuration and certificates again. */
int tcpb_broker_reload(struct tcpb *broker, const struct tcpb_broker_reload_params *params,
                       struct tcpb_reply **ret_reply,
                       const struct tcpb_broker_reload_result **ret_result,
                       struct tcpb_error *error);

/* Policy.Test: what the policy says to a request, without making it. */
int tcpb_policy_test(struct tcpb *broker, const struct tcpb_policy_test_params *params,
                     struct tcpb_reply **ret_reply,
                     const struct tcpb_policy_test_result **ret_result, struct tcpb_error *error);

/* Policy.Show: the policy in force. */
int tcpb_policy_show(struct tcpb *broker, const struct tcpb_policy_show_params *params,
                     struct tcpb_reply **ret_reply,
                     const struct tcpb_policy_show_result **ret_result, struct tcpb_error *error);

/* Broker.Events: be told what happens to connections, from now on. */
int tcpb_broker_events(struct tcpb *broker, const struct tcpb_broker_events_params *params,
                       struct tcpb_reply **ret_reply,
                       const struct tcpb_broker_events_result **ret_result,
                       struct tcpb_error *error);

/* Broker.Close: close any socket of anybody. */
int tcpb_broker_close(struct tcpb *broker, const struct tcpb_broker_close_params *params,
                      struct tcpb_reply **ret_reply,
                      const struct tcpb_broker_close_result **ret_result, struct tcpb_error *error);

/* Broker.Drain: no new sockets; when the last one is closed, stop. */
int tcpb_broker_drain(struct tcpb *broker, const struct tcpb_broker_drain_params *params,
                      struct tcpb_reply **ret_reply,
                      const struct tcpb_broker_drain_result **ret_result, struct tcpb_error *error);

/* Broker.Log: the log's level, until the next reload. */
int tcpb_broker_log(struct tcpb *broker, const struct tcpb_broker_log_params *params,
                    struct tcpb_reply **ret_reply, const struct tcpb_broker_log_result **ret_result,
                    struct tcpb_error *error);

/* Broker.Doors: the tunnels and the SOCKS doors. */
int tcpb_broker_doors(struct tcpb *broker, const struct tcpb_broker_doors_params *params,
                      struct tcpb_reply **ret_reply,
                      const struct tcpb_broker_doors_result **ret_result, struct tcpb_error *error);

/* Broker.Pools: the pools of connections made ahead. */
int tcpb_broker_pools(struct tcpb *broker, const struct tcpb_broker_pools_params *params,
                      struct tcpb_reply **ret_reply,
                      const struct tcpb_broker_pools_result **ret_result, struct tcpb_error *error);

/* rpc.discover: an OpenRPC document of all this. */
int tcpb_rpc_discover(struct tcpb *broker, const struct tcpb_rpc_discover_params *params,
                      struct tcpb_reply **ret_reply,
                      const struct tcpb_rpc_discover_result **ret_result, struct tcpb_error *error);

/* Session.Open: make the session outlive its connections. */
int tcpb_session_open(struct tcpb *broker, const struct tcpb_session_open_params *params,
                      struct tcpb_reply **ret_reply,
                      const struct tcpb_session_open_result **ret_result, struct tcpb_error *error);

/* Session.Join: belong to a durable session from now on. */
int tcpb_session_join(struct tcpb *broker, const struct tcpb_session_join_params *params,
                      struct tcpb_reply **ret_reply,
                      const struct tcpb_session_join_result **ret_result, struct tcpb_error *error);

/* Session.Close: end the durable session and close its sockets. */
int tcpb_session_close(struct tcpb *broker, const struct tcpb_session_close_params *params,
                       struct tcpb_reply **ret_reply,
                       const struct tcpb_session_close_result **ret_result,
                       struct tcpb_error *error);

/* Session.Set: deadlines for requests of the session that name none. */
int tcpb_session_set(struct tcpb *broker, const struct tcpb_session_set_params *params,
                     struct tcpb_reply **ret_reply,
                     const struct tcpb_session_set_result **ret_result, struct tcpb_error *error);
/* generated from proto/methods.def and proto/errors.def: end */

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
