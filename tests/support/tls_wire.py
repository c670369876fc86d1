"""A TLS server that can misbehave: Python's ssl does the handshake, over which every byte may be edited; afterwards records
are sealed and opened here (RFC 8446 section 5, RFC 5288), so that anything at all can be said in valid records.

    wire = Wire(connection, "1.3")
    wire.handshake()                            # or handshake(edit=…)
    wire.send(wire.seal(DATA, b"hello"), wire.seal(ALERT, CLOSE_NOTIFY))
    wire.read_record()                          # (type, plain bytes), or None at the end
"""
import ctypes
import ctypes.util
import functools
import hashlib
import hmac
import os
import socket
import ssl
import tempfile

from ca import certificates

CHANGE_CIPHER, ALERT, HANDSHAKE, DATA, HEARTBEAT = 20, 21, 22, 23, 24
CLOSE_NOTIFY = bytes([1, 0])
HELLO_REQUEST, CLIENT_HELLO, SERVER_HELLO, TICKET, CERTIFICATE, KEY_EXCHANGE, CERTIFICATE_REQUEST, FINISHED, KEY_UPDATE = (
    0, 1, 2, 4, 11, 12, 13, 20, 24)


def record(kind, body, version=b"\3\3"):
    return bytes([kind]) + version + len(body).to_bytes(2, "big") + body


def message(kind, body):
    """A handshake message."""
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def records(data):
    """[(type, body)] of whole records, and what is left."""
    found = []
    while len(data) >= 5 and len(data) >= 5 + int.from_bytes(data[3:5], "big"):
        end = 5 + int.from_bytes(data[3:5], "big")
        found.append((data[0], data[5:end]))
        data = data[end:]
    return found, data


# ---- AES-GCM of the libcrypto that is there anyway ------------------------------------------------------------------

@functools.lru_cache(maxsize=None)
def libcrypto():
    library = ctypes.CDLL(ctypes.util.find_library("crypto") or "libcrypto.so.3")
    for name in ("EVP_CIPHER_CTX_new", "EVP_aes_128_gcm", "EVP_aes_256_gcm"):
        getattr(library, name).restype = ctypes.c_void_p
    return library


def gcm(key, nonce, data, extra, tag=None):
    """Seals (tag None), or opens and returns None when the tag is wrong."""
    library, sealing = libcrypto(), tag is None
    context = ctypes.c_void_p(library.EVP_CIPHER_CTX_new())
    cipher = ctypes.c_void_p(library.EVP_aes_256_gcm() if len(key) == 32 else library.EVP_aes_128_gcm())
    out, n, end = ctypes.create_string_buffer(len(data) + 16), ctypes.c_int(), ctypes.c_int()
    try:
        library.EVP_CipherInit_ex(context, cipher, None, key, nonce, int(sealing))
        library.EVP_CipherUpdate(context, None, ctypes.byref(n), extra, len(extra))
        library.EVP_CipherUpdate(context, out, ctypes.byref(n), data, len(data))
        if not sealing:
            library.EVP_CIPHER_CTX_ctrl(context, 0x11, 16, tag)
        if library.EVP_CipherFinal_ex(context, ctypes.byref(out, n.value), ctypes.byref(end)) != 1:
            return None
        if not sealing:
            return out.raw[:len(data)]
        made = ctypes.create_string_buffer(16)
        library.EVP_CIPHER_CTX_ctrl(context, 0x10, 16, made)
        return out.raw[:len(data)] + made.raw
    finally:
        library.EVP_CIPHER_CTX_free(context)


# ---- keys ------------------------------------------------------------------------------------------------------------

def expand_label(secret, label, size, digest):
    """HKDF-Expand-Label with an empty context (RFC 8446 section 7.1); size is less than a digest."""
    label = b"tls13 " + label
    info = size.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0\1"
    return hmac.new(secret, info, digest).digest()[:size]


def prf(secret, label, seed, size):
    """P_SHA256 (RFC 5246 section 5)."""
    seed, out, step = label + seed, b"", label + seed
    while len(out) < size:
        step = hmac.new(secret, step, hashlib.sha256).digest()
        out += hmac.new(secret, step + seed, hashlib.sha256).digest()
    return out[:size]


