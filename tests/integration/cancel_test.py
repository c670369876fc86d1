"""Broker.Cancel: the request itself answers EINTR, exactly once, and nothing is lost by it."""
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from harness import SLOW, Elapsed, TestCase, main, wait_until


class Cancel(TestCase):
    DAEMON_OPTIONS = {"resolver": True}

    def cancel(self, id):
        """Cancelled, and answered at once."""
        with Elapsed() as elapsed:
            self.assertEqual(self.client.call("Broker.Cancel", [id]), {"cancelled": True})
            error = self.client.answer(id)["error"]
        self.assertLess(elapsed.ms, 500 * SLOW)
        data = self.check_error(error, -10004, "EINTR", retryable=True)
        self.assertEqual(self.client.call("Broker.Cancel", [id]), {"cancelled": False}, "it is over")
        return data

    def pair(self):
        peer = self.use(servers.Peer())
        return self.client.connect(peer.port), peer.take()

    def test_nothing_to_cancel(self):
        for id in (1, 0, -5, "x", 2**53, None):
            self.assertEqual(self.client.call("Broker.Cancel", {"id": id}), {"cancelled": False})

    def test_it_cannot_cancel_itself(self):
        raw = self.open_raw()
        answer = raw.ask({"jsonrpc": "2.0", "id": 5, "method": "Broker.Cancel", "params": [5]})
        self.assertEqual(answer["result"], {"cancelled": False})

    def test_a_receive_and_its_data(self):
        number, connection = self.pair()
        connection.sendall(b"half")
        id = self.client.send("TCPReceive", socket=number, exact=8)
        self.cancel(id)
        connection.sendall(b"full")
        self.assertEqual(self.client.call("TCPReceive", socket=number, exact=8)["data"], "halffull")

    def test_a_send_tells_what_went(self):
        number, connection = self.pair()
        total, ids = 0, []
        for _ in range(60):
            ids.append(self.client.send("TCPSend", [number, "s" * 300000]))
            time.sleep(0.02 * SLOW)
            self.client.call("Broker.Hello")
            if not self.client.answered(ids[-1]):
                break
        total = sum(self.client.wait(id)["sent"] for id in ids[:-1])
        data = self.cancel(ids[-1])
        self.assertIsInstance(data["sent"], int)
        closing = self.client.send("TCPClose", [number])
        self.assertEqual(len(servers.read_to_end(connection)), total + data["sent"])
        connection.close()
        self.client.wait(closing)

    def test_a_connect_to_a_black_hole(self):
        with servers.BlackHole() as hole:
            before = self.daemon.n_sockets()
            id = self.client.send("TCPConnect", ["127.0.0.1", hole.port])
            wait_until(lambda: self.daemon.n_sockets() > before, what="the attempt")
            self.cancel(id)
            wait_until(lambda: self.daemon.n_sockets() <= before, what="its end")

    def test_hung_look_ups(self):
        for method, params in (("TCPConnect", ["hang-connect.test", 80]), ("TCPName2Addr", ["hang-name.test"]),
                               ("TCPAddr2Name", ["127.66.0.1"])):
            with self.subTest(method=method):
                id = self.client.send(method, params)
                self.client.call("Broker.Hello")
                self.assertFalse(self.client.answered(id))
                self.cancel(id)

    def test_look_ups_that_wait_for_a_thread(self):
        ids = [self.client.send("TCPName2Addr", [f"hang-{i}.test"]) for i in range(30)]
        for id in reversed(ids):
            self.cancel(id)

    def test_ids_are_told_apart_by_type(self):
        number, connection = self.pair()
        other, other_connection = self.pair()
        first = self.client.send("TCPReceive", [number], id=77001)
        second = self.client.send("TCPReceive", [other], id="77001")
        self.cancel("77001")
        self.assertFalse(self.client.answered(first))
        connection.sendall(b"x")
        self.client.wait(first)
        self.assertNotEqual(first, second)

    def test_only_requests_of_the_same_connection(self):
        number, connection = self.pair()
        id = self.client.send("TCPReceive", [number])
        self.assertEqual(self.open_client().call("Broker.Cancel", [id]), {"cancelled": False})
        connection.sendall(b"x")
        self.client.wait(id)

    def test_a_member_of_a_batch(self):
        number, connection = self.pair()
        batch = [{"jsonrpc": "2.0", "id": "in-a-batch", "method": "TCPReceive", "params": [number]},
                 {"jsonrpc": "2.0", "id": "beside", "method": "Broker.Hello"}]
        import queue
        for id in ("in-a-batch", "beside"):
            self.client.waiting[id] = queue.SimpleQueue()
        self.client.write(json.dumps(batch).encode() + b"\n")
        wait_until(lambda: self.client.call("Broker.Cancel", ["in-a-batch"])["cancelled"])
        self.check_error(self.client.answer("in-a-batch")["error"], -10004, "EINTR")
        self.assertIn("result", self.client.answer("beside"))

    def test_by_notification(self):
        number, _ = self.pair()
        id = self.client.send("TCPReceive", [number])
        self.client.write(json.dumps({"jsonrpc": "2.0", "method": "Broker.Cancel", "params": [id]}).encode() + b"\n")
        self.check_error(self.client.answer(id)["error"], -10004, "EINTR")

    def test_racing_with_completion(self):
        """Whoever wins: one answer, and the bytes are there for the next call when the cancel won."""
        number, connection = self.pair()
        outcomes = set()
        for i in range(200):
            receiving = self.client.send("TCPReceive", socket=number, exact=4)
            if i % 2:
                connection.sendall(b"%04d" % i)
                cancelling = self.client.send("Broker.Cancel", [receiving])
            else:
                cancelling = self.client.send("Broker.Cancel", [receiving])
                connection.sendall(b"%04d" % i)
            cancelled = self.client.wait(cancelling)["cancelled"]
            message = self.client.answer(receiving)
            self.assertEqual(cancelled, "error" in message)
            outcomes.add(cancelled)
            if cancelled:
                self.assertEqual(self.client.call("TCPReceive", socket=number, exact=4)["data"], f"{i:04d}")
            else:
                self.assertEqual(message["result"]["data"], f"{i:04d}")
        self.assertIn(True, outcomes)

    def test_racing_connects(self):
        server = self.use(servers.Server())
        for _ in range(100):
            connecting = self.client.send("TCPConnect", ["127.0.0.1", server.port])
            cancelling = self.client.send("Broker.Cancel", [connecting])
            cancelled = self.client.wait(cancelling)["cancelled"]
            message = self.client.answer(connecting)
            self.assertEqual(cancelled, "error" in message)
            if not cancelled:
                self.client.call("TCPClose", [message["result"]["socket"], 2])
        wait_until(lambda: self.client.call("Broker.List")["sockets"] == [])

    def test_cancelled_requests_are_counted(self):
        before = self.client.call("Broker.Stats")["cancelled"]
        number, _ = self.pair()
        for _ in range(5):
            self.cancel(self.client.send("TCPReceive", [number]))
        self.assertEqual(self.client.call("Broker.Stats")["cancelled"], before + 5)


if __name__ == "__main__":
    main()
