#pragma once
/*
 * sample: options.def for people: the commented sample file, the reference in Markdown, the list of
 * a man page.
 *
 * Threads:   any.
 * Ownership: nothing is kept.
 * Errors:    those of the stream.
 */
#include <stdio.h>

/* tcpbroker.conf: every option commented out, with its default. Without the # in front of them it
 * is read as the defaults. */
void sample_write(FILE *stream);
void sample_write_markdown(FILE *stream);
void sample_write_man(FILE *stream);
