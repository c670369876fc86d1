"""TCPConnect over a wire: hosts that are silent, slow, or refuse, of both families (RFC 8305).

The hosts are network namespaces of our own (tests/support/netns.py); as root only.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import netns
import servers
from harness import SLOW, Client, Elapsed, TestCase, main, wait_until

# the resolver puts those first that have more bits in common with 192.0.2.1 and 2001:db8::1
DEAD4, DEAD4B, GOOD4 = "192.0.2.2", "192.0.2.3", "192.0.2.200"
DEAD6, DEAD6B, GOOD6 = "2001:db8::2", "2001:db8::3", "2001:db8::8000:0:0:200"
HOSTS = {
    "dead-good.test": (DEAD4, GOOD4),
    "dead-dead.test": (DEAD4, DEAD4B),
    "dead6-good4.test": (DEAD6, GOOD4),
    "dead4-good6.test": (DEAD4, GOOD6),
    "all-dead.test": (DEAD6, DEAD6B, DEAD4, DEAD4B),
    "good.test": (GOOD6, GOOD4),
}
STAGGER, PORT = 250, 7000


class NetworkCase(TestCase):
    """One network and one daemon for the tests of a class."""

    IPV4_FIRST = False
    CONFIG = {"connect.backoff_after": "0"}

    @classmethod
    def setUpClass(cls):
        cls.network = cls.enterClassContext(netns.Network([DEAD4, DEAD4B, GOOD4, DEAD6, DEAD6B, GOOD6]))
        cls.wire = cls.network.wire
        cls.daemon = cls.enterClassContext(
            netns.NetDaemon(cls.network, HOSTS, config=cls.CONFIG, ipv4_first=cls.IPV4_FIRST))

    @classmethod
    def tearDownClass(cls):
        pass

    def setUp(self):
        super().setUp()
        self.wire.dropped = {DEAD4, DEAD4B, DEAD6, DEAD6B}
        self.network.delay(0)
        self.wire.forget()

    def server(self, address, port=PORT):
        with netns.inside(self.network.far):
            return self.use(servers.Server(address=address, port=port))

    def connect(self, host, port=PORT, **kw):
        """(result, milliseconds)"""
        self.wire.forget()
        with Elapsed() as elapsed:
            result = self.client.call("TCPConnect", hostname=host, port=port, **kw)
        return result, elapsed.ms

    def close(self, result):
        self.client.call("TCPClose", [result["socket"], 2])

    def check_nobody_is_given_up_early(self, winner, port=PORT):
        """The near host has ended nothing before the connection to the winner was there."""
        there = wait_until(lambda: self.wire.seen(out=True, flags=netns.ACK, destination=winner, destination_port=port),
                           5, "the end of the winner's handshake")[0].when
        for each in self.wire.seen(out=True, destination_port=port):
            if each.flags & (netns.RST | netns.FIN):
                self.assertGreater(each.when, there, each)

    def within(self, most_ms, host, wanted, least_ms=0):
        """Connected to that address in such a time; a busy machine has some more tries."""
        times = []
        for _ in range(5):
            result, ms = self.connect(host)
            self.assertEqual(result["remote_address"], wanted)
            self.check_nobody_is_given_up_early(wanted)
            self.close(result)
            self.assertGreater(ms, least_ms)
            times.append(ms)
            if ms <= most_ms:
                return times
        self.fail(f"{host}: {times} ms, more than {most_ms} ms each time")
        return None


class Silent(NetworkCase):
    def test_the_second_address_when_the_first_is_silent(self):
        server = self.server(GOOD4)
        self.within(300 * SLOW, "dead-good.test", GOOD4, STAGGER - 5)
        wait_until(lambda: server.accepted >= 1, 5, "the connection at the server")
        self.assertEqual([address for _, address in self.wire.attempts(PORT)], [DEAD4, GOOD4])

    def test_both_silent(self):
        with Elapsed() as elapsed:
            data = self.fails(-10060, "ETIMEDOUT", "TCPConnect", hostname="dead-dead.test", port=PORT, timeout_ms=1500,
                              stage="connect", retryable=True)
        self.assertGreater(elapsed.ms, 1495)
        self.assertLess(elapsed.ms, 1500 + 300 * SLOW)
        self.assertEqual([(each["address"], each["error"]) for each in data["attempts"]],
                         [(DEAD4, "pending"), (DEAD4B, "pending")])
        first, second = (each["ms"] for each in data["attempts"])
        self.assertLess(abs(first - 1500), 300 * SLOW, data)  # the look-up takes its time, too
        self.assertGreaterEqual(first - second, STAGGER - 1)
        self.assertLess(first - second, STAGGER + 60 * SLOW)
        self.assertNotIn("retry_after_ms", data)

    def test_ipv6_silent(self):
        self.server(GOOD4)
        self.within(300 * SLOW, "dead6-good4.test", GOOD4, STAGGER - 5)
        self.assertEqual([address for _, address in self.wire.attempts(PORT)], [DEAD6, GOOD4])

    def test_the_families_take_turns(self):
        """One attempt each stagger, six four six four; none is given up for the next."""
        data = self.fails(-10060, "ETIMEDOUT", "TCPConnect", hostname="all-dead.test", port=PORT, timeout_ms=1200)
        seen = self.wire.attempts(PORT)
        self.assertEqual([address for _, address in seen], [DEAD6, DEAD4, DEAD6B, DEAD4B])
        self.assertEqual([each["address"] for each in data["attempts"]], [DEAD6, DEAD4, DEAD6B, DEAD4B])
        for (before, _), (after, _) in zip(seen, seen[1:]):
            self.assertGreater(after - before, (STAGGER - 5) / 1000)
            self.assertLess(after - before, (STAGGER + 60 * SLOW) / 1000)
        # RFC 6298: a SYN nobody answered is sent again after a second, while it is not given up
        self.assertEqual([each.destination for each in self.wire.seen(out=True, flags=netns.SYN)][4:], [DEAD6])

    def test_a_silent_host_that_wakes_up(self):
        """An attempt that others have overtaken still counts."""
        self.server(DEAD6)
        id = self.client.send("TCPConnect", hostname="all-dead.test", port=PORT, timeout_ms=8000)
        wait_until(lambda: len(self.wire.attempts(PORT)) == 4, 5, "four attempts")
        self.wire.dropped = {DEAD4, DEAD4B, DEAD6B}
        result = self.client.wait(id)
        self.assertEqual(result["remote_address"], DEAD6)
        self.check_nobody_is_given_up_early(DEAD6)
        self.assertEqual(self.wire.attempts(PORT)[0][1], DEAD6)

    def test_a_refusal_needs_no_stagger(self):
        self.server(GOOD4)
        self.wire.dropped = set()
        self.within(100 * SLOW, "dead-good.test", GOOD4)


class SilentIPv4(NetworkCase):
    IPV4_FIRST = True

    def test_ipv4_silent(self):
        self.server(GOOD6)
        self.within(300 * SLOW, "dead4-good6.test", GOOD6, STAGGER - 5)
        self.assertEqual([address for _, address in self.wire.attempts(PORT)], [DEAD4, GOOD6])

    def test_the_families_take_turns(self):
        self.fails(-10060, "ETIMEDOUT", "TCPConnect", hostname="all-dead.test", port=PORT, timeout_ms=900)
        self.assertEqual([address for _, address in self.wire.attempts(PORT)], [DEAD4, DEAD6, DEAD4B, DEAD6B])


class Slow(NetworkCase):
    """A slow host is a good host: it is never given up, only overtaken. Delayed by the wire; see Netem, too."""

    def delay(self, ms, families=(4, 6)):
        self.network.delay(ms, families)

    def check_both_tried(self):
        """In which order they come out of a queue behind which the wire begins is not for us to say."""
        wait_until(lambda: {address for _, address in self.wire.attempts(PORT)} == {GOOD4, GOOD6}, 5, "both attempts")

    def test_slow_first_within_the_stagger(self):
        six, four = self.server(GOOD6), self.server(GOOD4)
        self.delay(200, (6,))
        result, ms = self.connect("good.test")
        self.assertEqual(result["remote_address"], GOOD6)
        self.assertGreater(ms, 199)
        if ms < STAGGER:
            self.assertEqual(len(self.wire.attempts(PORT)), 1, "there was no reason to try the other one")
        self.check_nobody_is_given_up_early(GOOD6)
        wait_until(lambda: six.accepted == 1, 5, "the connection")
        self.assertEqual(four.accepted, 0)

    def test_slow_first_and_the_second_refuses(self):
        self.server(GOOD6)
        self.delay(400, (6,))
        result, ms = self.connect("good.test")
        self.assertEqual(result["remote_address"], GOOD6)
        self.assertGreater(ms, 399)
        self.check_both_tried()
        self.check_nobody_is_given_up_early(GOOD6)

    def test_slow_first_is_overtaken(self):
        """The loser is closed when the winner is there: one connection at the servers, one socket here."""
        six, four = self.server(GOOD6), self.server(GOOD4)
        self.delay(600, (6,))
        self.check_stats("clients", 1)  # those of the tests before have gone
        before = self.daemon.n_sockets()
        result, ms = self.connect("good.test")
        self.assertEqual(result["remote_address"], GOOD4)
        self.assertGreater(ms, STAGGER - 5)
        self.check_nobody_is_given_up_early(GOOD4)
        self.assertEqual(self.daemon.n_sockets(), before + 1)
        # what the slow one answers then is refused, so no half connection stays there
        wait_until(lambda: self.wire.seen(out=True, flags=netns.RST, destination=GOOD6), 5, "the end of the loser")
        self.client.call("TCPSend", [result["socket"], "x"])
        self.assertEqual(self.client.call("TCPReceive", [result["socket"]])["data"], "x")
        self.assertEqual((six.accepted, four.accepted), (0, 1))

    def test_both_slower_than_the_stagger(self):
        for ms in (400, 1300):
            with self.subTest(delay_ms=ms):
                with self.server(GOOD6) as six, self.server(GOOD4):
                    self.delay(ms)
                    result, took = self.connect("good.test")
                    self.assertEqual(result["remote_address"], GOOD6)
                    self.assertGreater(took, ms - 1)
                    self.assertLess(took, ms + 200 * SLOW, "it was begun anew")
                    self.check_both_tried()
                    self.check_nobody_is_given_up_early(GOOD6)
                    wait_until(lambda: six.accepted == 1, 5, "the connection")

    def test_slower_than_the_deadline(self):
        self.server(GOOD6)
        self.delay(700)
        data = self.fails(-10060, "ETIMEDOUT", "TCPConnect", hostname="good.test", port=PORT, timeout_ms=600)
        self.assertEqual([each["error"] for each in data["attempts"]], ["pending", "pending"])


class Netem(Slow):
    """The same with the kernel's own delay."""

    def setUp(self):
        super().setUp()
        for family in (4, 6):
            done = netns.run("tc", "-n", self.network.near, "qdisc", "replace", "dev", f"host{family}", "root", "netem",
                             "delay", "0ms", check=False)
            if done.returncode:
                self.skipTest("this kernel has no netem (module sch_netem, as Debian's own kernel has it): "
                              + done.stderr.strip().splitlines()[0])

    def delay(self, ms, families=(4, 6)):
        for family in families:
            netns.run("tc", "-n", self.network.near, "qdisc", "replace", "dev", f"host{family}", "root", "netem",
                      "delay", f"{ms}ms")


