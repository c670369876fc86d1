"""docs/omnis.md: what it says beside its exchanges, which protocol_test.py runs."""
import os
import re
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from ca import certificates
from harness import ROOT, TestCase, main

COMMANDS = ("TCPConnect", "TCPSend", "TCPReceive", "TCPClose", "TCPBlock", "TCPSocket", "TCPBind", "TCPListen",
            "TCPAccept", "TCPGetMyAddr", "TCPGetMyPort", "TCPGetRemoteAddr", "TCPName2Addr", "TCPAddr2Name", "TCPPing")
with open(os.path.join(ROOT, "docs", "omnis.md"), encoding="utf-8") as file:
    TEXT = file.read()


def rows(title):
    """The cells of the tables of a section."""
    part = TEXT.split(f"\n## {title}", 1)[1].split("\n## ", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines()
            if line.startswith("| ") or line.startswith("|-")]


class Document(TestCase):
    def test_each_command_has_its_row(self):
        told = [row for row in rows("Command by command") if row[0] not in ("Omnis command", "---")]
        self.assertEqual([row[0].split()[0] for row in told], [*COMMANDS, "WebDevSetConfig", "WebDevGetSecureError"])
        methods = {method["name"]: method for method in self.client.call("rpc.discover")["methods"]}
        for row, command in zip(told, COMMANDS):
            self.assertTrue(row[1].startswith(command), row)
            # what stands for `Returns` is a member of the result
            member = row[2].strip("`")
            self.assertIn(member, methods[command]["result"]["schema"]["properties"])

    def test_methods_options_and_errors_are_there(self):
        works = self.client.call("Broker.Hello")["methods"]
        for method in set(re.findall(r"\b(?:Session|Broker)\.[A-Z]\w+", TEXT)):
            self.assertIn(method, works)
        with open(os.path.join(ROOT, "config", "options.def"), encoding="utf-8") as file:
            options = re.findall(r'^OPTION\((\w+), (\w+), \w+, "([^"]*)"', file.read(), re.M)
        values = {f"{section}.{key}": value for section, key, value in options}
        named = set(re.findall(r"`((?:connect|io|tls|limits|stop)\.\w+)`", TEXT))
        self.assertGreater(len(named), 4)
        self.assertEqual(named - values.keys(), set())
        for name, value in (("connect.timeout", "60s"), ("connect.lookup_timeout", "30s"), ("io.close_timeout", "5s"),
                            ("tls.cacerts", "/etc/tcpbroker/cacerts")):
            self.assertEqual(values[name], value)

    def test_the_numbers_of_the_broker_are_its_own(self):
        known = {error["code"]: error["symbol"] for error in self.client.call("Broker.Errors")["errors"]}
        named = re.findall(r"(-\d+) \(([A-Z_]+)\)", TEXT)
        self.assertGreater(len(named), 15)
        for code, symbol in named:
            self.assertEqual(known.get(int(code)), symbol, code)
        part = TEXT.split("## Error numbers", 1)[1].split("\n## ", 1)[0]
        self.assertIn("-517, -1012, -1015, -1018, -1024 to -1029,\n-1031, and -1 of TCPPing", part)
        for code in (-517, -1012, -1015, -1018, *range(-1029, -1023), -1031, -1):
            self.assertIn(code, known)
        # what is said not to occur, or to be another one, is not in the table
        for cells in rows("Error numbers"):
            if len(cells) == 3 and cells[0].startswith("-") and cells[0] != "---":
                for first, last in re.findall(r"(-\d+)(?: to (-\d+))?", cells[0]):
                    for code in range(int(last or first), int(first) + 1):
                        self.assertNotIn(code, known)
        # and all of the broker's own are told
        for code in known:
            if code <= -33001 and known[code] != "ATTACHED":
                self.assertIn(str(code), part)


class Statements(TestCase):
    DAEMON_ARGS = ("--cacerts", certificates().cacerts)

    def test_at_most_65536_bytes(self):
        peer = self.use(servers.Peer())
        number = self.client.connect(peer.port)
        connection = peer.take()
        connection.sendall(b"x" * 200000)
        total = 0
        while total < 200000:
            received = self.client.call("TCPReceive", [number])["received"]
            self.assertLessEqual(received, 65536)
            total += received
        self.assertEqual(self.client.call("TCPClose", [number, 2]), {"status": 0, "discarded": 0})
        with self.assertRaises(ConnectionResetError):
            connection.recv(1)

    def test_names_and_addresses(self):
        host = self.client.call("TCPGetMyAddr")["address"]
        self.assertEqual(self.client.call("TCPGetMyAddr", [0, False])["address"], host)
        self.assertEqual(self.client.call("TCPName2Addr", [socket.gethostname()])["address"], host)
        answer = self.client.answer(self.client.send("TCPAddr2Name", ["::1"]))
        if "error" in answer:  # whether ::1 has a name is up to the host
            self.assertLess(answer["error"]["code"], -11000)
        for size in (0, 16385):
            self.assertEqual(self.fails(-32602, "INVALID_PARAMS", "TCPPing", ["127.0.0.1", size])["param"], "size")

    def test_sockets_that_are_none(self):
        for number, code in ((1, -10038), (2147483647, -10038), (0, -32602), (-1, -32602), (2147483648, -32602),
                             ("1", -32602)):
            self.assertEqual(self.client.error("TCPSend", [number, "x"]).code, code)

    def test_the_number_of_a_socket_is_never_0_and_new_each_time(self):
        numbers = []
        for _ in range(20):
            numbers.append(self.client.call("TCPSocket")["socket"])
            self.client.call("TCPClose", [numbers[-1]])
        self.assertGreater(numbers[0], 0)
        self.assertEqual(len(set(numbers)), 20)

    def test_partial_close_of_tls(self):
        for context, works in ((servers.tls13(), True), (servers.tls12(), False)):
            server = self.use(servers.Server(tls=context))
            number = self.client.connect(server.port, "localhost", secure=True)
            if works:
                self.client.call("TCPClose", [number, 1])
            else:
                self.fails(-1018, "TLS_NO_PARTIAL_CLOSE", "TCPClose", [number, 1])

    def test_a_secure_socket_sends_as_if_blocking(self):
        server = self.use(servers.Server(servers.slow_reader, tls=servers.tls13()))
        number = self.client.connect(server.port, "localhost", secure=True)
        self.client.call("TCPBlock", [number, 1])
        for _ in range(20):
            self.assertEqual(self.client.call("TCPSend", [number, "x" * 500000])["sent"], 500000)
        self.client.call("TCPClose", [number, 2])

    def test_a_peer_that_has_gone(self):
        peer = self.use(servers.Peer())
        number = self.client.connect(peer.port)
        servers.reset(peer.take())
        for _ in range(100):
            answer = self.client.answer(self.client.send("TCPSend", [number, "x"]))
            if "error" in answer:
                break
        self.assertEqual(answer["error"]["code"], -10054)
        number = self.client.connect(peer.port)
        self.client.call("TCPClose", [number, 1])
        self.fails(-10058, "ESHUTDOWN", "TCPSend", [number, "x"])


if __name__ == "__main__":
    main()