class Direction:
    """One direction's keys. seal() and open() count its records."""

    def __init__(self, version, secret=None, digest=None, key=b"", iv=b""):
        self.version, self.secret, self.digest, self.key, self.iv = version, secret, digest, key, iv
        self.number = 0 if version == "1.3" else 1  # Finished was the first
        if secret:
            self._derive()

    def _derive(self):
        self.key = expand_label(self.secret, b"key", 32 if self.digest == "sha384" else 16, self.digest)
        self.iv = expand_label(self.secret, b"iv", 12, self.digest)
        self.number = 0

    def update(self):
        """RFC 8446 section 7.2."""
        self.secret = expand_label(self.secret, b"traffic upd", hashlib.new(self.digest).digest_size, self.digest)
        self._derive()

    def _nonce(self):
        number = self.number.to_bytes(12, "big")
        return bytes(a ^ b for a, b in zip(self.iv, number))

    def seal(self, kind, body, padding=0, outer=None):
        if self.version == "1.3":
            plain = body + (bytes([kind]) if kind else b"") + bytes(padding)
            header = bytes([outer or DATA, 3, 3]) + (len(plain) + 16).to_bytes(2, "big")
            sealed = header + gcm(self.key, self._nonce(), plain, header)
        else:
            explicit = self.number.to_bytes(8, "big")
            extra = explicit + bytes([kind, 3, 3]) + len(body).to_bytes(2, "big")
            sealed = record(outer or kind, explicit + gcm(self.key, self.iv + explicit, body, extra))
        self.number += 1
        return sealed

    def open(self, kind, body):
        if self.version == "1.3":
            header = bytes([kind, 3, 3]) + len(body).to_bytes(2, "big")
            plain = gcm(self.key, self._nonce(), body[:-16], header, body[-16:])
            plain = plain and plain.rstrip(b"\0")
            kind, plain = (plain[-1], plain[:-1]) if plain else (None, None)
        else:
            extra = self.number.to_bytes(8, "big") + bytes([kind, 3, 3]) + (len(body) - 24).to_bytes(2, "big")
            plain = gcm(self.key, self.iv + body[:8], body[8:-16], extra, body[-16:])
        if plain is None:
            raise ValueError("a record cannot be opened")
        self.number += 1
        return kind, plain


# ---- the server --------------------------------------------------------------------------------------------------------

@functools.lru_cache(maxsize=None)
def context_of(version, certificate=None):
    """certificate: (chain file, key file); else the good one of ca.py. Its keys are told in a file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*(certificate or certificates().pem("good")))
    number = ssl.TLSVersion.TLSv1_3 if version == "1.3" else ssl.TLSVersion.TLSv1_2
    context.minimum_version = context.maximum_version = number
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    handle, path = tempfile.mkstemp(prefix="tcpbroker-keys-")
    os.close(handle)
    context.keylog_filename = path
    os.unlink(path)  # Python holds it open; read through /proc
    context.key_file = next(f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")
                            if os.path.islink(f"/proc/self/fd/{fd}")
                            and os.readlink(f"/proc/self/fd/{fd}").startswith(path))
    return context


class Wire:
    def __init__(self, connection, version, certificate=None):
        self.connection, self.version = connection, version
        self.context = context_of(version, certificate)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = self.context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.buffer = b""
        self.heard, self.said = b"", b""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read_hello(self):
        """The ClientHello; it goes to the server, too."""
        while not records(self.heard)[0]:
            self._hear()
        return records(self.heard)[0][0][1]

    def _hear(self):
        data = self.connection.recv(65536)
        if not data:
            raise ConnectionError("the broker has closed")
        self.heard += data
        self.incoming.write(data)

    def flight(self):
        """What the server says now."""
        try:
            self.tls.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            done = False
        except ssl.SSLError:
            self.connection.sendall(self.outgoing.read())  # its alert
            raise
        data = self.outgoing.read()
        self.said += data
        return done, data

    def handshake(self, edit=None):
        """edit(number of the flight, its bytes): the bytes to send instead, or a list of pieces; None: that was all."""
        number, done = 0, False
        while True:
            done, data = self.flight()
            if data:
                pieces = edit(number, data) if edit else data
                if pieces is None:
                    return self
                for piece in [pieces] if isinstance(pieces, bytes) else pieces:
                    self.connection.sendall(piece)
                number += 1
            if done:
                break
            self._hear()
        self.buffer = self.incoming.read()
        self._take_keys()
        return self

    def _take_keys(self):
        random = records(self.heard)[0][0][1][6:38]
        with open(self.context.key_file, encoding="ascii") as file:
            lines = [line.split() for line in file if random.hex() in line]
        secrets = {line[0]: bytes.fromhex(line[2]) for line in lines}
        if self.version == "1.3":
            digest = "sha384" if self.tls.cipher()[0].endswith("384") else "sha256"
            self.out = Direction("1.3", secrets["SERVER_TRAFFIC_SECRET_0"], digest)
            self.into = Direction("1.3", secrets["CLIENT_TRAFFIC_SECRET_0"], digest)
        else:
            other = records(self.said)[0][0][1][6:38]
            block = prf(secrets["CLIENT_RANDOM"], b"key expansion", other + random, 40)
            self.into = Direction("1.2", key=block[:16], iv=block[32:36])
            self.out = Direction("1.2", key=block[16:32], iv=block[36:40])

    # ---- afterwards ----

    def seal(self, kind, body, **kw):
        return self.out.seal(kind, body, **kw)

    def send(self, *pieces):
        self.connection.sendall(b"".join(pieces))

    def say(self, kind, body, **kw):
        self.send(self.seal(kind, body, **kw))

    def read_record(self):
        """(type, plain bytes); None at the end of the connection; after KeyUpdate the keys are the new ones."""
        while True:
            found, _ = records(self.buffer)
            if found:
                kind, body = found[0]
                self.buffer = self.buffer[5 + len(body):]
                kind, plain = self.into.open(kind, body)
                if kind == HANDSHAKE and plain[:1] == bytes([KEY_UPDATE]):
                    self.into.update()
                return kind, plain
            data = self.connection.recv(65536)
            if not data:
                return None
            self.buffer += data

    def finish(self):
        """FIN, without any words."""
        self.connection.shutdown(socket.SHUT_WR)
