#include "config/value.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* ---- pins ---- */

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (is_digit(c))
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static int hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* 32 bytes are 43 digits and one =; the two bits that the last digit has too many must be 0, so
 * that a hash has one form only */
static const char *read_base64(const char *text, uint8_t *hash)
{
    unsigned bits = 0, n_bits = 0;
    size_t n = 0;
    if (strlen(text) != 44 || text[43] != '=')
        return "has not the 44 characters of a SHA-256 in base64";
    for (size_t i = 0; i < 43; i++) {
        int digit = base64_digit(text[i]);
        if (digit < 0)
            return "has a character that is none of base64";
        bits = (bits << 6 | (unsigned)digit) & 0xFFFF;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            hash[n++] = (uint8_t)(bits >> n_bits);
        }
    }
    return bits & 3 ? "is no base64: its last bits are not 0" : NULL;
}

static const char *read_hex(const char *text, uint8_t *hash)
{
    if (strlen(text) != (size_t)2 * CONFIG_PIN_SIZE)
        return "has not the 64 hexadecimal digits of a SHA-256";
    for (size_t i = 0; i < CONFIG_PIN_SIZE; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return "has a character that is no hexadecimal digit";
        hash[i] = (uint8_t)(high << 4 | low);
    }
    return NULL;
}

const char *config_read_pin(const char *text, uint8_t ret_hash[CONFIG_PIN_SIZE])
{
    uint8_t hash[CONFIG_PIN_SIZE];
    const char *wrong = "does not begin with sha256/ or sha256:";
    if (strncmp(text, "sha256/", 7) == 0)
        wrong = read_base64(text + 7, hash);
    else if (strncmp(text, "sha256:", 7) == 0)
        wrong = read_hex(text + 7, hash);
    if (!wrong)
        memcpy(ret_hash, hash, sizeof(hash));
    return wrong;
}

/* ---- destinations ---- */

static const char *read_port(const char *text, uint16_t *ret_port)
{
    unsigned number = 0;
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 5 || text[n] != 0 || *text == '0')
        return "has no port number from 1 to 65535 behind its colon";
    for (size_t i = 0; i < n; i++)
        number = number * 10 + (unsigned)(text[i] - '0');
    if (number > 65535)
        return "has no port number from 1 to 65535 behind its colon";
    *ret_port = (uint16_t)number;
    return NULL;
}

/* labels of letters, digits, - and _ (RFC 1123, and what is found in practice) */
static const char *check_name(const char *name)
{
    size_t n_label = 0;
    bool letters = false; /* in the last label */
    if (strlen(name) > CONFIG_MAX_HOST)
        return "is longer than the name of a host can be (253 bytes)";
    for (const char *p = name; *p; p++) {
        if (*p == '.') {
            if (n_label == 0)
                return "has an empty part between dots";
            n_label = 0;
            letters = false;
            continue;
        }
        if (*p == '*')
            return "has a * that is not its whole first part";
        if (!is_letter(*p) && !is_digit(*p) && *p != '-' && *p != '_')
            return "has a character that is not allowed in the name of a host";
        letters = letters || !is_digit(*p);
        if (++n_label > 63)
            return "has a part of more than 63 bytes";
    }
    if (n_label == 0)
        return "ends with a dot, or is no name";
    /* 10.1 and 300.1.1.1 are no names: nobody could resolve them as such */
    return letters ? NULL : "is neither an address nor a name";
}

static const char *split_port(char *host, uint16_t *ret_port)
{
    char *colon = strchr(host, ':');
    if (host[0] == '[') {
        char *end = strchr(host, ']');
        if (!end)
            return "has no ] behind the address";
        if (end[1] != 0 && end[1] != ':')
            return "has something other than :PORT behind the ]";
        const char *wrong = end[1] == ':' ? read_port(end + 2, ret_port) : NULL;
        *end = 0;
        memmove(host, host + 1, strlen(host + 1) + 1);
        return wrong;
    }
    if (!colon || strchr(colon + 1, ':'))
        return NULL; /* no port, or an address that has colons of its own */
    *colon = 0;
    return read_port(colon + 1, ret_port);
}

const char *config_read_destination(const char *text, struct config_destination *ret_destination)
{
    struct config_destination destination = {0};
    struct in6_addr address;
    char host[CONFIG_MAX_HOST + 32];
    char *name = host;
    if (strlen(text) >= sizeof(host))
        return "is longer than the name of a host can be (253 bytes)";
    memcpy(host, text, strlen(text) + 1);
    bool brackets = host[0] == '[';
    const char *wrong = split_port(host, &destination.port);
    if (wrong)
        return wrong;
    if (inet_pton(AF_INET6, host, &address) == 1) {
        /* one form for each address, so that they can be compared */
        inet_ntop(AF_INET6, &address, destination.host, sizeof(destination.host));
        destination.is_address = true;
    } else if (brackets || strchr(host, ':')) {
        return strchr(host, '%') ? "has a zone, which cannot be given here"
                                 : "is no IPv6 address; a port stands behind one in brackets";
    } else if (inet_pton(AF_INET, host, &address) == 1) {
        memcpy(destination.host, host, strlen(host) + 1);
        destination.is_address = true;
    } else {
        if (strcmp(host, "*") == 0)
            return "would be any host: leave the option out for that";
        destination.below = strncmp(host, "*.", 2) == 0;
        name += destination.below ? 2 : 0;
        wrong = check_name(name);
        if (wrong)
            return wrong;
        for (size_t i = 0; name[i]; i++)
            destination.host[i] = (char)tolower((unsigned char)name[i]);
    }
    *ret_destination = destination;
    return NULL;
}

/* ---- tunnels ---- */

