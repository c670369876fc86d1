#include "broker/exposition.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "util/assert.h"

static void put(struct writer *writer, const char *text)
{
    writer_raw(writer, text, strlen(text));
}

/* Backslash, end of line and, in values of labels, the quote. */
static void put_escaped(struct writer *writer, const char *text, const char *special)
{
    while (*text) {
        size_t n = strcspn(text, special);
        writer_raw(writer, text, n);
        text += n;
        if (!*text)
            return;
        put(writer, *text == '\n' ? "\\n" : *text == '"' ? "\\\"" : "\\\\");
        text++;
    }
}

void exposition_head(struct writer *writer, const char *name, const char *kind, const char *help)
{
    put(writer, "# HELP ");
    put(writer, name);
    put(writer, " ");
    put_escaped(writer, help, "\\\n");
    put(writer, "\n# TYPE ");
    put(writer, name);
    put(writer, " ");
    put(writer, kind);
    put(writer, "\n");
}

static void put_name(struct writer *writer, const char *name, const char *suffix,
                     const struct exposition_labels *labels)
{
    put(writer, name);
    put(writer, suffix);
    for (size_t i = 0; labels && i < labels->n; i++) {
        put(writer, i == 0 ? "{" : ",");
        put(writer, labels->labels[i].name);
        put(writer, "=\"");
        put_escaped(writer, labels->labels[i].value, "\\\n\"");
        put(writer, "\"");
    }
    put(writer, labels && labels->n > 0 ? "} " : " ");
}

static void put_int(struct writer *writer, int64_t value)
{
    char text[32];
    int n = snprintf(text, sizeof(text), "%" PRId64 "\n", value);
    writer_raw(writer, text, (size_t)n);
}

static void put_micro(struct writer *writer, int64_t value)
{
    char text[40];
    int64_t whole = value / 1000000, part = value % 1000000;
    int n = snprintf(text, sizeof(text), "%s%" PRId64 ".%06" PRId64 "\n", value < 0 ? "-" : "",
                     value < 0 ? -whole : whole, part < 0 ? -part : part);
    writer_raw(writer, text, (size_t)n);
}

void exposition_int(struct writer *writer, const char *name, const struct exposition_labels *labels,
                    int64_t value)
{
    put_name(writer, name, "", labels);
    put_int(writer, value);
}

void exposition_micro(struct writer *writer, const char *name,
                      const struct exposition_labels *labels, int64_t value)
{
    put_name(writer, name, "", labels);
    put_micro(writer, value);
}

void exposition_histogram(struct writer *writer, const char *name,
                          const struct exposition_labels *labels,
                          const struct histogram_scale *scale, const struct histogram_sum *sum)
{
    struct exposition_labels more = {.n = 0};
    char bound[32];
    uint64_t count = 0;

    if (labels)
        more = *labels;
    ASSERT(more.n < EXPOSITION_LABELS_MAX);
    more.labels[more.n++] = (struct exposition_label){"le", bound};
    for (size_t i = 0; i <= scale->n; i++) {
        if (i < scale->n)
            snprintf(bound, sizeof(bound), "%g", (double)scale->bounds_us[i] / 1e6);
        else
            snprintf(bound, sizeof(bound), "+Inf");
        count += sum->buckets[i];
        put_name(writer, name, "_bucket", &more);
        put_int(writer, (int64_t)count);
    }
    put_name(writer, name, "_sum", labels);
    put_micro(writer, (int64_t)sum->sum_us);
    put_name(writer, name, "_count", labels);
    put_int(writer, (int64_t)count);
}
