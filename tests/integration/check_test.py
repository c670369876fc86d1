"""tcpbroker check: for every way to fail, the stage as exit status, what is wrong, and what would mend it; the table is safe
to look at whoever answers, and one connection is enough."""
import json
import os
import pty
import re
import ssl
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support"), HERE]

import servers
import x509
from ca import certificates
from cli_test import Failure, FakeBroker
from harness import Daemon, TestCase, daemon_path, main, seconds

COMMAND = os.environ.get("TCPBROKER") or os.path.join(os.path.dirname(daemon_path()), "..", "cli", "tcpbroker")
OK, ERROR, USAGE, POLICY, RESOLVE, CONNECT, TLS, TIMEOUT, NO_DAEMON = 0, 1, 2, 3, 4, 5, 6, 7, 69
OUTPUT_MAX = 64 * 1024


def run(path, *words, **options):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TCPBROKER_S")}
    return subprocess.run([COMMAND, "--socket", path, "check", *map(str, words)], stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=seconds(30), env=environment, **options)


def context_of(maker, leaf, others=()):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.load_cert_chain(*maker.files(leaf, others))
    return context


def after_hello(*pieces):
    """Instead of a TLS handshake: some bytes."""
    def answer(connection):
        connection.recv(4096)
        connection.sendall(b"".join(pieces))
        connection.recv(4096)
    return answer


def alert(number):
    return after_hello(bytes([21, 3, 3, 0, 2, 2, number]))


