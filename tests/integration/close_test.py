"""TCPClose: complete, partial, abort; what the peer sees, what the other requests of the socket get."""
import errno
import os
import ssl
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from ca import certificates
from harness import SLOW, Elapsed, TestCase, main, wait_until


class CloseCase(TestCase):
    DAEMON_OPTIONS = {"config": {"io.close_timeout": "800ms"}}

    @classmethod
    def setUpClass(cls):
        cls.DAEMON_ARGS = ("--cacerts", certificates().cacerts)
        super().setUpClass()

    def pair(self, tls=None):
        peer = self.use(servers.Peer(tls=tls))
        number = self.client.connect(peer.port, secure=tls is not None)
        return number, peer.take()

    def close(self, number, option=None, **kw):
        return self.client.call("TCPClose", [number] if option is None else [number, option], **kw)

    def gone(self, number):
        for method, params in (("TCPSend", [number, "x"]), ("TCPReceive", [number]), ("TCPClose", [number]),
                               ("TCPClose", [number, 1]), ("TCPBlock", [number, 1]), ("TCPGetMyPort", [number]),
                               ("TCPGetMyAddr", [number]), ("TCPGetRemoteAddr", [number])):
            self.fails(-10038, "ENOTSOCK", method, params, stage="request", retryable=False)
        self.assertNotIn(number, [row["socket"] for row in self.client.call("Broker.List")["sockets"]])

    def busy_block(self, number):
        ids = []
        while len(ids) < 60:
            ids.append(self.client.send("TCPSend", [number, "b" * 300000]))
            time.sleep(0.02 * SLOW)
            self.client.call("Broker.Hello")
            if len(ids) > 1 and not self.client.answered(ids[-2]):
                return ids
        raise AssertionError("sends never wait")


