// @ts-check
/** Which transport was the right one, for as long as the tab is open. */

/** @typedef {{transport: string, preferred: string, detour: string, detourAt: number}} Choice */

export class TransportMemory {
  #key;
  #transports;

  /** @param {string} origin @param {string[]} transports */
  constructor(origin, transports) {
    this.#key = `comet-chat.transport.${origin}`;
    this.#transports = transports;
  }

  /** @returns {Choice} */
  load() {
    const first = this.#transports[0];
    /** @type {Choice} */
    const choice = { transport: first, preferred: first, detour: "", detourAt: 0 };
    try {
      Object.assign(choice, JSON.parse(sessionStorage.getItem(this.#key) ?? "{}"));
    } catch {
      // Storage may be forbidden; then each page begins with the first.
    }
    if (!this.#transports.includes(choice.preferred)) choice.preferred = first;
    if (!this.#transports.includes(choice.transport)) choice.transport = choice.preferred;
    return choice;
  }

  /** @param {Choice} choice */
  save(choice) {
    try {
      sessionStorage.setItem(this.#key, JSON.stringify(choice));
    } catch {
      // Kept for this page only.
    }
  }
}
