// @ts-check
/** The two sides: rooms at the left, people at the right; where there is no place they are drawers. */

import { ask, byId, kept, make, pageData, personPath, rewrite, roomPath } from "./page.js";
import { close, isOpen, open, startPopovers } from "./popover.js";

/** @typedef {{name: string, topic: string, people: number, last_id: number, with?: string[], slow?: number, locked?: boolean, archived?: boolean}} Room */

/** What people call it: a direct conversation by whom it is with. @param {Room} room */
const labelOf = (room) => room.with?.join(", ") || `#\u00a0${room.name}`;

const LOOKS_AFTER = ["owner", "admin", "moderator"];
const SWIPE = 60;
/** Pages of the list that are looked at when nobody looks for a room; each has 200. */
const PAGES = 3;
/** Rooms that are shown at once; a filter finds the others. */
const MOST_SHOWN = 200;
/** From so many rooms on there is a filter. */
const MANY = 12;

const NUMBERED = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

export class People {
  /** Who is here, and what each is here; empty where that has not been asked for. @type {Map<string, string>} */
  #roles = new Map();
  #list = byId("people-list");
  #room;
  #count = 0;
  #askedAt = -Infinity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #again;

  /** @param {string} room */
  constructor(room) {
    this.#room = room;
  }

  async refresh() {
    this.#askedAt = performance.now();
    const { people, count } = await ask("GET", `${roomPath(this.#room)}/people`);
    this.#roles = new Map(people.map((/** @type {{name: string, role: string}} */ { name, role }) => [name, role]));
    this.#count = Math.max(count ?? 0, this.#roles.size);
    this.#show();
  }

  /** @param {string} name */
  join(name) {
    this.#roles.set(name, this.#roles.get(name) ?? "");
    this.#count = this.#roles.size;
    this.#show();
  }

  /** What somebody is here, as a word; empty where that is not known. @param {string} name */
  roleOf(name) {
    return this.#roles.get(name) ?? "";
  }

