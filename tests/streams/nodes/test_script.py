from decimal import Decimal

import pytest

from meterhouse.streams.function import StreamError
from meterhouse.streams.nodes import make_function
from tests.streams.nodes.make import make_node, make_step, reasons, sent

NAMED = {"multiOutput": {"configurable": {"outputs": [{"id": "o-1", "name": "Late"}]}}}


def test_what_is_pushed_goes_on_and_nothing_else(run_script):
    source = """
    if (payload.n === 1) return;
    await push(payload);
    for (let i = 0; i < payload.n; i++) { await push({ copy: i }) }
    """
    assert sent(run_script(source, {"n": 0}, {"n": 1}, {"n": 2})) == [{"n": 0}, {"n": 2}, {"copy": 0}, {"copy": 1}]


def test_a_pushed_record_is_what_it_was_when_it_was_pushed(run_script):
    source = "payload.id = 1; await push(payload); payload.id = 2; await push(payload); payload.id = 3;"
    assert sent(run_script(source, {})) == [{"id": 1}, {"id": 2}]


def test_a_push_counts_even_without_await(run_script):
    assert sent(run_script("push({ a: 1 }); later(); async function later() { await 0; push({ b: 2 }) }")) == [
        {"a": 1},
        {"b": 2},
    ]
    with pytest.raises(StreamError, match="line 1: TypeError"):
        run_script("push(undefined)")


def test_records_keep_the_meta_of_the_one_they_came_from(run_script):
    step = run_script("await push({ seen: meta.n })", {}, {})
    assert [(record.payload, record.meta) for record in step.emitted[None]] == [
        ({"seen": 0}, {"n": 0}),
        ({"seen": 1}, {"n": 1}),
    ]


def test_outputs_are_named_or_given_by_their_id(run_script):
    step = run_script("await push({a: 1}, 'Late'); await push({a: 2}, 'o-1'); await push({a: 3})", {}, **NAMED)
    assert (sent(step, "o-1"), sent(step)) == ([{"a": 1}, {"a": 2}], [{"a": 3}])


def test_what_is_pushed_to_an_output_that_leads_nowhere_is_dropped(run_script):
    step = run_script("await push({}, 'Early'); await push({}, 7); await push({}, 'outputs')", {}, **NAMED)
    assert (step.emitted, step.dropped) == ({}, 3)


def test_values_are_written_as_json(run_script):
    source = """
    const at = new Date(Date.UTC(2026, 0, 31, 12));
    await push({ at, none: undefined, not: NaN, list: [undefined], map: { deep: at } });
    """
    iso = "2026-01-31T12:00:00.000Z"
    assert sent(run_script(source)) == [{"at": iso, "not": None, "list": [None], "map": {"deep": iso}}]


def test_text_that_cannot_be_stored_is_replaced(run_script):
    pushed = sent(run_script(r'await push({ half: "😀".substring(0, 1), zero: "a\u0000", spelled: "\\ud800\\u0000" })'))
    assert pushed == [{"half": "\ufffd", "zero": "a\ufffd", "spelled": "\\ud800\\u0000"}]


def test_numbers_that_are_passed_on_stay_exact(run_script):
    payload = {"id": 1234567890123456789, "price": Decimal("0.1234567890123456789012345"), "list": [2**70], "one": 1}
    source = "const { id, ...rest } = payload; await push({ ...rest, id, deep: [{ id }], sum: payload.one + 1 });"
    assert sent(run_script(source, payload, {"id": 1234567890123456790, "one": 0})) == [
        payload | {"deep": [{"id": 1234567890123456789}], "sum": 2},
        {"one": 0, "id": 1234567890123456790, "deep": [{"id": 1234567890123456790}], "sum": 1},
    ]


def test_of_two_exact_numbers_that_are_one_double_neither_is_guessed(run_script):
    pushed = sent(run_script("await push(payload)", {"a": 2**60 + 1, "b": 2**60 + 2}))
    assert pushed == [{"a": 2**60 - 2**60 % 1000 + 1000, "b": 2**60 - 2**60 % 1000 + 1000}]


@pytest.mark.parametrize("number", [Decimal("1E+400"), 10**400])
def test_a_number_larger_than_any_double_is_rejected(run_script, number):
    step = run_script("await push(payload)", {"a": number}, {"a": 1})
    assert sent(step) == [{"a": 1}]
    assert "larger than any that a script can read" in reasons(step)[0]


def test_state_lives_from_slice_to_slice(run_script):
    step = make_step(state={"count": 5})
    shared = step.stream_state
    source = "state.node.count = (state.node.count ?? 0) + 1; state.stream.last = payload.a; await push(state.node)"
    run_script(source, {"a": 1}, {"a": 2}, step=step)
    assert sent(step) == [{"count": 6}, {"count": 7}]
    assert (step.state, shared) == ({"count": 7}, {"last": 2})


