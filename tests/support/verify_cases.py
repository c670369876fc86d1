"""The cases of verify_test.py: who shows which chain, what is asked for, and the verdict that must come of it.

A case is one line of the table. Its trust is the name of one of TRUSTS: a daemon with a folder of certificates (and any
further configuration) each; whatever needs another configuration gets a new entry there.
"""
import collections
import datetime

import revocation_cases
from x509 import (alternative, authority_key, basic, constraints, days, now, oid, policies, policy_constraints, purpose,
                  raw, sequence, tlv, usage)

# name: further configuration of its daemon ("section.key": value); {folder} in a value is the folder of its certificates,
# {lists} that of its other files
TRUSTS = {"roots": {}, "no roots": {}, "level 1": {"tls.security_level": "1"}, "lists": {"tls.crl": "{lists}"}, "pins": {},
          "lenient": {"tls.strict": "no"}}

# ask: what is asked for: server_name of a connection to 127.0.0.1, or the hostname itself
# expected: 0; more: the verify code of -33010, and the depth if it is a pair; less: the code of another error
# unverified: the same for verify: false
# chain: (certificate, others behind it)
# profile: the [tls "name"] that is asked for, one of World.profiles
Case = collections.namedtuple("Case", "group name chain ask expected trust server_name unverified profile", defaults=(None,))

OK = 0
NO_ISSUER_OF_CA, SIGNATURE, NOT_YET, EXPIRED, BAD_TIME = 2, 7, 9, 10, 13
SELF_SIGNED, SELF_SIGNED_ROOT, NO_ISSUER, NO_SIGNATURE = 18, 19, 20, 21
PATH_LENGTH, PURPOSE, REJECTED = 25, 26, 28
KEY_USAGE, CRITICAL, POLICY = 32, 34, 43
PERMITTED, EXCLUDED, CONSTRAINT_SYNTAX = 47, 48, 53
NAME, ADDRESS = 62, 64
WEAK_LEAF_KEY, WEAK_CA_KEY, WEAK_DIGEST = 66, 67, 68
NOT_A_CA, EXPLICIT_CURVE = 79, 94
HANDSHAKE, PARAMETERS, NOT_FOUND, INVALID = -1031, -32602, -11001, -10022


class World:
    """Collects the cases and what the daemons are to trust."""

    def __init__(self, maker):
        self.maker = maker
        self.cases = []
        self.trusted = {name: [] for name in TRUSTS}
        self.profiles = {name: {} for name in TRUSTS}  # {name of a profile: {key: value}}
        self.files = {name: {} for name in TRUSTS}  # {path below {lists}: text, bytes; None: a folder}
        self.group = ""

    def trust(self, *certificates, into=("roots", "level 1", "lenient")):
        """Certificates, or PEM text."""
        for name in into:
            self.trusted[name] += [one if isinstance(one, str) else one.pem for one in certificates]
        return certificates[0]

    def case(self, name, leaf, others, ask, expected, trust="roots", unverified=OK, by_host=False, profile=None):
        """by_host: ask is the hostname; else it is the server_name of a connection to 127.0.0.1."""
        self.cases.append(Case(self.group, name, (leaf, tuple(others)), ask, expected, trust, not by_host, unverified,
                               profile))


def chains(world):
    world.group = "chain"
    maker, case = world.maker, world.case
    root = world.root
    host = "www.tls.test"
    names = [f"DNS:{host}"]
    one = maker.authority("chain one", root)
    two = maker.authority("chain two", one)
    three = maker.authority("chain three", two)
    leaf = maker.server(three, names)
    other = maker.authority("somebody else's root")
    other_one = maker.authority("somebody else's CA", other)

    case("issued by a root", maker.server(root, names), [], host, OK)
    case("one intermediate", maker.server(one, names), [one], host, OK)
    case("three intermediates", leaf, [three, two, one], host, OK)
    case("three intermediates and the root", leaf, [three, two, one, root], host, OK)
    case("in the wrong order", leaf, [one, three, two], host, OK)
    case("the root in the middle", leaf, [root, one, three, two], host, OK)
    case("certificates of others among them", leaf, [other, three, other_one, two, maker.server(other, names), one], host,
         OK)
    case("every certificate twice", leaf, [three, three, two, two, one, one, leaf], host, OK)
    case("twenty certificates of others", maker.server(one, names), 20 * [other_one] + [one], host, OK)
    case("the intermediate is missing", maker.server(one, names), [], host, (NO_ISSUER, 0))
    case("the last intermediate is missing", leaf, [three, two], host, (NO_ISSUER, 2))
    case("one in the middle is missing", leaf, [three, one], host, (NO_ISSUER, 1))
    case("self-signed", maker.server(None, names), [], host, (SELF_SIGNED, 0))
    trusted_self = world.trust(maker.server(None, names, name="a server that is trusted itself", key=maker.new_key()))
    case("self-signed, trusted itself", trusted_self, [], host, OK)
    case("self-signed, trusted itself, another name", trusted_self, [], "other.tls.test", (NAME, 0))
    case("unknown root, not shown", maker.server(other, names), [], host, (NO_ISSUER, 0))
    case("unknown root, shown", maker.server(other, names), [other], host, (SELF_SIGNED_ROOT, 1))
    case("unknown root behind an intermediate", maker.server(other_one, names), [other_one, other], host,
         (SELF_SIGNED_ROOT, 2))
    half = world.trust(maker.authority("trusted without its root", maker.authority("never shown")))
    case("an intermediate in the store, no root", maker.server(half, names), [], host, (NO_ISSUER_OF_CA, 1))
    case("the root's name, another key", maker.server(maker.authority("tcpbroker case root"), names), [], host,
         (NO_ISSUER, 0))
    case("the root's name and key identifier, another key", maker.server(
        maker.authority("tcpbroker case root"), names, extensions={"akid": authority_key(root.key)}), [], host,
        (SIGNATURE, 0))
    case("a damaged signature", maker.server(root, names).damaged(), [], host, (SIGNATURE, 0))
    case("a damaged signature of the intermediate", maker.server(one, names), [one.damaged()], host, (SIGNATURE, 1))
    case("the algorithm named twice differently", maker.server(
        maker.authority("chain rsa", root, key=maker.key("rsa2048")), names, inner_digest="sha1"), [
            maker.authority("chain rsa", root, key=maker.key("rsa2048"))], host, (78, 0))
    case("a loop of two CAs", *loop(maker, names), host, NO_ISSUER)
    case("no certificate to trust", maker.server(root, names), [root], host, -1027, trust="no roots")
    deep = [root]
    for number in range(101):
        deep.append(maker.authority(f"deep {number}", deep[-1], key=root.key))
    case("a chain of 9 intermediates", maker.server(deep[9], names), deep[9:0:-1], host, OK)
    case("a chain of 101 intermediates", maker.server(deep[101], names), deep[101:0:-1], host, 22)


