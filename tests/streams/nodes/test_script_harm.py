"""Scripts that mean harm, or fail badly: the run gets an error, everybody else gets on with their work."""

import asyncio
import os
import re
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from meterhouse.streams.function import Record, StreamError
from meterhouse.streams.nodes import make_function
from meterhouse.streams.sandbox.process import Limits
from meterhouse.streams.scripts import open_sandbox
from tests.streams.nodes.conftest import SCRIPT_SECONDS
from tests.streams.nodes.make import make_node, make_step, sent


@pytest.fixture
def child(run_script):
    """The process in which scripts run."""
    run_script("1")
    (found,) = [process for process in psutil.Process().children() if "child.py" in " ".join(process.cmdline())]
    return found


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("for (;;);", "line 1: the script ran for more than 1.5 seconds"),
        ("for (;;) await 0;", "line 1: the script ran for more than 1.5 seconds"),
        ("/^(?=(a+)+$)/.test('a'.repeat(40) + 'b')", "line 1: the script ran for more than 1.5 seconds"),
        ("await push({ get a() { for (;;); } })", "line 1: the script ran for more than 1.5 seconds"),
        ("await push(new Proxy({}, { ownKeys() { for (;;); } }))", "line 1: the script ran for more than 1.5 seconds"),
        ("await push(new Proxy({}, { ownKeys() { throw new Error('no') } }))", "line 1: Error: no"),
        ("await push({ toJSON: () => 'text' })", "line 1: TypeError: a pushed record must be an object"),
        ("await push({ a: 1n })", "line 1: TypeError: Do not know how to serialize a BigInt"),
        ("const a = {}; a.a = a; await push(a)", "line 1: TypeError: Converting circular structure to JSON"),
        ("await { then() {} }", "line 1: the script waits for a promise that nothing settles"),
        ("const t = { then(go) { go(t) } }; await t", "line 1: the script ran for more than 1.5 seconds"),
        (
            "await push({}, { [Symbol.toPrimitive]() { for (;;); } })",
            "line 1: the script ran for more than 1.5 seconds",
        ),
        ("audit.sum('a', { [Symbol.toPrimitive]: () => 1 })", "line 1: TypeError: audit.sum of a needs a number"),
        (
            "async function* g() { for (;;) yield 1 }\nfor await (const x of g());",
            "the script ran for more than 1.5 seconds",
        ),
        ("Atomics.wait(new Int32Array(1), 0, 0)", "line 1: TypeError"),
        ("new SharedArrayBuffer(8)", "line 1: TypeError"),
        ("'\\ufdfa'.repeat(1e7).normalize('NFKC')", "line 1: "),
        ("for (let i = 0; ; i++) new Intl.DateTimeFormat(['de', 'th'][i % 2]).format(i)", "line 1: the script "),
        ("Error.prepareStackTrace = () => { for (;;); }; throw new Error('x')", "line 1: the script ran for more than"),
        ("Error.prepareStackTrace = () => { throw 1 }; throw new Error('x')", "line 1: Error: x"),
        (
            "throw { get message() { for (;;); }, get stack() { for (;;); } }",
            "the script ran for more than 1.5 seconds",
        ),
        ("throw new Proxy({}, { getPrototypeOf() { for (;;); } })", "the script ran for more than 1.5 seconds"),
        ("throw Symbol('a')", "line 1: thrown: Symbol(a)"),
        ("new RegExp('(?:(?:a{1000}){1000}){1000}').test('a'.repeat(1e6))", "line 1: the script"),
        ("new RegExp('('.repeat(1e5) + ')'.repeat(1e5))", "line 1: SyntaxError: Invalid regular expression"),
        ("state.node = new Proxy({}, { ownKeys() { for (;;); } })", "the script ran for more than 1.5 seconds"),
        ("\nfunction f() { return f() + 1 }\nf()", "line 2: RangeError: Maximum call stack size exceeded"),
        ("let o = {}; for (let i = 0; i < 1e4; i++) o = { o }; await push(o)", "nested too deeply"),
        ("state.node.text = 'x'.repeat(2e6)", "state has more than 1048576 characters"),
        ("await new Promise(() => {})", "waits for a promise that nothing settles"),
        ("this.constructor.constructor('return process')()", "ReferenceError: process is not defined"),
        ("await import('fs')", "line 1: Error: Not supported"),
        ("console.log(1)", "line 1: TypeError"),
        ("setTimeout(() => {}, 1)", "line 1: TypeError: setTimeout is not a function"),
        ("WebAssembly.compile(new Uint8Array(8))", "line 1: TypeError"),
        ("new (Function('return SharedArrayBuffer')())(8)", "TypeError"),
        ("Array.prototype.join = () => '[7,null,{},null]'; await push({})", "broke what it runs in"),
        ("Array.prototype.join = () => '[0,\"other\",{},null]'; await push({})", "broke what it runs in"),
        ("Array.prototype.join = () => '\"'; await push({})", "broke what it runs in"),
        ('Map.prototype.values = () => [\'["","key",null]\']', "broke what it runs in"),
    ],
)
def test_the_run_gets_an_error_and_the_next_script_an_unspoilt_engine(run_script, source, message):
    with pytest.raises(StreamError) as caught:
        run_script(source)
    assert str(caught.value).startswith("The node:")
    assert message in str(caught.value)
    assert sent(run_script("await push({ ok: [1].join() })")) == [{"ok": "1"}]


