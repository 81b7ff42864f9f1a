#!/usr/bin/python3 -IS
# SPDX-License-Identifier: Apache-2.0
"""kuryr-cni: hands a CNI request to kuryr-daemon and prints its answer.

One file, standard library only, so that it can be installed as an executable for an isolated interpreter
without site packages (``kuryr.cni.install``). Imports on the fast path are builtin modules: a pod waits for them.
``client.c`` does the same without an interpreter; ``kuryr.cni.server`` is the other end of the wire.

Request:  version byte, then two blocks: CNI_* variables as NUL-separated NAME=VALUE, and stdin as it came.
Reply:    version byte, exit code byte, then two blocks: stdout, stderr. A block is a 4-byte big-endian length and bytes.
"""

import _socket
import posix

WIRE_VERSION = 1
DEFAULT_SOCKET = "/run/kuryr/kuryr-daemon.sock"
SOCKET_VARIABLE = b"KURYR_DAEMON_SOCKET"
SUPPORTED_VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")

# The daemon ends every request well before this; only a daemon that hangs gets here.
TIMEOUT = 230.0

TRY_AGAIN = 11
NOT_AVAILABLE = 50


def read_all(fd: int) -> bytes:
    """All that can be read from a file descriptor."""
    chunks = []
    while chunk := posix.read(fd, 65536):
        chunks.append(chunk)
    return b"".join(chunks)


def top_level_string(document: bytes, key: bytes) -> str:
    """The string that a JSON object has under ``key`` at its top level, or "". Importing json would take longer."""
    depth = i = 0
    while i < len(document):
        char = document[i : i + 1]
        if char in (b"{", b"["):
            depth += 1
        elif char in (b"}", b"]"):
            depth -= 1
        elif char == b'"':
            name, i = _string(document, i)
            if depth == 1 and name == key:
                rest = document[i + 1 :].lstrip()
                value = rest[1:].lstrip()
                if rest[:1] == b":" and value[:1] == b'"':
                    return _string(value, 0)[0].decode(errors="replace")
        i += 1
    return ""


def _string(document: bytes, start: int) -> tuple[bytes, int]:
    """The string that begins at the quote at ``start`` and where its last quote is."""
    end = start + 1
    while end < len(document) and document[end : end + 1] != b'"':
        end += 2 if document[end : end + 1] == b"\\" else 1
    raw = document[start + 1 : end]
    if b"\\" in raw:
        import json

        try:
            raw = str(json.loads(b'"' + raw + b'"')).encode()
        except ValueError:
            return b"", end  # the daemon tells what is wrong with the document
    return raw, end


def socket_path(netconf: bytes) -> str:
    """Where kuryr-daemon listens: the network configuration, the environment, kuryr.conf, the default."""
    if path := top_level_string(netconf, b"socket"):
        return path
    if named := posix.environ.get(SOCKET_VARIABLE):
        return named.decode()
    if conf := top_level_string(netconf, b"kuryr_conf"):
        try:
            return socket_option(conf) or DEFAULT_SOCKET
        except OSError:
            pass  # a node may have the executable and no kuryr.conf
    return DEFAULT_SOCKET


def socket_option(conf: str) -> str:
    """Value of [cni_daemon] socket_path in a configuration file, or ""."""
    fd = posix.open(conf, posix.O_RDONLY)
    try:
        lines = read_all(fd).decode(errors="replace").splitlines()
    finally:
        posix.close(fd)
    section = value = ""
    for line in lines:
        text = line.strip()
        if text.startswith("["):
            section = text
        elif section == "[cni_daemon]" and text[:1] not in ("#", ";"):
            name, _, option = text.partition("=")
            if name.strip() == "socket_path":
                value = option.strip()
    return value


def ask(path: str, environment: bytes, netconf: bytes) -> tuple[int, bytes, bytes]:
    """Exit code, stdout and stderr as the daemon has them.

    :raises OSError: when there is no daemon or it went away.
    """
    request = bytes((WIRE_VERSION,)) + _block(environment) + _block(netconf)
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(TIMEOUT)
        connection.connect(path)
        connection.sendall(request)
        chunks = []
        while chunk := connection.recv(65536):
            chunks.append(chunk)
    finally:
        connection.close()
    reply = b"".join(chunks)
    if reply and reply[0] != WIRE_VERSION:
        raise OSError(
            f"kuryr-daemon speaks version {reply[0]} of the protocol, this executable {WIRE_VERSION}"
        )
    end = 6 + int.from_bytes(reply[2:6], "big")
    err = reply[end + 4 :]
    if len(reply) < end + 4 or len(err) != int.from_bytes(reply[end : end + 4], "big"):
        raise OSError("kuryr-daemon ended the connection without a whole answer")
    return reply[1], reply[6:end], err


def _block(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[posix.write(fd, data) :]


def _version(netconf: bytes) -> bytes:
    import json

    version = top_level_string(netconf, b"cniVersion") or SUPPORTED_VERSIONS[-1]
    return json.dumps({"cniVersion": version, "supportedVersions": SUPPORTED_VERSIONS}).encode() + b"\n"


def _failure(netconf: bytes, code: int, message: str, details: str) -> bytes:
    import json

    version = top_level_string(netconf, b"cniVersion") or SUPPORTED_VERSIONS[0]
    error = {"cniVersion": version, "code": code, "msg": message, "details": details}
    return json.dumps(error).encode() + b"\n"


def main() -> int:
    """Answer one CNI request; the exit code."""
    environ = posix.environ
    command = environ.get(b"CNI_COMMAND", b"")
    if not command and posix.isatty(0):
        _write(
            2,
            b"kuryr-cni is a CNI plugin: container runtimes start it, with CNI_COMMAND in the environment.\n",
        )
        return 1
    netconf = read_all(0)
    if command == b"VERSION":
        _write(1, _version(netconf))
        return 0
    variables = b"\0".join(name + b"=" + value for name, value in environ.items() if name[:4] == b"CNI_")
    path = socket_path(netconf)
    try:
        code, out, err = ask(path, variables, netconf)
    except OSError as error:
        message = f"kuryr-daemon does not answer on {path}: start kuryr-daemon on this node"
        code = NOT_AVAILABLE if command == b"STATUS" else TRY_AGAIN
        _write(1, _failure(netconf, code, message, str(error)))
        return 1
    _write(2, err)
    _write(1, out)
    return code


if __name__ == "__main__":
    # Nothing is buffered, so the interpreter's tidying up can be skipped.
    posix._exit(main())
