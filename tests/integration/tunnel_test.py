"""Tunnels: who connects to a socket file or a loopback port speaks to a server far away, by TLS that was verified for him."""
import grp
import hashlib
import os
import pwd
import random
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import servers
from ca import certificates
from doors import PAGE, DoorTestCase, HttpServer
from harness import Daemon, daemon_path, seconds, wait_until

MIB = 1 << 20


class Bytes(DoorTestCase):
    def test_both_versions_of_tls(self):
        new = self.use(servers.Server(tls=servers.tls13()))
        old = self.use(servers.Server(tls=servers.tls12()))
        self.start(self.tunnel(new.port) + self.tunnel(old.port, "b"))
        for name, version in (("a", "TLSv1.3"), ("b", "TLSv1.2")):
            with self.subTest(version):
                sock = self.enter(name)
                self.exchange(sock)
                sock.close()
                self.daemon.wait_log(rf"socket \d+ closed: tunnel {name} session \d+ uid {os.getuid()} pid {os.getpid()} "
                                     rf"host localhost address 127\.0\.0\.1 port \d+ tls {version} in 6 out 6 ms \d+ "
                                     "ended client_closed attached relay")
        self.wait_stat("tunnel_connections", 0)
        stats = self.stats()
        self.assertEqual((stats["tunnel_connections_total"], stats["tunnels_failed"], stats["handshakes_ok"], stats["sockets"]),
                         (2, 0, 2, 0))

    def test_list(self):
        server = self.use(servers.Server(tls=servers.tls13()))
        self.start(self.tunnel(server.port))
        self.exchange(self.enter())
        row, = self.rows()
        self.assertEqual({key: row[key] for key in ("state", "uid", "pid", "door", "hostname", "remote_port", "secure", "verified",
                                                    "bytes_in", "bytes_out")},
                         {"state": "attached", "uid": os.getuid(), "pid": os.getpid(), "door": "tunnel a", "hostname": "localhost",
                          "remote_port": server.port, "secure": True, "verified": True, "bytes_in": 6, "bytes_out": 6})

    def test_ls(self):
        command = os.path.join(os.path.dirname(daemon_path()), "..", "cli", "tcpbroker")
        if not os.access(command, os.X_OK) or os.getuid() != 0:
            self.skipTest("needs root, and the target tcpbroker")
        server = self.use(servers.Server(tls=servers.tls13()))
        self.start(self.tunnel(server.port))
        self.exchange(self.enter())
        done = subprocess.run([command, "--socket", self.daemon.socket_path, "ls"], capture_output=True, text=True, check=True,
                              timeout=seconds(20))
        self.assertRegex(done.stdout, rf"\n\d+ +\S+ +0 +{os.getpid()} +- +tunnel:a +attached +verified +6 +6 +localhost \(127\.0\.0\.1\) {server.port}\n")

    def test_loopback_ports(self):
        server = self.use(servers.Server(tls=servers.tls13()))
        v4, v6 = servers.closed_port(), servers.closed_port("::1")
        self.start(self.tunnel(server.port, "v4", listen=f"127.0.0.1:{v4}") + self.tunnel(server.port, "v6", listen=f"[::1]:{v6}"))
        self.exchange(self.enter(v4))
        self.exchange(self.enter(("::1", v6)))
        self.assertEqual({(row["door"], row["uid"], row["pid"]) for row in self.rows()}, {("tunnel v4", -1, 0), ("tunnel v6", -1, 0)})

    def test_plain(self):
        server = self.use(servers.Server())
        self.start(self.tunnel(server.port, secure="no") + self.tunnel(server.port, "b", host="127.0.0.1", secure="no"))
        for name in "ab":
            self.exchange(self.enter(name))
        self.assertEqual([row["secure"] for row in self.rows()], [False, False])

    def test_half_close(self):
        def digest(connection):
            data = servers.read_to_end(connection)
            connection.sendall(hashlib.sha256(data).digest())

        server = self.use(servers.Server(digest, tls=servers.tls13()))
        self.start(self.tunnel(server.port))
        sock = self.enter()
        data = os.urandom(300000)
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        self.assertEqual(servers.read_to_end(sock), hashlib.sha256(data).digest())
        self.wait_stat("tunnel_connections", 0)

    def test_the_end_of_the_server(self):
        server = self.use(servers.Server(lambda connection: connection.sendall(b"bye"), tls=servers.tls13()))
        self.start(self.tunnel(server.port))
        sock = self.enter()
        self.assertEqual(servers.read_to_end(sock), b"bye")
        sock.close()
        self.wait_stat("tunnel_connections", 0)

    def test_what_was_sent_before_it_was_connected(self):
        """Also by a program that is gone when the connection is there."""
        peer = self.use(servers.Peer(tls=servers.tls13()))
        self.start(self.tunnel(peer.port))
        sock = self.enter()
        sock.sendall(b"fire and forget")
        sock.close()
        self.assertEqual(servers.read_to_end(peer.take()), b"fire and forget")

    def test_back_pressure(self):
        """Who does not read is not read for: neither side makes the daemon grow."""
        silent = self.use(servers.Server(servers.silent, tls=servers.tls13()))
        chatter = self.use(servers.Server(servers.chatter, tls=servers.tls13()))
        self.start(self.tunnel(silent.port) + self.tunnel(chatter.port, "b"))
        self.enter("b")
        sock = self.enter()
        sock.settimeout(seconds(1))
        before, sent = self.daemon.rss_kib(), 0
        with self.assertRaises(TimeoutError):
            while sent < 256 * MIB:
                sent += sock.send(b"x" * 65536)
        self.assertLess(sent, 64 * MIB)
        if not self.daemon.sanitized():
            self.assertLess(self.daemon.rss_kib() - before, 8 * 1024)

    def test_both_directions_at_once(self):
        """Pieces of all sizes; TCPBROKER_FULL=1: 10 GiB."""
        full = os.environ.get("TCPBROKER_FULL") == "1"
        total = 10 * 1024 * MIB if full else 64 * MIB
        server = self.use(servers.Server(tls=servers.tls13()))
        self.start(self.tunnel(server.port))
        sock = self.enter(timeout=120)
        material, choose = os.urandom(4 * MIB), random.Random(7)
        sent, got = hashlib.sha256(), hashlib.sha256()

        def send():
            left = total
            while left > 0:
                n = min(left, choose.choice((1, 100, 5000, 16384, 70000, 500000)))
                at = choose.randrange(len(material) - n)
                sock.sendall(material[at:at + n])
                sent.update(material[at:at + n])
                left -= n
            sock.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=send, daemon=True)
        start = time.monotonic()
        thread.start()
        n_got = 0
        while data := sock.recv(random.choice((1000, 65536, 300000))):
            got.update(data)
            n_got += len(data)
        thread.join(seconds(10))
        took = time.monotonic() - start
        self.assertEqual(n_got, total)
        self.assertEqual(got.digest(), sent.digest())
        if full:
            sys.stderr.write(f"{total >> 20} MiB each way in {took:.1f} s: {total / MIB / took:.0f} MiB/s each way\n")

    def test_many_at_once(self):
        server = self.use(servers.Server(tls=servers.tls13()))
        self.start(self.tunnel(server.port))
        socks = [self.enter(timeout=60) for _ in range(200)]
        for i, sock in enumerate(socks):
            sock.sendall(b"%06d" % i * 1000)
        for i, sock in enumerate(socks):
            self.assertEqual(servers.read_exactly(sock, 6000), b"%06d" % i * 1000)
        self.assertEqual(self.stats()["tunnel_connections"], 200)
        for sock in socks:
            sock.close()
        self.wait_stat("tunnel_connections", 0)
        self.wait_stat("sockets", 0)
        self.assertEqual(server.handshakes, 200)

    def test_nothing_is_left_behind(self):
        server = self.use(servers.Server(tls=servers.tls13()))
        self.start(self.tunnel(server.port) + self.tunnel(servers.closed_port(), "b"))
        wait_until(lambda: self.daemon.n_sockets() > 0)
        before = self.daemon.n_sockets()
        for _ in range(20):
            with self.enter() as sock:
                self.exchange(sock)
            with self.enter("b") as sock:
                self.gone(sock)
        wait_until(lambda: self.daemon.n_sockets() <= before, what="all descriptors being closed")


