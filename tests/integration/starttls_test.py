"""TCPStartTLS: real protocols, what is refused, what fails and what is left then, what is different while it runs."""
import base64
import contextlib
import json
import os
import signal
import socket
import struct
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from ca import certificates
from harness import SLOW, Client, Daemon, Elapsed, Raw, TestCase, main, seconds, wait_until
from real_servers import MailFront, MailServer, PostgreSQL, TlsEcho


class Handshake:
    """The server's half, on a connection that was plain so far, in a thread of its own."""

    def __init__(self, connection, context=None):
        self.connection, self.error, self.name = None, None, None
        self.context = context or servers.tls_context()
        self.context.sni_callback = self._sni
        self.thread = threading.Thread(target=self._run, args=(connection,), daemon=True)
        self.thread.start()

    def _sni(self, connection, name, context):
        self.name = name

    def _run(self, connection):
        try:
            self.connection = self.context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=False)
        except (OSError, ValueError) as error:
            self.error = error

    def result(self):
        self.thread.join(seconds(10))
        if self.error:
            raise self.error
        return self.connection


ADDRESSES = ("TCPGetMyAddr", "TCPGetMyPort", "TCPGetRemoteAddr")


class StartTlsCase(TestCase):
    DAEMON_OPTIONS = {"resolver": True}

    @classmethod
    def setUpClass(cls):
        cls.DAEMON_ARGS = ("--cacerts", certificates().cacerts)
        super().setUpClass()

    def pair(self, host="four.test", client=None, **kw):
        peer = self.use(servers.Peer())
        return (client or self.client).connect(peer.port, host, **kw), peer.take()

    def secured(self, context=None, host="four.test", **params):
        """A number, the peer's end, and what TCPStartTLS told."""
        number, connection = self.pair(host)
        handshake = Handshake(connection, context)
        params.setdefault("server_name", "localhost")
        tls = self.client.call("TCPStartTLS", socket=number, **params)["tls"]
        secure = handshake.result()
        self.addCleanup(secure.close)
        return number, secure, tls

    @contextlib.contextmanager
    def daemon_stopped(self):
        """All its threads stand still meanwhile."""
        def states():
            for task in os.listdir(f"/proc/{self.daemon.pid}/task"):
                with open(f"/proc/{self.daemon.pid}/task/{task}/stat", encoding="ascii", errors="replace") as file:
                    yield file.read().rsplit(")", 1)[1].split()[0]
        os.kill(self.daemon.pid, signal.SIGSTOP)
        try:
            wait_until(lambda: set(states()) == {"T"}, what="all threads standing still")
            yield
        finally:
            os.kill(self.daemon.pid, signal.SIGCONT)

    def row(self, number):
        return next(row for row in self.client.call("Broker.List")["sockets"] if row["socket"] == number)

    def addresses(self, number):
        return [self.client.call(method, [number]) for method in ADDRESSES]

    def both_ways(self, number, connection, client=None, **label):
        client = client or self.client
        client.call("TCPSend", socket=number, data="hällo", **label)
        self.assertEqual(servers.read_exactly(connection, 6), "hällo".encode())
        connection.sendall(b"reply\n")
        self.assertEqual(client.call("TCPReceive", socket=number, until="\n", timeout_ms=int(seconds(5000)), **label)["data"],
                         "reply\n")

    def begin(self, number, connection, client=None, **params):
        """TCPStartTLS to a peer that got the ClientHello and says nothing: the request's id."""
        id = (client or self.client).send("TCPStartTLS", {"socket": number, "server_name": "localhost", **params})
        self.assertEqual(servers.read_exactly(connection, 2)[0], 22, "a handshake record")
        return id

    def lost(self, number, code, symbol, stage=None):
        """The number lives, everything gives that error, and it can be closed."""
        for method, params in (*((method, {}) for method in ADDRESSES), ("TCPSend", {"data": "x"}), ("TCPReceive", {}),
                               ("TCPReceive", {"exact": 5, "timeout_ms": 1}), ("TCPClose", {"option": 1}), ("TCPOffer", {}),
                               ("TCPStartTLS", {"server_name": "localhost"}), ("TCPStartTLS", {"verify": False})):
            with self.subTest(method=method, params=params):
                self.check_error(self.client.error(method, socket=number, **params), code, symbol, stage)
        self.assertEqual(self.row(number)["state"], "failed")
        self.assertEqual(self.client.call("TCPClose", [number]), {"status": 0, "discarded": 0})
        self.fails(-10038, "ENOTSOCK", "TCPGetMyPort", [number])


