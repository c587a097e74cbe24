# SPDX-License-Identifier: Apache-2.0
"""Runs in the guest: starts commands for whoever connects and knows the token. One connection is one command; it ends with it, and the
command's process group is killed when the connection goes first.

The client sends one line of JSON: {"token", "argv", "environment", "folder", "terminal": [rows, columns] or null}. Then both sides send frames:
one letter, four bytes of length (big endian), the bytes. From the client: i input, e end of input, s a signal's number, w rows and columns.
From here: o stdout, r stderr, x the exit status (128 + signal) as decimal; f a sentence why the command could not be started (then x, 126 or
127 as shells have it).
"""
import json
import os
import select
import signal
import socket
import struct
import subprocess
import threading

PORT = 7070
CHUNK = 1 << 16


def frame(kind, data):
    return kind + struct.pack(">I", len(data)) + data


class Frames:
    """Cuts received bytes into frames."""

    def __init__(self):
        self._data = b""

    def add(self, data):
        self._data += data
        while len(self._data) >= 5:
            length = struct.unpack(">I", self._data[1:5])[0]
            if len(self._data) < 5 + length:
                return
            yield self._data[:1], self._data[5:5 + length]
            self._data = self._data[5 + length:]


def read_line(connection):
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte or len(line) > 1_000_000:
            return None
        line += byte
    return line


def set_size(terminal, rows, columns):
    import fcntl
    import termios
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def start(wanted):
    """The process and {descriptor to read: its frame's letter}, and the descriptor for its input."""
    environment = {**os.environ, **wanted.get("environment", {})}
    folder = wanted.get("folder") or "/root"
    how = {"cwd": folder if os.path.isdir(folder) else "/root", "env": environment, "start_new_session": True}
    if wanted.get("terminal"):
        master, slave = os.openpty()
        set_size(master, *wanted["terminal"])
        take = lambda: __import__("fcntl").ioctl(0, 0x540E, 0)  # TIOCSCTTY  # noqa: E731
        process = subprocess.Popen(wanted["argv"], stdin=slave, stdout=slave, stderr=slave, preexec_fn=take, **how)
        os.close(slave)
        return process, {master: b"o"}, master
    process = subprocess.Popen(wanted["argv"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, **how)
    # dup: the process object keeps and closes its own
    reads = {os.dup(process.stdout.fileno()): b"o", os.dup(process.stderr.fileno()): b"r"}
    source = os.dup(process.stdin.fileno())
    for pipe in (process.stdin, process.stdout, process.stderr):
        pipe.close()
    return process, reads, source


def signal_group(process, number):
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass


def serve(connection, token):
    with connection:
        line = read_line(connection)
        wanted = json.loads(line) if line else {}
        if wanted.get("token") != token:
            return
        try:
            process, reads, source = start(wanted)
        except OSError as error:
            connection.sendall(frame(b"f", f"the guest cannot run {wanted['argv'][0]}: {error.strerror}".encode()) +
                               frame(b"x", b"126" if isinstance(error, PermissionError) else b"127"))
            return
        ended = os.pidfd_open(process.pid)
        try:
            carry(connection, process, reads, source, ended)
        finally:
            signal_group(process, signal.SIGKILL)
            process.wait()
            os.close(ended)


def carry(connection, process, reads, source, ended):
    """Frames both ways until the command ends. Its input is buffered here: a command that writes before it reads must not stop us."""
    terminal = source in reads
    os.set_blocking(source, False)
    frames, waiting, no_more, over = Frames(), b"", False, False
    open_reads = dict(reads)
    try:
        while True:
            writes = [source] if waiting and source is not None else []
            ready, writable, _ = select.select([connection, *open_reads] + ([] if over else [ended]), writes, [], 0 if over else None)
            for fd in [fd for fd in ready if fd in open_reads]:
                try:
                    data = os.read(fd, CHUNK)
                except BlockingIOError:
                    continue
                except OSError:  # a terminal whose other side is closed
                    data = b""
                if data:
                    connection.sendall(frame(open_reads[fd], data))
                else:
                    del open_reads[fd]
            if connection in ready:
                data = connection.recv(CHUNK)
                if not data:
                    return
                for kind, content in frames.add(data):
                    if kind == b"i":
                        waiting += content
                    elif kind == b"e":
                        no_more = True
                    elif kind == b"s":
                        signal_group(process, int(content))
                    elif kind == b"w" and terminal:
                        set_size(source, *json.loads(content))
            if writable:
                try:
                    waiting = waiting[os.write(source, waiting):]
                except BlockingIOError:
                    pass
                except OSError:  # the command reads no more
                    waiting = b""
            if no_more and not waiting and source is not None and not terminal:
                os.close(source)
                source = None
            # A process that was left in the background keeps the pipes open: what counts is the command itself.
            if over and not [fd for fd in ready if fd in open_reads]:
                break
            over = over or ended in ready
        status = process.wait()
        connection.sendall(frame(b"x", str(status if status >= 0 else 128 - status).encode()))
    except (BrokenPipeError, ConnectionResetError):
        return
    finally:
        for fd in reads:
            os.close(fd)
        if source is not None and not terminal:
            os.close(source)


def main():
    with open("/out/token", encoding="ascii") as file:
        token = file.read()
    with socket.create_server(("0.0.0.0", PORT), backlog=64) as listener:
        with open("/proc/uptime", encoding="ascii") as uptime, open("/out/ready", "w", encoding="ascii") as ready:
            ready.write(uptime.read().split()[0])
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(connection, token), daemon=True).start()


if __name__ == "__main__":
    main()
