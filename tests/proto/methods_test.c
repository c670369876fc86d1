#include "proto/methods.h"
#include "support/test.h"

TEST(methods, by_name)
{
    for (unsigned i = METHOD_UNKNOWN + 1; i < METHOD_N; i++)
        CHECK_INT(method_by_name(method_infos[i].name), i);
    CHECK_INT(method_by_name("tcpconnect"), METHOD_UNKNOWN);
    CHECK_INT(method_by_name("TCPConnect "), METHOD_UNKNOWN);
    CHECK_INT(method_by_name(""), METHOD_UNKNOWN);
    CHECK_INT(method_by_name("?"), METHOD_UNKNOWN);
}

TEST(methods, nearest)
{
    CHECK_STRING(method_nearest("tcpconnect"), "TCPConnect");
    CHECK_STRING(method_nearest("TCPConect"), "TCPConnect");
    CHECK_STRING(method_nearest("Connect"), "TCPConnect");
    CHECK_STRING(method_nearest("Broker.Helo"), "Broker.Hello");
    CHECK(method_nearest("quite something else") == NULL);
    CHECK(method_nearest("") == NULL);
    char *monster = malloc(1 << 20);
    memset(monster, 'x', 1 << 20);
    monster[(1 << 20) - 1] = '\0';
    CHECK(method_nearest(monster) == NULL);
    free(monster);
}

/* What fields.c counts on: few enough members for its set, members inside the struct, presets
 * within the range. */
static void check_table(const struct field_table *table)
{
    CHECK(table->n_fields <= FIELDS_MAX);
    for (size_t i = 0; i < table->n_fields; i++) {
        const struct field *field = &table->fields[i];
        CHECK(field->offset < table->size);
        CHECK(!!(field->flags & FIELD_REQUIRED) != !!(field->flags & FIELD_OPTIONAL));
        CHECK((field->has_offset == SIZE_MAX) == !!(field->flags & FIELD_REQUIRED));
        CHECK(field->has_offset == SIZE_MAX || field->has_offset < field->offset);
        CHECK((field->type == FIELD_OBJECT || field->type == FIELD_OBJECTS) == !!field->sub);
        CHECK(field->type != FIELD_ENUM || field->extra);
        CHECK(field->min <= field->max);
        if (field->type == FIELD_INT || field->type == FIELD_MS)
            CHECK(field->preset == FIELD_NO_PRESET ||
                  (field->preset >= field->min && field->preset <= field->max));
        for (size_t k = 0; k < i; k++)
            CHECK(strcmp(table->fields[k].name, field->name) != 0);
        if (field->sub)
            check_table(field->sub);
    }
}

TEST(methods, tables_are_sound)
{
    for (unsigned i = METHOD_UNKNOWN + 1; i < METHOD_N; i++) {
        check_table(method_infos[i].params);
        check_table(method_infos[i].result);
        CHECK(method_infos[i].params->size <= sizeof(union method_params));
    }
    check_table(&proto_error_object_table);
}

TEST(methods, errors)
{
    for (unsigned i = WIRE_NONE + 1; i < WIRE_N; i++) {
        CHECK(error_infos[i].code < 0);
        CHECK(error_by_code(error_infos[i].code) == &error_infos[i]);
        CHECK(error_stage_name(error_infos[i].stage)[0] != '\0');
    }
    CHECK(error_by_code(0) == NULL);
    CHECK(error_by_code(-12345) == NULL);
    CHECK_INT(error_infos[WIRE_ECONNREFUSED].code, -10061);
    CHECK_STRING(error_infos[WIRE_EINTR].symbol, "EINTR");
    CHECK_STRING(error_stage_name(STAGE_TLS), "tls");
}