def loop(maker, names):
    """A leaf, and two CAs that issued each other."""
    first, second = maker.authority("loop first"), maker.authority("loop second")
    a, b = maker.authority("loop first", second, key=first.key), maker.authority("loop second", first, key=second.key)
    return maker.server(a, names), [a, b]


def alternatives(world):
    world.group = "alternatives"
    maker, case = world.maker, world.case
    root = world.root
    host = "www.tls.test"
    names = [f"DNS:{host}"]
    expired = {"valid": (-400, -1)}
    old = world.trust(maker.authority("an old root", **expired))
    unknown = maker.authority("a root that is not known")

    # a CA with a root's certificate of its own, and certificates by others for the same key
    new = world.trust(maker.authority("alternatives new root"))
    new_by_old = maker.authority("alternatives new root", old, key=new.key)
    case("cross-signed by an expired root, the new root is known", maker.server(new, names), [new_by_old], host, OK)
    case("the same, and the old root is shown", maker.server(new, names), [new_by_old, old], host, OK)
    case("cross-signed by an unknown root", maker.server(new, names), [maker.authority(
        "alternatives new root", unknown, key=new.key), unknown], host, OK)
    cross = maker.authority("alternatives cross")
    good = maker.authority("alternatives cross", root, key=cross.key)
    bad = {
        "expired": maker.authority("alternatives cross", root, key=cross.key, **expired),
        "not yet valid": maker.authority("alternatives cross", root, key=cross.key, valid=(1, 30)),
        "of an expired root": maker.authority("alternatives cross", old, key=cross.key),
        "of an unknown root": maker.authority("alternatives cross", unknown, key=cross.key),
        "of another key": maker.authority("alternatives cross", root),
        "with a damaged signature": good.damaged(),
        "without the right to sign": maker.authority("alternatives cross", root, key=cross.key,
                                                     extensions={"usage": usage("cRLSign")}),
        "with an unknown critical extension": maker.authority("alternatives cross", root, key=cross.key, extensions={
            "extra": raw("1.2.3.4.5", b"\x05\0", True)}),
        "for other names": maker.authority("alternatives cross", root, key=cross.key, extensions={
            "constraints": constraints(permitted=["DNS:other.test"])}),
        "for another purpose": maker.authority("alternatives cross", root, key=cross.key, extensions={
            "purpose": purpose("emailProtection")}),
        "with a weak signature": maker.authority("alternatives cross", root, key=cross.key, digest="sha1"),
    }
    leaf = maker.server(cross, names)
    for what, one in bad.items():
        case(f"first one {what}, then a good one", leaf, [one, good], host, OK)
    case("a good one, then all the bad ones", leaf, [good, *bad.values()], host, OK)
    case("an alternative does not excuse the name", leaf, [bad["of an expired root"], good], "other.tls.test", NAME)
    case("an alternative does not excuse the date", maker.server(cross, names, valid=(-30, -1)),
         [bad["of an unknown root"], good], host, NO_ISSUER)
    case("an alternative does not excuse the purpose", maker.server(cross, names, extensions={
        "purpose": purpose("clientAuth")}), [bad["of an unknown root"], good], host, NO_ISSUER)
    case("all the bad ones, then a good one", leaf, [*bad.values(), good], host, OK)
    below = maker.authority("alternatives below", cross)
    case("one level up: first expired, then a good one", maker.server(below, names), [below, bad["expired"], good], host,
         OK)
    case("one level up: first of an expired root", maker.server(below, names), [below, bad["of an expired root"], good],
         host, OK)
    case("only bad ones: expired", leaf, [bad["expired"], bad["of an unknown root"]], host, (NO_ISSUER, 1))
    case("only bad ones: of an expired root", leaf, [bad["of an expired root"]], host, (EXPIRED, 2))
    # the store has something expired
    renewed = world.trust(maker.authority("a renewed root", **expired))
    world.trust(maker.authority("a renewed root", key=renewed.key))
    case("an expired root and its successor with the same key", maker.server(renewed, names), [], host, OK)
    case("the same, and the expired one is shown", maker.server(renewed, names), [renewed], host, OK)
    rekeyed_old = world.trust(maker.authority("a root with a new key", **expired))
    rekeyed = world.trust(maker.authority("a root with a new key"))
    case("an expired root and its successor with another key", maker.server(rekeyed, names), [], host, OK)
    case("the same, issued by the expired one", maker.server(rekeyed_old, names), [], host, (EXPIRED, 1))
    twin = [world.trust(maker.authority("a root of two keys")) for _ in range(2)]
    for number, one in enumerate(twin, 1):
        case(f"two roots of one name: key {number}", maker.server(one, names), [], host, OK)
    gone = world.trust(maker.authority("an expired root, cross-signed since", **expired))
    gone_by_root = maker.authority("an expired root, cross-signed since", root, key=gone.key)
    case("an expired root, but cross-signed by a good one", maker.server(gone, names), [gone_by_root], host, OK)


