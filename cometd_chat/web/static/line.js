// @ts-check
/**
 * One request that is held, through one transport, and what can be told from its signs of life: that it is
 * dead, though nothing says so, or that something on the way holds it back. It only judges; what is to
 * be done then is the business of stream.js.
 */

import { TRANSPORTS } from "./transports.js";

/** @typedef {import("./transports.js").CometEvent} CometEvent */
/** @typedef {import("./transports.js").Refusal} Refusal */

const SECOND = 1000;
/** Silence of so many heartbeats is suspicious... */
export const SILENT_HEARTBEATS = 2.5;
/** ...and is death after a while more: after sleep, timers run before what has arrived meanwhile. */
export const LAST_GRACE = 2 * SECOND;
/** Frames keep all that ever passed through them, about 2 KB a message. */
const ROTATE_EVENTS = 1000;
const ROTATE_AGE = 10 * 60 * SECOND;
/** What comes later than this after the opening was not waiting at the other end: it came live. */
const AT_ONCE = SECOND;
/** After so long a silence, events that are as far apart, and heartbeats, don't come together... */
const LUMP_SPAN = 5 * SECOND;
const TOGETHER = SECOND / 4;
/** ...unless something on the way collects them: twice within this time is no accident. */
const LUMP_MEMORY = 120 * SECOND;

/** @typedef {{why: string, heldBack: boolean}} Verdict why it is given up, and whether the transport is to blame */

/** Times are in ms, by the clock that nobody sets. */
export class Line {
  startedAt = performance.now();
  /** 0 until the first sign of life. */
  openedAt = 0;
  heardAt = this.startedAt;
  rotateAt = this.startedAt + ROTATE_AGE;
  /** Events of the log that came by it. */
  count = 0;
  over = false;
  /** @type {Refusal | null} */
  refusal = null;
  /** Something came while it was open, not only in its first moment. */
  proven = false;
  #suspectedAt = 0;
  /** What has come together after a silence. @type {{since: number, from: number, beats: number, counted: boolean} | null} */
  #burst = null;
  #lumps = 0;
  #lumpAt = 0;
  /** @type {import("./transports.js").Held | null} */
  #held = null;

  /** @param {string} transport @param {string[]} rooms what it carries */
  constructor(transport, rooms) {
    this.transport = transport;
    this.rooms = rooms;
  }

  /** @param {import("./transports.js").Call} call */
  open(call) {
    this.#held = TRANSPORTS[this.transport].open(call);
  }

  close() {
    this.over = true;
    this.#held?.close();
  }

  /** Something came. @param {CometEvent} [event] */
  heard(event) {
    const now = performance.now();
    if (event) this.#noteLump(event, now);
    if (this.openedAt && now - this.openedAt > AT_ONCE) this.proven = true;
    this.heardAt = now;
    this.#suspectedAt = 0;
  }

  /** @param {CometEvent} event @param {number} now */
  #noteLump(event, now) {
    if (this.openedAt && now - this.heardAt >= LUMP_SPAN) {
      this.#burst = { since: now, from: 0, beats: 0, counted: false };
    }
    const burst = this.#burst;
    if (!burst || burst.counted || now - burst.since > TOGETHER) return;
    const at = Date.parse(event.at ?? "");
    if (event.type === "heartbeat") burst.beats++;
    else if (at) burst.from ||= at;
    if (burst.beats < 2 && !(at - burst.from >= LUMP_SPAN)) return;
    burst.counted = true;
    this.#lumps = now - this.#lumpAt < LUMP_MEMORY ? this.#lumps + 1 : 1;
    this.#lumpAt = now;
  }

  /**
   * Whether to give it up.
   * @param {number} heartbeat ms
   * @param {number} patience ms that the first sign of life may take
   * @returns {Verdict | null}
   */
  judge(heartbeat, patience) {
    const now = performance.now();
    if (!this.openedAt) {
      if (!this.#held?.alive()) return { why: "nobody answered", heldBack: false };
      if (now - this.startedAt <= patience) return null;
      return { why: "nothing came through", heldBack: true };
    }
    if (!this.#held?.alive()) return { why: "the stream broke off", heldBack: false };
    if (!TRANSPORTS[this.transport].heartbeats) return null;
    if (this.#lumps > 1) return { why: "everything came late, in lumps", heldBack: true };
    if (now - this.heardAt <= SILENT_HEARTBEATS * heartbeat) return null;
    this.#suspectedAt ||= now;
    if (now - this.#suspectedAt <= LAST_GRACE) return null;
    return { why: "it fell silent", heldBack: !this.proven };
  }

  /** It has grown large, and a new one should take its place. */
  get worn() {
    const much = this.count >= ROTATE_EVENTS || performance.now() >= this.rotateAt;
    return TRANSPORTS[this.transport].rotates && much;
  }
}
