"""Scripts that mean harm, or fail badly: the run gets an error, everybody else gets on with their work."""

import os
import re
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from meterhouse.streams.function import StreamError
from tests.streams.nodes.conftest import SCRIPT_SECONDS
from tests.streams.nodes.make import make_step, sent


@pytest.fixture
def child(run_script):
    """The process in which scripts run."""
    run_script("1")
    (found,) = [process for process in psutil.Process().children() if "child.py" in " ".join(process.cmdline())]
    return found


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("for (;;);", "the script ran for more than 1.5 seconds"),
        ("for (;;) await 0;", "the script ran for more than 1.5 seconds"),
        ("/^(?=(a+)+$)/.test('a'.repeat(40) + 'b')", "the script ran for more than 1.5 seconds"),
        ("const all = []; for (;;) all.push(new Array(1e4).fill({ x: Math.random() }))", "128 MiB of memory"),
        (
            "const all = []; for (;;) all.push(new Uint8Array(5e7).fill(1))",
            "RangeError: Array buffer allocation failed",
        ),
        ("await push({ text: 'x'.repeat(1e8) })", "line 1: RangeError: more than 16777216 characters of output"),
        ("try { for (;;) push({ x: 'x'.repeat(1e5) }) } catch {}", "line 1: RangeError: more than 16777216 characters"),
        ("\nfunction f() { return f() + 1 }\nf()", "line 2: RangeError: Maximum call stack size exceeded"),
        ("let o = {}; for (let i = 0; i < 1e5; i++) o = { o }; await push(o)", "nested too deeply"),
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
