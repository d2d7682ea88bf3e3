// @ts-check
/** Which door was the right one, for as long as the tab is open. */

/** @typedef {{door: string, preferred: string, detour: string, detourAt: number}} Choice */

export class DoorMemory {
  #key;
  #doors;

  /** @param {string} origin @param {string[]} doors */
  constructor(origin, doors) {
    this.#key = `comet-chat.door.${origin}`;
    this.#doors = doors;
  }

  /** @returns {Choice} */
  load() {
    const first = this.#doors[0];
    /** @type {Choice} */
    const choice = { door: first, preferred: first, detour: "", detourAt: 0 };
    try {
      Object.assign(choice, JSON.parse(sessionStorage.getItem(this.#key) ?? "{}"));
    } catch {
      // Storage may be forbidden; then each page begins with the first.
    }
    if (!this.#doors.includes(choice.preferred)) choice.preferred = first;
    if (!this.#doors.includes(choice.door)) choice.door = choice.preferred;
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
