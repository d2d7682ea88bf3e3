// @ts-check
/**
 * A stream of events that goes on, whatever happens to the request that carries it: it comes back with
 * the cursor in hand, and goes over to another transport where one does not get through. It knows transports and
 * control events; not posts, not other tabs.
 *
 * What it keeps: each event of the log is handed over once, in order.
 */

import { TransportMemory } from "./choice.js";
import { TRANSPORTS, authorization, isUnreached, refusalOf, within } from "./transports.js";
import { Line } from "./line.js";

/** @typedef {import("./transports.js").CometEvent} CometEvent */
/** @typedef {import("./transports.js").Refusal} Refusal */
/** @typedef {import("./comet.js").State} State */

/**
 * How far somebody has come: everything up to `cursor`, which is only ever kept and handed back. What comes
 * again is told by its id, room by room: ids of different rooms say nothing about each other.
 * @typedef {{cursor: string, lastIds: Map<string, number>}} Place lastIds: by room, of the newest event that came
 */

/**
 * @typedef {Object} Settings
 * @property {string[]} rooms
 * @property {Place} place where to go on; it is kept up to date
 * @property {number} backlog without a cursor: so many older messages first
 * @property {string} origin of the daemon
 * @property {string} token
 * @property {string} client a name for this tab
 * @property {string[]} transports
 */

/** @typedef {{event: (event: CometEvent) => void, state: () => void}} Hears */

const SECOND = 1000;
const MINUTE = 60 * SECOND;
/** How long the first sign of life may take at least; for the next transport, when one was held back. */
const FIRST_SIGN = 6 * SECOND;
const NEXT_SIGN = 2.5 * SECOND;
/** So many times as long as a short request takes, where that is more: some networks are slow. */
const TRIPS = 5;
/** After a hint that it is dead, a line that gives no sign of life for so long is not called live. */
const DOUBT = 0.8 * SECOND;
/** A stream that ended sooner has not really lived. */
const SHORT_LIFE = 5 * SECOND;
/** The first wait is at most so long; each further one twice that. */
const SHORTEST_WAIT = SECOND / 2;
const LONGEST_WAIT = 30 * SECOND;
/** Tries that a whole round through the transports in vain counts for. */
const TRIES_A_ROUND = 3;
const RETURN_TO_BETTER = 10 * MINUTE;
/** How long the question may take whether the daemon is there. */
const PROBE_TIMEOUT = 20 * SECOND;
/** What was posted has to come back within this time. */
export const ECHO_TIME = 4 * SECOND;
/** A line for other rooms that could not be opened is tried again after this. */
const ROOMS_AGAIN = 3 * SECOND;

export class Stream {
  #settings;
  #hears;
  #place;
  #rooms;
  #memory;
  #transport;
  #preferred;
  /** Why the preferred transport is not in use, and since when. */
  #detour = "";
  #detourAt = 0;
  /** @type {Line | null} */
  #line = null;
  /** Opened to take the place of `#line`. @type {Line | null} */
  #spare = null;
  #spareAt = -Infinity;
  /** The line may be dead: the spare will tell. */
  #doubtful = false;
  /** @type {State["phase"]} */
  #phase = "connecting";
  #reason = "";
  #status = 0;
  #nextAt = 0;
  #heardAt = 0;
  #heartbeat = 15 * SECOND;
  #patience = firstPatience();
  #tries = 0;
  /** Transports given up since one of them last worked. */
  #passed = 0;
  #triedAt = 0;
  /** Deaths of the present transport that were its own fault, without and with a first sign of life. */
  #stillborn = 0;
  #shortLived = 0;
  #heldBack = false;
  #requests = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {Settings} settings @param {Hears} hears */
  constructor(settings, hears) {
    this.#settings = settings;
    this.#hears = hears;
    this.#place = settings.place;
    this.#rooms = settings.rooms;
    this.#memory = new TransportMemory(settings.origin, settings.transports);
    const { transport, preferred, detour, detourAt } = this.#memory.load();
    this.#transport = transport;
    this.#preferred = preferred;
    this.#detour = detour;
    this.#detourAt = detourAt;
  }

