"""Strict parameters: -32602 with data.param naming the member and data.expected saying what is allowed."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from harness import TestCase, main


class Params(TestCase):
    def invalid(self, method, params, param):
        data = self.fails(-32602, "INVALID_PARAMS", method, params, stage="request", retryable=False)
        self.assertEqual(data.get("param"), param, f"{method} {params}: {data}")
        self.assertIsInstance(data.get("expected"), str)
        self.assertGreater(len(data["expected"]), 2)
        return data

    def invalid_line(self, params, param, method="TCPSend"):
        answer = self.open_raw().ask('{"jsonrpc":"2.0","id":1,"method":"%s","params":%s}' % (method, params))
        data = self.check_error(answer["error"], -32602, "INVALID_PARAMS", "request", False)
        self.assertEqual(data.get("param"), param)
        return data

    def test_unknown_members(self):
        for method, params in (("TCPConnect", {"hostname": "localhost", "port": 1, "timeout": 5}),
                               ("TCPSend", {"socket": 1, "data": "x", "timeout": 5}),
                               ("Broker.Hello", {"timeout": 5}), ("Broker.List", {"timeout": 1}),
                               ("TCPName2Addr", {"hostname": "localhost", "timeout": 1})):
            self.invalid(method, params, "timeout")

    def test_the_nearest_name_is_told(self):
        data = self.invalid("TCPConnect", {"hostname": "localhost", "port": 1, "timeout_sm": 5}, "timeout_sm")
        self.assertIn("timeout_ms", data["expected"])

    def test_names_are_case_sensitive(self):
        self.invalid("TCPConnect", {"Hostname": "localhost", "port": 1}, "Hostname")

    def test_missing_members(self):
        for method, params, param in (
                ("TCPConnect", {}, "hostname"), ("TCPConnect", None, "hostname"), ("TCPConnect", [], "hostname"),
                ("TCPConnect", {"hostname": "localhost"}, "port"), ("TCPConnect", ["localhost"], "port"),
                ("TCPSend", {"data": "x"}, "socket"), ("TCPReceive", {}, "socket"), ("TCPClose", {}, "socket"),
                ("TCPBlock", {"socket": 1}, "option"), ("TCPName2Addr", {}, "hostname"), ("TCPAddr2Name", {}, "address"),
                ("TCPGetMyPort", {}, "socket"), ("TCPGetRemoteAddr", {}, "socket"), ("Broker.Cancel", {}, "id")):
            self.invalid(method, params, param)

    def test_mistyped_members(self):
        for method, params, param in (
                ("TCPConnect", {"hostname": 1, "port": 1}, "hostname"),
                ("TCPConnect", {"hostname": None, "port": 1}, "hostname"),
                ("TCPConnect", {"hostname": ["localhost"], "port": 1}, "hostname"),
                ("TCPConnect", {"hostname": "localhost", "port": 1.5}, "port"),
                ("TCPConnect", {"hostname": "localhost", "port": True}, "port"),
                ("TCPConnect", {"hostname": "localhost", "port": None}, "port"),
                ("TCPConnect", {"hostname": "localhost", "port": 1, "secure": 1}, "secure"),
                ("TCPConnect", {"hostname": "localhost", "port": 1, "secure": "true"}, "secure"),
                ("TCPConnect", {"hostname": "localhost", "port": 1, "verify": 0}, "verify"),
                ("TCPConnect", {"hostname": "localhost", "port": 1, "timeout_ms": "5"}, "timeout_ms"),
                ("TCPConnect", {"hostname": "localhost", "port": 1, "timeout_ms": None}, "timeout_ms"),
                ("TCPConnect", {"hostname": "localhost", "port": 1, "family": 4}, "family"),
                ("TCPConnect", {"hostname": "localhost", "port": 1, "alpn": "h2"}, "alpn"),
                ("TCPConnect", {"hostname": "localhost", "port": 1, "min_tls": 1.2}, "min_tls"),
                ("TCPConnect", {"hostname": "localhost", "port": 1, "thread": True}, "thread"),
                ("TCPConnect", {"hostname": "localhost", "port": 1, "thread": 1.5}, "thread"),
                ("TCPConnect", {"hostname": "localhost", "port": 1, "thread": None}, "thread"),
                ("TCPConnect", ["localhost", 1, "yes"], "secure"),
                ("TCPSend", {"socket": "1", "data": "x"}, "socket"), ("TCPSend", {"socket": 1.0001, "data": "x"}, "socket"),
                ("TCPSend", {"socket": 1, "data": 5}, "data"), ("TCPSend", {"socket": 1, "data": ["x"]}, "data"),
                ("TCPSend", {"socket": 1, "data_base64": 5}, "data_base64"),
                ("TCPReceive", {"socket": 1, "encoding": "UTF8"}, "encoding"),
                ("TCPReceive", {"socket": 1, "until": 10}, "until"),
                ("TCPReceive", {"socket": 1, "exact": "10"}, "exact"),
                ("TCPClose", {"socket": 1, "option": "0"}, "option"), ("TCPBlock", {"socket": 1, "option": True}, "option"),
                ("TCPName2Addr", {"hostname": "localhost", "ipv6": "yes"}, "ipv6"),
                ("Broker.Cancel", {"id": [1]}, "id"), ("Broker.Hello", {"client": 1}, "client"),
                ("Broker.Hello", {"protocol": "1"}, "protocol")):
            self.invalid(method, params, param)

    def test_out_of_range(self):
        for method, params, param in (
                ("TCPConnect", {"hostname": "", "port": 1}, "hostname"),
                ("TCPConnect", {"hostname": "a" * 254, "port": 1}, "hostname"),
                ("TCPConnect", {"hostname": ".localhost", "port": 1}, "hostname"),
                ("TCPConnect", {"hostname": "local host", "port": 1}, "hostname"),
                ("TCPConnect", {"hostname": "localhost", "port": 0}, "port"),
                ("TCPConnect", {"hostname": "localhost", "port": -1}, "port"),
                ("TCPConnect", {"hostname": "localhost", "port": 65536}, "port"),
                ("TCPConnect", {"hostname": "localhost", "port": "65536"}, "port"),
                ("TCPConnect", {"hostname": "localhost", "port": ""}, "port"),
                ("TCPConnect", {"hostname": "localhost", "port": 2**62}, "port"),
                ("TCPConnect", {"hostname": "localhost", "port": 1, "timeout_ms": -1}, "timeout_ms"),
                ("TCPConnect", {"hostname": "localhost", "port": 1, "family": "ipv5"}, "family"),
                ("TCPConnect", {"hostname": "localhost", "port": 1, "min_tls": "1.1"}, "min_tls"),
                ("TCPConnect", {"hostname": "localhost", "port": 1, "alpn": []}, "alpn"),
                ("TCPConnect", {"hostname": "localhost", "port": 1, "alpn": [""]}, "alpn"),
                ("TCPConnect", {"hostname": "localhost", "port": 1, "alpn": ["a" * 256]}, "alpn"),
                ("TCPConnect", {"hostname": "localhost", "port": 1, "alpn": [1]}, "alpn"),
                ("TCPConnect", {"hostname": "localhost", "port": 1, "secure": True, "server_name": ""}, "server_name"),
                ("TCPConnect", {"hostname": "localhost", "port": 1, "secure": True, "server_name": ".x"}, "server_name"),
                ("TCPConnect", {"hostname": "localhost", "port": 1, "thread": ""}, "thread"),
                ("TCPConnect", {"hostname": "localhost", "port": 1, "thread": "t" * 65}, "thread"),
                ("TCPConnect", {"hostname": "localhost", "port": 1, "thread": "ä" * 33}, "thread"),
                ("TCPSend", {"socket": 0, "data": "x"}, "socket"), ("TCPSend", {"socket": -1, "data": "x"}, "socket"),
                ("TCPSend", {"socket": 2**31, "data": "x"}, "socket"),
                ("TCPReceive", {"socket": 1, "max_bytes": 0}, "max_bytes"),
                ("TCPReceive", {"socket": 1, "max_bytes": -5}, "max_bytes"),
                ("TCPReceive", {"socket": 1, "exact": 0}, "exact"), ("TCPReceive", {"socket": 1, "until": ""}, "until"),
                ("TCPReceive", {"socket": 1, "timeout_ms": -1}, "timeout_ms")):
            self.invalid(method, params, param)

    def test_longest_names_pass_the_check(self):
        name = ".".join(["a" * 49] * 5 + ["abc"])
        self.assertEqual(len(name), 253)
        error = self.client.error("TCPName2Addr", [name])
        self.assertNotEqual(error.code, -32602)

    def test_port_given_twice(self):
        self.invalid("TCPConnect", {"hostname": "localhost", "port": 1, "service": 1}, "service")

    def test_duplicate_members(self):
        self.invalid_line('{"socket":1,"socket":2,"data":"x"}', "socket")
        self.invalid_line('{"socket":1,"data":"x","data":"x"}', "data")
        self.invalid_line('{"hostname":"localhost","port":1,"h\\u006fstname":"x"}', "hostname", "TCPConnect")

    def test_too_many_by_position(self):
        for method, params in (("TCPConnect", ["localhost", 1, False, True, 5]), ("TCPSend", [1, "x", "y"]),
                               ("Broker.List", [1]), ("TCPBlock", [1, 0, 0])):
            error = self.client.error(method, params)
            data = self.check_error(error, -32602, "INVALID_PARAMS", "request", False)
            self.assertIn("expected", data)

    def test_base64_is_strict(self):
        server = self.use(servers.Server())
        number = self.client.connect(server.port)
        for text in ("A", "AA", "AAA", "AA=A", "A===", "====", "AAAA ", " AAAA", "AA\nAA", "AA==AAAA", "A-_A", "AAA=\n",
                     "AB==", "AAB=", "AAAA=", "Ä===", "QQ=="[:3]):
            with self.subTest(text=text):
                self.invalid("TCPSend", {"socket": number, "data_base64": text}, "data_base64")
        self.assertEqual(self.client.call("TCPSend", socket=number, data_base64="QQ=="), {"sent": 1})
        self.assertEqual(self.client.call("TCPReceive", [number])["data"], "A")

    def test_data_and_its_base64(self):
        number = self.client.connect(self.use(servers.Server()).port)
        data = self.fails(-32602, "INVALID_PARAMS", "TCPSend", {"socket": number, "data": "x", "data_base64": "QQ=="})
        self.assertIn(data["param"], ("data", "data_base64"))
        data = self.fails(-32602, "INVALID_PARAMS", "TCPSend", {"socket": number})
        self.assertIn(data["param"], ("data", "data_base64"))

    def test_exact_and_until_exclude_each_other(self):
        number = self.client.connect(self.use(servers.Server()).port)
        data = self.fails(-32602, "INVALID_PARAMS", "TCPReceive", {"socket": number, "exact": 5, "until": "x"})
        self.assertIn(data["param"], ("exact", "until"))

    def test_wrong_params_change_nothing(self):
        number = self.client.connect(self.use(servers.Server()).port)
        self.invalid("TCPClose", {"socket": number, "options": 2}, "options")
        self.client.call("TCPSend", [number, "still there"])
        self.assertEqual(self.client.call("TCPReceive", socket=number, exact=11)["data"], "still there")


if __name__ == "__main__":
    main()
