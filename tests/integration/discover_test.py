"""rpc.discover: a valid OpenRPC document, the one of the tables, that tells the truth about answers and parameters."""
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import harness
import servers
from ca import certificates
from harness import TestCase, main

try:
    import jsonschema
except ImportError:
    jsonschema = None
try:
    import referencing  # how later versions of jsonschema than that of Debian 12 look references up
    import referencing.jsonschema
except ImportError:
    referencing = None

META = os.path.join(harness.HERE, "openrpc")


def read(name):
    with open(os.path.join(META, name), encoding="utf-8") as file:
        return json.load(file)


def no_network(uri):
    raise AssertionError(f"{uri} is not in {META}")


def validator(schema, document=None):
    """For schema, whose references are found in the document it is from and in the kept meta-schemas, and nowhere else."""
    if document:
        schema = {"allOf": [schema], "components": document["components"]}
    json_schema = read("json-schema.json")
    known = {"https://meta.json-schema.tools": json_schema, "https://meta.json-schema.tools/": json_schema,
             schema.get("$id", ""): schema}
    if referencing:
        resources = [(uri, referencing.jsonschema.DRAFT7.create_resource(value)) for uri, value in known.items()]
        return jsonschema.Draft7Validator(schema, registry=referencing.Registry(retrieve=no_network).with_resources(resources))
    resolver = jsonschema.RefResolver(schema.get("$id", ""), schema, store=known,
                                      handlers={"http": no_network, "https": no_network})
    return jsonschema.Draft7Validator(schema, resolver=resolver)


