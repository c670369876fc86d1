#pragma once
/*
 * messages: the constants of messages.def, for log_event(): EVENT_STARTED, ... are message ids,
 * TAG_SOCKET, ... names of fields ("TCPBROKER_SOCKET").
 *
 * Threads: any.
 */
#define EVENT(name, id, what) extern const char EVENT_##name[];
#define TAG(name, what)       extern const char TAG_##name[];
#include "util/messages.def"
#undef EVENT
#undef TAG