def test_globals_live_no_longer_than_a_slice(run_script):
    source = "globalThis.n = (globalThis.n ?? 0) + 1; Object.prototype.n ??= 1; await push({ n: globalThis.n })"
    assert sent(run_script(source, {}, {})) == [{"n": 1}, {"n": 2}]
    assert sent(run_script("await push({ n: globalThis.n ?? null, polluted: ({}).n ?? null })")) == [
        {"n": None, "polluted": None}
    ]


def test_audit_counters_are_noted_in_order(run_script):
    source = "audit.count('seen'); audit.sum('amount', payload.amount); audit.set('last', payload.amount)"
    assert run_script(source, {"amount": Decimal("0.1")}, {"amount": 2}).audit == [
        ("count", "seen", 1),
        ("sum", "amount", Decimal("0.1")),
        ("set", "last", Decimal("0.1")),
        ("count", "seen", 1),
        ("sum", "amount", 2),
        ("set", "last", 2),
    ]
    with pytest.raises(StreamError, match=r"line 1: TypeError: audit\.sum of amount needs a number"):
        run_script(source.splitlines()[0], {})


def test_log_lines_are_formatted(run_script):
    source = """
    log.info("%s has %d of %j, 100%%", "a", "7", { b: [1] });
    log.warning("more", { c: 1 }, 2);
    log.error(new TypeError("bad"), null, undefined, "%s");
    log.info("%s and %s", "one");
    const ring = {}; ring.ring = ring; log.info(ring);
    """
    assert run_script(source).log == [
        ("info", 'a has 7 of {"b":[1]}, 100%'),
        ("warning", 'more {"c":1} 2'),
        ("error", "TypeError: bad null undefined %s"),
        ("info", "one and %s"),
        ("info", "[Circular]"),
    ]


def test_moment_is_the_one_module(run_script):
    source = """
    const moment = require("moment");
    const day = moment("2026-01-31", "YYYY-MM-DD");
    await push({ next: day.add(1, "month").format("YYYY-MM-DD"), is: moment.isMoment(day), offset: day.utcOffset(), day });
    """
    assert sent(run_script(source)) == [
        {"next": "2026-02-28", "is": True, "offset": 0, "day": "2026-02-28T00:00:00.000Z"}
    ]
    with pytest.raises(StreamError, match="line 3: Error: there is no module fs"):
        run_script("\n\nrequire('fs')")


def test_a_script_may_use_our_names_for_its_own(run_script):
    source = "const log = 1, state = payload.state, session = 3;\nawait push({ log, state, session }) // the end"
    assert sent(run_script(source, {"state": 2})) == [{"log": 1, "state": 2, "session": 3}]


def test_functions_can_be_used_before_they_stand(run_script):
    assert sent(run_script("await push({ n: await twice(2) });\nasync function twice(n) { return n * 2 }")) == [
        {"n": 4}
    ]


def test_a_slice_larger_than_an_engine_goes_in_parts(run_script):
    step = run_script(
        "state.node.n = (state.node.n ?? 0) + 1; await push({ n: state.node.n, length: payload.text.length })",
        *({"text": "x" * 1_500_000} for _ in range(7)),
    )
    assert sent(step) == [{"n": n, "length": 1_500_000} for n in range(1, 8)]
    assert [record.meta["n"] for record in step.emitted[None]] == list(range(7))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("let a = 1;\n\nlet b = ;", "line 3: SyntaxError: Unexpected token ';'"),
        ("if (true) {\n  push({})", "line 2: SyntaxError"),
        ("\nnope.x", "line 2: ReferenceError: nope is not defined"),
        ("\n\nthrow new Error('mine')", "line 3: Error: mine"),
        ("await one();\nasync function one() {\n  throw new TypeError('deep') }", "line 3: TypeError: deep"),
        ("throw 'text'", "line 1: thrown: text"),
        ("throw { get stack() { throw 1 } }", "line 1: thrown: "),
        ("throw null", "line 1: thrown: null"),
        ("await push(7)", "line 1: TypeError: a pushed record must be an object"),
        ("await push([1])", "line 1: TypeError: a pushed record must be an object"),
        ("const a = {}; a.a = a;\nawait push(a)", "line 2: TypeError: Converting circular structure"),
        ("state.node = 7", "line 1: TypeError: state.node must be an object"),
        ("await new Promise(() => {})", "line 1: the script waits for a promise that nothing settles"),
    ],
)
def test_an_error_names_the_function_the_line_and_the_message(run_script, source, message):
    with pytest.raises(StreamError) as caught:
        run_script(source)
    assert str(caught.value).startswith(f"The node: {message}")


@pytest.mark.parametrize("params", [{}, {"transform": None}, {"transform": 7}])
def test_a_script_is_needed(params):
    with pytest.raises(StreamError, match="The node: transform must be the text of a script"):
        make_function(make_node("transforms/script", **params))