def dates(world):
    world.group = "dates"
    maker, case = world.maker, world.case
    root = world.root
    host = "www.tls.test"
    names = [f"DNS:{host}"]
    for what, valid, code in (("expired", (-30, -1), EXPIRED), ("not yet valid", (1, 30), NOT_YET)):
        case(f"server {what}", maker.server(root, names, valid=valid), [], host, (code, 0))
        ca = maker.authority(f"dates CA {what}", root, valid=valid)
        case(f"intermediate {what}", maker.server(ca, names), [ca], host, (code, 1))
        above = world.trust(maker.authority(f"dates root {what}", valid=valid))
        case(f"root {what}", maker.server(above, names), [], host, (code, 1))
    second = datetime.timedelta(seconds=1)
    moments = {"expired an hour ago": (days(-1), now() - 3600 * second, (EXPIRED, 0)),
               "expired two seconds ago": (days(-1), now() - 2 * second, (EXPIRED, 0)),
               "valid since this second": (now(), days(1), OK),
               "valid in an hour": (now() + 3600 * second, days(1), (NOT_YET, 0)),
               "valid until 2049": (days(-1), now().replace(year=2049, day=1), OK),
               "valid until 2050": (days(-1), now().replace(year=2050, day=1), OK),
               "valid for ever (RFC 5280 4.1.2.5)": (days(-1), now().replace(
                   year=9999, month=12, day=31, hour=23, minute=59, second=59), OK),
               "valid since 1950": (now().replace(year=1950, day=1), days(1), OK),
               "ends before it begins": (days(1), days(-1), (NOT_YET, 0))}
    for what, (first, last, expected) in moments.items():
        case(what, maker.server(root, names, valid=(first, last)), [], host, expected)


def authorities(world):
    world.group = "CA"
    maker, case = world.maker, world.case
    root = world.root
    host = "www.tls.test"
    names = [f"DNS:{host}"]

    def through(what, expected, extensions=None, **options):
        ca = maker.authority("CA " + what, root, extensions=extensions, **options)
        case(what, maker.server(ca, names), [ca], host, expected)

    def at_root(what, expected, extensions=None, **options):
        ca = world.trust(maker.authority("CA " + what, extensions=extensions, **options))
        case(what, maker.server(ca, names), [], host, expected)

    no_ca = maker.server(root, names, name="no CA", key=maker.new_key())
    case("issued by a server", maker.server(no_ca, names), [no_ca], host, (NOT_A_CA, 1))
    through("basicConstraints says no CA", (NOT_A_CA, 1), {"basic": basic(False)})
    through("without basicConstraints", (NOT_A_CA, 1), {"basic": None})
    through("basicConstraints not critical", (89, 1), {"basic": basic(True, critical=False)})
    through("without keyUsage", (92, 1), {"usage": None})
    through("keyUsage without keyCertSign", (NOT_A_CA, 1), {"usage": usage("digitalSignature", "cRLSign")})
    through("keyUsage not critical", OK, {"usage": usage("keyCertSign", critical=False)})
    through("without its key identifier", (86, 1), {"skid": None})
    through("an unknown critical extension", (CRITICAL, 1), {"extra": raw("1.2.3.4.5", b"\x05\0", True)})
    through("an unknown extension", OK, {"extra": raw("1.2.3.4.5", b"\x05\0")})
    through("version 1", (NOT_A_CA, 1), version=1)
    at_root("root: basicConstraints says no CA", (NOT_A_CA, 1), {"basic": basic(False)})
    at_root("root: keyUsage without keyCertSign", (NOT_A_CA, 1), {"usage": usage("cRLSign")})
    at_root("root: an unknown critical extension", (CRITICAL, 1), {"extra": raw("1.2.3.4.5", b"\x05\0", True)})
    # of a trust anchor only its name and its key count (RFC 5280 section 6.1), not how its certificate is made: these are
    # errors in certificates that were sent only (above)
    at_root("root: basicConstraints not critical", OK, {"basic": basic(True, critical=False)})
    at_root("root: without keyUsage", OK, {"usage": None})
    at_root("root: without its key identifier", OK, {"skid": None})
    at_root("root: nothing but basicConstraints", OK, {"usage": None, "skid": None, "basic": basic(True, critical=False)})
    at_root("root: version 1", (NOT_A_CA, 1), version=1)
    bare = world.trust(maker.authority("CA without keyUsage, in the store", root, extensions={"usage": None, "skid": None}))
    case("intermediate in the store: without keyUsage", maker.server(bare, names), [], host, OK)
    case("intermediate in the store and sent", maker.server(bare, names), [bare], host, OK)
    bare_root = world.trust(maker.authority("CA root without keyUsage, sent too", extensions={"usage": None}))
    case("root without keyUsage, sent too", maker.server(bare_root, names), [bare_root], host, OK)
    sloppy = maker.authority("CA below it, without keyUsage", bare_root, extensions={"usage": None})
    case("a CA below it without keyUsage is sent", maker.server(sloppy, names), [sloppy], host, (92, 1))
    # strict = no: certificates that were sent, too; all else stays as it is
    world.profiles["roots"]["lenient"] = {"strict": "no"}
    world.profiles["roots"]["strict"] = {"strict": "yes"}
    world.profiles["lenient"]["strict"] = {"strict": "yes"}
    plain = maker.server(root, names, extensions={"skid": None, "akid": None})
    ca = maker.authority("CA without keyUsage, lenient", root, extensions={"usage": None})
    for trust, profile, good in (("roots", None, False), ("roots", "lenient", True), ("roots", "strict", False),
                                 ("lenient", None, True), ("lenient", "strict", False)):
        what = f"{trust}, {profile}: "
        case(what + "server without key identifiers", plain, [], host, OK if good else (85, 0), trust=trust, profile=profile)
        case(what + "CA without keyUsage", maker.server(ca, names), [ca], host, OK if good else (92, 1), trust=trust,
             profile=profile)
        case(what + "issued by a server", maker.server(no_ca, names), [no_ca], host, (NOT_A_CA, 1), trust=trust,
             profile=profile)
    at_root("root: path length 0", OK, path_length=0)
    short = world.trust(maker.authority("CA root of path length 0", path_length=0))
    below = maker.authority("CA below path length 0", short)
    case("a CA below a root of path length 0", maker.server(below, names), [below], host, (PATH_LENGTH, 2))
    zero = maker.authority("CA of path length 0", root, path_length=0)
    one = maker.authority("CA of path length 1", root, path_length=1)
    below_zero, below_one = maker.authority("CA below 0", zero), maker.authority("CA below 1", one)
    below_below_one = maker.authority("CA below below 1", below_one)
    itself = maker.authority("CA of path length 0", zero)
    case("path length 0, a server", maker.server(zero, names), [zero], host, OK)
    case("path length 0, a CA", maker.server(below_zero, names), [below_zero, zero], host, (PATH_LENGTH, 2))
    case("path length 0, a CA of the same name", maker.server(itself, names), [itself, zero], host, OK)
    case("path length 1, a CA", maker.server(below_one, names), [below_one, one], host, OK)
    case("path length 1, two CAs", maker.server(below_below_one, names), [below_below_one, below_one, one], host,
         (PATH_LENGTH, 3))
    through("path length without keyCertSign", (NOT_A_CA, 1), {"basic": basic(True, 0), "usage": usage("cRLSign")})
    through("an extension twice", (NO_ISSUER, 0), {"again": basic(True)})
    through("a negative path length", (NO_ISSUER, 0), {"basic": basic(True, -1)})


