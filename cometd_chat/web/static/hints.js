// @ts-check
/**
 * What hints that a connection is dead though nothing shows: the browser says that it is off the
 * network or on it again, the page is looked at again, or its clock stood still, as it does while the
 * machine sleeps. It knows nothing of lines, and decides nothing.
 */

/**
 * @typedef {Object} Hints
 * @property {() => void} tick a second or so has passed
 * @property {() => void} wake what waits for a better moment may have it now
 * @property {() => void} check what seems alive may be dead
 */

const SECOND = 1000;
/** A tick that comes so late was not merely waited for... */
const ASLEEP = 5 * SECOND;
/** ...but in a page that nobody looks at, browsers let timers run once a minute. */
const ASLEEP_HIDDEN = 90 * SECOND;

/**
 * Tell what happens, until told to stop.
 * @param {Hints} hints
 * @param {AbortSignal} signal
 */
export function watch(hints, signal) {
  // Not the monotonic clock, which may stand still in sleep.
  let tickedAt = Date.now();
  /** It may have slept while nobody looked. */
  let doubtful = false;

  function look() {
    const gap = Date.now() - tickedAt;
    tickedAt = Date.now();
    doubtful ||= gap > ASLEEP;
    if (!doubtful || (document.hidden && gap < ASLEEP_HIDDEN)) return;
    doubtful = false;
    hints.wake();
    hints.check();
  }

  const timer = setInterval(() => {
    look();
    hints.tick();
  }, SECOND);
  signal.addEventListener("abort", () => clearInterval(timer));
  addEventListener("offline", () => hints.check(), { signal });
  addEventListener(
    "online",
    () => {
      hints.wake();
      hints.check();
    },
    { signal },
  );
  const seen = () => {
    if (document.hidden) return;
    look();
    hints.wake();
  };
  document.addEventListener("visibilitychange", seen, { signal });
}
