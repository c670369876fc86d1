"""Broker.Hello, Broker.List, Broker.Stats, Broker.Errors; methods that there are not."""
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from ca import certificates
from harness import ROOT, TestCase, main, wait_until

CONTRACT = {"TCPConnect", "TCPSend", "TCPReceive", "TCPClose", "TCPBlock", "TCPGetMyAddr", "TCPGetMyPort", "TCPGetRemoteAddr",
            "TCPName2Addr", "TCPAddr2Name", "TCPSocket", "TCPBind", "TCPListen", "TCPAccept", "TCPPing", "TCPAttach",
            "TCPStartTLS", "TCPTransfer", "TCPOffer", "TCPClaim", "Broker.Hello", "Broker.List", "Broker.Stats", "Broker.Users", "Broker.Metrics",
            "Broker.Cancel", "Broker.Errors", "Broker.Reload", "rpc.discover", "Session.Open", "Session.Join",
            "Session.Close", "Session.Set", "Policy.Test", "Policy.Show", "Broker.Events",
            "Broker.Close", "Broker.Drain", "Broker.Log", "Broker.Doors", "Broker.Pools"}
CODES = {-32700: "PARSE_ERROR", -32600: "INVALID_REQUEST", -32601: "METHOD_NOT_FOUND", -32602: "INVALID_PARAMS",
         -32603: "INTERNAL", -10004: "EINTR", -10013: "EACCES", -10022: "EINVAL", -10024: "EMFILE", -10035: "EWOULDBLOCK",
         -10038: "ENOTSOCK", -10048: "EADDRINUSE", -10049: "EADDRNOTAVAIL", -10051: "ENETUNREACH", -10065: "EHOSTUNREACH",
         -10053: "ECONNABORTED", -10054: "ECONNRESET", -10057: "ENOTCONN", -10058: "ESHUTDOWN", -10060: "ETIMEDOUT",
         -10061: "ECONNREFUSED", -11001: "HOST_NOT_FOUND", -11002: "TRY_AGAIN", -11003: "NO_RECOVERY", -11004: "NO_DATA",
         -33012: "UNKNOWN_SERVICE", -517: "BAD_CLOSE_OPTION", -1018: "TLS_NO_PARTIAL_CLOSE", -1015: "ALREADY_SECURE",
         -1024: "CA_FOLDER", -1029: "CA_OPEN", -1031: "TLS_HANDSHAKE", -33010: "TLS_VERIFY", -33011: "TLS_IO",
         -33001: "NOT_OWNER", -33002: "BUSY", -33003: "ATTACHED", -1: "PING_TIMEOUT", -1012: "PING_NEEDS_PRIV",
         -33005: "SHUTTING_DOWN", -33006: "BAD_TOKEN"}


