"""The policy, case by case: addresses of each kind and in each form, names, spellings, ports; each by TCPConnect, a tunnel and
SOCKS5. The network is the daemon's own and leads nowhere, so what the policy lets pass fails as unreachable, and at once."""
import os
import re
import shutil
import socket
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from harness import main, seconds, wait_until
from policed import A, NetTestCase
import servers
from socks_test import GREETING, request

# what this host has beside the loopback's
OWN = ("11.22.33.44", "2606:aaaa::1")

NAMES = {
    "localhost": ["127.0.0.1"], "public.example": ["93.184.215.14"], "private.example": ["10.0.0.1"], "six.example": ["2606:4700::1"],
    "mixed.example": ["10.0.0.1", "93.184.215.14"], "both-private.example": ["10.0.0.1", "192.168.1.1"],
    "mapped.example": ["::ffff:10.0.0.1"], "nat64.example": ["64:ff9b::10.0.0.1"], "to-nat64.example": ["64:ff9b::8.8.8.8"],
    "metadata.example": ["169.254.169.254"], "own.example": ["11.22.33.44"], "zero.example": ["0.0.0.0"],
    "bad.example": ["93.184.215.14"], "evil.example": ["93.184.215.14"], "a.evil.example": ["93.184.215.14"],
    "a.b.evil.example": ["93.184.215.14"], "notevil.example": ["93.184.215.14"], "xn--bcher-kva.example": ["93.184.215.14"],
    "inner.example": ["10.0.0.1"], "named.example": ["192.168.7.7"], "named-elsewhere.example": ["192.168.8.8"],
    "trap.example": ["93.184.215.14", "192.168.7.7"],
}

RULES = """
[policy]
preset = internet
[rule "names"]
verdict = deny
hosts = bad.example *.evil.example bücher.example
[rule "database"]
verdict = allow
addresses = 10.1.0.0/16
ports = 5432
[rule "name-alone"]
verdict = allow
hosts = inner.example
[rule "name-and-address"]
verdict = allow
hosts = named.example named-elsewhere.example
addresses = 192.168.7.0/24
[rule "mail"]
verdict = deny
ports = smtp
[rule "watched"]
verdict = report
addresses = 172.16.9.0-172.16.9.255 fd00:9::/32
"""

