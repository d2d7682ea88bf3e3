// @ts-check
/** The two sides: rooms at the left, people at the right; on a phone they are drawers. */

import { ask, byId, kept, make, roomPath } from "./page.js";

const SWIPE = 60;

export class People {
  /** @type {Map<string, string>} */
  #names = new Map();
  #list = byId("people-list");
  #room;
  #more = 0;

  /** @param {string} room */
  constructor(room) {
    this.#room = room;
  }

  async refresh() {
    const { people, count } = await ask("GET", `${roomPath(this.#room)}/people`);
    this.#more = count ?? 0;
    this.#names = new Map(people.map((/** @type {{name: string, role: string}} */ each) => [each.name, each.role]));
    this.#show();
  }

  /** @param {string} name */
  join(name) {
    this.#names.set(name, "guest");
    this.#show();
  }

  /** @param {string} name */
  leave(name) {
    this.#names.delete(name);
    this.#show();
  }

  /** In a large room only the number is told. @param {number} count */
  count(count) {
    this.#more = count;
    this.#show();
  }

  #show() {
    const total = String(Math.max(this.#more, this.#names.size));
    byId("people-total").textContent = byId("people-count").textContent = total;
    const names = [...this.#names.keys()].sort((one, other) => one.localeCompare(other));
    this.#list.replaceChildren(
      ...names.map((name) => {
        const dot = make("span", { className: "dot here" });
        dot.setAttribute("aria-hidden", "true");
        return make("li", {}, dot, make("span", { dir: "auto", textContent: name }));
      }),
    );
  }
}

export class Rooms {
  #list = byId("room-list");
  #current;

  /** @param {string} current */
  constructor(current) {
    this.#current = current;
    for (const link of this.#list.querySelectorAll("a")) {
      this.#mark(link, Number(link.dataset.lastId));
    }
  }

  /** @returns {Promise<number>} id of the newest message in the current room */
  async refresh() {
    const { rooms } = await ask("GET", "/rooms");
    let newest = 0;
    this.#list.replaceChildren(
      ...rooms.map((/** @type {{name: string, last_id: number}} */ room) => {
        const link = make("a", { href: roomPath(room.name), dir: "auto", textContent: `#\u00a0${room.name}` });
        link.dataset.room = room.name;
        if (room.name === this.#current) {
          link.setAttribute("aria-current", "page");
          newest = room.last_id;
        }
        this.#mark(link, room.last_id);
        return make("li", {}, link);
      }),
    );
    return newest;
  }

  /** A room one has been in shows when there is something one has not read. @param {HTMLAnchorElement} link @param {number} lastId */
  #mark(link, lastId) {
    const room = link.dataset.room ?? "";
    const read = Number(kept.get(`read.${room}`));
    const unread = read > 0 && lastId > read && room !== this.#current;
    link.classList.toggle("unread", unread);
    link.title = unread ? "Something new" : "";
  }
}

/** Drawers open by a swipe too, and close when there is room for all three columns. */
export function startDrawers() {
  const rooms = byId("rooms");
  const people = byId("people");
  if (!rooms.showPopover) return;
  const narrow = matchMedia("(max-width: 719.98px)");
  narrow.addEventListener("change", () => {
    rooms.hidePopover();
    people.hidePopover();
  });
  let x = 0;
  let y = 0;
  addEventListener(
    "touchstart",
    (event) => ([x, y] = [event.touches[0].clientX, event.touches[0].clientY]),
    { passive: true },
  );
  addEventListener(
    "touchend",
    (event) => {
      const dx = event.changedTouches[0].clientX - x;
      const dy = event.changedTouches[0].clientY - y;
      if (!narrow.matches || Math.abs(dx) < SWIPE || Math.abs(dy) > Math.abs(dx) / 2) return;
      const toShow = dx > 0 ? rooms : people;
      const toHide = dx > 0 ? people : rooms;
      if (toHide.matches(":popover-open")) toHide.hidePopover();
      else if (!toShow.matches(":popover-open")) toShow.showPopover();
    },
    { passive: true },
  );
}
