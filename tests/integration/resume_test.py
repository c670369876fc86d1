"""Resumption of TLS sessions: what is resumed, what is never offered to whom, and what becomes of it when that goes wrong.
What a client offers is read in its ClientHello at the far end, so that nothing here rests on the daemon's own word."""
import collections
import contextlib
import datetime
import functools
import hashlib
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
import x509
from harness import Daemon, OwnDaemonTestCase, RpcError, TestCase, main, seconds, wait_until
from tls_wire import ALERT, CLOSE_NOTIFY, DATA, HANDSHAKE, TICKET, Wire, message

NAMES = ["DNS:localhost", "DNS:one.test", "DNS:two.test", "IP:127.0.0.1", "IP:127.0.0.2"]
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
BOTH = (V12, V13)
REFUSED, HANDSHAKE_FAILED, TLS_IO, RESET, TIMED_OUT = -33010, -1031, -33011, -10054, -10060


def both(test):
    """The test, for each version of TLS."""
    @functools.wraps(test)
    def run(self):
        for version in BOTH:
            with self.subTest(version=version.name):
                test(self, version)
    return run


class World:
    """A CA that the daemon believes, certificates of it, and one of another CA."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="tcpbroker-resume-")
        self.maker = x509.Maker(self.folder)
        self.root = self.maker.authority("the root")
        self.cacerts = os.path.join(self.folder, "cacerts")
        os.mkdir(self.cacerts)
        self.trust(self.root)
        self.good = self.maker.files(self.maker.server(self.root, NAMES))
        self.bad = self.maker.files(self.maker.server(self.maker.authority("another root"), NAMES))

    def trust(self, *certificates):
        for name in os.listdir(self.cacerts):
            os.unlink(os.path.join(self.cacerts, name))
        for number, certificate in enumerate(certificates):
            with open(os.path.join(self.cacerts, f"{number}.pem"), "w", encoding="ascii") as file:
                file.write(certificate.pem)

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def context(files, version=V13, tickets=2, alpn=("a", "b"), resumes=True):
    """A server with ticket keys of its own."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*files)
    made.minimum_version = made.maximum_version = version
    made.num_tickets = tickets
    made.set_alpn_protocols(list(alpn))
    if not resumes:
        made.options |= ssl.OP_NO_TICKET
    return made


def offered_in(hello):
    """The tickets in a ClientHello (a record): of TLS 1.3 (RFC 8446 section 4.2.11), of TLS 1.2 (RFC 5077 section 3.2)."""
    at = 5 + 4 + 2 + 32
    at += 1 + hello[at]                                                 # the session id
    at += 2 + int.from_bytes(hello[at:at + 2], "big")                   # ciphers
    at += 1 + hello[at]                                                 # compression
    end, at, found = at + 2 + int.from_bytes(hello[at:at + 2], "big"), at + 2, []
    while at < end:
        kind, length = int.from_bytes(hello[at:at + 2], "big"), int.from_bytes(hello[at + 2:at + 4], "big")
        body = hello[at + 4:at + 4 + length]
        at += 4 + length
        if kind == 35 and body:
            found.append(body)
        if kind == 41:
            identities = body[2:2 + int.from_bytes(body[:2], "big")]
            while identities:
                length = int.from_bytes(identities[:2], "big")
                found.append(identities[2:2 + length])
                identities = identities[2 + length + 4:]
        if kind == 42:
            raise AssertionError("early data")
    return found


def peek_hello(connection):
    """The ClientHello's record, left where it is."""
    connection.settimeout(seconds(10))
    while True:
        data = connection.recv(20000, 2)  # MSG_PEEK
        if not data:
            raise ConnectionError("an end instead of a ClientHello")
        if len(data) >= 5 and len(data) >= 5 + int.from_bytes(data[3:5], "big"):
            return data
        time.sleep(0.001)


Visit = collections.namedtuple("Visit", "offered resumed")


