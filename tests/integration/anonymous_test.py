"""Handshakes without any certificate (anonymous ciphers of TLS 1.2): nobody can be verified in one, and so verification never
takes place in one. They are not agreed on, whatever a cipher list says; and if the library's own configuration lets them in, a
connection that was to be verified is refused."""
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from harness import TestCase, daemon_path, main, seconds
from partners import Partners, section
from servers import Server

FOLDER = tempfile.mkdtemp(prefix="tcpbroker-anonymous-")
unittest.addModuleCleanup(shutil.rmtree, FOLDER, ignore_errors=True)
PARTNERS = Partners(FOLDER)
IDENTITY = PARTNERS.identity("server", PARTNERS.server, users=os.getuid())
CLI = os.environ.get("TCPBROKER_CLI") or os.path.join(os.path.dirname(daemon_path()), "..", "cli", "tcpbroker")
ANONYMOUS = "aNULL:@SECLEVEL=0"
LIBRARY = """openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = lax
[lax]
CipherString = ALL:@SECLEVEL=0
"""


def context(kind):
    made = ssl.SSLContext(kind)
    if kind == ssl.PROTOCOL_TLS_CLIENT:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    made.set_ciphers(ANONYMOUS)
    made.maximum_version = ssl.TLSVersion.TLSv1_2
    return made


class Anonymous:
    def connected(self, **kw):
        with Server(tls=context(ssl.PROTOCOL_TLS_SERVER)) as server:
            return self.client.answer(self.client.send("TCPConnect", dict(hostname="localhost", port=server.port, secure=True,
                                                                          **kw)))

    def started(self, **kw):
        with Server(tls=context(ssl.PROTOCOL_TLS_SERVER)) as server:
            number = self.client.connect(server.port, "localhost")
            return self.client.answer(self.client.send("TCPStartTLS", dict(socket=number, **kw)))

    def accepted(self, **kw):
        """What TCPAccept answers to an anonymous client."""
        listener = self.client.call("TCPSocket")["socket"]
        port = self.client.call("TCPBind", socket=listener, address="127.0.0.1", port=0)["port"]
        self.client.call("TCPListen", socket=listener)
        id = self.client.send("TCPAccept", dict(socket=listener, secure=True, identity="server", **kw))

        def come():
            try:
                with ssl.create_connection(("127.0.0.1", port)) as raw, context(ssl.PROTOCOL_TLS_CLIENT).wrap_socket(raw) as tls:
                    tls.recv(1)
            except OSError:
                pass

        thread = threading.Thread(target=come, daemon=True)
        thread.start()
        answer = self.client.answer(id)
        self.client.call("TCPClose", [answer["result"]["socket"] if "result" in answer else listener, 2])
        thread.join(seconds(10))
        return answer

    def checked(self, *options):
        with Server(tls=context(ssl.PROTOCOL_TLS_SERVER)) as server:
            done = subprocess.run([CLI, "--socket", self.daemon.socket_path, "check", "localhost", str(server.port), "--tls",
                                   *options], capture_output=True, text=True, timeout=seconds(20), check=False)
        self.assertEqual(done.returncode, 6, done.stdout + done.stderr)
        self.assertNotIn("is verified", done.stdout)
        return done.stdout

    def refused(self, answer, code):
        self.assertEqual(answer.get("error", {}).get("code"), code, answer)


class ByTheList(TestCase, Anonymous):
    @classmethod
    def setUpClass(cls):
        cls.DAEMON_OPTIONS = {"config": "".join((
            PARTNERS.trust(), section("tls", "any", ciphers="ALL", security_level=0),
            section("tls", "first", ciphers="aNULL:eNULL:ALL", security_level=0), IDENTITY))}
        super().setUpClass()

    def test_never(self):
        for profile in ("any", "first"):
            for verify in (True, False):
                with self.subTest(profile=profile, verify=verify):
                    self.refused(self.connected(profile=profile, verify=verify), -1031)
                    self.refused(self.started(profile=profile, verify=verify), -1031)
            self.checked("--profile", profile)
            self.checked("--profile", profile, "--no-verify")

    def test_as_server(self):
        for who in ("none", "optional", "required"):
            with self.subTest(client_certificate=who):
                self.refused(self.accepted(profile="any", client_certificate=who), -1031)

    def test_lists_that_cannot_be(self):
        for config, words in (("[tls]\nciphers = ALL:@SECLEVEL=0\n", "security_level"),
                              ("[tls \"x\"]\nciphers = DEFAULT@SECLEVEL=1\n", "security_level"),
                              ("[tls]\nciphers = aNULL\n", "anonymous"), ("[tls]\nciphers = eNULL\n", "anonymous")):
            with self.subTest(config=config):
                path = PARTNERS.write("bad.conf", "[listen]\nsocket = /run/x\n" + config)
                done = subprocess.run([daemon_path(), "--check-config", path], capture_output=True, text=True,
                                      timeout=seconds(20), check=False)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(words, done.stderr)


class ByTheLibrary(TestCase, Anonymous):
    """No list of ours, so that of the system's configuration of OpenSSL."""

    @classmethod
    def setUpClass(cls):
        lax = PARTNERS.write("openssl.cnf", LIBRARY)
        trust = section("tls", system_store="no", cacerts=PARTNERS.cacerts, security_level=0)
        cls.DAEMON_OPTIONS = {"config": trust + IDENTITY, "env": {"OPENSSL_CONF": lax}}
        super().setUpClass()

    def test_unverified(self):
        """It is so that such a handshake can take place here at all."""
        tls = self.connected(verify=False)["result"]["tls"]
        self.assertIs(tls["verified"], False)
        self.assertNotIn("peer", tls)

    def test_verified(self):
        for answer in (self.connected(), self.started(), self.connected(explain=True)):
            self.refused(answer, -33010)
            self.assertIn("no certificate was shown", answer["error"]["message"])
        self.checked()

    def test_as_server(self):
        self.refused(self.accepted(client_certificate="required"), -1031)  # OpenSSL asks for one nevertheless
        self.assertIs(self.accepted(client_certificate="optional")["result"]["tls"]["verified"], False)


if __name__ == "__main__":
    main()