class Programs(DoorTestCase):
    def run_program(self, *command, **kw):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds(30), check=False, **kw)
        except FileNotFoundError:
            self.skipTest(f"{command[0]} is not installed")
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        return done.stdout

    def test_curl(self):
        server = self.use(HttpServer(tls=servers.tls13()))
        port = servers.closed_port()
        self.start(self.tunnel(server.port) + self.tunnel(server.port, "b", listen=f"127.0.0.1:{port}"))
        self.assertEqual(self.run_program("curl", "-sS", "--unix-socket", self.path("a"), "http://localhost/x"), PAGE.decode())
        self.assertEqual(self.run_program("curl", "-sS", f"http://127.0.0.1:{port}/y"), PAGE.decode())
        self.assertEqual(server.requests, ["/x", "/y"])

    def test_psql(self):
        """PostgreSQL behind a front that takes TLS from the first byte."""
        from real_servers import PostgreSQL, TlsFront
        database = self.use(PostgreSQL(plain=True))
        front = self.use(TlsFront(database.port))
        self.start(self.tunnel(front.port, listen=self.path(".s.PGSQL.5432")))
        psql = ["psql", "-h", self.folder, "-p", "5432", "-U", database.user, "-d", "postgres", "-Atc"]
        environment = dict(os.environ, PGSSLMODE="disable", PGCONNECT_TIMEOUT="10")
        self.assertEqual(self.run_program(*psql, "select sum(n) from generate_series(1, 100000) n", env=environment), "5000050000\n")
        rows = self.run_program(*psql, "select repeat('x', 1000) from generate_series(1, 5000)", env=environment)
        self.assertEqual(rows, ("x" * 1000 + "\n") * 5000)

    def test_redis_wants_a_certificate(self):
        """The tunnel's configuration lets who may come in present the identity; its own lists name nobody."""
        from real_servers import Redis
        redis = self.use(Redis(client_certificates=True))
        chain, key = certificates().pem("mutual")
        identity = f'[identity "us"]\ncertificate = {chain}\nkey = {key}\n'
        self.start(self.tunnel(redis.port, identity="us") + self.tunnel(redis.port, "b") + identity)
        cli = ["redis-cli", "-s", self.path("a")]
        self.assertEqual(self.run_program(*cli, "SET", "name", "value"), "OK\n")
        self.assertEqual(self.run_program(*cli, "GET", "name"), "value\n")
        big = "y" * 100000
        self.assertEqual(self.run_program(*cli, "-x", "SET", "big", input=big), "OK\n")
        self.assertEqual(self.run_program(*cli, "STRLEN", "big"), "100000\n")
        # without it Redis says no, after a handshake that TLS 1.3 takes for finished
        sock = self.enter("b")
        try:
            sock.sendall(b"PING\r\n")
            self.assertIn(self.gone(sock), (b"", "reset"))
        except BrokenPipeError:
            pass


