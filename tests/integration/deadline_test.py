"""Deadlines: whatever can wait ends with ETIMEDOUT when its time is over, tells where it was, and leaves what is promised.

Each case runs with the request's own timeout_ms and with that of Session.Set, with 0 and with a short time.
"""
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from ca import certificates
from harness import SLOW, Elapsed, TestCase, main, wait_until

KINDS = ("connect", "lookup", "send", "receive", "accept", "close")
SHORT = 150


class DeadlineCase(TestCase):
    DAEMON_OPTIONS = {"resolver": True, "env": {"SLOW_RESOLVER_HOSTNAME": "hang-self.test"}}

    @classmethod
    def setUpClass(cls):
        cls.DAEMON_ARGS = ("--cacerts", certificates().cacerts)
        super().setUpClass()

    def setUp(self):
        super().setUp()
        self.peer = self.use(servers.Peer())

    def pair(self):
        return self.client.connect(self.peer.port, timeout_ms=int(10000 * SLOW)), self.peer.take()

    def ways(self, kind):
        """(milliseconds, what the request says of them): the others of Session.Set are no matter to it."""
        for ms in (0, SHORT):
            for own in (True, False):
                self.client.call("Session.Set", {"reset": True, **{f"{one}_timeout_ms": 3600000 for one in KINDS}})
                if not own:
                    self.client.call("Session.Set", {f"{kind}_timeout_ms": ms})
                yield ms, {"timeout_ms": ms} if own else {}

    def expires(self, ms, method, params, stage="io", retryable=True):
        """The call ends by its deadline, in one of these stages; the error's data."""
        with Elapsed() as elapsed:
            error = self.client.error(method, params)
        data = self.check_error(error, -10060, "ETIMEDOUT", retryable=retryable)
        self.assertIn(data["stage"], stage.split())
        self.assertGreater(elapsed.ms, ms - 10)
        self.assertLess(elapsed.ms, ms + 400 * SLOW)
        return data

    def filled(self, number):
        """Send until something stays queued: ids of the sends."""
        ids = []
        while True:
            ids.append(self.client.send("TCPSend", {"socket": number, "data": "f" * 400000, "timeout_ms": 3600000}))
            self.client.call("Broker.Hello")
            if not self.client.answered(ids[-1]):
                self.client.call("Broker.Hello")
                if len(ids) > 1 and not self.client.answered(ids[-2]):
                    return ids
            self.assertLess(len(ids), 200)


class Connecting(DeadlineCase):
    def no_socket(self):
        self.assertEqual(self.client.call("Broker.List")["sockets"], [])

    def test_connect_in_its_look_up(self):
        for ms, how in self.ways("connect"):
            self.expires(ms, "TCPConnect", {"hostname": "hang-deadline.test", "port": 80, **how}, "resolve")
            self.no_socket()

    def test_connect_that_gets_no_answer(self):
        hole = self.use(servers.BlackHole())
        for ms, how in self.ways("connect"):
            data = self.expires(ms, "TCPConnect", {"hostname": "127.0.0.1", "port": hole.port, **how}, "connect")
            if ms:
                self.assertEqual([one["error"] for one in data["attempts"]], ["pending"])
            self.no_socket()

    def test_connect_in_its_handshake(self):
        staller = self.use(servers.Server(servers.stall_handshake))
        for ms, how in self.ways("connect"):
            self.expires(ms, "TCPConnect", {"hostname": "127.0.0.1", "port": staller.port, "secure": True, **how},
                         "tls" if ms and SLOW == 1 else "connect tls")
            self.no_socket()

    def test_start_tls(self):
        for ms, how in self.ways("connect"):
            number, connection = self.pair()
            self.expires(ms, "TCPStartTLS", {"socket": number, "server_name": "localhost", **how}, "tls", False)
            self.fails(-10060, "ETIMEDOUT", "TCPSend", [number, "x"], stage="tls")
            self.assertEqual(self.client.call("TCPClose", [number])["status"], 0)
            servers.read_to_end(connection)

    def test_a_deadline_is_one_for_all_steps(self):
        """A look-up that takes its time leaves less for the rest."""
        hole = self.use(servers.BlackHole())
        ms = int(500 * SLOW)
        with Elapsed() as elapsed:
            self.expires(ms, "TCPConnect", {"hostname": "slow-deadline.test", "port": hole.port, "timeout_ms": ms}, "connect")
        self.assertLess(elapsed.ms, ms + 250, "300 of them are for the look-up")


