"""Policy: a daemon in a network of its own, with nothing in it but the loopback and addresses that a test gives it, and a name
server that answers as the test wants.

NameServer     names: {name: [addresses]}, or a function that is asked each time; asked: what it was asked
NetTestCase    start(config, ...) runs the daemon there; inside() takes this thread there
"""
import contextlib
import ctypes
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import unittest

from doors import DoorTestCase
from harness import Daemon

CLONE_NEWNET = 0x40000000
A, AAAA = 1, 28


def why_not():
    if not shutil.which("unshare") or not shutil.which("ip"):
        return "needs unshare(1) and ip(8): util-linux, iproute2"
    run = subprocess.run(["unshare", "--mount", "--net", "ip", "link", "set", "lo", "up"], capture_output=True, text=True,
                         check=False)
    return None if run.returncode == 0 else "needs root, for namespaces: " + run.stderr.strip()


def setns(descriptor):
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET) < 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def inside(pid):
    """This thread is in the network of that process; sockets that it makes stay there."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(there)
        yield
    finally:
        setns(before)
        os.close(before)
        os.close(there)


class NameServer(threading.Thread):
    def __init__(self, pid, names):
        super().__init__(daemon=True)
        self.names, self.asked = names, []
        with inside(pid):
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.sock.bind(("127.0.0.1", 53))
        self.start()

    def run(self):
        while True:
            query, sender = self.sock.recvfrom(4096)
            if not query:
                return
            self.sock.sendto(self.reply(query), sender)

    def reply(self, query):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode("latin-1"))
            at += 1 + query[at]
        name, kind = ".".join(labels).lower(), struct.unpack(">H", query[at + 1:at + 3])[0]
        self.asked.append((name, kind))
        found = self.names.get(name)
        if callable(found):
            found = found(kind)
        known = found is not None
        answers = [socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
                   for address in found or () if (":" in address) == (kind == AAAA)]
        reply = query[:2] + struct.pack(">HHHHH", 0x8180 if known else 0x8183, 1, len(answers), 0, 0) + query[12:at + 5]
        for data in answers:
            reply += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(data)) + data
        return reply

    def close(self):
        # a datagram to itself: empty, which no query is
        self.sock.sendto(b"", ("127.0.0.1", 53))
        self.join()
        self.sock.close()


@unittest.skipIf(why_not(), why_not())
class NetTestCase(DoorTestCase):
    FILES = {"hosts": "127.0.0.1 localhost\n::1 localhost\n", "nsswitch.conf": "hosts: files dns\nservices: files\n",
             "resolv.conf": "nameserver 127.0.0.1\noptions timeout:2 attempts:2\n",
             "services": "smtp 25/tcp\nhttps 443/tcp\n"}

    def start(self, text="", names=None, addresses=(), sets=(), **kw):
        """addresses: that the host has beside the loopback's."""
        files = tempfile.mkdtemp(prefix="tcpbroker-policy-")
        self.addCleanup(shutil.rmtree, files)
        for name, content in self.FILES.items():
            with open(os.path.join(files, name), "w", encoding="utf-8") as file:
                file.write(content)
        daemon = Daemon(*[word for each in sets for word in ("--set", each)],
                        config=self.trusting(text + "[connect]\ncache_time = 0\nnegative_cache_time = 0\nbackoff_after = 0\n"),
                        **kw)
        steps = ["ip link set lo up"]
        steps += [f"ip address add {each}/{128 if ':' in each else 32} dev lo{' nodad' if ':' in each else ''}"
                  for each in addresses]
        steps += [f"mount --bind {files}/{name} $(readlink -f /etc/{name})" for name in self.FILES
                  if os.path.exists(f"/etc/{name}")]
        daemon.command = ["unshare", "--mount", "--net", "sh", "-c", " && ".join(steps) + ' && exec "$@"', "sh", *daemon.command]
        self.daemon = daemon
        daemon.__enter__()
        self.addCleanup(daemon.__exit__, None, None, None)
        self.server = NameServer(daemon.pid, names or {})
        self.addCleanup(self.server.close)
        self.client = daemon.client()
        self.addCleanup(self.client.close)
        return daemon

    def inside(self):
        return inside(self.daemon.pid)