def purposes(world):
    world.group = "purpose"
    maker, case = world.maker, world.case
    root = world.root
    host = "www.tls.test"
    names = [f"DNS:{host}"]

    def server(what, expected, extensions, **options):
        case(what, maker.server(root, names, extensions=extensions, **options), [], host, expected)

    def ca(what, expected, extensions):
        above = maker.authority("purpose " + what, root, extensions=extensions)
        case(what, maker.server(above, names), [above], host, expected)

    server("serverAuth among others", OK, {"purpose": purpose("clientAuth", "serverAuth", "1.2.3.4")})
    server("no extendedKeyUsage", OK, {"purpose": None})
    server("clientAuth only", (PURPOSE, 0), {"purpose": purpose("clientAuth")})
    server("clientAuth only, critical", (PURPOSE, 0), {"purpose": purpose("clientAuth", critical=True)})
    server("serverAuth, critical", OK, {"purpose": purpose("serverAuth", critical=True)})
    server("codeSigning and emailProtection", (PURPOSE, 0), {"purpose": purpose("codeSigning", "emailProtection")})
    server("a purpose nobody knows", (PURPOSE, 0), {"purpose": purpose("1.2.3.4")})
    server("any purpose", (PURPOSE, 0), {"purpose": purpose("any")})
    server("key usage: keyAgreement only", OK, {"usage": usage("keyAgreement")})
    server("key usage: cRLSign only", (PURPOSE, 0), {"usage": usage("cRLSign")})
    server("key usage: keyCertSign, but no CA", (82, 0), {"usage": usage("digitalSignature", "keyCertSign")})
    server("no keyUsage", OK, {"usage": None})
    server("a CA's certificate as the server's", OK, {"basic": basic(True), "usage": usage(
        "keyCertSign", "digitalSignature")})
    server("a path length, but no CA", (80, 0), {"basic": basic(False, 0)})
    server("no basicConstraints", OK, {"basic": None})
    server("no key identifiers", (85, 0), {"skid": None, "akid": None})
    server("an unknown critical extension in the server's", (CRITICAL, 0), {"extra": raw("1.2.3.4.5", b"\x05\0", True)})
    server("an unknown extension in the server's", OK, {"extra": raw("1.2.3.4.5", b"\x05\0")})
    server("version 1, no extensions", (NAME, 0), None, version=1)
    server("extensions in version 1", (93, 0), {}, version=1)
    server("a poisoned precertificate (RFC 6962 3.1)", (CRITICAL, 0), {
        "poison": raw("1.3.6.1.4.1.11129.2.4.3", b"\x05\0", True)})
    server("a critical policy", OK, {"policies": policies("2.23.140.1.2.1", critical=True)})
    ca("CA: serverAuth", OK, {"purpose": purpose("serverAuth")})
    ca("CA: clientAuth only", (PURPOSE, 1), {"purpose": purpose("clientAuth")})
    ca("CA: emailProtection, critical", (PURPOSE, 1), {"purpose": purpose("emailProtection", critical=True)})
    ca("CA: any purpose", (PURPOSE, 1), {"purpose": purpose("any")})

    def policy(what, expected, extensions, of_server):
        above = maker.authority("policy " + what, root, extensions=extensions)
        case("policies: " + what, maker.server(above, names, extensions={"policies": of_server}), [above], host, expected)

    mine, another = policies("1.2.3.4.1"), policies("1.2.3.4.2")
    policy("nobody requires any", OK, {"policies": mine}, another)
    policy("required, and there", OK, {"policies": mine, "constraints": policy_constraints(0)}, mine)
    policy("required, none is there", POLICY, {"policies": mine, "constraints": policy_constraints(0)}, None)
    policy("required, another one is there", POLICY, {"policies": mine, "constraints": policy_constraints(0)}, another)
    policy("required, the CA itself has none", (42, 1), {"constraints": policy_constraints(0)}, mine)
    policy("required two levels further down", OK, {"policies": mine, "constraints": policy_constraints(2)}, None)
    policy("one that is damaged", (42, None), {"policies": mine, "constraints": raw(
        "2.5.29.36", b"\x30\x03\x80\x05\0", True)}, mine)
    mail = maker.authority("purpose root for mail")
    world.trust(maker.trusted_for(mail, "-addtrust", "emailProtection"))
    case("root: trusted for mail only", maker.server(mail, names), [], host, (REJECTED, 1))
    no_web = maker.authority("purpose root not for servers")
    world.trust(maker.trusted_for(no_web, "-addreject", "serverAuth"))
    case("root: rejected for servers", maker.server(no_web, names), [], host, (REJECTED, 1))
    web = maker.authority("purpose root for servers")
    world.trust(maker.trusted_for(web, "-addtrust", "serverAuth"))
    case("root: trusted for servers", maker.server(web, names), [], host, OK)


