// @ts-check
/**
 * Finds the links in a text. The same rules as in transcript.py, which renders the first lines; both
 * are tested with the same table. Nothing here or elsewhere ever turns text into markup.
 */

// Spelled out rather than \s and \w: Python and JavaScript do not mean the same by those.
const LINK =
  /(?:https?:\/\/|mailto:)[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff<>"\u0060\u201c\u201d\u300c\u300d]+/gi;
const TRAILING = ".,;:!?'*_~\u2026\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f";
/** @type {Record<string, string>} */
const BRACKETS = { ")": "(", "]": "[", "}": "{", "\uff09": "\uff08" };
const WORD = /[0-9A-Za-z]/;
const HOST = /^https?:\/\/[^/?#@:.]/i;
const MAILBOX = /^mailto:[^@?]+@[^@?]/i;

/**
 * Split a text at its links; only http, https and mailto are links.
 * @param {string} text
 * @returns {[text: string, href: string][]} pieces; what is no link has an empty href
 */
export function linkify(text) {
  /** @type {[string, string][]} */
  const pieces = [];
  let done = 0;
  for (const match of text.matchAll(LINK)) {
    const start = match.index;
    if (start && WORD.test(text[start - 1])) continue;
    const url = withoutTrailing(match[0]);
    if (!HOST.test(url) && !MAILBOX.test(url)) continue;
    if (start > done) pieces.push([text.slice(done, start), ""]);
    pieces.push([url, url]);
    done = start + url.length;
  }
  if (done < text.length) pieces.push([text.slice(done), ""]);
  return pieces;
}

/**
 * Leave out what belongs to the sentence around a link. Brackets are counted once, since a message may
 * be 8,000 of them.
 * @param {string} url
 */
function withoutTrailing(url) {
  /** @type {Record<string, number>} how many more of a bracket are closed than opened */
  const extra = {};
  for (const [close, open] of Object.entries(BRACKETS)) extra[close] = count(url, close) - count(url, open);
  let end = url.length;
  for (; end; end--) {
    const last = url[end - 1];
    if (extra[last] > 0) extra[last]--;
    else if (!TRAILING.includes(last)) break;
  }
  return url.slice(0, end);
}

/** @param {string} text @param {string} letter */
function count(text, letter) {
  let found = 0;
  for (let at = text.indexOf(letter); at >= 0; at = text.indexOf(letter, at + 1)) found++;
  return found;
}

/** Characters that let the letters after them run backwards (UAX 9, section 2.2). */
const OVERRIDES = /([\u202d\u202e])/;

/**
 * A text in which no letters are shown in another order than it has them: whatever turns their direction
 * ends with the element around it, as in pages.py.
 * @param {string} text
 * @returns {(string | HTMLElement)[]}
 */
function tamed(text) {
  return text.split(OVERRIDES).map((piece, at) => {
    if (at % 2 === 0) return piece;
    const alone = document.createElement("bdi");
    alone.textContent = piece;
    return alone;
  });
}

/**
 * @param {HTMLElement} element
 * @param {string} text
 */
export function showText(element, text) {
  element.replaceChildren(
    ...linkify(text).flatMap(([piece, href]) => {
      if (!href) return tamed(piece);
      const link = document.createElement("a");
      link.href = href;
      link.rel = "noopener noreferrer nofollow";
      link.target = "_blank";
      link.textContent = piece;
      return link;
    }),
  );
}
