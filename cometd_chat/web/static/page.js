// @ts-check
/** What the parts of the page share: its data, its elements, its storage, the plain requests. */

import { isUnreached, refusalOf, within } from "./transports.js";

/**
 * @typedef {{room: string, me: string, cursor: string, heartbeat: number, more: boolean,
 *   draft: string, slow: number, quiet: import("./quiet.js").What}} PageData
 */

/** @type {PageData | undefined} */
let read;

/** @returns {PageData} */
export function pageData() {
  return (read ??= JSON.parse(byId("page-data").textContent ?? ""));
}

/** @param {string} id @returns {HTMLElement} */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`The page has no #${id}.`);
  return element;
}

/**
 * Make an element.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Partial<HTMLElementTagNameMap[Tag]>} [properties]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/**
 * A button that is no submit button.
 * @param {string} label
 * @param {() => void} action
 */
export function button(label, action) {
  return make("button", { type: "button", textContent: label, onclick: action });
}

/** `navigator.clipboard` is absent on plain http, and may be forbidden. @param {string} text */
export async function copyText(text) {
  try {
    return await navigator.clipboard.writeText(text);
  } catch {
    // As browsers did before there was one.
  }
  const area = make("textarea", { value: text, className: "unseen" });
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

/**
 * Write the text of what can be pressed anew. Its node stays the same one: to WebKit a press is no click when
 * the text under it was replaced before it was released.
 * @param {Element} element it has nothing but text in it
 * @param {string} text
 */
export function rewrite(element, text) {
  const node = element.firstChild;
  if (!(node instanceof Text)) element.textContent = text;
  else if (node.data !== text) node.data = text;
}

/** Storage that may be forbidden or full; then nothing is kept. */
export const kept = {
  /** @param {string} key @returns {string} */
  get(key) {
    try {
      return localStorage.getItem(`comet-chat.${key}`) ?? "";
    } catch {
      return "";
    }
  },
  /** @param {string} key @param {string} value empty removes it */
  set(key, value) {
    try {
      if (value) localStorage.setItem(`comet-chat.${key}`, value);
      else localStorage.removeItem(`comet-chat.${key}`);
    } catch {
      // The page works without.
    }
  },
};

/** Called when a request of the page's gets no answer. @type {Set<() => void>} */
export const unanswered = new Set();

/**
 * Ask the daemon something.
 * @param {string} method
 * @param {string} path below /api/v1
 * @param {unknown} [body]
 * @returns {Promise<any>} rejected with a `Refusal`; status 0 when there was no answer
 */
export async function ask(method, path, body) {
  try {
    return await answered(method, path, body);
  } catch (refusal) {
    if (isUnreached(/** @type {import("./transports.js").Refusal} */ (refusal))) unanswered.forEach((tell) => tell());
    throw refusal;
  }
}

/** @param {string} method @param {string} path @param {unknown} body @returns {Promise<any>} */
async function answered(method, path, body) {
  /** @type {Response} */
  let answer;
  try {
    answer = await fetch(`/api/v1${path}`, {
      method,
      headers: { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: within(10_000),
    });
  } catch {
    throw { status: 0, detail: "The server can't be reached just now.", retryAfter: 0 };
  }
  if (!answer.ok) throw await refusalOf(answer);
  return answer.status === 204 ? undefined : answer.json();
}

/**
 * Why something was refused, for who reads the page: what the daemon says to programs names its paths.
 * @param {{status: number, detail: string}} refusal
 */
export function inWords({ status, detail }) {
  if (status === 401) return "You are not logged in any more.";
  if (status === 404) return "This room is not there any more.";
  return detail;
}

/** @param {string} room @param {string} name */
export const personPath = (room, name) => `${roomPath(room)}/people/${encodeURIComponent(name)}`;

/** @param {string} room @param {number} id */
export const messagePath = (room, id) => `${roomPath(room)}/messages/${id}`;

/** @param {string} room */
export const roomPath = (room) => `/rooms/${encodeURIComponent(room)}`;
