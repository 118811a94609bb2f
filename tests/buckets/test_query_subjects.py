"""subject: a filter that is a group as well."""

import pytest

from .make import add_meter, by_subject, ingest, make_event, make_events, query, query_by_body, refused


@pytest.fixture
def three(mount):
    add_meter(mount)
    for subject, value in (("alice", 1), ("bob", 10), ("carol", 100)):
        ingest(mount, *make_events(value, subject=subject))
    return mount


def test_one_subject_is_one_row_with_its_name(three):
    assert by_subject(query(three, subject="bob")) == {"bob": 10}


def test_several_subjects_are_a_row_each(three):
    assert by_subject(query(three, subject=["carol", "alice"])) == {"alice": 1, "carol": 100}


def test_subjects_are_filtered_by_body(three):
    assert query_by_body(three, subject=["alice", "bob"]) == query(three, subject=["alice", "bob"])


def test_no_subjects_by_body_are_no_filter(three):
    [row] = query_by_body(three, subject=[])
    assert (row["subject"], row["value"]) == (None, 111)


def test_an_unknown_subject_has_no_row(three):
    assert query(three, subject="dave") == []
    assert by_subject(query(three, subject=["dave", "bob"])) == {"bob": 10}


def test_a_subject_is_compared_whole(three):
    for text in ("ali", "ALICE", "alice ", "%", "alice,bob"):
        assert query(three, subject=text) == []


def test_a_subject_stands_beside_windows_and_groups(three):
    ingest(three, make_event(subject="bob", time="2025-01-16T10:00:00Z"))
    rows = query(three, subject="bob", windowSize="DAY", groupBy="subject")
    assert [(row["subject"], row["value"]) for row in rows] == [("bob", 10), ("bob", 1)]


def test_a_hundred_subjects_are_the_most(three):
    names = [f"s{n}" for n in range(101)]
    assert query(three, subject=names[:100]) == []
    assert query_by_body(three, subject=names[:100]) == []
    refused(three.get("/meters/usage/query", params={"subject": names}))
    refused(three.post("/meters/usage/query", json={"subject": names}))


@pytest.mark.parametrize("text", ["\u0000", "\\", "'", "%", "x" * 5_000, "", "Åsa 🧮"])
def test_an_odd_subject_never_breaks(three, text):
    assert three.get("/meters/usage/query", params={"subject": text}).status_code in (200, 400)
    assert three.post("/meters/usage/query", json={"subject": [text]}).status_code in (200, 400)


def test_bytes_that_are_no_text_never_break(three):
    assert three.get("/meters/usage/query?subject=%ff%fe").status_code in (200, 400)