const char *config_read_door(const char *text, struct config_door *ret_door)
{
    static const char v4[] = "127.0.0.1:", v6[] = "[::1]:";
    struct config_door door = {0};
    if (*text == '/') {
        *ret_door = door;
        return strlen(text) > CONFIG_MAX_SOCKET
                   ? "is longer than the path of a socket can be (107 bytes)"
                   : NULL;
    }
    door.v6 = strncmp(text, v6, strlen(v6)) == 0;
    if (!door.v6 && strncmp(text, v4, strlen(v4)) != 0)
        return "is neither an absolute path nor a port of a loopback address; nobody outside this "
               "host may come in here";
    const char *wrong = read_port(text + strlen(door.v6 ? v6 : v4), &door.port);
    if (!wrong)
        *ret_door = door;
    return wrong;
}

const char *config_check_host(const char *text)
{
    struct config_destination destination;
    const char *wrong = config_read_destination(text, &destination);
    if (!wrong && (destination.port || destination.below || *text == '['))
        wrong = "is not just one host";
    return wrong;
}

/* RFC 6335 section 5.1, and the few other characters of /etc/services */
static bool is_service(const char *text)
{
    bool letters = false;
    for (const char *p = text; *p; p++) {
        if (!is_letter(*p) && !is_digit(*p) && !strchr("-_+.", *p))
            return false;
        letters = letters || is_letter(*p);
    }
    return letters && strlen(text) <= CONFIG_MAX_SERVICE;
}

const char *config_read_target(const char *text, struct config_target *ret_target)
{
    struct config_destination destination;
    struct config_target target = {0};
    char host[CONFIG_MAX_HOST + 32];
    const char *colon = strrchr(text, ':');
    if (!colon || colon == text || (*text == '[' && colon[-1] != ']') ||
        (*text != '[' && memchr(text, ':', (size_t)(colon - text))))
        return "has no port behind its host; an IPv6 address stands in brackets before it";
    const char *wrong = is_service(colon + 1) ? NULL : read_port(colon + 1, &target.port);
    if (wrong)
        return wrong;
    size_t n = (size_t)(colon - text);
    if (n >= sizeof(host))
        return "is longer than the name of a host can be (253 bytes)";
    memcpy(host, text, n);
    host[n] = 0;
    wrong = config_read_destination(host, &destination);
    if (!wrong && destination.below)
        wrong = "is not just one host";
    if (wrong)
        return wrong;
    memcpy(target.host, destination.host, sizeof(target.host));
    snprintf(target.service, sizeof(target.service), "%s", colon + 1);
    *ret_target = target;
    return NULL;
}

const char *config_read_endpoint(const char *text, struct config_destination *ret_endpoint)
{
    struct config_destination endpoint;
    const char *wrong = config_read_destination(text, &endpoint);
    if (wrong)
        return wrong;
    if (endpoint.below)
        return "stands for many hosts, where one is needed";
    if (endpoint.port == 0)
        return "has no :PORT behind it";
    *ret_endpoint = endpoint;
    return NULL;
}

/* ---- users and groups ---- */

const char *config_read_id(const char *text, bool *ret_is_number, uint32_t *ret_id)
{
    uint64_t number = 0;
    if (strlen(text) > 255)
        return "is longer than a name can be (255 bytes)";
    if (!is_digit(text[0])) {
        if (text[0] == '-' || text[0] == '+')
            return "begins with a sign: neither a name nor a number does";
        if (strpbrk(text, ":/*?"))
            return "has a character that is not allowed in a name (: / * ?)";
        *ret_is_number = false;
        *ret_id = 0;
        return NULL;
    }
    for (const char *p = text; *p; p++) {
        if (!is_digit(*p))
            return "begins with a digit but is no number";
        number = number * 10 + (uint64_t)(*p - '0');
        /* the largest one means "nobody" to the system calls */
        if (number >= UINT32_MAX)
            return "is larger than a number can be (4294967294)";
    }
    if (text[0] == '0' && text[1] != 0)
        return "begins with 0 but has more digits";
    *ret_is_number = true;
    *ret_id = (uint32_t)number;
    return NULL;
}

/* ---- files ---- */

#define CREDENTIAL "cred:"

static bool is_credential(const char *text)
{
    return strncmp(text, CREDENTIAL, strlen(CREDENTIAL)) == 0;
}

/* the names that systemd takes */
static const char *check_credential(const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n > CONFIG_MAX_CREDENTIAL)
        return "has no name of 1 to 255 bytes behind cred:";
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strchr(name, '/'))
        return "leads out of the folder of the credentials";
    for (size_t i = 0; i < n; i++)
        if (name[i] <= ' ' || name[i] > '~' || name[i] == ':')
            return "has a character that is not allowed in the name of a credential";
    return NULL;
}

const char *config_check_file(const char *text)
{
    if (is_credential(text))
        return check_credential(text + strlen(CREDENTIAL));
    return *text == '/' ? NULL : "begins neither with / nor with cred:";
}

const char *config_file_path(const char *text, char *path, size_t n_path)
{
    const char *folder = "", *name = text, *divider = "";
    const char *wrong = config_check_file(text);
    if (wrong)
        return wrong;
    if (is_credential(text)) {
        name = text + strlen(CREDENTIAL);
        folder = secure_getenv("CREDENTIALS_DIRECTORY");
        if (!folder || *folder != '/')
            return "is a credential, but the daemon was given none ($CREDENTIALS_DIRECTORY)";
        divider = "/";
    }
    int n = snprintf(path, n_path, "%s%s%s", folder, divider, name);
    return n < 0 || (size_t)n >= n_path ? "is too long a path" : NULL;
}
