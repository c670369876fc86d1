#include "util/messages.h"

#define EVENT(name, id, what) const char EVENT_##name[] = id;
#define TAG(name, what)       const char TAG_##name[] = "TCPBROKER_" #name;
#include "util/messages.def"
#undef EVENT
#undef TAG
