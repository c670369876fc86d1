#!/usr/bin/env python3
"""Attached streams under load: both directions at once in random pieces with pauses and half closes, byte for byte; how many
system calls that takes; how much memory.

TCPBROKER_FULL=1 sends 10 GiB instead of 64 MiB."""
import hashlib
import os
import random
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import servers  # noqa: E402
from attached import Fds  # noqa: E402
from ca import certificates  # noqa: E402
from harness import OwnDaemonTestCase, Daemon, main, seconds, wait_until  # noqa: E402

FULL = os.environ.get("TCPBROKER_FULL") == "1"
TOTAL = 10 << 30 if FULL else 64 << 20  # of both directions
LIMIT = 3600 if FULL else 120
BLOCK = random.Random(1).randbytes(1 << 20)


class End:
    """One end of a stream, non-blocking: sends `total` bytes in random pieces, receives until the end; both are hashed."""

    def __init__(self, sock, total, seed, tls):
        self.sock, self.left, self.tls = sock, total, tls
        self.random = random.Random(seed)
        self.sent, self.heard = hashlib.sha256(), hashlib.sha256()
        self.n_sent = self.n_heard = 0
        self.pending = memoryview(b"")
        self.shut = self.ended = False
        self.pause_until = 0.0
        sock.setblocking(False)

    def wants(self):
        """What to wait for: (reading, writing)."""
        now = time.monotonic()
        return not self.ended, not self.shut and now >= self.pause_until

    def send(self):
        if not self.pending and self.left:
            n = min(self.left, self.random.choice((1, 100, 1448, 16384, 16385, 65536, 200000)))
            at = self.random.randrange(len(BLOCK) - n)
            self.pending = memoryview(BLOCK)[at:at + n]
            self.sent.update(self.pending)
            if self.random.random() < (0.0002 if FULL else 0.005):
                self.pause_until = time.monotonic() + self.random.random() * 0.05
        if self.pending:
            n = self.sock.send(self.pending)
            self.pending = self.pending[n:]
            self.left -= n
            self.n_sent += n
            return
        self.shut = True
        if not self.tls:
            self.sock.shutdown(socket.SHUT_WR)

    def receive(self):
        data = self.sock.recv(self.random.choice((1000, 65536, 262144)))
        if data:
            self.heard.update(data)
            self.n_heard += len(data)
        else:
            self.ended = True

    def step(self, readable, writable):
        for ready, action in ((readable, self.receive), (writable, self.send)):
            if ready:
                try:
                    action()
                except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    pass


def run(end, until, deadline):
    """Serve one end until both its directions have ended (of TLS: until all is sent and heard)."""
    while not until(end):
        if time.monotonic() > deadline:
            raise AssertionError(f"standstill: {end.n_sent} sent, {end.left} left, {end.n_heard} heard")
        reading, writing = end.wants()
        pending = end.tls and end.sock.pending() > 0
        readable, writable, _ = select.select([end.sock] if reading else [], [end.sock] if writing else [], [],
                                              0 if pending else 0.01)
        end.step(bool(readable) or pending, bool(writable))


