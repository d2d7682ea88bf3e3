// @ts-check
/**
 * Comet Chat in a browser: hears what is said in some rooms, and says something.
 *
 *     import { connect } from "/static/comet.js";
 *     const comet = connect({ rooms: ["lobby"], backlog: 20 });
 *     comet.on("message", (event) => console.log(event.from, event.text));
 *     await comet.post("lobby", "hello");
 *
 * It holds one request, by default a hidden iframe, and keeps a cursor. Whatever happens to the
 * request, it comes back with the cursor in hand, so nothing is missed and nothing comes twice. When a
 * transport does not get through, it goes over to the next one and says so in its state. Tabs that `share`
 * a word hold one request together.
 *
 * A page of another site, one that the daemon was started with as `--allow-origin`, brings a token:
 *
 *     const comet = connect({ url: "https://chat.example.org", token, rooms: ["lobby"] });
 */

import { TRANSPORTS, authorization } from "./transports.js";
import { watch } from "./hints.js";
import { Shared, canShare } from "./leader.js";
import { Outbox, newClientId } from "./outbox.js";
import { Stream } from "./stream.js";

export { TRANSPORTS } from "./transports.js";
export { PostError, newClientId } from "./outbox.js";

/** @typedef {import("./transports.js").CometEvent} CometEvent */

/**
 * @typedef {Object} Options
 * @property {string[]} rooms what to listen to
 * @property {string} [cursor] go on after this point; without it, from now
 * @property {number} [backlog] without a cursor: so many older messages first
 * @property {string} [url] origin of the daemon, such as "https://chat.example.org"; default our own
 * @property {string[]} [transports] names of transports (see `TRANSPORTS`), the best first; default all of them
 * @property {string} [token] of a session; without it the browser's cookie counts
 * @property {string} [share] tabs of one origin that give the same word hold one request together; it
 *   should name the session, since they all read by the session of the one that leads
 */

/**
 * How it stands with the connection.
 *
 * - `connecting`: a request is on its way
 * - `live`: what is said arrives
 * - `waiting`: broken; the next try is at `nextAt`
 * - `away`: sent away (`reason`, `status`) until `reconnect()` is called
 * - `closed`: by `close()`, or while the page is put aside by the browser
 *
 * @typedef {Object} State
 * @property {"connecting" | "live" | "waiting" | "away" | "closed"} phase
 * @property {string} transport name of the transport in use
 * @property {string} preferred name of the transport that is wanted
 * @property {string} detour why the preferred transport is not in use, for people; empty when it is
 * @property {string} reason why it is not live, for people
 * @property {number} status of a refusal; 0 when there is none
 * @property {number} nextAt when the next try is due, ms as in Date.now(); 0 when none is
 * @property {number} heardAt when something last came, ms as in Date.now(); 0 when nothing did
 * @property {number} roundTrip ms from the last post to its arrival by the stream; 0 when unknown
 * @property {string} cursor everything up to here has arrived
 * @property {boolean} leading this tab holds the request; false when another one does for it
 */

/**
 * Start to listen. The first request waits until the page has loaded: any sooner, and the browser
 * would show it as loading for ever.
 * @param {Options} options
 */
export function connect(options) {
  return new Comet(options);
}

export class Comet {
  /** @type {Map<string, Set<(event: any) => void>>} */
  #listeners = new Map();
  #rooms;
  #origin;
  #token;
  #transports;
  /** @type {Stream | Shared} */
  #source;
  #outbox;
  #roundTrip = 0;
  /** When each post that has not come back was begun. @type {Map<string, number>} */
  #posted = new Map();
  #listening = new AbortController();

  /** @param {Options} options */
  constructor({ rooms, cursor = "", backlog = 0, url = "", transports, token = "", share = "" }) {
    this.#rooms = rooms;
    this.#origin = new URL(url || "/", location.href).origin;
    this.#token = token;
    this.#outbox = new Outbox(this.#origin, token, () => this.check());
    this.#transports = (transports ?? Object.keys(TRANSPORTS)).filter((name) => TRANSPORTS[name] && (token || !TRANSPORTS[name].byToken));
    const place = { cursor, lastIds: new Map() };
    const client = newClientId();
    const settings = { rooms, place, backlog, origin: this.#origin, token, client, transports: this.#transports };
    const hears = {
      event: (/** @type {CometEvent} */ event) => this.#hear(event),
      state: () => this.#emit("state", this.state),
    };
    this.#source = share && canShare() ? new Shared(share, settings, hears) : new Stream(settings, hears);
    this.#listen();
  }

  #listen() {
    const { signal } = this.#listening;
    const source = this.#source;
    const hints = { tick: () => source.tick(), wake: () => source.wake(), check: () => source.check() };
    watch(hints, signal);
    addEventListener("pagehide", () => source.stop(), { signal });
    addEventListener("pageshow", ({ persisted }) => persisted && this.state.phase === "closed" && source.start(), {
      signal,
    });
    const start = () => setTimeout(() => signal.aborted || source.start(), 0);
    if (document.readyState === "complete") start();
    else addEventListener("load", start, { signal });
  }

