// @ts-check
/**
 * The doors of the daemon, as a browser opens them: one entry of a table each.
 *
 * A door holds one request (or one after the other) and hands over what comes. It does not decide
 * anything: what an event means, when to give up and what to do then is the business of comet.js.
 */

/**
 * One event, as docs/protocol.md has it.
 * @typedef {{type: string, id?: number, cursor?: string, room?: string, from?: string, text?: string,
 *   at?: string, client_id?: string, count?: number, reason?: string, after?: number,
 *   heartbeat?: number, server?: string, status?: number, detail?: string, missing?: number,
 *   before?: number}} CometEvent
 */

/**
 * What a door is given.
 * @typedef {Object} Call
 * @property {(parameters?: Record<string, string | number>) => string} address where to ask, from the
 *   cursor as it is now; different each time, since browsers let equal requests wait for each other
 * @property {(event: CometEvent) => void} receive takes each event, in order
 * @property {() => void} opened an answer has come, though perhaps no event
 * @property {(why: string, refusal?: Refusal) => void} died nothing more will come
 * @property {string} token for the Authorization header; empty when the cookie does
 */

/** @typedef {{status: number, detail: string, retryAfter: number}} Refusal */

/**
 * What a door gives back.
 * @typedef {Object} Held
 * @property {() => void} close stop at once
 * @property {() => boolean} alive false when it can be seen from outside that the end has come
 */

/**
 * @typedef {Object} Door
 * @property {string} label for people
 * @property {boolean} heartbeats it carries them, so that silence is a sign
 * @property {boolean} rotates its memory grows, so that it is renewed now and then
 * @property {(call: Call) => Held} open
 */

/** Seconds a long poll asks to be held. */
const POLL_WAIT = 25;
/** Seconds over that after which a poll is given up. */
const POLL_GRACE = 10;

/** The frames that are open now, each with what takes its events. @type {Map<HTMLIFrameElement, Call>} */
const frames = new Map();

/**
 * Frames call `parent.comet.receive(EVENT)`. Which one called is told by the event itself: an object
 * belongs to the window that made it. So two streams can overlap and nobody confuses them.
 */
function installReceiver() {
  const page = /** @type {{comet?: {receive?: (event: CometEvent) => void, installed?: boolean}}} */ (
    /** @type {unknown} */ (window)
  );
  const target = (page.comet ??= {});
  if (target.installed) return;
  const others = target.receive;
  target.installed = true;
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

/** @type {Door["open"]} */
function openFrame(call) {
  installReceiver();
  const frame = document.createElement("iframe");
  frame.hidden = true;
  frame.title = "Stream of messages";
  frame.setAttribute("aria-hidden", "true");
  // It fires when the stream has ended, or when there never was one.
  frame.addEventListener("load", () => call.died("the stream ended"));
  frame.addEventListener("error", () => call.died("the frame was blocked"));
  frame.src = call.address();
  frames.set(frame, call);
  document.body.append(frame);
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

/** @type {Door["open"]} */
function openPoll(call) {
  const stop = new AbortController();
  const headers = authorization(call.token);

  /** @param {number} wait seconds */
  async function poll(wait) {
    const late = setTimeout(() => stop.abort(), (wait + POLL_GRACE) * 1000);
    try {
      const answer = await fetch(call.address({ wait }), {
        headers,
        signal: stop.signal,
        cache: "no-store",
      });
      if (!answer.ok) throw await refusalOf(answer);
      return await answer.json();
    } finally {
      clearTimeout(late);
    }
  }

  async function run() {
    // The first answer comes at once, so that it is soon known whether this door works.
    for (let wait = 0; !stop.signal.aborted; wait = POLL_WAIT) {
      const { events, cursor } = await poll(wait);
      call.opened();
      for (const event of events) call.receive(event);
      if (cursor && !stop.signal.aborted) call.receive({ type: "heartbeat", cursor });
    }
  }

  run().catch((problem) => {
    if (problem && typeof problem.status === "number") call.died("refused", problem);
    else call.died("the poll broke off");
  });
  return { close: () => stop.abort(), alive: () => true };
}

/**
 * @param {string} token
 * @returns {Record<string, string>}
 */
export function authorization(token) {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/**
 * What an answer that is not 2xx says.
 * @param {Response} answer
 * @returns {Promise<Refusal & {problem: any}>}
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

/** In order of preference. A further door is a further entry. @type {Record<string, Door>} */
export const DOORS = {
  frame: { label: "hidden iframe", heartbeats: true, rotates: true, open: openFrame },
  poll: { label: "long polling", heartbeats: false, rotates: false, open: openPoll },
};