def name_constraints(world):
    world.group = "constraints"
    maker, case = world.maker, world.case
    root = world.root

    def through(what, expected, rules, names, ask, **options):
        ca = maker.authority("constraints " + what, root, extensions={"constraints": constraints(**rules)})
        case(what, maker.server(ca, names, **options), [ca], ask, expected)

    inside, outside, address = "www.in.test", "www.out.test", "127.0.0.1"
    through("a domain is permitted", OK, {"permitted": ["DNS:in.test"]}, [f"DNS:{inside}"], inside)
    through("the domain itself", OK, {"permitted": ["DNS:in.test"]}, ["DNS:in.test"], "in.test")
    through("in capitals", OK, {"permitted": ["DNS:IN.test"]}, [f"DNS:{inside}"], inside)
    through("another domain", (PERMITTED, 0), {"permitted": ["DNS:in.test"]}, [f"DNS:{outside}"], outside)
    through("a longer label is another domain", (PERMITTED, 0), {"permitted": ["DNS:in.test"]}, ["DNS:win.test"],
            "win.test")
    through("one of the names is not permitted", (PERMITTED, 0), {"permitted": ["DNS:in.test"]},
            [f"DNS:{inside}", f"DNS:{outside}"], inside)
    through("two domains are permitted", OK, {"permitted": ["DNS:in.test", "DNS:out.test"]}, [f"DNS:{outside}"], outside)
    through("a wildcard inside", OK, {"permitted": ["DNS:in.test"]}, ["DNS:*.in.test"], inside)
    through("a wildcard outside", (PERMITTED, 0), {"permitted": ["DNS:in.test"]}, ["DNS:*.out.test"], outside)
    through("a domain is excluded", (EXCLUDED, 0), {"excluded": ["DNS:out.test"]}, [f"DNS:{outside}"], outside)
    through("another one is excluded", OK, {"excluded": ["DNS:out.test"]}, [f"DNS:{inside}"], inside)
    through("excluded in capitals", (EXCLUDED, 0), {"excluded": ["DNS:OUT.TEST"]}, [f"DNS:{outside}"], outside)
    through("permitted, but part of it excluded", (EXCLUDED, 0), {"permitted": ["DNS:in.test"], "excluded": [
        "DNS:www.in.test"]}, [f"DNS:{inside}"], inside)
    through("all names are excluded", (EXCLUDED, 0), {"excluded": ["DNS:"]}, [f"DNS:{inside}"], inside)
    through("names are constrained, the certificate has an address only", OK, {"permitted": ["DNS:in.test"]},
            [f"IP:{address}"], address)
    through("addresses permitted", OK, {"permitted": ["IP:127.0.0.0/8"]}, [f"IP:{address}"], address)
    through("addresses not permitted", (PERMITTED, 0), {"permitted": ["IP:10.0.0.0/8"]}, [f"IP:{address}"], address)
    through("addresses excluded", (EXCLUDED, 0), {"excluded": ["IP:127.0.0.0/8"]}, [f"IP:{address}"], address)
    through("IPv6 addresses permitted", OK, {"permitted": ["IP:::/64"]}, ["IP:::1"], "::1")
    through("IPv6 addresses not permitted", (PERMITTED, 0), {"permitted": ["IP:2001:db8::/32"]}, ["IP:::1"], "::1")
    through("IPv4 is permitted, the address is IPv6", (PERMITTED, 0), {"permitted": ["IP:0.0.0.0/0"]}, ["IP:::1"], "::1")
    through("a directory name is permitted, another is the subject", (PERMITTED, 0), {"permitted": ["DN:good"]},
            [f"DNS:{inside}"], inside, name="bad")
    through("a directory name is permitted", OK, {"permitted": ["DN:good"]}, [f"DNS:{inside}"], inside, name="good")
    through("an address mask of three bytes", (CONSTRAINT_SYNTAX, 0), {"permitted": [b"IP:\x7f\0\0\xff\0\0"]},
            [f"IP:{address}"], address)
    through("a constraint that begins with a dot", OK, {"permitted": ["DNS:.in.test"]}, [f"DNS:{inside}"], inside)

    above = maker.authority("constraints above", root, extensions={"constraints": constraints(permitted=["DNS:in.test"])})
    below = maker.authority("constraints below", above, extensions={"constraints": constraints(permitted=["DNS:test"])})
    case("a CA below cannot widen them", maker.server(below, [f"DNS:{outside}"]), [below, above], outside, (PERMITTED, 0))
    case("a CA below, inside", maker.server(below, [f"DNS:{inside}"]), [below, above], inside, OK)
    at_root = world.trust(maker.authority("constraints root", extensions={"constraints": constraints(
        permitted=["DNS:in.test"])}))
    case("at the root, inside", maker.server(at_root, [f"DNS:{inside}"]), [], inside, OK)
    case("at the root, outside", maker.server(at_root, [f"DNS:{outside}"]), [], outside, (PERMITTED, 0))
    through("the common name is outside (it is not a name)", OK, {"permitted": ["DNS:in.test"]}, [f"DNS:{inside}"],
            inside, name=outside)


