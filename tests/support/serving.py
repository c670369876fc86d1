"""ServerCase: what the tests of serving have in common."""
import socket

import servers
from harness import TestCase, seconds, wait_until


class ServerCase(TestCase):
    def setUp(self):
        super().setUp()
        # the clients of the test before have gone, with their descriptors
        wait_until(lambda: self.client.call("Broker.Stats")["clients"] == 1, 5, "only this client being there")

    def socket(self, **kw):
        return self.client.call("TCPSocket", **kw)["socket"]

    def bound(self, port=0, address="127.0.0.1", thread=None, **kw):
        """(number, port)"""
        label = {} if thread is None else {"thread": thread}
        number = self.socket(**kw, **label)
        where = {} if address is None else {"address": address}
        return number, self.client.call("TCPBind", socket=number, port=port, **where, **label)["port"]

    def listening(self, backlog=128, thread=None, **kw):
        number, port = self.bound(thread=thread, **kw)
        label = {} if thread is None else {"thread": thread}
        self.assertEqual(self.client.call("TCPListen", socket=number, backlog=backlog, **label), {"status": 0})
        return number, port

    def dial(self, port, address="127.0.0.1", timeout=10):
        sock = socket.create_connection((address, port), seconds(timeout))
        self.addCleanup(sock.close)
        return sock

    def refuses(self, port, address="127.0.0.1"):
        with self.assertRaises(ConnectionRefusedError):
            self.dial(port, address)

    def accept(self, number, **kw):
        return self.client.call("TCPAccept", socket=number, **kw)

    def waiting_accept(self, number, client=None, **kw):
        """A TCPAccept that has surely begun to wait: what comes behind it on the connection was answered."""
        client = client or self.client
        id = client.send("TCPAccept", socket=number, **kw)
        client.call("Broker.Hello")
        self.assertFalse(client.answered(id))
        return id

    def works(self, accepted, sock, **label):
        """Bytes go both ways."""
        number = accepted["socket"] if isinstance(accepted, dict) else accepted
        sock.sendall(b"to the server")
        self.assertEqual(self.client.call("TCPReceive", socket=number, exact=13, **label)["data"], "to the server")
        self.assertEqual(self.client.call("TCPSend", socket=number, data="to the client", **label)["sent"], 13)
        self.assertEqual(servers.read_exactly(sock, 13), b"to the client")

    def row(self, number):
        return {row["socket"]: row for row in self.client.call("Broker.List")["sockets"]}[number]

    def is_reset(self, sock):
        with self.assertRaises(ConnectionResetError):
            if not sock.recv(1):
                self.fail("an orderly end instead of a reset")