class Hello(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.DAEMON_ARGS = ("--cacerts", certificates().cacerts)
        super().setUpClass()

    def test_hello(self):
        result = self.client.call("Broker.Hello", ["a test", 1])
        self.assertEqual((result["server"], result["protocol"], result["uid"]), ("tcpbroker", 1, os.getuid()))
        self.assertRegex(result["version"], r"^\d+\.\d+\.\d+")
        self.assertGreater(result["session"], 0)
        with open(os.path.join(ROOT, "config", "options.def"), encoding="utf-8") as file:
            options = re.findall(r"^OPTION\(limits, (\w+),", file.read(), re.M)
        self.assertEqual(set(result["limits"]), set(options))
        limits = result["limits"]
        self.assertEqual((limits["line"], limits["nesting"], limits["requests"], limits["unread_answers"]),
                         (1 << 20, 32, 256, 8 << 20))
        self.assertEqual(self.client.call("Broker.Hello")["session"], result["session"])
        self.assertNotEqual(self.open_client().call("Broker.Hello")["session"], result["session"])

    def test_the_methods_that_work(self):
        methods = self.client.call("Broker.Hello")["methods"]
        self.assertEqual(len(methods), len(set(methods)))
        self.assertEqual(set(methods), CONTRACT)

    def test_what_is_not_listed_does_not_exist(self):
        for method in ["NoSuch", "tcpconnect", "TCPConnect ", "", "rpc.x", "Broker."]:
            with self.subTest(method=method):
                for params in (None, [], {}, [1, 2, 3, 4, 5]):
                    error = self.client.error(method, params)
                    if method == "" and error.code == -32600:
                        continue
                    self.check_error(error, -32601, "METHOD_NOT_FOUND", "request", False)

    def test_what_is_listed_exists(self):
        for method in self.client.call("Broker.Hello")["methods"]:
            message = self.client.answer(self.client.send(method, {"no such parameter": 1}))
            self.assertEqual(message["error"]["code"], -32602, method)

    def test_other_protocol_versions(self):
        message = self.client.answer(self.client.send("Broker.Hello", protocol=2))
        if "error" in message:
            self.assertEqual(message["error"]["code"], -32602)
        else:
            self.assertEqual(message["result"]["protocol"], 1, "the server says what it speaks")

    def test_the_table_of_errors(self):
        rows = self.client.call("Broker.Errors")["errors"]
        by_code = {row["code"]: row for row in rows}
        self.assertEqual(len(by_code), len(rows), "a code twice")
        self.assertEqual(len({row["symbol"] for row in rows}), len(rows), "a symbol twice")
        for code, symbol in CODES.items():
            self.assertEqual(by_code[code]["symbol"], symbol)
        for row in rows:
            self.assertEqual(set(row), {"code", "symbol", "stage", "retryable", "text"})
            self.assertLess(row["code"], 0)
            self.assertIn(row["stage"], ("request", "policy", "resolve", "connect", "tls", "io", "broker"))
            self.assertIsInstance(row["retryable"], bool)
            self.assertGreater(len(row["text"]), 8)

    def test_list(self):
        self.assertEqual(self.client.call("Broker.List"), {"sockets": []})
        session = self.client.call("Broker.Hello")["session"]
        plain = self.use(servers.Server())
        secure = self.use(servers.Server(tls=servers.tls_context()))
        one = self.client.call("TCPConnect", hostname="127.0.0.1", port=plain.port, thread="t")
        two = self.client.call("TCPConnect", hostname="127.0.0.1", port=secure.port, secure=True)
        self.client.call("TCPSend", socket=one["socket"], data="héllo", thread="t")
        self.assertEqual(self.client.call("TCPReceive", socket=one["socket"], exact=6, thread="t")["received"], 6)
        self.client.call("TCPSend", [two["socket"], "x" * 1000])
        rows = {row["socket"]: row for row in self.client.call("Broker.List")["sockets"]}
        self.assertEqual(set(rows), {one["socket"], two["socket"]})
        row = rows[one["socket"]]
        self.assertEqual((row["state"], row["owner"], row["session"], row["uid"], row["pid"]),
                         ("connected", "t", session, os.getuid(), os.getpid()))
        self.assertEqual((row["hostname"], row["remote_address"], row["remote_port"]), ("127.0.0.1", "127.0.0.1", plain.port))
        self.assertEqual((row["secure"], row["verified"], row["bytes_in"], row["bytes_out"]), (False, False, 6, 6))
        self.assertGreaterEqual(row["age_ms"], 0)
        row = rows[two["socket"]]
        self.assertEqual((row["secure"], row["verified"], row["bytes_out"]), (True, True, 1000))

    def test_states(self):
        def state(number):
            return {row["socket"]: row["state"] for row in self.client.call("Broker.List")["sockets"]}.get(number)
        peer = self.use(servers.Peer())
        number = self.client.connect(peer.port)
        connection = peer.take()
        self.assertEqual(state(number), "connected")
        self.client.call("TCPClose", [number, 1])
        self.assertEqual(state(number), "half_closed")
        number = self.client.connect(peer.port)
        other = peer.take()
        other.shutdown(1)
        self.check_end(self.client.call("TCPReceive", [number]))
        self.assertEqual(state(number), "peer_closed")
        number = self.client.connect(peer.port)
        third = peer.take()
        id = self.client.send("TCPClose", [number])
        self.assertEqual(third.recv(1), b"")
        self.assertEqual(state(number), "closing")
        third.close()
        self.client.wait(id)
        self.assertIsNone(state(number))
        number = self.client.connect(peer.port)
        servers.reset(peer.take())
        self.client.error("TCPReceive", [number])
        self.assertEqual(state(number), "failed")
        connection.close()
        with servers.BlackHole() as hole:
            id = self.client.send("TCPConnect", ["127.0.0.1", hole.port])
            self.assertIn("connecting", [row["state"] for row in self.client.call("Broker.List")["sockets"]])
            self.client.call("Broker.Cancel", [id])
            self.client.answer(id)

    @unittest.skipIf(os.getuid() != 0, "needs root: an ordinary user sees only its own")
    def test_root_sees_all(self):
        server = self.use(servers.Server())
        number = self.open_client().connect(server.port)
        wait_until(lambda: number in [row["socket"] for row in self.client.call("Broker.List")["sockets"]])

    def test_stats(self):
        self.check_stats("sockets", 0)  # those of the tests before may still be closing
        before = self.client.call("Broker.Stats")
        for name in ("uptime_ms", "clients", "clients_total", "sockets", "sockets_total", "requests_running", "requests_total",
                     "requests_failed", "connects_ok", "connects_failed", "handshakes_ok", "handshakes_failed", "bytes_in",
                     "bytes_out", "cancelled", "not_owner", "limit_refused", "lookups", "lines_refused"):
            self.assertIsInstance(before[name], int, name)
        plain = self.use(servers.Server())
        number = self.client.connect(plain.port)
        self.client.call("TCPSend", [number, "12345"])
        self.client.call("TCPReceive", socket=number, exact=5)
        self.client.error("TCPConnect", ["127.0.0.1", servers.closed_port()])
        secure = self.use(servers.Server(tls=servers.tls_context("expired")))
        self.client.error("TCPConnect", ["127.0.0.1", secure.port, True])
        self.client.call("TCPConnect", ["127.0.0.1", secure.port, True, False])
        after = self.client.call("Broker.Stats")
        gained = {name: after[name] - before[name] for name in after}
        wanted = {"connects_ok": 2, "connects_failed": 2, "handshakes_ok": 1, "handshakes_failed": 1, "tls_unverified": 1,
                  "bytes_in": 5, "bytes_out": 5, "sockets": 2, "requests_failed": 2, "requests_total": 7}
        self.assertEqual({name: gained[name] for name in wanted}, wanted)

    def test_gauges_go_back(self):
        self.check_stats("clients", 1)  # those of the tests before may still be closing
        other = self.open_client()
        other.call("Broker.Hello")
        self.assertEqual(self.client.call("Broker.Stats")["clients"], 2)
        other.close()
        self.check_stats("clients", 1)


if __name__ == "__main__":
    main()
