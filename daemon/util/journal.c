#include "util/journal.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/log.h"

enum { ENTRY_MAX_BYTES = 8192, VALUE_MAX_BYTES = 1024, FIELDS_MAX = 32 };

static int journal_fd = -1;
static struct sockaddr_un journal_address;

struct entry {
    size_t n;
    unsigned char bytes[ENTRY_MAX_BYTES];
};

int journal_open(const char *path)
{
    size_t n = strlen(path);

    if (journal_fd >= 0)
        return -EBUSY;
    if (n >= sizeof(journal_address.sun_path))
        return -ENAMETOOLONG;
    /* not connected: a journal that is started anew is found again */
    journal_address.sun_family = AF_UNIX;
    memcpy(journal_address.sun_path, path, n + 1);
    if (access(path, W_OK) < 0)
        return -errno;
    journal_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return journal_fd < 0 ? -errno : 0;
}

void journal_close(void)
{
    if (journal_fd >= 0)
        close(journal_fd);
    journal_fd = -1;
}

/* name, then the length in 8 bytes, least first, then the value: it may contain anything. */
static void append(struct entry *entry, const char *name, const char *value, size_t n_value)
{
    size_t n_name = strlen(name);

    if (ENTRY_MAX_BYTES - entry->n < n_name + 1 + 8 + n_value + 1)
        return;
    unsigned char *to = entry->bytes + entry->n;
    memcpy(to, name, n_name + 1); /* its end is overwritten */
    to += n_name;
    *to++ = '\n';
    for (int i = 0; i < 8; i++)
        *to++ = (unsigned char)((uint64_t)n_value >> (8 * i));
    memcpy(to, value, n_value);
    to += n_value;
    *to++ = '\n';
    entry->n = (size_t)(to - entry->bytes);
}

int journal_send(int priority, const char *message_id, const char *text, size_t n_text,
                 const struct log_field *fields, size_t n_fields)
{
    struct entry entry;
    char digit = (char)('0' + priority);
    ssize_t n;

    entry.n = 0;
    append(&entry, "MESSAGE", text, n_text);
    append(&entry, "PRIORITY", &digit, 1);
    append(&entry, "SYSLOG_IDENTIFIER", "tcpbrokerd", 10);
    append(&entry, "SYSLOG_FACILITY", "3", 1); /* daemon */
    if (message_id)
        append(&entry, "MESSAGE_ID", message_id, strlen(message_id));
    for (size_t i = 0; i < n_fields && i < FIELDS_MAX; i++)
        if (fields[i].value)
            append(&entry, fields[i].name, fields[i].value,
                   strnlen(fields[i].value, VALUE_MAX_BYTES));
    do
        n = sendto(journal_fd, entry.bytes, entry.n, MSG_DONTWAIT | MSG_NOSIGNAL,
                   (const struct sockaddr *)&journal_address, sizeof(journal_address));
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}