  /** @returns {State} */
  get state() {
    return {
      phase: this.#phase,
      transport: this.#transport,
      preferred: this.#preferred,
      detour: this.#detour,
      reason: this.#reason,
      status: this.#status,
      nextAt: this.#nextAt,
      heardAt: this.#heardAt,
      roundTrip: 0,
      cursor: this.#place.cursor,
      leading: true,
    };
  }

  /** Rooms that are really listened to at this moment. */
  get carried() {
    return this.#phase === "live" ? (this.#line?.rooms ?? []) : [];
  }

  /** ms */
  get heartbeat() {
    return this.#heartbeat;
  }

  start() {
    this.#open();
  }

  stop() {
    this.#halt();
    if (this.#phase !== "away") this.#become("closed");
  }

  /** Go on as another one did. @param {State} before */
  succeed(before) {
    this.#transport = before.transport;
    this.#preferred = before.preferred;
    this.#detour = before.detour;
    this.#detourAt = before.detour ? Date.now() : 0;
    if (before.phase === "away") this.#become("away", before);
    else this.#open();
  }

  /** Listen to other rooms; what is open stays until that is. @param {string[]} rooms */
  read(rooms) {
    if (same(rooms, this.#rooms)) return;
    this.#rooms = rooms;
    if (this.#line?.openedAt) this.#replace(this.#transport);
    else if (this.#line) this.#open();
  }

  /** Try again at once: the wait is cut short, and so is being sent away. */
  reconnect() {
    if (this.#phase === "live" || this.#phase === "closed") return;
    this.#tries = this.#passed = 0;
    this.#open();
  }

  /** @param {string} transport */
  use(transport) {
    this.#preferred = transport;
    this.#detour = "";
    this.#tries = 0;
    this.#forgive();
    if (this.#phase === "live") this.#replace(transport);
    else {
      this.#transport = transport;
      if (this.#phase !== "away") this.reconnect();
    }
    this.#hears.state();
  }

  /** An event of a room is in the log: it has to come in a moment. @param {string} room @param {number} id */
  expect(room, id) {
    const line = this.#line;
    // Whoever took it is there: no need to wait any longer.
    if (this.#phase === "waiting") return this.#open();
    setTimeout(() => {
      if (!line?.openedAt || line !== this.#line || hasCome(this.#place, room, id)) return;
      this.#died(line, { why: "what was said did not come back", heldBack: !line.proven });
    }, ECHO_TIME);
  }

  /** Look after what is open; every second or so. */
  tick() {
    for (const line of [this.#line, this.#spare]) {
      const verdict = line?.judge(this.#heartbeat, this.#patience);
      if (line && verdict) this.#died(line, verdict);
    }
    const line = this.#line;
    if (!line?.openedAt || this.#spare) return;
    // Either way: somebody may have set the clock.
    const detour = Math.abs(Date.now() - this.#detourAt);
    if (this.#transport !== this.#preferred && detour > RETURN_TO_BETTER) {
      this.#replace(this.#preferred);
    } else if (line.worn) {
      line.count = 0;
      this.#replace(line.transport);
    } else if (!same(line.rooms, this.#rooms) && performance.now() - this.#spareAt > ROOMS_AGAIN) {
      this.#replace(line.transport);
    }
  }

  /** The page is looked at again, or the network is back: what waits, or hangs, begins anew. */
  wake() {
    const hangs = this.#phase === "connecting" && performance.now() - this.#triedAt > DOUBT;
    if (this.#phase === "waiting" || hangs) this.reconnect();
    else this.tick();
  }

  /**
   * Something hints that the line is dead, though it does not show. Another one is opened beside it,
   * from the same cursor, and takes its place; if it finds nobody either, both are given up.
   */
  check() {
    const line = this.#line;
    if (this.#phase !== "live" || this.#doubtful || !line) return;
    this.#replace(this.#transport);
    this.#doubtful = true;
    const since = performance.now();
    setTimeout(() => {
      if (!this.#doubtful || line !== this.#line || line.heardAt > since) return;
      this.#become("connecting", { reason: "no sign of life" });
    }, DOUBT);
  }

  /** @param {State["phase"]} phase @param {{reason?: string, status?: number, nextAt?: number}} [more] */
  #become(phase, { reason = "", status = 0, nextAt = 0 } = {}) {
    this.#phase = phase;
    this.#reason = reason;
    this.#status = status;
    this.#nextAt = nextAt;
    this.#hears.state();
  }

  /** @param {string} path @param {import("./transports.js").Parameters} more @param {string[]} rooms */
  #address(path, more, rooms = this.#rooms) {
    const { cursor } = this.#place;
    const from = cursor ? { cursor } : { backlog: this.#settings.backlog };
    const parameters = { ...from, ...more, n: `${Date.now().toString(36)}-${++this.#requests}` };
    const query = Object.entries(parameters).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
    const names = rooms.map(encodeURIComponent).join(",");
    return `${this.#settings.origin}/api/v1/events/${path}?rooms=${names}&${query.join("&")}`;
  }

  /** @param {string} transport */
  #hold(transport) {
    const line = new Line(transport, this.#rooms);
    const { origin, token, client } = this.#settings;
    line.open({
      address: (path, more = {}) => this.#address(path, more, line.rooms),
      origin,
      token,
      client,
      receive: (event) => this.#receive(line, event),
      opened: () => this.#opened(line),
      died: (why, refusal) => this.#died(line, { why, heldBack: false }, refusal),
    });
    return line;
  }

  /** @param {Line | null} line */
  #drop(line) {
    if (!line) return;
    line.close();
    if (line === this.#line) this.#line = null;
    if (line === this.#spare) this.#spare = null;
  }

  #halt() {
    clearTimeout(this.#timer);
    this.#drop(this.#spare);
    this.#drop(this.#line);
    this.#doubtful = false;
  }

  #open() {
    this.#halt();
    this.#triedAt = performance.now();
    this.#line = this.#hold(this.#transport);
    this.#become("connecting", { reason: this.#reason });
  }

  /** Open another line beside the present one, which goes when the other has come. @param {string} transport */
  #replace(transport) {
    this.#drop(this.#spare);
    this.#spareAt = performance.now();
    this.#spare = this.#hold(transport);
  }

  /** @param {Line} line */
  #opened(line) {
    if (line.over) return;
    line.heard();
    if (line.openedAt) {
      // It was given up too early.
      if (line === this.#line && this.#phase === "connecting") this.#become("live");
      return;
    }
    line.openedAt = line.heardAt;
    if (line === this.#spare) {
      this.#spare = null;
      this.#doubtful = false;
      this.#drop(this.#line);
      this.#line = line;
    }
    this.#transport = line.transport;
    this.#patience = firstPatience();
    if (this.#transport === this.#preferred) this.#detour = "";
    this.#memory.save({
      transport: this.#transport,
      preferred: this.#preferred,
      detour: this.#detour,
      detourAt: this.#detourAt,
    });
    this.#become("live");
  }

  /** @param {Line} line @param {CometEvent} event */
  #receive(line, event) {
    if (line.over) return;
    this.#heardAt = Date.now();
    line.heard(event);
    if (event.type === "error" && event.status && event.status >= 400 && !event.client_id) {
      line.refusal = { status: event.status, detail: event.detail ?? "", retryAfter: 0, problem: event };
    } else if (event.type !== "bye") {
      this.#opened(line);
    }
    if (event.id !== undefined) {
      if (!advance(this.#place, event)) return;
      line.count++;
    } else {
      this.#obey(line, event);
    }
    this.#hears.event(event);
  }

  /** Do what a control event asks for. @param {Line} line @param {CometEvent} event */
  #obey(line, event) {
    const place = this.#place;
    switch (event.type) {
      case "hello":
        if (event.heartbeat) this.#heartbeat = event.heartbeat * SECOND;
        // Its cursor is the end of the log: not ours while something older is still to come.
        if (!place.cursor && !this.#settings.backlog) place.cursor = event.cursor ?? "";
        break;
      case "heartbeat":
        place.cursor = event.cursor || place.cursor;
        break;
      case "reset":
        beginAnew(place, event.cursor);
        break;
      case "reopen":
        this.#reopen(line, event);
        break;
      case "bye":
        this.#halt();
        this.#become("away", { reason: event.reason ?? "" });
    }
  }

  /** This stream ends on purpose. @param {Line} line @param {CometEvent} event */
  #reopen(line, event) {
    this.#place.cursor = event.cursor || this.#place.cursor;
    const lived = performance.now() - line.openedAt;
    this.#drop(line);
    this.#tries = 0;
    const after = (event.after ?? 0) * SECOND;
    if (!after && lived > SECOND) this.#open();
    else this.#wait("the server asked for it", Math.max(after, SECOND / 2));
  }

  /**
   * @param {Line} line
   * @param {import("./line.js").Verdict} verdict
   * @param {Refusal} [refused]
   */
  #died(line, { why, heldBack }, refused) {
    if (line.over) return;
    const refusal = refused ?? line.refusal;
    const spare = line === this.#spare;
    this.#drop(line);
    if (spare) return this.#spareDied(why, refusal);
    const now = performance.now();
    const lived = line.openedAt && now - line.openedAt > SHORT_LIFE;
    if (heldBack) this.#heldBack = true;
    else if (lived) this.#tries = this.#passed = this.#stillborn = this.#shortLived = 0;
    else if (line.openedAt) this.#shortLived++;
    else this.#stillborn++;
    if (refusal && this.#isFinal(refusal)) return;
    if (this.#spare) return this.#promote(why);
    const least = (refusal?.retryAfter || (refusal?.status === 429 ? 5 : 0)) * SECOND;
    const atOnce = heldBack && !refusal && this.#passed < this.#settings.transports.length;
    if (atOnce) this.#wait(why, 0);
    else this.#backOff(refusal?.detail || why, least);
  }

  /** What was to take the line's place did not come. @param {string} why @param {Refusal | null} refusal */
  #spareDied(why, refusal) {
    const doubtful = this.#doubtful;
    this.#doubtful = false;
    if (doubtful && refusal && this.#isFinal(refusal)) {
      this.#halt();
    } else if (doubtful && (!refusal || isUnreached(refusal))) {
      // Nobody answers. Whether that is the transport's fault is asked before the next try.
      this.#halt();
      this.#wait(why, 0);
    } else {
      // The old line goes on; another time.
      if (this.#line) this.#line.rotateAt = performance.now() + MINUTE;
      this.#detourAt = Date.now();
      if (this.#phase !== "live") this.#become("live");
    }
  }

  /** The line is dead, but another one is on its way already. @param {string} why */
  #promote(why) {
    this.#line = this.#spare;
    this.#spare = null;
    this.#doubtful = false;
    this.#transport = this.#line?.transport ?? this.#transport;
    this.#triedAt = performance.now();
    this.#become("connecting", { reason: why });
  }

  /** A refusal that trying again would not change. @param {Refusal} refusal */
  #isFinal({ status, detail }) {
    if (status === 400 && this.#place.cursor) {
      beginAnew(this.#place);
      this.#hears.event({ type: "reset", reason: detail });
      return false;
    }
    if (status < 400 || status >= 500 || status === 408 || status === 429) return false;
    this.#become("away", { reason: detail, status });
    return true;
  }

  /** Exponential, with full jitter. @param {string} reason @param {number} [least] ms */
  #backOff(reason, least = 0) {
    const most = Math.min(LONGEST_WAIT, SHORTEST_WAIT * 2 ** this.#tries++);
    this.#wait(reason, least + Math.random() * most);
  }

  /** @param {string} reason @param {number} ms */
  #wait(reason, ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#retry(), ms);
    this.#become("waiting", { reason, nextAt: Date.now() + ms });
  }

  /**
   * Ask whether the daemon is there before a transport is opened again: a frame can't tell "no server"
   * from "no frames", and only the latter is a reason to change the transport. Others can't tell why they
   * were refused; this can.
   */
  async #retry() {
    this.#triedAt = performance.now();
    this.#become("connecting", { reason: this.#reason });
    const mine = (this.#timer = setTimeout(() => {}, 0));
    const refusal = await this.#probe();
    if (mine !== this.#timer || this.#phase !== "connecting" || this.#line) return;
    if (refusal && this.#isFinal(refusal)) return;
    if (refusal && (!refusal.status || refusal.status >= 500)) {
      this.#forgive();
      this.#backOff("the server can't be reached");
      return;
    }
    if (this.#heldBack || this.#stillborn >= 2 || this.#shortLived >= 3) {
      this.#goOn();
      this.#patience = Math.max(NEXT_SIGN, TRIPS * (performance.now() - this.#triedAt));
    }
    this.#open();
  }

  /** @returns {Promise<Refusal | null>} status 0 when there was no answer */
  async #probe() {
    try {
      const answer = await fetch(this.#address("poll", { wait: 0 }), {
        headers: authorization(this.#settings.token),
        cache: "no-store",
        signal: within(PROBE_TIMEOUT),
      });
      if (!answer.ok) return await refusalOf(answer);
      // Only the status counts; an answer that nobody reads would go on using a connection.
      answer.body?.cancel();
      return null;
    } catch {
      return { status: 0, detail: "", retryAfter: 0 };
    }
  }

  /** To the next transport: the present one does not get through. */
  #goOn() {
    const { transports } = this.#settings;
    if (this.#transport === this.#preferred) {
      this.#detour = this.#reason;
      this.#detourAt = Date.now();
    }
    this.#transport = transports[(transports.indexOf(this.#transport) + 1) % transports.length];
    this.#forgive();
    // Each transport begins with short waits, unless all have been tried in vain.
    this.#tries = TRIES_A_ROUND * Math.floor(++this.#passed / transports.length);
  }

  #forgive() {
    this.#stillborn = this.#shortLived = 0;
    this.#heldBack = false;
  }
}

/** How long the first sign of life may take, by how long the page itself took to begin. */
function firstPatience() {
  const [page] = /** @type {PerformanceNavigationTiming[]} */ (performance.getEntriesByType("navigation"));
  return Math.max(FIRST_SIGN, TRIPS * (page ? page.responseStart - page.fetchStart : 0));
}

/**
 * Take note of an event of the log.
 * @param {Place} place
 * @param {CometEvent} event
 * @returns {boolean} false when it has come before
 */
export function advance(place, event) {
  const { room = "", id = 0 } = event;
  if (hasCome(place, room, id)) return false;
  place.lastIds.set(room, id);
  place.cursor = event.cursor ?? place.cursor;
  return true;
}

/** @param {Place} place @param {string} room @param {number} id */
export const hasCome = (place, room, id) => id <= (place.lastIds.get(room) ?? 0);

/** The log is another one: its ids have nothing to do with those before. @param {Place} place @param {string} [cursor] */
export function beginAnew(place, cursor = "") {
  place.cursor = cursor;
  place.lastIds.clear();
}

/** @param {string[]} some @param {string[]} others */
const same = (some, others) =>
  some.length === others.length && some.every((each) => others.includes(each));
