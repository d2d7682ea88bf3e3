// @ts-check
/**
 * The numbers of the daemon as they change: told once a second by a stream. Without it, the page
 * shows those of when it was loaded.
 */

import { make } from "./page.js";

/** @typedef {{name: string, rooms: (string | null)[], transport: string, behind: number}} SlowReader */
/**
 * @typedef {{seconds: number, held: Record<string, number>, sessions: number, posts: number,
 *   deliveries: number, refused: number, expired: number, slow_readers_cut: number, slow_readers: SlowReader[],
 *   memory: Record<string, number>, memory_ceiling: number, shed: number,
 *   log: {size: number, limit: number} | null, rooms: {name: string, people: number}[]}} Numbers
 */

/** Points of a plot: a minute, a second each. */
const POINTS = 60;

const SVG = "http://www.w3.org/2000/svg";

/** @param {Record<string, number>} parts */
const sum = (parts) => Object.values(parts).reduce((all, each) => all + each, 0);

/** @param {number} bytes */
function inBytes(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  const power = bytes < 2 ** 20 ? 1 : bytes < 2 ** 30 ? 2 : 3;
  return `${(bytes / 1024 ** power).toFixed(1)} ${["B", "KiB", "MiB", "GiB"][power]}`;
}

/** A line that moves: the newest point is at its end. */
class Plot {
  /** @type {number[]} */
  #points = [];
  #path = document.createElementNS(SVG, "path");

  /** @param {HTMLElement} place */
  constructor(place) {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${POINTS - 1} 40`);
    svg.setAttribute("preserveAspectRatio", "none");
    // The number beside it says what it says.
    svg.setAttribute("aria-hidden", "true");
    svg.append(this.#path);
    place.replaceChildren(svg);
    place.hidden = false;
  }

  /** @param {number} value */
  add(value) {
    this.#points.push(value);
    if (this.#points.length > POINTS) this.#points.shift();
    const most = Math.max(1, ...this.#points);
    const from = POINTS - this.#points.length;
    const dots = this.#points.map((each, at) => `${from + at},${(39 - (each / most) * 38).toFixed(1)}`);
    this.#path.setAttribute("d", `M${dots.join("L")}`);
  }
}

/** @type {Map<string, Plot>} */
const plots = new Map();

/** @param {string} name @param {number} value */
function draw(name, value) {
  const place = document.querySelector(`[data-plot="${name}"]`);
  if (!(place instanceof HTMLElement)) return;
  const plot = plots.get(name) ?? new Plot(place);
  plots.set(name, plot);
  plot.add(value);
}

/** @param {string} name @param {number} value */
function show(name, value) {
  for (const place of document.querySelectorAll(`[data-live="${name}"]`)) {
    if (place instanceof HTMLProgressElement) place.value = value;
    else if (place instanceof HTMLElement) {
      place.textContent = place.dataset.unit === "bytes" ? inBytes(value) : String(value);
    }
  }
}

/** @param {string} name @param {[string | Node, ...(string | number)[]][]} rows */
function list(name, rows) {
  const place = document.querySelector(`[data-rows="${name}"]`);
  place?.replaceChildren(
    ...rows.map(([label, ...values]) =>
      make(
        "tr",
        {},
        make("th", { scope: "row", dir: "auto" }, label),
        ...values.map((each, at) => make("td", { className: at < values.length - 1 ? "" : "number" }, String(each))),
      ),
    ),
  );
}

/** @param {string} name */
const roomLink = (name) => make("a", { href: `/rooms/${encodeURIComponent(name)}`, textContent: `#${name}` });

/** @param {SlowReader} reader @returns {[Node, string, string]} */
function slowRow({ name, rooms, transport, behind }) {
  const where = rooms.map((each) => (each === null ? "a private room" : `#${each}`)).join(", ");
  const who = make("span", {}, `${name || "somebody"} `, make("span", { className: "soft", textContent: where }));
  return [who, transport, inBytes(behind)];
}

/** @type {Numbers | null} */
let before = null;

/** @param {Numbers} now */
function tell(now) {
  for (const name of /** @type {const} */ (["posts", "deliveries"])) {
    show(name, now[name]);
    // A daemon that was started anew counts from nothing.
    if (before && now.seconds > before.seconds) {
      const rate = (now[name] - before[name]) / (now.seconds - before.seconds);
      const place = document.querySelector(`[data-rate="${name}"]`);
      if (place) place.textContent = `${rate < 10 ? rate.toFixed(1) : Math.round(rate)} a second`;
      draw(name, rate);
    }
  }
  for (const name of /** @type {const} */ ([
    "slow_readers_cut", "shed", "expired", "refused", "sessions", "memory_ceiling",
  ])) {
    show(name, now[name]);
  }
  show("held", sum(now.held));
  draw("held", sum(now.held));
  list("held", Object.entries(now.held));
  show("memory", sum(now.memory));
  draw("memory", sum(now.memory));
  list("memory", Object.entries(now.memory));
  list("rooms", now.rooms.map((each) => [roomLink(each.name), each.people]));
  if (now.slow_readers.length) list("slow_readers", now.slow_readers.map(slowRow));
  if (now.log) show("log_size", now.log.size);
  before = now;
}

/** @param {string} text */
function say(text) {
  const place = document.getElementById("live-state");
  if (place && place.textContent !== text) place.textContent = text;
}

/** Follow the daemon while somebody looks: a page in the background lets its stream go. */
function follow() {
  const source = new EventSource("/api/v1/live/events");
  source.onopen = () => say("Live: a point a second, the last minute.");
  source.onerror = () => say("The daemon does not answer just now; these numbers are older.");
  source.onmessage = (message) => {
    const event = JSON.parse(message.data);
    if (event.type === "live") tell(event);
    else if (event.type === "bye") {
      source.close();
      say(`The numbers end here: ${event.reason}.`);
    }
  };
  return source;
}

let source = follow();
document.addEventListener("visibilitychange", () => {
  source.close();
  if (!document.hidden) source = follow();
});