class Bulk(OwnDaemonTestCase):
    def both_ways(self, context):
        self.daemon = self.use(Daemon("--cacerts", certificates().cacerts))
        server = self.use(servers.Peer(tls=context))
        fds = Fds(self.daemon)
        self.addCleanup(fds.close)
        if context:
            result, stream = fds.attach(server.port, secure=True)
            peer = server.take()
        else:
            number = fds.call("TCPConnect", ["127.0.0.1", server.port])["socket"]
            peer = server.take()
            peer.sendall(b"ahead")
            wait_until(lambda: fds.call("Broker.List")["sockets"][0]["bytes_in"] == 5, what="reading ahead")
            result, stream = fds.ask("TCPAttach", [number])
            self.assertEqual(servers.read_exactly(stream, 5), b"ahead")
        self.assertFalse(result["direct"])
        self.addCleanup(stream.close)
        deadline = time.monotonic() + seconds(LIMIT)
        local, far = End(stream, TOTAL // 2, 2, False), End(peer, TOTAL // 2, 3, context is not None)
        failures, most = [], [self.daemon.rss_kib()]
        first = most[0]

        def guarded(end, until):
            try:
                run(end, until, deadline)
            except BaseException as error:  # told by the test's thread
                failures.append(error)
        threads = [threading.Thread(target=guarded, args=(local, lambda end: end.shut and end.ended or failures)),
                   threading.Thread(target=guarded, args=(
                       far, lambda end: end.shut and (end.n_heard == TOTAL // 2 if end.tls else end.ended) or failures))]
        started = time.monotonic()
        threads[1].start()
        threads[0].start()
        while threads[1].is_alive():
            most[0] = max(most[0], self.daemon.rss_kib())
            threads[1].join(0.05)
        if context:  # Python's half of the end: close_notify, after all was heard
            peer.settimeout(seconds(10))
            raw = peer.unwrap()
            raw.close()
        threads[0].join()
        took = time.monotonic() - started
        self.assertEqual(failures, [])
        self.assertEqual((local.n_sent, local.n_heard, far.n_sent, far.n_heard), (TOTAL // 2,) * 4)
        self.assertEqual(local.sent.digest(), far.heard.digest())
        self.assertEqual(far.sent.digest(), local.heard.digest())
        stream.close()
        wait_until(lambda: not fds.call("Broker.List")["sockets"], what="its end")
        if not self.daemon.sanitized():
            self.assertLess(most[0] - first, 4096, "KiB more than before")
        print(f"{'TLS' if context else 'plain'}: {TOTAL / (1 << 30):.2f} GiB in {took:.1f} s, {TOTAL / took / (1 << 20):.0f} MiB/s, "
              f"{most[0] - first} KiB more memory", file=sys.stderr)

    def test_tls13(self):
        self.both_ways(servers.tls13())

    def test_tls12(self):
        self.both_ways(servers.tls12())

    def test_plain(self):
        self.both_ways(None)


@unittest.skipUnless(shutil.which("strace"), "no strace")
class SystemCalls(OwnDaemonTestCase):
    """What the io thread does, seen by strace."""

    def setUp(self):
        super().setUp()
        self.daemon = self.use(Daemon("--cacerts", certificates().cacerts, config={"threads.io": "1"}))
        if self.daemon.sanitized():
            self.skipTest("a sanitizer makes system calls of its own")
        self.fds = Fds(self.daemon)
        self.addCleanup(self.fds.close)

    def is_traced(self, task):
        with open(f"/proc/{self.daemon.pid}/task/{task}/status", encoding="ascii", errors="replace") as file:
            return "TracerPid:\t0\n" not in file.read()

    def calls(self, action):
        """{name: how often} while action() runs."""
        with tempfile.NamedTemporaryFile(prefix="tcpbroker-strace-") as file:
            tracer = subprocess.Popen(["strace", "-f", "-qq", "-o", file.name, "-p", str(self.daemon.pid)],
                                      stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
            try:
                def traced():
                    if tracer.poll() is not None:
                        self.skipTest("strace may not be used here: " + tracer.stderr.read().decode()[:200])
                    return all(self.is_traced(task) for task in os.listdir(f"/proc/{self.daemon.pid}/task"))
                wait_until(traced, what="strace")
                action()
                time.sleep(0.1)
            finally:
                tracer.send_signal(signal.SIGINT)
                tracer.wait(seconds(10))
                tracer.stderr.close()
            with open(file.name, encoding="utf-8", errors="replace") as text:
                found = {}
                for name in re.findall(r"^\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed>)", text.read(), re.M):
                    found[name] = found.get(name, 0) + 1
        return found

    def test_round_trips(self):
        n = 500
        server = self.use(servers.Server(tls=servers.tls_context()))
        _, stream = self.fds.attach(server.port, secure=True)
        self.addCleanup(stream.close)

        def action():
            for _ in range(n):
                stream.sendall(b"x" * 64)
                servers.read_exactly(stream, 64)
        found = self.calls(action)
        print(f"{n} round trips of 64 bytes: {found}", file=sys.stderr)
        for forbidden in ("futex", "timerfd_settime", "mmap", "munmap", "brk", "epoll_ctl"):
            # a thread that waits has one when strace comes
            self.assertLess(found.get(forbidden, 0), n // (10 if forbidden == "futex" else 20), found)
        # there: epoll_wait, recv, write; back: epoll_wait, read, send
        self.assertLess(sum(found.values()), 10 * n, found)

    def bulk(self, behaviour, action, total):
        server = self.use(servers.Server(behaviour, tls=servers.tls_context()))
        _, stream = self.fds.attach(server.port, secure=True)
        self.addCleanup(stream.close)
        found = self.calls(lambda: action(stream))
        per_mib = {name: round(count / (total >> 20), 1) for name, count in found.items()}
        print(f"{total >> 20} MiB, system calls for each: {per_mib}", file=sys.stderr)
        self.assertLess(found.get("futex", 0), 50, found)
        self.assertLess(found.get("mmap", 0) + found.get("brk", 0) + found.get("munmap", 0), 50, found)
        return found

    def test_bulk_down(self):
        total = 64 << 20
        found = self.bulk(lambda connection: [connection.sendall(BLOCK) for _ in range(total >> 20)],
                          lambda stream: servers.read_exactly(stream, total), total)
        # 64 records a MiB: several at a time
        self.assertLess(found["read"] / (total >> 20), 40, found)
        self.assertLess(found["sendto"] / (total >> 20), 40, found)

    def test_bulk_up(self):
        total = 64 << 20

        def action(stream):
            for _ in range(total >> 20):
                stream.sendall(BLOCK)
            stream.shutdown(socket.SHUT_WR)
            self.assertEqual(stream.recv(1), b"")
        found = self.bulk(servers.discard, action, total)
        # 64 records a MiB, four with each send(2)
        self.assertLess((found.get("write", 0) + found["sendto"]) / (total >> 20), 24, found)


if __name__ == "__main__":
    main()
