"""TLS as server: TCPAccept with secure, TCPStartTLS with server; client certificates; what is refused and what is left."""
import fcntl
import os
import shutil
import socket
import ssl
import sys
import tempfile
import termios
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from ca import certificates
from harness import Elapsed, RpcError, main, seconds, wait_until
from partners import Partners, section
from serving import ServerCase


class Caller:
    """The client's half of a handshake, in a thread of its own: Python's ssl on a TCP connection."""

    def __init__(self, port, context, server_name="localhost", before=b""):
        self.sock, self.error = None, None
        self.plain = socket.create_connection(("127.0.0.1", port), seconds(10))
        self.context, self.server_name, self.before = context, server_name, before
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            self.sock = self.context.wrap_socket(self.plain, server_hostname=self.server_name)
        except (OSError, ValueError) as error:
            self.error = error

    def result(self):
        self.thread.join(seconds(10))
        if self.error:
            raise self.error
        return self.sock

    def close(self):
        self.thread.join(seconds(10))
        (self.sock or self.plain).close()


def client_context(certificate=None, version=None, alpn=None):
    context = ssl.create_default_context(cafile=os.path.join(certificates().cacerts, "test-ca.txt"))
    if certificate:
        context.load_cert_chain(*certificates().pem(certificate))
    if version:
        context.minimum_version = context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


