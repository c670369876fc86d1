#pragma once
/*
 * exposition: lines of Prometheus' text format 0.0.4.
 *
 * Threads:   any.
 * Ownership: appends to the caller's writer, whose failure is sticky.
 * Errors:    writer_failed().
 */
#include <stddef.h>
#include <stdint.h>

#include "proto/writer.h"
#include "util/histogram.h"

/* https://prometheus.io/docs/instrumenting/exposition_formats/ */
#define EXPOSITION_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* The values may hold anything; the names come from tables. */
struct exposition_label {
    const char *name, *value;
};

enum { EXPOSITION_LABELS_MAX = 4 };

struct exposition_labels {
    size_t n;
    struct exposition_label labels[EXPOSITION_LABELS_MAX];
};

/* The two lines at the head of a family; kind: "counter", "gauge", "histogram". */
void exposition_head(struct writer *writer, const char *name, const char *kind, const char *help);
/* One sample; labels NULL: none. */
void exposition_int(struct writer *writer, const char *name, const struct exposition_labels *labels,
                    int64_t value);
/* A value in millionths: exact, where a floating point number would not be. */
void exposition_micro(struct writer *writer, const char *name,
                      const struct exposition_labels *labels, int64_t value);
/* Buckets, cumulative and in seconds, sum and count. There must be room for one label more. */
void exposition_histogram(struct writer *writer, const char *name,
                          const struct exposition_labels *labels,
                          const struct histogram_scale *scale, const struct histogram_sum *sum);