  /** Of somebody it is not known yet what they are. */
  get uncertain() {
    return [...this.#roles.values()].includes("");
  }

  /** @param {string} name */
  leave(name) {
    this.#roles.delete(name);
    this.#count = this.#roles.size;
    this.#show();
  }

  /** In a large room only the number is told; who they are is asked for. @param {number} count */
  count(count) {
    this.#count = count;
    this.#show();
    // As many ask as the answer is long, so the more there are, the more seldom.
    const pause = Math.max(5000, count ** 2 / 10);
    clearTimeout(this.#again);
    this.#again = setTimeout(() => document.hidden || this.refresh().catch(() => {}), this.#askedAt + pause - performance.now());
  }

  #show() {
    for (const id of ["people-total", "people-count"]) rewrite(byId(id), String(this.#count));
    const names = [...this.#roles.keys()].sort(NUMBERED.compare);
    const more = this.#count - names.length;
    /** @type {Map<string, HTMLElement>} */
    const lines = new Map();
    for (const link of this.#list.querySelectorAll("a")) {
      lines.set(link.dataset.name ?? "", /** @type {HTMLElement} */ (link.parentElement));
    }
    arrange(this.#list, [
      ...names.map((name) => this.#marked(lines.get(name) ?? this.#make(name), this.roleOf(name))),
      ...(more > 0 ? [make("li", { className: "soft", textContent: `and ${more} more` })] : []),
    ]);
  }

  /** @param {string} name */
  #make(name) {
    const dot = make("span", { className: "dot here" });
    dot.setAttribute("aria-hidden", "true");
    if (!pageData().me) return make("li", {}, dot, make("span", { dir: "auto", textContent: name }));
    const link = make("a", { href: personPath(this.#room, name), dir: "auto", textContent: name });
    link.dataset.name = name;
    return make("li", {}, dot, link);
  }

  /** With the word for who looks after the room. @param {HTMLElement} line @param {string} role */
  #marked(line, role) {
    const word = LOOKS_AFTER.includes(role) ? role : "";
    const shown = line.querySelector(".role");
    if ((shown?.textContent ?? "") === word) return line;
    shown?.remove();
    if (word) line.append(make("span", { className: "role", textContent: word }));
    return line;
  }
}

export class Rooms {
  #list = byId("room-list");
  #filter = /** @type {HTMLInputElement} */ (byId("room-filter"));
  #current;
  /** All that are known, by name. @type {Map<string, Room>} */
  #rooms = new Map();
  #complete = false;
  #asked = false;
  /** How calm the house was when it was last asked; empty until then. */
  calm = "";

  /** @param {string} current */
  constructor(current) {
    this.#current = current;
    for (const link of this.#list.querySelectorAll("a")) {
      const name = link.dataset.room ?? "";
      this.#rooms.set(name, { name, topic: "", people: 0, last_id: Number(link.dataset.lastId) });
    }
    this.#filter.addEventListener("input", () => this.#find());
    this.#filter.addEventListener("focus", () => this.#loadAll().catch(() => {}), { once: true });
    this.#filter.addEventListener("keydown", ({ key }) => {
      if (key === "Enter") this.#list.querySelector("a")?.click();
    });
    this.#show();
    // At first, when the drawer opens, and when what is below it takes more place.
    new ResizeObserver(() => this.#filter.value || this.toCurrent()).observe(this.#list);
  }

  /** The current room as it was when it was last asked for; undefined until then. */
  get current() {
    return this.#asked ? this.#rooms.get(this.#current) : undefined;
  }

  /** Bring the current room into view. */
  toCurrent() {
    this.#list.querySelector("[aria-current]")?.scrollIntoView({ block: "center" });
  }

  /** @returns {Promise<number>} id of the newest message in the current room */
  async refresh() {
    await this.#load(PAGES);
    this.#show();
    return this.#rooms.get(this.#current)?.last_id ?? 0;
  }

  async #loadAll() {
    if (!this.#complete) await this.#load(Infinity);
    this.#find();
  }

  /** @param {number} pages at most */
  async #load(pages) {
    /** @type {Map<string, Room>} */
    const found = new Map();
    let after = "";
    let more = true;
    for (let page = 0; more && page < pages; page++) {
      /** @type {{rooms: Room[], more: boolean, calm: string}} */
      const answer = await ask("GET", `/rooms${after && `?after=${encodeURIComponent(after)}`}`);
      for (const room of answer.rooms) found.set(room.name, room);
      after = answer.rooms.at(-1)?.name ?? "";
      more = answer.more;
      this.calm = answer.calm;
    }
    this.#complete = !more;
    if (more && !found.has(this.#current)) found.set(this.#current, await ask("GET", roomPath(this.#current)));
    // What was not looked at stays as it was known.
    this.#asked = true;
    this.#rooms = more ? new Map([...this.#rooms, ...found]) : found;
  }

  #find() {
    this.#show();
    this.#list.scrollTop = 0;
    if (!this.#filter.value) this.toCurrent();
  }

  /** Make the list what is known; what has not changed stays the same element, with its focus. */
  #show() {
    const all = [...this.#rooms.values()].sort(
      (one, other) => Number(other.name === "lobby") - Number(one.name === "lobby") || NUMBERED.compare(one.name, other.name),
    );
    const wanted = this.#filter.value.trim().replace(/^#/, "").toLocaleLowerCase();
    const found = all.filter((room) => `${room.name} ${labelOf(room)}`.toLocaleLowerCase().includes(wanted));
    const shown = found.filter((room, at) => at < MOST_SHOWN || room.name === this.#current || this.#isNews(room));
    const links = new Map([...this.#list.querySelectorAll("a")].map((link) => [link.dataset.room, link]));
    const lines = shown.map((room) => {
      const link = links.get(room.name) ?? this.#make(room);
      const news = this.#isNews(room);
      link.classList.toggle("unread", news);
      link.title = news ? "Something new" : "";
      return /** @type {HTMLElement} */ (link.parentElement);
    });
    const hidden = found.length - shown.length;
    if (hidden) {
      lines.push(make("li", { className: "soft", textContent: `${hidden} more: find them above` }));
    } else if (!found.length) {
      lines.push(make("li", { className: "soft", textContent: "No such room" }));
    }
    arrange(this.#list, lines);
    this.#filter.hidden = all.length < MANY && !wanted;
    const news = byId("news");
    const count = all.filter((room) => this.#isNews(room)).length;
    rewrite(news, count ? String(count) : "");
    news.title = "Rooms with something new";
    news.hidden = !count;
  }

  /** @param {Room} room */
  #make(room) {
    const { name } = room;
    const link = make("a", { href: roomPath(name), dir: "auto", textContent: labelOf(room) });
    link.dataset.room = name;
    if (name === this.#current) link.setAttribute("aria-current", "page");
    make("li", {}, link);
    return link;
  }

  /** There is something in a room that one has been in and has not read. @param {Room} room */
  #isNews({ name, last_id }) {
    const read = Number(kept.get(`read.${name}`));
    return read > 0 && last_id > read && name !== this.#current;
  }
}

/** Make these the children of a list, without moving those that are at their place. @param {HTMLElement} list @param {HTMLElement[]} lines */
function arrange(list, lines) {
  lines.forEach((line, at) => {
    if (list.children[at] !== line) list.insertBefore(line, list.children[at] ?? null);
  });
  while (list.children.length > lines.length) list.lastElementChild?.remove();
}

/** Drawers open by a swipe too, and close when there is place for them. */
export function startDrawers() {
  startPopovers();
  const rooms = byId("rooms");
  const people = byId("people");
  const narrow = matchMedia("(max-width: 719.98px)");
  const middle = matchMedia("(max-width: 999.98px)");
  narrow.addEventListener("change", () => close(rooms));
  middle.addEventListener("change", () => close(people));
  // A form that was refused is in it.
  if (narrow.matches && rooms.querySelector(".refused:not([hidden])")) open(rooms);
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
      if (Math.abs(dx) < SWIPE || Math.abs(dy) > Math.abs(dx) / 2) return;
      const [toShow, toHide] = dx > 0 ? [rooms, people] : [people, rooms];
      if (isOpen(toHide)) close(toHide);
      else if ((toShow === rooms ? narrow : middle).matches) open(toShow);
    },
    { passive: true },
  );
}