# (host, port, does it pass)
INTERNET = [
    # what is public, and its neighbours
    ("8.8.8.8", 443, True), ("1.1.1.1", 80, True), ("172.32.0.1", 443, True), ("172.15.255.255", 443, True),
    ("100.63.255.255", 443, True), ("100.128.0.1", 443, True), ("198.20.0.1", 443, True), ("11.22.33.45", 443, True),
    ("223.255.255.255", 443, True), ("2606:4700::1", 443, True), ("2001:4860:4860::8888", 443, True), ("2606:aaaa::2", 443, True),
    # what is not
    ("10.0.0.1", 443, False), ("172.16.0.1", 443, False), ("172.31.255.255", 443, False), ("192.168.0.1", 443, False),
    ("100.64.0.1", 443, False), ("100.127.255.255", 443, False), ("127.0.0.1", 443, False), ("127.1.2.3", 443, False),
    ("0.0.0.0", 443, False), ("0.1.2.3", 443, False), ("169.254.1.1", 443, False), ("192.0.0.1", 443, False),
    ("192.0.2.1", 443, False), ("198.18.0.1", 443, False), ("198.19.255.255", 443, False), ("198.51.100.1", 443, False),
    ("203.0.113.1", 443, False), ("224.0.0.1", 443, False), ("239.255.255.255", 443, False), ("240.0.0.1", 443, False),
    ("255.255.255.255", 443, False), ("::", 443, False), ("::1", 443, False), ("fe80::1", 443, False), ("fe80::1%lo", 443, False),
    ("fec0::1", 443, False), ("fc00::1", 443, False), ("fdff::1", 443, False), ("ff02::1", 443, False),
    ("2001:db8::1", 443, False), ("3fff::1", 443, False), ("5f00::1", 443, False), ("100::1", 443, False), ("4000::1", 443, False),
    ("2001:2::1", 443, False), ("2001:10::1", 443, False),
    # clouds' secrets
    ("169.254.169.254", 80, False), ("169.254.170.2", 80, False), ("168.63.129.16", 80, False), ("100.100.100.200", 80, False),
    ("fd00:ec2::254", 80, False), ("192.0.0.192", 80, False),
    # this host's own
    ("11.22.33.44", 443, False), ("2606:aaaa::1", 443, False), ("::ffff:11.22.33.44", 443, False), ("64:ff9b::11.22.33.44", 443, False),
    # addresses in addresses
    ("::ffff:10.0.0.1", 443, False), ("::ffff:127.0.0.1", 443, False), ("::ffff:0.0.0.0", 443, False), ("::ffff:8.8.8.8", 443, True),
    ("::10.0.0.1", 443, False), ("::8.8.8.8", 443, False), ("::ffff:0:10.0.0.1", 443, False),
    ("64:ff9b::10.0.0.1", 443, False), ("64:ff9b::169.254.169.254", 443, False), ("64:ff9b::8.8.8.8", 443, True),
    ("64:ff9b:1::10.0.0.1", 443, False), ("64:ff9b:1:a00:0:100::", 443, False), ("64:ff9b:1::8.8.8.8", 443, False),
    ("2002:a00:1::1", 443, False), ("2002:808:808::1", 443, True),
    ("2001:0:808:808:0:0:f5ff:fffe", 443, False), ("2001:0:a00:1:0:0:f7f7:f7f7", 443, False),
    ("2001:0:808:808:0:0:f7f7:f7f7", 443, True),
    ("2606:4700::5efe:a00:1", 443, False), ("2606:4700::200:5efe:a00:1", 443, False), ("2606:4700::5efe:808:808", 443, True),
    # spellings
    ("2130706433", 443, False), ("0x7f.1", 443, False), ("0177.0.0.1", 443, False), ("127.1", 443, False),
    ("0xa000001", 443, False), ("134744072", 443, True), ("[::1]", 443, False), ("[::ffff:127.0.0.1]", 443, False),
    ("[2606:4700::1]", 443, True), ("localhost", 443, False), ("LOCALHOST.", 443, False),
    # names
    ("public.example", 443, True), ("PUBLIC.Example.", 443, True), ("private.example", 443, False), ("six.example", 443, True),
    ("mixed.example", 443, True), ("both-private.example", 443, False), ("mapped.example", 443, False),
    ("nat64.example", 443, False), ("to-nat64.example", 443, True), ("metadata.example", 443, False), ("own.example", 443, False),
    ("zero.example", 443, False), ("bad.example", 443, False), ("BAD.example.", 443, False), ("evil.example", 443, True),
    ("a.evil.example", 443, False), ("A.B.Evil.Example", 443, False), ("notevil.example", 443, True),
    ("bücher.example", 443, False), ("XN--BCHER-KVA.example", 443, False),
    ("inner.example", 443, False), ("named.example", 443, True), ("named-elsewhere.example", 443, False),
    ("trap.example", 443, True),
    # ports and the order of rules
    ("8.8.8.8", 25, False), ("public.example", 25, False), ("10.1.2.3", 5432, True), ("10.1.2.3", 5433, False),
    ("::ffff:10.1.2.3", 5432, True), ("64:ff9b::10.1.2.3", 5432, True), ("10.2.2.3", 5432, False),
    ("named.example", 25, True), ("172.16.9.9", 443, True), ("172.16.9.9", 25, False), ("172.16.10.1", 443, False),
    ("fd00:9::1", 443, True),
]

INTRANET = [
    ("10.0.0.1", 443, True), ("172.16.0.1", 443, True), ("192.168.1.1", 443, True), ("100.64.0.1", 443, True),
    ("fd00::1", 443, True), ("private.example", 443, True), ("mixed.example", 443, True), ("::ffff:10.0.0.1", 443, True),
    ("8.8.8.8", 443, False), ("public.example", 443, False), ("2606:4700::1", 443, False), ("127.0.0.1", 443, False),
    ("::1", 443, False), ("0.0.0.0", 443, False), ("169.254.169.254", 80, False), ("100.100.100.200", 80, False),
    ("fd00:ec2::254", 80, False), ("fe80::1", 443, False), ("10.9.9.9", 443, False), ("64:ff9b::8.8.8.8", 443, False),
    ("64:ff9b::10.0.0.1", 443, False), ("2002:a00:1::1", 443, False), ("224.0.0.1", 443, False),
]

OPEN_RULES = """
[rule "no-metadata"]
verdict = deny
addresses = metadata link-local
[rule "no-loopback"]
verdict = deny
addresses = 127.0.0.0/8 ::1
[rule "no-ten"]
verdict = deny
addresses = 10.0.0.0/8
"""