class LookingUp(DeadlineCase):
    def test_name_and_address(self):
        for ms, how in self.ways("lookup"):
            self.expires(ms, "TCPName2Addr", {"hostname": "hang-name.test", **how}, "resolve")
            self.expires(ms, "TCPAddr2Name", {"address": "127.66.0.1", **how}, "resolve")

    def test_this_host(self):
        for ms, how in self.ways("lookup"):
            for ipv6 in (False, True):
                self.expires(ms, "TCPGetMyAddr", {"ipv6": ipv6, **how}, "resolve")

    def test_of_a_socket_nothing_is_looked_up(self):
        number, _ = self.pair()
        for _, how in self.ways("lookup"):
            self.assertEqual(self.client.call("TCPGetMyAddr", {"socket": number, **how}), {"address": "127.0.0.1"})

    def test_the_port_of_a_service(self):
        for ms, how in self.ways("lookup"):
            number = self.client.call("TCPSocket", family="ipv4")["socket"]
            for name in ("port", "service"):
                self.expires(ms, "TCPBind", {"socket": number, name: "hang-service", **how}, "resolve")
            self.assertEqual(self.client.call("Broker.List")["sockets"][-1]["state"], "unbound")
            bound = self.client.call("TCPBind", {"socket": number, "port": 0, "address": "127.0.0.1", **how})
            self.assertGreater(bound["port"], 0, "a number is not looked up")
            self.client.call("TCPClose", [number])


class Waiting(DeadlineCase):
    def test_receive(self):
        for ms, how in self.ways("receive"):
            number, connection = self.pair()
            self.expires(ms, "TCPReceive", {"socket": number, **how})
            connection.sendall(b"half")
            for wish in ({"exact": 8}, {"until": "\n"}):
                self.expires(ms, "TCPReceive", {"socket": number, **wish, **how})
            connection.sendall(b"full")
            answer = self.client.call("TCPReceive", {"socket": number, "exact": 8, "timeout_ms": int(10000 * SLOW)})
            self.assertEqual(answer["data"], "halffull", "nothing is lost")

    def test_what_is_there_needs_no_time(self):
        number, connection = self.pair()
        total = 0
        for _, how in self.ways("receive"):
            connection.sendall(b"ready")
            total += 5
            wait_until(lambda: self.client.call("Broker.List")["sockets"][0]["bytes_in"] == total, what="its arrival")
            self.assertEqual(self.client.call("TCPReceive", {"socket": number, "exact": 5, **how})["data"], "ready")
        for _, how in self.ways("send"):
            self.assertEqual(self.client.call("TCPSend", {"socket": number, "data": "x", **how}), {"sent": 1})

    def test_send(self):
        for tls in (None, servers.tls13()):
            peer = self.use(servers.Peer(tls=tls))
            for ms, how in self.ways("send"):
                number = self.client.connect(peer.port, secure=tls is not None)
                connection = peer.take()
                ids = self.filled(number)
                data = self.expires(ms, "TCPSend", {"socket": number, "data": "q" * 1000, **how})
                self.assertEqual(data["sent"], 0, "others are before it")
                connection.settimeout(10 * SLOW)
                servers.read_exactly(connection, 400000 * len(ids))
                self.assertEqual([self.client.wait(id)["sent"] for id in ids], [400000] * len(ids))
                self.client.call("TCPSend", [number, "end"])
                self.assertEqual(servers.read_exactly(connection, 3), b"end")

    def test_send_tells_what_went(self):
        for ms, how in self.ways("send"):
            number, connection = self.pair()
            sent = 0
            for _ in range(100):
                message = self.client.answer(self.client.send("TCPSend", {"socket": number, "data": "p" * 400000, **how}))
                if "error" in message:
                    break
                sent += message["result"]["sent"]
            data = self.check_error(message["error"], -10060, "ETIMEDOUT", "io", True)
            self.assertLess(data["sent"], 400000)
            closing = self.client.send("TCPClose", {"socket": number, "timeout_ms": int(10000 * SLOW)})
            self.assertEqual(len(servers.read_to_end(connection)), sent + data["sent"])
            connection.close()
            self.assertEqual(self.client.wait(closing)["status"], 0)

    def test_accept(self):
        for ms, how in self.ways("accept"):
            server = self.client.call("TCPSocket", family="ipv4")["socket"]
            port = self.client.call("TCPBind", socket=server, port=0, address="127.0.0.1")["port"]
            self.client.call("TCPListen", [server])
            for _ in range(2):
                self.expires(ms, "TCPAccept", {"socket": server, **how})
            with socket.create_connection(("127.0.0.1", port)) as connection:
                accepted = self.client.call("TCPAccept", {"socket": server, "timeout_ms": int(10000 * SLOW)})
                self.assertEqual(accepted["remote_port"], connection.getsockname()[1])
            with socket.create_connection(("127.0.0.1", port)) as connection:
                accepted = self.client.call("TCPAccept", {"socket": server, **how})
                self.assertEqual(accepted["remote_port"], connection.getsockname()[1], "who waits needs no time")


