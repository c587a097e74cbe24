#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""./check, ./demo and .ci/run with arguments they cannot use, and as another user than root: one clear answer, and nothing is written.
What tools/check_layers.py says of long files."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tools"))
import check_layers  # noqa: E402
NOBODY = 65534


class Levels(unittest.TestCase):
    """At which level claims are: the demo runs manifests of other systems, the manifest is for clusters."""

    @staticmethod
    def read(name):
        with open(os.path.join(ROOT, name), encoding="utf-8") as file:
            return file.read()

    def test_demo_is_privileged(self):
        self.assertIn("/fairlead --policy privileged ", self.read("demo"))

    def test_manifest_is_baseline(self):
        self.assertIn("\n        - name: POLICY\n          value: baseline\n", self.read("deploy/kubernetes/fairlead.yaml"))
        self.assertNotIn("\n        - name: POLICY_FILE", self.read("deploy/kubernetes/fairlead.yaml"))


class Scripts(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        for name in ("check", "demo", "tools/lib.sh", ".ci/run", ".ci/nightly", ".ci/plans.py", ".ci/tiers.py"):
            os.makedirs(os.path.dirname(os.path.join(self.folder, name)), exist_ok=True)
            shutil.copy(os.path.join(ROOT, name), os.path.join(self.folder, name))
        for path, _, _ in os.walk(self.folder):
            os.chmod(path, 0o555)  # the user could not write there

    def run_script(self, *words):
        """As another user than root."""
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        path = {"PATH": "/usr/local/bin:/usr/bin:/bin"}  # a Python of root's own may not be for others
        done = subprocess.run(["bash", *words], cwd=self.folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
                              env=os.environ | path, **user)
        self.assertEqual(sorted(os.listdir(self.folder)), [".ci", "check", "demo", "tools"])
        return done.returncode, done.stdout, done.stderr

    def test_another_user_than_root(self):
        for script in ("./check", "./demo"):
            reason = (f"{script} must run as root: it installs Debian packages and makes network and mount namespaces of its own.\n"
                      f"Try: sudo {script}\n")
            self.assertEqual(self.run_script(script), (2, "", reason))
        for script in (".ci/run", ".ci/nightly"):
            reason = f"{script} must run as root: its tiers install Debian packages and make network and mount namespaces. Try: sudo {script}\n"
            self.assertEqual(self.run_script(script), (2, "", reason))
            self.assertEqual(self.run_script(script, "--list")[0], 0)

    def test_unknown_options(self):
        for words in (("./check", "--bogus"), ("./demo", "--bogus"), ("./demo", "demo", "--bogus")):
            name = words[0][2:]
            self.assertEqual(self.run_script(*words), (2, "", f"{name}: unknown option --bogus; see ./{name} --help\n"))

    def test_a_manifest_that_is_not_there(self):
        self.assertEqual(self.run_script("./demo", "no.yaml"), (2, "", "demo: no such manifest: no.yaml; see ./demo --help\n"))

    def test_help(self):
        for script in ("./check", "./demo"):
            status, out, errors = self.run_script(script, "--help")
            self.assertEqual((status, errors), (0, ""))
            self.assertIn(script, out)


class LongFiles(unittest.TestCase):
    LICENSE = "// SPDX-License-Identifier: Apache-2.0\n"

    def lines(self, *comment, code=501):
        return [self.LICENSE, *comment, "\n"] + ["int x;\n"] * (code - 2 - len(comment))

    def test_500_lines_are_enough(self):
        self.assertFalse(check_layers.too_long("app/main.cc", self.lines(code=500)))
        self.assertTrue(check_layers.too_long("app/main.cc", self.lines(code=501)))

    def test_the_first_comment_may_give_a_reason(self):
        reason = ("// Evaluates expressions. One file, over 500\n", "// lines, because each function needs the others.\n")
        self.assertFalse(check_layers.too_long("drydock/cluster/cel.cc", self.lines(*reason)))
        self.assertTrue(check_layers.too_long("drydock/cluster/cel.cc", self.lines("// One file, over 500 lines, because\n")))
        later = self.lines() + ["// One file, over 500 lines, because it is so.\n"]
        self.assertTrue(check_layers.too_long("drydock/cluster/cel.cc", later))

    def test_only_production_code(self):
        for path in ("drydock/node/run_test.cc", "tests/bench/a.cc", "src/fairlead/sys/testing/a.cc", "drydock/node/testdata/a.cc",
                     "src/fairlead/dra/base/a.h"):
            self.assertFalse(check_layers.too_long(path, self.lines()), path)
        for path in ("src/fairlead/dra/base/a.cc", "guard/main.cc", "examples/a/main.cc"):
            self.assertTrue(check_layers.too_long(path, self.lines()), path)


if __name__ == "__main__":
    unittest.main()