class RealServers(StartTlsCase):
    def line(self, number):
        return self.client.call("TCPReceive", socket=number, until="\r\n", timeout_ms=int(seconds(5000)))["data"]

    def mail(self, dialogue, version, *options):
        echo = self.use(TlsEcho(*options))
        front = self.use(MailFront(dialogue, echo.port))
        number = self.client.connect(front.port, "localhost", family="ipv4")
        if dialogue is MailFront.SMTP:
            self.assertTrue(self.line(number).startswith("220 "))
            self.client.call("TCPSend", [number, "EHLO client.example\r\n"])
            while self.line(number)[3] == "-":
                pass
            self.client.call("TCPSend", [number, "STARTTLS\r\n"])
            self.assertTrue(self.line(number).startswith("220 "))
        else:
            self.assertTrue(self.line(number).startswith("* OK"))
            self.client.call("TCPSend", [number, "a1 CAPABILITY\r\n"])
            self.assertIn("STARTTLS", self.line(number))
            self.line(number)
            self.client.call("TCPSend", [number, "a2 STARTTLS\r\n"])
            self.assertTrue(self.line(number).startswith("a2 OK"))
        tls = self.client.call("TCPStartTLS", [number])["tls"]
        self.assertEqual((tls["version"], tls["verified"], tls["server_name"]), (version, True, "localhost"))
        for word in ("straight", "level"):
            self.client.call("TCPSend", [number, word + "\n"])
            answer = self.client.call("TCPReceive", socket=number, until="\n", timeout_ms=int(seconds(5000)))
            self.assertEqual(answer["data"], word[::-1] + "\n")
        self.client.call("TCPClose", [number])

    def test_smtp(self):
        self.mail(MailFront.SMTP, "TLSv1.3")

    def test_smtp_with_tls_1_2(self):
        self.mail(MailFront.SMTP, "TLSv1.2", "-tls1_2")

    def test_imap(self):
        self.mail(MailFront.IMAP, "TLSv1.3")

    def smtp(self, number, command, code):
        """One command, none at first, and the server's answer, of one line or more."""
        if command:
            self.client.call("TCPSend", [number, command + "\r\n"])
        lines = [self.line(number)]
        while lines[-1][3] == "-":
            lines.append(self.line(number))
        self.assertEqual({line[:3] for line in lines}, {str(code)}, lines)
        return "".join(lines)

    def test_a_message_to_a_mail_server(self):
        server = self.use(MailServer())
        number = self.client.connect(server.port, "localhost", family="ipv4")
        self.smtp(number, None, 220)
        self.assertIn("STARTTLS", self.smtp(number, "EHLO client.example", 250))
        self.smtp(number, "MAIL FROM:<a@client.example>", 530)  # it wants TLS first
        self.smtp(number, "STARTTLS", 220)
        tls = self.client.call("TCPStartTLS", [number])["tls"]
        self.assertEqual((tls["version"], tls["verified"]), ("TLSv1.3", True))
        self.assertNotIn("STARTTLS", self.smtp(number, "EHLO client.example", 250))
        self.smtp(number, "MAIL FROM:<a@client.example>", 250)
        self.smtp(number, "RCPT TO:<b@mail.example>", 250)
        self.smtp(number, "DATA", 354)
        self.smtp(number, "Subject: through the broker\r\n\r\nHello.\r\n.", 250)
        self.smtp(number, "QUIT", 221)
        self.client.call("TCPClose", [number])
        wait_until(lambda: "Subject: through the broker" in server.received(), what="the message being there")

    def messages(self, number):
        """PostgreSQL's answers until it is ready for a query: [(type, body)]."""
        found = []
        while not found or found[-1][0] != b"Z":
            kind, size = struct.unpack("!cI", self.bytes(number, 5))
            found.append((kind, self.bytes(number, size - 4) if size > 4 else b""))
            self.assertNotEqual(kind, b"E", found[-1][1])
        return found

    def bytes(self, number, n):
        answer = self.client.call("TCPReceive", socket=number, exact=n, encoding="base64", timeout_ms=int(seconds(10000)))
        self.assertEqual(answer["received"], n)
        return base64.b64decode(answer["data_base64"])

    def send_bytes(self, number, data):
        self.client.call("TCPSend", socket=number, data_base64=base64.b64encode(data).decode())

    def test_postgresql(self):
        server = self.use(PostgreSQL())
        number = self.client.connect(server.port, "localhost", family="ipv4")
        self.send_bytes(number, struct.pack("!II", 8, 80877103))
        self.assertEqual(self.bytes(number, 1), b"S")
        tls = self.client.call("TCPStartTLS", [number])["tls"]
        self.assertEqual((tls["version"], tls["verified"]), ("TLSv1.3", True))
        start = b"user\0" + server.user.encode() + b"\0database\0postgres\0\0"
        self.send_bytes(number, struct.pack("!II", 8 + len(start), 196608) + start)
        self.assertIn((b"R", struct.pack("!I", 0)), self.messages(number), "logged in")
        query = b"select 6 * 7, ssl, version from pg_stat_ssl where pid = pg_backend_pid()\0"
        self.send_bytes(number, struct.pack("!cI", b"Q", 4 + len(query)) + query)
        row = next(body for kind, body in self.messages(number) if kind == b"D")
        self.assertEqual(row, struct.pack("!HI2sI1sI7s", 3, 2, b"42", 1, b"t", 7, b"TLSv1.3"))
        self.send_bytes(number, struct.pack("!cI", b"X", 4))
        self.check_end(self.client.call("TCPReceive", socket=number, timeout_ms=int(seconds(5000))))
        self.client.call("TCPClose", [number])


