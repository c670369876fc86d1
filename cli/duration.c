#include "cli/duration.h"

#include <string.h>

bool duration_parse(const char *text, int64_t *ret_ms)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    int64_t number = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, *p - '0', &number))
            return false;
    for (size_t i = 0; p > text && i < sizeof(units) / sizeof(units[0]); i++)
        if (strcmp(p, units[i].name) == 0)
            return !__builtin_mul_overflow(number, units[i].ms, ret_ms);
    return false;
}
