"""Whose certificate is accepted, and how a refusal is told: a table of cases (tests/support/verify_cases.py), each shown to
a verified connection and to one with verify: false. Its lines are the test's output."""
import datetime
import os
import shutil
import ssl
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import revocation_cases
import verify_cases
import x509
from harness import Client, Daemon, Raw, TestCase, main, seconds
from servers import Listener


def configuration(name):
    """Of the daemon for one of TRUSTS; its files are written."""
    folder, lists = os.path.join(FOLDER, name, "cacerts"), os.path.join(FOLDER, name, "lists")
    os.makedirs(folder)
    os.makedirs(lists)
    for number, certificate in enumerate(WORLD.trusted[name]):
        with open(os.path.join(folder, f"{number}.pem"), "w", encoding="ascii") as file:
            file.write(certificate)
    for path, content in WORLD.files[name].items():
        path = os.path.join(lists, path)
        os.makedirs(path if content is None else os.path.dirname(path), exist_ok=True)
        if content is not None:
            with open(path, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
    config = {"tls.system_store": "no", "tls.cacerts": folder, **verify_cases.TRUSTS[name]}
    for profile, values in WORLD.profiles[name].items():
        config.update({f'tls "{profile}".{key}': value for key, value in values.items()})
    return {key: value.format(folder=folder, lists=lists) for key, value in config.items()}


class Shower(Listener):
    """A TLS server that shows whatever chain it is told to; a port for each family."""

    def __init__(self, maker, **kw):
        super().__init__(**kw)
        self.maker = maker
        self.context = None

    def show(self, leaf, others=()):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.load_cert_chain(*self.maker.files(leaf, others))
        self.context = context

    def on_connection(self, connection):
        threading.Thread(target=self._serve, args=(connection, self.context), daemon=True).start()

    def _serve(self, raw, context):
        try:
            raw.settimeout(seconds(10))
            with context.wrap_socket(raw, server_side=True) as connection:
                while connection.recv(4096):
                    pass
        except (OSError, ValueError):
            pass
        finally:
            self.forget(raw)
            raw.close()


class Verdict:
    """What came of a connection: in the terms of verify_cases (code, or (code, depth)), and in words."""

    def __init__(self, answer):
        self.error = answer.get("error")
        self.tls = answer.get("result", {}).get("tls", {})
        data = (self.error or {}).get("data", {})
        self.failure = data.get("tls", {})
        if not self.error:
            self.code, self.depth, self.words = 0, None, "ok"
        elif self.error["code"] == -33010:
            self.code, self.depth = self.failure["verify_code"], self.failure["depth"]
            self.words = f"{self.failure['verify_text']} ({self.depth})"
        else:
            self.code, self.depth = self.error["code"], None
            self.words = self.failure.get("alert") or data.get("symbol", "")

    def is_as(self, expected):
        code, depth = expected if isinstance(expected, tuple) else (expected, None)
        return self.code == code and (depth is None or self.depth == depth)

    def __str__(self):
        return f"{self.code or 'ok'}"


def expected_text(expected):
    code = expected[0] if isinstance(expected, tuple) else expected
    return str(code or "ok")


class Cases(TestCase):
    """One test for each case; the methods are added below."""

    @classmethod
    def setUpClass(cls):
        unittest.TestCase.setUpClass()
        cls.daemons, cls.clients = {}, {}
        for name in verify_cases.TRUSTS:
            daemon = Daemon(resolver=True, config=configuration(name))
            cls.addClassCleanup(daemon.__exit__, None, None, None)
            cls.daemons[name] = daemon.__enter__()
            client = Client(daemon)
            cls.addClassCleanup(client.close)
            cls.clients[name] = client
        cls.servers = {}
        for address in ("127.0.0.1", "::1"):
            server = Shower(WORLD.maker, address=address)
            cls.addClassCleanup(server.__exit__, None, None, None)
            cls.servers[address] = server.__enter__()
        cls.lines = []

    @classmethod
    def tearDownClass(cls):
        print_table(cls.lines)

    def setUp(self):
        pass  # the clients are those of the class

    def connect(self, case, **kw):
        server = self.servers["::1" if not case.server_name and ":" in case.ask else "127.0.0.1"]
        client = self.clients[case.trust]
        names = {"hostname": "127.0.0.1", "server_name": case.ask} if case.server_name else {"hostname": case.ask}
        server.show(*case.chain)
        line = dict(**names, port=server.port, secure=True, **({"profile": case.profile} if case.profile else {}), **kw)
        if "\0" in case.ask:  # refused before the id is known
            with Raw(self.daemons[case.trust]) as raw:
                return Verdict(raw.ask({"jsonrpc": "2.0", "id": 1, "method": "TCPConnect", "params": line}))
        answer = client.answer(client.send("TCPConnect", line))
        if "result" in answer:
            client.call("TCPClose", [answer["result"]["socket"], 2])
        return Verdict(answer)

    def verdict(self, case):
        got = self.connect(case)
        self.lines.append((case, got))
        return got

    def check(self, case):
        got = self.verdict(case)
        self.assertTrue(got.is_as(case.expected), f"expected {case.expected}, got {got}: {got.error or got.tls}")
        if got.error is None:
            self.assertIs(got.tls["verified"], True)
        elif got.error["code"] == -33010:
            self.check_error(got.error, -33010, "TLS_VERIFY", "tls", False)
            self.assertGreater(len(got.failure["verify_text"]), 4)
            self.assertIn(ADVICE.get(got.code, ""), got.error["message"])
        elif case.profile:  # its files cannot be used: which?
            self.assertRegex(got.error["message"], FOLDER + "|/dev/null")
        unverified = self.connect(case, verify=False)
        self.assertTrue(unverified.is_as(case.unverified), f"verify: false gave {unverified.error or unverified.tls}")
        if not unverified.error:
            self.assertIs(unverified.tls["verified"], False)
        explained = self.connect(case, verify=False, explain=True)
        self.assertEqual(explained.code, unverified.code)
        if not explained.error and got.code >= 0:
            refusal = explained.tls.get("refusal", {})
            self.assertEqual((refusal.get("verify_code", 0), refusal.get("depth")), (got.code, got.depth))
            self.assertEqual(explained.tls["chain"][0]["depth"], 0)


    # ---- to the second: both ends of a validity belong to it (RFC 5280 section 4.1.2.5) ----

    def timed(self, name, validity, checks):
        """checks: (seconds after the moment, what is expected). Asked late, on a busy machine, it says nothing: again."""
        for _ in range(5):
            moment = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(seconds=2)
            leaf = WORLD.maker.server(WORLD.root, ["DNS:www.tls.test"], valid=validity(moment))
            lines, late = [], False
            for after, expected in checks:
                time.sleep(max(0, moment.timestamp() + after - time.time()))
                case = verify_cases.Case("second", f"{name} {after:+.2f} s", (leaf, ()), "www.tls.test", expected, "roots",
                                         True, 0)
                lines.append((case, self.connect(case)))
                late = late or int(time.time() - moment.timestamp() + 10) != int(after + 10)
            if not late:
                break
        self.lines.extend(lines)
        for case, got in lines:
            self.assertTrue(got.is_as(case.expected), f"{case.name}: expected {case.expected}, got {got}")

    def test_the_first_second(self):
        self.timed("begins", lambda moment: (moment, x509.days(1)), [(-0.9, 9), (0.05, 0)])

    def test_the_last_second(self):
        self.timed("ends", lambda moment: (x509.days(-1), moment), [(-0.9, 0), (0.05, 0), (1.05, 10)])


def print_table(lines):
    print(f"\n    0  {'case':74} {'expected':>8} {'got':>8}", flush=True)
    for number, (case, got) in enumerate(lines, 1):
        mark = "" if got.is_as(case.expected) else "   <-- differs"
        name = (case.group + ": " + case.name)[:74]
        print(f"  {number:3}  {name:74} {expected_text(case.expected):>8} {str(got):>8}  {got.words}{mark}")
    print(f"  {len(lines)} cases", flush=True)


def add_tests():
    for number, case in enumerate(WORLD.cases, 1):
        def test(self, case=case):
            self.check(case)
        test.__doc__ = f"{case.group}: {case.name}"
        setattr(Cases, f"test_{number:03}", test)


ADVICE = {**revocation_cases.ADVICE, **dict.fromkeys(range(85, 94), "strict = no")}
FOLDER = tempfile.mkdtemp(prefix="tcpbroker-verify-")
unittest.addModuleCleanup(shutil.rmtree, FOLDER, ignore_errors=True)
WORLD = verify_cases.make(x509.Maker(FOLDER))
add_tests()

if __name__ == "__main__":
    main()