  /**
   * Hear about something: a type of event (`message`, `join`, `leave`, `typing`, `people`, `gap`,
   * `reset`, `bye`, `hello`, `error`, ...) or `state`, each change of the `State`.
   * @param {string} type
   * @param {(event: any) => void} listener
   * @returns {() => void} call it to stop
   */
  on(type, listener) {
    const those = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, those.add(listener));
    return () => void those.delete(listener);
  }

  /** @returns {State} */
  get state() {
    return { ...this.#source.state, roundTrip: this.#roundTrip };
  }

  /** Names of the transports that can be used, the best first. */
  get transports() {
    return [...this.#transports];
  }

  /**
   * Say something. Tries again by itself when the network fails; the daemon takes the same
   * `clientId` only once.
   * @param {string} room
   * @param {string} text
   * @param {string} [clientId]
   * @returns {Promise<CometEvent>} the message as it is in the log; it also comes as an event
   * @throws {PostError}
   */
  async post(room, text, clientId = newClientId()) {
    this.#posted.set(clientId, performance.now());
    try {
      const event = await this.#outbox.post({ room, text, clientId });
      if (event.id && this.#rooms.includes(room)) this.expect(room, event.id);
      return event;
    } catch (problem) {
      this.#posted.delete(clientId);
      throw problem;
    }
  }

  /** Tell the others in a room that one is writing. Not kept; every 3 s is often enough. @param {string} room */
  typing(room) {
    this.#tell(room, "typing");
  }

  /** Tell the others that one leaves a room, in `pagehide`, unless another tab reads it. @param {string} room */
  leave(room) {
    if (this.#source instanceof Shared && this.#source.isReadElsewhere(room)) return;
    if (this.#token) this.#tell(room, "leave");
    else navigator.sendBeacon(this.#address(room, "leave"));
  }

  /** @param {string} room @param {"typing" | "leave"} what */
  #tell(room, what) {
    const headers = { "Content-Type": "application/json", ...authorization(this.#token) };
    // Best effort: whoever misses it sees the message, or the leaving, a little later.
    fetch(this.#address(room, what), { method: "POST", headers, body: "{}", keepalive: true }).catch(() => this.check());
  }

  /** @param {string} room @param {string} what */
  #address(room, what) {
    return `${this.#origin}/api/v1/rooms/${encodeURIComponent(room)}/${what}`;
  }

  /** Try again at once: the wait is cut short, and so is being sent away. */
  reconnect() {
    this.#source.reconnect();
  }

  /**
   * Change the transport; the old one stays until the new one works.
   * @param {string} transport
   */
  use(transport) {
    if (!this.#transports.includes(transport)) throw new RangeError(`There is no transport ${transport}.`);
    this.#source.use(transport);
  }

  /**
   * An event of a room is known to be in the log: if it has not come in a moment, the stream is dead,
   * though it may not show.
   * @param {string} room
   * @param {number} id
   */
  expect(room, id) {
    this.#source.expect(room, id);
  }

  /**
   * Look whether the line is alive, though it seems so: call it when a request of your own to the
   * daemon got no answer. Another line is opened beside the present one, and takes its place; when
   * neither gives a sign of life, the state is no longer `live` within about a second.
   */
  check() {
    this.#source.check();
  }

  /** Stop for good. */
  close() {
    this.#listening.abort();
    this.#source.stop();
    this.#listeners.clear();
  }

  /** @param {CometEvent} event */
  #hear(event) {
    const begun = this.#posted.get(event.client_id ?? "");
    if (begun !== undefined) this.#roundTrip = performance.now() - begun;
    this.#posted.delete(event.client_id ?? "");
    this.#emit(event.type, event);
  }

  /** @param {string} type @param {any} event */
  #emit(type, event) {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      try {
        listener(event);
      } catch (problem) {
        // One listener that fails must not cost the others the event, nor us the stream.
        setTimeout(() => {
          throw problem;
        });
      }
    }
  }
}