# without a preset: what a rule denies, it denies in each form
OPEN = [
    ("8.8.8.8", 443, True), ("192.168.1.1", 443, True), ("fd00::1", 443, True),
    ("169.254.169.254", 80, False), ("168.63.129.16", 80, False), ("fe80::1", 443, False), ("100.100.100.200", 80, False),
    ("127.0.0.1", 443, False), ("0.0.0.0", 443, False), ("::", 443, False), ("::ffff:127.0.0.1", 443, False), ("localhost", 443, False),
    ("10.0.0.1", 443, False), ("::ffff:10.0.0.1", 443, False), ("::10.0.0.1", 443, False), ("64:ff9b::10.0.0.1", 443, False),
    ("64:ff9b:1::10.0.0.1", 443, False), ("2002:a00:1::1", 443, False), ("2606:4700::5efe:a00:1", 443, False),
    ("2001:0:808:808:0:0:f5ff:fffe", 443, False), ("::ffff:0:10.0.0.1", 443, False), ("both-private.example", 443, True),
    ("11.22.33.44", 443, True),
]

CLOSED_RULES = """
[rule "host"]
verdict = allow
hosts = public.example
ports = 443
[rule "network"]
verdict = allow
addresses = 8.8.8.0/24
[rule "rest"]
verdict = deny
"""

CLOSED = [
    ("public.example", 443, True), ("public.example", 80, False), ("93.184.215.14", 443, False), ("bad.example", 443, False),
    ("8.8.8.8", 443, True), ("8.8.9.8", 443, False), ("64:ff9b::8.8.8.8", 443, False), ("127.0.0.1", 443, False),
    ("six.example", 443, False),
]


