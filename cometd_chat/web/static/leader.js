// @ts-check
/**
 * One stream for all tabs: one of them leads and holds the request, the others hear from it. A browser
 * opens six connections to a host; with a stream a tab, the seventh tab would hang.
 *
 * What it keeps: every tab hears each event of its rooms once, in order, whoever leads. The leader's
 * stream carries the rooms of all tabs. Its messages are numbered: a tab that is new, or finds that it
 * has missed one, catches up by itself, by polls from its own cursor, once the stream carries its rooms.
 */

import { authorization, refusalOf, within } from "./transports.js";
import { election } from "./election.js";
import { LAST_GRACE, SILENT_HEARTBEATS } from "./line.js";
import { ECHO_TIME, Stream, advance, beginAnew, hasCome } from "./stream.js";

/** @typedef {import("./transports.js").CometEvent} CometEvent */
/** @typedef {import("./transports.js").Refusal} Refusal */
/** @typedef {import("./comet.js").State} State */
/** @typedef {import("./stream.js").Settings} Settings */
/** @typedef {import("./stream.js").Hears} Hears */

/**
 * What tabs say to each other.
 *
 * - `here`: this tab reads these rooms; `fresh` when it has just been opened
 * - `gone`: this tab reads no longer
 * - `who`: the leader wants to know who is there
 * - `lead`: how it stands with the leader's stream, what it carries, who is there
 * - `event`: something came
 * - `do`: what the leader shall do
 *
 * @typedef {{kind: "here", tab: string, rooms: string[], fresh: boolean} | {kind: "gone", tab: string}
 *   | {kind: "who"}
 *   | {kind: "lead", tab: string, n: number, state: State, heartbeat: number, carried: string[],
 *      tabs: [string, string[]][]}
 *   | {kind: "event", tab: string, n: number, event: CometEvent}
 *   | {kind: "do", what: "use" | "reconnect" | "expect" | "wake" | "check", with: any}} Word
 */

/** What is told to somebody alone, whichever room it is about: it is for all of their tabs. */
const PERSONAL = new Set(["sanction", "invited", "knock", "report", "held"]);
const SECOND = 1000;
/** Rooms that no tab reads any more are left after this: the tab may only be loading again. */
const LEAVE_AFTER = 2 * SECOND;
/** How often the leader asks who is there, and when a tab that does not answer counts no more. */
const ROLL_CALL = 60 * SECOND;
const FORGOTTEN = 150 * SECOND;
/** A catching up that failed is tried again after this. */
const CATCH_UP_AGAIN = 2 * SECOND;
const CATCH_UP_TIMEOUT = 10 * SECOND;
/** The longest that a transport without heartbeats is silent. */
const LONGEST_POLL = 35 * SECOND;

/** Whether this browser lets tabs talk to each other, and agree who leads. */
export function canShare() {
  try {
    return "BroadcastChannel" in window && ("locks" in navigator || localStorage.length >= 0);
  } catch {
    return false;
  }
}

export class Shared {
  #name;
  #settings;
  #hears;
  #place;
  #tab;
  #election;
  /** @type {BroadcastChannel | null} */
  #channel = null;
  /** While this tab leads. @type {Stream | null} */
  #stream = null;
  #n = 0;
  /** The other tabs, what they read, and when each was last heard. @type {Map<string, {rooms: string[], at: number}>} */
  #tabs = new Map();
  #calledAt = 0;
  /** The last word of whoever leads, and its number. */
  #leader = "";
  #heard = 0;
  #heardAt = 0;
  #askedAt = 0;
  /** @type {State} */
  #leaderState;
  #heartbeat = 15 * SECOND;
  /** Nothing of this tab's is missing. */
  #current = false;
  /** What comes while it catches up; null while it does not. @type {CometEvent[] | null} */
  #meanwhile = null;
  #caughtAt = -Infinity;
  #requests = 0;

