#pragma once
/*
 * stream_internal: what the common part of stream and its two kinds (tcp, tls) know of each other.
 *
 * Threads:   the stream's loop.
 * Ownership: nothing of its own.
 */
#include "net/stream.h"
#include "net/watch.h"

struct stream_kind {
    int (*read)(struct stream *stream, void *buffer, size_t n, size_t *ret_n);
    int (*write)(struct stream *stream, const void *data, size_t n, size_t *ret_n);
    int (*shutdown)(struct stream *stream);
    int (*finish)(struct stream *stream);
    bool (*pending)(const struct stream *stream);
    void (*goodbye)(struct stream *stream); /* before closing: what is possible without waiting */
};

struct stream {
    const struct stream_kind *kind;
    struct loop *loop;
    struct connection *connection;
    struct watch *watch;
    unsigned interest; /* of the user */
    /* TLS may have to write in order to read and the other way round */
    bool read_needs_write, write_needs_read;
    bool failed;
    struct net_error
        *error; /* NULL: none, or no memory for it; 2 KiB an idle socket need not have */
    void (*on_ready)(void *context, unsigned ready);
    void *context;
};

extern const struct stream_kind stream_kind_tcp, stream_kind_tls;

/* After read_needs_write or write_needs_read has changed. */
void stream_update_watch(struct stream *stream);
/* Make the stream fail for that reason; returns STREAM_E_FAILED. */
int stream_fail_with(struct stream *stream, const struct net_error *error);
/* The same with an errno. */
int stream_fail(struct stream *stream, int sys_errno);
