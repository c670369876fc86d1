#include "broker/exposition.h"

#include "support/test.h"

static void check_text(struct writer *writer, const char *wanted)
{
    CHECK(!writer_failed(writer));
    writer_raw(writer, "", 1);
    CHECK_STRING(writer->data, wanted);
    writer_deinit(writer);
}

TEST(exposition, head_and_samples)
{
    struct writer writer = WRITER_INIT;
    const struct exposition_labels labels = {2, {{"pool", "a\"b\\c\nd"}, {"stage", "tls"}}};

    exposition_head(&writer, "x_total", "counter", "One \\ two\nthree \"four\"");
    exposition_int(&writer, "x_total", NULL, 9007199254740993);
    exposition_int(&writer, "x_total", &labels, -7);
    exposition_micro(&writer, "y_seconds", NULL, 1500000);
    exposition_micro(&writer, "y_seconds", NULL, -1);
    exposition_micro(&writer, "y_seconds", NULL, -2000001);
    check_text(&writer, "# HELP x_total One \\\\ two\\nthree \"four\"\n"
                        "# TYPE x_total counter\n"
                        "x_total 9007199254740993\n"
                        "x_total{pool=\"a\\\"b\\\\c\\nd\",stage=\"tls\"} -7\n"
                        "y_seconds 1.500000\n"
                        "y_seconds -0.000001\n"
                        "y_seconds -2.000001\n");
}

TEST(exposition, a_histogram_is_cumulative)
{
    static const struct histogram_scale scale = {3, {100, 2500, 1000000}};
    struct writer writer = WRITER_INIT;
    const struct exposition_labels labels = {1, {{"stage", "tcp"}}};
    struct histogram histogram = {.sum_us = 0};
    struct histogram_sum sum = {.count = 0};

    histogram_record(&histogram, &scale, 100);
    histogram_record(&histogram, &scale, 101);
    histogram_record(&histogram, &scale, 60000000);
    histogram_add(&sum, &histogram);
    exposition_histogram(&writer, "z_seconds", &labels, &scale, &sum);
    exposition_histogram(&writer, "z_seconds", NULL, &scale, &sum);
    check_text(&writer, "z_seconds_bucket{stage=\"tcp\",le=\"0.0001\"} 1\n"
                        "z_seconds_bucket{stage=\"tcp\",le=\"0.0025\"} 2\n"
                        "z_seconds_bucket{stage=\"tcp\",le=\"1\"} 2\n"
                        "z_seconds_bucket{stage=\"tcp\",le=\"+Inf\"} 3\n"
                        "z_seconds_sum{stage=\"tcp\"} 60.000201\n"
                        "z_seconds_count{stage=\"tcp\"} 3\n"
                        "z_seconds_bucket{le=\"0.0001\"} 1\n"
                        "z_seconds_bucket{le=\"0.0025\"} 2\n"
                        "z_seconds_bucket{le=\"1\"} 2\n"
                        "z_seconds_bucket{le=\"+Inf\"} 3\n"
                        "z_seconds_sum 60.000201\n"
                        "z_seconds_count 3\n");
}