class Plain(CloseCase):
    def test_complete(self):
        number, connection = self.pair()
        id = self.client.send("TCPClose", [number])
        self.assertEqual(connection.recv(1), b"", "an orderly end")
        connection.close()
        self.assertEqual(self.client.wait(id), {"status": 0, "discarded": 0})
        self.gone(number)

    def test_complete_reads_and_discards_until_the_peers_end(self):
        number, connection = self.pair()
        connection.sendall(b"0123456789")
        self.assertEqual(self.client.call("TCPReceive", [number, 4])["data"], "0123")
        id = self.client.send("TCPClose", [number, 0])
        self.assertEqual(connection.recv(1), b"")
        connection.sendall(b"late data")
        connection.close()
        self.assertEqual(self.client.wait(id), {"status": 0, "discarded": 15})
        self.gone(number)

    def test_complete_finishes_sending(self):
        number, connection = self.pair()
        ids = self.busy_block(number)
        closing = self.client.send("TCPClose", [number])
        connection.settimeout(10 * SLOW)
        data = servers.read_to_end(connection)
        connection.close()
        self.assertEqual(len(data), 300000 * len(ids))
        for id in ids:
            self.assertEqual(self.client.wait(id)["sent"], 300000)
        self.assertEqual(self.client.wait(closing)["status"], 0)

    def test_complete_is_cut_after_close_timeout(self):
        number, connection = self.pair()
        with Elapsed() as elapsed:
            self.assertEqual(self.close(number)["status"], 0)
        self.assertGreater(elapsed.ms, 700)
        self.assertLess(elapsed.ms, 800 + 500 * SLOW)
        self.gone(number)
        self.assertEqual(connection.recv(1), b"")

    def test_complete_with_a_peer_that_never_stops_talking(self):
        server = self.use(servers.Server(servers.chatter))
        number = self.client.connect(server.port)
        with Elapsed() as elapsed:
            result = self.close(number)
        self.assertLess(elapsed.ms, 800 + 700 * SLOW)
        self.assertGreater(result["discarded"], 0)
        self.gone(number)

    def test_complete_with_a_peer_that_never_reads(self):
        number, connection = self.pair()
        ids = self.busy_block(number)
        closing = self.client.send("TCPClose", [number])
        self.assertEqual(self.client.answer(closing, 8)["result"]["status"], 0)
        last = self.client.answer(ids[-1])
        self.assertIn("error", last, "what did not go out is reported")
        self.assertIsInstance(last["error"]["data"]["sent"], int)
        self.gone(number)
        connection.close()

    def test_complete_after_the_peers_end(self):
        number, connection = self.pair()
        connection.close()
        self.check_end(self.client.call("TCPReceive", [number]))
        with Elapsed() as elapsed:
            self.assertEqual(self.close(number), {"status": 0, "discarded": 0})
        self.assertLess(elapsed.ms, 500 * SLOW)

    def test_complete_after_a_reset(self):
        number, connection = self.pair()
        servers.reset(connection)
        self.client.error("TCPReceive", [number])
        self.assertEqual(self.close(number)["status"], 0)
        self.gone(number)

    def test_partial(self):
        number, connection = self.pair()
        self.client.call("TCPSend", [number, "request"])
        self.assertEqual(self.close(number, 1)["status"], 0)
        self.assertEqual(servers.read_to_end(connection), b"request")
        self.fails(-10058, "ESHUTDOWN", "TCPSend", [number, "x"], stage="io", retryable=False)
        connection.sendall(b"the answer")
        self.assertEqual(self.client.call("TCPReceive", socket=number, exact=10)["data"], "the answer")
        connection.close()
        self.check_end(self.client.call("TCPReceive", [number]))
        self.assertEqual(self.close(number)["status"], 0)
        self.gone(number)

    def test_partial_after_queued_sends(self):
        number, connection = self.pair()
        ids = self.busy_block(number)
        closing = self.client.send("TCPClose", [number, 1])
        connection.settimeout(10 * SLOW)
        self.assertEqual(len(servers.read_to_end(connection)), 300000 * len(ids))
        for id in ids:
            self.client.wait(id)
        self.assertEqual(self.client.wait(closing)["status"], 0)
        connection.sendall(b"and back")
        self.assertEqual(self.client.call("TCPReceive", [number])["data"], "and back")

    def test_partial_with_a_receive_running(self):
        number, connection = self.pair()
        id = self.client.send("TCPReceive", [number])
        self.assertEqual(self.close(number, 1)["status"], 0)
        self.assertEqual(connection.recv(1), b"")
        self.assertFalse(self.client.answered(id))
        connection.sendall(b"still heard")
        self.assertEqual(self.client.wait(id)["data"], "still heard")

    def test_abort_is_a_reset(self):
        number, connection = self.pair()
        self.assertEqual(self.close(number, 2)["status"], 0)
        self.gone(number)
        with self.assertRaises(ConnectionResetError):
            connection.recv(1)

    def test_abort_after_partial(self):
        number, connection = self.pair()
        self.close(number, 1)
        self.close(number, 2)
        self.gone(number)

    def test_bad_options(self):
        number, connection = self.pair()
        for option in (3, -1, 99, -2147483648, 2147483647):
            self.fails(-517, "BAD_CLOSE_OPTION", "TCPClose", [number, option], retryable=False)
        self.client.call("TCPSend", [number, "unharmed"])
        self.assertEqual(servers.read_exactly(connection, 8), b"unharmed")

    def test_no_such_socket(self):
        self.gone(2**31 - 1)
        self.gone(123456)

    def test_with_a_receive_running(self):
        for option in (0, 2):
            number, connection = self.pair()
            id = self.client.send("TCPReceive", [number])
            closing = self.client.send("TCPClose", [number, option])
            if option == 0:
                self.assertEqual(connection.recv(1), b"")
            self.check_error(self.client.answer(id)["error"], -10053, "ECONNABORTED", retryable=False)
            connection.close()
            self.assertEqual(self.client.wait(closing)["status"], 0)
            self.gone(number)

    def test_abort_with_sends_running(self):
        number, connection = self.pair()
        ids = self.busy_block(number)
        self.assertEqual(self.close(number, 2)["status"], 0)
        errors = [message["error"] for message in map(self.client.answer, ids) if "error" in message]
        self.assertGreater(len(errors), 0)
        for error in errors:
            self.assertIsInstance(self.check_error(error, -10053, "ECONNABORTED")["sent"], int)
        connection.settimeout(5)
        with self.assertRaises(ConnectionResetError):
            while connection.recv(1 << 20):
                pass

    def test_requests_during_a_complete_close(self):
        number, connection = self.pair()
        id = self.client.send("TCPClose", [number])
        self.assertEqual(connection.recv(1), b"")
        for method, params in (("TCPSend", [number, "x"]), ("TCPReceive", [number]), ("TCPClose", [number])):
            error = self.client.error(method, params)
            self.assertIn(error.code, (-10022, -10038, -10053, -10058, -33002), error)
        connection.close()
        self.assertEqual(self.client.wait(id)["status"], 0)

    def test_abort_overtakes_a_complete_close(self):
        number, connection = self.pair()
        id = self.client.send("TCPClose", [number])
        self.assertEqual(connection.recv(1), b"")
        other = self.client.send("TCPClose", [number, 2])
        self.client.answer(other)
        self.client.answer(id)
        self.gone(number)

    def test_a_second_close_is_busy(self):
        number, connection = self.pair()
        id = self.client.send("TCPClose", [number])
        self.assertEqual(connection.recv(1), b"")
        for option in (0, 1):
            self.check_error(self.client.error("TCPClose", [number, option]), -33002, "BUSY")
        connection.close()
        self.assertEqual(self.client.wait(id)["status"], 0)
        self.gone(number)

    def test_a_close_that_is_cancelled_leaves_nothing(self):
        number, connection = self.pair()
        id = self.client.send("TCPClose", [number])
        self.assertEqual(connection.recv(1), b"")
        self.assertIs(self.client.call("Broker.Cancel", [id])["cancelled"], True)
        error = self.client.answer(id)["error"]
        self.check_error(error, -10004, "EINTR")
        self.assertIs(error["data"]["retryable"], False, "the socket is gone")
        self.gone(number)

    def test_no_descriptor_is_left(self):
        peer = self.use(servers.Peer())
        self.client.call("Broker.Hello")
        before = self.daemon.n_sockets()
        for option in (0, 1, 2) * 10:
            number = self.client.connect(peer.port)
            connection = peer.take()
            id = self.client.send("TCPClose", [number, option])
            connection.close()
            self.client.answer(id)
            if option == 1:
                self.close(number)
        wait_until(lambda: self.daemon.n_sockets() <= before, what="all closed")


