/**
 * How far a zone's entry is: a few round trips, one after the other, each bounded. No opinion about which zone is the nearest;
 * the server has that. Everything that waits is handed in, so that tests need neither a network nor a clock.
 */

/** The server wants three that came back; the first of a connection also pays for opening it. */
export const ROUNDS = 5;
/** An entry that takes longer is not near, whatever it is. */
export const ROUND_LIMIT_MS = 3_000;
/** As the server counts them. */
const LEAST_ROUNDS = 3;

export interface Ways {
  /** Asks once, and fails when no answer came. */
  ask: (address: string, signal: AbortSignal) => Promise<void>;
  now: () => number;
  limit: (milliseconds: number) => AbortSignal;
}

/** Round trips to one entry. The first failure ends it: whoever does not answer is not asked five times. */
export async function measure(address: string, signal: AbortSignal, { ask, now, limit }: Ways): Promise<number[]> {
  const rounds: number[] = [];
  while (rounds.length < ROUNDS) {
    const began = now();
    try {
      await ask(address, AbortSignal.any([signal, limit(ROUND_LIMIT_MS)]));
    } catch {
      signal.throwIfAborted();
      break;
    }
    rounds.push(Math.max(0, now() - began));
  }
  return rounds;
}

/** The way without what queues and a busy page add, as the server judges it; null where too few came back. */
export function distance(rounds: number[]): number | null {
  return rounds.length < LEAST_ROUNDS ? null : Math.min(...rounds);
}
