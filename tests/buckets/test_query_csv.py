"""Query results as CSV, byte for byte."""

import pytest

from .make import add_meter, ingest, make_event, refused

CSV = {"Accept": "text/csv"}


@pytest.fixture
def usage(mount):
    add_meter(mount, groupBy={"model": "$.model", "kind": "$.kind"})
    for value, subject, model, kind in (
        (3, "bob", "gpt-4", "in"),
        (0.5, "alice", "gpt-4", "out"),
        (0.25, "alice", "", "out"),
    ):
        ingest(mount, make_event(subject=subject, data={"value": value, "model": model, "kind": kind}))
    return mount


def csv_of(client, **params):
    response = client.get("/meters/usage/query", params=params, headers=CSV)
    assert response.status_code == 200, response.text
    return response.content


def test_one_row(usage):
    assert csv_of(usage) == b"window_start,window_end,value\n2025-01-15T10:00:00Z,2025-01-15T10:01:00Z,3.750000\n"


def test_the_headers_name_type_and_file(usage):
    response = usage.get("/meters/usage/query", headers=CSV)
    assert response.headers["content-type"] == "text/csv"
    assert response.headers["content-disposition"] == "attachment; filename=usage.csv"


def test_a_file_is_named_by_slug_even_when_asked_by_id(usage):
    meter_id = usage.get("/meters/usage").json()["id"]
    response = usage.get(f"/meters/{meter_id}/query", headers=CSV)
    assert response.headers["content-disposition"] == "attachment; filename=usage.csv"


def test_subjects_are_a_column_before_the_groups(usage):
    assert csv_of(usage, windowSize="DAY", groupBy=["model", "subject"]) == (
        b"window_start,window_end,subject,model,value\n"
        b"2025-01-15T00:00:00Z,2025-01-16T00:00:00Z,alice,,0.250000\n"
        b"2025-01-15T00:00:00Z,2025-01-16T00:00:00Z,alice,gpt-4,0.500000\n"
        b"2025-01-15T00:00:00Z,2025-01-16T00:00:00Z,bob,gpt-4,3.000000\n"
    )


def test_groups_are_columns_in_the_order_asked(usage):
    header, *_ = csv_of(usage, groupBy=["model", "kind"]).split(b"\n")
    assert header == b"window_start,window_end,model,kind,value"
    header, *_ = csv_of(usage, groupBy=["kind", "model"]).split(b"\n")
    assert header == b"window_start,window_end,kind,model,value"


def test_a_subject_filter_adds_its_column(usage):
    assert csv_of(usage, subject="bob") == (
        b"window_start,window_end,subject,value\n2025-01-15T10:00:00Z,2025-01-15T10:01:00Z,bob,3.000000\n"
    )


def test_no_rows_are_a_header(mount):
    add_meter(mount)
    assert csv_of(mount) == b"window_start,window_end,value\n"


def test_values_with_commas_quotes_and_lines_are_quoted(mount):
    add_meter(mount, groupBy={"model": "$.model"})
    ingest(mount, *(make_event(data={"value": 1, "model": model}) for model in ("a,b", 'a "b"', "a\nb", "Åsa")))
    times = b"2025-01-15T10:00:00Z,2025-01-15T10:01:00Z"
    assert csv_of(mount, groupBy="model") == (
        b"window_start,window_end,model,value\n"
        + times + b',"a\nb",1.000000\n'
        + times + b',"a ""b""",1.000000\n'
        + times + b',"a,b",1.000000\n'
        + times + b",\xc3\x85sa,1.000000\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, b"0.100000"),
        (-2, b"-2.000000"),
        (1234567.891, b"1234567.891000"),
        (0, b"0.000000"),
        (0.0000014, b"0.000001"),
        (1e15, b"1000000000000000.000000"),
    ],
)
def test_a_value_has_six_decimals(mount, value, text):
    add_meter(mount)
    ingest(mount, make_event(data={"value": value}))
    assert csv_of(mount).rstrip(b"\n").rsplit(b",", 1)[1] == text


@pytest.mark.parametrize("accept", ["text/csv", "text/csv; charset=utf-8", "text/csv;header=present"])
def test_csv_is_chosen_by_the_accepted_type(usage, accept):
    assert usage.get("/meters/usage/query", headers={"Accept": accept}).headers["content-type"] == "text/csv"


@pytest.mark.parametrize("accept", ["application/json", "*/*", "text/html", ""])
def test_everything_else_is_json(usage, accept):
    response = usage.get("/meters/usage/query", headers={"Accept": accept})
    assert response.headers["content-type"].startswith("application/json")


def test_a_body_can_ask_for_csv(usage):
    response = usage.post("/meters/usage/query", json={"groupBy": ["subject"]}, headers=CSV)
    assert response.content == csv_of(usage, groupBy="subject")


def test_no_body_at_all_can_ask_for_csv(usage):
    assert usage.post("/meters/usage/query", headers=CSV).content == csv_of(usage)


def test_a_refused_query_is_a_problem_and_no_csv(usage):
    refused(usage.get("/meters/usage/query", params={"groupBy": "foo"}, headers=CSV))
    refused(usage.get("/meters/nothing/query", headers=CSV), 404)
