"""Whatever is taken from the program or from a document, one part at a time, the comparison tells.

So it is with all that makes a request. Answers are held against the documents exchange by exchange (test_exchange.py), and
the session fails when a documented status, header or member was not seen (session.py).
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .documents import METHODS, Document, Operation, load_all
from .program import excused, programmed
from .surface import Surface, differences, documented

# What people read, and what is of the answers.
NOT_COMPARED = {
    *("summary", "description", "title", "tags", "example", "examples", "links", "responses", "x-extension"),
    *("style", "explode", "x-as-text", "format", "uniqueItems", "if", "then", "else", "not", "propertyNames"),
}
# Where the names are somebody's own.
NAMED = ("properties", "parameters", "schemas", "requestBodies", "paths")


# Read member by member by code, which tells the framework nothing of what is inside.
BY_HAND = {
    "Instant",
    *("WindowSize", "GroupByFilters", "FilterString", "MeterQuery", "Event", "EventFilter", "TimeFilter", "TimeRange"),
    *("GrantType", "SentData", "CustomFields", "StreamDocument", "Annotation", "Nodes", "Node", "Edges", "Edge"),
    *("NodeGroups", "NodeGroup", "SecretCreate"),
}
# One of several forms of a body, which the program reads with one model, or whose other forms have the member, too.
ALTERNATIVES = {
    *("CredentialsInBody", "CredentialsInHeader", "NewAbsoluteThreshold", "NewPercentageThreshold"),
    *("MeterCreateById", "MeterCreateByExternalRef", "MeterCreateByMeterTypeExternalRef"),
    *("OAuth2Secret", "BasicSecret", "BearerSecret", "SigningSecret", "PayloadCorrection", "MembersCorrection"),
    *("ValueMeterCreate", "CountMeterCreate", "ZuploCountMeterCreate"),
    *("RecordIds", "RecordsById", "OpenRecordsByFilter", "OpenRecordFilter", "RecordsByFilter"),
}


@pytest.fixture(scope="module")
def program() -> Surface:
    return programmed()


def parts(value: Any, at: tuple = ()) -> Iterator[tuple[Any, Any, tuple]]:
    """(container, key, path) of everything inside that is compared."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        if key not in NOT_COMPARED or (at and at[-1] in NAMED):
            yield value, key, (*at, key)
            yield from parts(value[key], (*at, key))


def missed_in_silence(value: Any, tells: Callable[[], bool]) -> list[tuple]:
    """The parts that can be taken away without a word. Each is put back before the next is taken."""
    silent = []
    tried = 0
    for container, key, path in list(parts(value)):
        if container[key] in (None, {}, []):
            continue
        taken = container.pop(key)
        tried += 1
        if not tells():
            silent.append(path)
        if isinstance(container, list):
            container.insert(key, taken)
        else:
            container[key] = taken
    assert tried
    return silent


def tells(documents: list[Document], program: Surface) -> bool:
    try:
        return next(differences(documented(documents), program, excused), None) is not None
    except (KeyError, AssertionError, TypeError, AttributeError):
        return True  # it does not hold together any more


def test_what_is_taken_from_the_program_is_missed(program):
    here, silent = documented(load_all()), []
    for key, said in copy.deepcopy(program).items():
        there = {key: said}
        silent += missed_in_silence(
            there, lambda key=key, there=there: next(differences({key: here[key]}, there, excused), None) is not None
        )
    # Where the program tells no type, code reads what is there, and the documents alone say of what type it is. That a
    # member can be None in Python says nothing about null.
    assert [path for path in silent if path[-1] not in ("type", "nullable") and "filter.status" not in path] == []


SAID_BY_CODE = ("pattern", "minLength", "maxLength", "minProperties", "type")
"""Facets that program.py lists as the documents' alone; tests of bad input and Schemathesis hold the server to them."""


def alone(document: Document, operation: Operation) -> Document:
    """A document of one operation, its own copy of everything."""
    item = {name: part for name, part in operation.path_item.value.items() if name not in METHODS}
    item[operation.method.lower()] = operation.node.value
    paths = {operation.path: item}
    return Document(document.name, copy.deepcopy(document.value | {"paths": paths}))


@pytest.mark.parametrize("document", load_all(), ids=lambda document: document.name)
def test_what_is_taken_from_an_operation_is_missed(document, program):
    silent = []
    for operation in document.operations():
        key = f"{operation.method} {operation.path}"
        own = alone(document, operation)
        taken = missed_in_silence(own.value["paths"], lambda own=own, key=key: tells([own], {key: program[key]}))
        # Ids are held against the rows in test_agreement.py; the fields of lists are known to the lists.
        known = (*SAID_BY_CODE, "operationId", "default", "schema")
        silent += [(key, *path) for path in taken if path[-1] not in known and "enum" not in path]
    assert silent == []


@pytest.mark.parametrize("document", load_all(), ids=lambda document: document.name)
def test_what_is_taken_from_the_shared_parts_is_missed(document, program):
    """Each part that requests are made of, tried with the first operation that has it."""
    silent = []
    tried: set[str] = set()
    for operation in document.operations():
        key = f"{operation.method} {operation.path}"
        own = alone(document, operation)
        for kind, name in requested(own):
            if f"{kind}/{name}" in tried:
                continue
            tried.add(f"{kind}/{name}")
            part = {name: own.value["components"][kind][name]}
            taken = missed_in_silence(part, lambda own=own, key=key: tells([own], {key: program[key]}))
            known = (*SAID_BY_CODE, name)
            silent += [(kind, *path) for path in taken if path[-1] not in known and not told_alone(kind, path)]
    assert len(tried) > 20
    assert silent == []


def told_alone(kind: str, path: tuple) -> bool:
    """What only the document can say. Requests that the suite makes, and Schemathesis, hold the server to it."""
    if kind == "schemas" and path[0] in BY_HAND | ALTERNATIVES:
        return True
    # Of parameters that routes read by themselves the program knows the names.
    return (
        path[-2] in ("type", "anyOf")
        or path[-1] in ("$ref", "anyOf")
        or (kind == "parameters" and "schema" in path)
        or "content" in path
    )


def requested(own: Document) -> Iterator[tuple[str, str]]:
    """(kind, name) of the components that the one operation's request refers to, at any depth."""
    found: list[tuple[str, str]] = []

    def look(value: Any) -> None:
        if isinstance(value, dict):
            reference = value.get("$ref")
            if isinstance(reference, str):
                kind, name = reference.split("/")[2:4]
                if (kind, name) not in found:
                    found.append((kind, name))
                    look(own.value["components"][kind][name])
            for key, inner in value.items():
                if key not in ("responses", "examples"):
                    look(inner)
        elif isinstance(value, list):
            for inner in value:
                look(inner)

    look(own.value["paths"])
    return iter(found)