class Far(servers.Listener):
    """A TLS server that notes what was offered, and whether it has resumed. tls: an SSLContext, may be changed.
    instead: called with (connection, offered) before the handshake; True when that was all.
    after: called with the secure connection, instead of the echo."""

    def __init__(self, tls, **kw):
        super().__init__(**kw)
        self.tls = tls
        self.instead = lambda connection, offered: False
        self.after = servers.echo
        self.visits = []
        self.seen = collections.Counter()

    def on_connection(self, connection):
        threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, raw):
        connection = raw
        try:
            offered = [hashlib.sha256(one).hexdigest() for one in offered_in(peek_hello(raw))]
            with self.lock:
                self.seen.update(offered)
            if self.instead(raw, offered):
                return
            try:
                connection = self.tls.wrap_socket(raw, server_side=True, suppress_ragged_eofs=False)
            finally:
                with self.lock:
                    self.visits.append(Visit(offered, bool(connection is not raw and connection.session_reused)))
            with self.lock:
                self.connections.add(connection)
            connection.settimeout(None)
            self.after(connection)
            if connection.fileno() >= 0:
                connection.settimeout(seconds(5))
                connection.unwrap()
        except (OSError, ValueError):
            pass
        finally:
            self.forget(raw)
            self.forget(connection)
            for one in (connection, raw):
                with contextlib.suppress(OSError):
                    one.close()

    @property
    def last(self):
        return self.visits[-1]


class Visitor:
    """Mixed into a test case."""

    def open(self, far, host="localhost", client=None, **params):
        params.setdefault("family", "ipv4")
        return (client or self.client).call("TCPConnect", hostname=host, port=far.port, secure=True, **params)

    def spoken(self, number, client=None):
        """A line each way: tickets came before it."""
        client = client or self.client
        client.call("TCPSend", [number, "a line\n"])
        self.assertEqual(client.call("TCPReceive", socket=number, until="\n", timeout_ms=int(seconds(5000)))["data"], "a line\n")

    def visit(self, far, host="localhost", option=0, client=None, **params):
        """Connect, a line each way, close; what the answer says of TLS."""
        client = client or self.client
        result = self.open(far, host, client, **params)
        self.spoken(result["socket"], client)
        client.call("TCPClose", [result["socket"], option])
        return result["tls"]

    def full(self, far, *arguments, offered=False, **params):
        tls = self.visit(far, *arguments, **params)
        self.assertEqual((tls["resumed"], far.last.resumed, bool(far.last.offered)), (False, False, offered), far.last)
        return tls

    def resumed(self, far, *arguments, **params):
        tls = self.visit(far, *arguments, **params)
        self.assertEqual((tls["resumed"], far.last.resumed, len(far.last.offered)), (True, True, 1), far.last)
        return tls

    def refused(self, far, code, offered, **params):
        n = len(far.visits)
        with self.assertRaises(RpcError) as raised:
            self.open(far, **params)
        self.assertEqual(raised.exception.code, code, raised.exception)
        wait_until(lambda: len(far.visits) > n, what="the visit")
        self.assertEqual(bool(far.last.offered), offered)

    def far(self, version=V13, files=None, address="127.0.0.1", **kw):
        return self.use(Far(context(files or self.world.good, version, **kw), address=address))

    def each_once(self, *fars):
        for far in fars:
            self.assertEqual({n for n in far.seen.values() if n > 1}, set(), "a ticket was used twice")


