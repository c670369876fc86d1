/* The typed part of <tcpbroker.h>, printed line by line while methods.def is expanded. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/gen/proto_tables.h"
#include "proto/methods.h"

enum { IMMEDIATE = METHOD_IMMEDIATE, ADMIN = METHOD_ADMIN, NEW = METHOD_NEW };

#define NONE FIELD_NO_PRESET

#define HEADER_BOOL    "bool "
#define HEADER_INT     "int64_t "
#define HEADER_MS      "int64_t "
#define HEADER_NUMBER  "double "
#define HEADER_STRING  "const char *"
#define HEADER_HOST    "const char *"
#define HEADER_PORT    "const char *"
#define HEADER_ENUM    "int64_t "
#define HEADER_TEXT    "struct tcpb_bytes "
#define HEADER_BASE64  "struct tcpb_bytes "
#define HEADER_THREAD  "struct tcpb_thread "
#define HEADER_ID      "struct tcpb_id "
#define HEADER_STRINGS "struct tcpb_strings "

#define OPTIONAL_REQ     false
#define OPTIONAL_REQ_POS false
#define OPTIONAL_OPT     true
#define OPTIONAL_OPT_POS true

/* The column that comments are wrapped at. */
#define WIDTH 100

/* A comment of four spaces' indent, over as many lines as it takes. */
static void print_comment(const char *text)
{
    size_t column = 7;

    printf("    /*");
    while (*text) {
        size_t n = strcspn(text, " ");
        if (column + n + 4 > WIDTH) {
            printf("\n     *");
            column = 7;
        }
        printf(" %.*s", (int)n, text);
        column += n + 1;
        text += n + (text[n] == ' ');
    }
    printf(" */\n");
}

static void describe_preset(const struct field *field, char *text, size_t n_text)
{
    text[0] = '\0';
    if (field->preset == FIELD_NO_PRESET)
        return;
    if (field->type == FIELD_BOOL)
        snprintf(text, n_text, "; absent: %s", field->preset ? "true" : "false");
    else
        snprintf(text, n_text, "; absent: %" PRId64, field->preset);
}

/* What the member may be, after what it means. Results say only what they mean. */
static void print_member(const char *shape, const char *type, const char *name, bool optional,
                         const struct field *field)
{
    size_t n_shape = strlen(shape);
    bool params = n_shape > 7 && strcmp(&shape[n_shape - 7], "_params") == 0;
    char what[256], preset[64], text[1024];
    const char *word = field->extra;
    size_t n = 0;

    if (field->type == FIELD_ENUM) {
        what[0] = '\0';
        for (int64_t i = 0; word; i++) {
            size_t n_word = strcspn(word, "|");
            int r = snprintf(what + n, sizeof(what) - n, "%s%" PRId64 " %.*s", i ? ", " : "", i,
                             (int)n_word, word);
            n += r > 0 ? (size_t)r : 0;
            word = word[n_word] && n < sizeof(what) ? word + n_word + 1 : NULL;
        }
    } else {
        field_describe(field, what, sizeof(what));
    }
    describe_preset(field, preset, sizeof(preset));
    if (params)
        snprintf(text, sizeof(text), "%s (%s%s)", field->doc, what, preset);
    else
        snprintf(text, sizeof(text), "%s", field->doc);
    print_comment(text);
    if (optional)
        printf("    bool has_%s;\n", name);
    printf("    %s%s;\n", type, name);
}

