"""Starting and stopping: SIGTERM while busy, the drain, the second SIGTERM, the socket file of the dead and of the living."""
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from ca import certificates
from harness import SLOW, Client, Closed, Daemon, Elapsed, OwnDaemonTestCase, Raw, daemon_path, main, seconds, wait_until


class StopCase(OwnDaemonTestCase):
    """Each test has its own daemon."""

    def start(self, drain="3s", **kw):
        self.daemon = self.use(Daemon("--set", f"stop.drain_timeout={drain}", "--cacerts", certificates().cacerts, **kw))
        self.client = Client(self.daemon)
        self.addCleanup(self.client.close)
        self.client.call("Broker.Hello")
        return self.client

    def stopping(self):
        """SIGTERM, and the daemon has seen it."""
        self.daemon.terminate()
        self.daemon.wait_log(r"(?i)sigterm|drain|stopping|shutting down")

    def exited(self, at_most_ms, at_least_ms=0):
        started = time.monotonic()
        self.assertEqual(self.daemon.wait_exit(30), 0)
        took = (time.monotonic() - started) * 1000
        self.assertLess(took, at_most_ms * SLOW)
        self.assertGreaterEqual(took, at_least_ms)


class Stop(StopCase):
    def test_idle(self):
        self.start()
        self.daemon.terminate()
        self.exited(1500)
        self.assertFalse(os.path.exists(self.daemon.socket_path), "its socket file is gone")

    def test_by_interrupt(self):
        self.start()
        self.daemon.process.send_signal(signal.SIGINT)
        self.exited(1500)

    def test_with_open_sockets_and_no_request_running(self):
        client = self.start()
        peer = self.use(servers.Peer())
        secure = self.use(servers.Peer(tls=servers.tls_context()))
        client.connect(peer.port)
        client.connect(secure.port, secure=True)
        connections = [peer.take(), secure.take()]
        self.daemon.terminate()
        self.exited(2000)
        for connection in connections:
            try:
                self.assertEqual(connection.recv(1), b"")
            except ConnectionResetError:
                pass

    def test_running_requests_finish(self):
        client = self.start("10s")
        peer = self.use(servers.Peer())
        numbers = [client.connect(peer.port) for _ in range(3)]
        connections = [peer.take() for _ in numbers]
        receive = client.send("TCPReceive", socket=numbers[0], exact=4)
        sends = [client.send("TCPSend", [numbers[1], "d" * 300000]) for _ in range(20)]
        closing = client.send("TCPClose", [numbers[2]])
        self.assertEqual(connections[2].recv(1), b"")
        self.stopping()
        self.assertTrue(self.daemon.alive())
        connections[0].sendall(b"done")
        self.assertEqual(client.wait(receive)["data"], "done")
        servers.read_exactly(connections[1], 20 * 300000)
        for id in sends:
            self.assertEqual(client.wait(id)["sent"], 300000)
        connections[2].close()
        self.assertEqual(client.wait(closing)["status"], 0)
        self.exited(3000)

    def test_the_rest_is_answered_when_the_drain_is_over(self):
        # a thread that hangs in the system's resolver cannot be joined: it is left behind
        client = self.start("700ms", resolver=True, env={"TSAN_OPTIONS": "report_thread_leaks=0"})
        peer = self.use(servers.Peer())
        staller = self.use(servers.Server(servers.stall_handshake))
        hole = self.use(servers.BlackHole())
        number, other = client.connect(peer.port), client.connect(peer.port)
        kept = [peer.take(), peer.take()]
        ids = {"receive": client.send("TCPReceive", [number]),
               "connect": client.send("TCPConnect", ["127.0.0.1", hole.port]),
               "handshake": client.send("TCPConnect", ["127.0.0.1", staller.port, True]),
               "look-up": client.send("TCPName2Addr", ["hang-stop.test"]),
               "reverse": client.send("TCPAddr2Name", ["127.66.0.1"])}
        sends = [client.send("TCPSend", [other, "r" * 300000]) for _ in range(20)]
        wait_until(lambda: staller.accepted == 1)
        with Elapsed() as elapsed:
            self.daemon.terminate()
            for what, id in ids.items():
                with self.subTest(what=what):
                    self.check_error(client.answer(id)["error"], -33005, "SHUTTING_DOWN", retryable=True)
            answers = [client.answer(id) for id in sends]
        self.assertGreater(elapsed.ms, 650)
        self.assertLess(elapsed.ms, 700 + 800 * SLOW)
        unfinished = [answer["error"] for answer in answers if "error" in answer]
        self.assertGreater(len(unfinished), 0)
        for error in unfinished:
            self.assertIsInstance(self.check_error(error, -33005, "SHUTTING_DOWN")["sent"], int)
        self.exited(3000)
        self.assertEqual(len(kept), 2)

    def test_new_requests_during_the_drain(self):
        client = self.start("8s")
        peer = self.use(servers.Peer())
        number = client.connect(peer.port)
        connection = peer.take()
        receive = client.send("TCPReceive", [number])
        self.stopping()
        # the thread that serves the client may hear of it a moment later
        wait_until(lambda: "error" in client.answer(client.send("TCPName2Addr", ["127.0.0.1"]), 3))
        for method, params in (("TCPConnect", ["127.0.0.1", peer.port]), ("TCPName2Addr", ["127.0.0.1"])):
            error = client.error(method, params, answer_timeout=3)
            self.check_error(error, -33005, "SHUTTING_DOWN", "broker", True)
        connection.sendall(b"x")
        self.assertEqual(client.wait(receive)["data"], "x")
        self.exited(3000)

    def test_new_clients_during_the_drain(self):
        client = self.start("8s")
        peer = self.use(servers.Peer())
        number = client.connect(peer.port)
        connection = peer.take()
        receive = client.send("TCPReceive", [number])
        self.stopping()
        try:
            with Raw(self.daemon, timeout=3) as raw:
                answer = raw.ask({"jsonrpc": "2.0", "id": 1, "method": "TCPConnect", "params": ["127.0.0.1", peer.port]})
                if answer is not None:
                    self.check_error(answer["error"], -33005, "SHUTTING_DOWN")
        except OSError:
            pass  # it listens no more
        connection.sendall(b"x")
        client.wait(receive)
        self.exited(3000)

    def test_a_second_sigterm_ends_at_once(self):
        client = self.start("30s")
        peer = self.use(servers.Peer())
        number = client.connect(peer.port)
        connection = peer.take()
        receive = client.send("TCPReceive", [number])
        self.stopping()
        self.assertTrue(self.daemon.alive())
        self.daemon.terminate()
        self.check_error(client.answer(receive)["error"], -33005, "SHUTTING_DOWN")
        self.exited(2000)
        connection.close()

    def test_signals_until_its_end(self):
        """Also one that comes while the last things are put away."""
        self.start()

        def ended():
            self.daemon.terminate()
            return not self.daemon.alive()
        wait_until(ended, step=0.0005)
        self.assertEqual(self.daemon.wait_exit(), 0)
        self.assertFalse(os.path.exists(self.daemon.socket_path))

    def test_a_drain_of_no_time(self):
        client = self.start("0")
        peer = self.use(servers.Peer())
        number = client.connect(peer.port)
        connection = peer.take()
        receive = client.send("TCPReceive", [number])
        client.call("Broker.Hello")
        self.daemon.terminate()
        self.check_error(client.answer(receive)["error"], -33005, "SHUTTING_DOWN")
        self.exited(2000)
        connection.close()

    def test_a_client_that_never_reads_does_not_hold_it_up(self):
        self.start("500ms")
        raw = Raw(self.daemon)
        self.addCleanup(raw.close)
        raw.sock.setblocking(False)
        line = b'{"jsonrpc":"2.0","id":%d,"method":"Broker.Errors"}\n'
        try:
            for i in range(50000):
                raw.sock.send(line % i)
        except BlockingIOError:
            pass
        self.daemon.terminate()
        self.exited(3500)

    def test_under_load(self):
        client = self.start("2s")
        server = self.use(servers.Server())
        stop = threading.Event()
        wrong = []

        def work():
            try:
                with Client(self.daemon) as mine:
                    while not stop.is_set():
                        try:
                            number = mine.connect(server.port)
                            mine.call("TCPSend", [number, "load"])
                            mine.call("TCPReceive", socket=number, exact=4)
                            mine.call("TCPClose", [number, 2])
                        except Exception as error:  # judged below
                            if getattr(error, "code", None) not in (-33005, -10053) and not isinstance(
                                    error, (Closed, OSError)):
                                wrong.append(repr(error))
                            return
            except (Closed, OSError):
                pass
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        wait_until(lambda: client.call("Broker.Stats")["connects_ok"] > 100)
        self.daemon.terminate()
        self.exited(6000)
        stop.set()
        for thread in threads:
            thread.join(seconds(10))
            self.assertFalse(thread.is_alive(), "a request was never answered")
        self.assertEqual(wrong, [])


