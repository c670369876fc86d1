#include "lib/label.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/tcpbroker.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static atomic_uint_fast64_t generation;
static atomic_uint_fast64_t last_thread;

static _Thread_local struct {
    uint64_t generation;
    char text[48];
} label;

static void in_child(void)
{
    atomic_fetch_add(&generation, 1);
}

static void start(void)
{
    atomic_store(&generation, 1);
    (void)pthread_atfork(NULL, NULL, in_child);
}

uint64_t label_generation(void)
{
    pthread_once(&once, start);
    return atomic_load_explicit(&generation, memory_order_relaxed);
}

const char *label_get(void)
{
    uint64_t now = label_generation();
    if (label.generation != now) {
        label.generation = now;
        snprintf(label.text, sizeof(label.text), "%jd.%" PRIuFAST64, (intmax_t)getpid(),
                 atomic_fetch_add(&last_thread, 1) + 1);
    }
    return label.text;
}

const char *tcpb_thread_label(void)
{
    return label_get();
}

const char *tcpb_version(void)
{
    return TCPBROKER_VERSION;
}
