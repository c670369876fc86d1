"""JSON-RPC 2.0: ids, notifications, batches, parameters by position and name, the shape of answers and errors."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from harness import Raw, TestCase, main, wait_until


def request(id, method, params=None, **more):
    message = {"jsonrpc": "2.0", "id": id, "method": method, **more}
    if params is not None:
        message["params"] = params
    return message


def notification(method, params=None):
    message = request(0, method, params)
    del message["id"]
    return message


class Ids(TestCase):
    def test_ids_are_echoed_unchanged(self):
        raw = self.open_raw()
        for id in (0, 1, -1, 2**31, 2**53, -2**53, 9007199254740990, 1000000000000000, "", "x", "0", "ä€\N{GRINNING FACE}",
                   "quote\" back\\slash /", "line\nbreak\ttab\x01", "a" * 200, None):
            with self.subTest(id=id):
                answer = raw.ask(request(id, "Broker.Hello"))
                self.assertIn("result", answer)
                self.assertEqual(answer["id"], id)
                self.assertIs(type(answer["id"]), type(id))

    def test_an_integer_is_echoed_as_it_was_written(self):
        raw = self.open_raw()
        for text in ("9007199254740990", "123456789012340", "10"):
            raw.write_line('{"jsonrpc":"2.0","id":%s,"method":"Broker.Hello"}' % text)
            line = raw.read_line().decode().replace(" ", "")
            self.assertIn('"id":%s' % text, line)
            self.assertIn(line[line.index('"id":%s' % text) + len(text) + 5], ",}")

    def test_ids_that_cannot_be_echoed_are_refused(self):
        raw = self.open_raw()
        for text in ("1.5", "true", "[]", "{}", "1e400", "9007199254740993", "-9007199254740993"):
            with self.subTest(id=text):
                answer = raw.ask('{"jsonrpc":"2.0","id":%s,"method":"Broker.Hello"}' % text)
                self.assertIsNone(answer["id"])
                self.assertIn(answer["error"]["code"], (-32600, -32700))

    def test_a_second_request_with_an_id_in_flight_is_refused(self):
        peer = self.use(servers.Peer())
        raw = self.open_raw()
        for id in (7, "seven"):
            number = raw.ask(request("c", "TCPConnect", ["127.0.0.1", peer.port]))["result"]["socket"]
            connection = peer.take()
            raw.write_line(json.dumps(request(id, "TCPReceive", [number])))
            answer = raw.ask(request(id, "Broker.Hello"))
            self.assertEqual(answer["id"], id)
            self.check_error(answer["error"], -32600, "INVALID_REQUEST", "request")
            connection.sendall(b"x")
            self.assertEqual(raw.read(), {"jsonrpc": "2.0", "id": id, "result": {"received": 1, "data": "x"}})
            self.assertIn("result", raw.ask(request(id, "Broker.Hello")), "free again after the answer")

    def test_a_string_and_an_integer_are_different_ids(self):
        peer = self.use(servers.Peer())
        raw = self.open_raw()
        number = raw.ask(request("c", "TCPConnect", ["127.0.0.1", peer.port]))["result"]["socket"]
        connection = peer.take()
        raw.write_line(json.dumps(request(1, "TCPReceive", [number])))
        self.assertIn("result", raw.ask(request("1", "Broker.Hello")))
        connection.sendall(b"x")
        self.assertEqual(raw.read()["id"], 1)

    def test_answers_come_in_the_order_of_completion(self):
        peer = self.use(servers.Peer())
        number = self.client.connect(peer.port)
        connection = peer.take()
        receiving = self.client.send("TCPReceive", [number])
        for _ in range(20):
            self.client.call("Broker.Hello")
        self.assertFalse(self.client.answered(receiving))
        connection.sendall(b"now")
        self.assertEqual(self.client.wait(receiving)["data"], "now")


class Notifications(TestCase):
    def test_executed_and_not_answered(self):
        peer = self.use(servers.Peer())
        raw = self.open_raw()
        number = raw.ask(request(1, "TCPConnect", ["127.0.0.1", peer.port]))["result"]["socket"]
        connection = peer.take()
        raw.write_line(json.dumps(notification("TCPSend", [number, "by notification"])))
        self.assertEqual(servers.read_exactly(connection, 15), b"by notification")
        raw.write_line(json.dumps(notification("TCPClose", [number])))
        self.assertEqual(connection.recv(1), b"")
        connection.close()
        wait_until(lambda: raw.ask(request(2, "Broker.List"))["result"]["sockets"] == [])
        self.assertTrue(raw.quiet())

    def test_a_wrong_one_is_not_answered_either(self):
        raw = self.open_raw()
        raw.write_line(json.dumps(notification("No.Such")))
        raw.write_line(json.dumps(notification("TCPSend", ["x"])))
        raw.write_line(json.dumps(notification("TCPSend", [1234567, "x"])))
        self.assertEqual(raw.ask(request(1, "Broker.Hello"))["id"], 1)
        self.assertTrue(raw.quiet())

    def test_id_null_is_a_request(self):
        raw = self.open_raw()
        answer = raw.ask(request(None, "Broker.Hello"))
        self.assertIn("id", answer)
        self.assertIsNone(answer["id"])


class Batches(TestCase):
    def test_a_batch_is_answered_by_one_array(self):
        raw = self.open_raw()
        answer = raw.ask([request(1, "Broker.Hello"), request(2, "No.Such"), notification("Broker.Hello"),
                          request(3, "TCPName2Addr", ["127.0.0.1"])])
        self.assertIsInstance(answer, list)
        members = {member["id"]: member for member in answer}
        self.assertEqual(len(answer), 3)
        self.assertIn("result", members[1])
        self.check_error(members[2]["error"], -32601, "METHOD_NOT_FOUND")
        self.assertEqual(members[3]["result"]["address"], "127.0.0.1")
        self.assertTrue(raw.quiet())

    def test_an_empty_batch_is_an_error(self):
        answer = self.open_raw().ask("[]")
        self.assertIsInstance(answer, dict)
        self.assertIsNone(answer["id"])
        self.check_error(answer["error"], -32600, "INVALID_REQUEST")

    def test_the_examples_of_the_specification(self):
        raw = self.open_raw()
        answer = raw.ask("[1]")
        self.assertIsInstance(answer, list)
        self.assertEqual(len(answer), 1)
        self.check_error(answer[0]["error"], -32600, "INVALID_REQUEST")
        self.assertIsNone(answer[0]["id"])
        answer = raw.ask("[1,2,3]")
        self.assertEqual([member["error"]["code"] for member in answer], [-32600] * 3)
        answer = raw.ask('[{"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method"]')
        self.assertIsInstance(answer, dict)
        self.check_error(answer["error"], -32700, "PARSE_ERROR")
        answer = raw.ask([{"foo": "boo"}, request("9", "Broker.Hello")])
        self.assertEqual(len(answer), 2)
        by_id = {member["id"]: member for member in answer}
        self.assertEqual(by_id[None]["error"]["code"], -32600)
        self.assertIn("result", by_id["9"])

    def test_notifications_only_are_not_answered(self):
        raw = self.open_raw()
        raw.write_line(json.dumps([notification("Broker.Hello"), notification("No.Such")]))
        self.assertEqual(raw.ask(request(1, "Broker.Hello"))["id"], 1)
        self.assertTrue(raw.quiet())

    def test_one_id_twice_in_a_batch(self):
        answer = self.open_raw().ask([request(1, "TCPName2Addr", ["localhost"]), request(1, "TCPName2Addr", ["localhost"])])
        kinds = sorted(str(member.get("error", {}).get("code", "result")) for member in answer)
        self.assertEqual(kinds, ["-32600", "result"])

    def test_members_run_concurrently_and_the_answer_waits_for_all(self):
        peer = self.use(servers.Peer())
        raw = self.open_raw()
        number = raw.ask(request("c", "TCPConnect", ["127.0.0.1", peer.port]))["result"]["socket"]
        connection = peer.take()
        raw.write_line(json.dumps([request(1, "TCPReceive", [number]), request(2, "TCPSend", [number, "go"])]))
        self.assertEqual(servers.read_exactly(connection, 2), b"go")
        self.assertIn("result", raw.ask(request(3, "Broker.Hello")), "others are not held up")
        connection.sendall(b"reply")
        answer = {member["id"]: member["result"] for member in raw.read()}
        self.assertEqual(answer, {1: {"received": 5, "data": "reply"}, 2: {"sent": 2}})

    def test_a_batch_within_a_batch(self):
        answer = self.open_raw().ask([[request(1, "Broker.Hello")], request(2, "Broker.Hello")])
        self.assertEqual(sorted(str(member["id"]) for member in answer), ["2", "None"])

    def test_a_long_batch(self):
        answer = self.open_raw().ask([request(i, "Broker.Cancel", [10**6 + i]) for i in range(500)])
        self.assertEqual(sorted(member["id"] for member in answer), list(range(500)))
        self.assertTrue(all(member["result"] == {"cancelled": False} for member in answer))

    def test_half_close_after_a_batch(self):
        raw = self.open_raw()
        raw.write(json.dumps([request(1, "TCPName2Addr", ["127.0.0.1"])]))
        raw.half_close()
        answers = raw.rest()
        self.assertEqual(len(answers), 1)
        self.assertEqual(answers[0][0]["id"], 1)


class Envelope(TestCase):
    def test_wrong_envelopes(self):
        raw = self.open_raw()
        for change in ({"jsonrpc": "1.0"}, {"jsonrpc": 2.0}, {"jsonrpc": None}, {"method": 1}, {"method": None},
                       {"params": "text"}, {"params": 1}, {"params": True}, {"extra": 1}):
            with self.subTest(change=change):
                answer = raw.ask({**request(5, "Broker.Hello"), **change})
                self.assertEqual(answer["id"], 5)
                self.assertIn(answer["error"]["code"], (-32600, -32602))
                self.check_error(answer["error"], answer["error"]["code"], answer["error"]["data"]["symbol"], "request")

    def test_missing_members(self):
        raw = self.open_raw()
        for name in ("jsonrpc", "method"):
            message = request(5, "Broker.Hello")
            del message[name]
            answer = raw.ask(message)
            self.check_error(answer["error"], -32600, "INVALID_REQUEST", "request", False)

    def test_duplicate_members_of_the_envelope(self):
        raw = self.open_raw()
        for line in ('{"jsonrpc":"2.0","id":1,"id":2,"method":"Broker.Hello"}',
                     '{"jsonrpc":"2.0","id":1,"method":"Broker.Hello","method":"Broker.Stats"}'):
            self.assertIn(raw.ask(line)["error"]["code"], (-32600, -32700))

    def test_member_names_are_case_sensitive(self):
        answer = self.open_raw().ask('{"jsonrpc":"2.0","id":1,"Method":"Broker.Hello"}')
        self.assertEqual(answer["error"]["code"], -32600)
        answer = self.open_raw().ask('{"jsonrpc":"2.0","id":1,"method":"broker.hello"}')
        self.assertEqual(answer["error"]["code"], -32601)

    def test_an_answer_has_exactly_its_members(self):
        raw = self.open_raw()
        self.assertEqual(set(raw.ask(request(1, "Broker.Hello"))), {"jsonrpc", "id", "result"})
        self.assertEqual(set(raw.ask(request(1, "Nope"))), {"jsonrpc", "id", "error"})

    def test_by_position_and_by_name(self):
        server = self.use(servers.Server())
        first = self.client.call("TCPConnect", ["127.0.0.1", server.port, False, True])["socket"]
        second = self.client.call("TCPConnect", {"hostname": "127.0.0.1", "port": server.port})["socket"]
        self.assertEqual(self.client.call("TCPSend", [first, "abc"]), {"sent": 3})
        self.assertEqual(self.client.call("TCPSend", {"socket": second, "data": "def"}), {"sent": 3})
        self.assertEqual(self.client.call("TCPReceive", [first, 2])["data"], "ab")
        self.assertEqual(self.client.call("TCPReceive", {"socket": second, "max_bytes": 2})["data"], "de")
        self.assertEqual(self.client.call("TCPBlock", [first, 1]), {"status": 0})
        self.assertEqual(self.client.call("TCPGetRemoteAddr", [first]), {"address": "127.0.0.1", "port": server.port})
        self.assertEqual(self.client.call("TCPClose", [first, 2])["status"], 0)
        self.assertEqual(self.client.call("TCPClose", {"socket": second, "option": 2})["status"], 0)

    def test_port_as_service_and_as_text(self):
        server = self.use(servers.Server())
        for params in ({"hostname": "127.0.0.1", "service": server.port}, {"hostname": "127.0.0.1", "port": str(server.port)},
                       ["127.0.0.1", str(server.port)]):
            self.assertGreater(self.client.call("TCPConnect", params)["socket"], 0)

    def test_no_params_in_three_ways(self):
        raw = self.open_raw()
        for params in (None, [], {}):
            self.assertIn("result", raw.ask(request(1, "Broker.Stats", params)))

    def test_every_kind_of_error_has_its_shape(self):
        port = servers.closed_port()
        for code, symbol, method, params in (
                (-32601, "METHOD_NOT_FOUND", "Nope", None),
                (-32602, "INVALID_PARAMS", "TCPSend", []),
                (-10038, "ENOTSOCK", "TCPSend", [999999, "x"]),
                (-10061, "ECONNREFUSED", "TCPConnect", ["127.0.0.1", port])):
            with self.subTest(symbol=symbol):
                self.fails(code, symbol, method, params)

    def test_tokens_are_not_made_for_nobody(self):
        with Raw(self.daemon) as raw:
            number = raw.ask({"jsonrpc": "2.0", "id": 1, "method": "TCPSocket"})["result"]["socket"]
            raw.write_line(json.dumps({"jsonrpc": "2.0", "method": "TCPOffer", "params": [number]}))
            raw.write_line(json.dumps({"jsonrpc": "2.0", "method": "Session.Open", "params": [60000]}))
            answer = raw.ask({"jsonrpc": "2.0", "id": 2, "method": "Broker.Stats"})
            self.assertEqual((answer["id"], answer["result"]["offers"], answer["result"]["sessions_durable"]), (2, 0, 0))
            answer = raw.ask({"jsonrpc": "2.0", "id": 3, "method": "TCPBind", "params": [number, 0]})
            self.assertIn("result", answer)


if __name__ == "__main__":
    main()
