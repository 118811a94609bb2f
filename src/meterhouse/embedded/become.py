"""What a child does before it is a server: drop root, tie its life to the parent's and exec.

Run as a script by a bare interpreter, so only the standard library is here. It is not a preexec_fn, because Python
code between fork and exec may deadlock in a program with threads.
"""

import ctypes
import json
import os
import signal
import sys
from typing import Any

_PR_SET_PDEATHSIG, _PR_SET_SECUREBITS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 1, 28, 47, 2
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2


_CAPABILITY_VERSION_3 = 0x20080522


def _become_server(order: dict[str, Any]) -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.umask(0o077)
    libc = ctypes.CDLL(None, use_errno=True)
    name, capabilities = "this user", [0]
    if order["account"]:
        name, uid, gid = order["account"]
        if sys.platform == "linux" and libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0) == 0:
            capabilities += [_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE]
        try:
            os.setgroups([gid])
            os.setgid(gid)
            os.setuid(uid)
        except OSError as error:
            sys.exit(f"root cannot become user {name} here ({error.strerror}): run as an ordinary user")
    unreachable = ""
    for capability in capabilities:
        if len(capabilities) > 1 and not _keep_only(libc, capability):
            continue
        try:
            for folder in order["folders"]:
                os.chdir(folder)
            if sys.platform == "linux":
                libc.prctl(_PR_SET_PDEATHSIG, order["death"], 0, 0, 0)  # last: a change of credentials clears it
                if os.getppid() != order["parent"]:
                    sys.exit("the parent is gone")
            os.execv(order["command"][0], order["command"])  # noqa: S606 a shell is what we avoid
        except PermissionError as error:
            unreachable = error.filename or order["command"][0]
    sys.exit(
        f"{name} cannot reach {unreachable}: run as an ordinary user, or set METERHOUSE_DATA_DIR to a folder it can"
    )


def _keep_only(libc: ctypes.CDLL, capability: int) -> bool:
    """Let an unprivileged process, and the programs it execs, pass through directories closed to it (below /root, say).

    Tried only after doing without (0) has failed. Reading and searching comes first, which is the lesser one;
    many containers have only the other. The rest of root's capabilities does not survive the exec.
    """
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then the same for capabilities above 31
    if libc.capget(header, sets) != 0:
        return False
    permitted = sets[1] & (1 << _CAP_DAC_OVERRIDE | 1 << _CAP_DAC_READ_SEARCH)
    kept = 1 << capability & permitted if capability else 0
    if capability and not kept:
        return False
    sets[:] = [kept, permitted, kept, 0, 0, 0]
    if libc.capset(header, sets) != 0:
        return False
    return not capability or libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0) == 0


if __name__ == "__main__":
    _become_server(json.loads(sys.argv[1]))
