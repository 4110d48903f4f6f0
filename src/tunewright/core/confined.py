"""What core/sandbox.py starts: gives up every right that a program does not need, then runs it.

Run as a script of its own, by path, with an empty environment; imports nothing of tunewright. Limits are set here, not
between fork and exec, where threads of the parent may hold locks. What a system does not offer is left out.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct
import sys
import types

MOST_PROCESSES = 32
_USERS, _APART = 0x10000000, 0x40000000 | 0x20000000 | 0x08000000  # namespaces: users; network, processes, memory
_KEEP_CAPABILITIES, _AMBIENT, _NO_NEW_PRIVILEGES, _DUMPABLE, _DEATH_SIGNAL = 8, 47, 38, 4, 1  # of prctl
_CAPABILITIES = 0x20080522  # version 3 of capset's header
_READ_ALL = 2  # the capability to read what file modes forbid
# Landlock (Linux 5.13; https://docs.kernel.org/userspace-api/landlock.html): system calls, then rights by bit.
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_EXECUTE, _WRITE, _READ, _LIST, _TRUNCATE = 1, 2, 4, 8, 1 << 14
_RIGHTS_OF_VERSION = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # how many; later versions add none for files
_READABLE = ("/usr", "/lib", "/lib64", "/bin", "/opt/lib", "/etc/ld.so.cache", "/etc/localtime", "/etc/ssl")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


def main() -> None:
    """Read limits and source from standard input, give up rights, run the source as `__main__`."""
    memory, seconds, files, user, size = (int(word) for word in sys.stdin.buffer.readline().split())
    source = compile(sys.stdin.buffer.read(size).decode(), "<source>", "exec")
    _limit(AS=memory, CPU=seconds, FSIZE=files, CORE=0, NOFILE=64)
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "linux":
        apart = libc.unshare(_APART if user else _APART | _USERS) == 0
        became = user != 0 and _become(user, libc)
        libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        _lock_files(libc)
        if apart or became:
            _limit(NPROC=MOST_PROCESSES)
        if apart:
            _as_child(libc)
        if not became:
            _hold(libc, 0)
    sys.modules["__main__"] = module = types.ModuleType("__main__")
    exec(source, vars(module))


def _limit(**most: int) -> None:
    for name, value in most.items():
        try:
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
        except (AttributeError, ValueError, OSError):  # unknown here, or lower already
            continue


def _become(user: int, libc: ctypes.CDLL) -> bool:
    """Root becomes a user that nobody is: root has no limit on processes. It may read what Landlock lets it, whoever
    owns it, as may programs that it starts (ambient): Python may lie where only root can read. False where a container
    keeps root from changing users.
    """
    libc.prctl(_KEEP_CAPABILITIES, 1, 0, 0, 0)
    try:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    except OSError:
        os.chown(os.getcwd(), 0, 0)
        return False
    _hold(libc, 1 << _READ_ALL)
    libc.prctl(_AMBIENT, 2, _READ_ALL, 0, 0)
    return True


def _hold(libc: ctypes.CDLL, capabilities: int) -> None:
    """Keep only these, and hand on only these."""
    held = struct.pack("6I", *[capabilities] * 3, 0, 0, 0)
    libc.capset(struct.pack("Ii", _CAPABILITIES, 0), held)


def _lock_files(libc: ctypes.CDLL) -> None:
    """Only the working folder can be written, only it, Python and the system's libraries read; no network, no signals
    to processes outside. Nothing happens where the system has no Landlock.
    """
    version = libc.syscall(_CREATE, None, 0, 1)
    if version < 1:
        return
    every = (1 << _RIGHTS_OF_VERSION.get(version, 16)) - 1
    fields = [every, *([3] if version >= 4 else []), *([3] if version >= 6 else [])]  # files, network, scopes
    given = struct.pack(f"{len(fields)}Q", *fields)
    rules = libc.syscall(_CREATE, given, len(given), 0)
    read = _EXECUTE | _READ | _LIST
    allowed = {path: read for path in (*_READABLE, *sys.path, sys.prefix, sys.base_prefix)}
    allowed |= {path: _READ | _WRITE for path in _DEVICES} | {os.getcwd(): every}
    for path, rights in allowed.items():
        try:
            handle = os.open(path, os.O_PATH)
        except OSError:
            continue
        of_file = _EXECUTE | _WRITE | _READ | _TRUNCATE
        rights &= every if os.path.isdir(path) else of_file & every
        libc.syscall(_ADD, rules, 1, struct.pack("=Qi", rights, handle), 0)
        os.close(handle)
    libc.syscall(_RESTRICT, rules, 0)
    os.close(rules)


def _as_child(libc: ctypes.CDLL) -> None:
    """Go on as a child of the first process of the new space of processes: when that one ends, so do all others in it,
    whatever groups they are in.
    """
    if (first := os.fork()) != 0:
        os._exit(_ended(first))
    libc.prctl(_DEATH_SIGNAL, 9, 0, 0, 0)
    libc.prctl(_DUMPABLE, 0, 0, 0, 0)
    if (child := os.fork()) != 0:
        os._exit(_ended(child))


def _ended(child: int) -> int:
    """The exit code of a child, once it has ended; 128 and the signal's number where one ended it."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    main()
