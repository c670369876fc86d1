#include "net/own_address.h"

#include <errno.h>
#include <unistd.h>

/* The near end of the way to the address. */
static int ask(int fd, const struct address *address, struct address *ret_near)
{
    ret_near->n_bytes = sizeof(ret_near->v6);
    if (connect(fd, &address->any, address->n_bytes) < 0 ||
        getsockname(fd, &ret_near->any, &ret_near->n_bytes) < 0)
        return -errno;
    return 0;
}

int address_is_own(const struct address *address)
{
    struct address far = *address, near;

    address_unmap(&far);
    if (address_is_loopback(&far))
        return 1;
    address_set_port(&far, 9); /* a datagram socket has no way to port 0; any other will do */
    int fd = socket(address_family(&far), SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno == EAFNOSUPPORT ? 0 : -errno; /* then nobody can be reached there, either */
    int r = ask(fd, &far, &near);
    close(fd);
    if (r == -EACCES) /* broadcast (ip(7)) */
        return 1;
    if (r)
        return r == -ENOMEM || r == -ENOBUFS ? r : 0;
    address_set_port(&near, 9);
    if (address_family(&near) == AF_INET6 && address_family(&far) == AF_INET6)
        near.v6.sin6_scope_id = far.v6.sin6_scope_id;
    return address_equal(&near, &far) || address_is_loopback(&near);
}
