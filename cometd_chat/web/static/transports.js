// @ts-check
/**
 * The transports of the daemon, as a browser opens them: one entry of a table each.
 *
 * A transport holds one request (or one after the other) and hands over what comes. It does not decide
 * anything: what an event means, when to give up and what to do then is the business of comet.js.
 */

/**
 * One event, as docs/protocol.md has it.
 * @typedef {{type: string, id?: number, cursor?: string, room?: string, from?: string, text?: string,
 *   at?: string, client_id?: string, count?: number, reason?: string, after?: number,
 *   heartbeat?: number, server?: string, status?: number, detail?: string, missing?: number,
 *   at_least?: boolean, before?: number, was?: string, now?: string, refers?: number,
 *   deleted?: "own" | "moderator", topic?: string, slow?: number, locked?: boolean,
 *   archived?: boolean, calm?: string, kind?: string, until?: string | null, lifted?: boolean}} CometEvent
 */

/**
 * What a transport is given.
 * @typedef {Object} Call
 * @property {(path: string, parameters?: Parameters) => string} address where to ask, from the
 *   cursor as it is now; different each time, since browsers let equal requests wait for each other
 * @property {string} origin of the daemon
 * @property {string} token of the session; empty when the cookie does
 * @property {string} client the same for all polls of a tab, so that the daemon holds only the last
 * @property {(event: CometEvent) => void} receive takes each event, in order
 * @property {() => void} opened an answer has come, though perhaps no event
 * @property {(why: string, refusal?: Refusal) => void} died nothing more will come
 */

/** @typedef {Record<string, string | number>} Parameters */

/**
 * Why something was refused; status 0 when there was no answer, `problem` as the daemon told it.
 * @typedef {{status: number, detail: string, retryAfter: number, problem?: any}} Refusal
 */

/**
 * What a transport gives back.
 * @typedef {Object} Held
 * @property {() => void} close stop at once
 * @property {() => boolean} alive false when it can be seen from outside that the end has come
 */

/**
 * @typedef {Object} Transport
 * @property {string} label for people
 * @property {boolean} heartbeats it carries them, so that silence is a sign
 * @property {boolean} rotates its memory grows, so that it is renewed now and then
 * @property {boolean} [byToken] it is only for pages that have a token
 * @property {(call: Call) => Held} open
 */

/** Seconds a long poll asks to be held. */
const POLL_WAIT = 25;
/** Seconds over that after which a poll is given up. */
const POLL_GRACE = 10;
/** Seconds between two plain polls. */
const PLAIN_PAUSE = 3;

/** The frames that are open now, each with what takes its events. @type {Map<HTMLIFrameElement, Call>} */
const frames = new Map();

let installed = false;

/**
 * Frames call `parent.comet.receive(EVENT)`. Which one called is told by the event itself: an object
 * belongs to the window that made it. So two streams can overlap and nobody confuses them. What is
 * not for us is for whoever was there before: the page itself, or another copy of this script.
 */
function installReceiver() {
  if (installed) return;
  installed = true;
  const page = /** @type {{comet?: {receive?: (event: CometEvent) => void}}} */ (/** @type {unknown} */ (window));
  const target = (page.comet ??= {});
  const others = target.receive;
  target.receive = (event) => {
    for (const [frame, call] of frames) {
      if (maker(frame) === Object.getPrototypeOf(event)) {
        watchTheEnd(frame, call);
        // A copy: one object of the frame that is kept would keep the whole frame in memory.
        call.receive(JSON.parse(JSON.stringify(event)));
        return;
      }
    }
    others?.call(target, event);
  };
}

/** @param {HTMLIFrameElement} frame */
function maker(frame) {
  try {
    const inside = /** @type {(Window & typeof globalThis) | null} */ (frame.contentWindow);
    return inside?.Object.prototype;
  } catch {
    return undefined;
  }
}

/**
 * In some browsers the end of the document is the only thing that is seen of a broken stream.
 * @param {HTMLIFrameElement} frame
 * @param {Call} call
 */
function watchTheEnd(frame, call) {
  const inside = frame.contentDocument;
  if (!inside || frame.dataset.watched) return;
  frame.dataset.watched = "yes";
  inside.addEventListener("DOMContentLoaded", () => call.died("the stream broke off"));
}

