"""The SOCKS5 door: programs that know proxies reach any destination by the broker; RFC 1928 to the byte."""
import os
import socket
import struct
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from doors import PAGE, DoorTestCase, HttpServer
from harness import seconds, wait_until

GREETING = b"\5\1\0"


def request(host, port, command=1):
    """host: bytes or str: a name; (family, text): an address."""
    if isinstance(host, tuple):
        address = bytes([1 if host[0] == socket.AF_INET else 4]) + socket.inet_pton(*host)
    else:
        name = host if isinstance(host, bytes) else host.encode()
        address = bytes([3, len(name)]) + name
    return bytes([5, command, 0]) + address + struct.pack(">H", port)


LOCALHOST = (socket.AF_INET, "127.0.0.1")


class SocksTestCase(DoorTestCase):
    def socks(self, text="", **more):
        lines = "".join(f"{key} = {value}\n" for key, value in more.items())
        return f"[socks]\nsocket = {self.path('s')}\n{lines}" + text

    def ask(self, message, where="s", greeting=GREETING, early=b""):
        """(socket, code, address, port) of the answer"""
        sock = self.enter(where)
        sock.sendall(greeting)
        self.assertEqual(servers.read_exactly(sock, 2), b"\5\0")
        sock.sendall(message + early)
        return (sock, *self.answer(sock))

    def answer(self, sock):
        head = servers.read_exactly(sock, 4)
        self.assertEqual((head[0], head[2]), (5, 0))
        size, family = {1: (4, socket.AF_INET), 4: (16, socket.AF_INET6)}[head[3]]
        rest = servers.read_exactly(sock, size + 2)
        return head[1], socket.inet_ntop(family, rest[:size]), struct.unpack(">H", rest[size:])[0]


class Curl(SocksTestCase):
    def curl(self, *arguments):
        try:
            done = subprocess.run(["curl", "-sS", *arguments], capture_output=True, text=True, timeout=seconds(30), check=False)
        except FileNotFoundError:
            self.skipTest("curl is not installed")
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_curl(self):
        """By the Unix socket and by the port; names looked up there and here; with TLS of its own on top."""
        from ca import certificates
        plain = self.use(HttpServer())
        secure = self.use(HttpServer(tls=servers.tls13()))
        port = servers.closed_port()
        self.start(self.socks(listen=f"127.0.0.1:{port}"))
        unix = f"socks5h://localhost{self.path('s')}"
        for proxy in (unix, f"socks5h://127.0.0.1:{port}", f"socks5://127.0.0.1:{port}"):
            with self.subTest(proxy):
                self.assertEqual(self.curl("--proxy", proxy, f"http://localhost:{plain.port}/"), PAGE.decode())
        self.assertEqual(self.curl("--proxy", unix, "--cacert", certificates().ca_file(), f"https://localhost:{secure.port}/"),
                         PAGE.decode())
        self.assertEqual(self.curl("--proxy", unix, f"http://127.0.0.1:{plain.port}/"), PAGE.decode())
        self.wait_stat("socks_connections", 0)
        self.assertEqual((self.stats()["socks_connections_total"], self.stats()["socks_failed"]), (5, 0))


