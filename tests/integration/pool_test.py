#!/usr/bin/env python3
"""Warm connections ([pool "name"]): ready before anybody asks, never given out stale or to the wrong one, given back by TCPClose.
Who has made how many handshakes, and when, is counted at the far end."""
import array
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
import x509
from harness import Daemon, Elapsed, OwnDaemonTestCase, daemon_path, main, seconds, wait_until

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
REFUSED, VERIFY, INVALID_PARAMS = -10061, -33010, -32602
NOBODY = 65534


def section(name, port, host="localhost", **options):
    lines = [f'[pool "{name}"]', f"connect = {host}:{port}"] + [f"{key} = {value}" for key, value in options.items()]
    return "\n".join(lines) + "\n"


class World:
    """A CA that the daemon believes, and certificates of it."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="tcpbroker-pool-")
        self.maker = x509.Maker(self.folder)
        self.root = self.maker.authority("the root")
        self.other = self.maker.authority("another root")
        self.cacerts = os.path.join(self.folder, "cacerts")
        os.mkdir(self.cacerts)
        self.trust(self.root)
        self.good = self.maker.files(self.maker.server(self.root, ["DNS:localhost", "DNS:one.test", "IP:127.0.0.1"]))

    def trust(self, certificate):
        with open(os.path.join(self.cacerts, "ca.pem"), "w", encoding="ascii") as file:
            file.write(certificate.pem)

    def context(self, version=V13, alpn=None):
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(*self.good)
        made.minimum_version = made.maximum_version = version
        if alpn:
            made.set_alpn_protocols(alpn)
        return made


class Origin(servers.Server):
    """An echo server that knows the ports of who has come, and how many have gone."""

    def __init__(self, behaviour=servers.echo, **kw):
        super().__init__(behaviour, **kw)
        self.ports = []
        self.gone = 0

    def on_connection(self, connection):
        with self.lock:
            self.ports.append(connection.getpeername()[1])
        super().on_connection(connection)

    def _serve(self, raw):
        super()._serve(raw)
        with self.lock:
            self.gone += 1

    def n(self):
        with self.lock:
            return len(self.ports)


class PoolCase(OwnDaemonTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.world = World()

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.world.folder, ignore_errors=True)
        super().tearDownClass()

    def setUp(self):
        super().setUp()
        self.world.trust(self.world.root)

    def start(self, *pools, more="", **kw):
        config = f"[tls]\nsystem_store = no\ncacerts = {self.world.cacerts}\n{more}[log]\nlevel = debug\n{''.join(pools)}"
        self.daemon = self.use(Daemon(config=config, **kw))
        self.client = self.use(self.daemon.client())
        return self.daemon

    def stat(self, name):
        return self.client.call("Broker.Stats")[name]

    def wait_idle(self, n):
        wait_until(lambda: self.stat("pool_idle") == n, what=f"{n} connections at rest")

    def connect(self, origin, host="localhost", client=None, **kw):
        kw.setdefault("secure", origin.tls is not None)
        return (client or self.client).call("TCPConnect", {"hostname": host, "port": origin.port, **kw})

    def works(self, number, text="hello", client=None):
        client = client or self.client
        client.call("TCPSend", [number, text])
        self.assertEqual(client.call("TCPReceive", {"socket": number, "exact": len(text)})["data"], text)

    def close(self, number, client=None, **kw):
        return (client or self.client).call("TCPClose", {"socket": number, "reuse": True, **kw})["reused"]


class Taking(PoolCase):
    def test_the_handshake_is_done_before(self):
        for tls in (None, V12, V13):
            with self.subTest(tls=tls), Origin(tls=tls and self.world.context(tls)) as origin:
                self.start(section("x", origin.port, secure="yes" if tls else "no", min_idle=3))
                self.wait_idle(3)
                wait_until(lambda: origin.n() == 3)
                ready = list(origin.ports)
                got = self.connect(origin)
                self.assertIs(got["pooled"], True)
                self.assertIn(got["local_port"], ready)
                self.assertEqual([got["timing_us"][key] for key in ("resolve", "connect", "handshake")], [0, 0, 0])
                if tls:
                    self.assertTrue(got["tls"]["verified"])
                    self.assertEqual(got["tls"]["version"], {V12: "TLSv1.2", V13: "TLSv1.3"}[tls])
                self.works(got["socket"])
                self.wait_idle(3)
                wait_until(lambda: origin.n() == 4, what="one for the one taken")
                self.client.call("TCPClose", [got["socket"]])
                self.assertEqual(self.stat("connects_ok"), 1)
                self.assertEqual((self.stat("pool_taken"), self.stat("pool_missed"), self.stat("pool_stale")), (1, 0, 0))
                if tls:
                    self.assertEqual(self.stat("handshakes_ok"), 4)

    def test_attached(self):
        for tls in (None, V13):
            with self.subTest(tls=tls), Origin(tls=tls and self.world.context(tls)) as origin:
                self.start(section("x", origin.port, secure="yes" if tls else "no"))
                self.wait_idle(1)
                with socket.socket(socket.AF_UNIX) as raw:
                    raw.settimeout(seconds(10))
                    raw.connect(self.daemon.socket_path)
                    raw.sendall(b'{"jsonrpc":"2.0","id":1,"method":"TCPConnect","params":{"hostname":"localhost","port":%d,'
                                b'"secure":%s,"attach":true}}\n' % (origin.port, b"true" if tls else b"false"))
                    line, ancillary, _, _ = raw.recvmsg(8192, socket.CMSG_SPACE(4))
                    self.assertIn(b'"pooled":true', line)
                    fds = array.array("i")
                    fds.frombytes(ancillary[0][2])
                    with socket.socket(fileno=fds[0]) as stream:
                        stream.settimeout(seconds(10))
                        stream.sendall(b"hello")
                        self.assertEqual(servers.read_exactly(stream, 5), b"hello")

    def test_what_matches(self):
        with Origin(tls=self.world.context()) as origin, Origin(tls=self.world.context()) as another:
            self.start(section("x", origin.port, secure="yes"), section("v6", origin.port, "127.0.0.1", secure="yes"))
            self.wait_idle(2)
            for wanted in ({"host": "LocalHost"}, {"server_name": "LOCALHOST"}, {"verify": True}, {"profile": "default"},
                           {"family": "any"}, {"min_tls": "1.2"}, {"host": "127.0.0.1"}):
                with self.subTest(wanted=wanted):
                    self.assertIn("pooled", self.connect(origin, **wanted))
                    self.wait_idle(2)
            for other in ({"verify": False}, {"server_name": "one.test"}, {"alpn": ["a"]}, {"min_tls": "1.3"}, {"explain": True},
                          {"family": "ipv4"}, {"local_address": "127.0.0.1"}, {"host": "127.0.0.1", "server_name": "localhost"}):
                with self.subTest(other=other):
                    self.assertNotIn("pooled", self.connect(origin, **other))
            self.assertNotIn("pooled", self.connect(another))
            self.assertEqual(self.stat("pool_missed"), 0, "to miss one there must be a pool")

    def test_addresses_in_any_spelling(self):
        with Origin(tls=self.world.context(), address="::1") as origin:
            self.start(section("x", origin.port, "[::1]", secure="yes", verify="no"))
            for host in ("::1", "[::1]", "0:0:0:0:0:0:0:1"):
                self.wait_idle(1)
                self.assertIn("pooled", self.connect(origin, host, verify=False))

    def test_alpn_and_server_name(self):
        with Origin(tls=self.world.context(alpn=["b"])) as origin:
            self.start(section("x", origin.port, "127.0.0.1", secure="yes", server_name="one.test", alpn="a b"))
            self.wait_idle(1)
            got = self.connect(origin, "127.0.0.1", server_name="one.test", alpn=["a", "b"])
            self.assertEqual((got["pooled"], got["tls"]["alpn"], got["tls"]["server_name"]), (True, "b", "one.test"))
            self.assertNotIn("pooled", self.connect(origin, "127.0.0.1", server_name="one.test", alpn=["b", "a"]))
            self.assertNotIn("pooled", self.connect(origin, "127.0.0.1", alpn=["a", "b"]))

    def test_many_at_once(self):
        n = 64
        with Origin(tls=self.world.context()) as origin:
            self.start(section("x", origin.port, secure="yes", min_idle=32, max_idle=32), more="[limits]\nsockets = 1000\n")
            self.wait_idle(32)
            clients = [self.use(self.daemon.client()) for _ in range(n)]
            for client in clients:
                client.send("TCPConnect", {"hostname": "localhost", "port": origin.port, "secure": True}, id=1)
            results = [client.wait(1) for client in clients]
            self.assertEqual(len({result["local_port"] for result in results}), n, "each has one of its own")
            self.assertGreaterEqual(sum("pooled" in result for result in results), 32)
            for i, (client, result) in enumerate(zip(clients, results)):
                self.works(result["socket"], f"number {i}", client)
            self.assertEqual(self.stat("pool_taken") + self.stat("pool_missed"), n)
            self.assertEqual(self.stat("pool_stale"), 0)
            self.wait_idle(32)

    def test_limit_of_sockets(self):
        with Origin() as origin:
            self.start(section("x", origin.port, min_idle=2), more="[limits]\nsockets = 1\n")
            self.wait_idle(2)
            self.connect(origin)
            self.assertEqual(self.client.error("TCPConnect", {"hostname": "localhost", "port": origin.port}).code, -10024)
            self.wait_idle(2)


class Stale(PoolCase):
    def test_closed_by_the_server(self):
        for tls in (None, V12, V13):
            with self.subTest(tls=tls):
                ends = threading.Event()

                def until_told(connection):
                    connection.settimeout(0.05)
                    while not ends.is_set():
                        try:
                            data = connection.recv(100)
                        except TimeoutError:
                            continue
                        if not data:
                            return
                        connection.sendall(data)

                with Origin(until_told, tls=tls and self.world.context(tls)) as origin:
                    self.start(section("x", origin.port, secure="yes" if tls else "no", min_idle=3))
                    self.wait_idle(3)
                    ends.set()
                    wait_until(lambda: origin.gone >= 3, what="the end of all at rest")
                    ends.clear()
                    got = self.connect(origin)
                    self.works(got["socket"])
                    self.check_stats("pool_stale", 3)

    def impatient(self, connection):
        connection.settimeout(seconds(0.2))
        try:
            servers.echo(connection)
        except TimeoutError:
            pass

    def test_a_server_that_does_not_wait(self):
        """It ends what has said nothing for a moment; what is given out works all the same."""
        for tls in (None, V13):
            with self.subTest(tls=tls), Origin(self.impatient, tls=tls and self.world.context(tls)) as origin:
                self.start(section("x", origin.port, secure="yes" if tls else "no", min_idle=4))
                self.wait_idle(4)
                for _ in range(5):
                    # then what rests has gone, or was made just now
                    wait_until(lambda: origin.n() == origin.gone, what="the end of all")
                    for _ in range(3):
                        got = self.connect(origin)
                        self.works(got["socket"])
                        self.client.call("TCPClose", [got["socket"], 2])
                wait_until(lambda: self.stat("pool_stale") >= 4)
                self.assertEqual(self.stat("requests_failed"), 0)

    def test_idle_time_below_the_server_s(self):
        with Origin(self.impatient, tls=self.world.context()) as origin:
            self.start(section("x", origin.port, secure="yes", min_idle=4, idle_time="50ms"))
            self.wait_idle(4)
            made = origin.n()
            while origin.n() < made + 12:  # they come and go
                got = self.connect(origin)
                self.works(got["socket"])
                self.client.call("TCPClose", [got["socket"], 2])
            self.assertGreater(self.stat("pool_taken"), 0)
            self.assertEqual((self.stat("pool_stale"), self.stat("requests_failed")), (0, 0))

    def test_the_log_says_that_idle_time_is_too_long(self):
        with Origin(lambda connection: None) as origin:
            daemon = self.start(section("x", origin.port))
            daemon.wait_log("pool x: localhost port .* ends connections that nobody has used; idle_time should be below")
            self.works_not_too_often(origin)

    def works_not_too_often(self, origin):
        self.assertLess(origin.n(), 6, "each end is followed by a longer pause")

    def test_a_server_that_speaks_first(self):
        for tls in (None, V13):
            with self.subTest(tls=tls), Origin(servers.banner(b"hello\n"), tls=tls and self.world.context(tls)) as origin:
                daemon = self.start(section("x", origin.port, secure="yes" if tls else "no", min_idle=2))
                daemon.wait_log("pool x: localhost port .* speaks first")
                self.wait_idle(0)
                made = origin.n()
                got = self.connect(origin)
                self.assertNotIn("pooled", got)
                self.assertEqual(self.client.call("TCPReceive", {"socket": got["socket"], "until": "\n"})["data"], "hello\n")
                self.assertEqual(origin.n(), made + 1, "none is made ahead any more")

    def test_idle_time(self):
        with servers.Peer(tls=self.world.context()) as peer:
            self.start(section("x", peer.port, secure="yes", idle_time="200ms"))
            first, second = peer.take(), peer.take()
            self.assertEqual(first.recv(1), b"", "it is ended in good order")
            self.assertEqual(second.recv(1), b"")
            self.assertEqual(self.stat("pool_stale"), 0)

    def test_max_age(self):
        with Origin() as origin:
            self.start(section("x", origin.port, max_age="300ms", min_idle=0))
            got = self.connect(origin)
            self.assertTrue(self.close(got["socket"]))
            got = self.connect(origin)
            self.assertTrue(got["pooled"])
            wait_until(lambda: self.client.call("Broker.List")["sockets"][0]["age_ms"] >= 300)
            self.assertFalse(self.close(got["socket"]))
            self.assertNotIn("pooled", self.connect(origin))


class Refill(PoolCase):
    def test_refused_and_there_again(self):
        port = servers.closed_port()
        daemon = self.start(section("x", port, "127.0.0.1", min_idle=2))
        daemon.wait_log("pool x: no connection to 127.0.0.1 port .* can be made")
        # what the pool is told does not count for others
        for _ in range(2):
            error = self.client.error("TCPConnect", {"hostname": "127.0.0.1", "port": port})
            self.assertEqual(error.code, REFUSED)
            self.assertNotIn("retry_after_ms", error.data)
        with Origin(port=port) as origin:
            wait_until(lambda: self.stat("pool_idle") == 2, 20, "two at rest")
            daemon.wait_log("pool x: connections to 127.0.0.1 port .* are ready again")
            self.assertIn("pooled", self.connect(origin, "127.0.0.1"))
        self.assertLess(self.stat("pool_failed"), 10)

    def test_it_does_not_delay_the_start(self):
        with servers.BlackHole() as hole, Elapsed() as elapsed:
            self.start(section("x", hole.port, "127.0.0.1", min_idle=8))
            self.assertEqual(self.stat("pool_idle"), 0)
            self.daemon.terminate()
            self.assertEqual(self.daemon.wait_exit(), 0)
        self.assertLess(elapsed.ms, 1000 * seconds(10))

    def test_a_certificate_that_is_not_accepted(self):
        self.world.trust(self.world.other)
        with Origin(tls=self.world.context()) as origin:
            daemon = self.start(section("x", origin.port, secure="yes"))
            daemon.wait_log("pool x: no connection to localhost port .* unable to get local issuer certificate")
            self.assertEqual(self.client.error("TCPConnect", ["localhost", origin.port, True]).code, VERIFY)

    def test_nothing_is_made_ahead(self):
        with Origin() as origin:
            self.start(section("x", origin.port, min_idle=0))
            got = self.connect(origin)
            self.assertNotIn("pooled", got)
            self.works(got["socket"])
            self.assertEqual((origin.n(), self.stat("pool_made")), (1, 0))


class Reload(PoolCase):
    def rewrite(self, text):
        path = os.path.join(self.daemon.folder, "tcpbroker.conf")
        with open(path, encoding="utf-8") as file:
            head = file.read().split("[pool")[0]
        with open(path, "w", encoding="utf-8") as file:
            file.write(head + text)
        self.client.call("Broker.Reload")

    def test_a_ca_that_is_not_trusted_any_more(self):
        with Origin(tls=self.world.context()) as origin:
            self.start(section("x", origin.port, secure="yes", min_idle=3))
            self.wait_idle(3)
            kept = self.connect(origin)
            self.wait_idle(3)
            self.world.trust(self.world.other)
            self.client.call("Broker.Reload")
            wait_until(lambda: origin.gone >= 3, what="the end of all at rest")
            self.assertEqual(self.client.error("TCPConnect", ["localhost", origin.port, True]).code, VERIFY)
            self.assertEqual(self.stat("pool_idle"), 0)
            self.works(kept["socket"])  # what was open stays open,
            self.assertFalse(self.close(kept["socket"]))  # but nobody gets it any more
            self.assertEqual(self.stat("pool_idle"), 0)

    def test_pools_come_and_go(self):
        with Origin() as one, Origin() as other:
            self.start(section("x", one.port, min_idle=2))
            self.wait_idle(2)
            self.rewrite(section("y", other.port, min_idle=3))
            wait_until(lambda: one.gone >= 2, what="the end of the old ones")
            self.wait_idle(3)
            self.assertIn("pooled", self.connect(other))
            self.assertNotIn("pooled", self.connect(one))
            self.rewrite("")
            self.wait_idle(0)
            self.assertNotIn("pooled", self.connect(other))

    def test_a_wrong_one_changes_nothing(self):
        with Origin() as origin:
            self.start(section("x", origin.port), log_ok="not reloaded")
            self.wait_idle(1)
            path = os.path.join(self.daemon.folder, "tcpbroker.conf")
            with open(path, "a", encoding="utf-8") as file:
                file.write('secure = yes\nprofile = nobody\n')
            error = self.client.error("Broker.Reload")
            self.assertIn('[pool "x"] names the profile nobody, but there is no [tls "nobody"]', error.error["message"])
            self.assertIn("pooled", self.connect(origin))

    def test_many_reloads(self):
        with Origin(tls=self.world.context()) as origin:
            self.start(section("x", origin.port, secure="yes", min_idle=4))
            for _ in range(10):
                self.client.send("Broker.Reload")
                got = self.connect(origin)
                self.works(got["socket"])
                self.close(got["socket"])
            self.client.call("Broker.Reload")  # what was given back last may be under the newest one
            self.wait_idle(4)


class Everything(PoolCase):
    def test_at_once(self):
        """Takers, those who give back, those who hand on, reloads: every byte is right, and nothing is left."""
        n, rounds = 8, 40
        with Origin() as plain, Origin(tls=self.world.context()) as secure:
            self.start(section("x", plain.port, min_idle=2, max_idle=4, idle_time="50ms"),
                       section("y", secure.port, secure="yes", min_idle=2, max_idle=4, max_age="200ms"),
                       more="[threads]\nio = 3\n")
            failures = []

            def take(number):
                try:
                    with self.daemon.client() as client:
                        for i in range(rounds):
                            got = self.connect((plain, secure)[(number + i) % 2], client=client)
                            self.works(got["socket"], f"{number}.{i}", client)
                            close = (number + i) % 3
                            if close == 0:
                                client.call("TCPClose", [got["socket"], 2])
                            else:
                                self.close(got["socket"], client)
                except Exception as error:
                    failures.append(error)

            threads = [threading.Thread(target=take, args=(number,)) for number in range(n)]
            for thread in threads:
                thread.start()
            reloads = 0
            while any(thread.is_alive() for thread in threads):
                self.client.call("Broker.Reload")
                reloads += 1
                threads[reloads % n].join(0.02)
            self.assertEqual(failures, [])
            self.assertGreater(reloads, 1)
            self.assertGreater(self.stat("pool_reused"), 0)
            self.assertEqual((self.stat("sockets"), self.stat("requests_failed")), (0, 0))
            self.assertEqual(self.stat("pool_taken") + self.stat("pool_missed"), n * rounds)
            self.wait_idle(4)
            # what was made or taken before is gone at the far end, too
            wait_until(lambda: plain.n() - plain.gone + secure.n() - secure.gone <= 4, what="the end of all others")


class Stop(PoolCase):
    def test_close_notify(self):
        for version in (V12, V13):
            with self.subTest(version=version), servers.Peer(tls=self.world.context(version)) as peer:
                self.start(section("x", peer.port, secure="yes", min_idle=2))
                connections = [peer.take(), peer.take()]
                self.wait_idle(2)
                self.daemon.terminate()
                for connection in connections:
                    self.assertEqual(connection.recv(1), b"", "an end without close_notify would be an error")
                self.assertEqual(self.daemon.wait_exit(), 0)

    def test_draining(self):
        with Origin() as origin, servers.Peer() as peer:
            daemon = self.start(section("x", origin.port, min_idle=2))
            self.wait_idle(2)
            got, other = self.connect(origin), self.client.connect(peer.port)
            peer.take()
            self.client.send("TCPReceive", [other], id="holds the stop up")
            self.wait_idle(2)
            n = wait_until(lambda: origin.n() == 3 and 3)
            daemon.terminate()
            daemon.wait_log("stopping")
            wait_until(lambda: origin.gone >= 2, what="the end of all at rest")
            self.client.close()
            self.assertEqual(daemon.wait_exit(), 0)
            self.assertEqual(origin.n(), n, "none is made any more")
            self.assertTrue(got["pooled"])


class GivenBack(PoolCase):
    def test_one_connection_for_many(self):
        for tls in (None, V12, V13):
            with self.subTest(tls=tls), Origin(tls=tls and self.world.context(tls)) as origin:
                self.start(section("x", origin.port, secure="yes" if tls else "no", min_idle=0))
                for i in range(50):
                    got = self.connect(origin)
                    self.assertEqual("pooled" in got, i > 0)
                    self.works(got["socket"], f"request {i}")
                    self.assertTrue(self.close(got["socket"]))
                    self.assertNotEqual(self.client.error("TCPSend", [got["socket"], "x"]).code, 0)
                self.assertEqual(origin.n(), 1)
                self.assertEqual((self.stat("pool_reused"), self.stat("sockets"), self.stat("pool_idle")), (50, 0, 1))

    def ends(self, peer, prepare, tls=None, **close):
        """What is not at rest is closed, as if nobody had asked."""
        got = self.client.call("TCPConnect", {"hostname": "localhost", "port": peer.port, "secure": tls is not None})
        connection = peer.take()
        prepare(got["socket"], connection)
        self.client.send("TCPClose", {"socket": got["socket"], "reuse": True, **close}, id="close")
        self.assertEqual(servers.read_to_end(connection), b"")
        connection.close()
        self.assertFalse(self.client.wait("close")["reused"])
        self.assertEqual((self.stat("pool_idle"), self.stat("sockets")), (0, 0))

    def test_not_at_rest(self):
        for tls in (None, V12, V13):
            with self.subTest(tls=tls), servers.Peer(tls=tls and self.world.context(tls)) as peer:
                self.start(section("x", peer.port, secure="yes" if tls else "no", min_idle=0))

                def unread(number, connection):
                    connection.sendall(b"xyz")
                    self.assertEqual(self.client.call("TCPReceive", {"socket": number, "exact": 1})["data"], "x")

                def on_its_way(number, connection):
                    connection.sendall(b"xyz")
                    wait_until(lambda: self.client.call("Broker.List")["sockets"][0]["bytes_in"] == 3)

                def receiving(number, connection):
                    self.client.send("TCPReceive", [number], id="receive")
                    wait_until(lambda: self.client.call("Broker.Stats")["requests_running"] == 2)

                def half_closed(number, connection):
                    self.client.call("TCPClose", [number, 1])

                self.ends(peer, unread, tls)
                self.ends(peer, on_its_way, tls)
                self.ends(peer, receiving, tls)
                self.assertEqual(self.client.answer("receive")["error"]["code"], -10053)
                if tls != V12:
                    self.ends(peer, half_closed, tls)

    def test_ended_by_the_peer(self):
        for tls in (None, V12, V13):
            with self.subTest(tls=tls), servers.Peer(tls=tls and self.world.context(tls)) as peer:
                self.start(section("x", peer.port, secure="yes" if tls else "no", min_idle=0))
                got = self.client.call("TCPConnect", {"hostname": "localhost", "port": peer.port, "secure": tls is not None})
                connection = peer.take()
                if tls:
                    threading.Thread(target=self.quietly, args=(connection.unwrap,), daemon=True).start()
                else:
                    connection.shutdown(socket.SHUT_WR)
                wait_until(lambda: self.client.call("Broker.List")["sockets"][0]["state"] == "peer_closed")
                self.assertFalse(self.close(got["socket"]))
                self.assertEqual(self.stat("pool_idle"), 0)

    @staticmethod
    def quietly(call):
        try:
            call()
        except (OSError, ValueError):
            pass

    def test_secured_meanwhile(self):
        """A pool of plain connections does not take one back that speaks TLS now."""
        with servers.Peer() as peer:
            self.start(section("x", peer.port, min_idle=0))
            got = self.client.call("TCPConnect", {"hostname": "localhost", "port": peer.port})
            raw = peer.take()
            self.client.send("TCPStartTLS", {"socket": got["socket"]}, id="tls")
            secure = self.world.context().wrap_socket(raw, server_side=True)
            self.client.wait("tls")
            self.client.send("TCPClose", {"socket": got["socket"], "reuse": True}, id="close")
            self.assertEqual(secure.recv(1), b"")
            secure.close()
            self.assertFalse(self.client.wait("close")["reused"])

    def test_full_or_without_a_pool(self):
        with Origin() as origin, Origin() as another:
            self.start(section("x", origin.port, min_idle=0, max_idle=2))
            numbers = [self.connect(origin)["socket"] for _ in range(3)]
            self.assertEqual([self.close(number) for number in numbers], [True, True, False])
            self.assertFalse(self.close(self.connect(another)["socket"]))
            self.wait_idle(2)

    def test_wrong_options(self):
        with Origin() as origin:
            self.start(section("x", origin.port, min_idle=0))
            number = self.connect(origin)["socket"]
            for option in (1, 2):
                error = self.client.error("TCPClose", {"socket": number, "option": option, "reuse": True})
                self.assertEqual((error.code, error.data["param"]), (INVALID_PARAMS, "reuse"))
            self.works(number)
            self.assertNotIn("reused", self.client.call("TCPClose", [number]))

    def test_handed_over_and_given_back(self):
        with Origin() as origin:
            self.start(section("x", origin.port, min_idle=0), more="[threads]\nio = 2\n")
            others = [self.use(self.daemon.client()) for _ in range(2)]
            number = self.connect(origin)["socket"]
            token = self.client.call("TCPOffer", [number])["token"]
            for other in others:
                number = other.call("TCPClaim", [token])["socket"]
                self.works(number, client=other)
                token = other.call("TCPOffer", [number])["token"]
            number = self.client.call("TCPClaim", [token])["socket"]
            self.assertTrue(self.close(number))
            self.assertTrue(self.connect(origin, client=others[0])["pooled"])
            self.assertEqual(origin.n(), 1)


@unittest.skipIf(os.geteuid(), "needs root, to be somebody else")
class Users(PoolCase):
    def two(self, *pools, **kw):
        folder = tempfile.mkdtemp(prefix="tcpbroker-test-")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        os.chmod(folder, 0o755)
        self.start(*pools, socket_path=os.path.join(folder, "s"), **kw)
        os.seteuid(NOBODY)
        try:
            self.nobody = self.use(self.daemon.client())
        finally:
            os.seteuid(0)
        self.assertEqual(self.nobody.call("Broker.Hello")["uid"], NOBODY)

    def test_what_one_has_used_is_not_for_another(self):
        with Origin() as origin:
            self.two(section("x", origin.port, min_idle=0), more="[listen]\nmode = 0777\n")
            got = self.connect(origin)
            self.assertTrue(self.close(got["socket"]))
            self.assertNotIn("pooled", self.connect(origin, client=self.nobody))
            again = self.connect(origin)
            self.assertEqual((again["pooled"], again["local_port"]), (True, got["local_port"]))

    def test_what_is_made_ahead_is_for_all(self):
        with Origin() as origin:
            self.two(section("x", origin.port), more="[listen]\nmode = 0777\n")
            for client in (self.client, self.nobody):
                self.wait_idle(1)
                self.assertTrue(self.connect(origin, client=client)["pooled"])

    def test_an_identity_is_for_one_user(self):
        certificate, key = self.world.good
        identity = (f'[identity "me"]\ncertificate = {certificate}\nkey = {key}\nusers = 0 {NOBODY}\n'
                    f'[identity "mine"]\ncertificate = {certificate}\nkey = {key}\nusers = 0\n')
        with Origin(tls=self.world.context()) as origin:
            self.two(section("x", origin.port, secure="yes", identity="me"),
                     section("y", origin.port, "127.0.0.1", secure="yes", identity="mine"),
                     more="[listen]\nmode = 0777\n" + identity)
            self.assertEqual(self.stat("pool_made"), 0, "nobody has asked")
            got = self.connect(origin, identity="me")
            self.assertNotIn("pooled", got)
            self.wait_idle(1)
            ready, = set(origin.ports) - {got["local_port"]}
            # one is at rest, but it is not his
            self.assertNotIn("pooled", self.connect(origin, client=self.nobody, identity="me"))
            self.wait_idle(2)
            got = self.connect(origin, identity="me")
            self.assertEqual((got["pooled"], got["local_port"]), (True, ready))
            self.assertTrue(self.connect(origin, client=self.nobody, identity="me")["pooled"])
            # without the identity it is another connection, and who may not present it gets none
            self.wait_idle(2)
            self.assertNotIn("pooled", self.connect(origin))
            self.assertNotIn("pooled", self.connect(origin, "127.0.0.1", identity="mine"))
            self.wait_idle(3)
            error = self.nobody.error("TCPConnect", {"hostname": "127.0.0.1", "port": origin.port, "secure": True,
                                                     "identity": "mine"})
            self.assertEqual(error.code, -10013)
            self.wait_idle(3)


class Configuration(unittest.TestCase):
    def check(self, text):
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
            file.write(text)
            file.flush()
            done = subprocess.run([daemon_path(), "--check-config", file.name], capture_output=True, text=True)
            return done.returncode, (done.stdout + done.stderr).replace(file.name, "x.conf")

    def test_wrong(self):
        for text, wanted in (
                ('[pool "a"]\n', 'x.conf:1: [pool "a"] has no connect; expected a name or an address with :PORT'),
                ('[pool "a"]\nconnect = host\n', "x.conf:2: pool \"a\".connect: \"host\" has host, which has no :PORT behind it"),
                ('[pool "a"]\nconnect = *.host:1\n', "which stands for many hosts, where one is needed"),
                ('[pool "a"]\nconnect = host:1\nmin_idle = 9\n', 'x.conf:1: [pool "a"] has min_idle 9 above max_idle 8'),
                ('[pool "a"]\nconnect = host:1\nprofile = p\n', 'x.conf:1: [pool "a"] names the profile p'),
                ('[pool "a"]\nconnect = host:1\nsecure = yes\nidentity = i\n', 'x.conf:1: [pool "a"] names the identity i'),
                ('[pool "a"]\nconnect = host:1\nalpn = h2\n', 'x.conf:1: [pool "a"] says something about TLS')):
            with self.subTest(text=text):
                status, said = self.check(text)
                self.assertEqual(status, 2, said)
                self.assertIn(wanted, said)

    def test_good(self):
        world = World()
        self.addCleanup(shutil.rmtree, world.folder)
        status, said = self.check(f'[tls]\nsystem_store = no\ncacerts = {world.cacerts}\n[tls "p"]\n' +
                                  '[pool "a"]\nconnect = [::1]:443\nsecure = yes\nprofile = p\n')
        self.assertEqual(status, 0, said)


if __name__ == "__main__":
    main()
