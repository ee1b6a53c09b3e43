/** How fast a stream runs: bytes both ways, measured at the WebSocket, and the latest round trip. */

export interface Rates {
  /** Round trip to the workspace's side, or null before the first answer. */
  latencyMs: number | null;
  /** Bytes per second, measured at the WebSocket. */
  down: number;
  up: number;
}

const EVERY_MS = 1_000;

export class Meter {
  latencyMs: number | null = null;
  down = 0;
  up = 0;
  private since = 0;

  start(now: number): void {
    this.since = now;
  }

  /** When the next figures are due. */
  get due(): number {
    return this.since + EVERY_MS;
  }

  /** The figures since the last call; the count begins anew. */
  read(now: number): Rates {
    const seconds = (now - this.since) / 1000;
    const rates = { latencyMs: this.latencyMs, down: this.down / seconds, up: this.up / seconds };
    this.down = this.up = 0;
    this.since = now;
    return rates;
  }
}