class Answers(SocksTestCase):
    def test_reached(self):
        """BND.ADDR and BND.PORT are ours as the server sees us."""
        v4, v6 = self.use(servers.Peer()), self.use(servers.Peer(address="::1"))
        self.start(self.socks())
        for host, peer in ((LOCALHOST, v4), ("localhost", v4), ("127.0.0.1", v4), ((socket.AF_INET6, "::1"), v6),
                           ("::1", v6), ((socket.AF_INET6, "::ffff:127.0.0.1"), v4)):
            with self.subTest(host):
                sock, code, address, port = self.ask(request(host, peer.port))
                self.assertEqual(code, 0)
                connection = peer.take()
                self.assertEqual((address, port), connection.getpeername()[:2])
                connection.sendall(b"hello")
                self.assertEqual(servers.read_exactly(sock, 5), b"hello")
                sock.sendall(b"you")
                self.assertEqual(servers.read_exactly(connection, 3), b"you")
                connection.close()
                self.assertEqual(servers.read_to_end(sock), b"")
                sock.close()
        self.wait_stat("sockets", 0)

    def test_list_and_log(self):
        server = self.use(servers.Server())
        self.start(self.socks())
        sock, code, *_ = self.ask(request("localhost", server.port))
        self.assertEqual(code, 0)
        row, = self.rows()
        self.assertEqual((row["door"], row["hostname"], row["uid"], row["pid"], row["state"], row["secure"]),
                         ("socks", "localhost", os.getuid(), os.getpid(), "attached", False))
        self.exchange(sock)
        sock.close()
        self.daemon.wait_log(rf"socket \d+ closed: socks session \d+ uid {os.getuid()} pid {os.getpid()} host localhost .* "
                             "in 6 out 6 ")

    def test_not_reached(self):
        hole = self.use(servers.BlackHole())
        self.start(self.socks() + "[connect]\ntimeout = 300ms\n", resolver=True)
        cases = [(request(LOCALHOST, servers.closed_port()), 5), (request("localhost", servers.closed_port()), 5),
                 (request("no-such-host.invalid", 80), 4), (request("a..b", 80), 4), (request(b"\xff\xfe", 80), 4),
                 (request(LOCALHOST, hole.port), 6), (request("hang-a.test", 80), 6),
                 (request(LOCALHOST, 80, command=2), 7), (request(LOCALHOST, 80, command=3), 7), (request(LOCALHOST, 80, command=0), 7),
                 (b"\5\1\0\2xxxxxxx", 8), (b"\5\1\0\0", 8), (request(LOCALHOST, 0), 1), (request("", 80), 1),
                 (request(b"a\0b", 80), 1), (request("x" * 254, 80), 1), (request("a b", 80), 1)]
        for message, wanted in cases:
            with self.subTest(message):
                sock, code, address, port = self.ask(message)
                self.assertEqual((code, address, port), (wanted, "0.0.0.0", 0))
                self.assertIn(self.gone(sock), (b"", "reset"))
        self.assertEqual(self.stats()["socks_failed"], len(cases))
        self.wait_stat("sockets", 0)
        self.wait_stat("socks_connections", 0)
        self.daemon.wait_log(r"socks failed: session \d+ uid \d+ pid \d+: connecting to localhost port \d+: .* \[ECONNREFUSED\]")

    def test_unreachable(self):
        """An address that this host has no way to (a network of its own with nothing in it but the loopback)."""
        self.start(self.socks() + "[connect]\ntimeout = 500ms\n")
        _, code, *_ = self.ask(request((socket.AF_INET6, "2001:db8::1"), 9))
        self.assertIn(code, (3, 4, 6, 1))

    def test_methods(self):
        self.start(self.socks())
        for greeting, wanted in ((b"\5\1\0", b"\5\0"), (b"\5\2\2\0", b"\5\0"), (b"\5\xff" + bytes(range(255)), b"\5\0"),
                                 (b"\5\1\2", b"\5\xff"), (b"\5\0", b"\5\xff"), (b"\5\2\1\2", b"\5\xff"), (b"\4\1\0\x50", b""),
                                 (b"GET / HTTP/1.1\r\n\r\n", b""), (b"\0", b"")):
            with self.subTest(greeting):
                sock = self.enter("s")
                sock.sendall(greeting)
                got = b""
                try:
                    while len(got) < 2 and (data := sock.recv(100)):
                        got += data
                except ConnectionResetError:
                    pass
                self.assertEqual(got, wanted)
                if wanted != b"\5\0":
                    self.assertIn(self.gone(sock), (b"", "reset"))
                sock.close()
        self.wait_stat("socks_connections", 0)


class Pieces(SocksTestCase):
    def test_one_byte_at_a_time(self):
        server = self.use(servers.Server())
        self.start(self.socks())
        sock = self.enter("s")
        for byte in GREETING:
            sock.sendall(bytes([byte]))
        self.assertEqual(servers.read_exactly(sock, 2), b"\5\0")
        for byte in request("localhost", server.port):
            sock.sendall(bytes([byte]))
        self.assertEqual(self.answer(sock)[0], 0)
        self.exchange(sock)

    def test_all_at_once(self):
        """A client that does not wait; what is behind the request is the server's."""
        server = self.use(servers.Server())
        self.start(self.socks())
        early = os.urandom(100000)
        sock = self.enter("s")
        threading.Thread(target=sock.sendall, args=(GREETING + request("localhost", server.port) + early,), daemon=True).start()
        self.assertEqual(servers.read_exactly(sock, 2), b"\5\0")
        self.assertEqual(self.answer(sock)[0], 0)
        self.assertEqual(servers.read_exactly(sock, len(early)), early)

    def test_every_truncation(self):
        """Cut off anywhere: nothing is reached, nothing is left."""
        server = self.use(servers.Server())
        self.start(self.socks())
        for kind in (request("localhost", server.port), request(LOCALHOST, server.port),
                     request((socket.AF_INET6, "::1"), server.port)):
            whole = GREETING + kind
            for n in range(len(whole)):
                with self.enter("s") as sock:
                    sock.sendall(whole[:n])
                    if n % 2:
                        sock.shutdown(socket.SHUT_WR)
                        self.assertIn(servers.read_to_end(sock), (b"", b"\5\0"))
        self.wait_stat("socks_connections", 0)
        self.assertEqual(server.accepted, 0)
        stats = self.stats()
        self.assertEqual(stats["socks_failed"], stats["socks_connections_total"])

    def test_too_slow(self):
        server = self.use(servers.Server())
        self.start(self.socks(handshake_timeout="300ms"))
        whole = GREETING + request("localhost", server.port)
        socks = []
        for n in range(len(whole)):
            sock = self.enter("s")
            sock.sendall(whole[:n])
            socks.append(sock)
        for sock in socks:
            data = b"?"
            try:
                data = servers.read_to_end(sock)
            except ConnectionResetError:
                data = b""
            self.assertIn(data, (b"", b"\5\0"))
        self.assertEqual(self.count(r"socks failed: .*it did not say in time where to"), len(whole))
        self.assertEqual(server.accepted, 0)