class NoPorts(NetworkCase):
    RANGE = "/proc/sys/net/ipv4/ip_local_port_range"

    def setUp(self):
        super().setUp()
        before = self.range()
        self.addCleanup(self.range, before)
        try:
            self.range("40000 40000")
        except OSError as error:
            self.skipTest(f"{self.RANGE}: {error}")

    def range(self, wanted=None):
        """Of the daemon's host."""
        with netns.inside(self.network.near):
            if wanted:
                with open(self.RANGE, "w", encoding="ascii") as file:
                    file.write(wanted)
            with open(self.RANGE, encoding="ascii") as file:
                return file.read()

    def test_no_port_is_free(self):
        """That passes; an address that is not here does not."""
        self.server(GOOD4)
        result, _ = self.connect(GOOD4)
        self.fails(-10049, "EADDRNOTAVAIL", "TCPConnect", hostname=GOOD4, port=PORT, retryable=True)
        self.fails(-10049, "EADDRNOTAVAIL", "TCPConnect", hostname=GOOD4, port=PORT, local_address="192.0.2.99",
                   retryable=False)
        self.client.call("TCPClose", [result["socket"], 2])
        result, _ = self.connect(GOOD4)
        self.close(result)


class Refusing(NetworkCase):
    CONFIG = {"connect.backoff_after": "2", "connect.backoff_min": "200ms", "connect.backoff_max": "500ms"}

    def test_left_alone_longer_each_time(self):
        port, told = PORT + 1, []

        def attempts():
            return len(self.wire.seen(out=True, flags=netns.SYN, destination_port=port))

        def tried():
            before = attempts()
            data = self.client.error("TCPConnect", [GOOD4, port]).data
            attempt, = data["attempts"]
            # what is not tried sends nothing, what is tried sends one
            self.assertEqual(attempts() - before, 1 if attempt.get("tried", True) else 0, data)
            return data if attempt.get("tried", True) else None
        for _ in range(6):
            told.append(wait_until(tried, 5, "another attempt").get("retry_after_ms"))
        self.assertIsNone(told[0])
        for ms, wanted in zip(told[1:], (200, 400, 500, 500, 500)):
            self.assertGreater(ms, wanted - 60 * SLOW, told)
            self.assertLessEqual(ms, wanted, told)

    def test_one_that_is_silent_is_tried_as_ever(self):
        port = PORT + 2
        self.wire.dropped = {DEAD4}
        for turn in range(3):
            data = self.fails(-10060, "ETIMEDOUT", "TCPConnect", hostname="dead-good.test", port=port, timeout_ms=260)
            silent = [each for each in data["attempts"] if each["address"] == DEAD4]
            self.assertEqual([(each["error"], "tried" in each) for each in silent], [("pending", False)])
            self.assertNotIn("retry_after_ms", data, turn)


if __name__ == "__main__":
    main()
