"""[identity "name"]: what arrives at a server that asks for a client's certificate, who may show an identity to whom, and
what is told about files that cannot be used."""
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from harness import Daemon, OwnDaemonTestCase, RpcError, TestCase, daemon_path, main, wait_until
from partners import Asking, Partners, Program, ask_as, section
from servers import Server, closed_port
from x509 import openssl

ME = str(os.getuid())
VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}

FOLDER = tempfile.mkdtemp(prefix="tcpbroker-identity-")
unittest.addModuleCleanup(shutil.rmtree, FOLDER, ignore_errors=True)
PARTNERS = Partners(FOLDER)


class Shown(TestCase):
    """Mutual TLS with real servers."""

    @classmethod
    def setUpClass(cls):
        made = PARTNERS
        unknown = made.maker.authority("an unknown root")
        chain = made.client.pem + made.one.pem
        credentials = os.path.join(FOLDER, "credentials")
        for name, content in (("partner.pem", chain), ("partner.key", made.key(made.client)),
                              ("partner.all", made.key(made.client) + chain)):
            made.write("credentials/" + name, content)
        together = made.write("together.pem", chain + made.key(made.client))
        first = made.write("key-first.pem", made.key(made.client) + chain)
        expired = made.new_client(valid=(-30, -1))
        cls.rsa = made.new_client(key=made.maker.key("rsa2048"), name="rsa")
        config = "".join((
            made.trust(), section("tls", "weak", security_level=0), section("log", level="debug"),
            made.identity("two-files", users=ME),
            section("identity", "one-file", certificate=together, users=ME),
            section("identity", "key-first", certificate=first, users=ME),
            section("identity", "credentials", certificate="cred:partner.pem", key="cred:partner.key", users=ME),
            section("identity", "credential", certificate="cred:partner.all", users=ME),
            made.identity("rsa", cls.rsa, users=ME),
            made.identity("no-chain", others=[], users=ME),
            made.identity("unknown", made.new_client(unknown), [unknown], users=ME),
            made.identity("expired", expired, users=ME),
            made.identity("soon", made.new_client(valid=(-30, 3.5)), users=ME),
            made.identity("weak", made.new_client(key=made.maker.key("rsa1024")), users=ME),
            made.identity("weak-ca", *cls.weak_ca(), users=ME)))
        cls.DAEMON_OPTIONS = {"config": config, "resolver": True, "env": {"CREDENTIALS_DIRECTORY": credentials}}
        super().setUpClass()

    @staticmethod
    def weak_ca():
        ca = PARTNERS.maker.authority("a weak CA", PARTNERS.root, digest="sha1")
        return PARTNERS.new_client(ca), [ca]

    def asking(self, version=None, demanded=ssl.CERT_REQUIRED):
        return self.use(Asking(PARTNERS.server_context(version, demanded)))

    def connect(self, server, identity=None, **kw):
        more = {"identity": identity} if identity else {}
        return self.client.call("TCPConnect", hostname="localhost", port=server.port, secure=True, **more, **kw)["socket"]

    def start_tls(self, server, identity, **kw):
        number = self.client.call("TCPConnect", hostname="localhost", port=server.port)["socket"]
        self.client.call("TCPStartTLS", socket=number, identity=identity, **kw)
        return number

    def echoes(self, number):
        self.client.call("TCPSend", [number, "hello\n"])
        self.assertEqual(self.client.call("TCPReceive", socket=number, until="\n")["data"], "hello\n")
        self.client.call("TCPClose", [number])

    def check_shown(self, identity, certificates, make, version):
        server = self.asking(version)
        self.echoes(make(server, identity))
        self.assertEqual(server.shown, [[each.der for each in certificates]])

    def test_certificate_and_chain_arrive(self):
        for name, version in VERSIONS.items():
            for identity in ("two-files", "one-file", "key-first", "credentials", "credential"):
                for make in (self.connect, self.start_tls):
                    with self.subTest(version=name, identity=identity, by=make.__name__):
                        self.check_shown(identity, [PARTNERS.client, PARTNERS.one], make, version)

    def test_rsa(self):
        for name, version in VERSIONS.items():
            with self.subTest(version=name):
                self.check_shown("rsa", [self.rsa, PARTNERS.one], self.connect, version)

    def test_openssl_as_the_server(self):
        for option in ("-tls1_2", "-tls1_3"):
            with self.subTest(option):
                server = self.use(Program(PARTNERS, option, "-Verify", "3", "-verify_return_error"))
                number = self.connect(server, "two-files")
                self.client.call("TCPSend", [number, "hello\n"])
                self.assertEqual(self.client.call("TCPReceive", socket=number, until="\n")["data"], "olleh\n")
                self.assertIn("depth=1 CN = partners one", server.said())
                self.assertIn("depth=0 CN = a client", server.said())

    def test_nobody_asks(self):
        server = self.asking(demanded=ssl.CERT_NONE)
        self.echoes(self.connect(server, "two-files"))
        self.assertEqual(server.shown, [[]])

    def test_asked_but_not_demanded(self):
        for version in VERSIONS.values():
            server = self.asking(version, ssl.CERT_OPTIONAL)
            self.echoes(self.connect(server))
            self.echoes(self.connect(server, "two-files"))
            self.assertEqual([len(chain) for chain in server.shown], [0, 2])

    def test_unverified(self):
        server = self.asking()
        self.echoes(self.connect(server, "two-files", verify=False))
        self.assertEqual(len(server.shown[0]), 2)

    def test_many_at_once(self):
        server = self.asking()
        ids = [self.client.send("TCPConnect", {"hostname": "localhost", "port": server.port, "secure": True,
                                               "identity": "rsa" if number % 2 else "two-files"}) for number in range(40)]
        for id in ids:
            self.echoes(self.client.wait(id, 60)["socket"])
        self.assertEqual(sorted(chain[0] for chain in server.shown),
                         sorted(20 * [self.rsa.der] + 20 * [PARTNERS.client.der]))

    def test_a_session_is_of_one_identity(self):
        """Nobody gets on with a session that was made with another identity, or without one."""
        for name, version in VERSIONS.items():
            with self.subTest(version=name):
                context = PARTNERS.server_context(version, ssl.CERT_OPTIONAL, resumes=True)
                server = self.use(Asking(context))
                for _ in range(3):
                    for identity in ("two-files", "rsa", None, "one-file", None):
                        self.echoes(self.connect(server, identity))
                wanted = [PARTNERS.client.der, self.rsa.der, None, PARTNERS.client.der, None]
                self.assertEqual([chain[0] if chain else None for chain in server.shown], 3 * wanted)

    # ---- refused by the server ----

    def refused_in_12(self, server, identity=None):
        more = {"identity": identity} if identity else {}
        error = self.client.error("TCPConnect", hostname="localhost", port=server.port, secure=True, **more)
        data = self.check_error(error, -1031, "TLS_HANDSHAKE", "tls", False)
        return error.message, data

    def refused_in_13(self, server, identity=None):
        """Its answer comes behind our handshake: the next receive tells."""
        error = self.client.error("TCPReceive", socket=self.connect(server, identity), timeout_ms=5000)
        return error.message, self.check_error(error, -33011, "TLS_IO", "io", False)

    def test_demanded_and_none_is_given(self):
        message, data = self.refused_in_12(self.asking(VERSIONS["TLSv1.2"]))
        self.assertIn("asks for a client certificate: name one by the parameter identity", message)
        self.assertEqual(data["tls"]["alert"], "handshake failure")
        message, data = self.refused_in_13(self.asking(VERSIONS["TLSv1.3"]))
        self.assertIn("asks for a client certificate: name one by the parameter identity", message)
        self.assertIn("certificate required", data["tls"]["library"])

    def test_demanded_by_openssl_and_none_is_given(self):
        for option, refused in (("-tls1_2", self.refused_in_12), ("-tls1_3", self.refused_in_13)):
            server = self.use(Program(PARTNERS, option, "-Verify", "3", "-verify_return_error"))
            self.assertIn("parameter identity", refused(server)[0])

    def test_not_accepted(self):
        for identity, alert in (("no-chain", "unknown CA"), ("unknown", "unknown CA"), ("expired", "certificate expired")):
            for name, refused in (("TLSv1.2", self.refused_in_12), ("TLSv1.3", self.refused_in_13)):
                with self.subTest(identity=identity, version=name):
                    message, data = refused(self.asking(VERSIONS[name]), identity)
                    self.assertIn("does not seem to accept the certificate of the identity", message)
                    self.assertEqual(data["tls"]["alert"], alert)

    def test_a_failure_of_another_kind_does_not_blame_the_identity(self):
        context = PARTNERS.server_context(VERSIONS["TLSv1.2"])
        context.set_alpn_protocols(["h2"])
        server = self.use(Server(tls=PARTNERS.server_context(VERSIONS["TLSv1.2"], ssl.CERT_NONE)))
        error = self.client.error("TCPConnect", hostname="localhost", port=server.port, secure=True, min_tls="1.3",
                                  identity="two-files")
        self.check_error(error, -1031, "TLS_HANDSHAKE")
        self.assertNotIn("identity", error.message)

    # ---- refused by ourselves ----

    def test_too_weak(self):
        server = self.asking()
        for identity in ("weak", "weak-ca"):
            error = self.client.error("TCPConnect", hostname="localhost", port=server.port, secure=True, identity=identity)
            self.check_error(error, -10022, "EINVAL", "tls", False)
            self.assertIn(f"does not allow the identity {identity}", error.message)
            self.assertIn("too weak", error.message)
        self.assertEqual(server.shown, [])
        self.echoes(self.connect(self.asking(), "weak", profile="weak"))

    def test_unknown_name(self):
        for name in ("nobody", "two-file", "TWO-FILES", "two-files ", "../two-files", "default"):
            error = self.client.error("TCPConnect", hostname="localhost", port=1, secure=True, identity=name)
            self.assertEqual(self.check_error(error, -32602, "INVALID_PARAMS")["param"], "identity")
        error = self.client.error("TCPConnect", hostname="localhost", port=1, secure=True, identity="")
        self.check_error(error, -32602, "INVALID_PARAMS")
        with Server() as server:
            number = self.client.connect(server.port)
            error = self.client.error("TCPStartTLS", socket=number, identity="nobody", verify=False)
            self.assertEqual(self.check_error(error, -32602, "INVALID_PARAMS")["param"], "identity")
            self.echoes(number)

    def test_dates_are_told(self):
        self.assertRegex(self.daemon.log(), "warning .*identity expired has expired")
        self.assertRegex(self.daemon.log(), "warning .*identity soon expires in 3 days")
        self.assertNotRegex(self.daemon.log(), "identity two-files (has expired|expires)")

    def test_the_key_is_told_nowhere(self):
        """Not in the log (at level debug), not in an answer."""
        server = self.asking()
        number = self.connect(server, "two-files")
        said = [str(self.client.call(method)) for method in ("Broker.List", "Broker.Hello", "Broker.Stats", "Broker.Errors",
                                                             "rpc.discover", "Broker.Reload")]
        said += [str(self.refused_in_12(self.asking(VERSIONS["TLSv1.2"]), "unknown")), self.daemon.log()]
        self.echoes(number)
        secrets = [line for path in os.listdir(FOLDER) if path.endswith(".key")
                   for line in open(os.path.join(FOLDER, path), encoding="ascii").read().splitlines() if "-----" not in line]
        self.assertGreater(len(secrets), 10)
        for text in said:
            self.assertNotIn("PRIVATE KEY", text)
            for secret in secrets:
                self.assertNotIn(secret, text)


