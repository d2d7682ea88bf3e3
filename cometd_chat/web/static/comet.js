// @ts-check
/**
 * Comet Chat in a browser: hears what is said in some rooms, and says something.
 *
 *     import { connect } from "/static/comet.js";
 *     const comet = connect({ rooms: ["lobby"], backlog: 20 });
 *     comet.on("message", (event) => console.log(event.from, event.text));
 *     await comet.post("lobby", "hello");
 *
 * It holds one request, by default a hidden iframe, and keeps a cursor. Whatever happens to the
 * request, it comes back with the cursor in hand, so nothing is missed and nothing comes twice. When
 * frames do not get through, it goes over to long polling and says so in its state.
 */

import { DOORS, authorization } from "./doors.js";
import { Outbox, newClientId } from "./outbox.js";

export { PostError, newClientId } from "./outbox.js";

/** @typedef {import("./doors.js").CometEvent} CometEvent */
/** @typedef {import("./doors.js").Refusal} Refusal */

/**
 * @typedef {Object} Options
 * @property {string[]} rooms what to listen to
 * @property {string} [cursor] go on after this point; without it, from now
 * @property {number} [backlog] without a cursor: so many older messages first
 * @property {string} [url] origin of the daemon, such as "https://chat.example.org"; default our own
 * @property {string[]} [doors] names of doors, the best first; default all of them
 * @property {string} [token] of a session; without it the browser's cookie counts
 */

/**
 * How it stands with the connection.
 *
 * - `connecting`: a request is on its way
 * - `live`: what is said arrives
 * - `waiting`: broken; the next try is at `nextAt`
 * - `away`: sent away (`reason`, `status`) until `reconnect()` is called
 * - `closed`: by `close()`, or while the page is put aside by the browser
 *
 * @typedef {Object} State
 * @property {"connecting" | "live" | "waiting" | "away" | "closed"} phase
 * @property {string} door name of the door in use
 * @property {string} preferred name of the door that is wanted
 * @property {string} reason why it is not live, for people
 * @property {number} status of a refusal; 0 when there is none
 * @property {number} nextAt when the next try is due, ms as in Date.now(); 0 when none is
 * @property {number} heardAt when something last came, ms as in Date.now(); 0 when nothing did
 * @property {number} roundTrip ms from the last post to its arrival by the stream; 0 when unknown
 * @property {string} cursor everything up to here has arrived
 */

const SECOND = 1000;
const MINUTE = 60 * SECOND;
/** How long the first sign of life may take. */
const FIRST_SIGN = 10 * SECOND;
/** Silence of so many heartbeats is suspicious... */
const SILENT_HEARTBEATS = 2.5;
/** ...and is death after a while more: after sleep, timers run before what has arrived meanwhile. */
const LAST_GRACE = 2 * SECOND;
/** A stream that ended sooner has not really lived. */
const SHORT_LIFE = 5 * SECOND;
const LONGEST_WAIT = 30 * SECOND;
/** Frames keep all that ever passed through them, about 2 KB a message. */
const ROTATE_EVENTS = 1000;
const ROTATE_AGE = 10 * MINUTE;
const RETURN_TO_BETTER = 10 * MINUTE;
/** How long the question may take whether the daemon is there. */
const PROBE_TIMEOUT = 10 * SECOND;
/** What was posted has to come back by the stream within this time. */
const ECHO_TIME = 4 * SECOND;

/**
 * Start to listen. The first request waits until the page has loaded: any sooner, and the browser
 * would show it as loading for ever.
 * @param {Options} options
 */
export function connect(options) {
  return new Comet(options);
}

/**
 * One request that is held, by whatever door.
 * @typedef {Object} Line
 * @property {string} door
 * @property {number} startedAt
 * @property {number} openedAt 0 until the first sign of life
 * @property {number} heardAt
 * @property {number} suspectedAt 0 unless it has been silent for too long
 * @property {number} rotateAt
 * @property {number} count events that came by it
 * @property {boolean} over
 * @property {Refusal | null} refusal
 * @property {import("./doors.js").Held | null} held
 */

export class Comet {
  /** @type {Map<string, Set<(event: any) => void>>} */
  #listeners = new Map();
  #rooms;
  #url;
  #token;
  #backlog;
  #doors;
  #door;
  #preferred;
  #cursor;
  #lastId = 0;
  #heartbeat = 15 * SECOND;
  /** @type {Line | null} */
  #line = null;
  /** Opened to take the place of `#line`. @type {Line | null} */
  #spare = null;
  /** @type {State["phase"]} */
  #phase = "connecting";
  #reason = "";
  #status = 0;
  #nextAt = 0;
  #heardAt = 0;
  #roundTrip = 0;
  #tries = 0;
  /** Deaths of the present door that were its own fault, without and with a first sign of life. */
  #stillborn = 0;
  #shortLived = 0;
  #fellBackAt = 0;
  #requests = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #outbox;
  /** When each post that has not come back was begun. @type {Map<string, number>} */
  #posted = new Map();
  #listening = new AbortController();

