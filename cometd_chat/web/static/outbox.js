// @ts-check
/**
 * What is to be said, on its way to the daemon: one message after the other, so that they stay in
 * order, each with a key, so that it can be sent again without being said twice.
 */

import { authorization, isUnreached, refusalOf, within } from "./transports.js";

/** @typedef {import("./transports.js").CometEvent} CometEvent */
/** @typedef {import("./transports.js").Refusal} Refusal */
/** @typedef {{room: string, text: string, clientId: string}} Post */

const SECOND = 1000;
const TIMEOUT = 10 * SECOND;
const TRIES = 3;
/** A refusal that passes is waited for if it takes no longer than this. */
const PATIENCE = 5 * SECOND;
/** No answer, too many at once, nobody behind the proxy, shutting down, no answer behind the proxy. */
const PASSING = [0, 429, 502, 503, 504];

/** Accepted, but not said: a moderator looks at it first. */
const HELD = 202;

/**
 * A message was not accepted, or nobody knows whether it was; the same `clientId` may be used again.
 * Or it waits for a moderator, where the status is 202: it comes as an event once it is said.
 */
export class PostError extends Error {
  /**
   * @param {Refusal} refusal status 0 when there was no answer
   * @param {Post} post
   */
  constructor(refusal, post) {
    super(refusal.detail);
    this.name = "PostError";
    this.status = refusal.status;
    /** The problem details (RFC 9457), when the server gave them. */
    this.problem = refusal.problem;
    /** Seconds after which trying again makes sense; 0 when unknown. */
    this.retryAfter = refusal.retryAfter;
    this.room = post.room;
    this.text = post.text;
    this.clientId = post.clientId;
  }
}

/** A key for one message. `crypto.randomUUID` is absent on plain http. */
export function newClientId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Outbox {
  #url;
  #token;
  #unreached;
  /** @type {Promise<unknown>} */
  #last = Promise.resolve();

  /**
   * @param {string} url
   * @param {string} token
   * @param {() => void} unreached called each time when nobody seems to be there
   */
  constructor(url, token, unreached) {
    this.#url = url;
    this.#token = token;
    this.#unreached = unreached;
  }

  /**
   * @param {Post} post
   * @returns {Promise<CometEvent>}
   * @throws {PostError}
   */
  post(post) {
    const done = this.#last.then(() => this.#deliver(post));
    this.#last = done.catch(() => {});
    return done;
  }

  /** @param {Post} post @returns {Promise<CometEvent>} */
  async #deliver(post) {
    for (let attempt = 1; ; attempt++) {
      const result = await this.#send(post);
      if ("event" in result) return result.event;
      const { refusal } = result;
      if (isUnreached(refusal)) this.#unreached();
      const wait = (refusal.retryAfter || attempt) * SECOND;
      if (!PASSING.includes(refusal.status) || attempt === TRIES || wait > PATIENCE) {
        throw new PostError(refusal, post);
      }
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }

  /**
   * @param {Post} post
   * @returns {Promise<{event: CometEvent} | {refusal: Refusal}>}
   */
  async #send({ room, text, clientId }) {
    try {
      const answer = await fetch(`${this.#url}/api/v1/rooms/${encodeURIComponent(room)}/messages`, {
        method: "POST",
        headers: { "Content-Type": "application/json", ...authorization(this.#token) },
        body: JSON.stringify({ text, client_id: clientId }),
        signal: within(TIMEOUT),
      });
      const said = answer.ok && answer.status !== HELD;
      return said ? { event: await answer.json() } : { refusal: await refusalOf(answer) };
    } catch {
      return {
        refusal: { status: 0, detail: "The server can't be reached just now.", retryAfter: 0 },
      };
    }
  }
}
