"""TCPPing: over the loopback of a network namespace of its own, where the kernel is told to permit it, or not to."""
import os
import shutil
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

from harness import Daemon, seconds

# 203.0.113.5 is a neighbour that answers nothing
SETUP = """
ip link set lo up
ip address add 192.0.2.1/32 dev lo
ip route add blackhole 198.51.100.0/24
ip link add drop type veth peer name far
ip link set drop up
ip link set far up
ip address add 203.0.113.1/24 dev drop
ip neighbour add 203.0.113.5 lladdr 02:00:00:00:00:05 dev drop nud permanent
echo "$1" >/proc/sys/net/ipv4/ping_group_range
shift
exec "$@"
"""


def namespaces_work():
    if os.geteuid() or not shutil.which("unshare") or not shutil.which("ip"):
        return False
    return subprocess.run(["unshare", "--net", "ip", "link", "set", "lo", "up"], capture_output=True).returncode == 0


class Inside(Daemon):
    def __init__(self, groups, *args, **kw):
        super().__init__(*args, **kw)
        self.command = ["unshare", "--net", "sh", "-e", "-c", SETUP, "sh", groups, *self.command]


@unittest.skipUnless(namespaces_work(), "needs root, unshare(1) and ip(8), for a network namespace of its own")
class Ping(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Inside("0 2147483647")
        cls.daemon.__enter__()
        cls.client = cls.daemon.client()

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.daemon.__exit__(None, None, None)

    def check(self, params, address):
        result = self.client.call("TCPPing", params)
        self.assertEqual(result["address"], address)
        self.assertGreater(result["milliseconds"], 0)
        self.assertLess(result["milliseconds"], seconds(3000))

    def test_addresses_and_names(self):
        self.check(["127.0.0.1"], "127.0.0.1")
        self.check({"hostname": "::1"}, "::1")
        self.check({"hostname": "[::1]"}, "::1")
        self.check({"hostname": "192.0.2.1"}, "192.0.2.1")
        self.assertIn(self.client.call("TCPPing", ["localhost"])["address"], ("127.0.0.1", "::1"))

    def test_sizes(self):
        for size in (1, 2, 256, 1500, 16384):
            for address in ("127.0.0.1", "::1"):
                with self.subTest(size=size, address=address):
                    self.check([address, size], address)
        for size in (0, -1, 16385, "256", 1.5):
            error = self.client.error("TCPPing", ["127.0.0.1", size])
            self.assertEqual((error.code, error.data["param"]), (-32602, "size"))

    def test_no_echo_in_time(self):
        for name in ("timeout", "timeout_ms"):
            started = time.monotonic()
            error = self.client.error("TCPPing", {"hostname": "203.0.113.5", name: 120})
            self.assertEqual((error.code, error.symbol, error.stage, error.retryable), (-1, "PING_TIMEOUT", "io", True))
            self.assertIn("203.0.113.5", error.message)
            self.assertGreaterEqual(time.monotonic() - started, 0.119)
            self.assertLess(time.monotonic() - started, seconds(2))
        self.assertEqual(self.client.error("TCPPing", ["203.0.113.5", 256, 0]).code, -1)

    def test_no_way(self):
        error = self.client.error("TCPPing", ["198.51.100.1"])
        self.assertIn(error.code, (-10022, -10051, -10065), error)
        error = self.client.error("TCPPing", ["100.64.0.1"])
        self.assertEqual((error.code, error.stage), (-10051, "connect"))

    def test_names_that_are_none(self):
        error = self.client.error("TCPPing", ["no-such-host.invalid"])
        self.assertIn(error.code, (-11001, -11002))
        self.assertEqual(error.stage, "resolve")

    def test_cancel(self):
        before = len(self.daemon.fds())
        id = self.client.send("TCPPing", ["203.0.113.5", 256, 60000])
        self.assertTrue(self.client.call("Broker.Cancel", [id])["cancelled"])
        self.assertEqual(self.client.answer(id)["error"]["code"], -10004)
        self.assertLessEqual(len(self.daemon.fds()), before)

    def test_many_at_once(self):
        ids = [self.client.send("TCPPing", ["127.0.0.1", 64 + i]) for i in range(100)]
        for id in ids:
            self.assertIn("result", self.client.answer(id))
        self.assertGreaterEqual(self.client.call("Broker.Stats")["pings"], 100)

    def test_client_that_goes(self):
        with self.daemon.client() as client:
            for _ in range(10):
                client.send("TCPPing", ["203.0.113.5", 256, 60000])
        self.check(["127.0.0.1"], "127.0.0.1")


@unittest.skipUnless(namespaces_work(), "needs root, unshare(1) and ip(8), for a network namespace of its own")
class NotPermitted(unittest.TestCase):
    def test_the_remedy_is_told(self):
        with Inside("1 0") as daemon, daemon.client() as client:
            error = client.error("TCPPing", ["127.0.0.1"])
            self.assertEqual((error.code, error.symbol), (-1012, "PING_NEEDS_PRIV"))
            self.assertIn("net.ipv4.ping_group_range", error.message)


class Lookup(unittest.TestCase):
    def test_a_lookup_that_hangs(self):
        with Daemon(resolver=True) as daemon, daemon.client() as client:
            error = client.error("TCPPing", {"hostname": "hang-ping.test", "timeout": 50})
            self.assertEqual((error.code, error.stage), (-10060, "resolve"))


if __name__ == "__main__":
    unittest.main(verbosity=1)
