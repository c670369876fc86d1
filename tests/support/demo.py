"""What ./demo shows once all is built: demo.py PATH-OF-TCPBROKERD"""
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

REQUEST_CONFIG = "[req]\ndistinguished_name = name\nprompt = no\n[name]\nCN = replaced\n"
TIMEOUT = 20


class Failed(Exception):
    """Something is not as it has to be."""


def title(text):
    print(f"\n\x1b[1m{text}\x1b[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def certificate(folder, name, subject, extensions, issuer=None):
    """folder/name.pem and folder/name.key, signed by the issuer or by itself."""
    config = os.path.join(folder, "request.conf")
    with open(config, "w", encoding="ascii") as file:
        file.write(REQUEST_CONFIG)
    path = os.path.join(folder, name)
    command = ["openssl", "req", "-x509", "-config", config, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
               "-noenc", "-days", "2", "-subj", f"/CN={subject}", "-keyout", path + ".key", "-out", path + ".pem"]
    for extension in extensions:
        command += ["-addext", extension]
    if issuer:
        command += ["-CA", os.path.join(folder, issuer + ".pem"), "-CAkey", os.path.join(folder, issuer + ".key")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if done.returncode:
        raise Failed(f"openssl: {done.stderr}")


def authority(folder, name, subject):
    certificate(folder, name, subject, ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"])


def server_certificate(folder, name, issuer):
    certificate(folder, name, "localhost", ["basicConstraints=critical,CA:FALSE", "extendedKeyUsage=serverAuth",
                                            "subjectAltName=DNS:localhost,IP:127.0.0.1"], issuer)


class EchoServer:
    """A TLS server on a free port of 127.0.0.1 that sends back what it gets."""

    def __init__(self, folder, name):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(os.path.join(folder, name + ".pem"), os.path.join(folder, name + ".key"))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.echo, args=(connection,), daemon=True).start()

    def echo(self, connection):
        connection.settimeout(TIMEOUT)
        try:
            with self.context.wrap_socket(connection, server_side=True) as secured:
                while data := secured.recv(65536):
                    secured.sendall(data)
        except OSError:
            pass  # a client that does not trust the certificate goes away: that is shown, too

    def close(self):
        self.listener.close()


class Broker:
    """The daemon on a private socket, and one connection to it that shows every line."""

    def __init__(self, program, folder):
        self.path = os.path.join(folder, "broker.sock")
        config = os.path.join(folder, "tcpbroker.conf")
        with open(config, "w", encoding="ascii"):
            pass
        self.log_path = os.path.join(folder, "log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([program, "--config", config, "--socket", self.path, "--cacerts",
                                             os.path.join(folder, "cacerts")], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log)
        self.connection = None
        self.next_id = 1

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def open(self):
        end = time.monotonic() + TIMEOUT
        while True:
            self.connection = socket.socket(socket.AF_UNIX)
            self.connection.settimeout(TIMEOUT)
            try:
                self.connection.connect(self.path)
                break
            except OSError as error:
                self.connection.close()
                if self.process.poll() is not None or time.monotonic() > end:
                    raise Failed(f"the daemon does not answer ({error}):\n{self.log()}") from error
                time.sleep(0.02)
        self.lines = self.connection.makefile("rw", encoding="utf-8", newline="\n")

    def ask(self, method, **params):
        message = {"jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params}
        request = json.dumps(message, ensure_ascii=False)
        self.next_id += 1
        print(f"  → {request}", flush=True)
        self.lines.write(request + "\n")
        self.lines.flush()
        line = self.lines.readline()
        print(f"  ← {line.rstrip()}", flush=True)
        if not line:
            raise Failed(f"the daemon closed the connection:\n{self.log()}")
        answer = json.loads(line)
        if answer.get("id") != self.next_id - 1:
            raise Failed("the answer is not to this request")
        return answer

    def call(self, method, **params):
        answer = self.ask(method, **params)
        if "result" not in answer:
            raise Failed(f"{method} was refused")
        return answer["result"]

    def refused(self, code, method, **params):
        error = self.ask(method, **params).get("error", {})
        if error.get("code") != code:
            raise Failed(f"{method} had to be refused with {code}")
        return error

    def stop(self):
        """Ends the daemon; its exit status."""
        if self.connection:
            self.connection.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def check(condition, what):
    if not condition:
        raise Failed(f"this does not hold: {what}")


def show(broker, good, unknown):
    title("A TLS connection; the certificate is verified")
    connected = broker.call("TCPConnect", hostname="localhost", port=good.port, secure=True, thread="worker-1")
    number = connected["socket"]
    check(number > 0 and connected["tls"]["verified"] is True, "a verified connection")

    title("Send, and receive what the server echoes")
    text = "Grüße over TLS\n"
    sent = broker.call("TCPSend", socket=number, data=text, thread="worker-1")
    check(sent["sent"] == len(text.encode()), "all bytes are sent")
    received = broker.call("TCPReceive", socket=number, until="\n", timeout_ms=5000, thread="worker-1")
    check(received["data"] == text, "what was sent comes back")

    title("The socket belongs to worker-1: another thread is refused")
    error = broker.refused(-33001, "TCPSend", socket=number, data="not mine", thread="worker-2")
    check(error["data"]["owner"] == "worker-1", "the owner is named")

    title("A server whose certificate is of an unknown CA: refused, too")
    error = broker.refused(-33010, "TCPConnect", hostname="localhost", port=unknown.port, secure=True, thread="worker-1")
    check(error["data"]["symbol"] == "TLS_VERIFY" and error["data"]["stage"] == "tls", "stage and symbol")

    title("The owner is not disturbed by any of this, and closes")
    broker.call("TCPSend", socket=number, data="bye\n", thread="worker-1")
    received = broker.call("TCPReceive", socket=number, until="\n", timeout_ms=5000, thread="worker-1")
    check(received["data"] == "bye\n", "nothing of worker-2 came through")
    broker.call("TCPClose", socket=number, thread="worker-1")
    check(broker.call("Broker.List")["sockets"] == [], "no socket is left")


def interrupted(number, _):
    sys.exit(128 + number)


def main():
    sys.stdout.reconfigure(encoding="utf-8")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)  # unwinds: what was started is ended
    servers, broker, status = [], None, 0
    with tempfile.TemporaryDirectory(prefix="tcpbroker-demo-") as folder:
        try:
            print("making a CA, a certificate of it, and one of a CA that nobody trusts")
            os.mkdir(os.path.join(folder, "cacerts"))
            for name, subject in (("ca", "demo CA"), ("stranger", "unknown CA")):
                authority(folder, name, subject)
            server_certificate(folder, "good", "ca")
            server_certificate(folder, "unknown", "stranger")
            os.link(os.path.join(folder, "ca.pem"), os.path.join(folder, "cacerts", "demo-ca.pem"))
            servers = [EchoServer(folder, "good"), EchoServer(folder, "unknown")]
            broker = Broker(sys.argv[1], folder)
            broker.open()
            print(f"tcpbrokerd runs as process {broker.process.pid}, on {broker.path}")
            show(broker, *servers)
        except (Failed, OSError, KeyError, TypeError, ValueError) as error:
            print(f"\ndemo: {error!r}" if not isinstance(error, Failed) else f"\ndemo: {error}", file=sys.stderr)
            status = 1
        finally:
            for server in servers:
                server.close()
            if broker:
                ended = broker.stop()
                if ended:
                    print(f"demo: the daemon ended with status {ended}:\n{broker.log()}", file=sys.stderr)
                    status = 1
    if not status:
        print("\nAll answers were as expected; the daemon and the servers are stopped.")
    return status


if __name__ == "__main__":
    sys.exit(main())
