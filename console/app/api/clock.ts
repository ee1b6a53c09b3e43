/** The server's time, as its answers say it: a browser's own clock may be minutes off, and a countdown by it wrong. */

/** An answer's date is in whole seconds. */
const UNCERTAIN_MS = 2_000;

let offsetMs = 0;

export function noteServerDate(date: string | null, now = Date.now()): void {
  const at = date === null ? Number.NaN : Date.parse(date);
  if (Number.isNaN(at)) return;
  const offset = at - now;
  // Small differences are the answer's way here.
  offsetMs = Math.abs(offset) <= UNCERTAIN_MS ? 0 : offset;
}

export function serverNow(now = Date.now()): number {
  return now + offsetMs;
}