class SocketFile(StopCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="tcpbroker-socket-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.path = os.path.join(self.folder, "broker.sock")

    def hello(self):
        with Client(self.path) as client:
            return client.call("Broker.Hello")

    def run_to_end(self, *arguments):
        return subprocess.run([daemon_path(), *arguments], capture_output=True, text=True, timeout=seconds(20))

    def test_one_left_by_a_dead_daemon_is_replaced(self):
        with Daemon(socket_path=self.path, exit_status=-signal.SIGKILL) as first:
            first.kill()
            self.assertTrue(os.path.exists(self.path))
        with Daemon(socket_path=self.path):
            self.hello()

    def test_one_left_by_a_plain_listener_is_replaced(self):
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(self.path)
        with Daemon(socket_path=self.path):
            self.hello()

    def test_one_of_a_living_daemon_never(self):
        with Daemon(socket_path=self.path):
            before = os.stat(self.path)
            done = self.run_to_end("--socket", self.path)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(self.path, done.stderr)
            self.assertEqual(os.stat(self.path).st_ino, before.st_ino)
            self.hello()

    def test_other_files_never(self):
        for make in (lambda: open(self.path, "w", encoding="ascii").close(), lambda: os.mkdir(self.path),
                     lambda: os.symlink("nowhere", self.path)):
            make()
            done = self.run_to_end("--socket", self.path)
            self.assertIn(done.returncode, (1, 2), done.stderr)
            self.assertIn(self.path, done.stderr)
            self.assertTrue(os.path.lexists(self.path))
            (os.rmdir if os.path.isdir(self.path) else os.unlink)(self.path)

    def test_its_folder_is_made(self):
        path = os.path.join(self.folder, "new", "broker.sock")
        with Daemon(socket_path=path), Client(path) as client:
            client.call("Broker.Hello")

    def test_its_mode(self):
        with Daemon("--set", "listen.mode=0600", socket_path=self.path):
            mode = os.stat(self.path).st_mode
            self.assertTrue(stat.S_ISSOCK(mode))
            self.assertEqual(stat.S_IMODE(mode), 0o600)
        with Daemon(socket_path=self.path):
            self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode) & 0o007, 0, "not for the world")

    def test_a_path_too_long(self):
        done = self.run_to_end("--socket", os.path.join(self.folder, "x" * 120))
        self.assertIn(done.returncode, (1, 2))
        self.assertGreater(len(done.stderr), 10)