class Failures(DoorTestCase):
    def test_what_the_log_says(self):
        bad = {name: self.use(servers.Server(tls=servers.tls13(name))) for name in ("expired", "self-signed", "wrong-name")
               if name in self.certificates()}
        cut = self.use(servers.Server(servers.cut_handshake))
        hung = self.use(servers.Server(servers.stall_handshake))
        hole = self.use(servers.BlackHole())
        cases = [("refused", servers.closed_port(), {}, "ECONNREFUSED"), ("cut", cut.port, {}, "TLS_HANDSHAKE"),
                 ("hung", hung.port, {"timeout": "200ms"}, "ETIMEDOUT"), ("hole", hole.port, {"timeout": "200ms"}, "ETIMEDOUT")]
        cases += [(name, server.port, {}, "TLS_VERIFY") for name, server in bad.items()]
        port = servers.closed_port()
        text = "".join(self.tunnel(to, name, **more) for name, to, more, _ in cases)
        self.start(text + self.tunnel(1, "tcp", listen=f"127.0.0.1:{port}") + self.tunnel(1, "nowhere", host="no-such-host.invalid"),
                   resolver=True)
        for name, _, _, symbol in cases:
            with self.subTest(name):
                self.assertEqual(self.gone(self.enter(name)), b"")
                self.daemon.wait_log(rf"tunnel {name} failed: session \d+ uid {os.getuid()} pid {os.getpid()}: "
                                     rf"connecting to localhost port \d+: .* \[\w*({symbol})\w*\]")
        self.assertEqual(self.gone(self.enter("nowhere")), b"")
        self.daemon.wait_log(r"tunnel nowhere failed: .*no-such-host\.invalid.*\[(HOST_NOT_FOUND|TRY_AGAIN)\]")
        try:
            ended = self.gone(self.enter(port))
        except ConnectionResetError:
            ended = "reset"
        self.assertEqual(ended, "reset")
        self.daemon.wait_log(r"tunnel tcp failed: session \d+ uid -1 pid 0: ")
        stats = self.stats()
        self.assertEqual(stats["tunnels_failed"], len(cases) + 2)
        self.assertEqual((stats["tunnel_connections"], stats["sockets"]), (0, 0))

    @staticmethod
    def certificates():
        from ca import LEAVES
        return set(LEAVES) | {"self-signed"}

    def test_who_is_turned_away_has_sent_something(self):
        """What nobody took shall not look delivered."""
        self.start(self.tunnel(servers.closed_port()))
        sock = self.enter()
        try:
            sock.sendall(b"important")
        except BrokenPipeError:
            return
        self.assertIn(self.gone(sock), (b"", "reset"))

    def test_gone_meanwhile(self):
        """During the look-up, the dial, the handshake: given up at once."""
        hung = self.use(servers.Server(servers.stall_handshake))
        hole = self.use(servers.BlackHole())
        self.start(self.tunnel(hung.port, "handshake") + self.tunnel(hole.port, "dial") + self.tunnel(1, "lookup", host="hang-a.test"),
                   resolver=True)
        for name in ("handshake", "dial", "lookup"):
            with self.subTest(name):
                sock = self.enter(name)
                if name == "handshake":
                    wait_until(lambda: hung.accepted == 1)
                self.wait_stat("tunnel_connections", 1)
                sock.close()
                self.daemon.wait_log(rf"tunnel {name} failed: .*the program has gone meanwhile")
                self.wait_stat("tunnel_connections", 0)
        self.assertEqual(self.stats()["sockets"], 0)

    def test_gone_meanwhile_by_tcp(self):
        """A reset is seen; an orderly end may be a half close, so the attempt goes on."""
        hung = self.use(servers.Server(servers.stall_handshake))
        port = servers.closed_port()
        self.start(self.tunnel(hung.port, listen=f"127.0.0.1:{port}"))
        sock = self.enter(port)
        wait_until(lambda: hung.accepted == 1)
        servers.reset(sock)
        self.daemon.wait_log("tunnel a failed: session .*the program has gone meanwhile")
        self.wait_stat("tunnel_connections", 0)

    def test_cut_off_by_tcp(self):
        """A program that is cut off has not ended what it sent: the server must not take it for all of it."""
        for tls in (None, servers.tls13()):
            with self.subTest(tls=tls is not None):
                port = servers.closed_port()
                peer = self.use(servers.Peer(tls=tls))
                self.start(self.tunnel(peer.port, listen=f"127.0.0.1:{port}", secure="yes" if tls else "no"))
                program = socket.create_connection(("127.0.0.1", port), seconds(10))
                program.sendall(b"the first half")
                server = peer.take()
                self.assertEqual(servers.read_exactly(server, 14), b"the first half")
                servers.reset(program)
                with self.assertRaises((ConnectionResetError, ssl.SSLEOFError)):
                    self.assertEqual(server.recv(1), b"", "an orderly end")
                    self.fail("an orderly end")
                self.daemon.wait_log(r"socket \d+: the local side was cut off, so the peer is")

    def test_gone_without_a_word_by_tcp(self):
        """A killed program's end looks like a half close: keep-alive finds out that nobody is there any more."""
        server = self.use(servers.Server())
        port = servers.closed_port()
        self.start(self.tunnel(server.port, listen=f"127.0.0.1:{port}", secure="no"))
        sock = self.enter(port)
        self.exchange(sock)
        done = subprocess.run(["ss", "-tno", "state", "established", f"sport = :{port}"], capture_output=True, text=True, check=True)
        self.assertIn("timer:(keepalive,", done.stdout)

    def test_limit_of_sockets(self):
        server = self.use(servers.Server(tls=servers.tls13()))
        self.start(self.tunnel(server.port) + "[limits]\nsockets = 2\nsockets_per_session = 2\n")
        first, second = self.enter(), self.enter()
        self.exchange(first)
        self.exchange(second)
        self.assertEqual(self.gone(self.enter()), b"")
        self.daemon.wait_log(r"tunnel a failed: .*the broker has 2 sockets, which is the limit.*\[EMFILE\]")
        first.close()
        self.wait_stat("sockets", 1)
        self.exchange(self.enter())

    def test_unverified(self):
        server = self.use(servers.Server(tls=servers.tls13("self-signed")))
        self.start(self.tunnel(server.port, verify="no") + self.tunnel(server.port, "b"))
        self.exchange(self.enter())
        self.daemon.wait_log(r"warning socket \d+: the certificate of localhost was not verified \(tunnel a: verify = no\)")
        self.assertEqual(self.gone(self.enter("b")), b"")

    def test_profile_and_name(self):
        server = self.use(servers.Server(tls=servers.tls13()))
        nobody = self.path("nobody")
        os.mkdir(nobody)
        with open(certificates().pem("self-signed")[0], "rb") as source, open(os.path.join(nobody, "x.pem"), "wb") as target:
            target.write(source.read())
        self.start(self.tunnel(server.port, profile="others") + self.tunnel(server.port, "b", host="127.0.0.1", server_name="localhost") +
                   self.tunnel(server.port, "c", server_name="another.example", profile="default") +
                   f'[tls "others"]\ntrust = folder\ncacerts = {nobody}\n')
        self.assertEqual(self.gone(self.enter("a")), b"")
        self.exchange(self.enter("b"))
        self.assertIn("localhost", server.names)
        self.assertEqual(self.gone(self.enter("c")), b"")
        self.assertEqual(self.count(r"tunnel [ac] failed: "), 2)