def test_a_regular_expression_that_goes_astray_is_tried_again_in_linear_time(run_script):
    assert sent(run_script("await push({ found: /^(a+)+$/.test('a'.repeat(1000) + 'b') })")) == [{"found": False}]


@pytest.fixture(scope="module")
def run_patiently():
    """A slice with a sandbox of its own, in which filling the memory takes no longer than it may."""

    async def run(source):
        async with open_sandbox(Limits(time_seconds=60)):
            node = make_node("transforms/script", transform=source)
            await make_function(node).handle([Record({})], make_step())

    return lambda source: asyncio.run(run(source))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "const all = []; for (;;) all.push(new Array(1e4).fill({ x: Math.random() }))",
            "line 1: the script needs more than 128 MiB",
        ),
        (
            "const all = []; for (;;) all.push(new Uint8Array(5e7).fill(1))",
            "RangeError: Array buffer allocation failed",
        ),
        ("await push({ text: 'x'.repeat(1e8) })", "line 1: RangeError: more than 16777216 characters of output"),
        ("try { for (;;) push({ x: 'x'.repeat(1e5) }) } catch {}", "line 1: RangeError: more than 16777216 characters"),
        (
            "async function* g() { for (;;) yield 'y'.repeat(1e4) } for await (const x of g()) push({ x })",
            "more than 16777216",
        ),
        (
            "for (let i = 0; ; i++) await persist.set(`k${i}`, 'x'.repeat(1000))",
            "line 1: RangeError: more than 16777216",
        ),
        ("for (let i = 0; ; i++) audit.count(`k${i}`)", "line 1: RangeError: more than 16777216 characters of output"),
    ],
)
def test_what_fills_the_memory_or_the_output_is_stopped_before_it_harms(run_patiently, source, message):
    with pytest.raises(StreamError) as caught:
        run_patiently(source)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("let n = 0;\nwhile (true)\n  n++;", 3),
        ("let n = 0;\n\nfor (const x of [1, 2]) {\n  n += x;\n  do { n++ } while (n > 0)\n}", 5),
        ("function f() {\n  for (;;) {\n    'x'.repeat(10)\n  }\n}\nawait push({});\nf()", 3),
        ("switch (payload.a) {\n  case undefined:\n    await 0;\n    for (;;);\n  default: 1\n}", 4),
        ("if (payload.a) await 0;\nelse\n  for (;;);", 3),
        ("try {\n  for (;;);\n} catch {\n  for (;;);\n}", 2),
        ("const x = [1].map((y) => {\n  return y;\n});\nawait new Promise(() => {})", 4),
        (
            "const all = [];\nconst fill = () => new Array(1e4).fill({ x: Math.random() });\nfor (;;) {\n  all.push(fill())\n}",
            4,
        ),
        ("await persist.get('a');\nfor (;;);", 2),
    ],
)
def test_where_a_script_was_when_it_was_stopped_is_told(scripts, with_tables, source, line):
    async def test(connection):
        node = make_node("transforms/script", transform=source)
        with pytest.raises(StreamError, match=f"^The node: line {line}: the script "):
            await make_function(node).handle([Record({})], make_step(connection))

    with_tables(test)


def test_what_a_script_does_to_prototypes_reaches_the_next_records_of_its_slice_and_no_others(run_script):
    """One slice is one world of one script: it can harm itself. The host and other slices see nothing of it."""
    spoil = (
        "if (payload.n === 0) Object.prototype.evil = 1; await push({ own: Object.keys(payload), evil: payload.evil })"
    )
    assert sent(run_script(spoil, {"n": 0}, {"n": 1})) == [{"own": ["n"], "evil": 1}] * 2
    assert sent(run_script("await push({ evil: payload.evil ?? null })", {"n": 2})) == [{"evil": None}]
    polluted = run_script("""await push(JSON.parse('{"__proto__": {"evil": 1}, "a": 1}'))""")
    assert sent(polluted) == [{"__proto__": {"evil": 1}, "a": 1}]
    assert not hasattr(sent(polluted)[0], "evil")