class Secured(StartTlsCase):
    def test_both_versions(self):
        for context, version in ((servers.tls12(), "TLSv1.2"), (servers.tls13(), "TLSv1.3")):
            with self.subTest(version=version):
                number, connection = self.pair("localhost", family="ipv4")
                self.assertIs(self.row(number)["secure"], False)
                before = self.addresses(number)
                stats = self.client.call("Broker.Stats")
                handshake = Handshake(connection, context)
                tls = self.client.call("TCPStartTLS", [number])["tls"]
                secure = handshake.result()
                self.assertEqual((tls["version"], tls["verified"], tls["resumed"]), (version, True, False))
                self.assertEqual((tls["server_name"], handshake.name), ("localhost", "localhost"))
                self.assertIn("localhost", tls["peer"]["subject"])
                after = self.addresses(number)
                self.assertEqual(after, before)
                row = self.row(number)
                self.assertEqual((row["secure"], row["verified"], row["state"]), (True, True, "connected"))
                self.assertEqual(self.client.call("Broker.Stats")["handshakes_ok"], stats["handshakes_ok"] + 1)
                self.both_ways(number, secure)
                closing = self.client.send("TCPClose", [number])
                self.assertEqual(secure.recv(1), b"")
                secure.unwrap().close()
                self.assertEqual(self.client.wait(closing)["status"], 0)

    def test_plain_bytes_before_and_large_ones_after(self):
        number, connection = self.pair("localhost", family="ipv4")
        self.both_ways(number, connection)
        handshake = Handshake(connection)
        self.client.call("TCPStartTLS", [number])
        secure = handshake.result()
        block = "0123456789abcdef" * 4096
        for _ in range(4):
            id = self.client.send("TCPSend", [number, block])
            self.assertEqual(servers.read_exactly(secure, len(block)), block.encode())
            self.assertEqual(self.client.wait(id)["sent"], len(block))
            writer = threading.Thread(target=secure.sendall, args=(block.encode(),))
            writer.start()
            self.assertEqual(self.client.call("TCPReceive", socket=number, exact=len(block))["data"], block)
            writer.join(seconds(10))
        row = self.row(number)
        self.assertEqual((row["bytes_in"], row["bytes_out"]), (6 + 4 * len(block), 6 + 4 * len(block)))

    def test_what_the_server_says_right_behind_its_half(self):
        number, connection = self.pair("localhost", family="ipv4")
        handshake = Handshake(connection)
        self.client.call("TCPStartTLS", [number])
        handshake.result().sendall(b"* PREAUTH at once\r\n")
        self.assertEqual(self.client.call("TCPReceive", socket=number, until="\n")["data"], "* PREAUTH at once\r\n")

    def test_the_name(self):
        number, secure, tls = self.secured(servers.tls_context("wildcard"), server_name="www.tls.test")
        self.assertEqual((tls["server_name"], tls["verified"]), ("www.tls.test", True))
        self.both_ways(number, secure)
        number, connection = self.pair("mail.tls.test")
        handshake = Handshake(connection, servers.tls_context("wildcard"))
        self.assertEqual(self.client.call("TCPStartTLS", [number])["tls"]["server_name"], "mail.tls.test")
        handshake.result()
        self.assertEqual(handshake.name, "mail.tls.test")
        number, connection = self.pair("127.0.0.1")
        handshake = Handshake(connection)
        tls = self.client.call("TCPStartTLS", [number])["tls"]
        self.assertNotIn("server_name", tls)
        self.assertIs(tls["verified"], True)
        handshake.result()
        self.assertIsNone(handshake.name, "no SNI for an address")

    def test_unverified(self):
        stats = self.client.call("Broker.Stats")["tls_unverified"]
        number, secure, tls = self.secured(servers.tls_context("unknown-ca"), verify=False)
        self.assertIs(tls["verified"], False)
        self.assertEqual((self.row(number)["secure"], self.row(number)["verified"]), (True, False))
        self.both_ways(number, secure)
        self.assertEqual(self.client.call("Broker.Stats")["tls_unverified"], stats + 1)

    def test_alpn(self):
        for offered, agreed in ((["imap", "xmpp-client"], "imap"), (["other"], None)):
            number, secure, tls = self.secured(servers.tls_context(alpn=["xmpp-client", "imap"]), alpn=offered)
            if agreed:
                self.assertIn(tls["alpn"], offered)
                self.assertEqual(secure.selected_alpn_protocol(), tls["alpn"])
            else:
                self.assertNotIn("alpn", tls)
            self.both_ways(number, secure)

    def test_min_tls(self):
        self.assertEqual(self.secured(min_tls="1.3")[2]["version"], "TLSv1.3")
        number, connection = self.pair()
        Handshake(connection, servers.tls12())
        self.fails(-1031, "TLS_HANDSHAKE", "TCPStartTLS", socket=number, server_name="localhost", min_tls="1.3", stage="tls")

    def test_owners_modes_and_limits_stay(self):
        number, connection = self.pair(thread="mail")
        data = self.fails(-33001, "NOT_OWNER", "TCPStartTLS", socket=number, server_name="localhost")
        self.assertEqual(data["owner"], "mail")
        self.client.call("TCPBlock", socket=number, option=1, thread="mail")
        handshake = Handshake(connection)
        self.client.call("TCPStartTLS", socket=number, server_name="localhost", thread="mail")
        self.fails(-10035, "EWOULDBLOCK", "TCPReceive", socket=number, thread="mail")
        handshake.result()
        self.assertEqual(self.row(number)["owner"], "mail")

    def test_an_accepted_socket(self):
        server = self.client.call("TCPSocket", family="ipv4")["socket"]
        port = self.client.call("TCPBind", socket=server, port=0, address="127.0.0.1")["port"]
        self.client.call("TCPListen", [server])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.settimeout(seconds(10))
            number = self.client.call("TCPAccept", [server])["socket"]
            data = self.fails(-32602, "INVALID_PARAMS", "TCPStartTLS", [number], stage="request")
            self.assertEqual(data["param"], "server_name")
            self.both_ways(number, connection)
            handshake = Handshake(connection)
            self.assertIs(self.client.call("TCPStartTLS", [number, True, "localhost"])["tls"]["verified"], True)
            self.both_ways(number, handshake.result())
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.settimeout(seconds(10))
            number = self.client.call("TCPAccept", [server])["socket"]
            handshake = Handshake(connection)
            tls = self.client.call("TCPStartTLS", [number, False])["tls"]
            self.assertIs(tls["verified"], False)
            self.assertNotIn("server_name", tls)
            self.both_ways(number, handshake.result())

    def test_offered_and_claimed(self):
        for context in (servers.tls12(), servers.tls13()):
            number, secure, tls = self.secured(context)
            secure.sendall(b"before")
            wait_until(lambda: self.row(number)["bytes_in"] == 6, what="the bytes in the broker")
            token = self.client.call("TCPOffer", [number])["token"]
            secure.sendall(b" and between")
            other = self.open_client()
            claimed = other.call("TCPClaim", token=token, thread="heir")
            self.assertEqual(claimed["tls"], tls)
            self.assertEqual(claimed["socket"], number)
            self.assertEqual(other.call("TCPReceive", socket=number, exact=18, thread="heir")["data"], "before and between")
            self.both_ways(number, secure, other, thread="heir")
            self.fails(-33001, "NOT_OWNER", "TCPSend", [number, "x"])

    def test_a_plain_socket_is_claimed_and_then_secured(self):
        number, connection = self.pair("localhost", family="ipv4")
        other = self.open_client()
        other.call("TCPClaim", [self.client.call("TCPOffer", [number])["token"]])
        handshake = Handshake(connection)
        self.assertEqual(other.call("TCPStartTLS", [number])["tls"]["server_name"], "localhost")
        self.both_ways(number, handshake.result(), other)


