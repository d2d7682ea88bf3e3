// @ts-check
/**
 * What could not be sent, for a reason that passes: it is sent again when the line is live again. When
 * nobody was there though the line is live, a little later, and then later still.
 */

const SECOND = 1000;
const FIRST_WAIT = SECOND;
const LONGEST_WAIT = 60 * SECOND;

export class Again {
  #send;
  /** What waits, and when it is due. @type {Map<string, {text: string, due: number}>} */
  #waiting = new Map();
  /** How often each was sent again. @type {Map<string, number>} */
  #tries = new Map();
  #live = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {(clientId: string, text: string) => void} send */
  constructor(send) {
    this.#send = send;
  }

  /**
   * This one failed.
   * @param {string} clientId
   * @param {string} text
   * @param {boolean} refused somebody was there
   */
  add(clientId, text, refused) {
    const tries = this.#tries.get(clientId) ?? 0;
    this.#tries.set(clientId, tries + 1);
    const wait = refused ? Infinity : Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** tries);
    this.#waiting.set(clientId, { text, due: performance.now() + wait });
    this.#plan();
  }

  /** This one is not to be sent, for now. @param {string} clientId */
  hold(clientId) {
    this.#waiting.delete(clientId);
  }

  /** This one has arrived, or is not wanted any more. @param {string} clientId */
  drop(clientId) {
    this.#waiting.delete(clientId);
    this.#tries.delete(clientId);
  }

  /** Whether somebody is there. @param {boolean} live */
  note(live) {
    if (live && !this.#live) for (const each of this.#waiting.values()) each.due = 0;
    this.#live = live;
    this.#plan();
  }

  #plan() {
    clearTimeout(this.#timer);
    const next = Math.min(...[...this.#waiting.values()].map(({ due }) => due));
    if (!this.#live || next === Infinity) return;
    this.#timer = setTimeout(() => this.#go(), Math.max(0, next - performance.now()));
  }

  #go() {
    const now = performance.now();
    for (const [clientId, { text, due }] of [...this.#waiting]) {
      if (due > now) continue;
      this.#waiting.delete(clientId);
      this.#send(clientId, text);
    }
    this.#plan();
  }
}
