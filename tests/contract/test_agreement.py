"""Program and documents agree, in both directions."""

from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import validate

from meterhouse.access.operations import ALL_SCOPES, OPERATIONS

from .documents import Document, load_all
from .program import BODIES, OPEN, PARAMETERS, excused, programmed
from .surface import Surface, differences, documented


@pytest.fixture(scope="module")
def program() -> Surface:
    return programmed()


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return load_all()


def told(documents: list[Document], program: Surface) -> list[str]:
    return list(differences(documented(documents), program, excused))


def test_the_program_and_the_documents_agree(documents, program):
    assert len(program) > 80
    differ = told(documents, program)
    assert not differ, "\n".join(differ)


@pytest.mark.parametrize("document", load_all(), ids=lambda document: document.name)
def test_a_document_is_valid_openapi(document):
    validate(document.value)


def test_operation_ids_are_unique_and_those_of_the_rows(documents):
    operations = [operation for document in documents for operation in document.operations()]
    ids = [operation.id for operation in operations]
    assert len(ids) == len(set(ids))
    assert {operation.row for operation in operations} == (set(OPERATIONS) | OPEN) - {"failed_login"}
    for operation in operations:
        assert operation.id == operation.row or operation.id.startswith(f"{operation.row}_"), operation


def test_the_tables_name_operations_that_there_are(program):
    rows = {said["row"] for said in program.values()}
    assert BODIES.keys() <= rows
    assert PARAMETERS.keys() <= rows


def test_the_documents_tell_every_scope(documents):
    told_of = set()
    for document in documents:
        for _, scheme in document.root.items("components", "securitySchemes"):
            for _, flow in scheme.items("flows"):
                told_of |= set(flow.value["scopes"])
    assert told_of == {operation.scope for operation in OPERATIONS.values()} - {None}
    assert told_of <= set(ALL_SCOPES)


def test_every_answer_is_closed(documents):
    """An object in an answer says what else can be in it: else a member that no document tells of would pass."""
    open_objects = set()
    for document in documents:
        for operation in document.operations():
            for response in operation.responses().values():
                for _, media in response.items("content"):
                    schema = media.get("schema")
                    assert schema is not None, media
                    open_objects |= {str(node) for node in _objects(schema, set())}
    assert open_objects == set()


def _objects(schema, seen: set[str]) -> Iterator[Any]:
    if schema.pointer in seen or not isinstance(schema.value, dict):
        return
    seen.add(schema.pointer)
    if "properties" in schema.value and not {"additionalProperties", "unevaluatedProperties"} & schema.value.keys():
        yield schema
    for keyword in ("items", "additionalProperties"):
        inner = schema.get(keyword)
        if inner is not None:
            yield from _objects(inner, seen)
    for keyword in ("properties", "allOf", "anyOf", "oneOf"):
        for _, inner in schema.items(keyword):
            yield from _objects(inner, seen)