class Refused(StartTlsCase):
    """Nothing has changed: the plain conversation goes on, and can be secured later."""

    def refused(self, number, code, symbol, retryable=None, **params):
        params.setdefault("server_name", "localhost")
        return self.fails(code, symbol, "TCPStartTLS", socket=number, retryable=retryable, **params)

    def unharmed(self, number, connection):
        self.both_ways(number, connection)
        handshake = Handshake(connection)
        self.client.call("TCPStartTLS", socket=number, server_name="localhost")
        self.both_ways(number, handshake.result())

    def test_secure_already(self):
        number, secure, _ = self.secured()
        self.refused(number, -1015, "ALREADY_SECURE", False)
        self.both_ways(number, secure)
        server = self.use(servers.Server(tls=servers.tls_context()))
        number = self.client.connect(server.port, secure=True)
        self.refused(number, -1015, "ALREADY_SECURE", False)

    def test_unread_plain_bytes_in_the_broker(self):
        number, connection = self.pair()
        connection.sendall(b"220 ready\r\nEVIL")
        self.assertEqual(self.client.call("TCPReceive", socket=number, until="\n")["data"], "220 ready\r\n")
        data = self.refused(number, -10022, "EINVAL", False)
        self.assertEqual(data["stage"], "request")
        self.assertEqual(self.client.call("TCPReceive", socket=number, exact=4)["data"], "EVIL")
        self.unharmed(number, connection)

    def test_plain_bytes_that_are_still_in_the_kernel(self):
        number, connection = self.pair()
        for asked_first in (True, False):
            # what happens first while the broker stands still is what it sees first
            with self.daemon_stopped():
                if not asked_first:
                    connection.sendall(b"EVIL")
                id = self.client.send("TCPStartTLS", socket=number, server_name="localhost")
                if asked_first:
                    connection.sendall(b"EVIL")
            self.check_error(self.client.answer(id)["error"], -10022, "EINVAL", "request", False)
            self.assertEqual(self.client.call("TCPReceive", socket=number, exact=4)["data"], "EVIL")
        self.unharmed(number, connection)

    def test_a_peers_end_that_is_still_in_the_kernel(self):
        number, connection = self.pair()
        with self.daemon_stopped():
            id = self.client.send("TCPStartTLS", socket=number, server_name="localhost")
            connection.shutdown(socket.SHUT_WR)
        self.check_error(self.client.answer(id)["error"], -10022, "EINVAL", "request", False)
        self.client.call("TCPSend", [number, "still"])
        self.assertEqual(servers.read_exactly(connection, 5), b"still")

    def test_requests_that_run(self):
        number, connection = self.pair()
        receive = self.client.send("TCPReceive", socket=number, exact=3)
        self.refused(number, -33002, "BUSY", True)
        connection.sendall(b"abc")
        self.assertEqual(self.client.wait(receive)["data"], "abc")
        sends = [self.client.send("TCPSend", [number, "s" * 500000]) for _ in range(20)]
        wait_until(lambda: self.client.answered(sends[0]), what="the first is on its way")
        self.refused(number, -33002, "BUSY", True)
        servers.read_exactly(connection, 20 * 500000)
        for id in sends:
            self.client.wait(id)
        self.unharmed(number, connection)

    def test_a_close_that_runs(self):
        number, connection = self.pair()
        closing = self.client.send("TCPClose", [number])
        self.assertEqual(connection.recv(1), b"")
        self.refused(number, -33002, "BUSY", True)
        connection.close()
        self.assertEqual(self.client.wait(closing)["status"], 0)

    def test_after_either_side_has_ended(self):
        number, connection = self.pair()
        self.client.call("TCPClose", [number, 1])
        self.refused(number, -10058, "ESHUTDOWN", False)
        connection.sendall(b"still")
        self.assertEqual(self.client.call("TCPReceive", socket=number, exact=5)["data"], "still")
        for read in (False, True):
            number, connection = self.pair()
            connection.shutdown(socket.SHUT_WR)
            if read:
                self.check_end(self.client.call("TCPReceive", [number]))
            self.refused(number, -10022, "EINVAL", False)
            self.client.call("TCPSend", [number, "still"])
            self.assertEqual(servers.read_exactly(connection, 5), b"still")

    def test_sockets_that_are_not_connected(self):
        number = self.client.call("TCPSocket", family="ipv4")["socket"]
        self.refused(number, -10057, "ENOTCONN", False)
        self.client.call("TCPBind", socket=number, port=0, address="127.0.0.1")
        self.refused(number, -10057, "ENOTCONN", False)
        self.client.call("TCPListen", [number])
        self.refused(number, -10057, "ENOTCONN", False)
        self.assertEqual(self.row(number)["state"], "listening")
        self.fails(-10038, "ENOTSOCK", "TCPStartTLS", [4711])

    def test_parameters(self):
        number, connection = self.pair()
        for param, value in (("identity", "me"), ("server_name", ""), ("server_name", "a b"), ("server_name", ".example"),
                             ("alpn", []), ("alpn", [""]), ("min_tls", "1.1"), ("timeout_ms", -1), ("nonsense", 1)):
            with self.subTest(param=param, value=value):
                data = self.refused(number, -32602, "INVALID_PARAMS", False, **{param: value})
                self.assertTrue(data["param"].startswith(param), data)
        self.unharmed(number, connection)

    def test_a_trust_store_that_cannot_be_used(self):
        with tempfile.TemporaryDirectory() as folder:
            empty = os.path.join(folder, "empty")
            os.mkdir(empty)
            for path in (os.path.join(folder, "absent"), empty):
                with Daemon("--cacerts", path, "--set", "tls.system_store=no") as daemon, Client(daemon) as client:
                    peer = self.use(servers.Peer())
                    number = client.connect(peer.port)
                    connection = peer.take()
                    error = client.error("TCPStartTLS", socket=number, server_name="localhost")
                    self.assertIn(error.code, range(-1029, -1023))
                    self.check_error(error, error.code, error.symbol, "tls", False)
                    self.both_ways(number, connection, client)
                    handshake = Handshake(connection)
                    self.assertIs(client.call("TCPStartTLS", [number, False])["tls"]["verified"], False)
                    self.both_ways(number, handshake.result(), client)


