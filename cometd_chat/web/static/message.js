// @ts-check
/** One message as it is seen, and how times are said in the reader's own language and time zone. */

import { avatar } from "./avatar.js";
import { showText } from "./links.js";
import { make } from "./page.js";

/** @typedef {import("./transports.js").CometEvent} CometEvent */

const clockForm = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const dayForm = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });
const momentForm = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** What is said of a message that was deleted, as `kinds.DELETED` in the daemon. */
const DELETED = { own: "deleted by its author", moderator: "deleted by a moderator" };

let numbers = 0;

/** The line of a message. @param {CometEvent} event @returns {HTMLElement} */
export function messageLine(event) {
  const at = new Date(event.at ?? 0);
  const from = event.from ?? "";
  const name = make("b", { className: "name", dir: "auto", textContent: from, id: `n-${++numbers}` });
  const text = make("p", { className: "text", dir: "auto" });
  const time = make("time", { dateTime: event.at ?? "", textContent: clockForm.format(at) });
  // Where it can be deleted, or reported.
  if (event.id && event.room && event.type === "message") {
    const page = `/rooms/${encodeURIComponent(event.room)}/messages/${event.id}`;
    // Not on the way of who goes by keyboard from line to line; the plain page has it there.
    time.replaceChildren(make("a", { href: page, tabIndex: -1, textContent: time.textContent ?? "" }));
  }
  time.title = momentForm.format(at);
  const article = make("article", {}, avatar(from), name, text, time);
  article.setAttribute("aria-labelledby", name.id);
  const line = make("li", { className: "message" }, article);
  if (event.type !== "message") line.dataset.type = event.type;
  line.classList.toggle("told", event.type !== "message");
  line.dataset.from = from;
  line.dataset.at = event.at;
  say(line, event);
  return line;
}

/**
 * What is said in a line, or who has deleted that.
 * @param {HTMLElement} line
 * @param {CometEvent} event
 */
export function say(line, event) {
  const text = /** @type {HTMLElement} */ (line.querySelector(".text"));
  line.classList.toggle("deleted", event.deleted !== undefined);
  if (event.deleted) {
    line.dataset.deleted = event.deleted;
    text.textContent = `(${DELETED[event.deleted] ?? DELETED.moderator})`;
  } else {
    delete line.dataset.deleted;
    showText(text, event.text ?? newTopic(event.topic));
  }
}

/** What is said of another topic, as `kinds.TOPIC` in the daemon. @param {string} [topic] */
function newTopic(topic = "") {
  return topic ? `changed the topic to: ${topic}` : "took the topic away";
}

/** The line above the first message of a day. @param {string} at */
export function dayLine(at) {
  const label = make("span", { textContent: dayLabel(new Date(at)) });
  const line = make("li", { className: "day" }, make("h2", {}, label));
  line.dataset.at = at;
  return line;
}

/** At midnight Today becomes Yesterday. @param {HTMLElement} line */
export function relabelDay(line) {
  const words = dayLabel(new Date(line.dataset.at ?? ""));
  const label = line.querySelector("span");
  if (label && label.textContent !== words) label.textContent = words;
}

/** @param {Date} at */
function dayLabel(at) {
  const today = new Date();
  const yesterday = new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1);
  if (at.toDateString() === today.toDateString()) return "Today";
  if (at.toDateString() === yesterday.toDateString()) return "Yesterday";
  return dayForm.format(at);
}