  /** @param {string} name @param {Settings} settings @param {Hears} hears */
  constructor(name, settings, hears) {
    this.#name = `comet-chat.${settings.origin}.${name}`;
    this.#settings = settings;
    this.#hears = hears;
    this.#place = settings.place;
    this.#tab = settings.client;
    this.#election = election(this.#name, this.#tab, {
      won: () => this.#lead(),
      lost: () => this.#follow(),
    });
    this.#leaderState = new Stream(settings, { event() {}, state() {} }).state;
  }

  /** @returns {State} */
  get state() {
    if (this.#stream) return this.#stream.state;
    const { phase, reason } = this.#leaderState;
    const late = phase === "live" && !this.#current;
    return {
      ...this.#leaderState,
      phase: late ? "connecting" : phase,
      reason: late ? "catching up" : reason,
      cursor: this.#place.cursor,
      leading: false,
    };
  }

  /** Whether another tab reads a room, too. @param {string} room */
  isReadElsewhere(room) {
    return [...this.#tabs.values()].some(({ rooms }) => rooms.includes(room));
  }

  start() {
    const channel = new BroadcastChannel(this.#name);
    channel.addEventListener("message", ({ data }) => this.#hear(data));
    this.#channel = channel;
    this.#tabs.clear();
    this.#heardAt = performance.now();
    this.#leaderState = { ...this.#leaderState, phase: "connecting" };
    this.#sayHere(true);
    this.#election.join();
    this.#hears.state();
  }

  stop() {
    this.#say({ kind: "gone", tab: this.#tab });
    this.#quit();
    // The others have to know first that this tab is gone, and then that they may lead.
    this.#channel?.close();
    this.#channel = null;
    this.#election.leave();
    this.#lose();
    this.#leader = "";
    this.#leaderState = { ...this.#leaderState, phase: "closed" };
    this.#hears.state();
  }

  reconnect() {
    this.#do("reconnect", null);
  }

  wake() {
    this.#do("wake", null);
    this.#question();
  }

  check() {
    this.#do("check", null);
    this.#question();
  }

  /** @param {string} transport */
  use(transport) {
    this.#do("use", transport);
  }

  /** @param {string} room @param {number} id */
  expect(room, id) {
    this.#do("expect", { room, id });
    if (this.#stream) return;
    setTimeout(() => {
      if (hasCome(this.#place, room, id) || this.#stream || !this.#channel) return;
      // The leader has it or finds out that it has not; this tab has missed something.
      this.#lose();
      this.#sayHere();
    }, ECHO_TIME);
  }

  tick() {
    if (!this.#channel) return;
    if (this.#stream) {
      this.#stream.tick();
      this.#election.renew();
      this.#callRoll();
    } else {
      this.#watchLeader();
      if (this.#current || performance.now() - this.#caughtAt < CATCH_UP_AGAIN) return;
      this.#caughtAt = performance.now();
      this.#sayHere();
    }
  }

  /** @param {Word} word */
  #say(word) {
    this.#channel?.postMessage(word);
  }

  #sayHere(fresh = false) {
    this.#say({ kind: "here", tab: this.#tab, rooms: this.#settings.rooms, fresh });
  }

  /** @param {"use" | "reconnect" | "expect" | "wake" | "check"} what @param {any} value */
  #do(what, value) {
    if (this.#stream) this.#obey(what, value);
    else this.#say({ kind: "do", what, with: value });
  }

  /** @param {"use" | "reconnect" | "expect" | "wake" | "check"} what @param {any} value */
  #obey(what, value) {
    const stream = this.#stream;
    if (what === "use") stream?.use(value);
    else if (what === "expect") stream?.expect(value.room, value.id);
    else stream?.[what]();
  }

  /** @param {Word} word */
  #hear(word) {
    switch (word.kind) {
      case "here":
        return this.#noteHere(word.tab, word.rooms, word.fresh);
      case "gone":
        return this.#noteGone(word.tab);
      case "who":
        return this.#sayHere();
      case "do":
        return this.#obey(word.what, word.with);
      case "lead":
      case "event":
        if (this.#stream) return this.#election.renew();
        return this.#hearLeader(word);
    }
  }

  // --- who is there

  /** @param {string} tab @param {string[]} rooms @param {boolean} fresh */
  #noteHere(tab, rooms, fresh) {
    this.#tabs.set(tab, { rooms, at: performance.now() });
    if (this.#stream) this.#election.renew();
    // By now another tab may lead: that is found out by renewing.
    if (!this.#stream) return;
    this.#stream.read(this.#wanted);
    // Somebody opened a tab: whatever sent the others away, she wants to read.
    if (fresh && this.#stream.state.phase === "away") this.#stream.reconnect();
    else this.#sayLead();
  }

  /** @param {string} tab */
  #noteGone(tab) {
    this.#tabs.delete(tab);
    setTimeout(() => this.#stream?.read(this.#wanted), LEAVE_AFTER);
  }

  /** Rooms that the tabs read, this one's first. */
  get #wanted() {
    const others = [...this.#tabs.values()].flatMap(({ rooms }) => rooms);
    return [...new Set([...this.#settings.rooms, ...others])];
  }

  #callRoll() {
    const now = performance.now();
    if (now - this.#calledAt < ROLL_CALL) return;
    this.#calledAt = now;
    for (const [tab, { at }] of this.#tabs) if (now - at > FORGOTTEN) this.#noteGone(tab);
    this.#say({ kind: "who" });
  }

  // --- to lead

  #lead() {
    if (!this.#channel || this.#stream) return;
    this.#lose();
    this.#tabs.delete(this.#leader);
    this.#n = 0;
    const settings = { ...this.#settings, rooms: this.#wanted };
    const stream = new Stream(settings, {
      event: (event) => this.#pass(event),
      state: () => {
        if (this.#stream !== stream) return;
        this.#sayLead();
        this.#hears.state();
      },
    });
    this.#stream = stream;
    this.#calledAt = performance.now();
    this.#say({ kind: "who" });
    if (this.#leader) stream.succeed(this.#leaderState);
    else stream.start();
  }

  /** Another tab leads now. */
  #follow() {
    this.#leaderState = this.#stream?.state ?? this.#leaderState;
    this.#quit();
    this.#leader = "";
    this.#heardAt = performance.now();
    this.#lose();
    this.#sayHere();
    this.#hears.state();
  }

  #quit() {
    const stream = this.#stream;
    this.#stream = null;
    stream?.stop();
  }

  #sayLead() {
    const stream = this.#stream;
    if (!stream) return;
    this.#say({
      kind: "lead",
      tab: this.#tab,
      n: ++this.#n,
      state: stream.state,
      heartbeat: stream.heartbeat,
      carried: stream.carried,
      tabs: [...this.#tabs].map(([tab, { rooms }]) => [tab, rooms]),
    });
  }

  /** Something came by the stream: for the others, and perhaps for this tab. @param {CometEvent} event */
  #pass(event) {
    this.#election.renew();
    // Another tab that leads by now has a stream of its own for the others.
    if (this.#stream) this.#say({ kind: "event", tab: this.#tab, n: ++this.#n, event });
    if (this.#isMine(event)) this.#hears.event(event);
  }

  /** @param {CometEvent} event */
  #isMine({ type, room }) {
    return room === undefined || PERSONAL.has(type) || this.#settings.rooms.includes(room);
  }

  // --- to follow

  /** @param {Extract<Word, {kind: "lead" | "event"}>} word */
  #hearLeader(word) {
    if (word.tab !== this.#leader || word.n !== this.#heard + 1) this.#lose();
    this.#leader = word.tab;
    this.#heard = word.n;
    this.#heardAt = performance.now();
    this.#askedAt = 0;
    if (word.kind === "event") this.#take(word.event);
    else this.#noteLead(word);
  }

  /** @param {Extract<Word, {kind: "lead"}>} word */
  #noteLead({ tab, state, heartbeat, carried, tabs }) {
    this.#leaderState = state;
    this.#heartbeat = heartbeat;
    for (const [each, rooms] of [...tabs, [tab, []]]) {
      if (each !== this.#tab && !this.#tabs.has(/** @type {string} */ (each))) {
        this.#tabs.set(/** @type {string} */ (each), { rooms: /** @type {string[]} */ (rooms), at: performance.now() });
      }
    }
    const complete = this.#settings.rooms.every((room) => carried.includes(room));
    // A stream that is just being opened again goes on where it was; one without our rooms does not.
    if (!complete && state.phase === "live") this.#lose();
    if (complete && !this.#current && !this.#meanwhile) this.#catchUp();
    this.#hears.state();
  }

  /** Something came by the leader's stream. @param {CometEvent} event */
  #take(event) {
    this.#leaderState.heardAt = Date.now();
    if (this.#meanwhile) this.#meanwhile.push(event);
    else if (this.#current) this.#deliver(event);
  }

  /** @param {CometEvent} event */
  #deliver(event) {
    const place = this.#place;
    if (event.id !== undefined) {
      if (!advance(place, event)) return;
    } else if (event.type === "heartbeat") {
      place.cursor = event.cursor || place.cursor;
    } else if (event.type === "reset") {
      beginAnew(place, event.cursor);
    }
    if (this.#isMine(event)) this.#hears.event(event);
  }

  /** From here on something may be missing. */
  #lose() {
    this.#current = false;
    this.#meanwhile = null;
  }

  /** Fetch what is missing, while what comes waits. */
  async #catchUp() {
    /** @type {CometEvent[]} */
    const meanwhile = (this.#meanwhile = []);
    this.#caughtAt = performance.now();
    try {
      for (let more = true; more; ) {
        const { events, cursor } = await this.#poll();
        if (this.#meanwhile !== meanwhile) return;
        for (const event of events) this.#deliver(event);
        this.#place.cursor = cursor ?? this.#place.cursor;
        more = events.length > 0;
      }
    } catch (problem) {
      if (this.#meanwhile !== meanwhile) return;
      this.#lose();
      const { status } = /** @type {Refusal} */ (problem);
      if (!status) this.check();
      if (status === 400 && this.#place.cursor) {
        this.#deliver({ type: "reset", reason: /** @type {Refusal} */ (problem).detail });
      }
      return;
    }
    this.#meanwhile = null;
    this.#current = true;
    // What only says how far the stream was is older than what the polls have said.
    for (const event of meanwhile) if (event.id !== undefined) this.#deliver(event);
    this.#hears.state();
  }

  /** @returns {Promise<{events: CometEvent[], cursor: string | null}>} */
  async #poll() {
    const { origin, rooms, token, backlog } = this.#settings;
    const { cursor } = this.#place;
    const from = cursor ? `cursor=${encodeURIComponent(cursor)}` : `backlog=${backlog}`;
    const names = rooms.map(encodeURIComponent).join(",");
    const unique = `${this.#tab}-${++this.#requests}`;
    const answer = await fetch(`${origin}/api/v1/events/poll?rooms=${names}&${from}&wait=0&n=${unique}`, {
      headers: authorization(token),
      cache: "no-store",
      signal: within(CATCH_UP_TIMEOUT),
    });
    if (!answer.ok) throw await refusalOf(answer);
    return answer.json();
  }

  /** Does the leader answer? Whoever does not is no leader. */
  #question() {
    if (this.#stream || this.#askedAt || !this.#channel) return;
    this.#askedAt = performance.now();
    this.#sayHere();
  }

  #watchLeader() {
    const now = performance.now();
    const { phase } = this.#leaderState;
    const silence = now - this.#heardAt;
    const long = Math.max(SILENT_HEARTBEATS * this.#heartbeat, LONGEST_POLL);
    if (this.#askedAt && now - this.#askedAt > LAST_GRACE) {
      this.#askedAt = 0;
      this.#heardAt = now;
      this.#election.depose();
    } else if (this.#election.stale() || (phase === "live" ? silence > long : silence > FORGOTTEN)) {
      this.#question();
    }
  }
}
