#include "broker/label.h"

#include "util/assert.h"

struct label label_from(bool present, const struct proto_thread *thread)
{
    struct label label = {.kind = LABEL_UNNAMED};

    if (!present)
        return label;
    if (!thread->text) {
        label.kind = LABEL_INTEGER;
        label.number = thread->number;
        return label;
    }
    size_t n = strlen(thread->text);
    ASSERT(n > 0 && n < sizeof(label.text));
    label.kind = LABEL_TEXT;
    label.n_text = (uint8_t)n;
    memcpy(label.text, thread->text, n);
    return label;
}

bool label_to(const struct label *label, struct proto_thread *ret_thread)
{
    *ret_thread = (struct proto_thread){
        .text = label->kind == LABEL_TEXT ? label->text : NULL,
        .number = label->number,
    };
    return label->kind != LABEL_UNNAMED;
}

bool label_equal(const struct label *a, const struct label *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case LABEL_INTEGER:
        return a->number == b->number;
    case LABEL_TEXT:
        return a->n_text == b->n_text && memcmp(a->text, b->text, a->n_text) == 0;
    default:
        return true;
    }
}