  /** @param {Options} options */
  constructor({ rooms, cursor = "", backlog = 0, url = "", doors, token = "" }) {
    this.#rooms = rooms;
    this.#cursor = cursor;
    this.#backlog = backlog;
    this.#url = url;
    this.#token = token;
    this.#outbox = new Outbox(url, token);
    this.#doors = (doors ?? Object.keys(DOORS)).filter((name) => name in DOORS);
    this.#door = this.#preferred = this.#doors[0];
    const { signal } = this.#listening;
    const tick = setInterval(() => this.#tick(), SECOND);
    signal.addEventListener("abort", () => clearInterval(tick));
    addEventListener("pagehide", () => this.#pause(), { signal });
    addEventListener("pageshow", (event) => event.persisted && this.#resume(), { signal });
    addEventListener("online", () => this.#wake(), { signal });
    document.addEventListener("visibilitychange", () => document.hidden || this.#wake(), { signal });
    const start = () => setTimeout(() => this.#phase === "connecting" && this.#open(), 0);
    if (document.readyState === "complete") start();
    else addEventListener("load", start, { signal });
  }

  /**
   * Hear about something: a type of event (`message`, `join`, `leave`, `typing`, `people`, `gap`,
   * `reset`, `bye`, `hello`, `error`, ...) or `state`, each change of the `State`.
   * @param {string} type
   * @param {(event: any) => void} listener
   * @returns {() => void} call it to stop
   */
  on(type, listener) {
    const those = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, those.add(listener));
    return () => void those.delete(listener);
  }

  /** @returns {State} */
  get state() {
    return {
      phase: this.#phase,
      door: this.#door,
      preferred: this.#preferred,
      reason: this.#reason,
      status: this.#status,
      nextAt: this.#nextAt,
      heardAt: this.#heardAt,
      roundTrip: this.#roundTrip,
      cursor: this.#cursor,
    };
  }

  /** Names of the doors that can be used, the best first. */
  get doors() {
    return [...this.#doors];
  }

  /**
   * Say something. Tries again by itself when the network fails; the daemon takes the same
   * `clientId` only once.
   * @param {string} room
   * @param {string} text
   * @param {string} [clientId]
   * @returns {Promise<CometEvent>} the message as it is in the log; it also comes as an event
   * @throws {PostError}
   */
  async post(room, text, clientId = newClientId()) {
    this.#posted.set(clientId, performance.now());
    try {
      const event = await this.#outbox.post({ room, text, clientId });
      if (event.id && this.#rooms.includes(room)) this.expect(event.id);
      return event;
    } catch (problem) {
      this.#posted.delete(clientId);
      throw problem;
    }
  }

  /** Try again at once: the wait is cut short, and so is being sent away. */
  reconnect() {
    if (this.#phase === "live" || this.#phase === "closed") return;
    this.#tries = 0;
    this.#open();
  }

  /**
   * Change the door; the old one stays until the new one works.
   * @param {string} door
   */
  use(door) {
    if (!this.#doors.includes(door)) throw new RangeError(`There is no door ${door}.`);
    this.#preferred = door;
    this.#stillborn = this.#shortLived = 0;
    if (this.#phase === "live") this.#replace(door);
    else {
      this.#door = door;
      if (this.#phase !== "away") this.reconnect();
    }
  }

  /**
   * An event with this id is known to be in the log: if it has not come in a moment, the stream is
   * dead, though it may not show.
   * @param {number} id
   */
  expect(id) {
    const line = this.#line;
    setTimeout(() => {
      if (line && line === this.#line && this.#lastId < id) this.#died(line, "it fell silent");
    }, ECHO_TIME);
  }

  /** Stop for good. */
  close() {
    this.#listening.abort();
    this.#pause();
    this.#listeners.clear();
  }

  /** @param {string} type @param {any} event */
  #emit(type, event) {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      try {
        listener(event);
      } catch (problem) {
        // One listener that fails must not cost the others the event, nor us the stream.
        setTimeout(() => {
          throw problem;
        });
      }
    }
  }

  /** @param {State["phase"]} phase @param {{reason?: string, status?: number, nextAt?: number}} [more] */
  #become(phase, { reason = "", status = 0, nextAt = 0 } = {}) {
    this.#phase = phase;
    this.#reason = reason;
    this.#status = status;
    this.#nextAt = nextAt;
    this.#emit("state", this.state);
  }

  /** @param {string} door @param {Record<string, string | number>} more */
  #address(door, more) {
    const parameters = Object.entries({ ...this.#place(), ...more, n: this.#unique() });
    const query = parameters.map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
    const rooms = this.#rooms.map(encodeURIComponent).join(",");
    return `${this.#url}/api/v1/events/${door}?rooms=${rooms}&${query.join("&")}`;
  }

  #place() {
    /** @type {Record<string, string | number>} */
    const place = this.#cursor ? { cursor: this.#cursor } : { backlog: this.#backlog };
    if (this.#token) place.token = this.#token;
    return place;
  }

  #unique() {
    return `${Date.now().toString(36)}-${++this.#requests}`;
  }

  /** @param {string} door @returns {Line} */
  #hold(door) {
    const now = Date.now();
    /** @type {Line} */
    const line = {
      door,
      startedAt: now,
      openedAt: 0,
      heardAt: now,
      suspectedAt: 0,
      rotateAt: now + ROTATE_AGE,
      count: 0,
      over: false,
      refusal: null,
      held: null,
    };
    line.held = DOORS[door].open({
      address: (more = {}) => this.#address(door, more),
      receive: (event) => this.#receive(line, event),
      opened: () => this.#opened(line),
      died: (why, refusal) => this.#died(line, why, refusal),
      token: this.#token,
    });
    return line;
  }

  /** @param {Line | null} line */
  #drop(line) {
    if (!line) return;
    line.over = true;
    line.held?.close();
    if (line === this.#line) this.#line = null;
    if (line === this.#spare) this.#spare = null;
  }

  #open() {
    clearTimeout(this.#timer);
    this.#drop(this.#spare);
    this.#drop(this.#line);
    this.#line = this.#hold(this.#door);
    this.#become("connecting");
  }

  /** Open another line beside the present one, which goes when the other has come. @param {string} door */
  #replace(door) {
    this.#drop(this.#spare);
    this.#spare = this.#hold(door);
  }

  /** @param {Line} line */
  #opened(line) {
    line.heardAt = Date.now();
    line.suspectedAt = 0;
    if (line.over || line.openedAt) return;
    line.openedAt = line.heardAt;
    if (line === this.#spare) {
      this.#spare = null;
      this.#drop(this.#line);
      this.#line = line;
    }
    this.#door = line.door;
    this.#fellBackAt = this.#door === this.#preferred ? 0 : Date.now();
    this.#become("live");
  }

  /** @param {Line} line @param {CometEvent} event */
  #receive(line, event) {
    if (line.over) return;
    this.#heardAt = Date.now();
    if (event.type === "error" && event.status && event.status >= 400 && !event.client_id) {
      line.refusal = { status: event.status, detail: event.detail ?? "", retryAfter: 0 };
    } else if (event.type !== "bye") {
      this.#opened(line);
    }
    if (event.id !== undefined) {
      if (!this.#advance(line, event)) return;
    } else {
      this.#obey(line, event);
    }
    this.#emit(event.type, event);
  }

  /** Do what a control event asks for. @param {Line} line @param {CometEvent} event */
  #obey(line, event) {
    switch (event.type) {
      case "hello":
        if (event.heartbeat) this.#heartbeat = event.heartbeat * SECOND;
        // Its cursor is the end of the log: not ours while something older is still to come.
        if (!this.#cursor && !this.#backlog) this.#cursor = event.cursor ?? "";
        break;
      case "heartbeat":
        this.#cursor = event.cursor || this.#cursor;
        break;
      case "reset":
        this.#cursor = event.cursor ?? "";
        this.#lastId = 0;
        break;
      case "reopen":
        this.#reopen(line, event);
        break;
      case "bye":
        this.#drop(this.#spare);
        this.#drop(line);
        this.#become("away", { reason: event.reason ?? "" });
    }
  }

  /** Take note of an event of the log; false when it has come before. @param {Line} line @param {CometEvent} event */
  #advance(line, event) {
    const id = event.id ?? 0;
    if (id <= this.#lastId) return false;
    this.#lastId = id;
    this.#cursor = event.cursor ?? this.#cursor;
    line.count++;
    const begun = this.#posted.get(event.client_id ?? "");
    if (begun !== undefined) this.#roundTrip = performance.now() - begun;
    this.#posted.delete(event.client_id ?? "");
    return true;
  }

  /** This stream ends on purpose. @param {Line} line @param {CometEvent} event */
  #reopen(line, event) {
    this.#cursor = event.cursor || this.#cursor;
    const lived = Date.now() - line.openedAt;
    this.#drop(line);
    const after = (event.after ?? 0) * SECOND;
    if (!after && lived > SECOND) this.#open();
    else this.#wait("the server asked for it", Math.max(after, SECOND / 2));
  }

  /**
   * @param {Line} line
   * @param {string} why
   * @param {Refusal} [refused]
   */
  #died(line, why, refused) {
    if (line.over) return;
    const refusal = refused ?? line.refusal;
    const now = Date.now();
    const spare = line === this.#spare;
    this.#drop(line);
    if (spare) {
      // The old line goes on; another time.
      if (this.#line) this.#line.rotateAt = now + MINUTE;
      this.#fellBackAt = now;
      return;
    }
    const lived = line.openedAt && now - line.openedAt > SHORT_LIFE;
    if (lived) this.#tries = this.#stillborn = this.#shortLived = 0;
    else if (line.openedAt) this.#shortLived++;
    else this.#stillborn++;
    if (refusal && this.#isFinal(refusal)) return;
    const least = (refusal?.retryAfter || (refusal?.status === 429 ? 5 : 0)) * SECOND;
    this.#backOff(refusal?.detail || why, least);
  }

  /** A refusal that trying again would not change. @param {Refusal} refusal */
  #isFinal({ status, detail }) {
    if (status === 400 && this.#cursor) {
      this.#cursor = "";
      this.#lastId = 0;
      this.#emit("reset", { type: "reset", reason: detail });
      return false;
    }
    if (status < 400 || status >= 500 || status === 408 || status === 429) return false;
    this.#become("away", { reason: detail, status });
    return true;
  }

  /** Exponential, with full jitter. @param {string} reason @param {number} [least] ms */
  #backOff(reason, least = 0) {
    const most = Math.min(LONGEST_WAIT, SECOND * 2 ** this.#tries++);
    this.#wait(reason, least + Math.random() * most);
  }

  /** @param {string} reason @param {number} ms */
  #wait(reason, ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#retry(), ms);
    this.#become("waiting", { reason, nextAt: Date.now() + ms });
  }

  /**
   * Ask whether the daemon is there before a door is opened again: a frame can't tell "no server"
   * from "no frames", and only the latter is a reason to change the door.
   */
  async #retry() {
    this.#become("connecting", { reason: this.#reason });
    const mine = (this.#timer = setTimeout(() => {}, 0));
    const reachable = await fetch(this.#address("poll", { wait: 0 }), {
      headers: authorization(this.#token),
      cache: "no-store",
      signal: AbortSignal.timeout(PROBE_TIMEOUT),
    }).then(
      (answer) => {
        // Only the status counts; an answer that nobody reads would go on using a connection.
        answer.body?.cancel();
        return answer.status < 500;
      },
      () => false,
    );
    if (mine !== this.#timer || this.#phase !== "connecting" || this.#line) return;
    if (!reachable) {
      this.#stillborn = this.#shortLived = 0;
      this.#backOff("the server can't be reached");
      return;
    }
    if (this.#stillborn >= 2 || this.#shortLived >= 3) {
      this.#door = this.#doors[(this.#doors.indexOf(this.#door) + 1) % this.#doors.length];
      this.#stillborn = this.#shortLived = 0;
    }
    this.#open();
  }

  #tick() {
    const now = Date.now();
    for (const line of [this.#line, this.#spare]) if (line) this.#check(line, now);
    const line = this.#line;
    if (!line?.openedAt || this.#spare) return;
    const worn = line.count >= ROTATE_EVENTS || now >= line.rotateAt;
    if (this.#door !== this.#preferred && now - this.#fellBackAt > RETURN_TO_BETTER) {
      this.#replace(this.#preferred);
    } else if (DOORS[line.door].rotates && worn) {
      line.count = 0;
      this.#replace(line.door);
    }
  }

  /** @param {Line} line @param {number} now */
  #check(line, now) {
    if (!line.openedAt) {
      if (now - line.startedAt > FIRST_SIGN) this.#died(line, "no answer came through");
      return;
    }
    if (!line.held?.alive()) return this.#died(line, "the stream broke off");
    if (!DOORS[line.door].heartbeats) return;
    if (now - line.heardAt <= SILENT_HEARTBEATS * this.#heartbeat) return;
    if (!line.suspectedAt) line.suspectedAt = now;
    else if (now - line.suspectedAt > LAST_GRACE) this.#died(line, "it fell silent");
  }

  /** The page is looked at again, or the network is back: do not wait for timers that were slowed. */
  #wake() {
    if (this.#phase === "waiting") this.reconnect();
    else this.#tick();
  }

  #pause() {
    clearTimeout(this.#timer);
    this.#drop(this.#spare);
    this.#drop(this.#line);
    if (this.#phase !== "away") this.#become("closed");
  }

  #resume() {
    if (this.#phase === "closed") this.#open();
  }
}