class Table(NetTestCase):
    TUNNEL = re.compile(r"tunnel t(\d+) (?:failed|denied): .* \[(\w+)\]")

    def is_target(self, host):
        """Can a tunnel be told so? A name is one there, with letters in its last part, and an address has one spelling."""
        return not re.search(r"[^\x00-\x7f%]|%|^[\d.xX]*[xX][\da-fA-F.]*$|^\d+(\.\d+)?$|^0\d+\.|\.$", host)

    def tunnels(self, cases):
        text = ""
        for i, (host, port, _) in enumerate(cases):
            if self.is_target(host):
                host = f"[{host.strip('[]')}]" if ":" in host else host
                text += self.tunnel(port, f"t{i}", host, secure="no")
        return text

    def by_connect(self, host, port):
        message = self.client.answer(self.client.send("TCPConnect", {"hostname": host, "port": port, "timeout_ms": 5000}), 10)
        error = message.get("error")
        if error and error["data"]["stage"] == "policy":
            self.assertEqual((error["code"], error["data"]["symbol"], error["data"]["retryable"]), (-10013, "EACCES", False))
            self.assertIn("tcpbroker policy test", error["message"])
            self.assertTrue("rule" in error["data"] or "preset" in error["data"])
            return False
        # nothing listens anywhere, and nothing is reachable
        self.assertIn(error["data"]["stage"], ("connect",), error)
        return True

    def by_tunnels(self, cases):
        asked = [i for i, case in enumerate(cases) if self.is_target(case[0])]
        for i in asked:
            self.enter(f"t{i}")
        found = wait_until(lambda: (lambda seen: len(seen) >= len(asked) and seen)(
            dict(self.TUNNEL.findall(self.daemon.log()))), 20, "a line in the log for each tunnel")
        return {int(i): symbol != "EACCES" for i, symbol in found.items()}

    def by_socks(self, host, port):
        literal = host.strip("[]").partition("%")[0] if ":" in host else host
        kind = socket.AF_INET6 if ":" in host else socket.AF_INET if re.fullmatch(r"\d+\.\d+\.\d+\.\d+", host) and \
            not re.match(r"0\d", host) else None
        sock = self.enter("s")
        sock.sendall(GREETING)
        self.assertEqual(servers.read_exactly(sock, 2), b"\5\0")
        sock.sendall(request((kind, literal) if kind and "%" not in host else host.strip("[]"), port))
        code = servers.read_exactly(sock, 4)[1]
        sock.close()
        self.assertNotEqual(code, 0)
        return code != 2

    def by_test(self, host, port):
        return self.client.call("Policy.Test", {"hostname": host, "port": port})["verdict"] != "deny"

    AT_ONCE = 60  # there may be 64 tunnels

    def check(self, rules, cases):
        for i in range(0, len(cases), self.AT_ONCE):
            self.check_some(rules, cases[i:i + self.AT_ONCE])

    def check_some(self, rules, cases):
        self.folder = tempfile.mkdtemp(prefix="tcpbroker-doors-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.start(f"{rules}\n[socks]\nsocket = {self.path('s')}\n" + self.tunnels(cases), NAMES, OWN)
        tunnels = self.by_tunnels(cases)
        wrong = []
        for i, (host, port, passes) in enumerate(cases):
            found = {"TCPConnect": self.by_connect(host, port), "SOCKS": self.by_socks(host, port),
                     "Policy.Test": self.by_test(host, port), "tunnel": tunnels.get(i, passes)}
            wrong += [f"{way} to {host} port {port}: {'passes' if each else 'is denied'}"
                      for way, each in found.items() if each != passes]
        self.assertEqual(wrong, [])
        self.assertGreater(len(tunnels), len(cases) * 0.5)

    def test_internet(self):
        self.assertGreater(len(INTERNET), 100)
        self.check(RULES, INTERNET)

    def test_intranet(self):
        self.check('[policy]\npreset = intranet\n[rule "not-there"]\nverdict = deny\naddresses = 10.9.0.0/16\n', INTRANET)

    def test_open_with_rules(self):
        self.check(OPEN_RULES, OPEN)

    def test_closed(self):
        self.check(CLOSED_RULES, CLOSED)

    def test_denied_names_are_not_asked_for(self):
        """Whose look-up could carry something out."""
        self.check('[rule "host"]\nverdict = allow\nhosts = public.example\n[rule "rest"]\nverdict = deny\n',
                   [("public.example", 443, True), ("secret.bad.example", 443, False), ("BAD.Example.", 80, False),
                    ("8.8.8.8", 443, False), ("2130706433", 443, False)])
        for method, params in (("TCPPing", ["other.example"]), ("TCPName2Addr", ["other.example"]), ("TCPAddr2Name", ["8.8.8.8"])):
            self.assertEqual(self.client.error(method, params).stage, "policy")
        self.assertEqual({name for name, _ in self.server.asked}, {"public.example"})


class Rebinding(NetTestCase):
    """A name that answers with one address first, and with another later."""

    PUBLIC, PRIVATE = "11.22.33.44", "10.0.0.1"

    def setUp(self):
        super().setUp()
        self.answers = []
        # both are this host's: the rule says which of them may be reached
        self.start(f"""
[policy]
preset = internet
[rule "outside"]
verdict = allow
addresses = {self.PUBLIC}
[socks]
socket = {self.path("s")}
""" + self.tunnel(4711, "t", "rebinding.example", secure="no"), {"rebinding.example": self.next}, (self.PUBLIC, self.PRIVATE))
        self.reached = []
        with self.inside():
            self.listeners = {address: socket.create_server((address, 4711)) for address in (self.PUBLIC, self.PRIVATE)}
        for listener in self.listeners.values():
            listener.settimeout(seconds(10))
            self.addCleanup(listener.close)

    def next(self, kind):
        if kind != A:
            return []
        return [self.answers.pop(0)] if self.answers else None

    def accepted(self, address):
        sock, _ = self.listeners[address].accept()
        sock.close()

    def nobody_came(self):
        for listener in self.listeners.values():
            listener.settimeout(0)
            self.assertRaises(BlockingIOError, listener.accept)
            listener.settimeout(seconds(10))

    def test_connect(self):
        self.answers = [self.PUBLIC, self.PRIVATE]
        result = self.client.call("TCPConnect", ["rebinding.example", 4711])
        # asked once, and that is where it went
        self.assertEqual((result["remote_address"], len(self.answers)), (self.PUBLIC, 1))
        self.accepted(self.PUBLIC)
        error = self.client.error("TCPConnect", ["rebinding.example", 4711])
        self.assertEqual((error.code, error.stage, error.data["preset"]), (-10013, "policy", "internet"))
        self.assertIn(self.PRIVATE, error.message)
        self.nobody_came()

    def test_tunnel(self):
        self.answers = [self.PUBLIC, self.PRIVATE]
        self.enter("t")
        self.accepted(self.PUBLIC)
        self.enter("t")
        self.daemon.wait_log(r"tunnel t denied: .*10\.0\.0\.1.* \[EACCES\]")
        self.nobody_came()

    def test_socks(self):
        self.answers = [self.PUBLIC, self.PRIVATE]
        codes = []
        for _ in range(2):
            sock = self.enter("s")
            sock.sendall(GREETING)
            self.assertEqual(servers.read_exactly(sock, 2), b"\5\0")
            sock.sendall(request("rebinding.example", 4711))
            codes.append(servers.read_exactly(sock, 4)[1])
        self.assertEqual(codes, [0, 2])
        self.accepted(self.PUBLIC)
        self.nobody_came()

    def test_many_times(self):
        """Whatever comes first: who is reached is the one that may be."""
        for turn in range(20):
            first = self.PUBLIC if turn % 2 else self.PRIVATE
            self.answers = [first]
            message = self.client.answer(self.client.send("TCPConnect", ["rebinding.example", 4711]), 10)
            self.assertEqual("result" in message, first == self.PUBLIC)
            if "result" in message:
                self.accepted(self.PUBLIC)
        self.nobody_came()


if __name__ == "__main__":
    main()