def strength(world):
    world.group = "strength"
    maker, case = world.maker, world.case
    root = world.root
    host = "www.tls.test"
    names = [f"DNS:{host}"]
    rsa = world.trust(maker.authority("strength rsa", key=maker.key("rsa2048")))
    small = maker.key("rsa1024")
    small_ca = maker.authority("strength small CA", root, key=small)
    small_root = world.trust(maker.authority("strength small root", key=small))
    sha1_ca = maker.authority("strength sha1 CA", root, digest="sha1")
    md5_ca = maker.authority("strength md5 CA", rsa, digest="md5")
    sha1_root = world.trust(maker.authority("strength sha1 root", digest="sha1"))
    md5_root = world.trust(maker.authority("strength md5 root", key=maker.key("rsa2048"), digest="md5"))
    case("server: RSA 2048", maker.server(root, names, key="rsa2048"), [], host, OK)
    case("server: RSA 1024", maker.server(root, names, key="rsa1024"), [], host, (WEAK_LEAF_KEY, 0))
    case("intermediate: RSA 1024", maker.server(small_ca, names), [small_ca], host, (WEAK_CA_KEY, 1))
    case("root: RSA 1024", maker.server(small_root, names), [], host, (WEAK_CA_KEY, 1))
    case("server: SHA-1 (ECDSA)", maker.server(root, names, digest="sha1"), [], host, (WEAK_DIGEST, 0))
    case("server: SHA-1 (RSA)", maker.server(rsa, names, digest="sha1"), [], host, (WEAK_DIGEST, 0))
    case("server: MD5", maker.server(rsa, names, digest="md5"), [], host, (WEAK_DIGEST, 0))
    case("intermediate: SHA-1", maker.server(sha1_ca, names), [sha1_ca], host, (WEAK_DIGEST, 1))
    case("intermediate: MD5", maker.server(md5_ca, names), [md5_ca], host, (WEAK_DIGEST, 1))
    case("root: SHA-1, its own signature says nothing", maker.server(sha1_root, names), [], host, OK)
    case("root: MD5, its own signature says nothing", maker.server(md5_root, names), [sha1_root], host, OK)
    case("server: P-384", maker.server(root, names, key="P-384"), [], host, OK)
    case("server: Ed25519", maker.server(root, names, key="ed25519"), [], host, OK)
    case("server: P-224, no TLS with it", maker.server(root, names, key="secp224r1"), [], host, HANDSHAKE,
         unverified=HANDSHAKE)
    case("server: P-192, no TLS with it", maker.server(root, names, key="prime192v1"), [], host, HANDSHAKE,
         unverified=HANDSHAKE)
    for kind, expected in (("prime192v1", (WEAK_CA_KEY, 1)), ("secp224r1", OK), ("P-384", OK), ("ed25519", OK)):
        ca = maker.authority("strength CA " + kind, root, key=kind)
        case(f"intermediate: {kind}", maker.server(ca, names), [ca], host, expected)
    explicit = maker.authority("strength explicit curve", root, key="P-256-explicit")
    case("intermediate: a curve by its parameters", maker.server(explicit, names), [explicit], host, (EXPLICIT_CURVE, 1))
    case("strict = no: SHA-1", maker.server(rsa, names, digest="sha1"), [], host, (WEAK_DIGEST, 0), trust="lenient")
    case("level 1: SHA-1", maker.server(rsa, names, digest="sha1"), [], host, (WEAK_DIGEST, 0), trust="level 1")
    case("level 1: RSA 1024", maker.server(root, names, key="rsa1024"), [], host, OK, trust="level 1")