class Closing(DeadlineCase):
    def gone(self, number, connection):
        self.fails(-10038, "ENOTSOCK", "TCPGetMyPort", [number])
        try:
            servers.read_to_end(connection)
        except ConnectionResetError:
            pass

    def test_complete(self):
        for tls in (None, servers.tls12(), servers.tls13()):
            peer = self.use(servers.Peer(tls=tls))
            for ms, how in self.ways("close"):
                number = self.client.connect(peer.port, secure=tls is not None)
                connection = peer.take()
                self.expires(ms, "TCPClose", {"socket": number, **how}, retryable=False)
                self.gone(number, connection)

    def test_complete_with_sends_queued(self):
        for ms, how in self.ways("close"):
            number, connection = self.pair()
            ids = self.filled(number)
            self.expires(ms, "TCPClose", {"socket": number, "option": 0, **how}, retryable=False)
            for id in ids[-2:]:
                self.check_error(self.client.answer(id)["error"], -10053, "ECONNABORTED")
            self.gone(number, connection)

    def test_partial(self):
        """The socket is as it was, its sends go on."""
        for tls in (None, servers.tls13()):
            peer = self.use(servers.Peer(tls=tls))
            for ms, how in self.ways("close"):
                number = self.client.connect(peer.port, secure=tls is not None)
                connection = peer.take()
                ids = self.filled(number)
                for _ in range(2):
                    self.expires(ms, "TCPClose", {"socket": number, "option": 1, **how})
                states = {row["socket"]: row["state"] for row in self.client.call("Broker.List")["sockets"]}
                self.assertEqual(states[number], "connected")
                connection.settimeout(10 * SLOW)
                servers.read_exactly(connection, 400000 * len(ids))
                self.assertEqual([self.client.wait(id)["sent"] for id in ids], [400000] * len(ids))
                self.client.call("TCPSend", [number, "end"])
                self.assertEqual(servers.read_exactly(connection, 3), b"end")
                self.client.call("TCPClose", {"socket": number, "option": 1, "timeout_ms": int(10000 * SLOW)})
                self.assertEqual(connection.recv(1), b"")

    def test_what_needs_no_time(self):
        for _, how in self.ways("close"):
            number, connection = self.pair()
            self.assertEqual(self.client.call("TCPClose", {"socket": number, "option": 1, **how})["status"], 0)
            self.assertEqual(connection.recv(1), b"")
            self.assertEqual(self.client.call("TCPClose", {"socket": number, "option": 2, **how})["status"], 0)
            self.gone(number, connection)


if __name__ == "__main__":
    main()