class Injection(StartTlsCase):
    """Bytes that stand in plain text right behind the server's consent must never count as said by TLS."""

    def test_behind_the_reply(self):
        for pieces in ((b"220 ready\r\n250 injected\r\n",), (b"220 ready\r\n", b"250 injected\r\n")):
            number, connection = self.pair("localhost", family="ipv4")
            self.client.call("TCPSend", [number, "STARTTLS\r\n"])
            servers.read_exactly(connection, 10)
            for piece in pieces:
                connection.sendall(piece)
            self.assertEqual(self.client.call("TCPReceive", socket=number, until="\n")["data"], "220 ready\r\n")
            self.fails(-10022, "EINVAL", "TCPStartTLS", [number], stage="request", retryable=False)

    def test_behind_the_check(self):
        """They come when the handshake has begun already: it fails, they are not given out."""
        number, connection = self.pair("localhost", family="ipv4")
        id = self.begin(number, connection)
        connection.sendall(b"250 injected\r\n")
        self.check_error(self.client.answer(id)["error"], -1031, "TLS_HANDSHAKE", "tls")
        self.lost(number, -1031, "TLS_HANDSHAKE", "tls")


class Failed(StartTlsCase):
    def failed(self, answer, code, symbol, stage="tls", retryable=None):
        return self.check_error(answer["error"], code, symbol, stage, retryable)

    def test_certificates(self):
        stats = self.client.call("Broker.Stats")["handshakes_failed"]
        for certificate, name in (("expired", "localhost"), ("unknown-ca", "localhost"), ("good", "other.example"),
                                  ("client-only", "localhost"), ("wrong-ip", "127.0.0.1")):
            with self.subTest(certificate=certificate):
                number, connection = self.pair()
                Handshake(connection, servers.tls_context(certificate))
                answer = self.client.answer(self.client.send("TCPStartTLS", socket=number, server_name=name))
                data = self.failed(answer, -33010, "TLS_VERIFY", retryable=False)
                self.assertGreater(data["tls"]["verify_code"], 0)
                self.assertIn("CN", data["tls"]["subject"])
                self.lost(number, -33010, "TLS_VERIFY", "tls")
        self.assertEqual(self.client.call("Broker.Stats")["handshakes_failed"], stats + 5)

    def test_the_name_of_connect_is_checked(self):
        number, connection = self.pair("four.test")
        Handshake(connection)
        self.fails(-33010, "TLS_VERIFY", "TCPStartTLS", [number], stage="tls")

    def test_broken_handshakes(self):
        for behaviour, code, symbol in ((servers.plain_answer, -1031, "TLS_HANDSHAKE"),
                                        (servers.cut_handshake, -1031, "TLS_HANDSHAKE"),
                                        (servers.alert_handshake, -1031, "TLS_HANDSHAKE"),
                                        (servers.reset_handshake, -10054, "ECONNRESET")):
            with self.subTest(behaviour=behaviour.__name__):
                number, connection = self.pair()
                player = threading.Thread(target=behaviour, args=(connection,), daemon=True)
                player.start()
                answer = self.client.answer(self.client.send("TCPStartTLS", socket=number, server_name="localhost"))
                data = self.failed(answer, code, symbol)
                if behaviour is servers.alert_handshake:
                    self.assertIn("handshake", data["tls"]["alert"].replace("_", " "))
                self.lost(number, code, symbol, "tls")
                player.join(seconds(10))

    def test_a_peer_that_hangs(self):
        number, connection = self.pair()
        with Elapsed() as elapsed:
            id = self.begin(number, connection, timeout_ms=300)
            self.failed(self.client.answer(id), -10060, "ETIMEDOUT")
        self.assertGreater(elapsed.ms, 280)
        self.assertLess(elapsed.ms, 300 + 400 * SLOW)
        self.lost(number, -10060, "ETIMEDOUT", "tls")
        servers.read_to_end(connection)

    def test_by_the_configuration(self):
        with Daemon("--set", "connect.timeout=250ms", *self.DAEMON_ARGS) as daemon, Client(daemon) as client:
            peer = self.use(servers.Peer())
            number = client.connect(peer.port)
            connection = peer.take()
            with Elapsed() as elapsed:
                error = client.error("TCPStartTLS", socket=number, server_name="localhost")
            self.check_error(error, -10060, "ETIMEDOUT", "tls", False)
            self.assertGreater(elapsed.ms, 230)
            self.assertLess(elapsed.ms, 250 + 400 * SLOW)
            self.assertEqual(connection.recv(1)[0], 22)

    def test_cancelled(self):
        number, connection = self.pair()
        id = self.begin(number, connection)
        self.assertEqual(self.client.call("Broker.Cancel", [id]), {"cancelled": True})
        self.check_error(self.client.answer(id)["error"], -10004, "EINTR", retryable=False)
        self.lost(number, -10053, "ECONNABORTED")
        try:
            servers.read_to_end(connection)
        except ConnectionResetError:
            pass


