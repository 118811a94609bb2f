"""What the whole suite has to show: every documented status, header, parameter and member has been seen."""

from collections.abc import Iterator
from typing import Any

import pytest
from _pytest.config import Config

from .documents import Node, load_all
from .exchange import Contract

CONTRACT = pytest.StashKey[Contract]()


def open_contract(config: Config) -> Contract:
    if CONTRACT not in config.stash:
        config.stash[CONTRACT] = Contract(load_all())
    return config.stash[CONTRACT]


def unseen(contract: Contract) -> Iterator[str]:
    """`x-rare` at a response, a header or a member excuses it, with the reason."""
    for document in contract.documents:
        found = contract.found[document.name]
        headers: dict[str, str] = {}
        for operation in document.operations():
            for status, response in operation.responses().items():
                if "x-rare" in response.value:
                    continue
                if (operation.id, status) not in contract.statuses:
                    yield f"{operation}: no test was answered {status}"
                for _, header in response.items("headers"):
                    if "x-rare" not in header.value and header.pointer not in found:
                        headers.setdefault(str(header), f"{operation} {status}")
                for _, media in response.items("content"):
                    yield from _unseen_members(contract, media.get("schema"), "answer")
            for node in operation.parameters().values():
                if "x-rare" not in node.value and node.pointer not in found:
                    yield f"{node}: no request that was taken had it"
            for schema in operation.body_schemas().values():
                yield from _unseen_members(contract, schema, "request that was taken")
        yield from (f"{header}: no answer had it, such as one of {where}" for header, where in headers.items())


def _unseen_members(contract: Contract, schema: Node | None, what: str) -> Iterator[str]:
    if schema is not None:
        missing = contract.missing_members(schema) - contract.found[schema.document.name]
        yield from (f"{schema.document.name}.yaml#{pointer}: no {what} had it" for pointer in sorted(missing))


def is_whole(config: Config) -> bool:
    """Whether all tests were asked for, so that what was not seen is seen by none."""
    chosen = (config.option.keyword, config.option.markexpr, config.option.deselect, getattr(config.option, "lf", None))
    return config.args_source is Config.ArgsSource.TESTPATHS and not any(chosen)


def hand_over(config: Config) -> bool:
    """Of several processes that run tests at once (pytest-xdist), all but the first leave it to that to judge."""
    if not hasattr(config, "workeroutput"):
        return False
    config.workeroutput["contract"] = open_contract(config).seen()
    return True


def take_over(config: Config, output: dict[str, Any]) -> None:
    """What another process has handed over; one that died has not, and the session fails for that."""
    if "contract" in output:
        open_contract(config).add(output["contract"])


def close_contract(session: pytest.Session) -> None:
    """Fails the session if the contract was broken where a test swallowed it, or if a whole suite did not see all."""
    contract = open_contract(session.config)
    lines = list(contract.errors)
    if session.config.option.contract or is_whole(session.config):
        lines += list(dict.fromkeys(unseen(contract)))
    if not lines:
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.section("the contract", red=True)
        reporter.line("\n".join(lines))
        reporter.line(f"{len(lines)} faults in {contract.exchanges} exchanges")
    if session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
