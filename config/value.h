#pragma once
/*
 * value: what the texts in a configuration mean: pinned keys, destinations, where doors are and
 * tunnels lead to, users and groups by number, files that may be credentials. The loader checks
 * values with the same functions, so a text of a loaded configuration can be read.
 *
 * Threads:   any; config_file_path() reads the environment.
 * Ownership: everything is copied.
 * Errors:    NULL for a good text, else the reason, a constant that goes on behind the text:
 * "10.1 has …".
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CONFIG_PIN_SIZE = 32,        /* bytes of a SHA-256 */
    CONFIG_MAX_HOST = 253,       /* bytes of a name of a host */
    CONFIG_MAX_CREDENTIAL = 255, /* bytes of the name of a credential */
    CONFIG_MAX_SERVICE = 32,     /* … of a service */
    CONFIG_MAX_SOCKET = 107,     /* … of the path of a Unix socket */
};

/* name, *.name, an IPv4 or IPv6 address, the latter in brackets before a port */
struct config_destination {
    char host[CONFIG_MAX_HOST + 1]; /* in small letters, without *. and brackets */
    bool below;                     /* *.name: the names below host, but not host */
    bool is_address;
    uint16_t port; /* 0: any */
};

/* sha256/BASE64 or sha256:HEX */
const char *config_read_pin(const char *text, uint8_t ret_hash[CONFIG_PIN_SIZE]);

const char *config_read_destination(const char *text, struct config_destination *ret_destination);

/* Where a tunnel or the SOCKS door listens: an absolute path (port 0), or a port of a loopback
 * address. */
struct config_door {
    bool v6; /* [::1] */
    uint16_t port;
};
const char *config_read_door(const char *text, struct config_door *ret_door);

/* HOST:PORT */
struct config_target {
    char host[CONFIG_MAX_HOST + 1]; /* in small letters, without brackets */
    char service[CONFIG_MAX_SERVICE + 1];
    uint16_t port; /* 0: service is a name */
};
const char *config_read_target(const char *text, struct config_target *ret_target);
/* A name or an address, without brackets, port and *. */
const char *config_check_host(const char *text);
/* One host and one port: a destination that is not below something, with its port. */
const char *config_read_endpoint(const char *text, struct config_destination *ret_endpoint);

/* The number of a user or group. *ret_is_number: text is one; otherwise it is a name, which only
 * the system can find, and *ret_id is 0. */
const char *config_read_id(const char *text, bool *ret_is_number, uint32_t *ret_id);

/*
 * Where an option of type FILE leads: the path itself, or for cred:NAME the file NAME in
 * $CREDENTIALS_DIRECTORY, where systemd puts what LoadCredential= names. path: n_path bytes;
 * nothing is looked for in the file system.
 */
const char *config_file_path(const char *text, char *path, size_t n_path);

/* The same without the environment: text is an absolute path or cred:NAME. */
const char *config_check_file(const char *text);
