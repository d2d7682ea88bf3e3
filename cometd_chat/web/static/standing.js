// @ts-check
/**
 * Why one cannot speak just now, in a calm sentence above the box, as long as it is so. The daemon knows; it
 * is asked when something has been told or refused, and again now and then while there is something to show.
 */

import { ask, byId, make } from "./page.js";

/** What a refusal is called that is no fault of the text: it is kept, and can be said later. */
const PASSING = ["silenced", "slow-mode", "calm", "room-locked", "room-archived", "waiting", "banned", "kicked"];
/** What concerns all alike is told by quiet.js. */
const OF_THE_ROOM = ["room-locked", "room-archived", "calm"];
const AGAIN = 15_000;
const SECOND = 1000;

/** @typedef {{type?: string, detail?: string}} Problem */

export class Standing {
  #line = byId("standing");
  #room;
  /** Seconds between two messages; 0 where nobody waits. */
  #slow;
  /** When the next one may be said, ms as in Date.now(). */
  #nextAt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #ticking;

  /** @param {string} room @param {number} slow seconds between two messages */
  constructor(room, slow) {
    this.#room = room;
    this.#slow = slow;
    if (!this.#line.hidden) this.#later();
  }

  /** Whether a refusal says only that one can't speak now. @param {Problem | undefined} problem */
  explains(problem) {
    return PASSING.includes(slug(problem));
  }

  /** Slow mode lets nothing through yet. */
  get counting() {
    return this.#nextAt > Date.now();
  }

  /** Ask how it stands. */
  async look() {
    clearTimeout(this.#timer);
    try {
      const { silent, slow } = await ask("GET", `/session?room=${encodeURIComponent(this.#room)}`);
      this.#slow = slow;
      if (!slow) this.#nextAt = 0;
      this.#show(OF_THE_ROOM.includes(slug(silent)) ? "" : (silent?.detail ?? ""));
    } catch (refusal) {
      const { problem } = /** @type {{problem?: Problem}} */ (refusal);
      // Whatever else it is, it is told where the connection is.
      if (this.explains(problem)) this.#show(problem?.detail ?? "");
    }
  }

  /** A message was refused. @param {Problem} problem @param {number} retryAfter seconds */
  refused(problem, retryAfter) {
    if (slug(problem) === "slow-mode") return this.#countDown(retryAfter);
    if (!OF_THE_ROOM.includes(slug(problem))) this.#show(problem.detail ?? "");
  }

  /** One's own message was said. */
  said() {
    if (this.#slow) this.#countDown(this.#slow);
  }

  /** @param {string} words empty when one may speak */
  #show(words) {
    if (words) {
      this.#nextAt = 0;
      clearInterval(this.#ticking);
      this.#later();
    }
    if (this.counting) return;
    this.#line.hidden = !words;
    if (this.#line.textContent !== words) this.#line.textContent = words;
  }

  #later() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.look(), AGAIN);
  }

  /** @param {number} seconds */
  #countDown(seconds) {
    this.#nextAt = Date.now() + seconds * SECOND;
    clearInterval(this.#ticking);
    // Read out once, not each second.
    const left = make("span", { className: "countdown" });
    left.setAttribute("aria-hidden", "true");
    this.#line.replaceChildren("It is slow here: write on, and send in ", left);
    this.#line.hidden = false;
    const tick = () => {
      if (this.counting) {
        left.textContent = `${Math.ceil((this.#nextAt - Date.now()) / SECOND)} s`;
        return;
      }
      clearInterval(this.#ticking);
      this.#show("");
    };
    this.#ticking = setInterval(tick, SECOND);
    tick();
  }
}

/** @param {Problem | undefined} problem */
function slug(problem) {
  return problem?.type?.split("/").pop() ?? "";
}
