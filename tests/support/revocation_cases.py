"""The cases of verify_test.py that need revocation lists or pinned keys; the others are in verify_cases.py.

All lists are in the folder that [tls] of the daemon "lists" names, but for those that spoil everything they are read with:
these have a profile each. The profile "chain" has the same lists, and wants one for each certificate.
"""
import base64

from x509 import RevocationList, crl_number, delta, distribution, pem, raw, scope, usage

OK = 0
NO_LIST, LIST_SIGNATURE, LIST_NOT_YET, LIST_EXPIRED, REVOKED = 3, 8, 11, 12, 23
NO_RIGHT_TO_SIGN, LIST_CRITICAL, LIST_SCOPE, NOT_PINNED = 35, 36, 44, 50
NO_ISSUER, NAME, SELF_SIGNED_ROOT = 20, 62, 19
NOTHING_TO_VERIFY_WITH, CANNOT_OPEN = -1027, -1029

# code: a word of the sentence that says what to do
ADVICE = {NO_LIST: "tls.crl", LIST_SIGNATURE: "anew", LIST_NOT_YET: "clock", LIST_EXPIRED: "newer list", REVOKED: "revoked",
          NO_RIGHT_TO_SIGN: "keyUsage", LIST_CRITICAL: "complete list", LIST_SCOPE: "tls.crl", NOT_PINNED: "pins"}

HOST = "www.tls.test"
NAMES = [f"DNS:{HOST}"]


class Lists:
    """A root and its children, each with whatever list."""

    def __init__(self, world):
        self.world, self.maker = world, world.maker
        self.root = world.trust(self.maker.authority("lists root"), into=("lists",))
        self.number = 0

    def put(self, *lists):
        """Into the folder of all, one file."""
        self.number += 1
        self.world.files["lists"][f"{self.number}.crl"] = "".join(one.pem for one in lists)

    def apart(self, name, files=None, crl=None):
        """A profile with files of its own: {name: PEM text or bytes}."""
        for path, content in (files or {}).items():
            self.world.files["lists"][f"{name}/{path}"] = content
        self.world.profiles["lists"][name] = {"crl": crl or "{lists}/" + name}
        return name

    def authority(self, name, **options):
        return self.maker.authority("lists " + name, self.root, **options)

    def case(self, name, leaf, others, expected, in_chain=None, **options):
        """expected: with the server's own certificate looked up; in_chain: with all of them, if that is to be tried."""
        self.world.case(name, leaf, others, HOST, expected, trust="lists", **options)
        if in_chain is not None:
            self.world.case(name + " (chain)", leaf, others, HOST, in_chain, trust="lists", profile="chain")

    def through(self, name, expected, make, **options):
        """A CA of that name; make(CA, leaf) gives its lists."""
        ca = self.authority(name, **options)
        leaf = self.maker.server(ca, NAMES)
        lists = make(ca, leaf)
        self.put(*(lists if isinstance(lists, (list, tuple)) else [lists]))
        self.case(name, leaf, [ca], expected)


