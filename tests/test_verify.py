"""`meterhouse verify`: exported periods against the hashes that they carry."""

import hashlib
import json
import os
import subprocess

import pytest

from meterhouse.reference.documents import folder, load
from meterhouse.verify import NoExportError, verify_files
from tests.conftest import COMMAND

METER, OTHER = "645ed240-02b5-400c-9a3c-21857e8f2ac4", "00000000-02b5-400c-9a3c-21857e8f2ac4"


def day(number):
    return f"2027-01-{number:02}T00:00:00.000Z"


def sign(period):
    text = json.dumps(
        {name: value for name, value in period.items() if name != "hash"}, ensure_ascii=False, sort_keys=True
    )
    period["hash"] = hashlib.sha256(text.replace('": ', '":').replace(', "', ',"').encode()).hexdigest()
    return period


def make_periods(count=5, meter=METER):
    """Days from the first of January on, chained as a server does it."""
    periods, previous = [], None
    for number in range(1, count + 1):
        period = {"id": meter, "userId": "ann", "periodStart": day(number), "periodEnd": day(number + 1)}
        period |= {"value": number, "customFields": {"ä": "é"}, "previousHash": previous}
        periods.append(sign(period))
        previous = period["hash"]
    return periods


@pytest.fixture
def verify(tmp_path):
    """On files with these contents, each a value that becomes JSON or a text as it is: whether all is right, and lines."""

    def run(*contents):
        names = []
        for number, content in enumerate(contents):
            path = tmp_path / f"{number}.json"
            path.write_text(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False))
            names.append(str(path))
        lines, is_right = verify_files(names)
        return is_right, [line.strip() for line in lines]

    return run


def wrong(verified):
    """The lines that tell what is wrong."""
    is_right, lines = verified
    assert not is_right
    assert lines[-1].endswith("NOT ALL RIGHT")
    return [line for line in lines if "WRONG" in line]


def right(verified):
    is_right, lines = verified
    assert is_right
    assert not any("WRONG" in line for line in lines)
    return lines


def test_an_answer_of_the_server_is_right(verify):
    assert right(verify({"periods": make_periods()})) == [
        f"meter {METER}: 5 periods right, {day(1)} to {day(6)}",
        "5 periods of 1 meters: all right",
    ]


def test_pages_lists_and_lines_are_read_in_any_order_and_mixed(verify):
    own, others = make_periods(), make_periods(3, OTHER)
    lines = "\n".join(json.dumps(period) for period in others)
    done = verify({"periods": own[3:]}, own[1:3], "\n" + lines + "\r\n\n", {"periods": []}, own[0])
    assert right(done) == [
        f"meter {METER}: 5 periods right, {day(1)} to {day(6)}",
        f"meter {OTHER}: 3 periods right, {day(1)} to {day(4)}",
        "8 periods of 2 meters: all right",
    ]


def test_pages_one_behind_the_other_in_one_file_are_read(verify):
    own = make_periods()
    right(verify(json.dumps({"periods": own[:2]}) + json.dumps({"periods": own[2:]})))


def test_a_byte_order_mark_is_no_matter(verify):
    right(verify("\ufeff" + json.dumps(make_periods())))


def test_how_numbers_are_spelled_is_no_matter(verify):
    text = json.dumps(make_periods()).replace('"value": 2', '"value": 2.00').replace('"value": 3', '"value": 30e-1')
    right(verify(text))


def test_no_periods_are_nothing_wrong(verify):
    assert right(verify({"periods": []})) == ["0 periods of 0 meters: all right"]


def test_a_chain_that_begins_in_the_middle_is_right_and_said_to(verify):
    first, second, _ = right(verify(make_periods()[2:]))
    assert first == f"meter {METER}: 3 periods right, {day(3)} to {day(6)}"
    assert second.startswith(f"note: {day(3)} to {day(4)}: earlier periods are not in the export")


def test_a_gap_that_the_chain_knows_is_right_and_said(verify):
    """As when the type was over and the meter idle: the server states no period then."""
    periods = make_periods(2)
    later = periods[1] | {"periodStart": day(9), "periodEnd": day(10), "previousHash": periods[1]["hash"]}
    lines = right(verify([*periods, sign(later)]))
    assert lines[1].startswith(f"note: {day(9)} to {day(10)}: no period had to be stated from {day(3)} on")


@pytest.mark.parametrize("place", [0, 2, 4])
@pytest.mark.parametrize(
    ("member", "value"),
    [("value", 99), ("value", "3"), ("userId", "bob"), ("customFields", {}), ("extra", 1), ("periodEnd", day(20))],
)
def test_a_changed_member_names_its_period_alone(verify, place, member, value):
    periods = make_periods()
    periods[place][member] = value
    [line] = wrong(verify({"periods": periods}))
    changed = periods[place]
    assert line.startswith(
        f"WRONG: {changed['periodStart']} to {changed['periodEnd']}: its hash does not fit its content"
    )


def test_a_member_that_is_left_out_is_a_change(verify):
    periods = make_periods()
    del periods[1]["customFields"]
    [line] = wrong(verify(periods))
    assert day(2) in line


def test_a_changed_start_names_its_period_alone(verify):
    periods = make_periods()
    periods[1]["periodStart"] = day(25)
    [line] = wrong(verify(periods))
    assert line.startswith(f"WRONG: {day(25)} to {day(3)}: its hash does not fit")


def test_a_changed_hash_names_its_period_alone(verify):
    periods = make_periods()
    periods[2]["hash"] = "0" * 64
    [line] = wrong(verify(periods))
    assert line.startswith(f"WRONG: {day(3)} to {day(4)}: its hash does not fit")


