#include "util/list.h"

#include "support/test.h"

struct item {
    int number;
    struct list link;
};

static void check_numbers(const struct list *head, const char *wanted)
{
    char text[64] = "";
    size_t n = 0;
    list_for_each (link, head) {
        const struct item *item = container_of(link, struct item, link);
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%d", item->number);
        CHECK(link->next->prev == link && link->prev->next == link);
    }
    CHECK_STRING(text, wanted);
}

TEST(list, append_remove_splice)
{
    struct list head = LIST_INIT(head), other = LIST_INIT(other);
    struct item items[6] = {0};
    for (int i = 0; i < 6; i++) {
        items[i].number = i;
        CHECK(!list_linked(&items[i].link));
        list_append(i < 4 ? &head : &other, &items[i].link);
        CHECK(list_linked(&items[i].link));
    }
    check_numbers(&head, "0123");
    list_splice(&head, &other);
    check_numbers(&head, "012345");
    CHECK(list_empty(&other));
    list_splice(&head, &other); /* nothing */
    check_numbers(&head, "012345");
    list_remove(&items[2].link);
    list_remove(&items[2].link); /* twice is fine */
    CHECK(!list_linked(&items[2].link));
    check_numbers(&head, "01345");
    list_for_each_safe (link, &head) {
        if (container_of(link, struct item, link)->number % 2)
            list_remove(link);
    }
    check_numbers(&head, "04");
    CHECK(list_first(&head) == &items[0].link);
    CHECK(list_pop(&head) == &items[0].link);
    CHECK(list_pop(&head) == &items[4].link);
    CHECK(!list_pop(&head));
    CHECK(!list_first(&head));
}

TEST(list, removing_what_was_never_in_a_list)
{
    struct item item = {0};
    list_remove(&item.link);
    CHECK(!list_linked(&item.link));
    list_init(&item.link);
    CHECK(!list_linked(&item.link));
    list_remove(&item.link);
    CHECK(!list_linked(&item.link));
}
