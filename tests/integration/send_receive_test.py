"""TCPSend and TCPReceive: what is waited for, what is kept, what is refused; every byte arrives once and in order."""
import base64
import hashlib
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from ca import certificates
from harness import SLOW, Elapsed, TestCase, main, seconds, wait_until


class StreamCase(TestCase):

    SECURE = False

    @classmethod
    def setUpClass(cls):
        cls.DAEMON_ARGS = ("--cacerts", certificates().cacerts)
        super().setUpClass()

    def setUp(self):
        super().setUp()
        self.peer = self.use(servers.Peer(tls=servers.tls_context() if self.SECURE else None))

    def pair(self):
        number = self.client.connect(self.peer.port, secure=self.SECURE)
        return number, self.peer.take()

    def receive(self, number, **kw):
        return self.client.call("TCPReceive", socket=number, **kw)

    def receive_async(self, number, **kw):
        return self.client.send("TCPReceive", socket=number, **kw)

    def still_waiting(self, id):
        """After a round trip and a moment the answer has not come."""
        self.client.call("Broker.Hello")
        time.sleep(0.05)
        self.assertFalse(self.client.answered(id))

    def end(self, connection):
        """The peer's orderly end."""
        if self.SECURE:
            connection.settimeout(0.3)
            try:
                connection.unwrap()
            except OSError:
                pass
        else:
            connection.shutdown(1)

    def pending(self, number, n):
        """True once n bytes came (an exact receive with a deadline consumes nothing before)."""
        row, = [row for row in self.client.call("Broker.List")["sockets"] if row["socket"] == number]
        return row["bytes_in"] >= n or self.client.answer(
            self.receive_async(number, exact=500000, encoding="base64", timeout_ms=20)) is not None

    def block(self, number):
        """Send until a send waits: the peer does not read. Returns the running sends and all bytes in order."""
        sends, data = [], b""
        for i in range(100):
            part = bytes([65 + i % 26]) * 300000
            data += part
            sends.append(self.client.send("TCPSend", [number, part.decode()]))
            if len(sends) >= 3:
                time.sleep(0.02 * SLOW)
                self.client.call("Broker.Hello")
                if not self.client.answered(sends[-3]):
                    return sends, data
        raise AssertionError("sends never wait")