class Meanwhile(StartTlsCase):
    def finish(self, id, connection):
        """What was read of the ClientHello is put back by answering with an alert: the handshake fails, and soon."""
        connection.sendall(bytes([21, 3, 3, 0, 2, 2, 40]))
        self.check_error(self.client.answer(id)["error"], -1031, "TLS_HANDSHAKE", "tls")

    def test_other_requests_are_busy(self):
        number, connection = self.pair()
        addresses = self.addresses(number)
        id = self.begin(number, connection)
        row = self.row(number)
        self.assertEqual((row["state"], row["secure"], row["remote_port"]), ("securing", False, addresses[2]["port"]))
        for method, params in (("TCPSend", {"data": "x"}), ("TCPReceive", {}), ("TCPReceive", {"timeout_ms": 0}),
                               ("TCPClose", {"option": 0}), ("TCPClose", {"option": 1}), ("TCPTransfer", {"to": "x"}),
                               ("TCPOffer", {}), ("TCPStartTLS", {"server_name": "localhost"}),
                               ("TCPStartTLS", {"verify": False})):
            with self.subTest(method=method, params=params):
                self.fails(-33002, "BUSY", method, socket=number, retryable=True, **params)
        self.assertEqual(self.addresses(number), addresses)
        self.assertFalse(self.client.answered(id))
        self.finish(id, connection)

    def test_it_can_be_aborted(self):
        for _ in range(5):
            number, connection = self.pair()
            id = self.begin(number, connection)
            self.assertEqual(self.client.call("TCPClose", [number, 2])["status"], 0)
            self.check_error(self.client.answer(id)["error"], -10053, "ECONNABORTED")
            self.fails(-10038, "ENOTSOCK", "TCPGetMyPort", [number])
            connection.settimeout(seconds(5))
            try:
                servers.read_to_end(connection)
            except ConnectionResetError:
                pass

    def test_aborted_at_any_moment(self):
        self.client.call("Broker.Hello")  # so that its own connection is counted
        before = len(self.daemon.fds())
        outcomes = set()
        for i in range(30):
            number, connection = self.pair("localhost", family="ipv4")
            Handshake(connection)
            id = self.client.send("TCPStartTLS", [number])
            end = time.monotonic() + i * 0.0003 * SLOW
            while time.monotonic() < end:
                pass
            self.assertEqual(self.client.call("TCPClose", [number, 2])["status"], 0)
            answer = self.client.answer(id)
            outcomes.add(answer["error"]["code"] if "error" in answer else 0)
        self.assertLessEqual(outcomes, {0, -10053})
        wait_until(lambda: len(self.daemon.fds()) <= before, 10, "descriptors freed")

    def test_cancelled_at_any_moment(self):
        self.client.call("Broker.Hello")  # so that its own connection is counted
        before = len(self.daemon.fds())
        for i in range(30):
            number, connection = self.pair("localhost", family="ipv4")
            handshake = Handshake(connection)
            id = self.client.send("TCPStartTLS", [number])
            end = time.monotonic() + i * 0.0003 * SLOW
            while time.monotonic() < end:
                pass
            cancelled = self.client.call("Broker.Cancel", [id])["cancelled"]
            answer = self.client.answer(id)
            self.assertEqual("error" in answer, cancelled)
            if cancelled:
                self.check_error(answer["error"], -10004, "EINTR")
                self.check_error(self.client.error("TCPSend", [number, "x"]), -10053, "ECONNABORTED")
            else:
                self.both_ways(number, handshake.result())
            self.client.call("TCPClose", [number, 2])
        wait_until(lambda: len(self.daemon.fds()) <= before, 10, "descriptors freed")

    def test_a_client_that_is_killed(self):
        self.client.call("Broker.Hello")  # so that its own connection is counted
        before = len(self.daemon.fds())
        raw = Raw(self.daemon)
        peer = self.use(servers.Peer())
        connections = []
        for i in range(10):
            answer = raw.ask({"jsonrpc": "2.0", "id": i, "method": "TCPConnect", "params": ["127.0.0.1", peer.port]})
            connections.append(peer.take())
            raw.write_line(json.dumps({"jsonrpc": "2.0", "id": 100 + i, "method": "TCPStartTLS",
                                       "params": {"socket": answer["result"]["socket"], "server_name": "localhost"}}))
            self.assertEqual(servers.read_exactly(connections[-1], 1), b"\x16")
        raw.close()
        wait_until(lambda: len(self.daemon.fds()) <= before, 5, "descriptors freed")
        for connection in connections:
            try:
                servers.read_to_end(connection)
            except ConnectionResetError:
                pass
        self.check_stats("sockets", 0)
        self.check_stats("requests_running", 1)

    def test_the_broker_stops(self):
        with Daemon("--set", "stop.drain_timeout=200ms", *self.DAEMON_ARGS) as daemon, Client(daemon) as client:
            peer = self.use(servers.Peer())
            number = client.connect(peer.port)
            connection = peer.take()
            id = self.begin(number, connection, client)
            daemon.terminate()
            self.check_error(client.answer(id)["error"], -33005, "SHUTTING_DOWN")
            self.assertEqual(daemon.wait_exit(), 0)


if __name__ == "__main__":
    main()