def dns_names(world):
    world.group = "names"
    maker = world.maker
    root = world.root

    def case(what, names, ask, expected, **options):
        name = options.pop("name", "a server")
        extensions = options.pop("extensions", None)
        world.case(what, maker.server(root, names, name=name, extensions=extensions), [], ask, expected, **options)

    label = "a" * 63
    longest = ".".join([label, label, label, "a" * 56, "test"])[-253:].lstrip(".")
    case("the name", ["DNS:www.tls.test"], "www.tls.test", OK)
    case("by looking it up", ["DNS:www.tls.test"], "www.tls.test", OK, by_host=True)
    case("another name", ["DNS:www.tls.test"], "other.tls.test", (NAME, 0))
    case("another name, by looking it up", ["DNS:www.tls.test"], "other.tls.test", (NAME, 0), by_host=True)
    case("one of many", [f"DNS:h{number}.tls.test" for number in range(200)], "h199.tls.test", OK)
    case("none of many", [f"DNS:h{number}.tls.test" for number in range(200)], "h200.tls.test", (NAME, 0))
    case("asked in capitals", ["DNS:www.tls.test"], "WWW.TLS.Test", OK)
    case("capitals in the certificate", ["DNS:WWW.tls.TEST"], "www.tls.test", OK)
    case("asked with the dot of the root", ["DNS:www.tls.test"], "www.tls.test.", OK)
    case("asked with two dots at the end", ["DNS:www.tls.test"], "www.tls.test..", INVALID, unverified=INVALID)
    case("the dot of the root in the certificate", ["DNS:www.tls.test."], "www.tls.test", (NAME, 0))
    case("the dot of the root in both", ["DNS:www.tls.test."], "www.tls.test.", (NAME, 0))
    case("the certificate begins with a dot", ["DNS:.tls.test"], "www.tls.test", (NAME, 0))
    case("asked for a name that begins with a dot", ["DNS:www.tls.test"], ".tls.test", PARAMETERS, unverified=PARAMETERS)
    case("an empty label in the middle", ["DNS:www..tls.test"], "www..tls.test", INVALID, unverified=INVALID)
    case("nothing asked for", ["DNS:www.tls.test"], "", PARAMETERS, unverified=PARAMETERS)
    case("a sub-domain of the name", ["DNS:tls.test"], "www.tls.test", (NAME, 0))
    case("the domain above the name", ["DNS:www.tls.test"], "tls.test", (NAME, 0))
    case("one label", ["DNS:localhost"], "localhost", OK)
    case("common name only", [], "www.tls.test", (NAME, 0), name="www.tls.test")
    case("the common name fits, the names do not", ["DNS:other.test"], "www.tls.test", (NAME, 0), name="www.tls.test")
    case("the common name fits, there is only an address", ["IP:127.0.0.1"], "www.tls.test", (NAME, 0),
         name="www.tls.test")
    case("an empty subject, names critical", ["DNS:www.tls.test"], "www.tls.test", OK, name=None, extensions={
        "names": alternative("DNS:www.tls.test", critical=True)})
    case("an empty subject, names not critical", ["DNS:www.tls.test"], "www.tls.test", (88, 0), name=None)
    case("an empty list of names", [], "www.tls.test", (87, 0), extensions={"names": raw("2.5.29.17", sequence())})
    case("an empty name", ["DNS:"], "www.tls.test", (NAME, 0))
    case("underscores", ["DNS:a_b.tls.test"], "a_b.tls.test", OK)
    case("a digit at the start", ["DNS:3com.tls.test"], "3com.tls.test", OK)
    case("the longest name there is, 253 bytes", [f"DNS:{longest}"], longest, OK)
    case("one byte too many, 254", [f"DNS:a{longest}"], "a" + longest, PARAMETERS, unverified=PARAMETERS)
    case("a label of 64 bytes", [f"DNS:{label}a.test"], f"{label}a.test", INVALID, unverified=INVALID)
    case("NUL in the certificate's name", [b"DNS:www.tls.test\0.evil.test"], "www.tls.test", (NAME, 0))
    case("NUL at its end", [b"DNS:www.tls.test\0"], "www.tls.test", (NAME, 0))
    case("NUL in the common name", [], "www.tls.test", (NAME, 0), name=b"www.tls.test\0.evil.test")
    case("NUL asked for", ["DNS:www.tls.test"], "www.tls.test\0.evil.test", -32700, unverified=-32700)
    case("a blank at the end of the certificate's name", ["DNS:www.tls.test "], "www.tls.test", (NAME, 0))
    case("the name as an URI", ["URI:https://www.tls.test/"], "www.tls.test", (NAME, 0))
    case("the name as a mail address", ["MAIL:www.tls.test"], "www.tls.test", (NAME, 0))
    case("the name as a directory name", ["DN:www.tls.test"], "www.tls.test", (NAME, 0))
    other_name = tlv(0xA0, oid("1.3.6.1.5.5.7.8.7"), tlv(0xA0, tlv(0x16, b"_x.www.tls.test")))
    case("as another kind of name (SRV)", [], "www.tls.test", (NAME, 0), extensions={
        "names": raw("2.5.29.17", sequence(other_name))})


def wildcards(world):
    world.group = "wildcards"
    maker = world.maker
    root = world.root

    def case(pattern, ask, expected, **options):
        world.case(f"{pattern} for {ask}", maker.server(root, ["DNS:" + pattern]), [], ask, expected, **options)

    case("*.tls.test", "www.tls.test", OK)
    case("*.tls.test", "WWW.TLS.TEST", OK)
    case("*.tls.test", "www.tls.test.", OK)
    case("*.tls.test", "tls.test", (NAME, 0))
    case("*.tls.test", "a.www.tls.test", (NAME, 0))
    case("*.tls.test", "xn--bcher-kva.tls.test", OK)
    case("*.tls.test", "bücher.tls.test", OK)
    case("*.tls.test", "*.tls.test", INVALID, unverified=INVALID)
    case("*.tls.test", "a_b.tls.test", (NAME, 0))
    case("*.tls.test", "127.0.0.1", (ADDRESS, 0))
    case("*.a.tls.test", "www.b.tls.test", (NAME, 0))
    case("w*.tls.test", "www.tls.test", (NAME, 0))
    case("*w.tls.test", "www.tls.test", (NAME, 0))
    case("w*w.tls.test", "www.tls.test", (NAME, 0))
    case("**.tls.test", "www.tls.test", (NAME, 0))
    case("xn--*.tls.test", "xn--bcher-kva.tls.test", (NAME, 0))
    case("*", "localhost", (NAME, 0))
    case("*", "www.tls.test", (NAME, 0))
    case("*.", "localhost", (NAME, 0))
    case("*.test", "tls.test", (NAME, 0))
    case("*.*.test", "www.tls.test", (NAME, 0))
    case("*.*", "tls.test", (NAME, 0))
    case("www.*.test", "www.tls.test", (NAME, 0))
    case("www.tls.*", "www.tls.test", (NAME, 0))
    case("*.0.0.1", "127.0.0.1", (ADDRESS, 0))
    case("*.tls.test.", "www.tls.test", (NAME, 0))
    case(".*.tls.test", "www.tls.test", (NAME, 0))


