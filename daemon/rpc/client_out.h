#pragma once
/*
 * client_out: the way out of a client: answers and notifications are written into its buffer
 * (client_answer_begin() and what stands with it in client.h), which goes out at the end of the
 * iteration, or when the kernel takes more.
 *
 * Threads:   the client's io thread only (asserted).
 * Ownership: the buffer is the client's.
 * Errors:    none of its own; a client that cannot be sent to is ended.
 */
#include "rpc/client.h"

/* Have it looked at, and sent to, at the end of this iteration. */
void client_mark_dirty(struct client *client);
/* Do answers wait for the kernel? The io thread counts such clients. */
void client_note_behind(struct client *client, bool behind);
/* Send what the kernel takes. Returns false when the client is gone. */
bool client_send_answers(struct client *client);
