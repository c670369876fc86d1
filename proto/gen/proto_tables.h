#pragma once
/* proto_tables: between the files of the table printer. One thread, prints to standard output. */

/* The typed part of <tcpbroker.h>. */
void print_header(void);