class ResumeCase(Visitor, TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = World()
        cls.DAEMON_ARGS = ("--cacerts", cls.world.cacerts)
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.world.remove()


class Resumed(ResumeCase):
    @both
    def test_resumed_with_all_facts(self, version):
        far = self.far(version)
        stats = self.client.call("Broker.Stats")
        first = self.full(far, alpn=["b"])
        self.assertEqual((first["verified"], first["alpn"], first["server_name"]), (True, "b", "localhost"))
        for _ in range(5):
            self.assertEqual(self.resumed(far, alpn=["b"]), {**first, "resumed": True})
        after = self.client.call("Broker.Stats")
        self.assertEqual((after["handshakes_ok"] - stats["handshakes_ok"],
                          after["handshakes_resumed"] - stats["handshakes_resumed"]), (6, 5))

    @both
    def test_unverified(self, version):
        far = self.far(version, self.world.bad)
        first = self.full(far, verify=False)
        self.assertIs(first["verified"], False)
        self.assertEqual(self.resumed(far, verify=False), {**first, "resumed": True})

    @both
    def test_by_address(self, version):
        far = self.far(version)
        self.full(far, "127.0.0.1")
        self.assertNotIn("server_name", self.resumed(far, "127.0.0.1"))

    def test_a_session_id_without_a_ticket(self):
        far = self.far(V12, resumes=False)
        self.full(far)
        for _ in range(3):
            self.assertIs(self.visit(far)["resumed"], True)
            self.assertEqual(far.last, ([], True))

    def test_tls12_ticket_serves_many(self):
        far = self.far(V12)
        self.full(far)
        numbers = [self.open(far)["socket"] for _ in range(20)]
        wait_until(lambda: len(far.visits) == 21, what="20 visits more")
        self.assertEqual(sum(visit.resumed for visit in far.visits), 20)
        self.assertEqual(len(far.seen), 1)
        for number in numbers:
            self.spoken(number)
            self.client.call("TCPClose", [number])

    def test_tls13_ticket_serves_one(self):
        """Two came with the full handshake; what comes with those at the same time may be there for the next or not."""
        far = self.far()
        self.full(far)
        ids = [self.client.send("TCPConnect", {"hostname": "localhost", "port": far.port, "secure": True, "family": "ipv4"})
               for _ in range(8)]
        results = [self.client.wait(id) for id in ids]
        wait_until(lambda: len(far.visits) == 9, what="8 visits more")
        self.assertGreaterEqual(sum(result["tls"]["resumed"] for result in results), 2)
        self.assertEqual(sum(result["tls"]["resumed"] for result in results), sum(visit.resumed for visit in far.visits))
        self.each_once(far)
        for result in results:
            self.client.call("TCPClose", [result["socket"], 2])

    def test_one_ticket_at_a_time(self):
        far = self.far(tickets=1)
        self.full(far)
        for _ in range(20):
            self.resumed(far)
        self.assertEqual(len(far.seen), 20)
        self.each_once(far)

    def test_a_server_without_tickets(self):
        far = self.far(tickets=0)
        for _ in range(3):
            self.full(far)

    @both
    def test_start_tls(self, version):
        peer = self.use(servers.Peer())
        tls = context(self.world.good, version)
        for times in range(4):
            number = self.client.connect(peer.port, "localhost", family="ipv4")
            plain, found = peer.take(), []

            def secure(plain=plain, found=found):
                found.append(offered_in(peek_hello(plain)))
                found.append(tls.wrap_socket(plain, server_side=True))
                found[1].sendall(b"ready\n")
            thread = threading.Thread(target=secure, daemon=True)
            thread.start()
            facts = self.client.call("TCPStartTLS", [number])["tls"]
            self.client.call("TCPReceive", socket=number, until="\n", timeout_ms=int(seconds(5000)))
            thread.join(seconds(10))
            self.assertEqual((facts["resumed"], facts["verified"], found[1].session_reused, len(found[0])),
                             (times > 0, True, times > 0, int(times > 0)))
            self.client.call("TCPClose", [number, 2])
            found[1].close()

    def test_both_ways_of_getting_there_share(self):
        far = self.far()
        self.full(far)
        number = self.client.connect(far.port, "localhost", family="ipv4")
        facts = self.client.call("TCPStartTLS", [number])["tls"]
        self.spoken(number)
        self.assertEqual((facts["resumed"], far.last.resumed), (True, True))
        self.client.call("TCPClose", [number, 2])

    @both
    def test_openssl_s_server(self, version):
        chain, key = self.world.good
        name = "-tls1_3" if version == V13 else "-tls1_2"
        process = subprocess.Popen(["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", chain, "-key", key, name,
                                    "-rev", "-num_tickets", "1"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output = []
        reader = threading.Thread(target=lambda: output.extend(process.stdout), daemon=True)
        reader.start()
        try:
            port = int(wait_until(lambda: re.search(rb"ACCEPT 127\.0\.0\.1:(\d+)", b"".join(output)),
                                  what="s_server").group(1))
            for number in range(3):
                result = self.client.call("TCPConnect", hostname="localhost", port=port, secure=True, family="ipv4")
                self.client.call("TCPSend", [result["socket"], "abc\n"])
                self.client.call("TCPReceive", socket=result["socket"], until="\n", timeout_ms=int(seconds(5000)))
                self.client.call("TCPClose", [result["socket"]])
                self.assertIs(result["tls"]["resumed"], number > 0)
        finally:
            process.kill()
            process.wait()
            reader.join(seconds(5))
            process.stdout.close()


class Apart(ResumeCase):
    """What differs is not given the other's session; and that session is still good for its own."""

    def apart(self, one, other):
        """one, other: (far, host, params)"""
        self.visit(one[0], one[1], **one[2])
        self.resumed(one[0], one[1], **one[2])
        self.full(other[0], other[1], **other[2])
        for far, host, params in (one, other, one, other):
            self.resumed(far, host, **params)

    @both
    def test_parameters(self, version):
        for pair in (({}, {"verify": False}),
                     ({"server_name": "one.test"}, {"server_name": "two.test"}),
                     ({"server_name": "one.test"}, {"server_name": "127.0.0.1"}),
                     ({"server_name": "127.0.0.1"}, {"server_name": "127.0.0.2"}),
                     ({"alpn": ["a"]}, {"alpn": ["b"]}),
                     ({"alpn": ["a"]}, {}),
                     ({"alpn": ["a", "b"]}, {"alpn": ["b", "a"]})):
            for one, other in (pair, pair[::-1]):
                with self.subTest(one=one, other=other):
                    far = self.far(version)
                    self.apart((far, "localhost", one), (far, "localhost", other))

    def test_min_tls(self):
        for one, other in (({}, {"min_tls": "1.3"}), ({"min_tls": "1.3"}, {})):
            far = self.far()
            self.apart((far, "localhost", one), (far, "localhost", other))

    @both
    def test_address_and_port(self, version):
        params = {"server_name": "one.test"}
        for address in ("127.0.0.1", "127.0.0.2"):
            one, two = self.far(version), self.use(Far(None, address=address))
            two.tls = one.tls  # they would take each other's tickets: see below
            self.apart((one, "127.0.0.1", params), (two, address, params))

    def test_another_port_would_have_taken_it(self):
        """What makes the test above mean something."""
        one, two = self.far(), self.far()
        two.tls = one.tls
        tls = ssl.create_default_context(cafile=os.path.join(self.world.cacerts, "0.pem"))
        session = None
        for far in (one, two):
            plain = socket.create_connection(("127.0.0.1", far.port), seconds(10))
            with tls.wrap_socket(plain, server_hostname="localhost", session=session) as connection:
                connection.sendall(b"x")
                connection.recv(1)
                session = connection.session
                self.assertEqual(connection.session_reused, far is two)

    @both
    def test_unverified_never_becomes_verified(self, version):
        far = self.far(version, self.world.bad)
        self.full(far, verify=False)
        self.resumed(far, verify=False)
        self.refused(far, REFUSED, offered=False)


class GoneWrong(ResumeCase):
    @both
    def test_the_ticket_is_declined(self, version):
        far = self.far(version)
        self.full(far)
        self.resumed(far)
        far.tls = context(self.world.good, version)  # a restart: new ticket keys
        self.assertIs(self.full(far, offered=True)["verified"], True)
        old = far.last.offered[0]
        self.resumed(far)
        self.assertNotEqual(far.last.offered[0], old)
        if version == V13:
            self.each_once(far)
        self.assertEqual(far.seen[old], 1 + (version == V12))

    @both
    def test_the_certificate_turned_bad(self, version):
        far = self.far(version)
        self.full(far)
        self.resumed(far)
        far.tls = context(self.world.bad, version)
        self.refused(far, REFUSED, offered=True)
        self.refused(far, REFUSED, offered=False)
        far.tls = context(self.world.good, version)
        self.full(far)
        self.resumed(far)

    @both
    def test_a_server_that_cannot_stand_it(self, version):
        def alert(connection, offered):
            if offered:
                connection.recv(20000)
                connection.sendall(bytes([21, 3, 3, 0, 2, 2, 40]))
            return bool(offered)

        def end(connection, offered):
            return bool(offered)

        def reset(connection, offered):
            if offered:
                servers.reset(connection)
            return bool(offered)

        for instead in (alert, end, reset):
            with self.subTest(instead=instead.__name__):
                far = self.far(version)
                self.full(far)
                held = [self.open(far)["socket"] for _ in range(6)]
                for number in held:
                    self.spoken(number)
                far.instead = instead  # there is more than one ticket now
                error = self.client.error("TCPConnect", hostname="localhost", port=far.port, secure=True, family="ipv4")
                self.assertIn(error.code, (HANDSHAKE_FAILED, RESET))
                self.full(far)
                for number in held:
                    self.client.call("TCPClose", [number, 2])

    @both
    def test_a_server_that_hangs(self, version):
        release = threading.Event()
        self.addCleanup(release.set)

        def hang(connection, offered):
            if offered:
                release.wait(seconds(30))
            return bool(offered)
        far = self.far(version)
        self.full(far)
        far.instead = hang
        error = self.client.error("TCPConnect", hostname="localhost", port=far.port, secure=True, family="ipv4",
                                  timeout_ms=int(seconds(300)))
        self.assertEqual(error.code, TIMED_OUT)
        self.full(far)

    def test_cancelled(self):
        release, begun = threading.Event(), threading.Event()
        self.addCleanup(release.set)

        def hang(connection, offered):
            if offered:
                begun.set()
                release.wait(seconds(30))
            return bool(offered)
        far = self.far()
        self.full(far)
        far.instead = hang
        id = self.client.send("TCPConnect", {"hostname": "localhost", "port": far.port, "secure": True, "family": "ipv4"})
        self.assertTrue(begun.wait(seconds(10)))
        self.client.call("Broker.Cancel", [id])
        self.assertIn("error", self.client.answer(id))
        self.full(far)

    @both
    def test_aborts_do_no_harm(self, version):
        """What OpenSSL does to the session of a connection that is freed without a close_notify concerns that one only."""
        far = self.far(version)
        self.full(far, option=2)
        for option in (2, 0, 2, 2):
            self.resumed(far, option=option)

    @both
    def test_resets_do_no_harm(self, version):
        def reset(connection):
            connection.sendall(connection.recv(100))
            connection.recv(1)
            servers.reset(connection)
        far = self.far(version)
        far.after = reset
        for number in range(4):
            result = self.open(far)
            self.spoken(result["socket"])
            self.client.call("TCPSend", [result["socket"], "."])
            self.assertEqual(self.client.error("TCPReceive", socket=result["socket"]).code, RESET)
            self.client.call("TCPClose", [result["socket"], 2])
            self.assertEqual((result["tls"]["resumed"], far.last.resumed), (number > 0, number > 0))

    @both
    def test_failures_of_tls_do(self, version):
        """RFC 5246 section 7.2.2, RFC 8446 section 6.2: what failed by a fatal alert is not resumed."""
        def truncation(connection):
            connection.sendall(connection.recv(100))
            connection.recv(1)
            os.close(os.dup(connection.fileno()))
            connection.shutdown(2)

        def garbage(connection):
            connection.sendall(connection.recv(100))
            connection.recv(1)
            os.write(connection.fileno(), bytes([23, 3, 3, 0, 40]) + bytes(40))
            connection.recv(1)

        for after in (truncation, garbage):
            with self.subTest(after=after.__name__):
                far = self.far(version)
                far.after = after
                for _ in range(3):
                    result = self.open(far)
                    self.spoken(result["socket"])
                    self.assertEqual((result["tls"]["resumed"], far.last.offered), (False, []))
                    self.client.call("TCPSend", [result["socket"], "."])
                    self.assertEqual(self.client.error("TCPReceive", socket=result["socket"]).code, TLS_IO)
                    self.client.call("TCPClose", [result["socket"], 2])

    def test_only_those_of_that_connection_go(self):
        far = self.far()
        other = self.open(far)["socket"]
        self.spoken(other)
        far.after = lambda connection: connection.sendall(connection.recv(100)) or connection.recv(1) and connection.shutdown(2)
        result = self.open(far)
        self.assertIs(result["tls"]["resumed"], True)
        self.spoken(result["socket"])
        self.client.call("TCPSend", [result["socket"], "."])
        self.assertEqual(self.client.error("TCPReceive", socket=result["socket"]).code, TLS_IO)
        self.client.call("TCPClose", [result["socket"], 2])
        far.after = servers.echo
        self.resumed(far)
        self.client.call("TCPClose", [other, 2])
        self.each_once(far)


class Hostile(ResumeCase):
    def ticket(self, n, lifetime=3600, number=0):
        nonce = number.to_bytes(4, "big")
        body = os.urandom(16).ljust(n, b"t")
        return message(TICKET, lifetime.to_bytes(4, "big") + bytes(4) + bytes([4]) + nonce + n.to_bytes(2, "big") + body +
                       b"\0\0")

    def after_tickets(self, send):
        """send(wire) gives tickets; the tickets that the next connection offers."""
        peer = self.use(servers.Peer())
        found = []

        def connect():
            id = self.client.send("TCPConnect", {"hostname": "localhost", "port": peer.port, "secure": True, "family": "ipv4"})
            wire = Wire(peer.take(), "1.3", self.world.good)
            found.append(offered_in(b"".join(bytes([22, 3, 1]) + len(body).to_bytes(2, "big") + body
                                             for body in [wire.read_hello()])))
            wire.handshake()
            return self.client.wait(id)["socket"], wire
        socket, wire = connect()
        send(wire)
        wire.say(DATA, b"now\n")
        self.assertEqual(self.client.call("TCPReceive", socket=socket, until="\n", timeout_ms=int(seconds(30000)))["data"], "now\n")
        second, other = connect()
        for number in (socket, second):
            self.client.call("TCPClose", [number, 2])
        self.assertEqual(found[0], [])
        return found[1]

    def test_a_small_one_is_kept(self):
        self.assertEqual([len(one) for one in self.after_tickets(
            lambda wire: wire.say(HANDSHAKE, self.ticket(200)))], [200])

    def test_ten_thousand(self):
        before = self.daemon.rss_kib()

        def send(wire):
            for first in range(0, 10000, 100):
                wire.send(*(wire.seal(HANDSHAKE, self.ticket(1000, number=first + i)) for i in range(100)))
        self.assertEqual([len(one) for one in self.after_tickets(send)], [1000])
        if not self.daemon.sanitized():
            self.assertLess(self.daemon.rss_kib() - before, 4096)

    def test_large_ones_are_passed_over(self):
        def send(wire):
            for number in range(50):
                whole = self.ticket(65000, number=number)
                wire.send(*(wire.seal(HANDSHAKE, whole[at:at + 16000]) for at in range(0, len(whole), 16000)))
        before = self.daemon.rss_kib()
        self.assertEqual(self.after_tickets(send), [])
        if not self.daemon.sanitized():
            self.assertLess(self.daemon.rss_kib() - before, 4096)

    def test_not_to_be_kept(self):
        self.assertEqual(self.after_tickets(lambda wire: wire.say(HANDSHAKE, self.ticket(200, lifetime=0))), [])

    def test_kept_for_a_second(self):
        def send(wire):
            wire.say(HANDSHAKE, self.ticket(200, lifetime=1))
            time.sleep(1.1)  # the time of the server's word
        self.assertEqual(self.after_tickets(send), [])


class Crowd(ResumeCase):
    @both
    def test_64_clients(self, version):
        far = self.far(version)
        failed, facts, lock = [], [], threading.Lock()

        def work():
            try:
                with self.daemon.client(timeout=60) as client:
                    for _ in range(6):
                        tls = self.visit(far, client=client)
                        with lock:
                            facts.append(tls)
            except Exception as error:  # told below
                failed.append(error)
        threads = [threading.Thread(target=work) for _ in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(seconds(120))
        self.assertEqual(failed, [])
        n = sum(tls["resumed"] for tls in facts)
        self.assertEqual((len(facts), {tls["verified"] for tls in facts}), (64 * 6, {True}))
        self.assertEqual(n, sum(visit.resumed for visit in far.visits))
        # 64 full ones at most at the beginning; whoever closes has left two tickets
        self.assertGreater(n, 64 * 6 // 2)
        if version == V13:
            self.each_once(far)


class Credentials(Visitor, OwnDaemonTestCase):
    """Trust profiles and identities: no session gets from one to another."""

    @classmethod
    def setUpClass(cls):
        cls.world = World()
        maker = cls.world.maker
        client = {"purpose": x509.purpose("clientAuth")}
        cls.shown = {name: maker.files(maker.server(cls.world.root, [], name, maker.new_key(), client))
                     for name in ("alice", "bob")}

    @classmethod
    def tearDownClass(cls):
        cls.world.remove()

    def setUp(self):
        super().setUp()
        config = "".join(f"[tls \"{name}\"]\ncacerts = {self.world.cacerts}\n" for name in ("one", "two"))
        config += "".join(f"[identity \"{name}\"]\ncertificate = {files[0]}\nkey = {files[1]}\nusers = {os.getuid()}\n"
                          for name, files in self.shown.items())
        self.daemon = self.use(Daemon("--cacerts", self.world.cacerts, config=config))
        self.client = self.open_client()

    def far(self, version):
        far = super().far(version)
        far.tls.verify_mode = ssl.CERT_OPTIONAL
        far.tls.load_verify_locations(os.path.join(self.world.cacerts, "0.pem"))
        far.people = []

        def after(connection):
            shown = connection.getpeercert()
            far.people.append(shown and shown["subject"][0][0][1])
            servers.echo(connection)
        far.after = after
        return far

    @both
    def test_apart(self, version):
        variants = ({}, {"profile": "one"}, {"profile": "two"}, {"identity": "alice"}, {"identity": "bob"},
                    {"profile": "one", "identity": "bob"})
        for others in (variants, variants[::-1]):
            far = self.far(version)
            for params in others:
                self.full(far, **params)
            for params in others + others[::-1]:
                self.resumed(far, **params)
                self.assertEqual(far.people[-1], params.get("identity"), "the server still knows whom it speaks to")


class Ends(Visitor, OwnDaemonTestCase):
    """Time, reloads, options."""

    @classmethod
    def setUpClass(cls):
        cls.world = World()

    @classmethod
    def tearDownClass(cls):
        cls.world.remove()

    def start(self, config=None):
        self.daemon = self.use(Daemon("--cacerts", self.world.cacerts, config=config))
        self.client = self.open_client()

    def short_lived(self, version, lifetime):
        """(far, the moment of its certificate's end)"""
        end = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=lifetime)).replace(microsecond=0)
        files = self.world.maker.files(self.world.maker.server(self.world.root, NAMES, valid=(-1, end)))
        return self.far(version, files), end.timestamp()

    @both
    def test_the_certificate_ends(self, version):
        self.start()
        far, end = self.short_lived(version, seconds(3))
        self.full(far)
        while time.time() < end - seconds(0.5):
            self.resumed(far)  # a chain of them does not help
            time.sleep(0.1)
        wait_until(lambda: time.time() > end + 1.01, what="the end of the certificate")
        self.refused(far, REFUSED, offered=False)

    @both
    def test_session_time(self, version):
        self.start({"tls.session_time": "1s"})
        far = self.far(version)
        end = time.monotonic() + 3.5
        while time.monotonic() < end:
            tls = self.visit(far)
            self.assertEqual(tls["resumed"], far.last.resumed)
        n_full = sum(not visit.resumed for visit in far.visits)
        self.assertGreaterEqual(n_full, 3)
        self.assertLessEqual(n_full, 5)
        # it is not the server that wants it
        self.assertEqual([visit for visit in far.visits if visit.offered and not visit.resumed], [])
        self.assertGreater(len(far.visits), 2 * n_full)

    @both
    def test_switched_off(self, version):
        self.start({"tls.session_cache": "0"})
        far = self.far(version)
        for _ in range(3):
            self.full(far)

    def test_small(self):
        self.start({"tls.session_cache": "4"})
        fars = [self.far() for _ in range(6)]
        for far in fars:
            self.full(far)
        for far in fars[2:]:
            self.resumed(far)
        for far in fars[:2]:
            self.full(far)

    def test_reload(self):
        self.start()
        for version in BOTH:
            far = self.far(version)
            self.full(far)
            self.resumed(far)
            self.client.call("Broker.Reload")
            self.full(far)
            self.resumed(far)

    @both
    def test_trust_ends(self, version):
        self.start()
        far = self.far(version)
        self.full(far)
        self.world.trust(self.world.maker.authority("somebody else"))
        self.addCleanup(self.world.trust, self.world.root)
        self.client.call("Broker.Reload")
        self.refused(far, REFUSED, offered=False)
        self.world.trust(self.world.root)

    def test_a_ticket_that_comes_after_the_reload(self):
        """It belongs to what was trusted before."""
        self.start()
        peer = self.use(servers.Peer())
        id = self.client.send("TCPConnect", {"hostname": "localhost", "port": peer.port, "secure": True, "family": "ipv4"})
        wire = Wire(peer.take(), "1.3", self.world.good).handshake()
        number = self.client.wait(id)["socket"]
        self.client.call("Broker.Reload")
        wire.say(HANDSHAKE, Hostile.ticket(None, 200))
        wire.say(DATA, b"now\n")
        self.client.call("TCPReceive", socket=number, until="\n", timeout_ms=int(seconds(5000)))
        id = self.client.send("TCPConnect", {"hostname": "localhost", "port": peer.port, "secure": True, "family": "ipv4"})
        connection = peer.take()
        self.assertEqual(offered_in(peek_hello(connection)), [])
        connection.close()
        self.client.answer(id)
        wire.say(ALERT, CLOSE_NOTIFY)
        self.client.call("TCPClose", [number, 2])


if __name__ == "__main__":
    main()