def test_a_change_that_was_hashed_anew_does_not_fit_what_follows(verify):
    periods = make_periods()
    periods[2] = sign(periods[2] | {"value": 7})
    [line] = wrong(verify(periods))
    assert line.startswith(f"WRONG: {day(4)} to {day(5)}: it does not follow the one before it, {day(3)} to {day(4)}")


def test_a_period_that_is_missing_is_named_by_the_one_behind_it(verify):
    periods = make_periods()
    [line] = wrong(verify(periods[:2] + periods[3:]))
    assert line.startswith(
        f"WRONG: {day(4)} to {day(5)}: a period is missing before it: the one before ends at {day(3)}"
    )


def test_a_period_that_stands_twice_is_named(verify):
    periods = make_periods()
    done = verify(periods, periods[2:3])
    [line] = wrong(done)
    assert line.startswith(f"WRONG: {day(3)} to {day(4)}: it stands here more than once")
    assert done[1][0].startswith(f"meter {METER}: 4 of 5 periods right")


def test_a_second_first_period_is_named(verify):
    periods = make_periods()
    another = sign(periods[0] | {"periodStart": day(20), "periodEnd": day(21)})
    [line] = wrong(verify([*periods, another]))
    assert line.startswith(f"WRONG: {day(20)} to {day(21)}: it says that it is the first")


def test_periods_that_overlap_are_named_though_their_hashes_fit(verify):
    periods = make_periods(1)
    overlapping = sign(periods[0] | {"periodEnd": day(9), "previousHash": periods[0]["hash"]})
    [line] = wrong(verify([*periods, overlapping]))
    assert line.startswith(
        f"WRONG: {day(1)} to {day(9)}: it begins before the one before it ends, which is at {day(2)}"
    )


def test_other_meters_stay_right(verify):
    others = make_periods(2, OTHER)
    periods = make_periods()
    periods[0]["value"] = 0
    done = verify(others, periods)
    assert len(wrong(done)) == 1
    assert done[1][0].startswith(f"meter {OTHER}: 2 periods right")
    assert done[1][1].startswith(f"meter {METER}: 4 of 5 periods right")


def test_circles_end(verify):
    periods = make_periods(2)
    periods[0]["previousHash"] = periods[1]["hash"]
    assert wrong(verify(periods))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "it is empty"),
        ("  \n ", "it is empty"),
        ("no json", "Expecting value"),
        ('{"periods": [', "Expecting value"),
        ("5", "item 1: it is no JSON object"),
        ('{"statusCode": 404, "error": "Not Found", "message": "meter not found"}', "item 1: it has no text 'id'"),
        ('{"meters": []}', "item 1: it has no text 'id'"),
        (json.dumps([{"id": METER, "periodStart": day(1), "periodEnd": day(2)}]), "item 1: it has no text 'hash'"),
        (json.dumps([{"id": METER, "periodStart": day(1), "periodEnd": day(2), "hash": ""}]), "no 'previousHash'"),
        (json.dumps(make_periods()[0] | {"previousHash": 5}), "no 'previousHash'"),
        (json.dumps(make_periods()[0]).replace('"value": 1', '"value": NaN'), "NaN is not a JSON value"),
        (json.dumps(make_periods()[0]).replace('"value": 1', '"value": 1e999999999'), "is out of range"),
        (json.dumps(make_periods()[0]).replace('"value": 1', '"value": 1, "value": 2'), "stands twice"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_file_that_is_no_export_is_told(verify, content, reason):
    with pytest.raises(NoExportError, match=r"0\.json: is no export") as refused:
        verify(content)
    assert reason in str(refused.value)


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path):
    """As its user runs it, with settings that nothing else could start with: they are not read."""

    def call(*names, stdin=None):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("METERHOUSE_")}
        environment = kept | {"METERHOUSE_PORT": "many", "METERHOUSE_UNKNOWN": "x"}
        command = [*COMMAND, "verify", *names]
        options = {"capture_output": True, "text": True, "timeout": 120}
        return subprocess.run(command, input=stdin, env=environment, cwd=tmp_path, check=False, **options)

    return call


def test_the_example_of_the_document_is_all_right(run):
    document = load(folder() / "usage-engine.yaml")
    answer = document["paths"]["/usage-metering/v1/meters/{id}/periods"]["get"]["responses"]["200"]
    done = run("-", stdin=json.dumps(answer["content"]["application/json"]["examples"]["one"]["value"]))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 periods of 1 meters: all right")


def test_the_command_ends_with_0_when_all_is_right_and_leaves_nothing_behind(run, tmp_path):
    (tmp_path / "export").write_text(json.dumps(make_periods()))
    done = run("export")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "5 periods of 1 meters: all right"
    assert list(tmp_path.iterdir()) == [tmp_path / "export"]


def test_it_ends_with_1_when_a_period_is_wrong_and_reads_standard_input(run):
    periods = make_periods()
    periods[1]["value"] = 3
    done = run("-", stdin=json.dumps({"periods": periods}))
    assert (done.returncode, done.stderr) == (1, "")
    assert f"{day(2)} to {day(3)}" in done.stdout


def test_it_ends_with_2_and_one_line_when_a_file_is_no_export(run, tmp_path):
    (tmp_path / "bytes").write_bytes(b"[\xff]")
    for name, reason in (("bytes", "it is not UTF-8"), ("missing", "No such file"), (".", "directory")):
        done = run(name)
        assert (done.returncode, done.stdout) == (2, "")
        assert reason in done.stderr
        assert len(done.stderr.splitlines()) == 1