class AcceptTls(ServerCase):
    @classmethod
    def setUpClass(cls):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            cls.SOURCE = free.getsockname()[1]
        good, weak = certificates().pem("good"), certificates().pem("weak-key")
        config = f"""
[connect]
timeout = 3s
[tls]
system_store = no
cacerts = {certificates().cacerts}
[tls "modern"]
min_version = 1.3
alpn = h2 http/1.1
[identity "server"]
certificate = {good[0]}
key = {good[1]}
users = {os.getuid()}
[identity "outgoing"]
certificate = {good[0]}
key = {good[1]}
users = {os.getuid()}
destinations = localhost
[identity "outgoing-port"]
certificate = {good[0]}
key = {good[1]}
users = {os.getuid()}
destinations = localhost:{cls.SOURCE}
[identity "others"]
certificate = {good[0]}
key = {good[1]}
users = 4242
[identity "weak"]
certificate = {weak[0]}
key = {weak[1]}
users = {os.getuid()}
"""
        cls.DAEMON_OPTIONS = {"config": config, "resolver": True}
        super().setUpClass()

    def calls(self, port, *args, **kw):
        caller = Caller(port, client_context(*args, **kw))
        self.addCleanup(caller.close)
        return caller

    def pair(self, *args, accept=None, **kw):
        """(what TCPAccept said, the peer's socket)"""
        number, port = self.listening()
        caller = self.calls(port, *args, **kw)
        accepted = self.accept(number, secure=True, identity="server", **(accept or {}))
        return accepted, caller.result()

    def refused(self, code, symbol, number, **kw):
        with self.assertRaises(RpcError) as caught:
            self.accept(number, secure=True, **kw)
        return self.check_error(caught.exception, code, symbol), caught.exception.message

    def failed(self, id):
        with self.assertRaises(RpcError) as caught:
            self.client.wait(id)
        return caught.exception

    # ---- what works ----

    def test_both_versions_and_what_is_told(self):
        for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
            with self.subTest(version=name):
                accepted, peer = self.pair(version=version)
                tls = accepted["tls"]
                self.assertEqual((tls["version"], tls["server_name"], tls["verified"], tls["resumed"]),
                                 (name, "localhost", False, False))
                self.assertNotIn("peer", tls)
                self.assertEqual(peer.version(), name)
                self.works(accepted, peer)
                row = self.row(accepted["socket"])
                self.assertEqual((row["secure"], row["verified"], row["state"]), (True, False, "connected"))

    def test_plain_as_before(self):
        number, port = self.listening()
        sock = self.dial(port)
        accepted = self.accept(number)
        self.assertNotIn("tls", accepted)
        self.works(accepted, sock)

    def test_ends_with_close_notify_both_ways(self):
        accepted, peer = self.pair()
        self.assertEqual(self.client.call("TCPClose", [accepted["socket"], 1]), {"status": 0, "discarded": 0})
        self.assertEqual(peer.recv(10), b"")  # orderly: Python's ssl raises for a truncated stream
        peer.sendall(b"last words")
        self.assertEqual(self.client.call("TCPReceive", socket=accepted["socket"], exact=10)["data"], "last words")
        peer.close()

    def test_a_waiting_accept(self):
        number, port = self.listening()
        id = self.waiting_accept(number, secure=True, identity="server")
        peer = self.calls(port).result()
        self.works(self.client.wait(id), peer)

    def test_no_session_is_resumed(self):
        number, port = self.listening()
        context = client_context()
        session = None
        for _ in range(2):
            plain = socket.create_connection(("127.0.0.1", port), seconds(10))
            self.addCleanup(plain.close)
            id = self.client.send("TCPAccept", socket=number, secure=True, identity="server")
            peer = context.wrap_socket(plain, server_hostname="localhost", session=session)
            self.addCleanup(peer.close)
            accepted = self.client.wait(id)
            self.works(accepted, peer)
            self.assertFalse(accepted["tls"]["resumed"])
            self.assertFalse(peer.session_reused)
            session = peer.session

    def test_alpn(self):
        accepted, peer = self.pair(alpn=["http/1.1", "h2"], accept={"alpn": ["h2", "http/1.1"]})
        self.assertEqual((accepted["tls"]["alpn"], peer.selected_alpn_protocol()), ("h2", "h2"))
        accepted, peer = self.pair(accept={"alpn": ["h2"]})
        self.assertNotIn("alpn", accepted["tls"])
        accepted, peer = self.pair(alpn=["http/1.1"], accept={"profile": "modern"})
        self.assertEqual((accepted["tls"]["alpn"], accepted["tls"]["version"]), ("http/1.1", "TLSv1.3"))

    def test_no_common_protocol(self):
        number, port = self.listening()
        caller = self.calls(port, alpn=["gopher"])
        data, message = self.refused(-1031, "TLS_HANDSHAKE", number, identity="server", alpn=["h2"])
        self.assertIn("ALPN", message)
        self.assertTrue(data["retryable"])
        self.assertRaises(ssl.SSLError, caller.result)

    # ---- client certificates ----

    def test_client_certificate_required(self):
        accepted, peer = self.pair("client-only", accept={"client_certificate": "required"})
        tls = accepted["tls"]
        self.assertTrue(tls["verified"])
        self.assertEqual((tls["peer"]["subject"], tls["peer"]["issuer"]), ("CN=localhost", "CN=tcpbroker test CA"))
        self.works(accepted, peer)
        self.assertTrue(self.row(accepted["socket"])["verified"])

    def test_client_certificate_optional(self):
        accepted, peer = self.pair(accept={"client_certificate": "optional"})
        self.assertFalse(accepted["tls"]["verified"])
        self.assertNotIn("peer", accepted["tls"])
        self.works(accepted, peer)
        accepted, peer = self.pair("client-only", accept={"client_certificate": "optional"})
        self.assertTrue(accepted["tls"]["verified"])
        self.works(accepted, peer)

    def test_client_without_a_certificate(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            number, port = self.listening()
            self.calls(port, version=version)
            data, message = self.refused(-1031, "TLS_HANDSHAKE", number, identity="server", client_certificate="required")
            self.assertIn("the client sent no certificate", message)
            self.assertEqual((data["stage"], data["retryable"]), ("tls", True))

    def test_client_certificates_that_are_not_good(self):
        for name, code in (("unknown-ca", 20), ("good", 26), ("weak-key", 66)):
            for word in ("optional", "required"):
                with self.subTest(name=name, word=word):
                    number, port = self.listening()
                    context = client_context()
                    context.set_ciphers("DEFAULT@SECLEVEL=0")
                    context.load_cert_chain(*certificates().pem(name))
                    caller = Caller(port, context)
                    self.addCleanup(caller.close)
                    data, message = self.refused(-33010, "TLS_VERIFY", number, identity="server", client_certificate=word)
                    self.assertIn("the client's certificate was not accepted", message)
                    self.assertNotIn("server's", message)
                    if code:
                        self.assertEqual(data["tls"]["verify_code"], code)
                    self.assertTrue(data["retryable"])

    def test_a_certificate_nobody_asked_for_is_not_sent(self):
        accepted, peer = self.pair("unknown-ca")
        self.assertNotIn("peer", accepted["tls"])
        self.works(accepted, peer)

    # ---- who may, and what is wrong with the request ----

    def test_identities(self):
        number, _ = self.listening()
        data, message = self.refused(-32602, "INVALID_PARAMS", number)
        self.assertEqual(data["param"], "identity")
        data, _ = self.refused(-32602, "INVALID_PARAMS", number, identity="nobody")
        self.assertEqual(data["param"], "identity")
        data, _ = self.refused(-32602, "INVALID_PARAMS", number, identity="server", profile="nothing")
        self.assertEqual(data["param"], "profile")
        data, message = self.refused(-10013, "EACCES", number, identity="others")
        self.assertEqual(data["stage"], "policy")
        self.assertIn("others", message)
        data, message = self.refused(-10013, "EACCES", number, identity="outgoing")
        self.assertIn("not for serving", message)
        # nothing was taken: a connection that waits is still there
        _, port = number, self.client.call("TCPGetMyPort", [number])["port"]
        caller = self.calls(port)
        self.refused(-10013, "EACCES", number, identity="others")
        self.works(self.accept(number, secure=True, identity="server"), caller.result())

    def test_weak_identity(self):
        number, port = self.listening()
        self.calls(port)
        _, message = self.refused(-10022, "EINVAL", number, identity="weak")
        self.assertIn("security level", message)
        self.assertIn("weak", message)

    def test_named_without_secure(self):
        """What only TLS has is not passed over; what asks for nothing may be there."""
        number, port = self.listening()
        accept, connect = ("TCPAccept", {"socket": number}), ("TCPConnect", {"hostname": "localhost", "port": port})
        for member, value, methods in (
                ("identity", "server", (accept, connect)), ("profile", "server", (accept, connect)),
                ("alpn", ["h2"], (accept, connect)), ("min_tls", "1.3", (accept, connect)), ("min_tls", "1.2", (accept, connect)),
                ("client_certificate", "required", (accept,)), ("client_certificate", "optional", (accept,)),
                ("server_name", "localhost", (connect,))):
            for method, params in methods:
                with self.subTest(method=method, member=member):
                    error = self.client.error(method, params | {member: value})
                    data = self.check_error(error, -32602, "INVALID_PARAMS")
                    self.assertEqual((data["param"], data["expected"]), (member, "nothing, or secure true with it"))
        for verify in (True, False):
            self.client.call("TCPConnect", hostname="localhost", port=port, verify=verify)
            self.accept(number, client_certificate="none")

    # ---- peers that do not play along ----

    def sockets(self):
        return len(self.client.call("Broker.List")["sockets"])

    def test_peers_that_speak_something_else(self):
        for words in (b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"x" * 100, b"\0" * 64):
            with self.subTest(words=words[:10]):
                number, port = self.listening()
                sock = self.dial(port)
                sock.sendall(words)
                sock.shutdown(socket.SHUT_WR)
                before = self.sockets()
                data, message = self.refused(-1031, "TLS_HANDSHAKE", number, identity="server")
                self.assertIn("127.0.0.1 port", message)
                self.assertTrue(data["retryable"])
                self.assertEqual(self.sockets(), before)

    def test_peer_that_goes_at_once(self):
        for abort in (False, True):
            number, port = self.listening()
            sock = self.dial(port)
            peer = f"127.0.0.1 port {sock.getsockname()[1]}: "
            if abort:
                servers.reset(sock)
            else:
                sock.close()
            with self.assertRaises(RpcError) as caught:
                self.accept(number, secure=True, identity="server")
            error = caught.exception
            self.assertIn(error.code, (-1031, -10054) if abort else (-1031,))
            self.assertEqual((error.data["stage"], error.data["retryable"]), ("tls", True))
            self.assertIn(peer, error.message)
            self.assertNotIn("socket", error.message)  # nobody knows its number
            # the next one is served
            caller = self.calls(port)
            self.works(self.accept(number, secure=True, identity="server"), caller.result())

    def test_silent_peer_holds_nobody_up(self):
        number, port = self.listening()
        self.dial(port)
        silent = self.client.send("TCPAccept", socket=number, secure=True, identity="server")
        wait_until(lambda: "securing" in [row["state"] for row in self.client.call("Broker.List")["sockets"]], 5,
                   "the silent peer's handshake")
        with Elapsed() as elapsed:
            caller = self.calls(port)
            accepted = self.accept(number, secure=True, identity="server")
        self.assertLess(elapsed.ms, seconds(2000))
        self.works(accepted, caller.result())
        with self.assertRaises(RpcError) as caught:
            self.client.wait(silent)
        self.check_error(caught.exception, -10060, "ETIMEDOUT", stage="tls", retryable=True)
        self.assertIn("connect.timeout", caught.exception.message)
        self.assertNotIn("timeout_ms long enough", caught.exception.message)

    def test_the_deadline_is_for_waiting(self):
        number, port = self.listening()
        with self.assertRaises(RpcError) as caught:
            self.accept(number, secure=True, identity="server", timeout_ms=50)
        self.check_error(caught.exception, -10060, "ETIMEDOUT")
        caller = self.calls(port)
        accepted = self.accept(number, secure=True, identity="server", timeout_ms=5000)
        self.works(accepted, caller.result())

    def test_cancelled(self):
        number, port = self.listening()
        waiting = self.waiting_accept(number, secure=True, identity="server")
        self.assertTrue(self.client.call("Broker.Cancel", [waiting])["cancelled"])
        self.assertEqual(self.failed(waiting).code, -10004)
        sock = self.dial(port)
        running = self.client.send("TCPAccept", socket=number, secure=True, identity="server")
        wait_until(lambda: "securing" in [row["state"] for row in self.client.call("Broker.List")["sockets"]], 5,
                   "the handshake")
        before = self.sockets()
        self.assertTrue(self.client.call("Broker.Cancel", [running])["cancelled"])
        self.assertEqual(self.failed(running).code, -10004)
        self.assertEqual(self.sockets(), before - 1)
        self.assertEqual(servers.read_to_end(sock), b"")

    def test_the_listening_socket_goes_meanwhile(self):
        number, port = self.listening()
        waiting = self.waiting_accept(number, secure=True, identity="server")
        self.client.call("TCPClose", [number, 2])
        self.assertEqual(self.failed(waiting).code, -10053)
        number, port = self.listening()
        caller_socket = self.dial(port)
        running = self.client.send("TCPAccept", socket=number, secure=True, identity="server")
        wait_until(lambda: "securing" in [row["state"] for row in self.client.call("Broker.List")["sockets"]], 5,
                   "the handshake")
        self.client.call("TCPClose", [number, 2])
        peer = client_context().wrap_socket(caller_socket, server_hostname="localhost")
        self.addCleanup(peer.close)
        self.works(self.client.wait(running), peer)

    def test_the_new_socket_is_closed_by_its_number_meanwhile(self):
        number, port = self.listening()
        self.dial(port)
        running = self.client.send("TCPAccept", socket=number, secure=True, identity="server")

        def securing():
            return [row["socket"] for row in self.client.call("Broker.List")["sockets"] if row["state"] == "securing"]
        new = wait_until(securing, 5, "the handshake")[0]
        with self.assertRaises(RpcError) as caught:
            self.client.call("TCPSend", [new, "too early"])
        self.check_error(caught.exception, -33002, "BUSY")
        self.client.call("TCPClose", [new, 2])
        self.assertEqual(self.failed(running).code, -10053)
        self.assertNotIn(new, [row["socket"] for row in self.client.call("Broker.List")["sockets"]])

    def test_the_client_goes_meanwhile(self):
        other = self.open_client()
        number = other.call("TCPSocket")["socket"]
        port = other.call("TCPBind", socket=number, port=0, address="127.0.0.1")["port"]
        other.call("TCPListen", socket=number)
        sock = self.dial(port)
        other.send("TCPAccept", socket=number, secure=True, identity="server")
        wait_until(lambda: "securing" in [row["state"] for row in self.client.call("Broker.List")["sockets"]], 5,
                   "the handshake")
        other.close()
        self.assertEqual(servers.read_to_end(sock), b"")
        wait_until(lambda: self.sockets() == 0, 5, "its sockets having gone")

    # ---- TCPStartTLS as client, of one who has called us ----

    def test_destinations_are_no_accepted_sockets(self):
        """The peer's port is the peer's choice, and server_name the caller's."""
        for identity, refused in (("outgoing", True), ("outgoing-port", True), ("server", False)):
            with self.subTest(identity=identity):
                number, port = self.listening()
                with socket.socket() as sock:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    sock.bind(("127.0.0.1", self.SOURCE if refused else 0))
                    sock.connect(("127.0.0.1", port))
                    accepted = self.accept(number)["socket"]
                    id = self.client.send("TCPStartTLS", socket=accepted, identity=identity, server_name="localhost")
                    if refused:
                        error = self.failed(id)
                        self.check_error(error, -10013, "EACCES", "policy", False)
                        self.assertIn("an accepted connection has none", error.message)
                        self.works({"socket": accepted}, sock)  # nothing has happened to it
                    else:
                        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                        context.load_cert_chain(*certificates().pem("good"))
                        with context.wrap_socket(sock, server_side=True) as peer:
                            self.assertTrue(self.client.wait(id)["tls"]["verified"])
                            self.works({"socket": accepted}, peer)

    # ---- TCPStartTLS as server ----

    def started(self, **kw):
        """A connection that was plain for a line: (number, the peer's plain socket)"""
        number, port = self.listening()
        sock = self.dial(port)
        accepted = self.accept(number)["socket"]
        sock.sendall(b"STARTTLS\n")
        self.assertEqual(self.client.call("TCPReceive", socket=accepted, until="\n")["data"], "STARTTLS\n")
        self.client.call("TCPSend", [accepted, "go ahead\n"])
        self.assertEqual(servers.read_exactly(sock, 9), b"go ahead\n")
        return accepted, sock

    def test_start_tls_as_server(self):
        for certificate, word in ((None, "none"), ("client-only", "required")):
            accepted, sock = self.started()
            id = self.client.send("TCPStartTLS", socket=accepted, server=True, identity="server", client_certificate=word)
            peer = client_context(certificate).wrap_socket(sock, server_hostname="localhost")
            self.addCleanup(peer.close)
            tls = self.client.wait(id)["tls"]
            self.assertEqual((tls["verified"], tls["server_name"]), (word == "required", "localhost"))
            self.works(accepted, peer)

    def test_start_tls_when_the_peer_is_faster(self):
        accepted, sock = self.started()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        peer = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        self.assertRaises(ssl.SSLWantReadError, peer.do_handshake)
        sock.sendall(outgoing.read())
        # acknowledged: the first words of TLS are there before the request
        wait_until(lambda: fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0" * 4) == b"\0" * 4, 5, "the ClientHello waiting")
        id = self.client.send("TCPStartTLS", socket=accepted, server=True, identity="server")
        while True:
            incoming.write(sock.recv(16384))
            try:
                peer.do_handshake()
                break
            except ssl.SSLWantReadError:
                pass
        sock.sendall(outgoing.read())
        self.assertEqual(self.client.wait(id)["tls"]["version"], "TLSv1.3")

    def test_start_tls_what_was_said_before_is_not_taken_for_tls(self):
        number, port = self.listening()
        sock = self.dial(port)
        accepted = self.accept(number)["socket"]
        sock.sendall(b"STARTTLS\ninjected")
        self.assertEqual(self.client.call("TCPReceive", socket=accepted, until="\n")["data"], "STARTTLS\n")
        with self.assertRaises(RpcError) as caught:
            self.client.call("TCPStartTLS", socket=accepted, server=True, identity="server")
        self.check_error(caught.exception, -10022, "EINVAL")
        self.assertEqual(self.client.call("TCPReceive", socket=accepted, exact=8)["data"], "injected")

    def test_start_tls_wrong_requests(self):
        accepted, _ = self.started()
        for params, param in (({"server": True}, "identity"),
                              ({"server": True, "identity": "server", "server_name": "localhost"}, "server_name"),
                              ({"client_certificate": "required", "server_name": "localhost"}, "client_certificate"),
                              ({"server": True, "identity": "server", "client_certificate": "perhaps"}, "client_certificate")):
            with self.assertRaises(RpcError) as caught:
                self.client.call("TCPStartTLS", socket=accepted, **params)
            self.assertEqual(self.check_error(caught.exception, -32602, "INVALID_PARAMS")["param"], param)
        with self.assertRaises(RpcError) as caught:
            self.client.call("TCPStartTLS", socket=accepted, server=True, identity="outgoing")
        self.check_error(caught.exception, -10013, "EACCES", stage="policy")

    # ---- many ----

    def test_many_at_once(self):
        n = 24
        number, port = self.listening()
        ids = []
        callers = [self.calls(port) for _ in range(n)]
        while len(ids) < n:
            ids.append(self.client.send("TCPAccept", socket=number, secure=True, identity="server"))
            # the slot is free again as soon as a connection was taken: answers come as handshakes end
            self.client.call("Broker.Hello")
        accepted = [self.client.wait(id) for id in ids]
        for caller in callers:
            caller.result()
        self.assertEqual(len({one["socket"] for one in accepted}), n)
        by_port = {one["remote_port"]: one for one in accepted}
        for caller in callers:
            self.works(by_port[caller.result().getsockname()[1]], caller.result())


class ClientLists(ServerCase):
    """What a trust profile says besides its roots goes for clients, too."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="tcpbroker-clients-")
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.partners = partners = Partners(cls.folder)
        cls.revoked = partners.new_client(name="a revoked client")
        cls.other = partners.new_client(name="another client")
        lists = partners.write("lists.pem", partners.maker.crl(partners.one, [cls.revoked]).pem)
        stale = partners.write("stale.pem", partners.maker.crl(partners.one, valid=(-30, -1)).pem)
        cls.DAEMON_OPTIONS = {"config": section("tls", system_store="no", cacerts=partners.cacerts) +
                              section("tls", "lists", crl=lists) + section("tls", "stale", crl=stale) +
                              section("tls", "pinned", pins="sha256:" + partners.client.key.pin.hex()) +
                              partners.identity("server", partners.server, [], users=os.getuid())}
        super().setUpClass()

    def verdict(self, client, profile):
        """0, or the verify code; what was said."""
        context = ssl.create_default_context(cafile=self.partners.root_file)
        context.load_cert_chain(*self.partners.maker.files(client, [self.partners.one]))
        number, port = self.listening()
        caller = Caller(port, context)
        self.addCleanup(caller.close)
        try:
            accepted = self.accept(number, secure=True, identity="server", client_certificate="required", profile=profile)
        except RpcError as error:
            self.assertRegex(error.message, "the client's certificate was not accepted")
            return error.data["tls"]["verify_code"], error.message
        self.assertTrue(accepted["tls"]["verified"])
        self.works(accepted, caller.result())
        return 0, ""

    def test_lists_and_pins(self):
        for client, profile, code, words in (
                (self.other, "lists", 0, ""), (self.revoked, "default", 0, ""),
                (self.revoked, "lists", 23, "it was revoked"), (self.other, "stale", 12, "newer list"),
                (self.partners.client, "pinned", 0, ""), (self.other, "pinned", 50, "pins of the trust profile")):
            with self.subTest(profile=profile, code=code):
                got, message = self.verdict(client, profile)
                self.assertEqual(got, code, message)
                self.assertIn(words, message)


if __name__ == "__main__":
    main()
