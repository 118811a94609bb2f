"""Every example of the documents: what is asked is answered well, what is answered has its shape."""

from contextlib import closing

import pytest

from .documents import Node, Operation, load_all
from .samples import Sample, example_values, samples
from .schemas import Schemas
from .world import Caller, furnish, make_caller

OPERATIONS = [operation for document in load_all() for operation in document.operations()]


def succeeds(operation: Operation) -> bool:
    return any(status < 300 for status in operation.responses())


SAMPLES = [sample for operation in OPERATIONS if succeeds(operation) for sample in samples(operation)]
OF_SANDBOXES = [sample for sample in SAMPLES if sample.operation.of_sandboxes]


@pytest.fixture(scope="module")
def caller(installation, api):
    return make_caller(installation, api.base_url)


def send(base_url: str, caller: Caller, sample: Sample) -> None:
    with closing(furnish(base_url, caller, sample.operation.document.name, sample.operation.row)) as world:
        response = world.send(sample)
    assert response.is_success, f"{sample}: {response.status_code} {response.text[:1000]}"


@pytest.mark.parametrize("sample", [sample for sample in SAMPLES if sample not in OF_SANDBOXES], ids=str)
def test_a_request_of_the_examples_is_answered_well(api, caller, sample: Sample):
    send(api.base_url, caller, sample)


@pytest.fixture(scope="module")
def caller_in_sandbox(sandbox):
    return make_caller(sandbox.installation, sandbox.api.base_url)


@pytest.mark.parametrize("sample", OF_SANDBOXES, ids=str)
def test_a_request_of_the_examples_for_sandboxes_is_answered_well(sandbox, caller_in_sandbox, sample: Sample):
    send(sandbox.api.base_url, caller_in_sandbox, sample)


def schemas_with_examples() -> list[tuple[Node, Node, object]]:
    """(where it stands, its schema, example) of requests, answers, parameters and headers, anywhere in the documents."""
    found: dict[str, tuple[Node, Node, object]] = {}

    def add(holder: Node, schema: Node | None) -> None:
        assert schema is not None, f"{holder} has no schema"
        for number, value in enumerate(example_values(holder)):
            found[f"{holder} {number}"] = (holder, schema, value)

    def add_content(holder: Node) -> None:
        for _, media in holder.items("content"):
            add(media, media.get("schema"))

    for operation in OPERATIONS:
        for node in operation.parameters().values():
            add(node, node.get("schema")) if "schema" in node.value else add_content(node)
        body = operation.node.get("requestBody")
        if body is not None:
            add_content(body)
        for response in operation.responses().values():
            add_content(response)
            for _, header in response.items("headers"):
                add(header, header.get("schema"))
    return list(found.values())


def test_every_example_has_the_shape_that_stands_beside_it():
    checked = schemas_with_examples()
    assert len(checked) > 100
    by_document = {document.name: Schemas(document) for document in load_all()}
    faults = {
        str(holder): faults
        for holder, schema, value in checked
        if (faults := by_document[holder.document.name].faults(schema, value))
    }
    assert faults == {}


def test_every_body_and_every_answer_has_an_example():
    """And every parameter: a document without examples could not be tried."""
    bare = []
    for operation in OPERATIONS:
        medias = [media for _, media in operation.node.items("requestBody", "content")]
        for response in operation.responses().values():
            medias += [media for _, media in response.items("content")]
        bare += [str(node) for node in (*medias, *operation.parameters().values()) if not list(example_values(node))]
    assert sorted(set(bare)) == []
