#!/usr/bin/env python3
"""Every allocation fails once while a configuration is looked at, with trust profiles, identities and doors: it is refused, and
said why. What happens later, in a daemon that runs, is fault_test.py's.

TCPBROKER_FULL=1 takes a closer look at what the TLS library does without memory."""
import glob
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import harness  # noqa: E402
from partners import Partners, section  # noqa: E402

LIMIT = 20.0


def preload():
    build = os.path.join(os.path.dirname(harness.daemon_path()), "..")
    found = glob.glob(os.path.join(build, "tests", "support", "*fail_malloc.so"))
    return found[0] if found else None


@unittest.skipIf(preload() is None, "the build has no tests/support/fail_malloc (build all targets)")
@unittest.skipIf(harness.SLOW > 1, "a sanitizer has its own malloc; run it with the release build")
class Memory(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="tcpbroker-test-")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_each_fails_once_while_the_configuration_is_read(self):
        path = os.path.join(self.folder.name, "named.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write("""[tls "a"]\ncacerts = /a\nalpn = h2 http/1.1\ncrl = /x\n[tls "b"]\nciphers = DEFAULT
[identity "c"]\ncertificate = cred:c\nusers = alice 1001\ndestinations = *.example.com:443\n[tls]\nciphers = HIGH
[tunnel "d"]\nlisten = /x\nconnect = h:1\nsecure = no\n[socks]\nsocket = /s\n""")
        failed = 0
        for at in range(1, 1000):
            done = self.check_config(path, at)
            if "/a" in done.stderr:  # a folder that is not there: all was read
                break
            self.assertEqual(done.returncode, 1, f"{at}: {done.stderr}")
            failed += 1
        # one for each text of the defaults and of three sections, at least
        self.assertGreater(failed, 25)
        self.assertLess(failed, 500)
        self.assertEqual(done.returncode, 2)

    def check_config(self, path, at, library=""):
        return subprocess.run([harness.daemon_path(), "--check-config", path], capture_output=True, text=True, timeout=LIMIT,
                              env=dict(os.environ, LD_PRELOAD=preload(), FAIL_MALLOC_AT=str(at), FAIL_MALLOC_LIBRARY=library),
                              check=False)

    def partners(self):
        """A configuration whose profile and identity have files, all of them sound."""
        made = Partners(tempfile.mkdtemp(dir=self.folder.name))
        lists = made.write("lists.pem", made.maker.crl(made.one).pem + made.maker.crl(made.root).pem)
        return made.write("partners.conf", made.trust() + section(
            "tls", "p", crl=lists, crl_check="chain", pins="sha256:" + made.one.key.pin.hex(), alpn="h2 http/1.1",
            cacerts=made.cacerts) + made.identity("i", users="nobody 4242", groups="nogroup",
                                                  destinations="*.x.test:443 [::1]:1 10.0.0.1"))

    def test_each_fails_once_while_profiles_and_identities_are_loaded(self):
        path = self.partners()
        failed = 0
        for at in range(1, 1000):
            done = self.check_config(path, at)
            if done.returncode == 0:
                break
            self.assertEqual(done.returncode, 1, f"{at}: {done.stderr}")
            self.assertNotIn(" damaged", done.stderr)
            failed += 1
        self.assertGreater(failed, 40)
        self.assertIn("no errors", done.stdout)

    def test_the_library_has_no_memory(self):
        """OpenSSL does not always say that it was that; but files are never passed over in silence."""
        path = self.partners()
        outcomes = {0: 0, 1: 0, 2: 0}
        for at in range(1, 40000, 11 if os.environ.get("TCPBROKER_FULL") else 149):
            done = self.check_config(path, at, "libcrypto")
            self.assertIn(done.returncode, outcomes, f"{at}: {done.stderr}")
            outcomes[done.returncode] += 1
            if done.returncode == 0:
                self.assertNotIn("ignored", done.stderr)
                self.assertNotIn("skipped", done.stderr)
        self.assertGreater(outcomes[0], outcomes[1])


if __name__ == "__main__":
    unittest.main()