def idn(world):
    world.group = "IDN"
    maker = world.maker
    root = world.root

    def case(what, names, ask, expected, **options):
        world.case(what, maker.server(root, names), [], ask, expected, **options)

    label = "DNS:xn--bcher-kva.tls.test"
    case("asked in its own letters", [label], "bücher.tls.test", OK)
    case("asked in its own letters, by looking it up", [label], "bücher.tls.test", OK, by_host=True)
    case("asked with capitals", [label], "BÜCHER.tls.test", OK)
    case("asked decomposed (u and two dots)", [label], "bu\u0308cher.tls.test", OK)
    case("asked with an ideographic full stop", [label], "bücher\u3002tls.test", OK)
    case("asked in full-width letters", ["DNS:www.tls.test"], "ｗｗｗ.tls.test", OK)
    case("asked as the A-label", [label], "xn--bcher-kva.tls.test", OK)
    case("asked as the A-label, in capitals", [label], "XN--BCHER-KVA.tls.test", OK)
    case("another name in its own letters", [label], "bücherei.tls.test", (NAME, 0))
    case("without the dots it is another name", [label], "bucher.tls.test", (NAME, 0))
    case("UTF-8 in the certificate", ["DNS:bücher.tls.test"], "bücher.tls.test", (NAME, 0))
    case("Latin-1 in the certificate", [b"DNS:b\xfccher.tls.test"], "bücher.tls.test", (NAME, 0))
    case("sharp s stays one (IDNA 2008)", ["DNS:xn--strae-oqa.tls.test"], "straße.tls.test", OK)
    case("sharp s is not ss", ["DNS:strasse.tls.test"], "straße.tls.test", (NAME, 0))
    case("a Cyrillic letter that looks like another", ["DNS:a.tls.test"], "\u0430.tls.test", (NAME, 0))
    case("Chinese, every label", ["DNS:xn--fsq.xn--0zwm56d"], "例.测试", OK)
    case("a symbol that IDNA 2008 does not have", [label], "\u2603\u200d.tls.test", INVALID, unverified=INVALID)
    case("a dot in disguise at the start", [label], "\u3002tls.test", INVALID, unverified=INVALID)
    case("a label too long once it is converted", [label], "ü" * 62 + ".test", INVALID, unverified=INVALID)
    case("full-width digits are an address", ["DNS:127.0.0.1"], "１２７.0.0.1", (ADDRESS, 0))


def addresses(world):
    world.group = "addresses"
    maker = world.maker
    root = world.root

    def case(what, names, ask, expected, **options):
        name = options.pop("name", "a server")
        world.case(what, maker.server(root, names, name=name), [], ask, expected, **options)

    case("IPv4", ["IP:127.0.0.1"], "127.0.0.1", OK)
    case("IPv4, connected to", ["IP:127.0.0.1"], "127.0.0.1", OK, by_host=True)
    case("another IPv4 address", ["IP:127.0.0.2"], "127.0.0.1", (ADDRESS, 0))
    case("IPv4 as a DNS name", ["DNS:127.0.0.1"], "127.0.0.1", (ADDRESS, 0))
    case("IPv4 as a DNS name, asked with a dot", ["DNS:127.0.0.1"], "127.0.0.1.", (ADDRESS, 0))
    case("IPv4, asked with a dot", ["IP:127.0.0.1"], "127.0.0.1.", OK)
    case("IPv4 as the common name", [], "127.0.0.1", (ADDRESS, 0), name="127.0.0.1")
    case("IPv4 as an URI", ["URI:https://127.0.0.1/"], "127.0.0.1", (ADDRESS, 0))
    case("a short form asked for", ["IP:127.0.0.1"], "127.1", OK)
    case("a short form as a DNS name", ["DNS:127.1"], "127.1", (ADDRESS, 0))
    case("one number asked for", ["DNS:2130706433"], "2130706433", (ADDRESS, 0))
    case("hexadecimal as a DNS name", ["DNS:0x7f.0.0.1"], "0x7f.0.0.1", (ADDRESS, 0))
    case("no address at all in the certificate", ["DNS:localhost"], "127.0.0.1", (ADDRESS, 0))
    case("IPv6", ["IP:::1"], "::1", OK)
    case("IPv6, connected to", ["IP:::1"], "::1", OK, by_host=True)
    case("IPv6 in brackets", ["IP:::1"], "[::1]", OK, by_host=True)
    case("IPv6 in brackets as server_name", ["IP:::1"], "[::1]", OK)
    case("IPv6, written in full", ["IP:::1"], "0:0:0:0:0:0:0:1", OK)
    case("IPv6, in capitals", ["IP:2001:db8::abcd"], "2001:DB8::ABCD", OK)
    case("another IPv6 address", ["IP:::2"], "::1", (ADDRESS, 0))
    case("IPv6 as a DNS name", ["DNS:::1"], "::1", (ADDRESS, 0))
    case("IPv6 as the common name", [], "::1", (ADDRESS, 0), name="::1")
    case("IPv6 with a zone, which is not part of it", ["IP:fe80::1"], "fe80::1%lo", OK)
    case("IPv4 in IPv6, the same in the certificate", ["IP:::ffff:127.0.0.1"], "::ffff:127.0.0.1", OK)
    case("IPv4 in IPv6, IPv4 in the certificate", ["IP:127.0.0.1"], "::ffff:127.0.0.1", (ADDRESS, 0))
    case("IPv4, IPv4 in IPv6 in the certificate", ["IP:::ffff:127.0.0.1"], "127.0.0.1", (ADDRESS, 0))
    case("both families", ["IP:127.0.0.1", "IP:::1"], "::1", OK)
    case("an address of five bytes", [b"IP:\x7f\0\0\x01\0"], "127.0.0.1", (ADDRESS, 0))
    case("an address as text", [b"IP:127.0.0.1"], "127.0.0.1", (ADDRESS, 0))
    case("an address with a mask", [b"IP:\x7f\0\0\x01\xff\0\0\0"], "127.0.0.1", (ADDRESS, 0))
    case("a name asked for, an address in the certificate", ["IP:127.0.0.1"], "localhost", (NAME, 0))
    case("a name, the address it has in the certificate", ["IP:127.0.0.1"], "www.tls.test", (NAME, 0), by_host=True)


def make(maker):
    world = World(maker)
    world.root = world.trust(maker.authority("tcpbroker case root"))
    for group in (chains, alternatives, dates, authorities, purposes, name_constraints, strength, dns_names, wildcards,
                  idn, addresses, revocation_cases.revocation, revocation_cases.pins):
        group(world)
    return world
