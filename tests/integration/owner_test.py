"""Section 2: exactly one thread owns a socket; everyone else is refused and changes nothing."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from harness import TestCase, main

CALLS = (("TCPSend", {"data": "intruder"}), ("TCPReceive", {}), ("TCPReceive", {"timeout_ms": 0}), ("TCPClose", {}),
         ("TCPClose", {"option": 1}), ("TCPClose", {"option": 2}), ("TCPClose", {"option": 7}), ("TCPBlock", {"option": 1}),
         ("TCPGetMyAddr", {}), ("TCPGetMyPort", {}), ("TCPGetRemoteAddr", {}))


class Owner(TestCase):
    def setUp(self):
        super().setUp()
        self.peer = self.use(servers.Peer())

    def socket(self, **label):
        number = self.client.connect(self.peer.port, **label)
        return number, self.peer.take()

    def refused(self, number, owner, client=None, calls=CALLS, **label):
        for method, params in calls:
            with self.subTest(method=method, params=params, label=label):
                error = (client or self.client).error(method, socket=number, **params, **label)
                data = self.check_error(error, -33001, "NOT_OWNER", "request", False)
                if owner is KeyError:
                    self.assertNotIn("owner", data)
                else:
                    self.assertEqual(data["owner"], owner)
                    self.assertIs(type(data["owner"]), type(owner))

    def unharmed(self, number, connection, **label):
        self.client.call("TCPSend", socket=number, data="owner", **label)
        self.assertEqual(servers.read_exactly(connection, 5), b"owner")
        connection.sendall(b"reply")
        self.assertEqual(self.client.call("TCPReceive", socket=number, exact=5, **label)["data"], "reply")

    def test_labels(self):
        for owner, others in (("worker", ("Worker", "worker ", "w", 1, 0)), (7, ("7", 8, -7, 0)), (0, ("0", 1, "")),
                              (-3, (3, "-3")), (2**53, (2**53 - 1,)), ("ä" * 32, ("ä" * 31, "a")), ("7", (7, "07"))):
            number, connection = self.socket(thread=owner)
            for other in others:
                if other != "":
                    self.refused(number, owner, thread=other, calls=CALLS[:1])
            self.refused(number, owner, calls=CALLS[:1])
            self.unharmed(number, connection, thread=owner)

    def test_every_method_is_refused_and_changes_nothing(self):
        number, connection = self.socket(thread="owner")
        connection.sendall(b"unread")
        self.refused(number, "owner", thread="other")
        self.refused(number, "owner")
        self.assertEqual(self.client.call("TCPReceive", socket=number, exact=6, thread="owner")["data"], "unread")
        self.unharmed(number, connection, thread="owner")

    def test_the_unnamed_thread_is_one_too(self):
        number, connection = self.socket()
        for label in ("x", 0, 1):
            for method, params in CALLS:
                error = self.client.error(method, socket=number, **params, thread=label)
                data = self.check_error(error, -33001, "NOT_OWNER")
                self.assertIn(data.get("owner"), (None,), "the unnamed thread has no name")
        self.unharmed(number, connection)

    def test_another_session(self):
        number, connection = self.socket(thread="a")
        unnamed, unnamed_connection = self.socket()
        other = self.open_client()
        self.refused(number, KeyError, other, thread="a")
        self.refused(number, KeyError, other)
        self.refused(unnamed, KeyError, other)
        self.unharmed(number, connection, thread="a")
        self.unharmed(unnamed, unnamed_connection)

    def test_parameters_are_looked_at_first(self):
        number, _ = self.socket(thread="a")
        self.fails(-32602, "INVALID_PARAMS", "TCPSend", socket=number, data="x", thread="b", nonsense=1)

    def test_stale_numbers(self):
        number, _ = self.socket(thread="a")
        self.client.call("TCPClose", socket=number, option=2, thread="a")
        for label in ({}, {"thread": "a"}, {"thread": "b"}):
            for method, params in CALLS:
                if params.get("option") == 7:
                    continue
                error = self.client.error(method, socket=number, **params, **label)
                self.check_error(error, -10038, "ENOTSOCK", "request", False)

    def test_a_stale_number_of_a_dead_session(self):
        other = self.open_client()
        number = other.connect(self.peer.port)
        connection = self.peer.take()
        other.close()
        try:
            connection.recv(1)
        except OSError:
            pass
        for _ in range(100):
            error = self.client.error("TCPSend", [number, "x"])
            if error.code == -10038:
                break
        self.check_error(error, -10038, "ENOTSOCK")
        fresh = [self.client.connect(self.peer.port) for _ in range(20)]
        self.assertNotIn(number, fresh)

    def test_a_receive_of_the_owner_is_not_disturbed(self):
        number, connection = self.socket(thread=1)
        id = self.client.send("TCPReceive", socket=number, thread=1)
        self.refused(number, 1, thread=2)
        self.assertFalse(self.client.answered(id))
        connection.sendall(b"for the owner")
        self.assertEqual(self.client.wait(id)["data"], "for the owner")

    def test_broker_list_tells_owners(self):
        named, _ = self.socket(thread="named")
        numbered, _ = self.socket(thread=42)
        unnamed, _ = self.socket()
        rows = {row["socket"]: row for row in self.client.call("Broker.List")["sockets"]}
        self.assertEqual(rows[named]["owner"], "named")
        self.assertEqual(rows[numbered]["owner"], 42)
        self.assertNotIn("owner", rows[unnamed])

    def test_refusals_are_counted(self):
        number, _ = self.socket(thread="a")
        before = self.client.call("Broker.Stats")["not_owner"]
        self.refused(number, "a", thread="b")
        self.assertEqual(self.client.call("Broker.Stats")["not_owner"] - before, len(CALLS))

    def test_in_a_batch(self):
        number, _ = self.socket(thread="a")
        raw = self.open_raw()
        answers = raw.ask(json.dumps([{"jsonrpc": "2.0", "id": i, "method": "TCPSend", "params": [number, "x"]}
                                      for i in range(3)]))
        self.assertEqual([answer["error"]["code"] for answer in answers], [-33001] * 3)


if __name__ == "__main__":
    main()