static void print_structs(void)
{
/* As in proto/methods.h: the first member keeps a struct without members legal C. */
#define OBJECT_BEGIN(object) printf("\nstruct tcpb_" #object " {\n");
#define OBJECT_END(object)   printf("};\n");
#define METHOD_BEGIN(ID, object, wire, traits, summary)                                            \
    printf("\n/* %s: %s */\nstruct tcpb_" #object "_params {\n    char unused_;\n", wire, summary);
#define METHOD_RESULT(ID, object)                                                                  \
    printf("};\n\nstruct tcpb_" #object "_result {\n    char unused_;\n");
#define METHOD_END(ID, object) printf("};\n");
#define F_AS(owner, TYPE, member, wire, member_flags, member_preset, lowest, highest, more,        \
             member_doc)                                                                           \
    print_member(#owner, HEADER_##TYPE, #member, OPTIONAL_##member_flags,                          \
                 &(struct field){.name = (wire),                                                   \
                                 .type = FIELD_##TYPE,                                             \
                                 .preset = (member_preset),                                        \
                                 .min = (lowest),                                                  \
                                 .max = (highest),                                                 \
                                 .extra = (more),                                                  \
                                 .doc = (member_doc)});
#define FO(owner, object, member, member_flags, member_doc)                                        \
    print_member(                                                                                  \
        #owner, "struct tcpb_" #object " ", #member, OPTIONAL_##member_flags,                      \
        &(struct field){.type = FIELD_OBJECT, .preset = FIELD_NO_PRESET, .doc = (member_doc)});
#define FL(owner, object, member, member_flags, member_doc)                                        \
    print_member(#owner, "struct tcpb_objects ", #member, OPTIONAL_##member_flags,                 \
                 &(struct field){.type = FIELD_OBJECTS,                                            \
                                 .preset = FIELD_NO_PRESET,                                        \
                                 .doc = (member_doc "; struct tcpb_" #object)});
#include "proto/methods.def"
#include "proto/undef.h"
}

/* Parameters are packed into lines as clang-format does it, so that the header stays as it was
 * printed. */
static void print_prototype(const char *object, const char *wire, const char *summary)
{
    char parameters[5][128];
    int indent = (int)strlen("int tcpb_(") + (int)strlen(object);
    int column = indent;

    snprintf(parameters[0], sizeof(parameters[0]), "struct tcpb *broker");
    snprintf(parameters[1], sizeof(parameters[1]), "const struct tcpb_%s_params *params", object);
    snprintf(parameters[2], sizeof(parameters[2]), "struct tcpb_reply **ret_reply");
    snprintf(parameters[3], sizeof(parameters[3]), "const struct tcpb_%s_result **ret_result",
             object);
    snprintf(parameters[4], sizeof(parameters[4]), "struct tcpb_error *error");
    printf("\n/* %s: %s. */\nint tcpb_%s(", wire, summary, object);
    for (size_t i = 0; i < 5; i++) {
        int n = (int)strlen(parameters[i]) + 1; /* with ',' or ')' */
        if (i == 4)
            n++; /* and ';' */
        if (i > 0 && column + 1 + n > WIDTH) {
            printf("\n%*s", indent, "");
            column = indent;
        } else if (i > 0) {
            putchar(' ');
            column++;
        }
        printf("%s%s", parameters[i], i == 4 ? ");\n" : ",");
        column += n;
    }
}

static void print_prototypes(void)
{
#include "proto/define_none.h"
#undef METHOD_BEGIN
#define METHOD_BEGIN(ID, object, wire, traits, summary) print_prototype(#object, wire, summary);
#include "proto/methods.def"
#include "proto/undef.h"
}

static void print_error_codes(void)
{
    printf("enum {\n");
    for (unsigned i = WIRE_NONE + 1; i < WIRE_N; i++) {
        print_comment(error_infos[i].text);
        printf("    TCPB_E_%s = %" PRId32 ",\n", error_infos[i].symbol, error_infos[i].code);
    }
    printf("};\n");
}

void print_header(void)
{
    printf("/* ---- error codes ---- */\n\n");
    print_error_codes();
    printf("\n/* ---- what goes in and what comes out; has_x: the optional member x is there ---- "
           "*/\n");
    print_structs();
    printf("\n/* ---- one function a method ---- */\n");
    print_prototypes();
}
