#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""command_line_test.py FAIRLEAD: the program's subcommands, what its flags mean without one, and the probe against a server of the test."""
import contextlib
import http.server
import os
import re
import socketserver
import subprocess
import sys
import tempfile
import threading
import unittest

FAIRLEAD = ""  # set by the command line
SUBCOMMANDS = ("run", "probe", "parameters")
AGENT_FLAGS = ("--driver-name", "--node-name", "--kubeconfig", "--registry-dir", "--plugin-dir", "--cdi-dir", "--state-dir", "--pod-uid",
               "--http-listen", "--kube-qps", "--log-level", "--attach", "--nri-socket", "--nri-index", "--guard-path", "--install-guard",
               "--daemonset", "--slots", "--uplink", "--not-uplink", "--rdma-view", "--allow-connected", "--shared-dir", "--host-devices")
# An agent with these ends at once: its folder for plugins is no absolute path. Nothing of the machine is touched before.
ENDS_AT_ONCE = ("--node-name", "node1", "--plugin-dir", "relative")


def fairlead(*words, **environment):
    own = {name: value for name, value in os.environ.items() if name in ("PATH", "LD_LIBRARY_PATH") or "SAN_OPTIONS" in name}
    return subprocess.run([FAIRLEAD, *words], capture_output=True, text=True, check=False, timeout=60, env={**own, **environment})


class Help(unittest.TestCase):
    def test_of_the_program_lists_the_subcommands(self):
        for word in ("--help", "-h"):
            done = fairlead(word)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertEqual(tuple(re.findall(r"^  (\w+) {2,}\w", done.stdout, re.MULTILINE)), SUBCOMMANDS)
            self.assertNotIn("--node-name", done.stdout)

    def test_of_run_lists_the_flags_of_the_agent(self):
        for words in (["run", "--help"], ["--slots", "3", "--help"]):
            done = fairlead(*words)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            for flag in AGENT_FLAGS:
                self.assertRegex(done.stdout, rf"(?m)^  {flag}\b", words)
            self.assertRegex(done.stdout, r"(?m)^  --driver-name .*=net\.fairlead\.dev")
            self.assertNotIn("--probe", done.stdout, "the form of version 0.1 is not shown")

    def test_of_the_other_subcommands(self):
        for words, flag in ((("probe", "--help"), "--http-listen"), (("parameters", "--help"), "--schema"),
                            (("--help", "probe"), "--http-listen")):
            done = fairlead(*words)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn(flag, done.stdout)
            self.assertNotIn("--node-name", done.stdout)

    def test_version(self):
        for words in (["--version"], ["run", "--version"], ["--slots", "3", "--version"]):
            done = fairlead(*words)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertRegex(done.stdout, r"\A\d+\.\d+\.\d+\n\Z")


class WrongFlags(unittest.TestCase):
    def assert_refused(self, words, what, **environment):
        done = fairlead(*words, **environment)
        self.assertEqual((done.returncode, done.stdout), (2, ""), words)
        self.assertRegex(done.stderr, r"\Afairlead: command line: .*\n\Z")
        self.assertIn(what, done.stderr)

    def test_one_sentence_and_status_2(self):
        self.assert_refused(["--no-such-flag"], "--no-such-flag")
        self.assert_refused(["run", "--no-such-flag"], "--no-such-flag")
        self.assert_refused(["no-such-subcommand"], "no-such-subcommand")
        self.assert_refused(["run", "more"], "more")
        self.assert_refused(["run", "probe", "readyz"], "probe")
        self.assert_refused(["--slots", "0"], "--slots")
        self.assert_refused(["run", "--attach", "loud"], "--attach")
        self.assert_refused(["--log-level", "loud"], "--log-level must be debug, info, warn, error or off, not \"loud\"")
        self.assert_refused(["probe"], "page is required", HTTP_LISTEN="unix:/x")
        self.assert_refused(["probe", "readyz"], "--http-listen is required")
        self.assert_refused(["probe", "secrets", "--http-listen", "unix:/x"], "secrets")
        self.assert_refused(["probe", "readyz", "--http-listen", "unix:/x", "--node-name", "node1"], "--node-name")
        self.assert_refused(["--probe", "secrets"], "secrets")

    def test_environment(self):
        self.assert_refused([], "--log-level must be", LOG_LEVEL="loud")
        self.assert_refused(["run"], "--slots", SLOTS="0")

    def test_environment_of_another_subcommand_is_not_read(self):
        done = fairlead("parameters", "--schema", SLOTS="0", LOG_LEVEL="loud")
        self.assertEqual((done.returncode, done.stderr), (0, ""))