class Files(DoorTestCase):
    def test_rights(self):
        group = grp.getgrall()[-1] if os.getuid() == 0 else grp.getgrgid(os.getgid())
        self.start(self.tunnel(1, "a", mode="0600") + self.tunnel(1, "b", group=group.gr_name) + self.tunnel(1, "c", mode="0666"))
        found = {name: os.stat(self.path(name)) for name in "abc"}
        self.assertEqual({name: stat.S_IMODE(of.st_mode) for name, of in found.items()}, {"a": 0o600, "b": 0o660, "c": 0o666})
        self.assertEqual((found["b"].st_gid, found["a"].st_gid), (group.gr_gid, os.getegid()))

    def test_folders_are_made(self):
        """As for /run/tcpbroker/doors without a service manager: the folder of a door, before that of the broker itself."""
        umask = os.umask(0o077)
        try:
            self.start(self.tunnel(1, "a", listen=self.path("run/doors/a.sock")), socket_path=self.path("run/broker.sock"))
        finally:
            os.umask(umask)
        for folder in ("run", "run/doors"):
            self.assertEqual(stat.S_IMODE(os.stat(self.path(folder)).st_mode), 0o755, folder)
        self.enter("run/doors/a.sock")
        # but no more than two of them: what is above is not ours
        self.refused(self.tunnel(1, "b", listen=self.path("x/y/z/b.sock")), 1, "error cannot listen on .*/b.sock: No such file")
        self.assertFalse(os.path.exists(self.path("x")))

    @unittest.skipIf(os.getuid() != 0, "needs root, to be somebody else")
    def test_who_may_come_in(self):
        server = self.use(servers.Server())
        self.start(self.tunnel(1, "narrow", mode="0600") + self.tunnel(1, "wide", mode="0666"))
        nobody = pwd.getpwnam("nobody")
        program = "import socket, sys; s = socket.socket(socket.AF_UNIX); print(s.connect_ex(sys.argv[1]))"
        for name, wanted in (("narrow", "13"), ("wide", "0")):
            done = subprocess.run(["/usr/bin/python3", "-c", program, self.path(name)], capture_output=True, text=True, check=True,
                                  user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[])
            self.assertEqual(done.stdout.strip(), wanted)
        self.daemon.wait_log(rf"tunnel wide failed: session \d+ uid {nobody.pw_uid} ")
        self.assertEqual(server.accepted, 0)

    def test_files_left_behind(self):
        server = self.use(servers.Server(tls=servers.tls13()))
        dead = socket.socket(socket.AF_UNIX)
        dead.bind(self.path("a"))
        dead.close()
        self.start(self.tunnel(server.port))
        self.exchange(self.enter())
        self.daemon.wait_log("replacing the socket .*/a that a dead daemon left")

    def refused(self, text, status, pattern):
        with Daemon(config=self.trusting(text), wait=False, exit_status=status) as daemon:
            daemon.wait_exit()
            self.assertRegex(daemon.log(), pattern)

    def test_start_fails_truthfully(self):
        with open(self.path("file"), "w", encoding="ascii") as file:
            file.write("mine")
        living = socket.socket(socket.AF_UNIX)
        self.addCleanup(living.close)
        living.bind(self.path("living"))
        living.listen()
        taken = self.use(servers.Server())
        self.refused(self.tunnel(1, "file"), 1, "error .*/file exists and is no socket")
        self.refused(self.tunnel(1, "living"), 1, "error .*/living is in use")
        self.refused(self.tunnel(1, "x", listen=f"127.0.0.1:{taken.port}"), 1,
                     f"error cannot listen on 127.0.0.1:{taken.port}: Address already in use")
        self.refused(self.tunnel(1, "x", group="no-such-group"), 2, r'error \[tunnel "x"\] has group = no-such-group, but there is no')
        self.refused(self.tunnel("no-such-service", "x"), 2, r'error \[tunnel "x"\]: there is no service no-such-service')
        self.refused(self.tunnel(1, "x", listen="0.0.0.0:5000"), 2, "neither an absolute path nor a port of a loopback address")
        # one that is fine beside one that is not leaves nothing behind
        self.refused(self.tunnel(1, "fine") + self.tunnel(1, "file"), 1, "exists")
        self.assertFalse(os.path.exists(self.path("fine")))
        with open(self.path("file"), encoding="ascii") as file:
            self.assertEqual(file.read(), "mine")

    def test_check_config(self):
        chain, key = certificates().pem("mutual")
        identity = f'[identity "us"]\ncertificate = {chain}\nkey = {key}\ndestinations = *.example.com:443\n'
        cases = [("", 0, "no errors"), (self.tunnel("postgresql"), 0, "no errors"),
                 (self.tunnel("no-such-service"), 2, "no service no-such-service"),
                 (self.tunnel(1, profile="p"), 2, r':\d+: \[tunnel "a"\] has profile = p, but there is no'),
                 (self.tunnel(443, host="db.example.com", identity="us") + identity, 0, "no errors"),
                 (self.tunnel(443, host="db.example.net", identity="us") + identity, 2, "the identity us may not be shown"),
                 (self.tunnel("http", host="db.example.com", identity="us") + identity, 2, "the identity us may not be shown"),
                 (self.tunnel(443, host="db.example.com", server_name="else.example", identity="us") + identity, 2, "may not be shown"),
                 (self.tunnel(443, host="db.example.com", verify="no", identity="us") + identity, 2, "verify = no")]
        for text, status, pattern in cases:
            with self.subTest(pattern):
                with open(self.path("conf"), "w", encoding="utf-8") as file:
                    file.write(self.trusting(text))
                done = subprocess.run([daemon_path(), "--check-config", self.path("conf")], capture_output=True, text=True,
                                      timeout=seconds(20), check=False)
                self.assertEqual(done.returncode, status, done.stderr)
                self.assertRegex(done.stdout + done.stderr, pattern)