def revocation(world):
    world.group = "CRL"
    lists, maker = Lists(world), world.maker
    root = lists.root
    world.profiles["lists"]["chain"] = {"crl_check": "chain"}
    world.profiles["lists"]["off"] = {"crl_check": "off"}

    # ---- the plain ones ----
    one = lists.authority("one")
    two = maker.authority("lists two", one)
    good, bad = maker.server(one, NAMES), maker.server(one, NAMES)
    of_root, bad_of_root = maker.server(root, NAMES), maker.server(root, NAMES)
    revoked_ca = lists.authority("revoked")
    below_revoked = maker.server(revoked_ca, NAMES)
    deep = maker.server(two, NAMES)
    lists.put(maker.crl(root, [revoked_ca, (bad_of_root, "keyCompromise")]))
    lists.put(maker.crl(one, [maker.server(one, NAMES), bad, maker.server(one, NAMES)]))
    lists.put(maker.crl(two), maker.crl(revoked_ca))  # two lists in one file
    lists.case("not revoked", good, [one], OK, OK)
    lists.case("not revoked, of the root", of_root, [], OK, OK)
    lists.case("not revoked, two CAs", deep, [two, one], OK, OK)
    lists.case("revoked", bad, [one], (REVOKED, 0), (REVOKED, 0))
    lists.case("revoked, nobody looks", bad, [one], OK, profile="off")
    lists.case("revoked, of the root", bad_of_root, [], (REVOKED, 0), (REVOKED, 0))
    lists.case("the CA is revoked", below_revoked, [revoked_ca], OK, (REVOKED, 1))
    for reason in ("cACompromise", "superseded", "certificateHold"):
        lists.through(f"revoked: {reason}", (REVOKED, 0), lambda ca, leaf, reason=reason: maker.crl(ca, [(leaf, reason)]))
    lists.through("removed from the list again (RFC 5280 5.3.1)", OK, lambda ca, leaf: maker.crl(
        ca, [(leaf, "removeFromCRL")]))
    lists.through("the list of version 1", (REVOKED, 0), lambda ca, leaf: maker.crl(ca, [leaf], version=1))
    lists.through("the last of a thousand", (REVOKED, 0), lambda ca, leaf: maker.crl(
        ca, [numbered(number) for number in range(1000)] + [leaf]))
    lists.through("none of a thousand", OK, lambda ca, leaf: maker.crl(ca, [numbered(number) for number in range(1000)]))

    # ---- the list itself ----
    without = lists.authority("without a list")
    below = maker.authority("lists below one without", without)
    lists.put(maker.crl(below))
    lists.case("no list of the issuer", maker.server(without, NAMES), [without], (NO_LIST, 0), (NO_LIST, 0))
    lists.case("no list of the CA's issuer", maker.server(below, NAMES), [below, without], OK, (NO_LIST, 1))
    lists.through("expired list", (LIST_EXPIRED, 0), lambda ca, leaf: maker.crl(ca, valid=(-30, -1)))
    lists.through("expired list, revoked", LIST_EXPIRED, lambda ca, leaf: maker.crl(ca, [leaf], valid=(-30, -1)))
    lists.through("list without an end", OK, lambda ca, leaf: maker.crl(ca, valid=(-1, None)))
    lists.through("list not yet valid", (LIST_NOT_YET, 0), lambda ca, leaf: maker.crl(ca, valid=(1, 30)))
    lists.through("list with a damaged signature", (LIST_SIGNATURE, 0), lambda ca, leaf: maker.crl(ca).damaged())
    lists.through("list signed by another key", (LIST_SIGNATURE, 0), lambda ca, leaf: maker.crl(
        ca, key=maker.key("P-256")))
    lists.through("list of another CA of that name", NO_LIST, lambda ca, leaf: maker.crl(lists.authority(
        "list of another CA of that name")))
    lists.through("list of a CA without cRLSign", (NO_RIGHT_TO_SIGN, 0), lambda ca, leaf: maker.crl(ca),
                  extensions={"usage": usage("keyCertSign")})
    lists.through("an unknown critical extension in the list", (LIST_CRITICAL, 0), lambda ca, leaf: maker.crl(
        ca, extensions={"extra": raw("1.2.3.4.5", b"\x05\0", True)}))
    lists.through("an unknown extension in the list", OK, lambda ca, leaf: maker.crl(
        ca, extensions={"extra": raw("1.2.3.4.5", b"\x05\0")}))
    lists.through("an unknown critical extension of an entry", (LIST_CRITICAL, 0), lambda ca, leaf: maker.crl(
        ca, [(numbered(5), [raw("1.2.3.4.5", b"\x05\0", True)])]))
    lists.through("list for CAs only", (LIST_SCOPE, 0), lambda ca, leaf: maker.crl(
        ca, extensions={"scope": scope(only_authorities=True)}))
    lists.through("list for servers only", OK, lambda ca, leaf: maker.crl(ca, extensions={"scope": scope(only_users=True)}))
    lists.through("lists for CAs and for servers: revoked", (REVOKED, 0), lambda ca, leaf: [
        maker.crl(ca, extensions={"scope": scope(only_authorities=True)}),
        maker.crl(ca, [leaf], extensions={"scope": scope(only_users=True)})])
    parts(lists)

    # ---- several ----
    lists.through("an older list has it not, a newer has", (REVOKED, 0), lambda ca, leaf: [
        maker.crl(ca, valid=(-5, 30)), maker.crl(ca, [leaf], valid=(-1, 30))])
    lists.through("a newer list has it, an older has it not", (REVOKED, 0), lambda ca, leaf: [
        maker.crl(ca, [leaf], valid=(-1, 30)), maker.crl(ca, valid=(-5, 30))])
    lists.through("an older list has it on hold, a newer has it not", OK, lambda ca, leaf: [
        maker.crl(ca, [(leaf, "certificateHold")], valid=(-5, 30)), maker.crl(ca, valid=(-1, 30))])
    lists.through("an expired list beside a valid one", OK, lambda ca, leaf: [
        maker.crl(ca, valid=(-30, -5)), maker.crl(ca)])
    lists.through("the same list twice", OK, lambda ca, leaf: 2 * [maker.crl(ca)])
    cross_signed(lists)
    trusted_itself(lists)
    unusable(lists)