class Checks(TestCase):
    DAEMON_ARGS = ("--cacerts", certificates().cacerts)

    @classmethod
    def setUpClass(cls):
        chain, key = certificates().pem("mutual")
        # nothing is left alone for long by what these tests connect to in vain
        cls.DAEMON_OPTIONS = {"resolver": True, "config": f"""
[tls]
system_store = no
[tls "stranger"]
trust = system
[tls "modern"]
trust = folder
cacerts = {certificates().cacerts}
min_version = 1.3
[identity "me"]
certificate = {chain}
key = {key}
users = {os.getuid()}
[identity "other"]
certificate = {chain}
key = {key}
users = 4242
"""}
        super().setUpClass()

    def setUp(self):
        if not os.access(COMMAND, os.X_OK):
            self.skipTest(f"no {COMMAND}: build the target tcpbroker")
        super().setUp()

    def check(self, status, *words):
        """The output for people; the same with --json must agree with it."""
        done = run(self.daemon.socket_path, *words)
        text = done.stdout.decode()
        self.assertEqual((done.returncode, done.stderr), (status, b""), text)
        self.assertNotRegex(text, r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
        self.assertLess(len(text), OUTPUT_MAX)
        self.assertRegex(text.splitlines()[-1], r"^result +(ok|failed)")
        return text

    def json(self, status, *words):
        done = run(self.daemon.socket_path, "--json", *words)
        self.assertEqual((done.returncode, done.stderr), (status, b""), done.stdout)
        self.assertLess(len(done.stdout), OUTPUT_MAX)
        answer = json.loads(done.stdout)
        self.assertEqual((answer["ok"], answer["exit"]), (status == OK, status))
        self.assertEqual(sorted(set(answer) - {"result", "error"}),
                         ["exit", "findings", "hostname", "ok", "port", "secure"])
        self.assertTrue("result" in answer or "error" in answer)
        for finding in answer["findings"]:
            self.assertEqual(sorted(finding), ["remedy", "severity", "what"])
            self.assertIn(finding["severity"], ("error", "warning"))
        errors = [one for one in answer["findings"] if one["severity"] == "error"]
        self.assertEqual(len(errors), 0 if status == OK else 1, answer["findings"])
        return answer

    def advice(self, status, what, remedy, *words):
        """Both forms say it; the JSON is returned."""
        text = self.check(status, *words)
        found = re.search(r"^problem +(.*)\n  remedy +(.*)$", text, re.M)
        self.assertIsNotNone(found, text)
        self.assertRegex(found.group(1), what)
        self.assertRegex(found.group(2), remedy)
        answer = self.json(status, *words)
        self.assertRegex(answer["findings"][0]["what"], what)
        self.assertRegex(answer["findings"][0]["remedy"], remedy)
        return answer

    # ---- profiles and identities ----

    def test_profile(self):
        with servers.Server(tls=servers.tls12()) as server:
            self.check(OK, "--tls", "localhost", server.port)
            self.advice(TLS, "issuer|CA|chain", "cacerts", "--tls", "--profile", "stranger", "localhost", server.port)
            self.advice(TLS, "version", "TLS 1.2", "--tls", "--profile", "modern", "localhost", server.port)
            done = run(self.daemon.socket_path, "--tls", "--profile", "none", "localhost", server.port)
            self.assertEqual((done.returncode, done.stdout), (USAGE, b""))
            self.assertIn(b"profile", done.stderr)

    def test_identity(self):
        for version in (servers.tls12, servers.tls13):
            context = version("mutual")
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(certificates().ca_file())
            with self.subTest(version=version.__name__), servers.Server(tls=context) as server:
                self.advice(TLS, "client certificate|nothing that both accept", "--identity", "--tls", "localhost", server.port)
                self.check(OK, "--tls", "--identity", "me", "localhost", server.port)
                answer = self.json(POLICY, "--tls", "--identity", "other", "localhost", server.port)
                self.assertIn("other", answer["findings"][0]["what"])

    def test_left_alone(self):
        port = servers.closed_port()
        for _ in range(3):
            text = self.check(CONNECT, "localhost", port)
        self.assertRegex(text, r"leaves it alone until 20\S+Z")

    # ---- what works ----

    def test_plain(self):
        with servers.Server() as server:
            text = self.check(OK, "localhost", server.port)
            self.assertRegex(text, r"(?m)^addresses +127\.0\.0\.1 +connected in \d+ ms$")
            self.assertRegex(text, r"(?m)^times +look-up [\d.]+ ms, connect [\d.]+ ms, in all [\d.]+ ms$")
            self.assertNotIn("handshake", text)
            answer = self.json(OK, "localhost", server.port)
            self.assertEqual((answer["hostname"], answer["port"], answer["secure"], answer["findings"]),
                             ("localhost", str(server.port), False, []))
            self.assertEqual(answer["result"]["addresses"], ["127.0.0.1"])
            self.assertEqual([one["error"] for one in answer["result"]["attempts"]], ["connected"])

    def test_tls(self):
        for version, context in (("TLSv1.2", servers.tls12("below")), ("TLSv1.3", servers.tls13("below"))):
            with servers.Server(tls=context) as server:
                text = self.check(OK, "--tls", "localhost", server.port)
                self.assertRegex(text, rf"(?m)^TLS +{version}, \S+$")
                self.assertRegex(text, r"(?m)^certificates 0  CN=localhost$\n +for localhost, 127\.0\.0\.1, ::1$\n"
                                       r" +EC P-256, ecdsa-with-SHA256, expires \d{4}-\d\d-\d\d, in \d+ days$")
                self.assertRegex(text, r"(?m)^ +1  CN=tcpbroker test intermediate$")
                self.assertRegex(text, r"(?m)^ +2  CN=tcpbroker test CA  \(from the broker's store\)$")
                self.assertIn("handshake", text)
                self.assertIn("ok, the certificate is verified", text)
                chain = self.json(OK, "--tls", "localhost", server.port)["result"]["tls"]["chain"]
                self.assertEqual([(one["depth"], one["sent"], one["trusted"], one["self_signed"]) for one in chain],
                                 [(0, True, False, False), (1, True, False, False), (2, False, True, True)])
                self.assertEqual([sorted(set(one) - {"names"}) for one in chain], 3 * [
                    ["depth", "issuer", "key", "not_after", "not_before", "self_signed", "sent", "sha256", "signature",
                     "subject", "trusted"]])
                self.assertEqual([one.get("names") for one in chain], [["localhost", "127.0.0.1", "::1"], None, None])
                self.assertEqual(server.accepted, 2)

    def test_options(self):
        with servers.Server(tls=servers.tls_context("wildcard", alpn=["h2"])) as server:
            text = self.check(OK, "--tls", "--server-name", "a.tls.test", "--alpn", "http/9,h2", "--family", "ipv4",
                              "--min-tls", "1.3", "--timeout", "5.5", "127.0.0.1", server.port)
            self.assertRegex(text, r"(?m)^target +127\.0\.0\.1 port \d+, TLS with a\.tls\.test$")
            self.assertRegex(text, r"(?m)^TLS +TLSv1\.3, \S+, ALPN h2$")
            self.assertEqual(server.names, ["a.tls.test"])

    def test_it_ends_the_connection_in_order(self):
        for tls in (None, servers.tls12(), servers.tls13()):
            ended = []

            def serve(connection):
                try:
                    ended.append(connection.recv(100))
                except OSError as error:
                    ended.append(error)
            with servers.Server(serve, tls=tls) as server:
                self.check(OK, *(["--tls"] if tls else []), "localhost", server.port)
                self.assertEqual((ended, server.accepted), ([b""], 1))
        self.assertEqual(self.client.call("Broker.List")["sockets"], [])

    def test_a_server_that_does_not_end(self):
        for behaviour in (servers.silent, servers.chatter):
            for tls in (None, servers.tls12(), servers.tls13()):
                with servers.Server(behaviour, tls=tls) as server:
                    self.check(OK, *(["--tls"] if tls else []), "localhost", server.port)
        self.assertEqual(self.client.call("Broker.List")["sockets"], [])

    def test_two_addresses_of_which_one_refuses(self):
        with servers.Server() as server:
            text = self.check(OK, "dual.test", server.port)
            self.assertRegex(text, r"(?m)^addresses +::1 +Connection refused \(ECONNREFUSED\) after \d+ ms$\n"
                                   r" +127\.0\.0\.1 +connected in \d+ ms$")
            self.assertRegex(text, r"(?m)^warning +the address ::1 does not work \(ECONNREFUSED\), another one does$")
            answer = self.json(OK, "dual.test", server.port)
            self.assertEqual(answer["result"]["addresses"], ["::1", "127.0.0.1"])
            self.assertEqual([one["error"] for one in answer["result"]["attempts"]], ["ECONNREFUSED", "connected"])
            text = self.check(OK, "--family", "ipv4", "dual.test", server.port)
            self.assertNotIn("::1", text)

    def test_an_address_that_was_not_tried(self):
        with servers.Server(address="127.0.0.2") as server:
            text = self.check(OK, "many.test", server.port)
            self.assertRegex(text, r"127\.0\.0\.2 +connected in \d+ ms\n +127\.0\.0\.3 +not tried\n +127\.0\.0\.4 +not tried\n")

    def test_a_certificate_that_expires_soon(self):
        with tempfile.TemporaryDirectory() as folder:
            maker = x509.Maker(os.path.join(folder, "made"))
            root = maker.authority("a root")
            soon = maker.authority("a CA for some days", root, valid=(-1, 3.5))
            os.mkdir(os.path.join(folder, "trusted"))
            with open(os.path.join(folder, "trusted", "root.pem"), "w", encoding="ascii") as file:
                file.write(root.pem)
            cases = ((maker.server(root, ["DNS:localhost"], valid=(-1, 13.5)), (), [r"server's certificate expires in 13 days"]),
                     (maker.server(root, ["DNS:localhost"], valid=(-1, 1.5)), (), [r"server's certificate expires in 1 day$"]),
                     (maker.server(root, ["DNS:localhost"], valid=(-1, 0.5)), (), [r"certificate expires within a day"]),
                     (maker.server(root, ["DNS:localhost"], valid=(-1, 14.5)), (), []),
                     (maker.server(soon, ["DNS:localhost"]), (soon,), [r"CN=a CA for some days expires in 3 days"]))
            with Daemon("--cacerts", os.path.join(folder, "trusted"), config={"tls.system_store": "no"}) as daemon:
                for leaf, others, expected in cases:
                    with servers.Server(tls=context_of(maker, leaf, others)) as server:
                        done = run(daemon.socket_path, "--json", "--tls", "localhost", server.port)
                    findings = json.loads(done.stdout)["findings"]
                    self.assertEqual(done.returncode, OK)
                    self.assertEqual([one["severity"] for one in findings], ["warning"] * len(expected), findings)
                    for one, words in zip(findings, expected):
                        self.assertRegex(one["what"], words)
                        self.assertIn("must be renewed", one["remedy"])

    # ---- certificates ----

    def refused(self, certificate, code, what, remedy, host="localhost"):
        with servers.Server(tls=servers.tls_context(certificate)) as server:
            answer = self.advice(TLS, what, remedy, "--tls", host, server.port)
            self.assertEqual(server.accepted, 2)  # one for each form
        failure = answer["error"]["data"]["tls"]
        self.assertEqual(failure["verify_code"], code)
        self.assertIn(f"(verify code {code}, {failure['verify_text']})", answer["findings"][0]["what"])
        self.assertEqual((failure["version"], failure["chain"][0]["depth"]), ("TLSv1.3", 0))
        self.assertEqual(answer["error"]["data"]["addresses"], ["127.0.0.1"])
        return answer

    def test_certificates_that_are_not_accepted(self):
        for certificate, code, what, remedy in (
                ("unknown-ca", 20, r"issuer of the server's certificate is not known here: CN=unknown test CA",
                 r"CN=unknown test CA.*cacerts folder.*tcpbroker reload.*whole chain"),
                ("self-signed", 18, r"server's certificate is self-signed", r"SHA-256.*[0-9a-f]{64}.*cacerts folder"),
                ("expired", 10, r"has expired: \d{4}-\d\d-\d\dT[\d:]+Z, 1 day ago", r"clock.*says \d{4}-.*renew"),
                ("not-yet", 9, r"not valid before \d{4}-\d\d-\d\dT[\d:]+Z, (in 1 day|within a day)", r"clock of this host"),
                ("wrong-name", 62, r"not for localhost, it is for other\.example", r"--server-name"),
                ("cn-only", 62, r"not for localhost: it has no name at all", r"must be replaced"),
                ("client-only", 26, r"not meant for servers", r"serverAuth"),
                ("weak-key", 66, r"too weak \(key RSA 1024", r"2048 bits"),
                ("sha1", 68, r"too weak \(key EC P-256, signature ecdsa-with-SHA1\)", r"SHA-256"),
                ("below-expired-ca", 10, r"CA certificate CN=tcpbroker test intermediate-expired has expired",
                 r"who runs the CA to renew"),
                ("below-no-ca", 79, r"CN=localhost is no CA's", r"basicConstraints")):
            with self.subTest(certificate=certificate):
                self.refused(certificate, code, what, remedy)

    def test_an_address_that_the_certificate_has_not(self):
        self.refused("wrong-ip", 64, r"not for 127\.0\.0\.1, it is for localhost, 127\.0\.0\.9", r"--server-name",
                     host="127.0.0.1")

    def test_chains_that_lead_nowhere(self):
        with tempfile.TemporaryDirectory() as folder:
            maker = x509.Maker(folder)
            root = maker.authority("a root nobody knows")
            between = maker.authority("between", root)
            below = maker.authority("below", between)
            leaf = maker.server(below, ["DNS:localhost"])
            for others, code, what, remedy in (
                    ((), 20, r"issuer of the server's certificate is not known here: CN=below ", r"nothing but its own"),
                    ((below,), 20, r"issuer of the CA certificate CN=below is not known here: CN=between ", r"CN=between"),
                    ((below, between), 20, r"not known here: CN=a root nobody knows ", r"certificate of CN=a root nobody"),
                    ((below, between, root), 19, r"root CA that the server has sent is not known here: CN=a root nobody",
                     r"runs the CA for its SHA-256")):
                with servers.Server(tls=context_of(maker, leaf, others)) as server:
                    answer = self.advice(TLS, what, remedy, "--tls", "localhost", server.port)
                tls = answer["error"]["data"]["tls"]
                self.assertEqual((tls["verify_code"], len(tls["chain"])), (code, len(others) + 1))

    def test_without_verification_it_goes_on_and_tells(self):
        with servers.Server(tls=servers.tls_context("expired")) as server:
            words = ("--tls", "--no-verify", "localhost", server.port)
            text = self.check(OK, *words)
            self.assertRegex(text, r"(?m)^warning +the server's certificate has expired: .*\n  remedy +is the clock")
            self.assertRegex(text, r"(?m)^result +ok, but the certificate is not verified$")
            tls = self.json(OK, *words)["result"]["tls"]
            self.assertEqual((tls["verified"], tls["refusal"]["verify_code"]), (False, 10))
        with servers.Server(tls=servers.tls_context()) as server:
            tls = self.json(OK, "--tls", "--no-verify", "localhost", server.port)["result"]["tls"]
            self.assertEqual((tls["verified"], "refusal" in tls, len(tls["chain"])), (False, False, 2))

    def test_nothing_to_trust(self):
        with tempfile.TemporaryDirectory() as folder, Daemon(config={
                "tls.system_store": "no", "tls.cacerts": folder}) as daemon, servers.Server(
                    tls=servers.tls_context()) as server:
            done = run(daemon.socket_path, "--tls", "localhost", server.port)
            self.assertEqual((done.returncode, server.accepted), (TLS, 0))
            self.assertRegex(done.stdout.decode(), r"problem +the broker has no CA certificate.*\n  remedy .*cacerts folder")

    # ---- the handshake ----

    def test_handshakes_that_fail(self):
        for behaviour, what, remedy in (
                (servers.plain_answer, r"does not speak TLS", r"STARTTLS"),
                (servers.banner(b"HTTP/1.1 400 Bad Request\r\n\r\n"), r"does not speak TLS", r"without --tls"),
                (servers.cut_handshake, r"closed the connection during", r"speak TLS on this port"),
                (servers.reset_handshake, r"reset the connection during", r"speak TLS on this port"),
                (alert(40), r"nothing that both accept .*handshake failure", r"identity.*tls\.ciphers"),
                (alert(42), r"client certificate.*bad certificate", r"identity"),
                (alert(48), r"does not know the CA of our client certificate", r"identity"),
                (alert(70), r"version of TLS.*protocol version", r"TLS 1\.2"),
                (alert(112), r"does not know the name", r"--server-name"),
                (alert(120), r"ALPN", r"--alpn"),
                (alert(80), r"broken TLS off .*internal error", r"log")):
            with self.subTest(what=what), servers.Server(behaviour) as server:
                answer = self.advice(TLS, what, remedy, "--tls", "localhost", server.port)
                self.assertEqual(answer["error"]["data"]["stage"], "tls")

    def test_versions(self):
        with servers.Server(tls=servers.tls12()) as server:
            self.advice(TLS, r"version of TLS", r"--min-tls", "--tls", "--min-tls", "1.3", "localhost", server.port)

    def test_a_server_that_wants_a_client_certificate(self):
        for context, what in ((servers.tls12(), r"handshake failure"), (servers.tls13(), r"asks for a client certificate")):
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(certificates().ca_file())
            with servers.Server(tls=context) as server:
                for _ in range(5):
                    answer = self.advice(TLS, what, r"identity", "--tls", "localhost", server.port)
            self.assertEqual("result" in answer, what.startswith("asks"))

    # ---- before it ----

    def test_connects_that_fail(self):
        port = servers.closed_port()
        answer = self.advice(CONNECT, r"nothing listens on that port", r"is the port right", "many.test", port)
        self.assertEqual(answer["error"]["data"]["addresses"], ["127.0.0.2", "127.0.0.3", "127.0.0.4"])
        self.assertEqual(len(answer["error"]["data"]["attempts"]), 3)
        text = self.check(CONNECT, "none-there.test", port)
        self.assertRegex(text, r"224\.0\.0\.1 +\S.* \(ENETUNREACH\) after \d+ ms")

    def test_look_ups_that_fail(self):
        for host, what, remedy in (("missing.test", r"no host of that name", r"spelling"),
                                   ("fail-again.test", r"no name server has answered", r"resolv\.conf"),
                                   ("fail-hard.test", r"resolver of this host failed", r"nsswitch"),
                                   ("nodata.test", r"no address of the wanted family", r"--family")):
            self.advice(RESOLVE, what, remedy, host, 1)
        self.advice(RESOLVE, r"no service of that name", r"/etc/services", "localhost", "no-such-service")

    def test_times_that_run_out(self):
        self.advice(TIMEOUT, r"could not be looked up in time", r"--timeout", "--timeout", "0.2", "hang-check.test", 1)
        with servers.BlackHole() as hole:
            answer = self.advice(TIMEOUT, r"no address has answered", r"firewall", "--timeout", "0.2", "localhost", hole.port)
            self.assertEqual([one["error"] for one in answer["error"]["data"]["attempts"]], ["pending"])
        with servers.Server(servers.silent) as server:
            self.advice(TIMEOUT, r"did not finish the TLS handshake", r"without --tls", "--tls", "--timeout", "0.2",
                        "localhost", server.port)

    def test_wrong_usage(self):
        for words in (["localhost"], ["--family", "ipv5", "h", "1"], ["--tls", "--min-tls", "1.1", "h", "1"],
                      ["--no-verify", "h", "1"], ["--server-name", "x", "h", "1"], ["--alpn", "h2", "h", "1"],
                      ["--tls", "--alpn", "", "h", "1"], ["--tls", "--alpn", ",".join("a" * 17), "h", "1"],
                      ["--timeout", "x", "h", "1"], ["--timeout", "-1", "h", "1"], ["h", "70000"], ["h", "1", "2"]):
            done = run(self.daemon.socket_path, *words)
            self.assertEqual((done.returncode, done.stdout), (USAGE, b""), words)
            self.assertRegex(done.stderr, rb"^tcpbroker: ")

    def test_no_daemon(self):
        done = run("/nonexistent/socket", "--json", "localhost", "1")
        self.assertEqual((done.returncode, done.stdout), (NO_DAEMON, b""))
        self.assertEqual(json.loads(done.stderr)["error"]["data"]["symbol"], "NO_DAEMON")

    # ---- what only other brokers, or other configurations, say ----

    def told(self, status, error):
        def connect(params):
            self.assertEqual((params["explain"], params["secure"]), (True, True))
            failure = Failure(error["code"], error["data"]["symbol"], error["data"]["stage"], error["message"])
            failure.error["data"].update(error["data"])
            raise failure
        with FakeBroker(TCPConnect=connect) as broker:
            done = run(broker.path, "--json", "--tls", "h", "1")
            self.assertEqual(done.returncode, status, done.stderr)
            text = run(broker.path, "--tls", "h", "1").stdout.decode()
            self.assertNotRegex(text, r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
            return json.loads(done.stdout)["findings"][0]

    def test_the_policy(self):
        finding = self.told(POLICY, {"code": -10013, "message": "TCPConnect: user 5 may not use the identity x",
                                     "data": {"symbol": "EACCES", "stage": "policy"}})
        self.assertEqual(finding["what"], "TCPConnect: user 5 may not use the identity x")

    def test_verdicts(self):
        for code, words in ((50, "pinned"), (23, "revoked"), (3, "revocation list"), (12, "out of date"), (25, "path length"),
                            (47, "name constraints"), (34, "critical extension"), (85, "authorityKeyIdentifier"), (92, "no keyUsage"), (999, "not accepted: some words")):
            finding = self.told(TLS, {"code": -33010, "message": "no", "data": {
                "symbol": "TLS_VERIFY", "stage": "tls", "tls": {"verify_code": code, "verify_text": "some words", "depth": 1,
                                                               "subject": "CN=a CA", "issuer": "CN=above"}}})
            self.assertRegex(finding["what"], f"^the CA certificate CN=a CA .*{words}.* \\(verify code {code}, some words\\)$")
            self.assertGreater(len(finding["remedy"]), 10)
            self.assertEqual("strict = no" in finding["remedy"], 85 <= code <= 93)

    def test_whose_files_cannot_be_used(self):
        for symbol, code in (("CA_EMPTY", -1027), ("CA_OPEN", -1029)):
            message = "TCPConnect: nothing can be verified: the folder /x holds no revocation list"
            finding = self.told(TLS, {"code": code, "message": message, "data": {"symbol": symbol, "stage": "tls"}})
            self.assertEqual(finding["what"], message)
            self.assertNotIn("CA certificate", finding["remedy"])

    def test_a_client_certificate_that_was_asked_for(self):
        for tls in ({}, {"alert": "sslv3 alert handshake failure"}):
            finding = self.told(TLS, {"code": -1031, "message": "no", "data": {"symbol": "TLS_HANDSHAKE", "stage": "tls", "tls": {
                **tls, "library": "the peer closed the connection; the server asks for a client certificate: name one"}}})
            self.assertIn("asks for a client certificate", finding["what"])
            self.assertIn("--identity", finding["remedy"])

    def test_of_a_profile_and_a_family(self):
        def connect(params):
            if params.get("profile"):
                raise Failure(-1027, "CA_EMPTY", "tls", "no CA")
            raise Failure(-11001, "HOST_NOT_FOUND", "resolve", "no host")
        with FakeBroker(TCPConnect=connect) as broker:
            for words, told in ((("--tls", "--profile", "p"), "trust profile p"), (("--family", "ipv6"), "of the wanted family")):
                self.assertIn(told, run(broker.path, *words, "h", "1").stdout.decode())

    def test_nothing_agreed_by_alpn(self):
        with servers.Server(tls=servers.tls13()) as server:
            self.assertIn("ALPN", self.json(OK, "--tls", "--alpn", "h2", "localhost", server.port)["findings"][0]["what"])

    def test_what_is_not_known_and_does_not_fit(self):
        finding = self.told(ERROR, {"code": -99999, "message": "ü" * 2000 + "\x1b[2J", "data": {
            "symbol": "NEW", "stage": "broker", "tls": {}}})
        self.assertRegex(finding["what"], "^ü{500,511}$")
        finding = self.told(TLS, {"code": -33010, "message": "no", "data": {
            "symbol": "TLS_VERIFY", "stage": "tls", "tls": {"verify_code": 9, "depth": 0, "chain": [{
                "subject": "\x1b]0;x\x07" * 500, "issuer": "", "not_before": "never", "not_after": "", "sha256": "",
                "key": "", "signature": "", "self_signed": True, "sent": True, "trusted": False, "depth": 0}]}}})
        self.assertRegex(finding["what"], "is not valid before never")

    # ---- whoever answers ----

    def test_hostile_names(self):
        with tempfile.TemporaryDirectory() as folder:
            maker = x509.Maker(folder)
            bad = b"\x1b]0;owned\x07\x1b[2J\r\nresult       ok\x7f\xc2\x9b31m\xe2\x80\xae"
            leaf = maker.server(None, [b"DNS:" + bad, "DNS:localhost"], name=bad)
            with servers.Server(tls=context_of(maker, leaf)) as server:
                for words in ((), ("--no-verify",)):
                    status = OK if words else TLS
                    text = self.check(status, "--tls", *words, "localhost", server.port)
                    self.assertEqual(len(re.findall(r"(?m)^result", text)), 1)
                    self.assertNotIn("\u202e", text)
                    chain = self.json(status, "--tls", *words, "localhost", server.port)
                    self.assertNotRegex(json.dumps(chain, ensure_ascii=False), r"[^ -~]")

    def test_a_hundred_certificates(self):
        with tempfile.TemporaryDirectory() as folder:
            maker = x509.Maker(folder)
            others = [maker.authority("many"), *(100 * [maker.authority("many " + "x" * 60)])]
            for alike in (True, False):
                if not alike:
                    key = maker.new_key()
                    others = x509.at_once([lambda n=n: maker.authority(f"number {n}", key=key) for n in range(100)])
                leaf = maker.server(maker.authority("an unknown root"), ["DNS:localhost"])
                with servers.Server(tls=context_of(maker, leaf, others)) as server:
                    text = self.check(TLS, "--tls", "localhost", server.port)
                    tls = self.json(TLS, "--tls", "localhost", server.port)["error"]["data"]["tls"]
                self.assertEqual(len(tls["chain"]), 16)
                self.assertEqual(tls["chain_more"], len(others) + 1 - 16)
                self.assertRegex(text, rf"(?m)^ +and {len(others) + 1 - 16} more$")
                self.assertEqual([one.get("depth") for one in tls["chain"]], [0] + 15 * [None])

    def test_thousands_of_names(self):
        with tempfile.TemporaryDirectory() as folder:
            maker = x509.Maker(folder)
            leaf = maker.server(None, [f"DNS:name-{number}.example" for number in range(3000)])
            with servers.Server(tls=context_of(maker, leaf)) as server:
                text = self.check(TLS, "--tls", "localhost", server.port)
                tls = self.json(TLS, "--tls", "localhost", server.port)["error"]["data"]["tls"]
            self.assertEqual(len(tls["chain"][0]["names"]) + tls["chain"][0]["names_more"], 3000)
            self.assertLessEqual(len(tls["chain"][0]["names"]), 64)
            self.assertRegex(text, r"for name-0\.example, .*name-11\.example and 2988 more")

    def test_a_certificate_of_many_colours(self):
        """Kinds of keys."""
        with tempfile.TemporaryDirectory() as folder:
            maker = x509.Maker(folder)
            for kind, expected in (("rsa2048", "RSA 2048"), ("P-384", "EC P-384"), ("ed25519", "ED25519")):
                leaf = maker.server(None, ["DNS:localhost"], key=kind)
                with servers.Server(tls=context_of(maker, leaf)) as server:
                    chain = self.json(TLS, "--tls", "localhost", server.port)["error"]["data"]["tls"]["chain"]
                self.assertEqual(chain[0]["key"], expected)

    # ---- for people, for programs ----

    def on_a_terminal(self, *words, **variables):
        control, terminal = pty.openpty()
        with os.fdopen(control, "rb", buffering=0) as control:
            environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
            process = subprocess.Popen([COMMAND, "--socket", self.daemon.socket_path, "check", *map(str, words)],
                                       stdin=subprocess.DEVNULL, stdout=terminal,
                                       env={**environment, "TERM": "xterm", **variables})
            os.close(terminal)
            output = b""
            try:
                while data := control.read(65536):
                    output += data
            except OSError:
                pass  # the terminal's end
            self.assertEqual(process.wait(seconds(20)), CONNECT)
        return output

    def test_colours_on_a_terminal_only(self):
        words = ("localhost", servers.closed_port())
        self.assertIn(b"\x1b[31mproblem\x1b[0m", self.on_a_terminal(*words))
        self.assertNotIn(b"\x1b", self.on_a_terminal(*words, NO_COLOR="1"))
        self.assertNotIn(b"\x1b", self.on_a_terminal(*words, TERM="dumb"))
        self.assertNotIn("\x1b", self.check(CONNECT, *words))

    def test_without_explain_there_is_no_more_than_before(self):
        more = {"addresses", "attempts", "chain", "chain_more", "refusal", "version", "cipher", "alpn"}
        with servers.Server(tls=servers.tls_context()) as server:
            for explain in ({}, {"explain": False}):
                result = self.client.call("TCPConnect", hostname="localhost", port=server.port, secure=True, **explain)
                self.assertEqual((set(result) | set(result["tls"])) & more, {"version", "cipher"})
        with servers.Server(tls=servers.tls_context("expired")) as server:
            data = self.client.error("TCPConnect", hostname="localhost", port=server.port, secure=True).data
            self.assertEqual((set(data) | set(data["tls"])) & more, {"attempts"})

    def test_explain_of_start_tls(self):
        for certificate, verify in (("good", True), ("expired", True), ("expired", False)):
            with servers.Server(tls=servers.tls_context(certificate)) as server:
                number = self.client.connect(server.port, "localhost")
                answer = self.client.answer(self.client.send("TCPStartTLS", socket=number, verify=verify, explain=True))
                tls = answer["error"]["data"]["tls"] if "error" in answer else answer["result"]["tls"]
                self.assertEqual("error" in answer, certificate == "expired" and verify)
                self.assertEqual([one["subject"] for one in tls["chain"]], ["CN=localhost", "CN=tcpbroker test CA"])
                self.assertEqual(tls.get("refusal", {}).get("verify_code"), None if verify else 10)
                self.client.call("TCPClose", [number, 2])

    def test_explain_needs_no_tls_and_no_look_up(self):
        with servers.Server() as server:
            result = self.client.call("TCPConnect", hostname="127.0.0.1", port=server.port, explain=True)
            self.assertEqual((result["addresses"], "tls" in result), (["127.0.0.1"], False))
        error = self.client.error("TCPConnect", hostname="missing.test", port=1, explain=True)
        self.assertNotIn("addresses", error.data)


if __name__ == "__main__":
    main()
