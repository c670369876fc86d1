#include "util/seldom.h"

#include "support/test.h"

TEST(seldom, once_a_second_and_how_many_were_not)
{
    struct seldom seldom = {0};
    unsigned n_silent;

    CHECK(seldom_now(&seldom, 0, &n_silent));
    CHECK_INT(n_silent, 0);
    CHECK(!seldom_now(&seldom, 1, &n_silent));
    CHECK(!seldom_now(&seldom, SELDOM_EVERY_US - 1, &n_silent));
    CHECK(seldom_now(&seldom, SELDOM_EVERY_US, &n_silent));
    CHECK_INT(n_silent, 2);
    CHECK(seldom_now(&seldom, 3 * SELDOM_EVERY_US, &n_silent));
    CHECK_INT(n_silent, 0);
}
