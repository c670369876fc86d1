"""[tls "name"]: profiles differ in whom they trust and what TLS they speak; what is not said is that of [tls]; a reload makes
and changes them, and never gives up one that works for one that does not."""
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import unittest
from types import SimpleNamespace

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from harness import Daemon, Elapsed, OwnDaemonTestCase, RpcError, TestCase, daemon_path, main, seconds
from partners import Partners, section
from servers import Server

FOLDER = tempfile.mkdtemp(prefix="tcpbroker-profile-")
unittest.addModuleCleanup(shutil.rmtree, FOLDER, ignore_errors=True)
PARTNERS = Partners(FOLDER)
MAKER = PARTNERS.maker
NAMES = ["DNS:localhost", "IP:127.0.0.1"]


def root(name):
    """(a root, a folder with it, a server of it)"""
    made = MAKER.authority(f"profile {name}")
    path = PARTNERS.write(f"{name}/root.pem", made.pem)
    return made, os.path.dirname(path), MAKER.server(made, NAMES)


SYSTEM, SYSTEM_FOLDER, OF_SYSTEM = root("system")
PLAIN, PLAIN_FOLDER, OF_PLAIN = root("plain")
PARTNER, PARTNER_FOLDER, OF_PARTNER = root("partner")
# the system's store, for a daemon: this file and nothing else
STORE = {"SSL_CERT_FILE": os.path.join(SYSTEM_FOLDER, "root.pem"), "SSL_CERT_DIR": "/nowhere"}


def context(certificate, minimum=None, maximum=None, alpn=None, ciphers="DEFAULT:@SECLEVEL=0"):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.set_ciphers(ciphers)
    made.load_cert_chain(*MAKER.files(certificate))
    if minimum:
        made.minimum_version = minimum
    if maximum:
        made.maximum_version = maximum
    if alpn:
        made.set_alpn_protocols(alpn)
    return made


class ProfileCase(TestCase):
    def connect(self, server, profile=None, **kw):
        """What was agreed on."""
        more = {"profile": profile} if profile is not None else {}
        result = self.client.call("TCPConnect", hostname="localhost", port=server.port, secure=True, **more, **kw)
        self.client.call("TCPClose", [result["socket"], 2])
        return result["tls"]

    def code(self, server, profile=None, **kw):
        more = {"profile": profile} if profile is not None else {}
        return self.client.error("TCPConnect", hostname="localhost", port=server.port, secure=True, **more, **kw).code

    def trusted(self, profile):
        """Which of the three servers the profile believes."""
        found = set()
        for name, certificate in (("system", OF_SYSTEM), ("plain", OF_PLAIN), ("partner", OF_PARTNER)):
            with Server(tls=context(certificate)) as server:
                try:
                    self.assertIs(self.connect(server, profile)["verified"], True)
                    found.add(name)
                except RpcError as error:
                    self.assertEqual(error.code, -33010)
        return found


