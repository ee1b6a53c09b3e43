/** Exponential backoff with full jitter: many viewers that lost the same relay must not come back in step. */

const FIRST_MS = 250;
const LAST_MS = 10_000;

/** How long to wait before retry number `attempt`: 0 for the first, which is to be soon and yet not in step with all others. */
export function backoffMs(attempt: number, random: () => number = Math.random): number {
  return random() * Math.min(LAST_MS, FIRST_MS * 2 ** Math.min(attempt, 16));
}