class Secure(CloseCase):
    def test_partial_on_tls_1_2_is_refused(self):
        number, connection = self.pair(servers.tls12())
        self.fails(-1018, "TLS_NO_PARTIAL_CLOSE", "TCPClose", [number, 1], stage="tls", retryable=False)
        self.client.call("TCPSend", [number, "still open"])
        self.assertEqual(servers.read_exactly(connection, 10), b"still open")
        connection.sendall(b"both ways")
        self.assertEqual(self.client.call("TCPReceive", [number])["data"], "both ways")

    def test_partial_on_tls_1_3(self):
        number, connection = self.pair(servers.tls13())
        self.client.call("TCPSend", [number, "request"])
        self.assertEqual(self.close(number, 1)["status"], 0)
        self.assertEqual(servers.read_to_end(connection), b"request")
        self.fails(-10058, "ESHUTDOWN", "TCPSend", [number, "x"])
        connection.sendall(b"the answer")
        self.assertEqual(self.client.call("TCPReceive", socket=number, exact=10)["data"], "the answer")
        self.client.call("TCPClose", [number, 2])

    def test_complete_says_close_notify(self):
        for tls in (servers.tls12(), servers.tls13()):
            with self.subTest(version=tls.minimum_version.name):
                number, connection = self.pair(tls)
                self.client.call("TCPSend", [number, "last words"])
                id = self.client.send("TCPClose", [number])
                self.assertEqual(servers.read_to_end(connection), b"last words", "close_notify, not a truncation")
                connection.close()
                self.assertEqual(self.client.wait(id)["status"], 0)
                self.gone(number)

    def test_complete_finishes_sending(self):
        for tls in (servers.tls12(), servers.tls13()):
            with self.subTest(version=tls.minimum_version.name):
                number, connection = self.pair(tls)
                ids = self.busy_block(number)
                closing = self.client.send("TCPClose", [number])
                connection.settimeout(10 * SLOW)
                self.assertEqual(len(servers.read_to_end(connection)), 300000 * len(ids))
                connection.close()
                for id in ids:
                    self.assertEqual(self.client.wait(id)["sent"], 300000)
                self.assertEqual(self.client.wait(closing)["status"], 0)

    def test_discarded(self):
        number, connection = self.pair(servers.tls13())
        connection.sendall(b"nobody reads this")
        id = self.client.send("TCPClose", [number])
        self.assertEqual(connection.recv(1), b"")
        connection.close()
        self.assertEqual(self.client.wait(id)["discarded"], 17)

    def test_abort(self):
        number, connection = self.pair(servers.tls13())
        self.close(number, 2)
        self.gone(number)
        with self.assertRaises(OSError) as caught:
            connection.recv(1)
        self.assertTrue(isinstance(caught.exception, ssl.SSLError) or caught.exception.errno == errno.ECONNRESET)

    def test_the_socket_of_a_closing_session_says_close_notify_or_resets(self):
        peer = self.use(servers.Peer(tls=servers.tls13()))
        client = self.open_client()
        client.connect(peer.port, secure=True)
        connection = peer.take()
        client.close()
        try:
            self.assertEqual(connection.recv(1), b"")
        except OSError:
            pass

    def test_closes_from_many_sockets_at_once(self):
        server = self.use(servers.Server(tls=servers.tls13()))
        numbers = [self.client.connect(server.port, secure=True) for _ in range(30)]
        ids = [self.client.send("TCPClose", [number]) for number in numbers]
        for id in ids:
            self.assertEqual(self.client.wait(id)["status"], 0)


if __name__ == "__main__":
    main()