def numbered(serial):
    class Some:
        pass
    some = Some()
    some.serial = 1 << 40 | serial
    return some


def parts(lists):
    """A CA that divides its list: each certificate says which part is for it."""
    maker = lists.maker
    ca = lists.authority("in parts")
    first, second = ({"point": distribution(f"http://lists.test/{number}")} for number in (1, 2))
    lists.put(maker.crl(ca, extensions={"scope": scope(point="http://lists.test/1")}))
    lists.case("its part of the list", maker.server(ca, NAMES, extensions=first), [ca], OK)
    lists.case("another part of the list", maker.server(ca, NAMES, extensions=second), [ca], (LIST_SCOPE, 0))
    lists.case("a part of the list, it says not which", maker.server(ca, NAMES), [ca], (LIST_SCOPE, 0))


def cross_signed(lists):
    maker = lists.maker
    other_root = lists.world.trust(maker.authority("lists other root"), into=("lists",))
    good = lists.authority("cross")
    bad = maker.authority("lists cross", other_root, key=good.key)
    unlisted_root = lists.world.trust(maker.authority("lists root without a list"), into=("lists",))
    unlisted = maker.authority("lists cross", unlisted_root, key=good.key)
    leaf, revoked = maker.server(good, NAMES), maker.server(good, NAMES)
    lists.put(maker.crl(other_root, [bad]))
    lists.put(maker.crl(good, [revoked]))
    lists.case("cross-signed, one of them revoked: the good one", leaf, [good], OK, OK)
    lists.case("cross-signed, one of them revoked: that one", leaf, [bad], OK, (REVOKED, 1))
    lists.case("cross-signed: the revoked one, then the good one", leaf, [bad, good], OK, OK)
    lists.case("cross-signed: the good one, then the revoked one", leaf, [good, bad], OK, OK)
    lists.case("cross-signed: without a list, then the good one", leaf, [unlisted, good], OK, OK)
    lists.case("cross-signed: revoked, and without a list", leaf, [bad, unlisted], OK, (REVOKED, 1))
    lists.case("cross-signed does not excuse a revoked server", revoked, [bad, good], (REVOKED, 0), (REVOKED, 0))


