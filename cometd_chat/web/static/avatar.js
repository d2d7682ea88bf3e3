// @ts-check
/** The square beside a name: its colour and its two letters, as transcript.py computes them. */

const PALETTE_SIZE = 12;
const LETTER = /[\p{L}\p{N}]/u;

/** @param {string} name */
export function colourOf(name) {
  let value = 0;
  for (const byte of new TextEncoder().encode(name)) value = (value * 31 + byte) % 65521;
  return value % PALETTE_SIZE;
}

/** @param {string} name */
export function initialsOf(name) {
  const letters = Array.from(name).filter((each) => LETTER.test(each));
  return Array.from(letters.slice(0, 2).join("").toUpperCase()).slice(0, 2).join("");
}

/** @param {string} name */
export function avatar(name) {
  const square = document.createElement("span");
  square.className = `avatar colour-${colourOf(name)}`;
  square.dataset.initials = initialsOf(name);
  square.setAttribute("aria-hidden", "true");
  return square;
}