@unittest.skipIf(os.geteuid(), "needs root, to be somebody else")
class Who(TestCase):
    """Nobody, unless listed."""

    @classmethod
    def setUpClass(cls):
        made = PARTNERS
        config = made.trust() + section("listen", mode="0777")
        for name, lists in {"nobody-at-all": {}, "by-name": {"users": "nobody"}, "by-number": {"users": "7 4242"},
                            "by-group": {"groups": "games"}, "by-group-number": {"groups": "60"},
                            "root": {"users": "root"}, "zero": {"groups": "0"}, "both": {"users": "7", "groups": "games"},
                            "unknown": {"users": "no-such-user, nobody", "groups": "no-such-group"},
                            "unknown-only": {"users": "no-such-user", "groups": "no-such-group"}}.items():
            config += made.identity(name, **lists)
        cls.DAEMON_OPTIONS = {"config": config}
        super().setUpClass()
        cls.server = Asking(made.server_context())
        cls.addClassCleanup(cls.server.__exit__, None, None, None)
        cls.server.__enter__()

    def outcome(self, answer):
        if "result" in answer:
            return "ok"
        self.check_error(answer["error"], -10013, "EACCES", "policy", False)
        return answer["error"]["message"]

    def check(self, user, group, groups, identities):
        """identities: what that user may use; all others are refused."""
        names = ["nobody-at-all", "by-name", "by-number", "by-group", "by-group-number", "root", "zero", "both", "unknown",
                 "unknown-only"]
        answers = ask_as(self.daemon, user, group, groups, *(("TCPConnect", {
            "hostname": "localhost", "port": self.server.port, "secure": True, "identity": name}) for name in names))
        outcomes = dict(zip(names, map(self.outcome, answers)))
        self.assertEqual({name for name, outcome in outcomes.items() if outcome == "ok"}, set(identities), outcomes)
        for name, outcome in outcomes.items():
            if outcome != "ok":
                self.assertIn(f"user {user} may not use the identity {name}", outcome)

    def test_root(self):
        self.check(0, 0, [], ["root", "zero"])

    def test_root_in_another_group(self):
        self.check(0, 5, [], ["root"])

    def test_by_name(self):
        self.check(65534, 4242, [], ["by-name", "unknown"])

    def test_by_number(self):
        self.check(4242, 4242, [], ["by-number"])

    def test_the_number_of_a_user_is_none_of_a_group(self):
        self.check(60, 4242, [], [])

    def test_by_primary_group(self):
        self.check(1234, 60, [], ["by-group", "by-group-number", "both"])

    def test_by_supplementary_group(self):
        self.check(1234, 1234, [5, 60, 61], ["by-group", "by-group-number", "both"])

    def test_by_user_or_group(self):
        self.check(7, 7, [], ["by-number", "both"])

    def test_a_group_of_the_users_that_the_process_has_not(self):
        """Membership is what the kernel says of the process, not what stands in /etc/group."""
        self.check(5, 4242, [], [])  # the user games, without his group

    def test_200_groups(self):
        self.check(1234, 1234, list(range(20000, 20200)) + [60], ["by-group", "by-group-number", "both"])

    def test_more_groups_than_are_looked_at(self):
        self.check(1234, 1234, list(range(20000, 20300)) + [60], [])
        self.check(1234, 60, list(range(20000, 20300)), ["by-group", "by-group-number", "both"])

    def test_start_tls(self):
        with Server() as server:
            (opened, refused, sent) = ask_as(self.daemon, 4242, 4242, [],
                                             ("TCPConnect", {"hostname": "localhost", "port": server.port}),
                                             ("TCPStartTLS", {"socket": "$socket", "identity": "root"}),
                                             ("TCPSend", ["$socket", "x"]))
        self.assertIn("socket", opened["result"])
        self.check_error(refused["error"], -10013, "EACCES", "policy", False)
        self.assertEqual(sent["result"]["sent"], 1)

    def test_unknown_names_are_told(self):
        for kind in ("user", "group"):
            self.assertRegex(self.daemon.log(), rf'warning \[identity "unknown"\]: there is no {kind} no-such-{kind} here')