class Plain(StreamCase):
    """All of this holds over TLS, too (class Secure)."""

    # -- what a receive waits for

    def test_some_data(self):
        number, connection = self.pair()
        id = self.receive_async(number)
        self.still_waiting(id)
        connection.sendall(b"some")
        self.assertEqual(self.client.wait(id), {"received": 4, "data": "some"})

    def test_max_bytes(self):
        number, connection = self.pair()
        connection.sendall(b"abcdefgh")
        self.assertEqual(self.receive(number, max_bytes=3)["data"], "abc")
        self.assertEqual(self.client.call("TCPReceive", [number, 4]), {"received": 4, "data": "defg"})
        self.assertEqual(self.receive(number, max_bytes=100)["data"], "h")

    def test_exact(self):
        number, connection = self.pair()
        id = self.receive_async(number, exact=10)
        for part in (b"abc", b"def", b"ghi"):
            connection.sendall(part)
            self.still_waiting(id)
        connection.sendall(b"jkl")
        self.assertEqual(self.client.wait(id), {"received": 10, "data": "abcdefghij"})
        self.assertEqual(self.receive(number, exact=2)["data"], "kl")

    def test_exact_larger_than_what_is_read_ahead(self):
        number, connection = self.pair()
        data = os.urandom(400000)
        threading.Thread(target=connection.sendall, args=(data,), daemon=True).start()
        result = self.receive(number, exact=400000, encoding="base64", max_bytes=400000)
        self.assertEqual(base64.b64decode(result["data_base64"]), data)

    def test_exact_at_the_end_loses_nothing(self):
        number, connection = self.pair()
        connection.sendall(b"short")
        id = self.receive_async(number, exact=10)
        self.still_waiting(id)
        self.end(connection)
        message = self.client.answer(id)
        if "result" in message and message["result"]["received"] == 5:
            self.assertEqual(message["result"]["data"], "short")
        else:
            self.assertIn("error", message, "less than asked for is no result of nothing")
            self.assertEqual(self.receive(number)["data"], "short")
        self.check_end(self.receive(number))

    def test_until(self):
        number, connection = self.pair()
        connection.sendall(b"first\r\nsecond\r\nthi")
        self.assertEqual(self.receive(number, until="\r\n")["data"], "first\r\n")
        self.assertEqual(self.receive(number, until="\r\n")["data"], "second\r\n")
        id = self.receive_async(number, until="\r\n")
        connection.sendall(b"rd\r")
        self.still_waiting(id)
        connection.sendall(b"\nrest")
        self.assertEqual(self.client.wait(id), {"received": 7, "data": "third\r\n"})
        self.assertEqual(self.receive(number)["data"], "rest")

    def test_until_overlapping_with_itself(self):
        number, connection = self.pair()
        connection.sendall(b"aaab aab")
        self.assertEqual(self.receive(number, until="aab")["data"], "aaab")
        self.assertEqual(self.receive(number, until="aab")["data"], " aab")

    def test_until_is_bytes_and_may_be_of_several_characters(self):
        number, connection = self.pair()
        connection.sendall("vor → nach→ende".encode())
        self.assertEqual(self.receive(number, until="→ nach")["data"], "vor → nach")
        self.assertEqual(self.receive(number, until="→")["data"], "→")

    def test_until_at_most_max_bytes(self):
        number, connection = self.pair()
        connection.sendall(b"abcdefghij\n")
        self.assertEqual(self.receive(number, until="\n", max_bytes=5)["data"], "abcde")
        self.assertEqual(self.receive(number, until="\n", max_bytes=6)["data"], "fghij\n")

    def test_until_far_away(self):
        number, connection = self.pair()
        text = b"x" * 300000 + b"\n"
        threading.Thread(target=connection.sendall, args=(text + b"after",), daemon=True).start()
        result = self.receive(number, until="\n", max_bytes=400000)
        self.assertEqual(result["received"], 300001)
        self.assertEqual(result["data"], text.decode())
        self.assertEqual(self.receive(number, exact=5)["data"], "after")

    def test_until_at_the_end_loses_nothing(self):
        number, connection = self.pair()
        connection.sendall(b"no delimiter")
        id = self.receive_async(number, until="\n")
        self.still_waiting(id)
        self.end(connection)
        message = self.client.answer(id)
        if "error" in message:
            self.assertEqual(self.receive(number)["data"], "no delimiter")
        else:
            self.assertEqual(message["result"]["data"], "no delimiter")
        self.check_end(self.receive(number))

    def test_the_end_is_told_again_and_again(self):
        number, connection = self.pair()
        connection.sendall(b"last")
        self.end(connection)
        self.assertEqual(self.receive(number, exact=4)["data"], "last")
        for encoding in ("utf8", "base64", "utf8"):
            self.check_end(self.receive(number, encoding=encoding))
        self.check_end(self.receive(number, exact=3))
        self.check_end(self.receive(number, timeout_ms=0))

    # -- deadlines

    def test_a_time_out_loses_nothing(self):
        number, connection = self.pair()
        connection.sendall(b"four")
        for wish in ({"exact": 10}, {"until": "\n"}):
            with Elapsed() as elapsed:
                data = self.fails(-10060, "ETIMEDOUT", "TCPReceive", socket=number, timeout_ms=200, stage="io",
                                  retryable=True, **wish)
            self.assertIsInstance(data, dict)
            self.assertGreater(elapsed.ms, 190)
            self.assertLess(elapsed.ms, 200 + 300 * SLOW)
        self.assertEqual(self.receive(number)["data"], "four")
        self.fails(-10060, "ETIMEDOUT", "TCPReceive", socket=number, timeout_ms=50)
        connection.sendall(b"more")
        self.assertEqual(self.receive(number)["data"], "more")

    def test_no_time_means_what_is_there(self):
        number, connection = self.pair()
        with Elapsed() as elapsed:
            error = self.client.error("TCPReceive", socket=number, timeout_ms=0)
        self.assertIn((error.code, error.symbol), ((-10060, "ETIMEDOUT"), (-10035, "EWOULDBLOCK")))
        self.assertLess(elapsed.ms, 150 * SLOW)
        connection.sendall(b"there")

        def come():
            message = self.client.answer(self.receive_async(number, timeout_ms=0))
            return message.get("result", {}).get("data")
        self.assertEqual(wait_until(come), "there")

    def test_without_a_deadline_it_waits(self):
        number, connection = self.pair()
        id = self.receive_async(number)
        time.sleep(0.5)
        self.assertFalse(self.client.answered(id))
        connection.sendall(b"x")
        self.client.wait(id)

    # -- text and bytes

    def test_a_split_character_is_kept(self):
        number, connection = self.pair()
        euro = "€".encode()
        connection.sendall(b"a" + euro[:1])
        self.assertEqual(self.receive(number), {"received": 1, "data": "a"})
        id = self.receive_async(number)
        self.still_waiting(id)
        connection.sendall(euro[1:2])
        self.still_waiting(id)
        connection.sendall(euro[2:] + "ü".encode()[:1])
        self.assertEqual(self.client.wait(id), {"received": 3, "data": "€"})
        connection.sendall("ü".encode()[1:])
        self.assertEqual(self.receive(number), {"received": 2, "data": "ü"})

    def test_max_bytes_never_splits_a_character(self):
        number, connection = self.pair()
        connection.sendall("ää€\N{GRINNING FACE}".encode())
        self.assertEqual(self.receive(number, max_bytes=3)["data"], "ä")
        self.assertEqual(self.receive(number, max_bytes=4)["data"], "ä")
        self.assertEqual(self.receive(number, max_bytes=6)["data"], "€")
        error = self.client.error("TCPReceive", socket=number, max_bytes=3)
        self.check_error(error, error.code, error.symbol)
        self.assertEqual(self.receive(number, max_bytes=4)["data"], "\N{GRINNING FACE}")

    def test_not_text_consumes_nothing_and_says_so(self):
        number, connection = self.pair()
        for bad in (b"\xff\xfe\x00binary", b"ok\x00nul", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5aaa"):
            with self.subTest(bad=bad):
                connection.sendall(bad)
                wait_until(lambda: self.pending(number, len(bad)))
                for _ in range(2):
                    error = self.client.error("TCPReceive", socket=number, exact=len(bad))
                    self.check_error(error, error.code, error.symbol)
                    self.assertIn("base64", error.message)
                result = self.receive(number, exact=len(bad), encoding="base64")
                self.assertEqual(base64.b64decode(result["data_base64"]), bad)

    def test_text_before_bytes_that_are_none(self):
        number, connection = self.pair()
        connection.sendall(b"text\n\xff\xff")
        self.assertEqual(self.receive(number, until="\n")["data"], "text\n")
        self.assertEqual(base64.b64decode(self.receive(number, exact=2, encoding="base64")["data_base64"]), b"\xff\xff")

    def test_half_a_character_at_the_end(self):
        number, connection = self.pair()
        connection.sendall(b"\xe2\x82")
        self.end(connection)
        error = self.client.error("TCPReceive", socket=number)
        self.assertIn("base64", error.message)
        self.assertEqual(base64.b64decode(self.receive(number, encoding="base64")["data_base64"]), b"\xe2\x82")
        self.check_end(self.receive(number))

    def test_control_characters_survive(self):
        number, connection = self.pair()
        text = "".join(chr(c) for c in range(1, 32)) + "\"\\/\x7f\u2028\ufeff\U0010ffff"
        self.assertEqual(self.client.call("TCPSend", [number, text])["sent"], len(text.encode()))
        self.assertEqual(servers.read_exactly(connection, len(text.encode())), text.encode())
        connection.sendall(text.encode())
        self.assertEqual(self.receive(number, exact=len(text.encode()))["data"], text)

    def test_answers_longer_than_a_request_may_be(self):
        number, connection = self.pair()
        data = b"\x01" * 500000
        threading.Thread(target=connection.sendall, args=(data,), daemon=True).start()
        got = 0
        while got < len(data):
            result = self.receive(number, max_bytes=524288)
            self.assertEqual(set(result["data"]), {"\x01"})
            got += result["received"]
        self.assertEqual(got, len(data))

    def test_base64_of_every_length(self):
        number, connection = self.pair()
        for n in (0, 1, 2, 3, 4, 5, 57, 1000, 65537):
            data = os.urandom(n)
            self.assertEqual(self.client.call("TCPSend", socket=number, data_base64=base64.b64encode(data).decode()),
                             {"sent": n})
            self.assertEqual(servers.read_exactly(connection, n), data)
            if n:
                connection.sendall(data)
                result = self.receive(number, exact=n, encoding="base64")
                self.assertEqual(base64.b64decode(result["data_base64"], validate=True), data)
                self.assertNotIn("data", result)

    def test_sending_nothing(self):
        number, connection = self.pair()
        self.assertEqual(self.client.call("TCPSend", [number, ""]), {"sent": 0})
        self.client.call("TCPSend", [number, "x"])
        self.assertEqual(connection.recv(10), b"x")

    def test_sent_counts_bytes(self):
        number, connection = self.pair()
        self.assertEqual(self.client.call("TCPSend", [number, "é€"]), {"sent": 5})
        self.assertEqual(servers.read_exactly(connection, 5), "é€".encode())

    # -- order and independence

    def test_a_second_receive_is_busy(self):
        number, connection = self.pair()
        id = self.receive_async(number)
        self.fails(-33002, "BUSY", "TCPReceive", [number], stage="request", retryable=True)
        connection.sendall(b"for the first")
        self.assertEqual(self.client.wait(id)["data"], "for the first")

    def test_receive_does_not_hinder_send(self):
        number, connection = self.pair()
        id = self.receive_async(number)
        for _ in range(10):
            self.client.call("TCPSend", [number, "ping"])
            self.assertEqual(servers.read_exactly(connection, 4), b"ping")
        self.assertFalse(self.client.answered(id))
        connection.sendall(b"pong")
        self.client.wait(id)

    def test_send_does_not_hinder_receive(self):
        number, connection = self.pair()
        sends, data = self.block(number)
        connection.sendall(b"while it waits")
        self.assertEqual(self.receive(number, timeout_ms=5000)["data"], "while it waits")
        self.assertFalse(self.client.answered(sends[-1]))
        self.assertEqual(servers.read_exactly(connection, len(data)), data)
        for id in sends:
            self.client.wait(id)

    def test_sends_complete_in_order(self):
        number, connection = self.pair()
        order = []
        raw_deliver = self.client._deliver

        def deliver(message):
            if isinstance(message, dict):
                order.append(message.get("id"))
            raw_deliver(message)
        self.client._deliver = deliver
        sends, data = self.block(number)
        self.assertEqual(servers.read_exactly(connection, len(data)), data)
        for id in sends:
            self.assertEqual(self.client.wait(id), {"sent": 300000})
        self.assertEqual([id for id in order if id in sends], sends)

    def test_many_pipelined_sends(self):
        number, connection = self.pair()
        ids = [self.client.send("TCPSend", [number, f"{i:06d}\n"]) for i in range(200)]
        self.assertEqual(servers.read_exactly(connection, 1400), b"".join(b"%06d\n" % i for i in range(200)))
        for id in ids:
            self.assertEqual(self.client.wait(id), {"sent": 7})

    # -- failure

    def test_a_send_that_times_out_tells_how_much_went(self):
        number, connection = self.pair()
        total = 0
        for _ in range(100):
            message = self.client.answer(self.client.send("TCPSend", socket=number, data="y" * 500000, timeout_ms=200))
            if "error" in message:
                break
            total += message["result"]["sent"]
        data = self.check_error(message["error"], -10060, "ETIMEDOUT", "io", True)
        self.assertIsInstance(data["sent"], int)
        self.assertLess(data["sent"], 500000)
        total += data["sent"]
        reading = self.client.send("TCPSend", [number, "MARK"])
        got = bytearray()
        connection.settimeout(seconds(5))
        while not got.endswith(b"MARK"):
            got += connection.recv(1 << 20)
        self.assertEqual(self.client.wait(reading), {"sent": 4})
        self.assertEqual(len(got) - 4, total, "exactly what was reported as sent")
        self.assertEqual(set(got[:-4]), {ord("y")})

    def test_a_reset_while_sending(self):
        number, connection = self.pair()
        sends, _ = self.block(number)
        servers.reset(connection)
        failed = [message for message in map(self.client.answer, sends) if "error" in message]
        self.assertGreater(len(failed), 0)
        for message in failed:
            data = self.check_error(message["error"], -10054, "ECONNRESET", "io")
            self.assertIsInstance(data["sent"], int)
        error = self.client.error("TCPSend", [number, "x"])
        self.assertEqual(error.code, -10054)

    def test_a_reset_while_receiving(self):
        number, connection = self.pair()
        id = self.receive_async(number)
        servers.reset(connection)
        self.check_error(self.client.answer(id)["error"], -10054, "ECONNRESET", "io")
        self.assertEqual(self.client.call("TCPClose", [number])["status"], 0)

    # -- quantity

    def test_32_mib_echo_byte_for_byte(self):
        peer = self.use(servers.Server(tls=servers.tls_context() if self.SECURE else None))
        number = self.client.connect(peer.port, secure=self.SECURE)
        n_total, n_block = 32 << 20, 512 << 10
        block = os.urandom(n_block)
        out, back = hashlib.sha256(), hashlib.sha256()

        def send():
            for i in range(n_total // n_block):
                part = i.to_bytes(4, "big") + block[4:]
                out.update(part)
                self.client.call("TCPSend", socket=number, data_base64=base64.b64encode(part).decode(),
                                 answer_timeout=60)
        sender = threading.Thread(target=send)
        sender.start()
        got = 0
        while got < n_total:
            result = self.client.call("TCPReceive", socket=number, max_bytes=524288, encoding="base64", answer_timeout=60)
            self.assertGreater(result["received"], 0)
            data = base64.b64decode(result["data_base64"])
            self.assertEqual(len(data), result["received"])
            back.update(data)
            got += len(data)
        sender.join()
        self.assertEqual(got, n_total)
        self.assertEqual(back.digest(), out.digest())
        row, = self.client.call("Broker.List")["sockets"]
        self.assertEqual((row["bytes_in"], row["bytes_out"]), (n_total, n_total))

    def test_a_slow_reader_gets_everything(self):
        received = []

        def slow(connection):
            while data := connection.recv(20000):
                received.append(data)
                time.sleep(0.0005)
        peer = self.use(servers.Server(slow, tls=servers.tls_context() if self.SECURE else None))
        number = self.client.connect(peer.port, secure=self.SECURE)
        for i in range(16):
            self.assertEqual(self.client.call("TCPSend", [number, chr(97 + i) * 250000], answer_timeout=30)["sent"], 250000)
        self.client.call("TCPClose", [number], answer_timeout=30)
        self.assertEqual(b"".join(received), b"".join(bytes([97 + i]) * 250000 for i in range(16)))


class NonBlocking(StreamCase):
    def test_receive_would_block(self):
        number, connection = self.pair()
        self.assertEqual(self.client.call("TCPBlock", [number, 1]), {"status": 0})
        with Elapsed() as elapsed:
            self.fails(-10035, "EWOULDBLOCK", "TCPReceive", [number], stage="io", retryable=True)
        self.assertLess(elapsed.ms, 200 * SLOW)
        connection.sendall(b"now")
        wait_until(lambda: "result" in self.peek(number))
        self.assertEqual(self.got["data"], "now")
        self.fails(-10035, "EWOULDBLOCK", "TCPReceive", [number])
        self.client.call("TCPBlock", [number, 0])
        id = self.receive_async(number)
        self.still_waiting(id)
        connection.sendall(b"blocking again")
        self.assertEqual(self.client.wait(id)["data"], "blocking again")

    def peek(self, number):
        message = self.client.answer(self.receive_async(number))
        self.got = message.get("result")
        return message

    def test_half_a_character_would_block(self):
        number, connection = self.pair()
        self.client.call("TCPBlock", [number, -1])
        connection.sendall(b"\xe2\x82")
        time.sleep(0.1)
        self.fails(-10035, "EWOULDBLOCK", "TCPReceive", [number])
        connection.sendall(b"\xac")
        wait_until(lambda: "result" in self.peek(number))
        self.assertEqual(self.got, {"received": 3, "data": "€"})

    def test_the_end_is_told(self):
        number, connection = self.pair()
        self.client.call("TCPBlock", [number, 1])
        self.end(connection)
        wait_until(lambda: "result" in self.peek(number))
        self.check_end(self.got)

    def test_send_takes_what_is_possible(self):
        number, connection = self.pair()
        self.client.call("TCPBlock", [number, 1])
        total, partial = 0, 0
        for _ in range(200):
            with Elapsed() as elapsed:
                message = self.client.answer(self.client.send("TCPSend", [number, "z" * 500000]))
            self.assertLess(elapsed.ms, 1000 * SLOW)
            if "error" in message:
                break
            total += message["result"]["sent"]
            partial += message["result"]["sent"] < 500000
        self.check_error(message["error"], -10035, "EWOULDBLOCK", "io", True)
        self.assertGreater(partial, 0)
        self.assertEqual(set(servers.read_exactly(connection, total)), {ord("z")})
        connection.settimeout(0.1)
        with self.assertRaises(TimeoutError):
            connection.recv(1)
        self.assertEqual(self.client.call("TCPSend", [number, "on"])["sent"], 2)


class Secure(Plain):
    SECURE = True

    def test_a_secure_socket_always_sends_as_if_blocking(self):
        number, connection = self.pair()
        self.client.call("TCPBlock", [number, 1])
        sends, data = self.block(number)
        self.assertEqual(servers.read_exactly(connection, len(data)), data)
        for id in sends:
            self.assertEqual(self.client.wait(id)["sent"], 300000)
        self.fails(-10035, "EWOULDBLOCK", "TCPReceive", [number])
        connection.sendall(b"x")
        wait_until(lambda: "result" in self.client.answer(self.receive_async(number)))


if __name__ == "__main__":
    main()
