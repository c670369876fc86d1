#!/usr/bin/env python3
"""Attached streams where something is short: descriptors, sockets, time; and clients that do not read or die."""
import os
import resource
import shutil
import signal
import socket
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import servers  # noqa: E402
from attached import Fds, TlsPeer  # noqa: E402
from ca import certificates  # noqa: E402
from harness import Daemon, Elapsed, OwnDaemonTestCase, main, seconds, wait_until  # noqa: E402

TRUST = ("--cacerts", certificates().cacerts)
ONE_THREAD = {"threads.io": "1", "threads.dial": "1"}


class Case(OwnDaemonTestCase):
    def start(self, config=None, prefix=(), **kw):
        self.daemon = Daemon(*TRUST, config=ONE_THREAD | (config or {}), **kw)
        self.daemon.command = [*prefix, *self.daemon.command]
        self.use(self.daemon)
        return self.daemon

    def open(self):
        fds = Fds(self.daemon)
        self.addCleanup(fds.close)
        fds.call("Broker.Hello")
        return fds

    def tls_pair(self, fds):
        server = self.use(servers.Peer())
        found = []
        accepting = threading.Thread(target=lambda: found.append(TlsPeer(server.take(), servers.tls13())))
        accepting.start()
        result, stream = fds.attach(server.port, secure=True)
        accepting.join()
        self.addCleanup(stream.close)
        self.addCleanup(found[0].close)
        return stream, result["socket"], found[0]


class Unread(Case):
    def check_own(self, message, streams):
        """Each answer came with its own descriptor."""
        self.assertNotIn("error", message)
        self.assertEqual(len(streams), 1)
        self.assertEqual(streams[0].getsockname()[1], message["result"]["local_port"])
        streams[0].sendall(b"%d" % message["id"])
        self.assertEqual(streams[0].recv(20), b"%d" % message["id"])
        streams[0].close()

    def test_two_hundred_attaches_that_nobody_reads(self):
        self.start()
        server = self.use(servers.Server())
        fds, watcher = self.open(), self.open()
        before = self.daemon.n_sockets()
        ids = [fds.send("TCPConnect", hostname="127.0.0.1", port=server.port, attach=True) for _ in range(200)]
        wait_until(lambda: watcher.call("Broker.Stats")["attached"] == 200, what="200 streams")
        seen = []
        for _ in ids:
            message, streams = fds.read()
            seen.append(message["id"])
            self.check_own(message, streams)
        self.assertEqual(sorted(seen), ids)
        wait_until(lambda: self.daemon.n_sockets() == before, what="nothing left")

    def test_descriptors_among_other_answers(self):
        self.start()
        server = self.use(servers.Server())
        fds = self.open()
        for _ in range(60):
            fds.send("Broker.Hello")
            fds.send("TCPConnect", hostname="127.0.0.1", port=server.port, attach=True)
            fds.send("TCPName2Addr", ["127.0.0.1"])
        for _ in range(180):
            message, streams = fds.read()
            if "fds" in message["result"]:
                self.check_own(message, streams)
            else:
                self.assertEqual(streams, [])

    def test_they_are_bounded(self):
        """A client that never reads cannot take all descriptors: it is not read from any more."""
        self.start()
        server = self.use(servers.Server(servers.silent))
        fds, watcher = self.open(), self.open()
        before = self.daemon.n_sockets()
        fds.sock.settimeout(0.5)
        asked = 0
        with self.assertRaises(TimeoutError):
            for asked in range(20000):
                fds.send("TCPConnect", hostname="127.0.0.1", port=server.port, attach=True)
        self.assertLess(self.daemon.n_sockets() - before, 600)
        self.assertLess(watcher.call("Broker.Stats")["attached"], 2000)
        fds.close()
        wait_until(lambda: self.daemon.n_sockets() < before, what="nothing left")

    @unittest.skipUnless(shutil.which("setpriv") and shutil.which("prlimit"), "no setpriv, no prlimit (util-linux)")
    def test_too_many_under_way(self):
        """ETOOMANYREFS: the kernel lets an unprivileged daemon have as many descriptors under way as it may have open. It
        waits, without spinning, and goes on when some were read."""
        prefix = ["prlimit", "--nofile=130:130"]
        if os.getuid() == 0:
            prefix += ["setpriv", "--bounding-set", "-sys_resource,-sys_admin"]
        self.start(prefix=prefix)
        server = self.use(servers.Server())
        fds, watcher = self.open(), self.open()
        for round in range(4):
            for _ in range(40):
                fds.send("TCPConnect", hostname="127.0.0.1", port=server.port, attach=True)
            wait_until(lambda: watcher.call("Broker.Stats")["attached"] == 40 * (round + 1), what="the streams")

        def cpu():
            with open(f"/proc/{self.daemon.pid}/stat", encoding="ascii") as file:
                return sum(int(x) for x in file.read().rsplit(")", 1)[1].split()[11:13]) / os.sysconf("SC_CLK_TCK")
        start = cpu()
        time.sleep(1)
        self.assertLess(cpu() - start, 0.2, "it spins")
        for _ in range(160):
            self.check_own(*fds.read())
        self.assertEqual(watcher.call("Broker.Stats")["requests_failed"], 0)

    def test_a_client_that_dies_with_descriptors_under_way(self):
        self.start()
        server, secure = self.use(servers.Server()), self.use(servers.Server(tls=servers.tls_context()))
        watcher = self.open()
        before = self.daemon.n_sockets()
        fds = self.open()
        for _ in range(60):
            fds.send("TCPConnect", hostname="127.0.0.1", port=server.port, attach=True)
        for _ in range(20):
            fds.send("TCPConnect", hostname="localhost", port=secure.port, secure=True, attach=True)
        wait_until(lambda: watcher.call("Broker.Stats")["attached"] == 80, 20, "80 streams")
        fds.close()
        wait_until(lambda: self.daemon.n_sockets() == before, what="nothing left")
        self.assertEqual(watcher.call("Broker.List")["sockets"], [])
        with server.lock:
            wait_until(lambda: not [one for one in server.connections if one.fileno() >= 0 and one.recv(
                1, socket.MSG_PEEK | socket.MSG_DONTWAIT)], what="their ends")