@pytest.mark.parametrize(
    ("source", "record"),
    [
        ("let n = 0; const r = { get a() { return ++n } }; await push(r)", {"a": 1}),
        ("await push(new Proxy({ a: 1 }, {}))", {"a": 1}),
        ("await push({ toJSON: () => ({ b: 1 }) })", {"b": 1}),
        ("JSON.stringify = () => '[]'; await push({ a: 1 })", {"a": 1}),
        ("Object.prototype.polluted = 1; await push({ a: 1 })", {"a": 1}),
        ("Promise.reject(new Error('lost')); await push({ a: 1 })", {"a": 1}),
        ("await push({ a: NaN, b: undefined, c: () => 1, d: Symbol('x'), e: -0 })", {"a": None, "e": 0}),
        ("await push({ a: 'x\\u0000y', b: '\\ud800' })", {"a": "x\ufffdy", "b": "\ufffd"}),
        ("await push({ t: [typeof SharedArrayBuffer, typeof Atomics, typeof WebAssembly] })", {"t": ["undefined"] * 3}),
        (
            "await push({ t: [typeof job, typeof body, typeof process, typeof require('moment')] })",
            {"t": ["undefined"] * 3 + ["function"]},
        ),
        (
            "Error.prepareStackTrace = (e, frames) => frames.slice(1).map((f) => [typeof f.getThis(), typeof f.getFunction()]); await push({ seen: new Error().stack })",
            {"seen": [["undefined", "undefined"]] * 2},
        ),
        (
            "await push({ day: new Intl.DateTimeFormat('de', { weekday: 'long', timeZone: 'UTC' }).format(0) })",
            {"day": "Donnerstag"},
        ),
    ],
)
def test_odd_records_are_what_they_read_as_and_nothing_of_the_host_is_seen(run_script, source, record):
    assert sent(run_script(source)) == [record]


def test_too_many_log_lines_are_counted_and_dropped(run_script):
    step = run_script("for (let i = 0; i < 5000; i++) log.info(`${i} ` + 'x'.repeat(10_000))")
    assert len(step.log) == 1001
    assert {len(text) for _, text in step.log[:-1]} == {4000}
    assert step.log[-1] == ("warning", "4000 more lines were logged than are kept of one slice")


def test_what_one_script_does_to_its_world_reaches_no_other(run_script):
    run_script("JSON.stringify = Object.prototype.toString = null; Object.prototype.evil = 1; globalThis.evil = 1")
    assert sent(run_script("await push({ evil: typeof evil, inherited: typeof ({}).evil })")) == [
        {"evil": "undefined", "inherited": "undefined"}
    ]


def test_a_process_that_was_killed_is_replaced(run_script, child):
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(StreamError, match="broke what it runs in"):
        run_script("1")
    assert sent(run_script("await push({ a: 1 })")) == [{"a": 1}]


def test_a_failed_script_leaves_no_process_behind(run_script, child):
    with pytest.raises(StreamError):
        run_script("for (;;);")
    assert not child.is_running()


def test_a_failed_script_leaves_nothing_in_the_step(run_script):
    step = make_step(state={"n": 1})
    with pytest.raises(StreamError):
        run_script("state.node.n = 2; audit.count('a'); log.info('b'); await push({}); nope()", step=step)
    assert (step.state, step.audit, step.log, step.emitted) == ({"n": 1}, [], [], {})


def test_the_process_has_no_secrets_no_rights_and_no_way_to_open_a_file(child):
    """Limits and rights are those of Linux; its environment and its open files are looked at everywhere."""
    if sys.platform == "linux":
        limits = Path(f"/proc/{child.pid}/limits").read_text()
        for name, most in {"data size": 512 << 20, "file size": 0, "core file size": 0, "open files": 0}.items():
            assert re.search(rf"Max {name} +{most} +{most} ", limits), limits
        assert "NoNewPrivs:\t1\n" in Path(f"/proc/{child.pid}/status").read_text()
    if os.geteuid() == 0:
        assert child.username() == "nobody"
    else:  # of a process that has given root up nothing can be read, not even by root
        assert child.environ().keys() <= {"TZ", "LC_CTYPE"}
        assert (child.open_files(), child.net_connections()) == ([], [])


def test_the_clock_of_a_script_stands_while_others_have_their_turn(scripts, run_script):
    """Two slices of more than half the time each, one after the other in the one process."""
    begin = time.monotonic()
    busy = f"const end = Date.now() + {SCRIPT_SECONDS * 600}; while (Date.now() < end);"
    for _ in range(2):
        run_script(busy)
    assert time.monotonic() - begin > SCRIPT_SECONDS