class ToWhom(TestCase):
    """destinations: the host and port that are asked for, and the name that the server must have."""

    DENIED = -10013
    # (destinations, {parameters}, 0 or the code of the error); PORT is the server's
    CASES = [
        ("www.tls.test", {"hostname": "www.tls.test"}, 0),
        ("www.tls.test", {"hostname": "WWW.tls.TEST"}, 0),
        ("www.tls.test", {"hostname": "www.tls.test."}, -11001),  # allowed, and the resolver of the tests knows it not
        ("www.tls.test", {"hostname": "www.tls.test", "server_name": "www.tls.test."}, 0),
        ("WWW.TLS.test", {"hostname": "www.tls.test"}, 0),
        ("www.tls.test", {"hostname": "other.tls.test"}, DENIED),
        ("www.tls.test", {"hostname": "a.www.tls.test"}, DENIED),
        ("www.tls.test", {"hostname": "tls.test"}, DENIED),
        ("www.tls.test", {"hostname": "127.0.0.1"}, DENIED),
        ("*.tls.test", {"hostname": "www.tls.test"}, 0),
        ("*.tls.test", {"hostname": "a.b.tls.test"}, 0),
        ("*.tls.test", {"hostname": "www.tls.test", "server_name": "A.B.TLS.TEST."}, 0),
        ("*.tls.test", {"hostname": "tls.test"}, DENIED),
        ("*.tls.test", {"hostname": "xtls.test"}, DENIED),
        ("*.tls.test", {"hostname": "localhost"}, DENIED),
        ("xn--bcher-kva.tls.test", {"hostname": "bücher.tls.test"}, 0),
        ("xn--bcher-kva.tls.test", {"hostname": "BÜCHER.tls.test"}, 0),
        ("xn--bcher-kva.tls.test", {"hostname": "xn--bcher-kva.tls.test"}, 0),
        ("xn--bcher-kva.tls.test", {"hostname": "bucher.tls.test"}, DENIED),
        ("127.0.0.1", {"hostname": "127.0.0.1"}, 0),
        ("127.0.0.1", {"hostname": "localhost"}, DENIED),
        ("127.0.0.1", {"hostname": "127.0.0.2"}, DENIED),
        ("127.0.0.1", {"hostname": "127.1"}, DENIED),
        ("127.0.0.1", {"hostname": "::ffff:127.0.0.1"}, -33010),  # the same address, and another one to the certificate
        ("::ffff:127.0.0.1", {"hostname": "127.0.0.1"}, 0),
        ("localhost", {"hostname": "localhost"}, 0),
        ("::1", {"hostname": "::1"}, 0),
        ("::1", {"hostname": "[::1]"}, 0),
        ("[::1]:PORT", {"hostname": "[::1]"}, 0),
        ("[::1]:PORT", {"hostname": "0:0:0:0:0:0:0:1"}, 0),
        ("[::1]:1", {"hostname": "::1"}, DENIED),
        ("::2", {"hostname": "::1"}, DENIED),
        ("www.tls.test:PORT", {"hostname": "www.tls.test"}, 0),
        ("www.tls.test:1", {"hostname": "www.tls.test"}, DENIED),
        ("*.tls.test:PORT", {"hostname": "www.tls.test"}, 0),
        ("*.tls.test:1", {"hostname": "www.tls.test"}, DENIED),
        ("127.0.0.1:PORT", {"hostname": "127.0.0.1"}, 0),
        ("127.0.0.1:1", {"hostname": "127.0.0.1"}, DENIED),
        # nothing listens at these ports: refused by the host, so not by us
        ("www.tls.test:443", {"hostname": "www.tls.test", "port": "https"}, -10061),
        ("www.tls.test:443", {"hostname": "www.tls.test", "port": "443"}, -10061),
        ("www.tls.test:443", {"hostname": "www.tls.test", "port": "http"}, DENIED),
        ("127.0.0.1:443", {"hostname": "127.0.0.1", "port": "https"}, -10061),
        ("127.0.0.1:443", {"hostname": "127.0.0.1", "port": "http"}, DENIED),
        ("www.tls.test:443", {"hostname": "www.tls.test", "port": "no-such-service"}, -33012),
        ("other.test, www.tls.test:1, www.tls.test:PORT", {"hostname": "www.tls.test"}, 0),
        # another name to be proved
        ("www.tls.test", {"hostname": "www.tls.test", "server_name": "other.tls.test"}, DENIED),
        ("www.tls.test", {"hostname": "www.tls.test", "server_name": "WWW.TLS.TEST"}, 0),
        ("www.tls.test", {"hostname": "127.0.0.1", "server_name": "www.tls.test"}, DENIED),
        ("127.0.0.1, www.tls.test", {"hostname": "127.0.0.1", "server_name": "www.tls.test"}, 0),
        ("127.0.0.1:PORT, www.tls.test:1", {"hostname": "127.0.0.1", "server_name": "www.tls.test"}, DENIED),
        ("*.tls.test", {"hostname": "www.tls.test", "server_name": "other.tls.test"}, 0),
        # who is not verified is nobody
        ("www.tls.test", {"hostname": "www.tls.test", "verify": False}, DENIED),
        ("", {"hostname": "www.tls.test", "verify": False}, 0),
        ("", {"hostname": "www.tls.test"}, 0),
        ("", {"hostname": "127.0.0.1", "server_name": "www.tls.test"}, 0),
    ]

    @classmethod
    def setUpClass(cls):
        context = PARTNERS.server_context
        cls.server = Asking(context())
        cls.server6 = Asking(context(), address="::1", port=cls.server.port)
        cls.plain = Server()
        for server in (cls.server, cls.server6, cls.plain):
            cls.addClassCleanup(server.__exit__, None, None, None)
            server.__enter__()
        config = PARTNERS.trust()
        for number, (destinations, _, _) in enumerate(cls.CASES):
            config += PARTNERS.identity(f"to-{number}", users=ME,
                                        destinations=destinations.replace("PORT", str(cls.server.port)))
        config += PARTNERS.identity("plain", users=ME, destinations=f"localhost:{cls.plain.port} www.tls.test")
        config += PARTNERS.identity("secure", users=ME, destinations=f"localhost:{cls.server.port}")
        config += PARTNERS.identity("anywhere", users=ME)
        cls.DAEMON_OPTIONS = {"config": config, "resolver": True}
        super().setUpClass()

    def code(self, method, **kw):
        try:
            result = self.client.call(method, **kw)
            self.client.call("TCPClose", [result.get("socket", kw.get("socket")), 2])
            return 0, ""
        except RpcError as error:
            if error.code == self.DENIED:
                self.check_error(error, -10013, "EACCES", "policy", False)
                self.assertIn(kw["identity"], error.message)
            return error.code, error.message

    def test_cases(self):
        for number, (destinations, parameters, expected) in enumerate(self.CASES):
            with self.subTest(destinations=destinations, **parameters):
                code, message = self.code("TCPConnect", **{"port": self.server.port, "secure": True, **parameters},
                                          identity=f"to-{number}")
                self.assertEqual(code, expected, message)
        self.check_stats("sockets", 0)

    def test_what_is_told(self):
        _, message = self.code("TCPConnect", hostname="localhost", port=1, secure=True, identity="to-0")
        self.assertIn("may not be shown to localhost", message)
        _, message = self.code("TCPConnect", hostname="www.tls.test", server_name="x.test", port=1, secure=True,
                               identity="to-0")
        self.assertIn("may not be shown to www.tls.test as x.test", message)
        _, message = self.code("TCPConnect", hostname="www.tls.test", port=1, secure=True, verify=False, identity="to-0")
        self.assertIn("verify false", message)

    def start_tls(self, host, port, **kw):
        number = self.client.connect(port, host)
        result = self.code("TCPStartTLS", socket=number, **kw)
        if result[0] == self.DENIED:  # nothing has happened to it
            self.client.call("TCPSend", [number, "x"])
            self.client.call("TCPClose", [number, 2])
        return result[0]

    def test_start_tls(self):
        port = self.server.port
        self.assertEqual(self.start_tls("localhost", port, identity="secure"), 0)
        self.assertEqual(self.start_tls("LOCALHOST", port, identity="secure"), 0)
        self.assertEqual(self.start_tls("127.0.0.1", port, identity="secure"), self.DENIED)
        self.assertEqual(self.start_tls("127.0.0.1", port, identity="secure", server_name="localhost"), self.DENIED)
        self.assertEqual(self.start_tls("localhost", self.plain.port, identity="secure"), self.DENIED)
        self.assertEqual(self.start_tls("localhost", port, identity="secure", server_name="www.tls.test"), self.DENIED)
        self.assertEqual(self.start_tls("localhost", port, identity="secure", verify=False), self.DENIED)
        self.assertEqual(self.start_tls("localhost", port, identity="plain"), self.DENIED)
        self.assertEqual(self.start_tls("localhost", port, identity="anywhere"), 0)
        self.assertEqual(self.start_tls("localhost", port, identity="anywhere", verify=False), 0)

    def test_start_tls_after_a_claim(self):
        """The name that was asked for stays with the socket."""
        for name, expected in (("localhost", 0), ("127.0.0.1", self.DENIED)):
            number = self.client.connect(self.server.port, name)
            token = self.client.call("TCPOffer", socket=number)["token"]
            with self.daemon.client() as other:
                self.assertEqual(other.call("TCPClaim", [token])["socket"], number)
                try:
                    other.call("TCPStartTLS", socket=number, identity="secure", server_name="localhost")
                    code = 0
                except RpcError as error:
                    code = error.code
                self.assertEqual(code, expected)