class Short(Case):
    def test_limits_sockets(self):
        self.start({"limits.sockets": 3})
        plain = self.use(servers.Server())
        fds = self.open()
        pairs = [self.tls_pair(fds) for _ in range(3)]
        for secure in (False, True):
            error = fds.error("TCPConnect", hostname="localhost", port=plain.port, secure=secure, attach=True)
            self.check_error(error, -10024, "EMFILE")
        stream, number, peer = pairs[0]
        stream.close()
        self.assertEqual(peer.recv(1), b"")
        peer.half_close()
        wait_until(lambda: len(fds.call("Broker.List")["sockets"]) == 2, what="its end")
        for _ in range(20):  # these are not the broker's any more
            self.addCleanup(fds.attach(plain.port)[1].close)
        # those of a session that has ended count, too
        fds.close()
        other = self.open()
        number = other.call("TCPConnect", ["127.0.0.1", plain.port])["socket"]
        self.check_error(other.error("TCPConnect", ["127.0.0.1", plain.port]), -10024, "EMFILE")
        other.call("TCPClose", [number, 2])

    def test_no_descriptors_left_in_the_daemon(self):
        self.start()
        server = self.use(servers.Server(tls=servers.tls_context()))
        fds = self.open()
        number = fds.call("TCPConnect", ["localhost", server.port, True])["socket"]
        soft, hard = resource.prlimit(self.daemon.pid, resource.RLIMIT_NOFILE)
        for spare in (0, 1):
            resource.prlimit(self.daemon.pid, resource.RLIMIT_NOFILE, (max(self.daemon.fds()) + 1 + spare, hard))
            try:
                error = fds.error("TCPAttach", [number])
            finally:
                resource.prlimit(self.daemon.pid, resource.RLIMIT_NOFILE, (soft, hard))
            self.check_error(error, -10024, "EMFILE")
            self.assertEqual(fds.call("TCPSend", [number, "hello"])["sent"], 5)
            self.assertEqual(fds.call("TCPReceive", socket=number, exact=5)["data"], "hello")
        result, stream = fds.ask("TCPAttach", [number])
        stream.sendall(b"hello")
        self.assertEqual(servers.read_exactly(stream, 5), b"hello")
        stream.close()


class Stop(Case):
    def test_relays_go_on_while_draining(self):
        """Until stop.drain_timeout; then close_notify."""
        self.start({"stop.drain_timeout": "1500ms"})
        fds = self.open()
        stream, _, peer = self.tls_pair(fds)
        other, _, other_peer = self.tls_pair(self.open())
        with Elapsed() as elapsed:
            self.daemon.terminate()
            with self.assertRaises((EOFError, ConnectionResetError)):
                fds.read()
            for round in range(10):
                stream.sendall(b"there %d" % round)
                self.assertEqual(peer.recv(100), b"there %d" % round)
                peer.sendall(b"back %d" % round)
                self.assertEqual(stream.recv(100), b"back %d" % round)
            self.assertTrue(self.daemon.alive())
            self.assertEqual(peer.recv(100), b"", "close_notify")
            self.assertEqual(stream.recv(100), b"")
            self.assertEqual(self.daemon.wait_exit(), 0)
        self.assertGreater(elapsed.ms, 1300)
        self.assertEqual(other_peer.recv(100), b"")

    def test_the_last_relay_ends_the_drain(self):
        self.start({"stop.drain_timeout": "60s"})
        stream, _, peer = self.tls_pair(self.open())
        self.daemon.terminate()
        stream.sendall(b"x" * 100000)
        stream.shutdown(socket.SHUT_WR)
        heard = bytearray()
        while data := peer.recv(65536):
            heard += data
        self.assertEqual(len(heard), 100000)
        peer.half_close()
        self.assertEqual(stream.recv(1), b"")
        self.assertEqual(self.daemon.wait_exit(10), 0)

    def test_a_second_signal(self):
        self.start({"stop.drain_timeout": "60s"})
        stream, _, peer = self.tls_pair(self.open())
        self.daemon.terminate()
        self.daemon.wait_log("drain|stop|shutting")
        self.daemon.terminate()
        self.assertEqual(peer.recv(1), b"")
        self.assertEqual(self.daemon.wait_exit(10), 0)

    def test_a_closing_one_is_waited_for(self):
        self.start({"stop.drain_timeout": "60s", "io.close_timeout": "500ms"})
        stream, number, peer = self.tls_pair(self.open())
        stream.sendall(b"last words")
        stream.close()
        self.assertEqual(peer.recv(100), b"last words")
        self.daemon.terminate()
        self.assertEqual(peer.recv(100), b"")
        self.assertEqual(self.daemon.wait_exit(10), 0)


if __name__ == "__main__":
    main()