class Profiles(ProfileCase):
    @classmethod
    def setUpClass(cls):
        config = "".join((
            section("tls", cacerts=PLAIN_FOLDER, min_version="1.2", ciphers="ECDHE-ECDSA-AES256-GCM-SHA384"),
            section("tls", "heir"),
            section("tls", "system", trust="system"),
            section("tls", "folder", trust="folder"),
            section("tls", "both", trust="both"),
            section("tls", "partner", cacerts=PARTNER_FOLDER),
            section("tls", "partner-only", trust="folder", cacerts=PARTNER_FOLDER),
            section("tls", "partner-both", trust="both", cacerts=PARTNER_FOLDER),
            section("tls", "new", min_version="1.3"),
            section("tls", "cipher", ciphers="ECDHE-ECDSA-AES128-GCM-SHA256"),
            section("tls", "default-ciphers", ciphers="DEFAULT"),
            section("tls", "weak", security_level=0),
            section("tls", "strong", security_level=3, ciphers="DEFAULT"),
            section("tls", "alpn", alpn="h2 http/1.1"),
            section("tls", "missing", trust="folder", cacerts="/no/such/folder"),
            section("tls", "empty", trust="folder", cacerts=os.path.dirname(PARTNERS.write("empty/README", "nothing")))))
        cls.DAEMON_OPTIONS = {"config": config, "env": STORE}
        cls.DAEMON_ARGS = ("--cacerts", PARTNERS.cacerts)
        super().setUpClass()

    def test_whom_they_trust(self):
        for profile, expected in ((None, {"system", "plain"}), ("default", {"system", "plain"}),
                                  ("heir", {"system", "plain"}), ("system", {"system"}), ("folder", {"plain"}),
                                  ("both", {"system", "plain"}), ("partner", {"system", "partner"}),
                                  ("partner-only", {"partner"}), ("partner-both", {"system", "partner"})):
            with self.subTest(profile=profile):
                self.assertEqual(self.trusted(profile), expected)

    def test_the_option_cacerts_is_for_the_default_profile(self):
        with Server(tls=context(PARTNERS.server)) as server:
            self.assertIs(self.connect(server)["verified"], True)
            self.assertIs(self.connect(server, "default")["verified"], True)
            for profile in ("heir", "system", "folder", "both", "partner"):
                self.assertEqual(self.code(server, profile), -33010)

    def test_min_version(self):
        old, new = ({"minimum": version, "maximum": version} for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3))
        with Server(tls=context(OF_PLAIN, **old)) as server:
            self.assertEqual(self.connect(server, "heir")["version"], "TLSv1.2")
            self.assertEqual(self.code(server, "new"), -1031)
            self.assertEqual(self.code(server, "new", verify=False), -1031)
            self.assertEqual(self.code(server, "new", min_tls="1.2"), -1031)  # a request asks for more, never for less
        with Server(tls=context(OF_PLAIN, **new)) as server:
            self.assertEqual(self.connect(server, "new")["version"], "TLSv1.3")

    def test_ciphers(self):
        old = {"minimum": ssl.TLSVersion.TLSv1_2, "maximum": ssl.TLSVersion.TLSv1_2}
        with Server(tls=context(OF_PLAIN, **old)) as server:
            for profile, cipher in ((None, "AES256"), ("heir", "AES256"), ("cipher", "AES128"), ("weak", "AES256")):
                self.assertIn(cipher, self.connect(server, profile)["cipher"].replace("-", ""))
        with Server(tls=context(OF_PLAIN, ciphers="ECDHE-ECDSA-CHACHA20-POLY1305", **old)) as server:
            self.assertEqual(self.code(server, "heir"), -1031)
            self.assertIn("CHACHA20", self.connect(server, "default-ciphers")["cipher"])

    def test_security_level(self):
        small = MAKER.server(PLAIN, NAMES, key="rsa1024")
        large = MAKER.server(PLAIN, NAMES, key="rsa2048")
        with Server(tls=context(small, minimum=ssl.TLSVersion.TLSv1_3)) as server:
            self.assertEqual(self.code(server, "heir"), -33010)
            self.assertIs(self.connect(server, "weak")["verified"], True)
        with Server(tls=context(large)) as server:
            self.assertEqual(self.code(server, "strong"), -33010)  # level 3 asks for 3072 bits
            self.assertIs(self.connect(server, "default-ciphers")["verified"], True)

    def test_alpn(self):
        for offered, chosen in ((["h2"], "h2"), (["http/1.1"], "http/1.1"), (["http/1.1", "h2"], "http/1.1"), (["imap"], None)):
            with self.subTest(server=offered), Server(tls=context(OF_PLAIN, alpn=offered)) as server:
                self.assertEqual(self.connect(server, "alpn").get("alpn"), chosen)
                self.assertNotIn("alpn", self.connect(server, "heir"))
        with Server(tls=context(OF_PLAIN, alpn=["h2", "imap"])) as server:
            self.assertEqual(self.connect(server, "alpn", alpn=["imap"])["alpn"], "imap")
            self.assertEqual(self.connect(server, "alpn", alpn=["imap", "h2"])["alpn"], "h2")
            self.assertEqual(self.connect(server, "heir", alpn=["imap"])["alpn"], "imap")

    def test_unknown(self):
        with Server(tls=context(OF_PLAIN)) as server:
            number = self.client.connect(server.port)
            for name in ("nobody", "Default", "heir ", "../heir", "[tls]", "heir\u0301"):
                data = self.fails(-32602, "INVALID_PARAMS", "TCPConnect", hostname="localhost", port=server.port, secure=True,
                                  profile=name)
                self.assertEqual(data["param"], "profile")
                data = self.fails(-32602, "INVALID_PARAMS", "TCPStartTLS", socket=number, profile=name, verify=False)
                self.assertEqual(data["param"], "profile")
            self.client.call("TCPStartTLS", socket=number, profile="heir", server_name="localhost")

    def test_start_tls(self):
        with Server(tls=context(OF_PARTNER)) as server:
            for profile, code in (("partner", 0), ("heir", -33010), ("missing", -1024), ("empty", -1027)):
                number = self.client.connect(server.port, "localhost")
                if code:
                    self.assertEqual(self.client.error("TCPStartTLS", socket=number, profile=profile).code, code)
                else:
                    tls = self.client.call("TCPStartTLS", socket=number, profile=profile)["tls"]
                    self.assertIs(tls["verified"], True)
                self.client.call("TCPClose", [number, 2])

    def test_a_store_that_cannot_be_used(self):
        """The others work; unverified, that one does, too."""
        with Server(tls=context(OF_PLAIN)) as server:
            for profile, code, symbol, words in (("missing", -1024, "CA_FOLDER", "/no/such/folder"),
                                                 ("empty", -1027, "CA_EMPTY", "/empty")):
                error = self.client.error("TCPConnect", hostname="localhost", port=server.port, secure=True, profile=profile)
                self.check_error(error, code, symbol, "tls", False)
                self.assertIn(words, error.message)
                self.assertIs(self.connect(server, profile, verify=False)["verified"], False)
                self.assertRegex(self.daemon.log(), f"error verified TLS connections of the profile {profile} will be refused")
            self.assertIs(self.connect(server)["verified"], True)


