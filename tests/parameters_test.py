#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""parameters_test.py FAIRLEAD: docs/parameters.md has the tables of the program's fields, and the program's JSON schema takes what the
documentation shows and holds the limits of each field."""
import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

import jsonschema
import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
UPDATE = os.path.join(ROOT, "tools/update_parameters.py")
DOCUMENT = os.path.join(ROOT, "docs/parameters.md")
FAIRLEAD = ""  # set by the command line
# One value of each type of JSON.
ANYTHING = [None, True, 7, 1.5, "//", [], {}]


def fairlead(*words):
    return subprocess.run([FAIRLEAD, "parameters", *words], capture_output=True, text=True, check=False)


def update(*words):
    done = subprocess.run([sys.executable, "-B", UPDATE, *words, FAIRLEAD], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def opaque_parameters(node):
    """All `parameters` of opaque configs below a YAML node."""
    if isinstance(node, dict):
        opaque = node.get("opaque")
        if isinstance(opaque, dict) and "parameters" in opaque:
            yield opaque["parameters"]
        for value in node.values():
            yield from opaque_parameters(value)
    elif isinstance(node, list):
        for value in node:
            yield from opaque_parameters(value)


def documented_examples():
    """(file, parameters) of every opaque config that the documentation and the example manifests show."""
    texts = []
    for path in [os.path.join(ROOT, "README.md"), *sorted(glob.glob(os.path.join(ROOT, "docs/*.md")))]:
        with open(path, encoding="utf-8") as file:
            texts += [(path, block) for block in re.findall(r"^```yaml\n(.*?)^```", file.read(), re.MULTILINE | re.DOTALL)]
    for path in sorted(glob.glob(os.path.join(ROOT, "examples/manifests/*.yaml"))):
        with open(path, encoding="utf-8") as file:
            texts.append((path, file.read()))
    for path, text in texts:
        for document in yaml.safe_load_all(text):
            for parameters in opaque_parameters(document):
                if parameters.get("kind") == "FieldPolicy":
                    continue  # an entry of a class that is no parameters; policy/field_policy.h reads it
                if path.endswith("file-driver.yaml"):
                    continue  # another driver's
                yield os.path.relpath(path, ROOT), parameters


def right_values(schema):
    """What is valid, up to the limits."""
    if "const" in schema:
        return [schema["const"]]
    if "enum" in schema:
        return schema["enum"]
    if schema["type"] == "integer":
        return [schema["minimum"], schema["maximum"]]
    if schema["type"] == "boolean":
        return [True, False]
    if schema["type"] == "string":
        return schema["examples"]
    if schema["type"] == "array":
        item = right_values(schema["items"])[0]
        return [[], [item], [item] * schema["maxItems"]]
    if "properties" not in schema:  # a map
        value = right_values(schema["additionalProperties"])[0]
        return [{}, {"a": value}]
    return [{name: right_values(inner)[0] for name, inner in schema["properties"].items()},
            {name: right_values(schema["properties"][name])[0] for name in schema["required"]}]


def wrong_values(schema):
    """What breaks a limit, or is of another type."""
    kinds = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}
    own = kinds[schema["type"]] if "type" in schema else str
    wrong = [value for value in ANYTHING if type(value) is not own]
    if "enum" in schema or "const" in schema or "pattern" in schema:
        wrong += ["no such word//", ""]
    elif schema["type"] == "integer":
        wrong += [schema["minimum"] - 1, schema["maximum"] + 1]
    elif schema["type"] == "array":
        item = right_values(schema["items"])[0]
        wrong += [[item] * (schema["maxItems"] + 1)] + [[value] for value in wrong_values(schema["items"])]
    elif "properties" in schema:
        least = right_values(schema)[-1]
        wrong += [{**least, "noSuchField": 1}]
        wrong += [{key: value for key, value in least.items() if key != name} for name in schema["required"]]
        for name, inner in schema["properties"].items():
            wrong += [{**least, name: value} for value in wrong_values(inner)]
    elif schema["type"] == "object":
        wrong += [{"a": value} for value in wrong_values(schema["additionalProperties"])]
    return wrong


class Document(unittest.TestCase):
    def test_it_has_the_tables_of_the_program(self):
        self.assertEqual(update("--check"), (0, ""))

    def test_another_table_is_found_and_written_anew(self):
        with open(DOCUMENT, encoding="utf-8") as file:
            right = file.read()
        with tempfile.TemporaryDirectory() as folder:
            copy = os.path.join(folder, "parameters.md")
            wrong = right.replace("68 to 65535", "68 to 1500")
            self.assertNotEqual(wrong, right)
            with open(copy, "w", encoding="utf-8") as file:
                file.write(wrong)
            status, output = update("--check", "--document", copy)
            self.assertEqual(status, 1)
            self.assertRegex(output, r"\n-\| `mtu`.*1500.*\n\+\| `mtu`.*65535")
            with open(copy, encoding="utf-8") as file:
                self.assertEqual(file.read(), wrong, "--check changes nothing")
            self.assertEqual(update("--document", copy), (0, ""))
            with open(copy, encoding="utf-8") as file:
                self.assertEqual(file.read(), right)

    def test_a_document_without_its_blocks_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            copy = os.path.join(folder, "parameters.md")
            with open(copy, "w", encoding="utf-8") as file:
                file.write("# Parameters\n")
            status, output = update("--document", copy)
            self.assertEqual(status, 2)
            self.assertIn("one block for each type (netdev, rdma), and has none", output)

    def test_lines_are_at_most_120_wide(self):
        for line in fairlead("--markdown").stdout.splitlines():
            self.assertLessEqual(len(line), 120, line)


class Command(unittest.TestCase):
    def test_one_form_must_be_chosen(self):
        for words in ([], ["--markdown", "--schema"], ["--xml"], ["--markdown", "more"]):
            done = fairlead(*words)
            self.assertEqual((done.returncode, done.stdout), (2, ""), words)
            self.assertNotEqual(done.stderr, "")

    def test_help(self):
        done = fairlead("--help")
        self.assertEqual(done.returncode, 0)
        self.assertIn("--schema", done.stdout)
        self.assertIn("fairlead parameters", done.stdout)
        self.assertIn("  parameters  ", subprocess.run([FAIRLEAD, "--help"], capture_output=True, text=True, check=True).stdout)


class Schema(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.schema = json.loads(fairlead("--schema").stdout)
        cls.validator = jsonschema.Draft202012Validator(cls.schema)

    def kinds(self):
        for name, definition in self.schema["$defs"].items():
            type_, kind = name.split(".")
            yield type_, kind, definition

    def test_it_is_a_schema(self):
        jsonschema.Draft202012Validator.check_schema(self.schema)
        self.assertGreaterEqual(len(self.schema["$defs"]), 4)

    def test_documented_examples_are_valid(self):
        examples = list(documented_examples())
        self.assertGreaterEqual(len(examples), 6)
        self.assertTrue({"README.md", "docs/parameters.md"} <= {path for path, _ in examples})
        for path, parameters in examples:
            with self.subTest(path=path, parameters=parameters):
                self.validator.validate(parameters)

    def test_each_field_takes_its_limits(self):
        for type_, kind, definition in self.kinds():
            for name, field in definition["properties"].items():
                for value in right_values(field):
                    with self.subTest(kind=kind, field=name, value=value):
                        self.validator.validate({"type": type_, type_: {"kind": kind, name: value}})

    def test_each_field_refuses_what_is_beyond_them(self):
        for type_, kind, definition in self.kinds():
            for name, field in definition["properties"].items():
                wrong = wrong_values(field)
                self.assertGreaterEqual(len(wrong), 6)
                for value in wrong:
                    with self.subTest(kind=kind, field=name, value=value):
                        self.assertFalse(self.validator.is_valid({"type": type_, type_: {"kind": kind, name: value}}))

    def test_unknown_and_missing(self):
        for type_, kind, _ in self.kinds():
            for wrong in ({}, {"type": type_}, {type_: {"kind": kind}}, {"type": type_, type_: {}},
                          {"type": "no-such-type", type_: {"kind": kind}}, {"type": type_, type_: {"kind": "no-such-kind"}},
                          {"type": type_, type_: {"kind": kind, "noSuchField": 1}},
                          {"type": type_, type_: {"kind": kind}, "noSuchField": 1}):
                self.assertFalse(self.validator.is_valid(wrong), wrong)
            self.validator.validate({"type": type_, type_: {"kind": kind}})

    def test_field_of_another_kind(self):
        self.assertTrue(self.validator.is_valid({"type": "netdev", "netdev": {"kind": "veth", "bridge": "br0"}}))
        self.assertFalse(self.validator.is_valid({"type": "netdev", "netdev": {"kind": "dummy", "bridge": "br0"}}))

    def test_names_of_interfaces(self):
        for name, valid in (("data0", True), ("fifteen-letters", True), ("all0", True), ("...", True), ("sixteen-letters0", False),
                            ("", False), (".", False), ("..", False), ("lo", False), ("all", False), ("default", False), ("a b", False),
                            ("a\tb", False), ("a\u0001b", False), ("net%d", False), ("a:b", False)):
            with self.subTest(name=name):
                self.assertEqual(self.validator.is_valid({"type": "netdev", "netdev": {"kind": "dummy", "interfaceName": name}}), valid)


if __name__ == "__main__":
    FAIRLEAD = os.path.abspath(sys.argv.pop(1))
    unittest.main()
