#pragma once
/*
 * client_in: the way into a client: bytes are read into its frame, lines are taken from it,
 * requests are begun, as long as it is its turn (rpc/turns.h), it reads its answers, and does not
 * join another session. What it has sent beyond that waits in its frame (`stalled`) and in the
 * socket.
 *
 * Threads:   the client's io thread only (asserted).
 * Ownership: the frame is the client's.
 * Errors:    what is wrong with a line is answered; what is wrong with the connection ends the
 * client.
 */
#include "rpc/client.h"

/* May its lines be looked at now, when it is its turn? */
bool client_takes_lines(const struct client *client);
/* Take lines from the frame until it is empty, the client must wait, or is gone. May end the client
 * when that is due. */
void client_process_lines(struct client *client);
/* Its user has all the bytes that he may, and this client sends a long line: the memory is given
 * up, and it is told at the line's place. */
void client_refuse_long_line(struct client *client);
/* Of its watch. */
void client_on_event(void *client, unsigned events);
/* It is its turn, after it had to wait. */
void client_take_turn(struct client *client);
