"""Names and addresses: TCPName2Addr, TCPAddr2Name, TCPGetMyAddr, TCPGetMyPort, TCPGetRemoteAddr."""
import ipaddress
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from harness import SLOW, Client, Daemon, Elapsed, TestCase, main


class Lookup(TestCase):
    DAEMON_OPTIONS = {"resolver": True}

    def test_name_to_address(self):
        for params in (["dual.test"], ["dual.test", False], {"hostname": "dual.test"}):
            self.assertEqual(self.client.call("TCPName2Addr", params),
                             {"address": "127.0.0.1", "addresses": ["127.0.0.1"]})
        for params in (["dual.test", True], {"hostname": "dual.test", "ipv6": True}):
            self.assertEqual(self.client.call("TCPName2Addr", params), {"address": "::1", "addresses": ["::1"]})

    def test_localhost_by_the_real_resolver(self):
        self.assertEqual(self.client.call("TCPName2Addr", ["localhost"]),
                         {"address": "127.0.0.1", "addresses": ["127.0.0.1"]})

    def test_all_addresses_in_the_resolvers_order_each_once(self):
        self.assertEqual(self.client.call("TCPName2Addr", ["many.test"]),
                         {"address": "127.0.0.2", "addresses": ["127.0.0.2", "127.0.0.3", "127.0.0.4"]})

    def test_literals(self):
        self.assertEqual(self.client.call("TCPName2Addr", ["127.0.0.5"])["addresses"], ["127.0.0.5"])
        for literal in ("::1", "[::1]"):
            self.assertEqual(self.client.call("TCPName2Addr", [literal, True])["addresses"], ["::1"])
        self.fails(-11004, "NO_DATA", "TCPName2Addr", ["::1"], stage="resolve")
        self.fails(-11004, "NO_DATA", "TCPName2Addr", ["127.0.0.1", True], stage="resolve")

    def test_failures(self):
        for name, code, symbol, retryable in (("missing.test", -11001, "HOST_NOT_FOUND", False),
                                              ("fail-again.test", -11002, "TRY_AGAIN", True),
                                              ("fail-hard.test", -11003, "NO_RECOVERY", False),
                                              ("nodata.test", -11004, "NO_DATA", False)):
            data = self.fails(code, symbol, "TCPName2Addr", [name], stage="resolve", retryable=retryable)
            self.assertTrue(data["gai"].startswith("EAI_"))
        for name, ipv6 in (("four.test", True), ("six.test", False)):
            self.fails(-11004, "NO_DATA", "TCPName2Addr", [name, ipv6])

    def test_the_message_names_the_host(self):
        self.assertIn("missing.test", self.client.error("TCPName2Addr", ["missing.test"]).message)

    def test_a_deadline(self):
        with Daemon("--set", "connect.lookup_timeout=400ms", resolver=True) as daemon, Client(daemon) as client:
            for method, params in (("TCPName2Addr", ["hang-x.test"]), ("TCPAddr2Name", ["127.66.0.1"])):
                with Elapsed() as elapsed:
                    error = client.error(method, params)
                self.check_error(error, -10060, "ETIMEDOUT", "resolve", True)
                self.assertGreater(elapsed.ms, 380)
                self.assertLess(elapsed.ms, 400 + 300 * SLOW)

    def test_one_hung_look_up_does_not_hold_up_others(self):
        ids = [self.client.send("TCPName2Addr", [f"hang-{i}.test"]) for i in range(8)]
        with Elapsed() as elapsed:
            self.client.call("TCPName2Addr", ["dual.test"])
        self.assertLess(elapsed.ms, 500 * SLOW)
        for id in ids:
            self.client.call("Broker.Cancel", [id])
            self.client.answer(id)

    def test_address_to_name(self):
        self.assertEqual(self.client.call("TCPAddr2Name", ["127.66.0.2"]), {"hostname": "stub.test"})
        self.assertEqual(self.client.call("TCPAddr2Name", {"address": "127.0.0.1"})["hostname"],
                         socket.getnameinfo(("127.0.0.1", 0), 0)[0])
        self.fails(-11001, "HOST_NOT_FOUND", "TCPAddr2Name", ["127.66.0.3"], stage="resolve")

    def test_no_address(self):
        for text in ("localhost", "1.2.3", "1.2.3.4.5", "::g", "300.1.1.1", "127.0.0.1 "):
            with self.subTest(text=text):
                error = self.client.error("TCPAddr2Name", [text])
                self.check_error(error, -32602, "INVALID_PARAMS", "request", False)
                self.assertEqual(error.data["param"], "address")


class Ends(TestCase):
    def test_of_a_socket(self):
        for address in ("127.0.0.1", "::1"):
            peer = self.use(servers.Peer(address=address))
            number = self.client.connect(peer.port, address)
            ours, theirs = peer.take().getpeername()[:2], (address, peer.port)
            for ipv6 in (False, True):
                self.assertEqual(self.client.call("TCPGetMyAddr", [number, ipv6]), {"address": ours[0]})
            self.assertEqual(self.client.call("TCPGetMyPort", [number]), {"port": ours[1]})
            self.assertEqual(self.client.call("TCPGetRemoteAddr", [number]), {"address": theirs[0], "port": theirs[1]})

    def test_after_the_peers_end_they_are_still_told(self):
        peer = self.use(servers.Peer())
        number = self.client.connect(peer.port)
        peer.take().close()
        self.check_end(self.client.call("TCPReceive", [number]))
        self.assertEqual(self.client.call("TCPGetRemoteAddr", [number])["port"], peer.port)
        self.assertGreater(self.client.call("TCPGetMyPort", [number])["port"], 0)

    def test_of_this_host(self):
        for params, version in (([], 4), ([0], 4), ([0, False], 4), ({"ipv6": True}, 6)):
            message = self.client.answer(self.client.send("TCPGetMyAddr", params))
            if "error" in message:
                self.check_error(message["error"], message["error"]["code"], message["error"]["data"]["symbol"], "resolve")
                continue
            address = message["result"]["address"]
            self.assertEqual(ipaddress.ip_address(address.split("%")[0]).version, version)

    def test_no_such_socket(self):
        for method in ("TCPGetMyAddr", "TCPGetMyPort", "TCPGetRemoteAddr"):
            self.fails(-10038, "ENOTSOCK", method, [4711], stage="request", retryable=False)


if __name__ == "__main__":
    main()
