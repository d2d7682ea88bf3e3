// @ts-check
/** Who came, went and has another name, folded into one quiet line until somebody speaks. */

import { make } from "./page.js";

/** @typedef {{came: Set<string>, left: Set<string>, named: Map<string, string>}} Comings */

/** What each of these lines says. @type {WeakMap<Element, Comings>} */
const told = new WeakMap();

/** A line of this kind that says nothing yet. @returns {HTMLElement} */
export function comingsLine() {
  const line = make("li", { className: "status", dir: "auto" });
  // It is no news: a screen reader need not read it out, but finds it.
  line.setAttribute("aria-live", "off");
  told.set(line, { came: new Set(), left: new Set(), named: new Map() });
  return line;
}

/**
 * Note something in such a line.
 * @param {Element} line
 * @param {"join" | "leave"} type
 * @param {string} name
 * @param {string} [was] the name that somebody had who is called otherwise now
 * @returns {string} what the line has to say; empty when it all came to nothing
 */
export function note(line, type, name, was = "") {
  const comings = told.get(line);
  if (!comings) return "";
  const { came, left, named } = comings;
  if (was && came.delete(was)) {
    came.add(name);
  } else if (was) {
    const first = [...named].find(([, now]) => now === was)?.[0] ?? was;
    if (first === name) named.delete(first);
    else named.set(first, name);
  } else {
    const [to, from] = type === "join" ? [came, left] : [left, came];
    // There and back again is no news.
    if (!from.delete(name)) to.add(name);
  }
  return [
    ...[...named].map(([one, other]) => `${one} is now ${other}`),
    ...(came.size ? [`${names(came)} came`] : []),
    ...(left.size ? [`${names(left)} left`] : []),
  ].join(" · ");
}

/** @param {Set<string>} people */
function names(people) {
  const [first, second] = people;
  if (people.size === 1) return first;
  return people.size === 2 ? `${first} and ${second}` : `${first} and ${people.size - 1} others`;
}
