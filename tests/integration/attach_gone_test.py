#!/usr/bin/env python3
"""Attached streams whose descriptor was closed: nothing of them is left, however the peer ends."""
import json
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import servers  # noqa: E402
from ca import certificates  # noqa: E402
from harness import TestCase, main, wait_until  # noqa: E402

N = 60


def echo_and_reset(connection):
    """Echo until the client ends sending, then reset at once, as servers in a hurry do."""
    servers.echo(connection)
    servers.reset(connection)


class AttachGone(TestCase):
    DAEMON_ARGS = ("--cacerts", certificates().cacerts)

    def attach(self, session, port):
        session.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "TCPConnect", "params": {
            "hostname": "localhost", "port": port, "secure": True, "attach": True}}).encode() + b"\n")
        answer, fds = b"", []
        while not answer.endswith(b"\n"):
            data, more, _, _ = socket.recv_fds(session, 65536, 1)
            self.assertTrue(data)
            answer, fds = answer + data, fds + more
        self.assertIn("result", json.loads(answer), answer)
        return socket.socket(fileno=fds[0])

    def test_a_peer_that_answers_the_end_with_a_reset(self):
        server = self.use(servers.Server(echo_and_reset, tls=servers.tls_context()))
        with socket.socket(socket.AF_UNIX) as session:
            session.connect(self.daemon.socket_path)
            for _ in range(N):
                with self.attach(session, server.port) as stream:
                    stream.sendall(b"x")
                    self.assertEqual(stream.recv(1), b"x")
            # Some see the reset before the broker has told the peer the end, some after it; nobody is left to ask why.
            wait_until(lambda: self.client.call("Broker.Stats")["sockets"] == 0, timeout=10, what="the end of all of them")


if __name__ == "__main__":
    main()
