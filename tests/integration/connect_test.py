"""TCPConnect without TLS: addresses, names, services, families, deadlines, cancelling."""
import os
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from harness import SLOW, Elapsed, TestCase, main, seconds


class Connect(TestCase):
    DAEMON_OPTIONS = {"resolver": True}

    def test_the_result_tells_the_ends(self):
        peer = self.use(servers.Peer())
        result = self.client.call("TCPConnect", ["127.0.0.1", peer.port])
        connection = peer.take()
        self.assertGreater(result["socket"], 0)
        self.assertLess(result["socket"], 2**31)
        self.assertEqual((result["remote_address"], result["remote_port"]), ("127.0.0.1", peer.port))
        self.assertEqual((result["local_address"], result["local_port"]), connection.getpeername())
        self.assertNotIn("tls", result)
        timing = result["timing_us"]
        self.assertEqual(set(timing), {"resolve", "connect", "handshake", "total"})
        self.assertEqual((timing["resolve"], timing["handshake"]), (0, 0))
        self.assertGreater(timing["connect"], 0)
        self.assertGreaterEqual(timing["total"], timing["connect"])

    def test_timing_of_a_slow_look_up(self):
        server = self.use(servers.Server())
        with Elapsed() as time_taken:
            timing = self.client.call("TCPConnect", ["slow-name.test", server.port])["timing_us"]
        self.assertGreater(timing["resolve"], 290000)
        self.assertLess(timing["connect"], seconds(0.25) * 1e6)
        self.assertGreaterEqual(timing["total"], timing["resolve"] + timing["connect"])
        self.assertLessEqual(timing["total"], time_taken.ms * 1000)

    def test_verify_without_secure_has_no_effect(self):
        server = self.use(servers.Server())
        for verify in (True, False):
            self.assertNotIn("tls", self.client.call("TCPConnect", ["127.0.0.1", server.port, False, verify]))

    def test_refused(self):
        port = servers.closed_port()
        data = self.fails(-10061, "ECONNREFUSED", "TCPConnect", ["127.0.0.1", port], stage="connect", retryable=True)
        self.assertEqual(data.get("errno"), "ECONNREFUSED")
        attempt, = data["attempts"]
        self.assertIn("127.0.0.1", attempt["address"])
        self.assertEqual(attempt["error"], "ECONNREFUSED")
        self.assertIsInstance(attempt["ms"], int)
        self.assertEqual(self.client.call("Broker.List")["sockets"], [], "no socket is left")

    def test_the_message_names_what_was_tried(self):
        port = servers.closed_port()
        error = self.client.error("TCPConnect", ["127.0.0.1", port])
        self.assertIn("127.0.0.1", error.message)
        self.assertIn(str(port), error.message)

    def test_look_ups_that_fail(self):
        for name, code, symbol, retryable in (("missing.test", -11001, "HOST_NOT_FOUND", False),
                                              ("fail-again.test", -11002, "TRY_AGAIN", True),
                                              ("fail-hard.test", -11003, "NO_RECOVERY", False),
                                              ("nodata.test", -11004, "NO_DATA", False)):
            with self.subTest(name=name):
                data = self.fails(code, symbol, "TCPConnect", [name, 80], stage="resolve", retryable=retryable)
                self.assertTrue(data["gai"].startswith("EAI_"), data)

    def test_unknown_host_by_the_real_resolver(self):
        error = self.client.error("TCPConnect", hostname="no-such-host.invalid", port=80, timeout_ms=8000)
        self.assertIn(error.code, (-11001, -11002, -11003))
        self.assertEqual(error.stage, "resolve")

    def test_services(self):
        data = self.fails(-33012, "UNKNOWN_SERVICE", "TCPConnect", ["localhost", "no-such-service"], retryable=False)
        self.assertEqual(data["stage"], "resolve")
        self.fails(-33012, "UNKNOWN_SERVICE", "TCPConnect", ["127.0.0.1", "no-such-service"])
        error = self.client.error("TCPConnect", hostname="127.0.0.1", service="tcpmux")
        if error.code == -33012:
            self.skipTest("there is no /etc/services here (package netbase)")
        self.assertEqual(error.code, -10061)
        self.assertIn("1", error.data["attempts"][0]["address"])

    def test_a_service_name_leads_to_its_port(self):
        try:
            port = socket.getservbyname("x11", "tcp")
        except OSError:
            self.skipTest("no service x11 in /etc/services (package netbase)")
        try:
            server = self.use(servers.Server(port=port))
        except OSError:
            self.skipTest(f"port {port} is in use")
        self.assertEqual(self.client.call("TCPConnect", ["127.0.0.1", "x11"])["remote_port"], server.port)

    def test_ipv6_with_and_without_brackets(self):
        server = self.use(servers.Server(address="::1"))
        for host in ("::1", "[::1]", "0:0:0:0:0:0:0:1"):
            result = self.client.call("TCPConnect", [host, server.port])
            self.assertEqual((result["remote_address"], result["local_address"]), ("::1", "::1"))

    def test_a_zone(self):
        server = self.use(servers.Server(address="::1"))
        self.assertGreater(self.client.call("TCPConnect", ["::1%lo", server.port])["socket"], 0)

    def test_odd_literals(self):
        for host in ("[::1", "::1]", "[127.0.0.1]", "[]", "[localhost]", "1.2.3.4.5", ":::", "[::1]]"):
            with self.subTest(host=host):
                error = self.client.error("TCPConnect", hostname=host, port=1, timeout_ms=8000)
                self.assertIn(error.code, (-32602, -11001, -11002, -11003, -11004))

    def test_family(self):
        four, six = self.use(servers.Server()), self.use(servers.Server(address="::1"))
        self.assertEqual(self.client.call("TCPConnect", hostname="dual.test", port=four.port,
                                          family="ipv4")["remote_address"], "127.0.0.1")
        self.assertEqual(self.client.call("TCPConnect", hostname="dual.test", port=six.port,
                                          family="ipv6")["remote_address"], "::1")
        for host, family in (("four.test", "ipv6"), ("six.test", "ipv4"), ("127.0.0.1", "ipv6"), ("::1", "ipv4")):
            with self.subTest(host=host):
                self.fails(-11004, "NO_DATA", "TCPConnect", hostname=host, port=four.port, family=family)

    def test_the_second_address_is_tried_when_the_first_refuses(self):
        server = self.use(servers.Server())
        with Elapsed() as elapsed:
            result = self.client.call("TCPConnect", ["dual.test", server.port])
        self.assertEqual(result["remote_address"], "127.0.0.1")
        self.assertLess(elapsed.ms, 240 * SLOW, "a refusal needs no waiting for the stagger")

    def test_the_second_address_races_a_silent_first(self):
        with servers.BlackHole("::1") as hole:
            server = self.use(servers.Server(port=hole.port))
            with Elapsed() as elapsed:
                result = self.client.call("TCPConnect", ["dual.test", hole.port])
            self.assertEqual((result["remote_address"], result["remote_port"]), ("127.0.0.1", server.port))
            self.assertGreater(elapsed.ms, 200)
            self.assertLess(elapsed.ms, 1000 * SLOW)

    def test_ipv6_is_preferred(self):
        six = self.use(servers.Server(address="::1"))
        self.use(servers.Server(port=six.port))
        self.assertEqual(self.client.call("TCPConnect", ["dual.test", six.port])["remote_address"], "::1")

    def test_all_addresses_are_told_when_none_answers(self):
        port = servers.closed_port()
        data = self.fails(-10061, "ECONNREFUSED", "TCPConnect", ["many.test", port])
        addresses = " ".join(attempt["address"] for attempt in data["attempts"])
        for address in ("127.0.0.2", "127.0.0.3", "127.0.0.4"):
            self.assertIn(address, addresses)

    def test_local_address(self):
        peer = self.use(servers.Peer())
        result = self.client.call("TCPConnect", hostname="127.0.0.1", port=peer.port, local_address="127.0.0.7")
        self.assertEqual(result["local_address"], "127.0.0.7")
        self.assertEqual(peer.take().getpeername()[0], "127.0.0.7")
        self.fails(-10049, "EADDRNOTAVAIL", "TCPConnect", hostname="127.0.0.1", port=peer.port, local_address="192.0.2.99")
        error = self.client.error("TCPConnect", hostname="127.0.0.1", port=peer.port, local_address="not an address")
        self.assertIn(error.code, (-32602, -10049))
        error = self.client.error("TCPConnect", hostname="127.0.0.1", port=peer.port, local_address="::1")
        self.assertIn(error.code, (-11004, -10049, -10047))

    def deadline(self, hostname, port, ms, stage, **more):
        with Elapsed() as elapsed:
            data = self.fails(-10060, "ETIMEDOUT", "TCPConnect", hostname=hostname, port=port, timeout_ms=ms, stage=stage,
                              retryable=True, **more)
        self.assertGreater(elapsed.ms, ms - 20)
        self.assertLess(elapsed.ms, ms + 300 * SLOW)
        return data

    def test_deadline_of_a_connect(self):
        with servers.BlackHole() as hole:
            for ms in (150, 700):
                attempt, = self.deadline("127.0.0.1", hole.port, ms, "connect")["attempts"]
                self.assertIn("127.0.0.1", attempt["address"])
                self.assertLessEqual(abs(attempt["ms"] - ms), 300 * SLOW)

    def test_deadline_over_several_addresses(self):
        with servers.BlackHole("::1") as six, servers.BlackHole() as four:
            port = six.port
            if port != four.port:
                data = self.deadline("six.test", port, 600, "connect")
                self.assertEqual(len(data["attempts"]), 1)
        with servers.BlackHole("::1") as six:
            data = self.deadline("dual.test", six.port, 700, "connect")
            found = {("::1" in attempt["address"]): attempt["error"] for attempt in data["attempts"]}
            self.assertEqual(found[False], "ECONNREFUSED")
            self.assertNotEqual(found[True], "ECONNREFUSED")

    def test_deadline_of_a_look_up(self):
        self.deadline("hang-connect.test", 80, 400, "resolve")

    def test_no_time_at_all(self):
        server = self.use(servers.Server())
        with Elapsed() as elapsed:
            error = self.client.error("TCPConnect", hostname="hang-zero.test", port=80, timeout_ms=0)
        self.check_error(error, -10060, "ETIMEDOUT")
        self.assertLess(elapsed.ms, 300 * SLOW)
        with servers.BlackHole() as hole:
            self.fails(-10060, "ETIMEDOUT", "TCPConnect", hostname="127.0.0.1", port=hole.port, timeout_ms=0)
        self.assertGreater(self.client.connect(server.port), 0)

    def test_the_configured_deadline(self):
        from harness import Client, Daemon
        with Daemon("--set", "connect.timeout=500ms") as daemon, Client(daemon) as client, servers.BlackHole() as hole:
            with Elapsed() as elapsed:
                error = client.error("TCPConnect", ["127.0.0.1", hole.port])
            self.check_error(error, -10060, "ETIMEDOUT", "connect")
            self.assertGreater(elapsed.ms, 480)
            self.assertLess(elapsed.ms, 500 + 300 * SLOW)

    def test_other_requests_are_not_delayed(self):
        server = self.use(servers.Server())
        with servers.BlackHole() as hole:
            hung = [self.client.send("TCPConnect", hostname="127.0.0.1", port=hole.port, timeout_ms=1500) for _ in range(20)]
            hung += [self.client.send("TCPConnect", hostname="hang-other.test", port=1, timeout_ms=1500) for _ in range(4)]
            started = time.monotonic()
            for _ in range(20):
                number = self.client.connect(server.port)
                self.client.call("TCPSend", [number, "x"])
                self.assertEqual(self.client.call("TCPReceive", [number])["data"], "x")
                self.client.call("TCPClose", [number, 2])
            self.assertLess(time.monotonic() - started, 1.2 * SLOW)
            for id in hung:
                error = self.client.answer(id)["error"]
                self.check_error(error, -10060, "ETIMEDOUT")

    def test_cancelled(self):
        with servers.BlackHole() as hole:
            id = self.client.send("TCPConnect", ["127.0.0.1", hole.port])
            with Elapsed() as elapsed:
                self.assertEqual(self.client.call("Broker.Cancel", [id]), {"cancelled": True})
                self.check_error(self.client.answer(id)["error"], -10004, "EINTR", retryable=True)
            self.assertLess(elapsed.ms, 500 * SLOW)
        self.assertEqual(self.client.call("Broker.List")["sockets"], [])

    def test_no_route(self):
        # a multicast address: refused by the kernel itself, whatever the machine's routes are
        data = self.fails(-10051, "ENETUNREACH", "TCPConnect", ["224.0.0.1", 1], stage="connect", retryable=True)
        self.assertEqual(data["attempts"][0]["error"], "ENETUNREACH")

    def test_a_failing_first_address_without_route(self):
        server = self.use(servers.Server())
        self.assertEqual(self.client.call("TCPConnect", ["none-there.test", server.port])["remote_address"], "127.0.0.1")

    def test_numbers_are_not_reused_at_once(self):
        server = self.use(servers.Server())
        seen = set()
        for _ in range(50):
            number = self.client.connect(server.port)
            self.assertNotIn(number, seen)
            seen.add(number)
            self.client.call("TCPClose", [number, 2])
        for number in seen:
            self.fails(-10038, "ENOTSOCK", "TCPSend", [number, "x"])


if __name__ == "__main__":
    main()
