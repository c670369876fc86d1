#pragma once
/*
 * pass: JSON-RPC lines from standard input to the broker, answers from it to standard output, byte
 * for byte. Ends when the broker has answered everything and closed, as it does after the end of
 * our input.
 *
 * Threads:   the main thread.
 * Errors:    an exit status; told.
 * Limits:    64 KiB are held each way; who does not read is not sent to.
 */
#include "cli/verb.h"

int pass_lines(struct cli *cli);