class Reload(DoorTestCase):
    def test_a_port_with_an_identity_is_warned_of(self):
        chain, key = certificates().pem("mutual")
        identity = f'[identity "us"]\ncertificate = {chain}\nkey = {key}\n'
        self.start()
        self.reload(self.tunnel(1, identity="us") + identity)
        port = servers.closed_port()
        self.reload(self.tunnel(1, identity="us", listen=f"127.0.0.1:{port}") + identity)
        self.daemon.wait_log(rf"warning tunnel a: every user of this machine may present the identity us by 127\.0\.0\.1:{port}")
        self.assertEqual(self.count("every user"), 1)
        # also when a port that is there gets one
        self.reload(self.tunnel(1, listen=f"127.0.0.1:{port}"))
        self.reload(self.tunnel(2, identity="us", listen=f"127.0.0.1:{port}") + identity)
        self.assertEqual(self.count("every user"), 2)
        self.daemon.wait_log(rf"notice tunnel a listens on 127\.0\.0\.1:{port}: to localhost port 2, TLS\n")

    def test_new_changed_removed(self):
        one = self.use(servers.Server(servers.banner(b"one"), tls=servers.tls13()))
        two = self.use(servers.Server(servers.banner(b"two"), tls=servers.tls13()))
        self.start()
        self.assertFalse(os.path.exists(self.path("a")))
        self.reload(self.tunnel(one.port))
        living = self.enter()
        self.assertEqual(servers.read_exactly(living, 3), b"one")
        before = os.stat(self.path("a"))
        self.reload(self.tunnel(two.port, mode="0600"))
        after = os.stat(self.path("a"))
        self.assertEqual((before.st_ino, stat.S_IMODE(after.st_mode)), (after.st_ino, 0o600))
        self.assertEqual(servers.read_exactly(self.enter(), 3), b"two")
        self.reload(self.tunnel(one.port, "b", listen=self.path("a")))  # another name at the same place
        self.assertEqual(os.stat(self.path("a")).st_ino, before.st_ino)
        self.assertEqual(servers.read_exactly(self.enter(), 3), b"one")
        self.daemon.wait_log("tunnel b")
        self.reload("")
        self.assertFalse(os.path.exists(self.path("a")))
        self.assertEqual(sorted(row["door"] for row in self.rows()), ["tunnel a", "tunnel a", "tunnel b"])
        living.sendall(b"still there")
        living.shutdown(socket.SHUT_WR)
        self.assertEqual(servers.read_to_end(living), b"")

    def test_nothing_changes_when_anything_is_wrong(self):
        one = self.use(servers.Server(servers.banner(b"one"), tls=servers.tls13()))
        taken = self.use(servers.Server())
        self.start(self.tunnel(one.port, mode="0600"))
        with open(self.path("file"), "w", encoding="ascii"):
            pass
        cases = [(self.tunnel(1, "file"), "exists and is no socket"),
                 (self.tunnel(1, "x", listen=f"127.0.0.1:{taken.port}"), "Address already in use"),
                 (self.tunnel(1, "x", group="no-such-group"), "there is no such group"),
                 (self.tunnel(1, "x", identity="nobody"), r"tcpbroker\.conf:\d+: .*there is no \[identity"),
                 (self.tunnel(1, "x", listen="/proc/x/y"), "cannot listen on /proc/x/y: "),
                 ("[socks]\nlisten = 0.0.0.0:1080\n", "port of a loopback address")]
        before = os.stat(self.path("a"))
        for text, pattern in cases:
            with self.subTest(pattern):
                # the broken part comes with a new door, with changed rights, and with another target
                error = self.reload_fails(self.tunnel(2, mode="0666") + self.tunnel(1, "new") + text)
                self.assertEqual(error.code, -10022)
                self.assertRegex(error.message, pattern)
                self.assertFalse(os.path.exists(self.path("new")))
                after = os.stat(self.path("a"))
                self.assertEqual((after.st_ino, after.st_mode), (before.st_ino, before.st_mode))
                self.assertEqual(servers.read_exactly(self.enter(), 3), b"one")

    def test_a_file_that_was_taken_away_comes_back(self):
        one = self.use(servers.Server(servers.banner(b"one"), tls=servers.tls13()))
        self.start(self.tunnel(one.port))
        os.unlink(self.path("a"))
        self.reload(self.tunnel(one.port))
        self.assertEqual(servers.read_exactly(self.enter(), 3), b"one")

    def test_tunnels_become_socks_and_back(self):
        one = self.use(servers.Server(servers.banner(b"one"), tls=servers.tls13()))
        self.start(self.tunnel(one.port))
        self.reload(f"[socks]\nsocket = {self.path('a')}\n")
        sock = self.enter()
        sock.sendall(b"\5\1\0")
        self.assertEqual(servers.read_exactly(sock, 2), b"\5\0")
        self.reload(self.tunnel(one.port))
        self.assertEqual(servers.read_exactly(self.enter(), 3), b"one")

    def test_sixty_four_of_them_come_and_go(self):
        one = self.use(servers.Server(servers.banner(b"one"), tls=servers.tls13()))
        self.start()
        before = self.daemon.n_sockets()
        for i in range(20):
            self.reload("".join(self.tunnel(one.port, f"t{k}") for k in range(i % 2, 64, 1 + i % 2)))
        with self.enter("t63") as sock:
            self.assertEqual(servers.read_exactly(sock, 3), b"one")
        self.reload("")
        wait_until(lambda: self.daemon.n_sockets() <= before, what="all descriptors being closed")
        self.assertEqual(os.listdir(self.folder), [])


