"""Certificates byte by byte: also those that no tool would make (RFC 5280, ITU-T X.690). Keys and signatures come from the
openssl command; everything else is written here.

    maker = Maker(folder)
    root = maker.authority("some root")
    leaf = maker.server(root, ["DNS:www.example", "IP:127.0.0.1"])
    chain, key = maker.files(leaf, [intermediate])         # for SSLContext.load_cert_chain()

    crl = maker.crl(root, [leaf])                          # its revocation list; crl.pem, crl.der

authority(), server() and crl() make what a sound CA would make. Every part can be replaced by name: extensions={"usage":
None} leaves one out, {"usage": usage("digitalSignature")} replaces it, {"extra": raw("1.2.3.4", b"", True)} adds one.
"""
import base64
import concurrent.futures
import datetime
import functools
import hashlib
import ipaddress
import itertools
import os
import subprocess

# ---- DER -------------------------------------------------------------------------------------------------------


def tlv(tag, *parts):
    body = b"".join(parts)
    if len(body) < 128:
        return bytes([tag, len(body)]) + body
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def sequence(*parts):
    return tlv(0x30, *parts)


def integer(value):
    return tlv(2, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def boolean(value):
    return tlv(1, b"\xff" if value else b"\0")


def octets(value):
    return tlv(4, value)


def bits(value, unused=0):
    return tlv(3, bytes([unused]), value)


def oid(text):
    first, second, *rest = map(int, text.split("."))
    out = b""
    for number in (first * 40 + second, *rest):
        piece = bytes([number & 127])
        while number := number >> 7:
            piece = bytes([number & 127 | 128]) + piece
        out += piece
    return tlv(6, out)


def named_bits(numbers):
    """A BIT STRING of flags, trailing zeros removed (X.690 section 11.2.2)."""
    if not numbers:
        return bits(b"")
    value = bytearray(max(numbers) // 8 + 1)
    for number in numbers:
        value[number // 8] |= 0x80 >> number % 8
    return bits(bytes(value), 7 - max(numbers) % 8)


def moment(when):
    if when.year < 2050:
        return tlv(0x17, when.strftime("%y%m%d%H%M%SZ").encode())
    return tlv(0x18, when.strftime("%Y%m%d%H%M%SZ").encode())


# ---- names -----------------------------------------------------------------------------------------------------

def dn(common_name):
    """A distinguished name with nothing but a common name (bytes as they are); None: an empty one."""
    if common_name is None:
        return sequence()
    value = common_name if isinstance(common_name, bytes) else common_name.encode()
    return sequence(tlv(0x31, sequence(oid("2.5.4.3"), tlv(0x0C, value))))


def general_name(name):
    """DNS:…, IP:… (with /prefix in constraints), MAIL:…, URI:…, DN:…, as text or as bytes that are taken as they are."""
    kind, value = name.split(b":" if isinstance(name, bytes) else ":", 1)
    if isinstance(name, bytes):
        kind = kind.decode()
    if kind == "IP" and isinstance(value, str):
        if "/" in value:
            network = ipaddress.ip_network(value)
            value = network.network_address.packed + network.netmask.packed
        else:
            value = ipaddress.ip_address(value).packed
    if kind == "DN":
        return tlv(0xA4, dn(value))
    value = value if isinstance(value, bytes) else value.encode()
    return tlv({"MAIL": 0x81, "DNS": 0x82, "URI": 0x86, "IP": 0x87}[kind], value)


# ---- extensions: (oid, critical, DER of the value) ------------------------------------------------------------------

USAGES = ("digitalSignature", "nonRepudiation", "keyEncipherment", "dataEncipherment", "keyAgreement", "keyCertSign",
          "cRLSign", "encipherOnly", "decipherOnly")
PURPOSES = {"serverAuth": "1.3.6.1.5.5.7.3.1", "clientAuth": "1.3.6.1.5.5.7.3.2", "codeSigning": "1.3.6.1.5.5.7.3.3",
            "emailProtection": "1.3.6.1.5.5.7.3.4", "OCSPSigning": "1.3.6.1.5.5.7.3.9", "any": "2.5.29.37.0"}


def raw(number, value, critical=False):
    return number, critical, value


def basic(is_ca, path_length=None, critical=True):
    parts = [boolean(True)] if is_ca else []
    if path_length is not None:
        parts.append(integer(path_length))
    return raw("2.5.29.19", sequence(*parts), critical)


def usage(*words, critical=True):
    return raw("2.5.29.15", named_bits([USAGES.index(word) for word in words]), critical)


def purpose(*words, critical=False):
    return raw("2.5.29.37", sequence(*(oid(PURPOSES.get(word, word)) for word in words)), critical)


def alternative(*names, critical=False):
    return raw("2.5.29.17", sequence(*map(general_name, names)), critical)


def constraints(permitted=(), excluded=(), critical=True):
    parts = [tlv(tag, *(sequence(general_name(name)) for name in names))
             for tag, names in ((0xA0, permitted), (0xA1, excluded)) if names]
    return raw("2.5.29.30", sequence(*parts), critical)


def policies(*numbers, critical=False):
    return raw("2.5.29.32", sequence(*(sequence(oid(number)) for number in numbers)), critical)


def policy_constraints(require=None, critical=True):
    return raw("2.5.29.36", sequence(tlv(0x80, bytes([require]))), critical)


def crl_number(number):
    return raw("2.5.29.20", integer(number))


def delta(base):
    """The list has what changed since the one of that number (RFC 5280 section 5.2.4)."""
    return raw("2.5.29.27", integer(base), True)


def scope(only_users=False, only_authorities=False, reasons=None, indirect=False, point=None):
    """What a list is for (RFC 5280 section 5.2.5); reasons: numbers of bits; point: an URI."""
    parts = []
    if point:
        parts.append(tlv(0xA0, tlv(0xA0, general_name("URI:" + point))))
    parts += [tlv(tag, b"\xff") for tag, wanted in ((0x81, only_users), (0x82, only_authorities)) if wanted]
    if reasons:
        parts.append(tlv(0x83, named_bits(reasons)[2:]))
    if indirect:
        parts.append(tlv(0x84, b"\xff"))
    return raw("2.5.29.28", sequence(*parts), True)


def distribution(point):
    """Where the list that covers a certificate is to be found."""
    return raw("2.5.29.31", sequence(sequence(tlv(0xA0, tlv(0xA0, general_name("URI:" + point))))))


REASONS = {"keyCompromise": 1, "cACompromise": 2, "superseded": 4, "certificateHold": 6, "removeFromCRL": 8}


def subject_key(key):
    return raw("2.5.29.14", octets(key.identifier))


def authority_key(key):
    return raw("2.5.29.35", sequence(tlv(0x80, key.identifier)))


# ---- keys and certificates -------------------------------------------------------------------------------------------

def openssl(*arguments, data=None):
    done = subprocess.run(["openssl", *arguments], input=data, capture_output=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {' '.join(arguments)}: {done.stderr.decode(errors='replace')}")
    return done.stdout


def pem(der, label="CERTIFICATE"):
    text = base64.encodebytes(der).decode().replace("\n", "")
    lines = [text[at:at + 64] for at in range(0, len(text), 64)]
    return f"-----BEGIN {label}-----\n" + "\n".join(lines) + f"\n-----END {label}-----\n"


def encoded(extensions):
    return sequence(*(sequence(oid(number), *([boolean(True)] if critical else []), octets(value))
                      for number, critical, value in extensions))


class Key:
    """kind: a curve's name, "rsa" with the number of bits, or "ed25519"."""

    def __init__(self, path, kind):
        self.path = path
        if kind.startswith("rsa"):
            arguments = ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:" + kind[3:])
        elif kind == "ed25519":
            arguments = ("-algorithm", "ED25519")
        else:
            arguments = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:" + kind.removesuffix("-explicit"),
                         "-pkeyopt", "ec_param_enc:" + ("explicit" if kind.endswith("-explicit") else "named_curve"))
        openssl("genpkey", *arguments, "-out", path)
        self.info = openssl("pkey", "-in", path, "-pubout", "-outform", "DER")
        self.identifier = hashlib.sha1(self.info).digest()
        self.pin = hashlib.sha256(self.info).digest()
        self.is_rsa = kind.startswith("rsa")
        self.is_ed25519 = kind == "ed25519"

    def algorithm(self, digest):
        if self.is_ed25519:
            return sequence(oid("1.3.101.112"))
        if self.is_rsa:
            number = {"md5": 4, "sha1": 5, "sha256": 11}[digest]
            return sequence(oid(f"1.2.840.113549.1.1.{number}"), tlv(5))
        return sequence(oid({"sha1": "1.2.840.10045.4.1", "sha256": "1.2.840.10045.4.3.2"}[digest]))

    def sign(self, data, digest):
        if self.is_ed25519:
            path = self.path + ".data"
            with open(path, "wb") as file:
                file.write(data)
            return openssl("pkeyutl", "-sign", "-rawin", "-inkey", self.path, "-in", path)
        return openssl("dgst", "-" + digest, "-sign", self.path, data=data)


class Certificate:
    def __init__(self, der, subject, key, serial=None):
        self.der, self.subject, self.key, self.serial = der, subject, key, serial

    @property
    def pem(self):
        return pem(self.der)

    def damaged(self):
        """The same with a wrong signature."""
        return Certificate(self.der[:-1] + bytes([self.der[-1] ^ 1]), self.subject, self.key, self.serial)


class RevocationList:
    def __init__(self, der):
        self.der = der

    @property
    def pem(self):
        return pem(self.der, "X509 CRL")

    def damaged(self):
        """The same with a wrong signature."""
        return RevocationList(self.der[:-1] + bytes([self.der[-1] ^ 1]))


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def days(number):
    return now() + datetime.timedelta(days=number)


class Maker:
    def __init__(self, folder):
        self.folder = folder
        self.numbers = itertools.count(1)
        os.makedirs(folder, exist_ok=True)

    def _path(self, suffix):
        return os.path.join(self.folder, f"{next(self.numbers)}{suffix}")

    def new_key(self, kind="P-256"):
        return Key(self._path(".key"), kind)

    @functools.lru_cache(maxsize=None)
    def key(self, kind="P-256"):
        """One key of that kind, always the same: what servers share."""
        return self.new_key(kind)

    def issue(self, issuer, subject, key, extensions, valid=(-1, 30), digest="sha256", version=3, inner_digest=None):
        """issuer: a Certificate, or None for a self-signed one. valid: days from now, or moments. extensions: in order."""
        signer = issuer.key if issuer else key
        first, last = (days(one) if isinstance(one, (int, float)) else one for one in valid)
        serial = int.from_bytes(os.urandom(8), "big") >> 1
        parts = [integer(serial),
                 signer.algorithm(inner_digest or digest),
                 issuer.subject if issuer else subject,
                 sequence(moment(first), moment(last)),
                 subject, key.info]
        if version > 1:
            parts.insert(0, tlv(0xA0, integer(version - 1)))
        if extensions:
            parts.append(tlv(0xA3, encoded(extensions)))
        body = sequence(*parts)
        der = sequence(body, signer.algorithm(digest), bits(signer.sign(body, digest)))
        return Certificate(der, subject, key, serial)

    def crl(self, issuer, revoked=(), valid=(-1, 30), extensions=None, key=None, digest="sha256", version=2):
        """revoked: certificates, or pairs of one and the extensions of its entry (a word of REASONS will do). valid: as of
        a certificate; the second may be None. key: that signs, when it is not the issuer's."""
        signer = key or issuer.key
        first, last = (days(one) if isinstance(one, (int, float)) else one for one in valid)
        parts = [signer.algorithm(digest), issuer.subject, moment(first), *([moment(last)] if last else [])]
        entries = []
        for one in revoked:
            certificate, more = one if isinstance(one, tuple) else (one, [])
            if isinstance(more, str):
                more = [raw("2.5.29.21", tlv(10, bytes([REASONS[more]])))]
            entries.append(sequence(integer(certificate.serial), moment(days(-2)), *([encoded(more)] if more else [])))
        if entries:
            parts.append(sequence(*entries))
        sound = {"akid": authority_key(issuer.key), "number": crl_number(next(self.numbers)), **(extensions or {})}
        if version > 1:
            parts.insert(0, integer(version - 1))
            parts.append(tlv(0xA0, encoded([part for part in sound.values() if part])))
        body = sequence(*parts)
        return RevocationList(sequence(body, signer.algorithm(digest), bits(signer.sign(body, digest))))

    def _issue(self, issuer, subject, key, sound, extensions, options):
        parts = {**sound, **(extensions or {})}
        if options.get("version", 3) < 3 and extensions is None:
            parts = {}
        return self.issue(issuer, dn(subject), key, [part for part in parts.values() if part], **options)

    def authority(self, name, issuer=None, key=None, extensions=None, path_length=None, **options):
        """key: a Key, or the kind of a new one; issuer: none for a root."""
        key = key if isinstance(key, Key) else self.new_key(key or "P-256")
        sound = {"basic": basic(True, path_length), "usage": usage("keyCertSign", "cRLSign"), "skid": subject_key(key),
                 "akid": authority_key(issuer.key) if issuer else None}
        return self._issue(issuer, name, key, sound, extensions, options)

    def server(self, issuer, names, name="a server", key=None, extensions=None, **options):
        """names: of subjectAltName; none at all when empty. key: a Key or the kind of the shared one."""
        key = key if isinstance(key, Key) else self.key(key or "P-256")
        sound = {"basic": basic(False), "usage": usage("digitalSignature"), "purpose": purpose("serverAuth"),
                 "names": alternative(*names) if names else None, "skid": subject_key(key),
                 "akid": authority_key(issuer.key) if issuer else None}
        return self._issue(issuer, name, key, sound, extensions, options)

    def files(self, leaf, others=()):
        """(file with the leaf and the others behind it, file with the leaf's key)"""
        path = self._path(".pem")
        with open(path, "w", encoding="ascii") as file:
            file.write("".join(one.pem for one in (leaf, *others)))
        return path, leaf.key.path

    def trusted_for(self, certificate, *arguments):
        """OpenSSL's own form, which says what a root is good for: -addtrust serverAuth, -addreject …"""
        return openssl("x509", "-trustout", *arguments, data=certificate.pem.encode()).decode()


def at_once(jobs):
    """Calls functions side by side (openssl is a process each); their values in order."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
        return [one.result() for one in [pool.submit(job) for job in jobs]]
