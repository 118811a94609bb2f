// What a script finds around it, and the loop that runs it over a slice of records.
//
// `start(job, moment)` begins (`moment` is the module's source). Whenever the engine has nothing left to do, `outcome()`
// says how it stands: {wants} lists stored values that the script waits for, and goes on with `answer(values)`; {failed}
// and {done} end it. No function of the host is reachable from here: all that goes in or out is text. Given acorn's source
// as well, the script is run to find out how far it comes: the line is in the memory behind `reached`, which can be read
// even when the engine had to be stopped.
//
// The engine is a new one for every slice, so a script can spoil only its own slice: what it does to JSON, Map or
// Object.prototype reaches no other script. The host believes nothing that comes out of here without checking it.
(function () {
  "use strict";

  const { parse, stringify } = JSON;
  const { now } = Date;
  const LATEST = Date.UTC(9999, 0, 1);
  const EPOCH_FROM = 1e11;
  const AsyncFunction = (async () => {}).constructor;

  // Ways to wait for time, to share memory and to run other machine code. Some cannot be deleted, all can be emptied.
  for (const name of ["console", "setTimeout", "clearTimeout", "__timer_manager", "WebAssembly", "SharedArrayBuffer", "Atomics"]) {
    globalThis[name] = undefined;
  }
  Error.stackTraceLimit = 50;

  let job;
  let body;
  let ended = null;
  let broken = null;
  let current = -1;
  let size = 0;
  let surplusLines = 0;
  const pushed = [];
  const audited = [];
  const logged = [];

  // A limit that was passed ends the slice, even where the script catches the error.
  function stop(message) {
    broken ??= new RangeError(message);
    throw broken;
  }

  function spend(length) {
    size += length;
    if (size > job.limits.output) stop(`more than ${job.limits.output} characters of output in one slice`);
  }

  function json(value, what) {
    const text = stringify(value);
    if (typeof text !== "string" || text[0] !== "{") throw new TypeError(`${what} must be an object`);
    return text;
  }

  // --- push, log, audit ---

  // Records are written down at once: what a script does to its object afterwards does not change them. An error is
  // thrown and not put in the promise, or a forgotten `await` would hide it.
  function push(record, output) {
    const text = json(record, "a pushed record");
    send(text, output === undefined || output === null ? null : String(output), "null");
    return Promise.resolve();
  }

  function send(text, output, meta) {
    spend(text.length + meta.length);
    pushed.push(`[${current},${stringify(output)},${text},${meta}]`);
  }

  function show(value) {
    if (value instanceof Error) return `${value.name}: ${value.message}`;
    if (typeof value !== "object" || value === null) return String(value);
    try {
      return stringify(value) ?? String(value);
    } catch {
      return "[Circular]";
    }
  }

  function format(first, ...rest) {
    if (typeof first !== "string") return [first, ...rest].map(show).join(" ");
    let used = 0;
    const text = first.replace(/%[sdj%]/g, (mark) => {
      if (mark === "%%") return "%";
      if (used >= rest.length) return mark;
      const value = rest[used++];
      return mark === "%d" ? String(Number(value)) : mark === "%j" ? stringify(value) : show(value);
    });
    return [text, ...rest.slice(used).map(show)].join(" ");
  }

  function logger(level) {
    return (...parts) => {
      if (logged.length >= job.limits.logLines) {
        surplusLines += 1;
        return;
      }
      const text = format(...parts).slice(0, job.limits.logLine);
      spend(text.length);
      logged.push([level, text]);
    };
  }

  function note(kind, key, value) {
    if (typeof key !== "string" || key === "") throw new TypeError(`audit.${kind} needs a key`);
    if (!Number.isFinite(value)) throw new TypeError(`audit.${kind} of ${key} needs a number`);
    const text = stringify([kind, key, value]);
    spend(text.length);
    audited.push(text);
  }

  const audit = {
    count: (key) => note("count", key, 1),
    sum: (key, value) => note("sum", key, value),
    set: (key, value) => note("set", key, value),
  };
  const log = { info: logger("info"), warning: logger("warning"), error: logger("error") };

  // --- persist: values come from the host when they are asked for, changes go out with the outcome ---

  const values = new Map();
  const changes = new Map();
  let waiting = [];
  let asked = [];

  function space(scope) {
    const named = (key) => {
      if (typeof key !== "string" || key === "" || key.length > job.limits.key) {
        throw new TypeError(`a key is a text of 1 to ${job.limits.key} characters`);
      }
      return `${scope} ${key}`;
    };
    const change = (key, text) => {
      const name = named(key);
      spend(key.length + (text?.length ?? 0));
      values.set(name, text);
      changes.set(name, `[${stringify(scope)},${stringify(key)},${text === null ? "null" : `{"value":${text}}`}]`);
      return Promise.resolve();
    };
    return {
      get(key) {
        const name = named(key);
        if (values.has(name)) return Promise.resolve(read(values.get(name)));
        return new Promise((resolve) => waiting.push({ scope, key, name, resolve }));
      },
      set(key, value) {
        const text = stringify(value);
        if (text === undefined) throw new TypeError(`the value of ${key} must be JSON`);
        if (text.length > job.limits.value) throw new RangeError(`the value of ${key} has more than ${job.limits.value} characters`);
        return change(key, text);
      },
      delete: (key) => change(key, null),
    };
  }

  const read = (text) => (text === null ? undefined : parse(text));
  const persist = space("node");
  const sharedPersist = space("shared");

  function answer(text) {
    parse(text).forEach((found, place) => {
      const { name, resolve } = asked[place];
      const value = found === null ? null : stringify(found.value);
      if (!values.has(name)) values.set(name, value);
      resolve(read(value));
    });
  }

  // --- require ---

  let momentSource;
  let moment;

  function load(source, url) {
    const module = { exports: {} };
    new Function("module", "exports", "define", "require", `${source}\n//# sourceURL=${url}`)(module, module.exports);
    return module.exports;
  }

  function require(name) {
    if (name !== "moment") throw new Error(`there is no module ${name}: only moment`);
    moment ??= load(momentSource, "moment");
    return moment;
  }

  // --- where a script is, when that has to be found out ---

  // The script is run once more, and says before each of its statements which line it has come to.
  const MARK = "$line_that_is_reached";
  const reached = new Uint32Array(1);
  let marks = 0;

  function mark(line) {
    if (broken !== null) throw broken;
    reached[0] = line;
    if ((++marks & 255) === 0 && now() > job.stopAt) stop("so far and no further");
  }

  function marked(source, acornSource) {
    const options = { ecmaVersion: "latest", locations: true, allowAwaitOutsideFunction: true, allowReturnOutsideFunction: true };
    const added = [];
    const note = (node, before = "") => added.push([node.start, `${before}${MARK}(${node.loc.start.line});`]);
    const lone = (node) => {
      if (node === null || node === undefined || node.type === "BlockStatement" || node.type === "FunctionDeclaration") return;
      note(node, "{");
      added.push([node.end, "}"]);
    };
    const walk = (node) => {
      if (Array.isArray(node)) return node.forEach(walk);
      if (node === null || typeof node !== "object" || typeof node.type !== "string") return;
      if (/^(Program|BlockStatement|StaticBlock)$/.test(node.type)) node.body.forEach((one) => note(one));
      if (node.type === "SwitchCase") node.consequent.forEach((one) => note(one));
      if (node.type === "IfStatement") [node.consequent, node.alternate].forEach(lone);
      if (/^(For|ForIn|ForOf|While|DoWhile)Statement$/.test(node.type)) lone(node.body);
      for (const name of Object.keys(node)) if (name !== "loc") walk(node[name]);
    };
    walk(load(acornSource, "acorn").parse(source, options));
    let text = source;
    // From the end, so that places stay what they were; of one place, what closes comes before what opens.
    added.sort(([at, one], [other]) => other - at || (one === "}" ? 1 : -1));
    for (const [at, insert] of added) text = text.slice(0, at) + insert + text.slice(at);
    return text;
  }

  // --- sessions of a Script aggregator ---

  class Session {
    #timeoutAt;
    #count;
    #first;
    #last;
    #previous = null;
    #removed = false;
    #restarted = false;

    constructor({ key, data, meta, timeoutAt }) {
      this.key = key;
      this.#begin(data, meta, timeoutAt);
    }

    #begin(data, meta, timeoutAt) {
      this.data = data;
      this.meta = meta;
      this.#timeoutAt = timeoutAt;
      this.#count = meta.count ?? 0;
      this.#first = meta.firstEvent ?? null;
      this.#last = meta.lastEvent ?? null;
    }

    get timeoutAt() {
      return this.#timeoutAt === null ? null : new Date(this.#timeoutAt);
    }

    push(excludeCurrentPayload = false, flushType = "PUSH") {
      this.#stamp();
      this.meta.flushType = String(flushType);
      const meta = excludeCurrentPayload && this.#previous !== null ? { ...this.meta, ...this.#previous } : this.meta;
      send(json(this.data, "session.data"), null, json(meta, "session.meta"));
      return Promise.resolve();
    }

    flush() {
      const sent = this.push(false, job.timeouts ? "TIMEOUT" : "FLUSH");
      this.#removed = true;
      this.#timeoutAt = null;
      return sent;
    }

    // A number is milliseconds from now; one of more than three years is an instant, counted from 1970.
    setTimeout(when) {
      const given = typeof when === "string" ? Date.parse(when) : Number(when);
      if (!Number.isFinite(given)) throw new TypeError("session.setTimeout needs a date or milliseconds");
      const at = Math.trunc(typeof when === "number" && when < EPOCH_FROM ? job.now + Math.max(given, 0) : given);
      if (at < 0 || at >= LATEST) throw new RangeError("session.setTimeout needs an instant from 1970 to 9998");
      // Not again in the round of time-outs that is under way, which would never end.
      this.#timeoutAt = job.timeouts ? Math.max(at, job.now + 1) : at;
    }

    clearTimeout() {
      this.#timeoutAt = null;
    }

    // The meta is the script's to read and to add to; what it counts is not the script's to change.
    #stamp() {
      Object.assign(this.meta, { count: this.#count, firstEvent: this.#first, lastEvent: this.#last });
    }

    static enter(session) {
      if (session.#removed) {
        session.#begin({}, {}, null);
        session.#removed = false;
        session.#restarted = true;
      }
      if (job.timeouts) {
        session.#timeoutAt = null;
        return;
      }
      session.#previous = { count: session.#count, firstEvent: session.#first, lastEvent: session.#last };
      session.#count += 1;
      session.#first ??= job.instant;
      session.#last = job.instant;
      session.#stamp();
    }

    static leave(session) {
      if (session.#removed) return '{"removed":true}';
      session.#stamp();
      const data = json(session.data, "session.data");
      const meta = json(session.meta, "session.meta");
      if (data.length + meta.length > job.limits.session) {
        stop(`the session ${session.key} has more than ${job.limits.session} characters`);
      }
      return `{"data":${data},"meta":${meta},"timeoutAt":${session.#timeoutAt},"restarted":${session.#restarted}}`;
    }
  }

  // --- the loop ---

  const NAMES = ["payload", "meta", "push", "state", "audit", "log", "persist", "sharedPersist", "require", "session", MARK];

  // The inner braces let a script declare names of its own that are the same as ours. Two lines come before the script.
  const compile = (source) => new AsyncFunction(...NAMES, `{${source}\n}\n//# sourceURL=script`);

  async function walk(state, sessions) {
    for (current = 0; current < job.records.length; current++) {
      const [payload, meta, place] = job.records[current];
      job.records[current] = null;
      const session = place === null ? undefined : sessions[place];
      if (session !== undefined) Session.enter(session);
      await body(job.timeouts ? undefined : payload, meta, push, state, audit, log, persist, sharedPersist, require, session, mark);
      if (broken !== null) throw broken;
    }
    return done(state, sessions);
  }

  function done(state, sessions) {
    if (surplusLines > 0) logged.push(["warning", `${surplusLines} more lines were logged than are kept of one slice`]);
    const node = json(state.node, "state.node");
    const stream = json(state.stream, "state.stream");
    if (node.length + stream.length > job.limits.state) stop(`state has more than ${job.limits.state} characters`);
    const parts = [
      `"pushed":[${pushed.join(",")}]`,
      `"audit":[${audited.join(",")}]`,
      `"log":${stringify(logged)}`,
      `"node":${node},"stream":${stream}`,
      `"persist":[${[...changes.values()].join(",")}]`,
      `"sessions":[${sessions.map(Session.leave).join(",")}]`,
    ];
    return `{"done":{${parts.join(",")}}}`;
  }

  function failed(error) {
    let message = "the script threw something that cannot be shown";
    let line = null;
    try {
      message = error instanceof Error ? show(error) : `thrown: ${show(error)}`;
      line = Number(/script:(\d+):\d+/.exec(error.stack)?.[1] ?? NaN);
    } catch {
      // What was thrown may do anything when it is looked at.
    }
    return stringify({ failed: { message: message.slice(0, 2000), line: Number.isInteger(line) ? line : null } });
  }

  // Where the clock of metering is so many milliseconds ahead of the machine's, `new Date()` is too.
  function moveClock(ahead) {
    const machine = Date;
    const now = () => machine.now() + ahead;
    globalThis.Date = new Proxy(machine, {
      construct: (date, parts, target) => Reflect.construct(date, parts.length === 0 ? [now()] : parts, target),
      apply: () => new machine(now()).toString(),
      get: (date, name) => (name === "now" ? now : Reflect.get(date, name)),
    });
  }

  // Throws where the script cannot be read; all other errors are in the outcome.
  function start(text, source, acornSource) {
    momentSource = source;
    job = parse(text);
    if (job.ahead) moveClock(job.ahead);
    body = compile(acornSource === undefined ? job.source : marked(job.source, acornSource));
    walk({ node: job.node, stream: job.stream }, job.sessions.map((row) => new Session(row))).then(
      (outcome) => {
        ended = outcome;
      },
      (error) => {
        ended = failed(broken ?? error);
      },
    );
  }

  return {
    start,
    answer,
    reached: reached.buffer,
    outcome() {
      if (ended !== null) return ended;
      if (waiting.length === 0) {
        return stringify({ failed: { message: "the script waits for a promise that nothing settles", line: null } });
      }
      asked = waiting;
      waiting = [];
      return stringify({ wants: asked.map(({ scope, key }) => [scope, key]) });
    },
  };
})();