class Files(OwnDaemonTestCase):
    """Files that cannot be used: --check-config and the start end with 2, a reload changes nothing; all say why."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="tcpbroker-identity-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.certificate = self.write("client.pem", PARTNERS.client.pem + PARTNERS.one.pem)
        self.key = self.write("client.key", PARTNERS.key(PARTNERS.client))

    def write(self, name, content, mode=0o600):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.chmod(path, mode)
        return path

    def text(self, **options):
        return PARTNERS.trust() + section("identity", "partner", **{
            "users": ME, "certificate": self.certificate, "key": self.key, **options})

    def broken(self):
        """{name: (certificate, key, what must be said)}; a part of None is the good one."""
        key, chain = PARTNERS.key(PARTNERS.client), PARTNERS.client.pem + PARTNERS.one.pem
        fifo, folder = os.path.join(self.folder, "fifo"), os.path.join(self.folder, "folder")
        os.mkfifo(fifo)
        os.mkdir(folder)
        damaged = PARTNERS.client.pem.replace("\nM", "\n!", 1)
        locked = openssl("pkey", "-aes128", "-passout", "pass:secret", data=key.encode())
        locked_old = openssl("ec", "-aes128", "-passout", "pass:secret", data=key.encode())
        return {
            "certificate missing": ("/no/such/file.pem", None, "/no/such/file.pem: cannot be opened: No such file"),
            "key missing": (None, "/no/such/file.key", "/no/such/file.key: cannot be opened: No such file"),
            "certificate a fifo": (fifo, None, "fifo: is not a file"),
            "key a fifo": (None, fifo, "fifo: is not a file"),
            "certificate a folder": (folder, None, "folder: is not a file"),
            "key a device": (None, "/dev/zero", "/dev/zero: is not a file"),
            "certificate empty": (self.write("empty", ""), None, "empty: holds no certificate in PEM"),
            "key empty": (None, self.write("empty", ""), "empty: holds no private key in PEM"),
            "certificate without a key": (None, "", "client.pem: holds no private key in PEM"),
            "certificate in DER": (self.write("der", PARTNERS.client.der), None, "der: holds no certificate in PEM"),
            "key in DER": (None, self.write("derkey", openssl("pkey", "-outform", "DER", data=key.encode())),
                           "derkey: holds no private key in PEM"),
            "certificate damaged": (self.write("damaged", damaged), None, "damaged: certificate number 1 is damaged"),
            "chain damaged": (self.write("damaged2", chain + damaged), None, "damaged2: certificate number 3 is damaged"),
            "certificate cut off": (self.write("cut", chain[:300]), None, "cut: certificate number 1 is damaged"),
            "key damaged": (None, self.write("damagedkey", key.replace("\nM", "\n!", 1)),
                            "damagedkey: holds no private key in PEM"),
            "key with a passphrase": (None, self.write("locked", locked), "locked: the key has a passphrase"),
            "key with a passphrase, old form": (None, self.write("locked-old", locked_old),
                                                "locked-old: the key has a passphrase"),
            "key of another": (None, self.write("other", PARTNERS.key(PARTNERS.one)),
                               "other: the key is not that of the first certificate in"),
            "key of another kind": (None, self.write("rsa", openssl("genpkey", "-algorithm", "RSA")),
                                    "rsa: the key is not that of the first certificate in"),
            "chain before the certificate": (self.write("turned", PARTNERS.one.pem + PARTNERS.client.pem), None,
                                             "the key is not that of the first certificate in"),
            "18 certificates": (self.write("many", 18 * PARTNERS.client.pem), None, "many: holds more than 17 certificates"),
            "a public key": (None, self.write("public", openssl("pkey", "-pubout", data=key.encode())),
                             "public: holds no private key in PEM"),
        }

    def options(self, certificate, key):
        return {"certificate": self.certificate if certificate is None else certificate,
                "key": self.key if key is None else key}

    def check_config(self, text, **env):
        path = self.write("check.conf", text)
        environment = {key: value for key, value in os.environ.items() if key != "CREDENTIALS_DIRECTORY"}
        return subprocess.run([daemon_path(), "--check-config", path], capture_output=True, text=True, timeout=20,
                              env={**environment, **env}, check=False)

    def start(self, text, **kw):
        self.daemon = self.use(Daemon(config=text, **kw))
        return self.daemon

    def configure(self, text):
        with open(os.path.join(self.daemon.folder, "tcpbroker.conf"), "w", encoding="utf-8") as file:
            file.write(text)

    def test_broken(self):
        server = self.use(Asking(PARTNERS.server_context()))
        self.start(self.text())
        client = self.open_client()
        for name, (certificate, key, words) in self.broken().items():
            with self.subTest(name):
                text = self.text(**self.options(certificate, key))
                done = self.check_config(text)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(words, done.stderr)
                self.assertIn('[identity "partner"]', done.stderr)
                self.configure(text)
                error = client.error("Broker.Reload")
                self.check_error(error, -10022, "EINVAL", "broker")
                self.assertIn(words, error.message)
                client.call("TCPConnect", hostname="localhost", port=server.port, secure=True, identity="partner")
        self.assertEqual(set(map(tuple, server.shown)), {(PARTNERS.client.der, PARTNERS.one.der)})

    def test_broken_at_the_start(self):
        broken = self.broken()
        for name in ("key missing", "key a fifo", "key with a passphrase", "key of another", "chain damaged"):
            certificate, key, words = broken[name]
            with self.subTest(name):
                with Daemon(config=self.text(**self.options(certificate, key)), wait=False, exit_status=2) as daemon:
                    self.assertEqual(daemon.wait_exit(), 2)
                    self.assertIn(words, daemon.log())

    def test_credentials_without_systemd(self):
        text = self.text(certificate="cred:partner.pem", key="cred:partner.key")
        with Daemon(config=text, wait=False, exit_status=2) as daemon:
            self.assertEqual(daemon.wait_exit(), 2)
            self.assertIn("cred:partner.pem is a credential, but the daemon was given none", daemon.log())
        with Daemon(config=self.text(key="cred:partner.key"), wait=False, exit_status=2) as daemon:
            self.assertEqual(daemon.wait_exit(), 2)
            self.assertIn("cred:partner.key is a credential, but the daemon was given none", daemon.log())
        with Daemon(config=text, wait=False, exit_status=2, env={"CREDENTIALS_DIRECTORY": self.folder}) as daemon:
            self.assertEqual(daemon.wait_exit(), 2)
            self.assertIn(f"{self.folder}/partner.pem: cannot be opened: No such file", daemon.log())
        done = self.check_config(text)  # by hand, there are none to look at
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("cannot be looked at here", done.stderr)
        done = self.check_config(text, CREDENTIALS_DIRECTORY=self.folder)
        self.assertEqual(done.returncode, 2, done.stderr)

    @unittest.skipUnless(os.geteuid(), "root may read everything")
    def test_not_readable(self):
        os.chmod(self.key, 0)
        done = self.check_config(self.text())
        self.assertEqual(done.returncode, 2)
        self.assertIn("Permission denied", done.stderr)

    def test_readable_for_all(self):
        warning = "holds a private key and every user may read it"
        with Daemon(config=self.text()) as daemon:
            self.assertNotIn(warning, daemon.log())
        os.chmod(self.key, 0o644)
        with Daemon(config=self.text()) as daemon:
            self.assertRegex(daemon.log(), f"warning {self.key} {warning}; make it readable for the daemon only")
        together = self.write("together", PARTNERS.key(PARTNERS.client) + PARTNERS.client.pem, 0o604)
        with Daemon(config=self.text(certificate=together, key="")) as daemon:
            self.assertRegex(daemon.log(), f"warning {together} {warning}")

    def test_renewed(self):
        """New connections show the new certificate, from the reload on; living ones stay."""
        server = self.use(Asking(PARTNERS.server_context()))
        self.start(self.text())
        client = self.open_client()

        def connect():
            number = client.call("TCPConnect", hostname="localhost", port=server.port, secure=True, identity="partner")["socket"]
            self.echo(client, number)
            return number
        old = connect()
        renewed = PARTNERS.new_client(name="renewed")
        self.write("client.pem", renewed.pem + PARTNERS.one.pem)
        connect()
        error = client.error("Broker.Reload")  # the key is not that of the certificate
        self.assertIn("the key is not that of the first certificate", error.message)
        connect()
        self.write("client.key", PARTNERS.key(renewed))
        connect()
        client.call("Broker.Reload")
        connect()
        self.echo(client, old)
        self.write("client.pem", PARTNERS.client.pem + PARTNERS.one.pem)
        self.write("client.key", PARTNERS.key(PARTNERS.client))
        self.daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.daemon.log().count("notice reloaded: ") == 2, what="the second reload")
        connect()
        self.echo(client, old)
        self.assertEqual([chain[0] for chain in server.shown], 4 * [PARTNERS.client.der] + [renewed.der, PARTNERS.client.der])

    def echo(self, client, number):
        client.call("TCPSend", [number, "hello\n"])
        self.assertEqual(client.call("TCPReceive", socket=number, until="\n")["data"], "hello\n")

    def test_added_changed_removed(self):
        self.start(PARTNERS.trust())
        client = self.open_client()
        port = closed_port()

        def code(name="partner", host="localhost"):
            return client.error("TCPConnect", hostname=host, port=port, secure=True, identity=name).code
        self.assertEqual(code(), -32602)
        for text, expected in ((self.text(), -10061), (self.text(destinations="www.tls.test"), -10013),
                               (self.text(users="4242"), -10013), (self.text(users="no-such-user"), -10013),
                               (self.text(users="", groups=os.getgid()), -10061), (self.text(users=""), -10013),
                               (PARTNERS.trust(), -32602), (self.text(), -10061)):
            self.configure(text)
            client.call("Broker.Reload")
            self.assertEqual(code(), expected, text)

    def test_changed_while_the_name_is_looked_up(self):
        """The port of a service is judged when it is known, by what holds then."""
        self.start(self.text(), resolver=True)
        self.client = client = self.open_client()
        for text, expected in ((self.text(destinations="*.tls.test:443"), -10061), (self.text(destinations="*.tls.test:1"), -10013),
                               (self.text(users="4242"), -10013), (PARTNERS.trust(), -32602)):
            self.assertEqual(self.code_after(client, text), expected, text)
        self.check_stats("sockets", 0)

    def code_after(self, client, text):
        """Of a request that waited for its look-up when text came into force."""
        for attempt in range(20):
            self.configure(self.text())
            client.call("Broker.Reload")
            id = client.send("TCPConnect", {"hostname": f"slow-{attempt}-{len(text)}.tls.test", "port": "https",
                                            "secure": True, "identity": "partner"})
            self.configure(text)
            client.call("Broker.Reload")
            in_time = not client.answered(id)
            code = client.answer(id)["error"]["code"]
            if in_time:
                return code
        raise AssertionError("no reload is done within the 300 ms of a look-up")

    def test_reload_while_connecting(self):
        server = self.use(Asking(PARTNERS.server_context()))
        self.start(self.text())
        renewed = PARTNERS.new_client(name="renewed")
        failed = []

        def work():
            try:
                with self.daemon.client() as client:
                    for _ in range(25):
                        number = client.call("TCPConnect", hostname="localhost", port=server.port, secure=True,
                                             identity="partner")["socket"]
                        self.echo(client, number)
                        client.call("TCPClose", [number])
            except Exception as error:  # told below
                failed.append(error)
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        client = self.open_client()
        for round in range(20):
            certificate = renewed if round % 2 else PARTNERS.client
            # the two files are changed one after the other: a reload in between would be refused
            self.write("client.pem", certificate.pem + PARTNERS.one.pem)
            self.write("client.key", PARTNERS.key(certificate))
            client.call("Broker.Reload", answer_timeout=60)
        for thread in threads:
            thread.join()
        self.assertEqual(failed, [])
        self.assertEqual({chain[0] for chain in server.shown} - {renewed.der, PARTNERS.client.der}, set())
        self.assertEqual(len(server.shown), 100)

    def test_the_command_is_truthful(self):
        command = os.path.join(os.path.dirname(daemon_path()), "..", "cli", "tcpbroker")
        self.start(self.text())

        def reload():
            return subprocess.run([command, "--socket", self.daemon.socket_path, "reload"], capture_output=True, text=True,
                                  timeout=20, check=False)
        self.assertEqual(reload().returncode, 0)
        os.rename(self.key, self.key + ".away")
        done = reload()
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("client.key: cannot be opened", done.stderr)
        os.rename(self.key + ".away", self.key)
        self.assertEqual(reload().returncode, 0)

    def test_an_expired_one_after_a_reload(self):
        self.start(self.text())
        expired = PARTNERS.new_client(valid=(-30, -1))
        self.write("client.pem", expired.pem)
        self.write("client.key", PARTNERS.key(expired))
        self.assertNotIn("expired", self.daemon.log())
        self.open_client().call("Broker.Reload")
        self.daemon.wait_log("warning .*identity partner has expired")


if __name__ == "__main__":
    main()