class Life(SocksTestCase):
    def test_off_unless_asked_for(self):
        self.start()
        listening = subprocess.run(["ss", "-Hxlp"], capture_output=True, text=True, check=True).stdout
        self.assertEqual(sum(1 for line in listening.splitlines() if f"pid={self.daemon.pid}," in line), 1)

    def test_limit_of_clients(self):
        server = self.use(servers.Server())
        self.start(self.socks(clients=2))
        first, code, *_ = self.ask(request("localhost", server.port))
        self.assertEqual(code, 0)
        second = self.enter("s")
        self.wait_stat("socks_connections", 2)
        self.assertIn(self.gone(self.enter("s")), (b"", "reset"))
        self.daemon.wait_log(r"socks: program of uid \d+ pid \d+ turned away: socks\.clients is 2")
        self.assertEqual(self.stats()["socks_refused"], 1)
        second.close()
        self.wait_stat("socks_connections", 1)
        third, code, *_ = self.ask(request("localhost", server.port))
        self.assertEqual(code, 0)
        self.exchange(first)
        self.exchange(third)

    def test_gone_meanwhile(self):
        hole = self.use(servers.BlackHole())
        self.start(self.socks(), resolver=True)
        for message in (request(LOCALHOST, hole.port), request("hang-a.test", 80)):
            sock = self.enter("s")
            sock.sendall(GREETING + message)
            servers.read_exactly(sock, 2)
            wait_until(lambda: self.stats()["sockets"] == 1)
            sock.close()
            self.wait_stat("socks_connections", 0)
        self.assertEqual(self.count("the program has gone meanwhile"), 2)

    def test_half_close_and_many(self):
        def count(connection):
            connection.sendall(b"%d" % len(servers.read_to_end(connection)))

        server = self.use(servers.Server(count))
        self.start(self.socks())
        socks = [self.enter("s", timeout=60) for _ in range(200)]
        for sock in socks:
            sock.sendall(GREETING + request("localhost", server.port) + b"x" * 12345)
            sock.shutdown(socket.SHUT_WR)
        for sock in socks:
            self.assertEqual(servers.read_exactly(sock, 2), b"\5\0")
            self.assertEqual(self.answer(sock)[0], 0)
            self.assertEqual(servers.read_to_end(sock), b"12345")
        self.wait_stat("socks_connections", 0)
        self.wait_stat("sockets", 0)

    def test_reload(self):
        server = self.use(servers.Server())
        self.start()
        self.reload(self.socks())
        living, code, *_ = self.ask(request("localhost", server.port))
        self.assertEqual(code, 0)
        self.reload("")
        self.assertFalse(os.path.exists(self.path("s")))
        self.exchange(living)

    def test_stop(self):
        """Who has not asked yet is sent away at once, who waits for an answer when the time is over."""
        hole = self.use(servers.BlackHole())
        self.start(self.socks(), drain="300ms")
        idle = self.enter("s")
        idle.sendall(GREETING)
        servers.read_exactly(idle, 2)
        waiting = self.enter("s")
        waiting.sendall(GREETING + request(LOCALHOST, hole.port))
        servers.read_exactly(waiting, 2)
        wait_until(lambda: self.stats()["sockets"] == 1)
        self.daemon.terminate()
        for sock in (idle, waiting):
            self.assertIn(self.gone(sock), (b"", "reset"))
        self.assertEqual(self.daemon.wait_exit(), 0)


if __name__ == "__main__":
    unittest.main()