def trusted_itself(lists):
    """Nobody but itself could revoke it, and a list must be there."""
    maker = lists.maker
    alone, listed = (lists.world.trust(maker.server(None, NAMES, name=f"lists {name}", key=maker.new_key(), extensions={
        "usage": usage("digitalSignature", "cRLSign")}), into=("lists",)) for name in ("trusted itself", "listed itself"))
    lists.put(maker.crl(listed))
    lists.case("self-signed, trusted itself", alone, [], (NO_LIST, 0), (NO_LIST, 0))
    lists.case("self-signed, trusted itself, nobody looks", alone, [], OK, profile="off")
    lists.case("self-signed, trusted itself, with a list of its own", listed, [], OK, OK)


def unusable(lists):
    """Lists that are not understood or cannot be read: nothing is verified with that profile."""
    maker = lists.maker
    ca = lists.authority("spoiled")
    leaf, revoked = maker.server(ca, NAMES), maker.server(ca, NAMES)
    base = maker.crl(ca, [revoked], extensions={"number": crl_number(1)}, valid=(-5, 30))
    change = maker.crl(ca, extensions={"number": crl_number(2), "delta": delta(1)})
    some_reasons = maker.crl(ca, extensions={"scope": scope(reasons=[1])})
    indirect = maker.crl(ca, extensions={"scope": scope(indirect=True)})
    text = base.pem
    certificate = ca.pem

    def spoiled(name, expected, files=None, crl=None):
        profile = lists.apart(name, files, crl)
        lists.case(name.replace("-", " "), leaf, [ca], expected, profile=profile)
        return profile

    lists.case("base list: not revoked", leaf, [ca], OK, profile=lists.apart("base", {"base": text}))
    lists.case("base list: revoked", revoked, [ca], (REVOKED, 0), profile="base")
    both = spoiled("a-list-of-changes-beside-its-base", CANNOT_OPEN, {"base": text, "delta": change.pem})
    lists.case("a list of changes does not excuse what its base has", revoked, [ca], CANNOT_OPEN, profile=both)
    spoiled("a-list-of-changes-alone", CANNOT_OPEN, {"delta": change.pem})
    spoiled("a-list-of-some-reasons", CANNOT_OPEN, {"base": text, "reasons": some_reasons.pem})
    spoiled("an-indirect-list", CANNOT_OPEN, {"base": text, "indirect": indirect.pem})
    spoiled("a-scope-that-is-damaged", CANNOT_OPEN, {"list": maker.crl(
        ca, extensions={"scope": raw("2.5.29.28", b"\x30\x03\x84\x05\x00", True)}).pem})
    spoiled("a-scope-of-everything-and-nothing", CANNOT_OPEN, {"list": maker.crl(
        ca, extensions={"scope": scope(only_users=True, only_authorities=True)}).pem})
    spoiled("a-damaged-list", CANNOT_OPEN, {"list": text.replace("\nM", "\n!", 1)})
    spoiled("a-list-cut-off", CANNOT_OPEN, {"list": text[:len(text) // 2]})
    spoiled("a-list-of-nothing", CANNOT_OPEN, {"list": pem(b"\x30\0", "X509 CRL")})
    spoiled("a-list-with-something-behind-it", OK, {"list": RevocationList(base.der + b"\0").pem})
    spoiled("a-good-list-then-a-damaged-one", CANNOT_OPEN, {"list": text + text.replace("\nM", "\n!", 1)})
    spoiled("DER-instead-of-PEM", CANNOT_OPEN, {"list": base.der})
    spoiled("a-certificate-instead-of-a-list", CANNOT_OPEN, {"list": certificate})
    spoiled("a-certificate-and-a-list", OK, {"list": certificate + text + certificate})
    spoiled("an-empty-file", CANNOT_OPEN, {"list": ""})
    spoiled("an-empty-folder", NOTHING_TO_VERIFY_WITH, {"": None})
    spoiled("a-file-that-is-missing", CANNOT_OPEN, crl="{lists}/missing.crl")
    spoiled("one-of-two-is-missing", CANNOT_OPEN, {"list": text}, crl="{lists}/one-of-two-is-missing {lists}/missing.crl")
    spoiled("a-file-alone", OK, {"list": text}, crl="{lists}/a-file-alone/list")
    spoiled("a-device-instead-of-a-file", CANNOT_OPEN, crl="/dev/null")


def pins(world):
    world.group = "pins"
    maker, case = world.maker, world.case
    root = world.trust(maker.authority("pins root"), into=("pins",))
    one = maker.authority("pins one", root)
    leaf = maker.server(one, NAMES, key=maker.new_key())
    other = maker.authority("pins other")
    other_leaf = maker.server(other, NAMES)
    another_key = maker.server(one, NAMES, key=maker.new_key())
    renewed = maker.server(one, NAMES, name="renewed", key=leaf.key)

    def pin(*certificates):
        return " ".join("sha256/" + base64.b64encode(one.key.pin).decode() for one in certificates)

    def pinned(name, pins, expected, shown=leaf, others=(one,), ask=HOST):
        profile = f"pins-{len(world.profiles['pins']) + 1}"
        world.profiles["pins"][profile] = {"pins": pins}
        case(name, shown, others, ask, expected, trust="pins", profile=profile)

    case("nothing is pinned by the default profile", leaf, [one], HOST, OK, trust="pins")
    pinned("the server's key", pin(leaf), OK)
    pinned("the server's key in hexadecimal", "sha256:" + leaf.key.pin.hex(), OK)
    pinned("the server's key in capitals", "sha256:" + leaf.key.pin.hex().upper(), OK)
    pinned("the server's key, renewed certificate", pin(leaf), OK, renewed)
    pinned("the CA's key", pin(one), OK)
    pinned("the root's key", pin(root), OK)
    pinned("the root's key, a server below it", pin(root), OK, maker.server(root, NAMES), ())
    pinned("one of several", pin(other, another_key, one), OK)
    pinned("another key", pin(other), (NOT_PINNED, 0))
    pinned("several others", pin(other, another_key), (NOT_PINNED, 0))
    pinned("another server's key", pin(leaf), (NOT_PINNED, 0), another_key)
    pinned("a key that is shown, but not in the chain", pin(other), (NOT_PINNED, 0), leaf, (one, other))
    pinned("a pin does not excuse an unknown root", pin(other), NO_ISSUER, other_leaf, ())
    pinned("a pin does not excuse an unknown root that is shown", pin(other), SELF_SIGNED_ROOT, other_leaf, (other,))
    pinned("a pin does not excuse the name", pin(leaf), (NAME, 0), ask="other.tls.test")
    # the root above a cross-signed CA
    new = world.trust(maker.authority("pins new root"), into=("pins",))
    new_by_root = maker.authority("pins new root", root, key=new.key)
    pinned("the root of the way that is taken", pin(new), OK, maker.server(new, NAMES), (new_by_root,))
    pinned("the root of the other way", pin(root), OK, maker.server(new, NAMES), (new_by_root,))
    pinned("the root of a way that is not shown", pin(root), (NOT_PINNED, 0), maker.server(new, NAMES), ())
    cross_root = world.trust(maker.authority("pins cross root"), into=("pins",))
    cross = maker.authority("pins cross", root)
    cross_by_other = maker.authority("pins cross", cross_root, key=cross.key)
    pinned("cross-signed: the first one's root", pin(root), OK, maker.server(cross, NAMES), (cross, cross_by_other))
    pinned("cross-signed: the second one's root", pin(cross_root), OK, maker.server(cross, NAMES), (cross, cross_by_other))
    pinned("cross-signed: neither", pin(other), (NOT_PINNED, 0), maker.server(cross, NAMES), (cross, cross_by_other))
    pinned("cross-signed: that root, but it is expired", pin(root, cross), OK, maker.server(cross, NAMES), (
        cross_by_other, maker.authority("pins cross", world.trust(maker.authority(
            "pins expired root", valid=(-400, -1)), into=("pins",)), key=cross.key)))