class Run(unittest.TestCase):
    def test_is_what_flags_alone_mean(self):
        for words in (ENDS_AT_ONCE, ("run", *ENDS_AT_ONCE)):
            done = fairlead(*words)
            self.assertEqual((done.returncode, done.stdout), (1, ""), words)
            self.assertIn("fairlead cannot start", done.stderr)
            self.assertIn('--plugin-dir must be an absolute path, not \\"relative\\"', done.stderr)

    def test_is_what_no_word_at_all_means(self):
        for words in ([], ["run"]):
            done = fairlead(*words, NODE_NAME="node1", PLUGIN_DIR="relative")
            self.assertEqual((done.returncode, done.stdout), (1, ""), words)
            self.assertIn("--plugin-dir must be an absolute path", done.stderr)

    def test_log_level_counts_from_the_first_line_on(self):
        done = fairlead(*ENDS_AT_ONCE, "--log-level", "off")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (1, "", ""))


class Pages(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append(self.path)
        status, body = {"/healthz": (200, "ok\n"), "/metrics": (200, "a 1\nb 2\n")}.get(self.path, (503, "no slices yet\n"))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body.encode())

    def address_string(self):
        return "a unix socket"  # which has no address to show

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def server_on(folder):
    class Server(socketserver.UnixStreamServer):
        asked = []

    with Server(f"{folder}/admin.sock", Pages) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class Probe(unittest.TestCase):
    def forms(self, page, listen):
        """The subcommand, and the flag of version 0.1's manifests: each with the address by flag and by environment."""
        return [fairlead("probe", page, HTTP_LISTEN=listen), fairlead("probe", page, "--http-listen", listen),
                fairlead("probe", "--http-listen", listen, page), fairlead("--probe", page, HTTP_LISTEN=listen),
                fairlead("--http-listen", listen, "--probe", page), fairlead(f"--probe={page}", HTTP_LISTEN=listen, NODE_NAME="node1")]

    def test_prints_the_page_of_the_first_address(self):
        with tempfile.TemporaryDirectory() as folder, server_on(folder) as server:
            listen = f"unix:{folder}/admin.sock,:9095"
            for page, body in (("healthz", "ok\n"), ("metrics", "a 1\nb 2\n")):
                server.asked.clear()
                answers = self.forms(page, listen)
                self.assertEqual(server.asked, [f"/{page}"] * len(answers))
                for done in answers:
                    self.assertEqual((done.returncode, done.stdout, done.stderr), (0, body, ""), done.args)

    def test_fails_with_the_sentence_of_the_agent(self):
        with tempfile.TemporaryDirectory() as folder, server_on(folder):
            for done in self.forms("readyz", f"unix:{folder}/admin.sock"):
                self.assertEqual((done.returncode, done.stdout, done.stderr), (1, "", "fairlead: no slices yet\n"), done.args)

    def test_fails_without_an_agent(self):
        with tempfile.TemporaryDirectory() as folder:
            for done in self.forms("healthz", f"unix:{folder}/admin.sock"):
                self.assertEqual((done.returncode, done.stdout), (1, ""), done.args)
                self.assertRegex(done.stderr, rf"\Afairlead: .*{folder}/admin\.sock.*\n\Z")


if __name__ == "__main__":
    FAIRLEAD = os.path.abspath(sys.argv.pop(1))
    unittest.main()
