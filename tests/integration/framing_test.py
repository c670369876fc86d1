"""Section 1 of the protocol: bytes to lines, lines to messages, and that nothing a client writes ends its connection."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from harness import TestCase, main, seconds

HELLO = {"jsonrpc": "2.0", "id": 1, "method": "Broker.Hello"}


def hello(id=1):
    return dict(HELLO, id=id)


class Framing(TestCase):
    def lives(self, raw, id=99):
        answer = raw.ask(hello(id))
        self.assertEqual(answer["id"], id)
        self.assertEqual(answer["result"]["server"], "tcpbroker")

    def refused(self, line, code, symbol):
        """The line is answered with this error and id null, and the connection lives on."""
        raw = self.open_raw()
        answer = raw.ask(line)
        self.assertEqual(answer["jsonrpc"], "2.0")
        self.assertIn("id", answer)
        self.assertIsNone(answer["id"])
        data = self.check_error(answer["error"], code, symbol, "request", False)
        self.lives(raw)
        return data

    def test_the_server_never_speaks_first(self):
        raw = self.open_raw()
        self.assertTrue(raw.quiet())
        self.lives(raw)
        self.assertTrue(raw.quiet())

    def test_an_answer_is_exactly_one_line(self):
        raw = self.open_raw()
        raw.write_line(json.dumps(hello()))
        line = raw.read_line()
        self.assertNotIn(b"\r", line)
        self.assertEqual(json.loads(line)["jsonrpc"], "2.0")
        self.assertTrue(raw.quiet())

    def test_half_close_still_gets_the_answers_then_the_end(self):
        with servers.Server() as server, self.open_raw() as raw:
            raw.write_line(json.dumps({"jsonrpc": "2.0", "id": "c", "method": "TCPConnect",
                                       "params": ["127.0.0.1", server.port]}))
            raw.write_line(json.dumps(hello(2)))
            raw.half_close()
            answers = {answer["id"]: answer for answer in raw.rest()}
            self.assertEqual(set(answers), {"c", 2})
            self.assertIn("socket", answers["c"]["result"])

    def test_half_close_waits_for_a_running_request(self):
        with servers.Peer() as peer, self.open_raw() as raw:
            number = raw.ask({"jsonrpc": "2.0", "id": 1, "method": "TCPConnect",
                              "params": ["127.0.0.1", peer.port]})["result"]["socket"]
            connection = peer.take()
            raw.write_line(json.dumps({"jsonrpc": "2.0", "id": 2, "method": "TCPReceive", "params": [number]}))
            raw.half_close()
            self.assertTrue(raw.quiet())
            connection.sendall(b"late")
            self.assertEqual(raw.read()["result"], {"received": 4, "data": "late"})
            self.assertIsNone(raw.read())
            self.assertEqual(connection.recv(1), b"")

    def test_half_close_without_a_request_is_the_end(self):
        raw = self.open_raw()
        raw.half_close()
        self.assertEqual(raw.rest(), [])

    def test_the_last_line_counts_without_its_end(self):
        raw = self.open_raw()
        raw.write(json.dumps(hello(1)) + "\n" + json.dumps(hello(2)))
        raw.half_close()
        self.assertEqual(sorted(answer["id"] for answer in raw.rest()), [1, 2])

    def test_half_a_line_at_the_end_is_a_parse_error(self):
        raw = self.open_raw()
        raw.write('{"jsonrpc": "2.0", "id"')
        raw.half_close()
        answers = raw.rest()
        self.assertEqual(len(answers), 1)
        self.check_error(answers[0]["error"], -32700, "PARSE_ERROR")

    def test_carriage_return_and_empty_lines(self):
        raw = self.open_raw()
        raw.write("\n\r\n\n" + json.dumps(hello(1)) + "\r\n\n\r\n" + json.dumps(hello(2)) + "\n\n")
        self.assertEqual([raw.read()["id"], raw.read()["id"]], [1, 2])
        self.assertTrue(raw.quiet())

    def test_a_line_of_blanks_is_no_empty_line(self):
        self.refused("   ", -32700, "PARSE_ERROR")

    def test_a_line_in_single_bytes(self):
        raw = self.open_raw()
        for byte in (json.dumps(hello(5)) + "\r\n").encode():
            raw.write(bytes([byte]))
        self.assertEqual(raw.read()["id"], 5)

    def test_many_lines_in_one_write(self):
        raw = self.open_raw()
        raw.write("".join(json.dumps(hello(i)) + "\n" for i in range(200)))
        self.assertEqual(sorted(raw.read()["id"] for _ in range(200)), list(range(200)))

    def test_a_line_over_the_limit_is_refused_and_discarded(self):
        raw = self.open_raw()
        limit = raw.ask(hello())["result"]["limits"]["line"]
        self.assertEqual(limit, 1 << 20)
        for extra in (1, 1000, 3 << 20):
            raw.write(b'"' + b"x" * (limit + extra - 2) + b'"\n' + json.dumps(hello(7)).encode() + b"\n")
            answer = raw.read()
            self.assertIsNone(answer["id"])
            data = self.check_error(answer["error"], answer["error"]["code"], answer["error"]["data"]["symbol"])
            self.assertEqual(data["limit"], "limits.line")
            self.assertEqual(data["limit_value"], limit)
            self.assertEqual(raw.read()["id"], 7)
        self.assertTrue(raw.quiet())

    def test_a_line_of_exactly_the_limit_is_read(self):
        raw = self.open_raw()
        start = '{"jsonrpc":"2.0","id":1,"method":"Broker.Hello"}'
        raw.write(start + " " * ((1 << 20) - len(start)) + "\n")
        self.assertEqual(raw.read()["id"], 1)
        raw.write(start + " " * ((1 << 20) - len(start)) + "\r\n")
        self.assertIn("result", raw.read())

    def test_an_over_long_line_is_told_before_its_end(self):
        raw = self.open_raw()
        raw.write(b"x" * (1 << 20) + b"yyyy")
        self.assertEqual(raw.read()["error"]["data"]["limit"], "limits.line")
        raw.write(b"more of the same line\n")
        self.lives(raw)

    def test_an_over_long_last_line(self):
        raw = self.open_raw()
        raw.write(b"z" * ((1 << 20) + 5))
        raw.half_close()
        answers = raw.rest()
        self.assertEqual(len(answers), 1)
        self.assertEqual(answers[0]["error"]["data"]["limit"], "limits.line")

    def test_invalid_utf8(self):
        for bad in (b"\xff", b"\xc0\xaf", b"\xe2\x82", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80", b"\xf8\x88\x80\x80\x80"):
            with self.subTest(bad=bad):
                line = b'{"jsonrpc":"2.0","id":1,"method":"Broker.Hello","params":["' + bad + b'"]}'
                self.refused(line, -32700, "PARSE_ERROR")

    def test_raw_nul_byte(self):
        self.refused(b'{"jsonrpc":"2.0","id":1,\x00"method":"Broker.Hello"}', -32700, "PARSE_ERROR")

    def test_escaped_nul(self):
        for line in ('{"jsonrpc":"2.0","id":1,"method":"Broker.Hello","params":{"client":"a\\u0000b"}}',
                     '{"jsonrpc":"2.0","id":1,"method":"TCPSend","params":{"socket":1,"data":"a\\u0000b"}}',
                     '{"jsonrpc":"2.0","id":1,"method":"TCPName2Addr","params":["localhost\\u0000.example"]}',
                     '{"jsonrpc":"2.0","id":1,"method":"Broker.Hello\\u0000"}',
                     '{"jsonrpc":"2.0","id":"a\\u0000b","method":"Broker.Hello"}'):
            with self.subTest(line=line):
                raw = self.open_raw()
                error = raw.ask(line)["error"]
                self.assertIn(error["code"], (-32700, -32602, -32600))
                self.lives(raw)

    def test_a_backslash_before_u0000_is_text(self):
        raw = self.open_raw()
        line = '{"jsonrpc":"2.0","id":1,"method":"Broker.Hello","params":{"client":"a\\\\u0000b"}}'
        self.assertIn("\\\\u0000", line)
        self.assertIn("result", raw.ask(line))

    def test_surrogates(self):
        raw = self.open_raw()
        good = '{"jsonrpc":"2.0","id":"\\ud83d\\ude00","method":"Broker.Hello"}'
        self.assertEqual(raw.ask(good)["id"], "\N{GRINNING FACE}")
        self.refused('{"jsonrpc":"2.0","id":1,"method":"Broker.Hello","params":["\\ud83d"]}', -32700, "PARSE_ERROR")
        self.refused('{"jsonrpc":"2.0","id":1,"method":"Broker.Hello","params":["\\ude00x"]}', -32700, "PARSE_ERROR")

    def test_deep_nesting(self):
        limit = self.client.call("Broker.Hello")["limits"]["nesting"]
        self.assertEqual(limit, 32)
        for depth in (limit + 1, 1000, 200000):
            for opening, closing in (("[", "]"), ('{"a":', "}")):
                with self.subTest(depth=depth, opening=opening):
                    line = opening * depth + ("1" if opening != "[" else "") + closing * depth
                    self.refused(line[:1000000], -32700, "PARSE_ERROR")

    def test_not_json(self):
        for line in ("garbage", "{", "}", '{"jsonrpc":"2.0","id":1,"method":"Broker.Hello"} x', "{'a':1}", "[1,]",
                     '{"jsonrpc":"2.0","id":01,"method":"Broker.Hello"}', '{"a":1,}', "nul", "+1", "\ufeff{}", '"tab\there"',
                     '{"jsonrpc":"2.0","id":NaN,"method":"Broker.Hello"}', "\x1b[31m", "GET / HTTP/1.1"):
            with self.subTest(line=line):
                self.refused(line.encode(), -32700, "PARSE_ERROR")

    def test_json_but_no_request(self):
        for line in ("1", '"text"', "null", "true", "[]", "{}", '{"jsonrpc":"2.0"}', '{"jsonrpc":"2.0","id":null}'):
            with self.subTest(line=line):
                self.refused(line, -32600, "INVALID_REQUEST")

    def test_random_bytes_do_not_end_the_connection(self):
        import random
        chance = random.Random(20240607)
        raw = self.open_raw(timeout=20)
        for _ in range(60):
            raw.write(bytes(chance.randrange(1, 256) for _ in range(chance.randrange(1, 2000))) + b"\n")
        raw.write_line(json.dumps(hello("end")))
        while raw.read(20).get("id") != "end":
            pass

    def test_a_client_that_hangs_up_in_a_line(self):
        for data in (b"", b"{", b"\xff", b"x" * 2000000, b"\n" * 1000):
            raw = self.open_raw()
            raw.write(data)
            raw.close()
        self.lives(self.open_raw())

    def test_a_smaller_limit_of_lines(self):
        from harness import Daemon, Raw
        with Daemon("--set", "limits.line=4096") as daemon, Raw(daemon) as raw:
            self.assertEqual(raw.ask(hello())["result"]["limits"]["line"], 4096)
            raw.write(b"x" * 4097 + b"\n")
            self.assertEqual(raw.read(seconds(5))["error"]["data"]["limit_value"], 4096)
            self.assertIn("result", raw.ask(hello()))


if __name__ == "__main__":
    main()
