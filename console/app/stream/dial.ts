/**
 * Opening one path: dials beside one another, of which the first that answers carries it.
 *
 * The first goes to the best entry. While none has answered, further ones follow, each after a longer and random wait: to entries that
 * were not tried yet, then once more to those that are silent, because a lost packet, a relay that hangs behind its balancer, or a name that
 * leads to a dead host costs the first dial seconds that a second one does not pay. An entry that refuses is left at once for the next.
 * A ticket opens one path only, so that dials with one ticket do not open two; a pass may, and the later ones are closed.
 *
 * Bounds: a number of dials, and one limit for all of them together. It has no timer of its own, because those of hidden pages are slowed: `due`
 * says when `tick` must be called.
 */

import { PROTOCOL_VERSION } from './frames';
import { StreamTrouble } from './trouble';

const SUBPROTOCOL = `meridian.v${PROTOCOL_VERSION}`;
/** The second dial goes out after a random time between these; each further wait is twice as long as the one before could have been. */
const BESIDE_AFTER_MS = 250;
const BESIDE_BEFORE_MS = 1_000;
/** Dials beyond one for each entry. */
const MAX_REPEATS = 3;
const OPEN_WITHIN_MS = 8_000;

export type OpenSocket = (url: string, protocols: string[]) => WebSocket;

/** An open WebSocket, and the entry that it goes through. */
export interface Opened {
  socket: WebSocket;
  url: string;
}

export interface DialRim {
  openSocket: OpenSocket;
  now(): number;
  /** `due` may be another. */
  changed(): void;
  random(): number;
}

export class Dial {
  /** The first path that opens, or an error when none does. */
  readonly opened: Promise<Opened>;
  private readonly waiting = new Map<WebSocket, string>();
  private readonly untried: string[];
  private repeats = 0;
  private besideAt = Number.POSITIVE_INFINITY;
  private readonly limitAt: number;
  private resolve: (opened: Opened) => void = () => undefined;
  private reject: (error: Error) => void = () => undefined;
  private over = false;

  constructor(
    urls: readonly string[],
    private readonly protocols: string[],
    private readonly rim: DialRim,
  ) {
    this.opened = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.untried = [...urls];
    this.limitAt = rim.now() + OPEN_WITHIN_MS;
    this.next();
  }

  /** When `tick` must be called next. */
  get due(): number {
    return this.over ? Number.POSITIVE_INFINITY : Math.min(this.besideAt, this.limitAt);
  }

  tick(now: number): void {
    if (this.over) return;
    if (now >= this.limitAt) this.fail();
    else if (now >= this.besideAt) this.next();
  }

  /** The network has changed: what hangs was sent into the old one, so another dial goes out now. */
  hurry(): void {
    if (!this.over) this.next();
  }

  cancel(): void {
    this.fail();
  }

  /** Sends the next dial out, and sees to it that another follows while there may be one. */
  private next(): void {
    const url = this.untried.shift() ?? this.repeat();
    this.besideAt = Number.POSITIVE_INFINITY;
    if (url === undefined) return;
    if (this.untried.length > 0 || this.repeats < MAX_REPEATS) {
      const jitter = this.rim.random() * (BESIDE_BEFORE_MS - BESIDE_AFTER_MS);
      this.besideAt = this.rim.now() + (BESIDE_AFTER_MS + jitter) * 2 ** this.repeats;
    }
    this.dial(url);
    this.rim.changed();
  }

  /** An entry to dial again: of those that are silent the one that was dialled first. */
  private repeat(): string | undefined {
    if (this.repeats >= MAX_REPEATS) return undefined;
    const [socket, url] = this.waiting.entries().next().value ?? [];
    if (socket === undefined || url === undefined) return undefined;
    this.repeats += 1;
    // Behind the others, so that the next repeat is another's.
    this.waiting.delete(socket);
    this.waiting.set(socket, url);
    return url;
  }

  private dial(url: string): void {
    const socket = this.rim.openSocket(url, this.protocols);
    socket.binaryType = 'arraybuffer';
    this.waiting.set(socket, url);
    socket.onopen = () => {
      if (socket.protocol === SUBPROTOCOL) this.succeed(socket, url);
      else this.refused(socket);
    };
    socket.onclose = socket.onerror = () => this.refused(socket);
  }

  private refused(socket: WebSocket): void {
    this.drop(socket);
    if (this.untried.length > 0) this.next();
    else if (this.waiting.size === 0) this.fail();
  }

  private succeed(socket: WebSocket, url: string): void {
    this.waiting.delete(socket);
    socket.onopen = socket.onclose = socket.onerror = null;
    this.end();
    this.resolve({ socket, url });
  }

  private fail(): void {
    this.end();
    this.reject(new StreamTrouble('entry', 'No entry of the zone could be reached.'));
  }

  private end(): void {
    this.over = true;
    for (const socket of this.waiting.keys()) this.drop(socket);
  }

  private drop(socket: WebSocket): void {
    this.waiting.delete(socket);
    socket.onopen = socket.onclose = socket.onerror = null;
    socket.close();
  }
}