class CommandLine(unittest.TestCase):
    def run_daemon(self, *arguments):
        return subprocess.run([daemon_path(), *arguments], capture_output=True, text=True, timeout=seconds(20))

    def test_help_and_version(self):
        done = self.run_daemon("--help")
        self.assertEqual(done.returncode, 0)
        for option in ("--config", "--socket", "--cacerts", "--set", "--check-config", "--version"):
            self.assertIn(option, done.stdout)
        done = self.run_daemon("--version")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"\d+\.\d+\.\d+")

    def test_wrong_usage(self):
        for arguments in (["--nonsense"], ["--socket"], ["--set", "x"], ["--set", "limits.lines=5"],
                          ["--set", "limits.line=many"], ["--set", "limits.line=1"], ["surplus"],
                          ["--config", "/nonexistent/file"]):
            with self.subTest(arguments=arguments):
                done = self.run_daemon(*arguments)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertGreater(len(done.stderr), 10)

    def test_check_config(self):
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
            file.write("[limits]\nline = 2M\n")
            file.flush()
            done = self.run_daemon("--check-config", file.name)
            self.assertEqual(done.returncode, 0, done.stderr)
            file.write("lime = 2\n")
            file.flush()
            done = self.run_daemon("--check-config", file.name)
            self.assertEqual(done.returncode, 2)
            text = done.stdout + done.stderr
            self.assertIn(f"{file.name}:3", text)
            self.assertIn("line", text)

    def test_check_config_asks_the_tls_library(self):
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
            file.write("[tls]\nciphers = NOSUCH\n")
            file.flush()
            done = self.run_daemon("--check-config", file.name)
            self.assertEqual(done.returncode, 2)
            self.assertIn("NOSUCH", done.stderr)

    def test_a_folder_of_certificates_that_is_not_there(self):
        done = self.run_daemon("--cacerts", "/nonexistent", "--socket", "/nonexistent/x/y/z.sock")
        self.assertIn(done.returncode, (1, 2))
        self.assertIn("/nonexistent", done.stderr)


if __name__ == "__main__":
    main()
