// @ts-check
/**
 * Which of several tabs leads: at most one, and soon another when it goes. By Web Locks; a page on
 * plain http with a name has none, there by a lease in localStorage. It knows nothing of what the
 * leader does.
 */

/** @typedef {{won: () => void, lost: () => void}} Candidate */

/**
 * @typedef {Object} Election
 * @property {() => void} join stand for it
 * @property {() => void} leave stand no longer; whoever leads gives it up
 * @property {() => void} depose take the place of a leader who does not answer
 * @property {() => void} renew say that one is alive, as the leader
 * @property {() => boolean} stale whether the leader has not said so for a while
 */

/** A lease that was not renewed for so long makes one ask, ms. */
const LEASE = 5000;
/** Two that take it at once both see it in the end as the last one left it, ms. */
const SETTLE = 100;

/**
 * @param {string} name of what is led
 * @param {string} tab a name for this tab
 * @param {Candidate} candidate
 * @returns {Election}
 */
export function election(name, tab, candidate) {
  return navigator.locks ? new Locks(name, candidate) : new Lease(name, tab, candidate);
}

/** @implements {Election} */
class Locks {
  #name;
  #candidate;
  /** @type {AbortController | null} */
  #waiting = null;
  /** @type {(() => void) | null} */
  #release = null;

  /** @param {string} name @param {Candidate} candidate */
  constructor(name, candidate) {
    this.#name = name;
    this.#candidate = candidate;
  }

  join() {
    this.#waiting = new AbortController();
    this.#request({ signal: this.#waiting.signal });
  }

  leave() {
    this.#waiting?.abort();
    this.#waiting = null;
    this.#release?.();
    this.#release = null;
  }

  depose() {
    this.#waiting?.abort();
    this.#waiting = new AbortController();
    this.#request({ steal: true });
  }

  renew() {}

  stale() {
    // The browser itself sees when a tab is gone.
    return false;
  }

  /** @param {LockOptions} options */
  #request(options) {
    const mine = this.#waiting;
    const lead = () => {
      if (mine !== this.#waiting) return;
      this.#candidate.won();
      return /** @type {Promise<void>} */ (new Promise((resolve) => (this.#release = resolve)));
    };
    navigator.locks.request(this.#name, options, lead).catch(() => {
      // Left, or deposed; only who was deposed still stands.
      if (mine !== this.#waiting || !this.#release) return;
      this.#release = null;
      this.#candidate.lost();
      this.join();
    });
  }
}

/** @implements {Election} */
class Lease {
  #key;
  #tab;
  #candidate;
  #leads = false;
  #standing = false;
  #listening = new AbortController();

  /** @param {string} name @param {string} tab @param {Candidate} candidate */
  constructor(name, tab, candidate) {
    this.#key = name;
    this.#tab = tab;
    this.#candidate = candidate;
  }

  join() {
    this.#standing = true;
    this.#listening = new AbortController();
    addEventListener("storage", ({ key }) => key === this.#key && this.#look(), {
      signal: this.#listening.signal,
    });
    this.#look();
  }

  leave() {
    this.#standing = false;
    this.#listening.abort();
    if (this.#leads && this.#holder === this.#tab) localStorage.removeItem(this.#key);
    this.#leads = false;
  }

  depose() {
    this.#take();
  }

  renew() {
    if (!this.#leads) return;
    if (this.#holder === this.#tab) this.#write();
    else this.#resign();
  }

  stale() {
    const { at } = this.#read();
    return Math.abs(Date.now() - at) > LEASE;
  }

  /** The lease has changed. */
  #look() {
    const holder = this.#holder;
    if (!holder) this.#take();
    else if (this.#leads && holder !== this.#tab) this.#resign();
  }

  #take() {
    this.#write();
    // Not all at once in all tabs: then the first has renewed it when the next one looks.
    setTimeout(() => {
      if (!this.#standing || this.#leads || this.#holder !== this.#tab) return;
      this.#leads = true;
      this.#candidate.won();
    }, SETTLE);
  }

  #resign() {
    this.#leads = false;
    this.#candidate.lost();
  }

  get #holder() {
    return this.#read().tab;
  }

  /** @returns {{tab: string, at: number}} */
  #read() {
    try {
      return JSON.parse(localStorage.getItem(this.#key) ?? "") ?? { tab: "", at: 0 };
    } catch {
      return { tab: "", at: 0 };
    }
  }

  #write() {
    localStorage.setItem(this.#key, JSON.stringify({ tab: this.#tab, at: Date.now() }));
  }
}