class Many(ProfileCase):
    """As many as there can be, each with a root of its own."""

    @classmethod
    def setUpClass(cls):
        cls.ones = [(f"p{number}", *root(f"p{number}")) for number in range(64)]
        cls.config = PARTNERS.trust() + "".join(section("tls", name, trust="folder", cacerts=folder)
                                                for name, _, folder, _ in cls.ones)
        cls.DAEMON_OPTIONS = {"config": cls.config}
        super().setUpClass()

    def test_each_believes_its_own(self):
        for number, (name, _, _, certificate) in enumerate(self.ones):
            with Server(tls=context(certificate)) as server:
                self.assertIs(self.connect(server, name)["verified"], True)
                self.assertEqual(self.code(server, self.ones[number - 1][0]), -33010)

    def test_one_more(self):
        path = PARTNERS.write("many.conf", self.config + section("tls", "p64"))
        done = subprocess.run([daemon_path(), "--check-config", path], capture_output=True, text=True, timeout=seconds(20),
                              check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("64", done.stderr)

    def test_reload(self):
        with Elapsed() as elapsed:
            for _ in range(5):
                self.client.call("Broker.Reload")
        self.assertLess(elapsed.ms, seconds(10) * 1000)


class Reload(OwnDaemonTestCase, ProfileCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="tcpbroker-profile-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def start(self, config):
        self.daemon = self.use(Daemon(config=config, env=STORE))
        self.client = self.open_client()

    def configure(self, config):
        with open(os.path.join(self.daemon.folder, "tcpbroker.conf"), "w", encoding="utf-8") as file:
            file.write(config)

    def reload(self, config=None):
        if config is not None:
            self.configure(config)
        self.client.call("Broker.Reload")

    def refused(self, *words, config=None):
        """A reload that must fail, and say that."""
        if config is not None:
            self.configure(config)
        error = self.client.error("Broker.Reload")
        self.check_error(error, -10022, "EINVAL", "broker")
        for word in words:
            self.assertIn(word, error.message)

    def write(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        return path

    def test_added_changed_removed(self):
        plain = section("tls", system_store="no", cacerts=PLAIN_FOLDER)
        with Server(tls=context(OF_PARTNER)) as server:
            self.start(plain)
            self.assertEqual(self.code(server, "p"), -32602)
            self.reload(plain + section("tls", "p", cacerts=PARTNER_FOLDER))
            number = self.client.call("TCPConnect", hostname="localhost", port=server.port, secure=True, profile="p")["socket"]
            self.reload(plain + section("tls", "p", cacerts=SYSTEM_FOLDER))
            self.assertEqual(self.code(server, "p"), -33010)
            self.reload(plain + section("tls", "p"))
            self.assertEqual(self.trusted("p"), {"plain"})
            self.reload(section("tls", system_store="yes", cacerts=PARTNER_FOLDER) + section("tls", "p"))
            self.assertEqual(self.trusted("p"), {"system", "partner"})
            self.reload(plain)
            self.assertEqual(self.code(server, "p"), -32602)
            # what lives stays as it is
            self.client.call("TCPSend", [number, "still\n"])
            self.assertEqual(self.client.call("TCPReceive", socket=number, until="\n")["data"], "still\n")

    def test_a_store_is_not_given_up(self):
        plain = section("tls", system_store="no", cacerts=PLAIN_FOLDER)
        with Server(tls=context(OF_PARTNER)) as server:
            self.start(plain + section("tls", "p", cacerts=PARTNER_FOLDER))
            for what in ("/no/such/folder", self.folder):
                self.refused("of the profile p would be refused", what, config=plain + section("tls", "p", cacerts=what))
                self.connect(server, "p")
                # nor taken on
                self.refused("of the profile q", what, config=plain + section("tls", "p", cacerts=PARTNER_FOLDER) +
                             section("tls", "q", cacerts=what))
                self.assertEqual(self.code(server, "q"), -32602)
            self.refused("no cipher matches", '[tls "p"]', config=plain + section("tls", "p", ciphers="NONSENSE"))
            self.connect(server, "p")
            self.reload(plain)

    def test_a_bad_one_does_not_stop_the_others(self):
        """It was bad before; the configuration goes on."""
        bad = section("tls", system_store="no", cacerts=PLAIN_FOLDER) + section("tls", "bad", cacerts="/no/such/folder")
        with Server(tls=context(OF_PARTNER)) as server:
            self.start(bad)
            self.assertEqual(self.code(server, "bad"), -1024)
            self.reload(bad + section("tls", "p", cacerts=PARTNER_FOLDER))
            self.connect(server, "p")
            self.reload(bad.replace("/no/such/folder", PARTNER_FOLDER))
            self.connect(server, "bad")
            self.refused("of the profile bad", config=bad)
            self.connect(server, "bad")

    def test_lists(self):
        """Revocation lists are read again; one that cannot be used changes nothing."""
        leaf = OF_PLAIN
        path = self.write("crl.pem", MAKER.crl(PLAIN).pem)
        config = section("tls", system_store="no", cacerts=PLAIN_FOLDER, crl=path) + section("tls", "off", crl_check="off")
        with Server(tls=context(leaf)) as server:
            self.start(config)
            self.connect(server)
            self.write("crl.pem", MAKER.crl(PLAIN, [leaf]).pem)
            self.connect(server)  # not yet
            self.reload()
            self.assertEqual(self.code(server), -33010)
            self.connect(server, "off")
            good = MAKER.crl(PLAIN)
            for content in ("", good.pem[:100], good.der, PLAIN.pem, good.pem.replace("\nM", "\n!", 1)):
                self.write("crl.pem", content)
                self.refused("verified TLS connections would be refused", path)
                self.assertEqual(self.code(server), -33010)
            os.unlink(path)
            self.refused("cannot open", path, "do not name it")
            os.mkdir(path)
            self.refused("holds no revocation list", path)
            self.write("crl.pem/list", good.pem)
            self.reload()
            self.connect(server)
            self.assertRegex(self.daemon.log(), "profile default trusts: 1 certificates from folders; 1 revocation lists")

    def test_a_damaged_certificate_beside_good_ones(self):
        """At the start it is told in the log; a reload does not give up a CA for it."""
        self.write("partner.pem", PARTNER.pem)
        path = self.write("plain.pem", SYSTEM.pem + PLAIN.pem)
        config = section("tls", system_store="no", cacerts=self.folder)
        damaged = (PLAIN.pem[:300], SYSTEM.pem + PLAIN.pem[:300], PLAIN.pem.replace("\nM", "\n!", 1))
        with Server(tls=context(OF_PLAIN)) as server:
            self.start(config)
            for content in damaged:
                self.write("plain.pem", content)
                self.refused("verified TLS connections might be refused", f"of {path} is damaged", config=config)
                self.connect(server)
            for content in ("", "nothing\n", PLAIN.der):
                self.write("plain.pem", content)
                self.refused(f"{path} had a certificate and has none any more")
                self.connect(server)
            # nor is a new one taken that is damaged; what never was a certificate may lie there
            self.write("plain.pem", PLAIN.pem)
            new = self.write("new.pem", SYSTEM.pem[:300])
            self.refused(f"certificate number 1 of {new} is damaged")
            self.write("new.pem", "a letter\n")
            self.reload()
            self.connect(server)
            os.unlink(path)  # on purpose
            self.reload()
            self.assertEqual(self.code(server), -33010)

    def test_a_damaged_certificate_at_the_start(self):
        """What was damaged before spoils no reload, unless it is worse now."""
        self.write("partner.pem", PARTNER.pem)
        path = self.write("plain.pem", PLAIN.pem + SYSTEM.pem[:300])
        with Server(tls=context(OF_PLAIN)) as server:
            self.start(section("tls", system_store="no", cacerts=self.folder))
            self.assertRegex(self.daemon.log(), f"warning {path}: certificate number 2 is damaged")
            self.reload()
            self.connect(server)
            self.write("plain.pem", PLAIN.pem[:300])
            self.refused(f"certificate number 1 of {path} is damaged")
            self.connect(server)

    def test_the_system_store_goes(self):
        bundle = self.write("bundle.pem", SYSTEM.pem)
        config = section("tls", system_store="yes", cacerts=PLAIN_FOLDER)
        with Server(tls=context(OF_SYSTEM)) as server:
            self.daemon = self.use(Daemon(config=config, env={"SSL_CERT_FILE": bundle, "SSL_CERT_DIR": "/nowhere"}))
            self.client = self.open_client()
            self.connect(server)
            os.unlink(bundle)
            self.refused("the system's certificates cannot be read any more")
            self.connect(server)
            self.reload(section("tls", system_store="no", cacerts=PLAIN_FOLDER))  # on purpose
            self.assertEqual(self.code(server), -33010)

    def test_an_old_list_for_one_that_is_valid(self):
        path = self.write("crl.pem", MAKER.crl(PLAIN).pem)
        with Server(tls=context(OF_PLAIN)) as server:
            self.start(section("tls", system_store="no", cacerts=PLAIN_FOLDER, crl=path))
            self.write("crl.pem", MAKER.crl(PLAIN, valid=(-30, -1)).pem)
            self.refused("a revocation list is out of date, and those in force are not")
            self.connect(server)

    def test_a_long_list_is_in_memory_once(self):
        """However many profiles have it, and however often it is loaded."""
        path = self.write("crl.pem", MAKER.crl(PLAIN, [SimpleNamespace(serial=1000 + number) for number in range(20000)]).pem)
        config = section("tls", system_store="no", cacerts=PLAIN_FOLDER, crl=path)
        self.start(config)
        if self.daemon.sanitized():
            self.skipTest("a sanitizer keeps what is free")
        one = self.daemon.rss_kib()
        self.client.call("Broker.Reload")
        self.configure(config + "".join(section("tls", f"p{number}") for number in range(20)))
        for _ in range(12):
            self.client.call("Broker.Reload")
        # one list takes about 5 MB; there are two while it is loaded, and libraries keep some of it for later
        self.assertLess(self.daemon.rss_kib() - one, 30000)

    def check_config(self, config):
        path = self.write("check.conf", config)
        return subprocess.run([daemon_path(), "--check-config", path], capture_output=True, text=True, timeout=seconds(20),
                              check=False, env=dict(os.environ, **STORE))

    def test_checked_before_a_reload(self):
        """What a reload would refuse is an error of the configuration."""
        os.mkdir(os.path.join(self.folder, "cas"))
        self.write("cas/good.pem", PLAIN.pem)
        path = self.write("cas/other.pem", PARTNER.pem[:300])
        plain = section("tls", system_store="no", cacerts=PLAIN_FOLDER)
        for more, words in (("", None), (section("tls", "p", cacerts="/no/such/folder"), "/no/such/folder"),
                            (section("tls", "p", crl="/no/such/list"), "/no/such/list"),
                            (section("tls", "p", cacerts=os.path.dirname(path)), f"of {path} is damaged")):
            with self.subTest(more):
                done = self.check_config(plain + more)
                if words is None:
                    self.assertEqual((done.returncode, done.stderr), (0, ""))
                    self.assertIn("no errors", done.stdout)
                else:
                    self.assertEqual((done.returncode, done.stdout), (2, ""))
                    self.assertIn("of the profile p", done.stderr)
                    self.assertIn(words, done.stderr)

    def test_an_old_list_is_told(self):
        path = self.write("crl.pem", MAKER.crl(PLAIN, valid=(-30, -1)).pem)
        self.start(section("tls", system_store="no", cacerts=PLAIN_FOLDER, crl=path))
        self.assertRegex(self.daemon.log(), "warning .*revocation list.*out of date")

    def test_an_old_list_beside_a_newer_one_is_not(self):
        lists = MAKER.crl(PLAIN, valid=(-30, -1)).pem + MAKER.crl(PLAIN, valid=(-1, 30)).pem
        self.start(section("tls", system_store="no", cacerts=PLAIN_FOLDER, crl=self.write("crl.pem", lists)))
        self.assertNotIn("out of date", self.daemon.log())
        with Server(tls=context(OF_PLAIN)) as server:
            self.assertEqual([self.connect(server)["verified"] for _ in range(2)], [True, True])

    def test_pins(self):
        def config(*certificates):
            pins = " ".join("sha256:" + one.key.pin.hex() for one in certificates)
            return section("tls", system_store="no", cacerts=PLAIN_FOLDER) + section("tls", "p", pins=pins)
        with Server(tls=context(OF_PLAIN)) as server:
            self.start(config(OF_PLAIN))
            self.connect(server, "p")
            self.reload(config(PARTNER))
            error = self.client.error("TCPConnect", hostname="localhost", port=server.port, secure=True, profile="p")
            data = self.check_error(error, -33010, "TLS_VERIFY", "tls", False)
            self.assertEqual(data["tls"]["verify_code"], 50)
            self.assertIn("pinned", data["tls"]["verify_text"])
            self.assertIs(self.connect(server, "p", verify=False)["verified"], False)
            self.connect(server)
            self.reload(config(PARTNER, PLAIN))
            self.connect(server, "p")


if __name__ == "__main__":
    main()
