"""Being somebody else for a moment, as root: the kernel notes who connects when he does.

somebody(uid, gid, groups)   a context: the process is that user, its group and no other groups than these.
"""
import contextlib
import os

NOBODY = 65534


@contextlib.contextmanager
def somebody(uid=NOBODY, gid=NOBODY, groups=()):
    before = os.getgroups()
    os.setgroups(list(groups))
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)
