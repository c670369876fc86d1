#pragma once
/*
 * batch: the answers of a batch's members, collected and sent as one array when the last member is
 * done (JSON-RPC 2.0 section 6).
 *
 * Threads:   its client's io thread only.
 * Ownership: counted: one for whoever starts the members, one for each member that runs.
 * Errors:    memory for answers is not reserved: without it the client is ended.
 * Limits:    what is collected counts for its user's bytes. With more than unread_answers of it, or
 * while its user has all that he may, no member is begun; a quarter more than that ends the client.
 */
#include "rpc/client.h"

struct batch {
    struct client *client;
    struct writer answers;
    size_t n_running;
    size_t n_calls;
    int fd; /* of its only member; -1: none */
};

/* Returns NULL without memory. */
struct batch *batch_new(struct client *client, size_t n_calls);
struct batch *batch_ref(struct batch *batch);
/* The last one sends what was collected, if `answer`. */
void batch_unref(struct batch *batch, bool answer);

/* Where an answer of a member is written to. */
struct writer *batch_answer_begin(struct batch *batch, struct writer_mark *ret_mark);
/* Returns false when memory ran out: the client ends. */
bool batch_answer_end(struct batch *batch, struct writer_mark mark);
/* Is that so much that no member may be begun any more? */
NODISCARD bool batch_is_full(const struct batch *batch, struct fault *ret_fault);