class Stop(DoorTestCase):
    def test_while_busy(self):
        """Who is connected may finish; who is not is sent away; no new ones come in."""
        server = self.use(servers.Server(tls=servers.tls13()))
        hung = self.use(servers.Server(servers.stall_handshake))
        self.start(self.tunnel(server.port) + self.tunnel(hung.port, "b"), drain="20s")
        sock = self.enter()
        self.exchange(sock)
        waiting = self.enter("b")
        wait_until(lambda: hung.accepted == 1)
        self.daemon.terminate()
        self.daemon.wait_log("SIGTERM: stopping")
        wait_until(lambda: not os.path.exists(self.path("a")), what="the socket file being removed")
        self.exchange(sock, b"the last words\n")
        sock.close()
        waiting.close()
        self.assertEqual(self.daemon.wait_exit(), 0)

    def test_those_that_do_not_end_are_cut(self):
        server = self.use(servers.Server(tls=servers.tls13()))
        chatter = self.use(servers.Server(servers.chatter, tls=servers.tls13()))
        hung = self.use(servers.Server(servers.stall_handshake))
        self.start(self.tunnel(server.port) + self.tunnel(hung.port, "b") + self.tunnel(chatter.port, "c"), drain="300ms")
        socks = [self.enter(name) for name in "abc" for _ in range(5)]
        wait_until(lambda: hung.accepted == 5 and server.handshakes == 5 and chatter.handshakes == 5)
        self.daemon.terminate()
        self.assertEqual(self.daemon.wait_exit(), 0)
        for sock in socks[:10]:
            self.assertIn(self.gone(sock), (b"", "reset"))

    def test_twice(self):
        hung = self.use(servers.Server(servers.stall_handshake))
        self.start(self.tunnel(hung.port), drain="60s")
        self.enter()
        wait_until(lambda: hung.accepted == 1)
        self.daemon.terminate()
        self.daemon.wait_log("SIGTERM: stopping")
        self.daemon.process.send_signal(signal.SIGINT)
        self.assertEqual(self.daemon.wait_exit(), 0)


if __name__ == "__main__":
    unittest.main()
