"""What the tests of trust profiles and identities need: an authority with clients and servers of its own, servers that ask
for a client's certificate, and requests of other users.
"""
import json
import os
import ssl
import subprocess
import sys
import tempfile

import x509
from harness import seconds
from real_servers import TlsEcho
from servers import Server, echo
from x509 import purpose

FOR_CLIENTS = {"purpose": purpose("clientAuth")}
SERVER_NAMES = ["DNS:localhost", "DNS:www.tls.test", "DNS:*.tls.test", "DNS:a.b.tls.test", "DNS:tls.test", "DNS:xtls.test",
                "DNS:xn--bcher-kva.tls.test", "IP:127.0.0.1", "IP:::1"]


class Partners:
    """root: what both sides trust. client: a client's certificate, of the CA one, which is of root."""

    def __init__(self, folder):
        self.folder = folder
        self.maker = x509.Maker(os.path.join(folder, "made"))
        self.root = self.maker.authority("partners root")
        self.one = self.maker.authority("partners one", self.root)
        self.client = self.new_client()
        self.server = self.maker.server(self.root, SERVER_NAMES)
        self.cacerts = os.path.join(folder, "cacerts")
        os.mkdir(self.cacerts)
        self.root_file = self.write("cacerts/root.pem", self.root.pem)

    def new_client(self, issuer=None, name="a client", key=None, **options):
        return self.maker.server(issuer or self.one, [], name=name, key=key or self.maker.new_key(), extensions=FOR_CLIENTS,
                                 **options)

    def write(self, path, content, mode=0o600):
        path = os.path.join(self.folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.chmod(path, mode)
        return path

    @staticmethod
    def key(certificate):
        with open(certificate.key.path, encoding="ascii") as file:
            return file.read()

    def identity(self, name, certificate=None, others=None, **options):
        """A section with files of its own; others: behind the certificate, the CA one unless told."""
        certificate = certificate or self.client
        others = [self.one] if others is None else others
        path = self.write(f"{name}.pem", "".join(each.pem for each in (certificate, *others)))
        key = self.write(f"{name}.key", self.key(certificate))
        return section("identity", name, certificate=path, key=key, **options)

    def server_context(self, version=None, demanded=ssl.CERT_REQUIRED, server=None, others=(), resumes=False):
        """demanded: how much it wants a client's certificate. It lets no session be resumed unless told: each connection
        shows its chain."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.load_cert_chain(*self.maker.files(server or self.server, others))
        context.load_verify_locations(self.root_file)
        context.verify_mode = demanded
        if not resumes:
            context.num_tickets = 0
            context.options |= ssl.OP_NO_TICKET
        if version:
            context.minimum_version = context.maximum_version = version
        return context

    def trust(self):
        """[tls] that trusts these servers only."""
        return section("tls", system_store="no", cacerts=self.cacerts)


def section(kind, name=None, **options):
    """Text of a configuration."""
    title = f'{kind} "{name}"' if name else kind
    return f"[{title}]\n" + "".join(f"{key} = {value}\n" for key, value in options.items())


class Asking(Server):
    """Echoes, and keeps the chain of each client, as DER, the client's own first; [] when it has shown nothing. Of a session
    that was resumed there may be nothing but the own one."""

    def __init__(self, context, **kw):
        super().__init__(behaviour=self._behave, tls=context, **kw)
        self.shown = []

    def _behave(self, connection):
        own = connection.getpeercert(True)
        chain = connection._sslobj.get_unverified_chain() or () if own else ()  # public from Python 3.13 on
        others = [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in chain if each][1:]
        self.shown.append([own, *others] if own else [])
        echo(connection)


class Program(TlsEcho):
    """openssl s_server; said(): its output."""

    def __init__(self, partners, *options):
        super().__init__()
        chain, key = partners.maker.files(partners.server)
        self.command = ["openssl", "s_server", "-accept", f"127.0.0.1:{self.port}", "-cert", chain, "-key", key, "-rev",
                        "-CAfile", partners.root_file, *options]
        self.output = tempfile.TemporaryFile()

    def said(self):
        self.output.seek(0)
        return self.output.read().decode(errors="replace")

    def __exit__(self, *unused):
        super().__exit__()
        self.output.close()
        return False


PROGRAM = """
import json, os, socket, sys
user, group, groups = json.loads(sys.argv[3])
os.setgroups(groups)
os.setgid(group)
os.setuid(user)
connection = socket.socket(socket.AF_UNIX)
connection.settimeout(20)
connection.connect(sys.argv[1])
lines = connection.makefile("rw")
answer = "{}"
for line in json.loads(sys.argv[2]):
    number = json.loads(answer).get("result", {}).get("socket", number if line["id"] > 1 else 0)
    lines.write(json.dumps(line).replace('"$socket"', str(number)) + "\\n")
    lines.flush()
    answer = lines.readline()
    print(answer.rstrip())
"""


def ask_as(daemon, user, group, groups, *requests):
    """The answers to (method, params) when that user asks, one after the other; needs root and listen.mode 0777. "$socket"
    is the number that was answered last."""
    os.chmod(daemon.folder, 0o755)
    lines = [{"jsonrpc": "2.0", "id": number, "method": method, "params": params}
             for number, (method, params) in enumerate(requests, 1)]
    done = subprocess.run([sys.executable, "-B", "-c", PROGRAM, daemon.socket_path, json.dumps(lines),
                           json.dumps([user, group, groups])], capture_output=True, text=True, cwd="/", timeout=seconds(30),
                          check=False)
    if done.returncode:
        raise AssertionError(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]
