"""64 threads of one program over one connection, each with its own sockets: no wrong answer, no lost byte, no way in."""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from ca import certificates
from harness import RpcError, TestCase, main, seconds

N_THREADS = 64
N_PAIRS = 100032 if os.environ.get("TCPBROKER_FULL") else 6400  # 64 threads, as many turns each


class Threads(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.DAEMON_ARGS = ("--cacerts", certificates().cacerts)
        super().setUpClass()

    def test_64_threads_over_one_connection(self):
        plain = self.use(servers.Server())
        secure = self.use(servers.Server(tls=servers.tls_context()))
        ready = threading.Barrier(N_THREADS)
        sockets = [None] * N_THREADS
        failures, refused, pairs = [], [0] * N_THREADS, [0] * N_THREADS

        def work(index):
            label = index if index % 2 else f"thread-{index}"
            chance = random.Random(index)
            try:
                mine = [self.client.connect(server.port, secure=server is secure, thread=label, answer_timeout=60)
                        for server in (plain, secure)]
                sockets[index] = mine
                ready.wait(seconds(120))
                for turn in range(N_PAIRS // N_THREADS):
                    number = mine[turn % 2]
                    text = f"{index}:{turn}:" + "é" * chance.randrange(0, 200) + "\n"
                    id = self.client.send("TCPSend", socket=number, data=text, thread=label)
                    back = self.client.call("TCPReceive", socket=number, until="\n", thread=label, answer_timeout=60)
                    sent = self.client.wait(id, 60)
                    n = len(text.encode())
                    if sent != {"sent": n} or back != {"received": n, "data": text}:
                        failures.append((index, turn, sent, str(back)[:200]))
                        return
                    pairs[index] += 1
                    if turn % 10 == 0:
                        other = (index + 1 + chance.randrange(N_THREADS - 1)) % N_THREADS
                        method, params = chance.choice((("TCPSend", {"data": "intruder"}), ("TCPReceive", {}),
                                                        ("TCPClose", {"option": 2}), ("TCPBlock", {"option": 1})))
                        try:
                            result = self.client.call(method, socket=chance.choice(sockets[other]), thread=label,
                                                      answer_timeout=60, **params)
                            failures.append((index, "got in", method, result))
                        except RpcError as error:
                            owner = other if other % 2 else f"thread-{other}"
                            if (error.code, error.data.get("owner")) != (-33001, owner):
                                failures.append((index, str(error)))
                        refused[index] += 1
            except BaseException as error:  # judged below
                failures.append((index, repr(error)))
                ready.abort()

        threads = [threading.Thread(target=work, args=(index,)) for index in range(N_THREADS)]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(seconds(1200 if N_PAIRS > 10000 else 120))
            self.assertFalse(thread.is_alive(), "a thread waits for ever")
        took = time.monotonic() - started
        self.assertEqual(failures[:5], [])
        self.assertEqual(sum(pairs), N_PAIRS)
        self.assertGreaterEqual(sum(refused), N_PAIRS // 10)
        stats = self.client.call("Broker.Stats")
        self.assertEqual(stats["not_owner"], sum(refused))
        self.assertEqual(stats["bytes_in"], stats["bytes_out"])
        print(f"\n  {sum(pairs)} pairs by {N_THREADS} threads in {took:.1f} s; {sum(refused)} intrusions refused")

    def test_one_label_from_two_connections_is_two_owners(self):
        server = self.use(servers.Server())
        number = self.client.connect(server.port, thread="same")
        error = self.open_client().error("TCPSend", socket=number, data="x", thread="same")
        self.check_error(error, -33001, "NOT_OWNER")

    def test_many_connections_at_once(self):
        server = self.use(servers.Server())
        failures = []

        def work(index):
            try:
                client = self.open_client()
                for turn in range(10):
                    number = client.connect(server.port, answer_timeout=30)
                    client.call("TCPSend", [number, f"{index}/{turn}"])
                    if client.call("TCPReceive", socket=number, exact=len(f"{index}/{turn}"))["data"] != f"{index}/{turn}":
                        failures.append((index, turn))
                    client.call("TCPClose", [number, turn % 3 and 2])
            except BaseException as error:
                failures.append((index, repr(error)))
        threads = [threading.Thread(target=work, args=(index,)) for index in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(seconds(60))
        self.assertEqual(failures[:3], [])


if __name__ == "__main__":
    main()