@unittest.skipIf(jsonschema is None, "needs the Debian package python3-jsonschema")
class Discover(TestCase):
    @classmethod
    def setUpClass(cls):
        cls.DAEMON_ARGS = ("--cacerts", certificates().cacerts)
        super().setUpClass()

    def setUp(self):
        super().setUp()
        self.document = self.client.call("rpc.discover")
        self.methods = {method["name"]: method for method in self.document["methods"]}

    def valid(self, schema, value):
        return validator(schema, self.document).is_valid(value)

    def test_it_is_the_tables(self):
        tables = os.path.join(os.path.dirname(harness.daemon_path()), "..", "proto", "proto_tables")
        if not os.access(tables, os.X_OK):
            self.skipTest(f"no {tables}; build the target proto_tables")
        printed = subprocess.run([tables, "openrpc"], check=True, stdout=subprocess.PIPE, timeout=harness.seconds(20)).stdout
        self.assertEqual(self.document, json.loads(printed))

    def test_it_is_openrpc(self):
        meta = validator(read("openrpc.json"))
        meta.validate(self.document)
        for spoil in (lambda d: d.pop("methods"), lambda d: d["methods"][0].update(parameters=[]),
                      lambda d: d["methods"][0]["params"][0]["schema"].update(type="text"),
                      lambda d: d["components"]["errors"]["EINTR"].pop("code"), lambda d: d.update(openrpc="9")):
            copy = json.loads(json.dumps(self.document))
            spoil(copy)
            self.assertFalse(meta.is_valid(copy))

    def test_its_schemas_are_schemas(self):
        schemas = list(self.document["components"]["schemas"].values())
        schemas += [error["data"] for error in self.document["components"]["errors"].values()]
        for method in self.methods.values():
            schemas += [param["schema"] for param in method["params"]] + [method["result"]["schema"]]
        self.assertGreater(len(schemas), 100)
        for schema in schemas:
            jsonschema.Draft7Validator.check_schema(schema)

    def test_methods_and_version_are_hellos(self):
        hello = self.client.call("Broker.Hello")
        self.assertEqual(list(self.methods), hello["methods"])
        self.assertEqual(self.document["info"]["version"], hello["version"])

    def test_errors_are_the_tables(self):
        errors = {(error["code"], error["message"]) for error in self.document["components"]["errors"].values()}
        self.assertEqual(errors, {(row["code"], row["text"]) for row in self.client.call("Broker.Errors")["errors"]})

    def check_answer(self, method, *positions, **params):
        """Ask; the result, or the error, is as the document says."""
        message = self.client.answer(self.client.send(method, list(positions) or None, **params))
        if "result" in message:
            validator(self.methods[method]["result"]["schema"], self.document).validate(message["result"])
            return message["result"]
        error = message["error"]
        validator({"$ref": "#/components/schemas/error_object"}, self.document).validate(error)
        symbol = error["data"]["symbol"]
        self.assertIn({"$ref": f"#/components/errors/{symbol}"}, self.methods[method]["errors"])
        told = self.document["components"]["errors"][symbol]
        self.assertEqual(told["code"], error["code"])
        validator(told["data"], self.document).validate(error["data"])
        return error

    def test_answers_are_as_told(self):
        server = self.use(servers.Server())
        secure = self.use(servers.Server(tls=servers.tls_context()))
        expired = self.use(servers.Server(tls=servers.tls_context("expired")))
        for name in ("Broker.Hello", "Broker.Stats", "Broker.Errors", "rpc.discover"):
            self.check_answer(name)
        plain = self.check_answer("TCPConnect", "127.0.0.1", server.port)["socket"]
        tls = self.check_answer("TCPConnect", hostname="127.0.0.1", port=secure.port, secure=True, thread=7)
        self.assertIn("peer", tls["tls"])
        self.assertEqual(len(self.check_answer("Broker.List")["sockets"]), 2)
        self.check_answer("TCPSend", plain, "héllo")
        self.check_answer("TCPReceive", socket=plain, exact=6, encoding="base64")
        self.check_answer("TCPGetRemoteAddr", plain)
        self.check_answer("TCPName2Addr", "127.0.0.1")
        self.assertEqual(self.check_answer("TCPGetMyPort", tls["socket"])["data"]["owner"], 7)
        self.assertEqual(self.check_answer("TCPReceive", socket=plain, timeout_ms=1)["code"], -10060)
        self.assertEqual(self.check_answer("TCPSend", plain)["code"], -32602)
        self.assertEqual(self.check_answer("TCPClose", plain, 3)["code"], -517)
        self.assertEqual(self.check_answer("TCPConnect", "127.0.0.1", servers.closed_port())["code"], -10061)
        self.assertEqual(self.check_answer("TCPConnect", "127.0.0.1", expired.port, True)["code"], -33010)
        self.check_answer("TCPClose", plain)
        self.assertEqual(self.check_answer("TCPClose", plain)["code"], -10038)

    def test_what_the_daemon_refuses_the_schema_refuses(self):
        """And the other way round: {method: (what else it needs, {param: (values taken, values refused)})}."""
        strings = ["", "x" * 254, 1, None, [], ".x", "a b"]
        cases = {
            "TCPName2Addr": ({"hostname": "127.0.0.1"}, {
                "hostname": (["127.0.0.1"], strings),
                "ipv6": ([False], [0, "false", None]),
                "timeout_ms": ([1000, 86400000], [-1, 86400001, 1.5, "1", True, None])}),
            "TCPConnect": ({"hostname": "127.0.0.1", "port": servers.closed_port(), "timeout_ms": 2000, "secure": True}, {
                "port": ([1, "1", "65535", "no-such.service_+"], [0, 65536, "", "0", "01", "+1", "-1", "a b", 1.5, None, "x" * 65]),
                "family": (["any", "ipv4"], ["", "ipv5", "IPV4", 4, None]),
                "min_tls": (["1.2", "1.3"], ["1.1", 1.2]),
                "alpn": ([["h2"], ["a", "b"]], [[], "h2", [""], [1], ["x"] * 17, ["x" * 256]]),
                "thread": (["t", "é" * 32, 0, -(1 << 53)], ["", "x" * 65, 1.5, True, None, 1 << 60])}),
            "TCPSend": ({"socket": 2147483647}, {
                "data": (["", "é"], [1, None, ["x"]]),
                "data_base64": (["", "AAAA", "AA==", "AAA="], ["A", "AA", "AA=A", "A===", "AAAA\n ", " AAAA", "____", 1]),
                "socket": ([1], [0, -1, 1 << 31, "1", 1.5])}),
            "TCPReceive": ({"socket": 2147483647}, {
                "until": (["\n", "x" * 256], ["", "x" * 257, 1]),
                "encoding": (["utf8", "base64"], ["utf-8", 0]),
                "max_bytes": ([1, 524288], [0, 524289])}),
            "Broker.Cancel": ({}, {"id": ([1, "x", None, -5], [1.5, True, [], {}, "x" * 257])}),
        }
        for method, (rest, params) in cases.items():
            schemas = {param["name"]: param["schema"] for param in self.methods[method]["params"]}
            for param, (taken, refused) in params.items():
                for value, ok in [(value, True) for value in taken] + [(value, False) for value in refused]:
                    with self.subTest(method=method, param=param, value=value):
                        self.assertEqual(self.valid(schemas[param], value), ok)
                        given = {**rest, param: value}
                        if method == "TCPSend" and not param.startswith("data"):
                            given["data"] = "x"
                        answer = self.client.answer(self.client.send(method, given))
                        complaint = answer.get("error", {}).get("data", {}).get("param")
                        self.assertEqual(complaint == param, not ok, answer)

    def test_defaults_and_positions(self):
        params = {param["name"]: param for param in self.methods["TCPConnect"]["params"]}
        self.assertEqual([name for name, param in params.items() if "x-position" in param],
                         ["hostname", "port", "secure", "verify"])
        self.assertEqual([params[name]["schema"].get("default") for name in ("secure", "verify", "family", "timeout_ms")],
                         [False, True, "any", None])
        self.assertEqual(params["port"]["x-alias"], "service")
        self.assertIn("service", params["port"]["description"])
        self.assertEqual(self.methods["TCPConnect"]["paramStructure"], "either")
        self.assertTrue(self.methods["rpc.discover"]["x-immediate"])

    def test_it_takes_no_parameters(self):
        self.assertEqual(self.client.call("rpc.discover", []), self.document)
        self.assertEqual(self.client.error("rpc.discover", [1]).code, -32602)
        self.assertEqual(self.client.error("rpc.discover", {"x": 1}).code, -32602)

    def test_in_a_batch_and_unasked_for(self):
        raw = self.open_raw()
        raw.write_line('{"jsonrpc":"2.0","method":"rpc.discover"}')
        answers = raw.ask('[{"jsonrpc":"2.0","id":1,"method":"rpc.discover"},{"jsonrpc":"2.0","id":2,"method":"rpc.discover"}]')
        self.assertEqual([answer["result"] for answer in answers], [self.document] * 2)


if __name__ == "__main__":
    main()