/** @type {Transport["open"]} */
function openFrame(call) {
  const frame = document.createElement("iframe");
  frame.hidden = true;
  frame.title = "Stream of messages";
  frame.setAttribute("aria-hidden", "true");
  // It fires when the stream has ended, or when there never was one.
  frame.addEventListener("load", () => call.died("the stream ended"));
  frame.addEventListener("error", () => call.died("the frame was blocked"));
  return call.origin === location.origin ? ownFrame(frame, call) : foreignFrame(frame, call);
}

/** @param {HTMLIFrameElement} frame @param {Call} call @returns {Held} */
function ownFrame(frame, call) {
  installReceiver();
  frames.set(frame, call);
  show(frame, call.address("frame", credential(call)));
  return {
    close() {
      frames.delete(frame);
      frame.remove();
    },
    alive() {
      try {
        return frame.contentDocument !== null;
      } catch {
        return false;
      }
    },
  };
}

/**
 * A frame of another origin can't call its parent; it posts each event as a string.
 * @param {HTMLIFrameElement} frame
 * @param {Call} call
 * @returns {Held}
 */
function foreignFrame(frame, call) {
  const listening = new AbortController();
  addEventListener(
    "message",
    ({ source, origin, data }) => {
      // Any window may post to ours: what counts is from this frame while it is the daemon's.
      if (source !== frame.contentWindow || origin !== call.origin || typeof data !== "string") return;
      call.receive(JSON.parse(data));
    },
    { signal: listening.signal },
  );
  show(frame, call.address("frame", { ...credential(call), target: location.origin }));
  return {
    close() {
      listening.abort();
      frame.remove();
    },
    alive: () => true,
  };
}

/** @param {HTMLIFrameElement} frame @param {string} address */
function show(frame, address) {
  frame.src = address;
  document.body.append(frame);
}

/** @type {Transport["open"]} */
function openStream(call) {
  const stop = new AbortController();

  async function run() {
    const answer = await fetch(call.address("stream"), {
      headers: authorization(call.token),
      signal: stop.signal,
      cache: "no-store",
    });
    if (!answer.ok || !answer.body) throw await refusalOf(answer);
    const reader = answer.body.getReader();
    const decoder = new TextDecoder();
    // What is read ends anywhere; a line is an event only once its end has come.
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return call.died("the stream ended");
      const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) if (line) call.receive(JSON.parse(line));
    }
  }

  run().catch((problem) => give(call, problem, "the stream broke off"));
  return { close: () => stop.abort(), alive: () => true };
}

/** @type {Transport["open"]} */
function openEventSource(call) {
  const source = new EventSource(call.address("sse", credential(call)));
  /** @param {MessageEvent<string>} message */
  const receive = ({ data }) => call.receive(JSON.parse(data));
  source.addEventListener("message", receive);
  source.addEventListener("heartbeat", receive);
  // It would come back by itself, but at the address with the old cursor and always after 3 s.
  source.addEventListener("error", () => {
    source.close();
    call.died("the stream broke off");
  });
  return { close: () => source.close(), alive: () => source.readyState !== EventSource.CLOSED };
}

/** @type {Transport["open"]} */
function openWebSocket(call) {
  const address = new URL(call.address("ws", credential(call)), location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address);
  socket.addEventListener("message", ({ data }) => call.receive(JSON.parse(data)));
  // A `bye` or a `reopen` has come before, if there was one: the code says nothing new.
  socket.addEventListener("close", ({ code }) => call.died(`the socket was closed (${code})`));
  return { close: () => socket.close(), alive: () => true };
}

/**
 * One complete answer after the other.
 * @param {Call} call
 * @param {(wait: number, signal: AbortSignal) => Promise<{events: CometEvent[], cursor: string | null}>} ask
 *   `wait` is in seconds
 * @param {{wait: number, pause: number}} pace seconds to be held, and to wait between two questions
 * @returns {Held}
 */
function openPolling(call, ask, { wait, pause }) {
  let asking = new AbortController();
  let closed = false;

  async function run() {
    // The first answer comes at once, so that it is soon known whether this transport works.
    for (let hold = 0; !closed; hold = wait) {
      const mine = (asking = new AbortController());
      const late = setTimeout(() => mine.abort(), (hold + POLL_GRACE) * 1000);
      const { events, cursor } = await ask(hold, mine.signal).finally(() => clearTimeout(late));
      if (closed) return;
      call.opened();
      for (const event of events) call.receive(event);
      if (cursor && !closed) call.receive({ type: "heartbeat", cursor });
      if (pause) await new Promise((resolve) => setTimeout(resolve, pause * 1000));
    }
  }

  run().catch((problem) => give(call, problem, "the poll broke off"));
  return {
    close() {
      closed = true;
      asking.abort();
    },
    alive: () => true,
  };
}

