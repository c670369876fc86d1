#include "util/assert.h"

#include <stdlib.h>

#include "util/log.h"

_Noreturn void assert_failed(const char *expression, const char *file, int line)
{
    log_error("assertion failed: %s (%s:%d)", expression, file, line);
    abort();
}
