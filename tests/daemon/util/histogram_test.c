#include "util/histogram.h"

#include "support/test.h"

/* Every bound belongs to the bucket below it, one more to the next; the last bucket takes the rest.
 */
static void check_scale(const struct histogram_scale *scale)
{
    struct histogram histogram = {.sum_us = 0};
    struct histogram_sum sum = {.count = 0};
    uint64_t total = 0;

    CHECK(scale->n <= HISTOGRAM_BOUNDS_MAX);
    for (size_t i = 0; i < scale->n; i++) {
        CHECK(i == 0 || scale->bounds_us[i] > scale->bounds_us[i - 1]);
        histogram_record(&histogram, scale, scale->bounds_us[i]);
        histogram_record(&histogram, scale, scale->bounds_us[i] + 1);
        total += 2 * (uint64_t)scale->bounds_us[i] + 1;
    }
    histogram_add(&sum, &histogram);
    CHECK(sum.count == 2 * scale->n);
    CHECK(sum.sum_us == total);
    CHECK(sum.buckets[0] == 1);
    for (size_t i = 1; i < scale->n; i++)
        CHECK(sum.buckets[i] == 2);
    CHECK(sum.buckets[scale->n] == 1);
}

TEST(histogram, bounds)
{
    check_scale(&histogram_scale_stage);
    check_scale(&histogram_scale_lag);
}

TEST(histogram, a_clock_that_went_back)
{
    struct histogram histogram = {.sum_us = 0};
    struct histogram_sum sum = {.count = 0};

    histogram_record(&histogram, &histogram_scale_stage, -5);
    histogram_record(&histogram, &histogram_scale_stage, 0);
    histogram_add(&sum, &histogram);
    CHECK(sum.count == 2 && sum.buckets[0] == 2 && sum.sum_us == 0);
}

TEST(histogram, sums_of_threads)
{
    struct histogram one = {.sum_us = 0}, other = {.sum_us = 0};
    struct histogram_sum sum = {.count = 0};

    histogram_record(&one, &histogram_scale_stage, 90);
    histogram_record(&other, &histogram_scale_stage, 70000000);
    histogram_record(&other, &histogram_scale_stage, 99);
    histogram_add(&sum, &one);
    histogram_add(&sum, &other);
    CHECK(sum.count == 3);
    CHECK(sum.buckets[0] == 2 && sum.buckets[histogram_scale_stage.n] == 1);
    CHECK(sum.sum_us == 70000189);
}