/** @param {Call} call */
const askByFetch = (call) => async (/** @type {number} */ wait, /** @type {AbortSignal} */ signal) => {
  const answer = await fetch(call.address("poll", { wait, client: call.client }), {
    headers: authorization(call.token),
    signal,
    cache: "no-store",
  });
  if (!answer.ok) throw await refusalOf(answer);
  return answer.json();
};

let callbacks = 0;

/** @param {Call} call */
const askByScript = (call) => (/** @type {number} */ wait, /** @type {AbortSignal} */ signal) => {
  const callback = `cometCallback${++callbacks}`;
  const page = /** @type {Record<string, any>} */ (/** @type {unknown} */ (window));
  const script = document.createElement("script");
  const answered = new Promise((resolve, reject) => {
    page[callback] = resolve;
    script.addEventListener("error", () => reject(new Error("The script could not be loaded.")));
    signal.addEventListener("abort", () => reject(new Error("It was given up.")));
  });
  const own = { ...credential(call), wait, client: call.client, callback };
  script.src = call.address("jsonp", own);
  document.head.append(script);
  return answered
    .then((answer) => {
      const [first] = answer.events;
      if (first?.type !== "error") return answer;
      throw { status: first.status, detail: first.detail, retryAfter: 0 };
    })
    .finally(() => {
      script.remove();
      // A script that is taken away while it loads still runs: it has to find something to call.
      page[callback] = () => delete page[callback];
    });
};

/**
 * Tell why a transport is at its end.
 * @param {Call} call
 * @param {any} problem a refusal, or whatever was thrown
 * @param {string} why in case it was no refusal
 */
function give(call, problem, why) {
  if (problem && typeof problem.status === "number") call.died("refused", problem);
  else call.died(why);
}

/** For transports that can set no header. @param {Call} call @returns {Parameters} */
const credential = ({ token }) => (token ? { token } : {});

/**
 * @param {string} token
 * @returns {Record<string, string>}
 */
export function authorization(token) {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** A signal that gives a request up after so long. `AbortSignal.timeout` is newer. @param {number} ms */
export function within(ms) {
  const late = new AbortController();
  setTimeout(() => late.abort(), ms);
  return late.signal;
}

/**
 * What an answer that is not 2xx says.
 * @param {Response} answer
 * @returns {Promise<Refusal>}
 */
export async function refusalOf(answer) {
  const problem = await answer.json().catch(() => ({}));
  return {
    status: answer.status,
    detail: problem.detail ?? `The server answered ${answer.status}.`,
    retryAfter: Number(answer.headers.get("Retry-After")) || 0,
    problem,
  };
}

/**
 * Whether a refusal says that nobody is there: no answer, or a proxy's own. The daemon's has a type.
 * @param {Pick<Refusal, "status" | "problem">} refusal
 */
export function isUnreached({ status, problem }) {
  return !status || (status >= 502 && !problem?.type);
}

/** In order of preference. A further transport is a further entry. @type {Record<string, Transport>} */
export const TRANSPORTS = {
  frame: { label: "hidden iframe", heartbeats: true, rotates: true, open: openFrame },
  stream: { label: "fetch stream", heartbeats: true, rotates: false, open: openStream },
  sse: { label: "server-sent events", heartbeats: true, rotates: false, open: openEventSource },
  ws: { label: "WebSocket", heartbeats: true, rotates: false, open: openWebSocket },
  poll: {
    label: "long polling",
    heartbeats: false,
    rotates: false,
    open: (call) => openPolling(call, askByFetch(call), { wait: POLL_WAIT, pause: 0 }),
  },
  plain: {
    label: "plain polling",
    heartbeats: false,
    rotates: false,
    open: (call) => openPolling(call, askByFetch(call), { wait: 0, pause: PLAIN_PAUSE }),
  },
  jsonp: {
    label: "callback polling",
    heartbeats: false,
    rotates: false,
    byToken: true,
    open: (call) => openPolling(call, askByScript(call), { wait: POLL_WAIT, pause: 0 }),
  },
};
